"""The bytes of packets and frames."""

import orjson
import pytest

from realtime.transport import frames
from realtime.transport.frames import Packet
from storage.errors import Malformed
from storage.transaction import Event


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 65_535, 65_536, 70_000])
def test_frames_are_split_as_they_were_joined(size: int) -> None:
    payloads = [b"x" * size, b"", b"y" * 200]
    data = b"".join(map(frames.text_frame, payloads))
    assert frames.split_frames(data) == payloads
    assert b"".join(frames.single_frames(data)) == data and len(frames.single_frames(data)) == 3


def test_a_durable_event_carries_its_place() -> None:
    event = Event(7, "chat:a", 12, "message:new", b'{"content":"\xc3\xa9"}')
    (payload,) = frames.split_frames(frames.durable(event))
    assert payload.startswith(b"42/chat,")
    assert orjson.loads(payload[8:]) == ["message:new", {"content": "é"}, {"channel": "chat:a", "seq": 12}]
    assert frames.of_events([event, event]) == 2 * frames.durable(event)


def test_an_ephemeral_event_has_none() -> None:
    (payload,) = frames.split_frames(frames.ephemeral("typing", {"chatId": "a"}))
    assert orjson.loads(payload[8:]) == ["typing", {"chatId": "a"}]


def test_acks_and_errors() -> None:
    assert frames.split_frames(frames.ack(5, {"a": 1})) == [b'43/chat,5[{"a":1}]']
    assert frames.split_frames(frames.connect_error("/chat", "no")) == [b'44/chat,{"message":"no"}']
    assert frames.split_frames(frames.connect_error("/", "no")) == [b'44{"message":"no"}']


@pytest.mark.parametrize(
    ("text", "packet"),
    [
        ("0", Packet("0", "/", None, "")),
        ('0/chat,{"token":"x"}', Packet("0", "/chat", None, '{"token":"x"}')),
        ("0/chat?a=b,{}", Packet("0", "/chat", None, "{}")),
        ("1/chat,", Packet("1", "/chat", None, "")),
        ('2/chat,17["typing",{}]', Packet("2", "/chat", 17, '["typing",{}]')),
        ('2["a"]', Packet("2", "/", None, '["a"]')),
        (
            '51-/chat,3["a",{"_placeholder":true,"num":0}]',
            Packet("5", "/chat", 3, '["a",{"_placeholder":true,"num":0}]'),
        ),
        ("2/chat,123456789012345[]", Packet("2", "/chat", 123456789012345, "[]")),
    ],
)
def test_what_a_packet_is(text: str, packet: Packet) -> None:
    assert frames.parse(text) == packet


@pytest.mark.parametrize("text", ["", "7", "x", "/chat,", "2/chat,1234567890123456[]"])
def test_what_is_not_a_packet(text: str) -> None:
    with pytest.raises(Malformed):
        frames.parse(text)
