"""Writes the results of deliveries, many in one transaction."""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from functools import partial

from storage import outbox
from storage.database import Database
from storage.outbox import Settlement
from storage.transaction import Command

logger = logging.getLogger("bellwire.push")

SETTLED_AT_ONCE = 100
RETRY_SECONDS = 1.0


class Settler:
    """``on_settled`` gets deliveries once they were written, or after ``seconds``, when their lease nearly expires."""

    def __init__(
        self, database: Database, lease: str, on_settled: Callable[[Sequence[Settlement]], None], seconds: float
    ) -> None:
        self.database = database
        self.lease = lease
        self.on_settled = on_settled
        self.seconds = seconds
        # Results that are not written, and the task that writes them.
        self.waiting: list[Settlement] = []
        self.writing: asyncio.Task[None] | None = None

    def add(self, settlement: Settlement) -> None:
        self.waiting.append(settlement)
        if self.writing is None:
            self.writing = asyncio.create_task(self._write_all())

    async def finish(self) -> None:
        """Wait until all is written."""
        if self.writing:
            await asyncio.wait([self.writing])

    async def _write_all(self) -> None:
        try:
            while self.waiting:
                some, self.waiting = self.waiting[:SETTLED_AT_ONCE], self.waiting[SETTLED_AT_ONCE:]
                await self._write(some)
                self.on_settled(some)
        finally:
            self.writing = None

    async def _write(self, some: Sequence[Settlement]) -> None:
        """As long as the lease holds; after that they are sent again, under the same ids."""
        until = time.monotonic() + self.seconds
        command = Command(partial(outbox.settle, lease=self.lease, settlements=some))
        while True:
            try:
                return await self.database.write(command)
            except Exception as error:
                if time.monotonic() > until:
                    logger.exception("%d pushes could not be settled", len(some))
                    return None
                logger.warning(
                    "%d pushes could not be settled: %s; retrying in a second", len(some), type(error).__name__
                )
                await asyncio.sleep(RETRY_SECONDS)
