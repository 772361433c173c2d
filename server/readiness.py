"""Whether a node should get requests: it is not draining, and its database answers and can be written."""

import asyncio
import logging
import time

from storage.database import Database

logger = logging.getLogger("bellwire.server")

SHARED_SECONDS = 2.0
ANSWER_SECONDS = 3.0


class Readiness:
    """All who ask within two seconds share an answer."""

    def __init__(self, database: Database) -> None:
        self.database = database
        # Requests go to other nodes from here on.
        self.draining = False
        # Why the database can't be used, if so, and when that was found out, of time.monotonic().
        self.problems: list[str] = []
        self.known_at = float("-inf")
        # The look at the database that is under way. It is not cancelled: it ends at its own deadlines.
        self.looking: asyncio.Task[None] | None = None

    async def reasons(self) -> list[str]:
        """Why no requests should come here; empty for a node that is ready."""
        if self.draining:
            return ["draining"]
        if time.monotonic() - self.known_at >= SHARED_SECONDS:
            if self.looking is None:
                self.looking = asyncio.create_task(self._look())
            await asyncio.wait({self.looking}, timeout=ANSWER_SECONDS)
            if time.monotonic() - self.known_at >= SHARED_SECONDS:
                self._know("it has not answered for a while")
        return self.problems

    async def _look(self) -> None:
        try:
            await self.database.read(lambda connection: connection.exec_driver_sql("SELECT 1").scalar())
            await self.database.can_write()
            self._know(None)
        except Exception as error:
            self._know(type(error).__name__)
        finally:
            self.looking = None

    def _know(self, problem: str | None) -> None:
        if problem:
            logger.warning("the database can't be used: %s", problem)
        self.problems = ["the database does not answer, or can't be written"] if problem else []
        self.known_at = time.monotonic()
