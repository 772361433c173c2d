"""Many looks in one: what is asked for while a read is under way is read together next.

A connection that comes back asks the database three or four times; a thousand at once would ask some thousand times.
"""

import asyncio
import math
import time
from collections.abc import Callable, Sequence
from contextvars import Context
from typing import Generic, TypeVar

from sqlalchemy import Connection

from storage.database import Database
from storage.errors import Unavailable

# Within so long of the last read more are expected.
BUSY_SECONDS = 0.1

K = TypeVar("K")
V = TypeVar("V")


class Batcher(Generic[K, V]):
    """``look`` tells of at most ``most`` items, in their order; what it tells of one may be an exception, to be raised."""

    def __init__(
        self,
        database: Database,
        look: Callable[[Connection, Sequence[K]], Sequence[V | Exception]],
        *,
        most: int = 100,
        snapshot: bool = False,
        gather_seconds: float = 0.0,
    ) -> None:
        self.database = database
        self.look = look
        self.most = most
        self.snapshot = snapshot
        # For how long a read waits for more to be asked, while reads follow each other.
        self.gather_seconds = gather_seconds
        # When the last read ended, of time.monotonic().
        self.read_at = -math.inf
        self.waiting: list[tuple[K, asyncio.Future[V]]] = []
        self.task: asyncio.Task[None] | None = None

    async def get(self, item: K) -> V:
        future: asyncio.Future[V] = asyncio.get_running_loop().create_future()
        self.waiting.append((item, future))
        if self.task is None:
            self.task = asyncio.create_task(self._work(), context=Context())
        return await future

    async def _work(self) -> None:
        try:
            while self.waiting:
                if self.gather_seconds and time.monotonic() < self.read_at + BUSY_SECONDS:
                    await asyncio.sleep(self.gather_seconds)
                some = self.waiting[: self.most]
                del self.waiting[: self.most]
                await self._answer([each for each in some if not each[1].done()])
                self.read_at = time.monotonic()
        finally:
            self.task = None

    async def _answer(self, asked: Sequence[tuple[K, "asyncio.Future[V]"]]) -> None:
        """One that can't be read harms no other."""
        if not asked:
            return
        try:
            items = [item for item, _ in asked]
            answers = await self.database.read(lambda it: self.look(it, items), snapshot=self.snapshot)
        except Exception as error:
            if len(asked) > 1 and not isinstance(error, Unavailable):
                for each in asked:
                    await self._answer([each])
                return
            answers = [error] * len(asked)
        for (_, future), answer in zip(asked, answers, strict=True):
            if future.done():
                continue
            if isinstance(answer, Exception):
                future.set_exception(answer)
            else:
                future.set_result(answer)
