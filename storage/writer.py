"""The one queue through which everything is written: what waits is committed together, then answered.

``Writer.submit`` returns a future that resolves after COMMIT (and on SQLite after its fsync). While one batch commits the
next one gathers, so that the more there is to do, the fewer commits it takes for each.
"""

import asyncio
import contextlib
import logging
import os
import queue
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from contextvars import Context
from typing import Any, Protocol, TypeVar

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncEngine

from storage.epoch import Marks
from storage.errors import Problem, Unavailable
from storage.transaction import Command, Event, Undone, run_batch, sqlstate

logger = logging.getLogger(__name__)
T = TypeVar("T")

# What a batch writes at most, about, unless one command alone writes more.
BATCH_BYTES = 4 * 2**20
# Seconds that an event may wait for the next ones of its channel.
GATHER_SECONDS = 0.005
UNKNOWN = "It is not known whether this was stored; retry with the same key"
UNREACHABLE = (OperationalError, InterfaceError, sqlite3.OperationalError, OSError)
# Connection exceptions, too many connections, and a server that stops or starts
# (https://www.postgresql.org/docs/current/errcodes-appendix.html).
CONNECTION_LOST = ("08", "53", "57P")
Outcome = tuple[list[Any], list[Event]]
OnCommit = Callable[[list[Event]], None]
OnUnknown = Callable[[set[int]], None]


def is_unreachable(error: BaseException) -> bool:
    """Whether the database can't be reached now, and it is worth trying again."""
    if isinstance(error, (*UNREACHABLE, PoolTimeout)):
        return True
    if not isinstance(error, DBAPIError):
        return False
    return error.connection_invalidated or (sqlstate(error) or "").startswith(CONNECTION_LOST)


class CommitUnknown(Exception):
    """COMMIT itself failed: the batch may be stored or not"""


class Executor(Protocol):
    """Runs one batch at a time. Raises ``CommitUnknown`` where the outcome can't be told."""

    batch: int

    async def run(self, commands: Sequence[Command[Any]]) -> Outcome: ...

    async def close(self) -> None: ...


class Writer:
    """Group commit.

    ``on_commit`` gets the events of a batch right after its COMMIT, some with those of the next batch; ``on_unknown`` the
    channels of a batch whose COMMIT failed. ``size`` bounds what may wait; above it ``submit`` raises ``Unavailable``.
    """

    def __init__(self, executor: Executor, on_commit: OnCommit, on_unknown: OnUnknown, *, size: int = 20_000) -> None:
        self.executor = executor
        self.on_commit = on_commit
        self.on_unknown = on_unknown
        # Commands.
        self.size = size
        # Batches committed, their commands, and the seconds that they took; all only grow.
        self.batches = 0
        self.commands = 0
        self.seconds = 0.0
        # Commands for the next batches, with the futures of their answers, and the task that commits them.
        self._waiting: list[tuple[Command[Any], asyncio.Future[Any]]] = []
        self._task: asyncio.Task[None] | None = None
        # Committed events that wait for the next ones of their channel.
        self._held: list[Event] = []

    def submit(self, command: Command[T]) -> "asyncio.Future[T]":
        """Queue a command; the future holds its answer once it is committed, or its error."""
        if len(self._waiting) >= self.size:
            raise Unavailable("Server overloaded: the write queue is full; try again later")
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._waiting.append((command, future))
        if self._task is None:
            self._task = asyncio.create_task(self._work(), context=Context())
        return future

    @property
    def depth(self) -> int:
        return len(self._waiting)

    async def drain(self) -> None:
        """Wait until all that was submitted is answered."""
        while self._task is not None:
            await asyncio.wait([self._task])

    async def _work(self) -> None:
        try:
            while self._waiting:
                count = self._count()
                batch = [item for item in self._waiting[:count] if not item[1].done()]
                del self._waiting[:count]
                if batch:
                    await self._commit(batch)
        finally:
            self._task = None

    def _count(self) -> int:
        """How many of those that wait make a batch: bounded in number and in bytes, and one at least."""
        weight = 0
        for count, (command, _) in enumerate(self._waiting[: self.executor.batch]):
            weight += command.weight
            if weight > BATCH_BYTES:
                return max(1, count)
        return self.executor.batch

    async def _commit(self, batch: list[tuple[Command[Any], "asyncio.Future[Any]"]]) -> None:
        began = time.perf_counter()
        try:
            answers, events = await self.executor.run([command for command, _ in batch])
        except CommitUnknown:
            logger.exception("COMMIT failed, outcome unknown")
            for _, future in batch:
                settle(future, Unavailable(UNKNOWN))
            self.on_unknown({pk for command, _ in batch for pk in command.channels})
            return
        except Exception as error:
            if len(batch) > 1 and not is_unreachable(error):
                # One of them could not be written, or all stood in another node's way: each for itself.
                for item in batch:
                    await self._commit([item])
                return
            problem = Problem()
            if isinstance(error, Undone) or is_unreachable(error):
                problem = Unavailable()
                logger.warning("a batch of %d could not be written: %s", len(batch), error)
            else:
                logger.exception("a batch of %d failed", len(batch))
            for _, future in batch:
                settle(future, problem)
            return
        self.batches += 1
        self.seconds += time.perf_counter() - began
        self.commands += len(batch)
        for (_, future), answer in zip(batch, answers, strict=True):
            settle(future, answer)
        self._publish(events)

    def _publish(self, events: list[Event]) -> None:
        """Publish a batch; channels for which more waits already, together with the next one, at most 5 ms later."""
        busy = set() if self._held else {pk for command, _ in self._waiting for pk in command.channels}
        later = [event for event in events if event.channel_pk in busy]
        ready = [*self._held, *(event for event in events if event.channel_pk not in busy)]
        self._held = later
        if later:
            asyncio.get_running_loop().call_later(GATHER_SECONDS, self._publish, [])
        if ready:
            try:
                self.on_commit(ready)
            except Exception:
                # They are in the log, where this node is to look now, and others look anyway.
                logger.exception("%d events could not be published", len(ready))
                self.on_unknown({event.channel_pk for event in ready})


def ignore(events: list[Event] | set[int]) -> None:
    """For a process that publishes nothing."""


def settle(future: "asyncio.Future[Any]", answer: Any) -> None:
    if future.done():
        return
    if isinstance(answer, Exception):
        future.set_exception(answer)
    else:
        future.set_result(answer)


class SqliteExecutor:
    """One thread with the one connection that writes: a batch costs one hop there and one back."""

    batch = 200

    def __init__(self, engine: Engine, marks: Marks) -> None:
        self.engine = engine
        self.marks = marks
        self.inbox: queue.SimpleQueue[Callable[[Connection, sqlite3.Connection], None] | None] = queue.SimpleQueue()
        self.thread = threading.Thread(target=self._serve, name="writer", daemon=True)
        self.thread.start()

    async def run(self, commands: Sequence[Command[Any]]) -> Outcome:
        loop = asyncio.get_running_loop()
        done: asyncio.Future[Outcome] = loop.create_future()

        def job(connection: Connection, bare: sqlite3.Connection) -> None:
            result: Outcome | Exception
            try:
                result = self._transact(connection, bare, commands)
            except Exception as error:
                result = error
            loop.call_soon_threadsafe(settle, done, result)

        self.inbox.put(job)
        return await done

    def _transact(self, connection: Connection, bare: sqlite3.Connection, commands: Sequence[Command[Any]]) -> Outcome:
        bare.execute("BEGIN IMMEDIATE")
        try:
            outcome = run_batch(connection, commands, bare)
            self.marks.count(connection, bare)
        except BaseException:
            bare.execute("ROLLBACK")
            raise
        try:
            bare.execute("COMMIT")
        except Exception as error:
            if bare.in_transaction:
                bare.execute("ROLLBACK")
            raise CommitUnknown from error
        self.marks.after_commit()
        return outcome

    def _serve(self) -> None:
        try:
            with self.engine.connect() as connection:
                bare = connection.connection.driver_connection
                assert isinstance(bare, sqlite3.Connection)
                while (job := self.inbox.get()) is not None:
                    job(connection, bare)
        except BaseException:
            logger.critical("the writer stopped; the process can't go on without it", exc_info=True)
            os._exit(70)

    async def close(self) -> None:
        self.inbox.put(None)
        await asyncio.to_thread(self.thread.join)
        self.engine.dispose()


class PostgresExecutor:
    """A transaction of the pool for each batch; one that was refused as a whole runs again, then command by command."""

    batch = 50

    def __init__(self, engine: AsyncEngine) -> None:
        self.engine = engine

    async def run(self, commands: Sequence[Command[Any]]) -> Outcome:
        for attempt in range(2 if len(commands) > 1 else 5):
            with contextlib.suppress(Undone):
                return await self._transact(commands)
            await asyncio.sleep(0.01 * attempt)
        raise Undone

    async def _transact(self, commands: Sequence[Command[Any]]) -> Outcome:
        async with self.engine.connect() as connection:
            outcome = await connection.run_sync(run_batch, commands)
            try:
                await connection.commit()
            except DBAPIError as error:
                if getattr(error.orig, "sqlstate", None) in {"40001", "40P01"}:
                    raise Undone from error
                raise CommitUnknown from error
            except Exception as error:
                raise CommitUnknown from error
            return outcome

    async def close(self) -> None:
        """The engine belongs to the database, which closes it."""
