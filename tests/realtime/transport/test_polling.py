"""Payloads of HTTP long-polling."""

from dataclasses import replace

import pytest

from realtime.schema.limits import Limits
from realtime.transport import frames
from realtime.transport.polling import Refused, packets, payload

LIMITS = replace(Limits(), polling_packets=3, packet=10)


def test_a_payload_is_read_and_written() -> None:
    assert packets("4a\x1e2probe\x1e4é".encode(), LIMITS) == ["4a", "2probe", "4é"]
    made = payload(frames.text_frame(b"4a") + frames.text_frame(b"2"))
    assert made["status"] == "200 OK" and made["response"] == b"4a\x1e2"


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"4\x1e4\x1e4\x1e4", "at most 3 packets"),
        (b"4" + b"x" * 10, "at most 10 bytes"),
        (b"", "Not an Engine.IO packet"),
        (b"4a\x1e", "Not an Engine.IO packet"),
        (b"0{}", "Not an Engine.IO packet"),
        (b"4\xff", "not UTF-8"),
    ],
)
def test_one_that_is_not_accepted(body: bytes, why: str) -> None:
    with pytest.raises(Refused, match=why):
        packets(body, LIMITS)
