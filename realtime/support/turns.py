"""A bounded queue for costly work that serves its keys in turn, so that many requests of one do not delay the others."""

import asyncio
import contextlib
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Hashable

from storage.errors import Unavailable

Queue = deque["asyncio.Future[None]"]


class Turns:
    """``at_once`` at a time; those that wait come in turn by their group, and in it by their key.

    ``per_key`` may wait of a key, half of ``waiting`` of a group, and ``waiting`` of all; where one of these is reached, the
    next one raises Unavailable at once.
    """

    def __init__(self, at_once: int, *, per_key: int, waiting: int) -> None:
        self.at_once = at_once
        self.per_key = per_key
        self.per_group = max(1, waiting // 2)
        self.most_waiting = waiting
        self.running = 0
        self.waiting = 0
        self.groups: OrderedDict[Hashable, OrderedDict[Hashable, Queue]] = OrderedDict()

    @contextlib.asynccontextmanager
    async def turn(self, key: Hashable, group: Hashable = None) -> AsyncIterator[None]:
        """Without a group the key is one of its own."""
        await self._enter(key, group)
        try:
            yield
        finally:
            self._next()

    async def _enter(self, key: Hashable, of_group: Hashable) -> None:
        if self.running < self.at_once and not self.groups:
            self.running += 1
            return
        group = key if of_group is None else of_group
        keys = self.groups.get(group, OrderedDict())
        queue: Queue = keys.get(key, deque())
        group_full = of_group is not None and sum(map(len, keys.values())) >= self.per_group
        if self.waiting >= self.most_waiting or group_full or len(queue) >= self.per_key:
            raise Unavailable("Server overloaded: too many requests of this kind; try again later")
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        queue.append(turn)
        keys[key] = queue
        self.groups[group] = keys
        self.waiting += 1
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                # Its turn has come already.
                self._next()
            elif turn in queue:
                queue.remove(turn)
                self.waiting -= 1
                if not queue:
                    self._drop(group, key)
            raise

    def _drop(self, group: Hashable, key: Hashable) -> None:
        keys = self.groups[group]
        del keys[key]
        if not keys:
            del self.groups[group]

    def _next(self) -> None:
        """Hand the place to the next group, whose others wait until all other groups have had a turn; so with its keys."""
        while self.groups:
            group, keys = next(iter(self.groups.items()))
            key, queue = next(iter(keys.items()))
            turn = queue.popleft()
            self.waiting -= 1
            self.groups.move_to_end(group)
            keys.move_to_end(key)
            if not queue:
                self._drop(group, key)
            # One that was cancelled a moment ago has not left the queue yet.
            if not turn.done():
                turn.set_result(None)
                return
        self.running -= 1
