"""A bounded queue for costly work, in which nobody waits behind the many requests of somebody else."""

import asyncio
import contextlib
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Hashable

from storage.errors import Unavailable


class Turns:
    """``at_once`` at a time; whoever waits comes in turn by their key, of each of which ``per_key`` may wait.

    ``waiting`` bounds all that wait. Where either is reached, the next one raises Unavailable at once.
    """

    def __init__(self, at_once: int, *, per_key: int, waiting: int) -> None:
        self.at_once = at_once
        self.per_key = per_key
        self.most_waiting = waiting
        self.running = 0
        self.waiting = 0
        self.queues: OrderedDict[Hashable, deque[asyncio.Future[None]]] = OrderedDict()

    @contextlib.asynccontextmanager
    async def turn(self, key: Hashable) -> AsyncIterator[None]:
        await self._enter(key)
        try:
            yield
        finally:
            self._next()

    async def _enter(self, key: Hashable) -> None:
        if self.running < self.at_once and not self.queues:
            self.running += 1
            return
        queue = self.queues.get(key)
        if self.waiting >= self.most_waiting or (queue is not None and len(queue) >= self.per_key):
            raise Unavailable("Too many of these are being worked on; try again in a moment")
        if queue is None:
            queue = self.queues[key] = deque()
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        queue.append(turn)
        self.waiting += 1
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                # It was this one's turn already.
                self._next()
            else:
                self._forget(key, turn)
            raise

    def _forget(self, key: Hashable, turn: "asyncio.Future[None]") -> None:
        queue = self.queues[key]
        queue.remove(turn)
        self.waiting -= 1
        if not queue:
            del self.queues[key]

    def _next(self) -> None:
        """Hand the place to the first of the next key, whose others wait until all other keys have had a turn."""
        if not self.queues:
            self.running -= 1
            return
        key, queue = next(iter(self.queues.items()))
        turn = queue.popleft()
        self.waiting -= 1
        if queue:
            self.queues.move_to_end(key)
        else:
            del self.queues[key]
        turn.set_result(None)
