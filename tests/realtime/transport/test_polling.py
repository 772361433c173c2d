"""HTTP polling: payloads, and what waits for a poll."""

import asyncio
from dataclasses import replace

import pytest

from realtime.schema.limits import Limits
from realtime.transport import frames
from realtime.transport.polling import POLL_FRAMES, PollQueue, Refused, packets, payload

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


FRAME = frames.text_frame(b"4a")


async def test_a_poll_gets_what_waits_for_it_at_once() -> None:
    queue = PollQueue()
    queue.put(FRAME + frames.text_frame(b"4b"))
    assert queue.size == len(FRAME) * 2 and queue.drained_at < 0
    assert await queue.wait(60) == FRAME + frames.text_frame(b"4b")
    assert queue.size == 0 and queue.drained_at > 0


async def test_a_poll_waits_for_the_first_frame() -> None:
    queue = PollQueue()
    queue.answer(b"")
    assert not queue.polled and queue.size == 0, "nothing waits"
    poll = asyncio.create_task(queue.wait(60))
    await asyncio.sleep(0)
    queue.put(FRAME)
    queue.put(FRAME)
    assert await poll == FRAME * 2 and queue.waiter is None


async def test_a_poll_is_answered_with_something_else() -> None:
    queue = PollQueue()
    poll = asyncio.create_task(queue.wait(60))
    await asyncio.sleep(0)
    assert queue.polled
    queue.answer(b"noop")
    queue.answer(b"again")
    assert not queue.polled
    queue.put(FRAME)
    assert await poll == b"noop" and await queue.wait(60) == FRAME


async def test_a_poll_for_which_nothing_comes_times_out() -> None:
    queue = PollQueue()
    with pytest.raises(TimeoutError):
        await queue.wait(0)
    assert queue.waiter is None


async def test_a_poll_gets_at_most_what_clients_accept() -> None:
    queue = PollQueue()
    queue.put(FRAME * (POLL_FRAMES + 1))
    assert await queue.wait(60) == FRAME * POLL_FRAMES
    assert queue.drained_at < 0, "there is more"
    assert await queue.wait(60) == FRAME and queue.drained_at > 0
