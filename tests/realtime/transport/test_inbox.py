"""What a socket has received and not handled."""

import asyncio

from realtime.transport.frames import Packet
from realtime.transport.inbox import Inbox
from realtime.transport.states import Ending

PACKETS = [Packet("2", "/chat", number, "[]") for number in range(3)]


async def test_items_come_out_in_their_order() -> None:
    inbox = Inbox(2)
    assert inbox.pop() is None and not inbox.full
    inbox.put(PACKETS[0])
    assert not inbox.full
    inbox.put(Ending.CLIENT_CLOSED)
    assert inbox.full
    assert [inbox.pop(), inbox.pop(), inbox.pop()] == [PACKETS[0], Ending.CLIENT_CLOSED, None]


async def test_room_is_waited_for() -> None:
    inbox = Inbox(1)
    await inbox.wait_for_space()
    inbox.put(PACKETS[0])
    waiting = asyncio.create_task(inbox.wait_for_space())
    await asyncio.sleep(0)
    inbox.signal_space()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert not waiting.done(), "it was signalled and there is none"
    inbox.pop()
    inbox.signal_space()
    await waiting


async def test_who_waits_goes_on_when_it_is_cleared() -> None:
    inbox = Inbox(1)
    inbox.put(PACKETS[0])
    waiting = asyncio.create_task(inbox.wait_for_space())
    await asyncio.sleep(0)
    inbox.clear()
    await waiting
    assert inbox.pop() is None


async def test_a_request_that_is_given_up_leaves_nobody_to_wake() -> None:
    inbox = Inbox(1)
    assert not inbox.signal_space(), "nobody waits"
    inbox.put(PACKETS[0])
    waiting = asyncio.create_task(inbox.wait_for_space())
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    assert inbox.space is None and not inbox.signal_space()
    waiting = asyncio.create_task(inbox.wait_for_space())
    await asyncio.sleep(0)
    inbox.pop()
    assert inbox.signal_space() and not inbox.signal_space(), "it is woken once"
    await waiting
