"""What is due at a time is done once, by whichever process: in time by the one that made it due, else a little later."""

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable

from sqlalchemy import Connection

from storage import due
from storage.database import Database
from storage.errors import Unavailable
from storage.tasks import Tasks
from storage.transaction import clock
from storage.types import SECOND

logger = logging.getLogger("bellwire")

# By so much others leave it to the process that made it due.
GRACE_MICROSECONDS = 2 * SECOND
Handler = Callable[[int], Awaitable[None]]


class DueWork:
    """Runs the handler of each kind when its row is due; call ``work()`` every second.

    A kind that was added with ``in_time`` is run by the process that scheduled it (``soon``); others take it over after
    ``GRACE_MICROSECONDS``.
    """

    def __init__(self, database: Database) -> None:
        self.database = database
        self.handlers: dict[str, Handler] = {}
        self.kinds_in_time: set[str] = set()
        self.tasks = Tasks()
        self.timers: set[asyncio.TimerHandle] = set()
        # Nothing more is begun: what is due is another's.
        self.stopping = False
        # Runs of handlers by kind and outcome, "done" or "failed"; only grows.
        self.runs: Counter[tuple[str, str]] = Counter()
        # By how many seconds the oldest row was late at the last look.
        self.late_seconds = 0.0

    def add(self, kind: str, handler: Handler, *, in_time: bool = False) -> None:
        self.handlers[kind] = handler
        if in_time:
            self.kinds_in_time.add(kind)

    def soon(self, kind: str, ref: int, seconds: float) -> None:
        """This process made it due."""
        if self.stopping:
            return

        def run() -> None:
            self.timers.discard(timer)
            self.tasks.spawn(self._handle(kind, ref))

        timer = asyncio.get_running_loop().call_later(seconds, run)
        self.timers.add(timer)

    async def work(self) -> None:
        """What is due, and what no process has done in time."""

        def look(connection: Connection) -> tuple[list[due.Due], int]:
            at = clock(connection)
            found = due.overdue(connection, self.kinds_in_time, before=at - GRACE_MICROSECONDS)
            return found + due.overdue(connection, self.handlers.keys() - self.kinds_in_time, before=at), at

        found, at = await self.database.read(look)
        self.late_seconds = max((at - each.at for each in found), default=0) / SECOND
        await asyncio.gather(*(self._handle(each.kind, each.ref) for each in found))

    async def _handle(self, kind: str, ref: int) -> None:
        outcome = "failed"
        try:
            await self.handlers[kind](ref)
            outcome = "done"
        except Unavailable:
            logger.warning("%s of %d: the database is unreachable; retrying", kind, ref)
        except Exception:
            logger.exception("%s of %d failed; retrying", kind, ref)
        self.runs[kind, outcome] += 1

    async def stop(self) -> None:
        self.stopping = True
        for timer in self.timers:
            timer.cancel()
        self.timers.clear()
        await self.tasks.finish()
