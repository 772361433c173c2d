"""The event loop of the server: thousands of connections that end at the same moment do not hold up the others.

Relied on of Python 3.11 to 3.14: ``EpollSelector`` asks its ``_selector``, an epoll object, with
``poll(timeout, maxevents)``; what is not returned is returned again, because it is level-triggered.
"""

import asyncio
import select
import selectors
from typing import Any

# In a step of the loop.
CLOSED_AT_ONCE = 32


def new_event_loop() -> asyncio.AbstractEventLoop:
    """On systems without epoll the usual one."""
    if not hasattr(selectors, "EpollSelector"):
        return asyncio.new_event_loop()
    selector = selectors.EpollSelector()
    selector._selector = FairPoll(selector._selector)  # type: ignore[attr-defined]
    return asyncio.SelectorEventLoop(selector)


class FairPoll:
    """An epoll object that returns the connections that the other side has closed a few at a time, all else at once."""

    def __init__(self, epoll: "select.epoll") -> None:
        self.epoll = epoll

    def __getattr__(self, name: str) -> Any:
        return getattr(self.epoll, name)

    def register(self, fd: int, events: int) -> None:
        self.epoll.register(fd, with_hangup(events))

    def modify(self, fd: int, events: int) -> None:
        self.epoll.modify(fd, with_hangup(events))

    def poll(self, timeout: float, most: int) -> list[tuple[int, int]]:
        found = self.epoll.poll(timeout, most)
        if len(found) > CLOSED_AT_ONCE:
            over = select.EPOLLHUP | select.EPOLLERR | select.EPOLLRDHUP
            closed = [each for each in found if each[1] & over]
            if len(closed) > CLOSED_AT_ONCE:
                found = [each for each in found if not each[1] & over] + closed[:CLOSED_AT_ONCE]
        return found


def with_hangup(events: int) -> int:
    """Add the notice that the peer has closed, unless only writing is watched: it would come in every round."""
    return events | select.EPOLLRDHUP if events & select.EPOLLIN else events
