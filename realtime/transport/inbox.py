"""What a socket has received and not yet handled. There is one only while a task works on it."""

import asyncio
from collections import deque

from realtime.transport.frames import Packet
from realtime.transport.states import Ending


class Inbox:
    """Packets in the order in which they came, and how the connection ends after them. It is full at ``most`` items."""

    __slots__ = ("items", "most", "space")

    def __init__(self, most: int) -> None:
        self.items: deque[Packet | Ending] = deque()
        self.most = most
        # Done as soon as there is room; only while that is waited for.
        self.space: asyncio.Future[None] | None = None

    @property
    def full(self) -> bool:
        return len(self.items) >= self.most

    def put(self, item: Packet | Ending) -> None:
        self.items.append(item)

    def pop(self) -> Packet | Ending | None:
        """The oldest item, None if there is none."""
        return self.items.popleft() if self.items else None

    def clear(self) -> None:
        """The socket is closed: nothing is handled any more."""
        self.items.clear()
        self.signal_space()

    def signal_space(self) -> bool:
        """Wake up the request that waits for room; False if none does."""
        if self.space is None or self.space.done():
            return False
        self.space.set_result(None)
        return True

    async def wait_for_space(self) -> None:
        while self.full:
            self.space = asyncio.get_running_loop().create_future()
            try:
                await self.space
            finally:
                self.space = None
