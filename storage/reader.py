"""How the database is read: a function runs over a connection, in one go.

On SQLite each of aiosqlite's connections has a thread, and the function runs there whole: a hop to the thread and back costs
more than most statements. Relied on of aiosqlite 0.22: ``Connection._execute`` runs a function in the thread, and ``_conn``
is the connection there.
"""

import asyncio
import logging
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, TypeVar

import aiosqlite
import psycopg
from sqlalchemy import Connection, create_engine, event
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.pool import StaticPool
from sqlalchemy.util import await_only

from storage.connection_pool import ConnectionPool
from storage.pipeline import PIPELINE, Pipeline, Statement, closing_after, pipeline_of
from storage.sqlstates import costs_connection, is_retriable
from storage.tasks import Tasks

logger = logging.getLogger("bellwire.storage")

T = TypeVar("T")
SNAPSHOT = Statement("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
# Not ROLLBACK, after which psycopg discards its prepared statements.
COMMIT = Statement("COMMIT")
PRAGMAS = ("query_only = ON", "busy_timeout = 5000")


class DatabaseReader(Protocol):
    async def read(self, query: Callable[[Connection], T], snapshot: bool) -> T:
        """``snapshot``: all statements of ``query`` see one moment."""
        ...

    async def close(self) -> None: ...


class SqliteReader:
    """A few connections that only read. ``await start()`` before use. A read ends after ``seconds`` with a TimeoutError."""

    def __init__(self, path: Path, size: int, seconds: float) -> None:
        self.path = path
        self.size = size
        self.seconds = seconds
        self.free: asyncio.Queue[SqliteThread] = asyncio.Queue()
        self.threads: list[SqliteThread] = []

    async def start(self) -> None:
        for _ in range(self.size):
            thread = SqliteThread(await aiosqlite.connect(self.path, isolation_level=None))
            self.threads.append(thread)
            await thread.run(thread.prepare)
            self.free.put_nowait(thread)

    async def read(self, query: Callable[[Connection], T], snapshot: bool) -> T:
        async with asyncio.timeout(self.seconds):
            thread = await self.free.get()
            try:
                return await thread.run(thread.read, query, snapshot)
            finally:
                self.free.put_nowait(thread)

    async def close(self) -> None:
        for thread in self.threads:
            await thread.run(thread.release)
            await thread.thread_connection.close()


class SqliteThread:
    """A connection of aiosqlite, and Core over it in the same thread."""

    connection: Connection

    def __init__(self, thread_connection: aiosqlite.Connection) -> None:
        self.thread_connection = thread_connection

    async def run(self, work: Callable[..., T], *arguments: Any) -> T:
        result: T = await asyncio.shield(self.thread_connection._execute(work, *arguments))  # type: ignore[no-untyped-call]
        return result

    def prepare(self) -> None:
        bare = self.bare
        for pragma in PRAGMAS:
            bare.execute(f"PRAGMA {pragma}")
        engine = create_engine(
            "sqlite://", creator=lambda: bare, poolclass=StaticPool, isolation_level="AUTOCOMMIT", hide_parameters=True
        )
        self.connection = engine.connect()

    @property
    def bare(self) -> sqlite3.Connection:
        return self.thread_connection._conn

    def read(self, query: Callable[[Connection], T], snapshot: bool) -> T:
        if snapshot:
            self.bare.execute("BEGIN")
        try:
            return query(self.connection)
        finally:
            if snapshot:
                self.bare.execute("ROLLBACK")
            self.connection.rollback()

    def release(self) -> None:
        self.connection.detach()
        self.connection.close()


class PostgresReader:
    """``pool`` commits every statement by itself. A read loses its connection ``seconds`` after it was asked for.

    If the connection is lost earlier, the query runs once more, on a new one.

    A snapshot begins with its first statement, in one round trip; who asked does not wait for its end.
    """

    def __init__(self, pool: ConnectionPool, seconds: float, *, prepares: bool) -> None:
        self.pool = pool
        self.seconds = seconds
        # Whether statements may have names on the server.
        self.prepares = prepares
        # When a connection was lost last, of time.monotonic().
        self.lost_at = float("-inf")
        # Connections whose snapshots are being ended.
        self.tasks = Tasks()
        event.listen(pool.engine.sync_engine, "before_cursor_execute", begin)

    async def read(self, query: Callable[[Connection], T], snapshot: bool) -> T:
        deadline, retried = time.monotonic() + self.seconds, False
        while True:
            connection, pipeline = await self._connect(deadline)
            try:
                return await self._run(connection, pipeline, query, snapshot, deadline)
            except Exception as error:
                if costs_connection(error):
                    # All that are open now lead to the same place.
                    self.lost_at = time.monotonic()
                elif not is_retriable(error):
                    raise
                if retried or time.monotonic() >= deadline:
                    raise
                retried = True

    async def _connect(self, deadline: float) -> tuple[AsyncConnection, Pipeline]:
        """A connection that was opened after the last one was lost."""
        while True:
            async with asyncio.timeout(max(0.0, deadline - time.monotonic())):
                connection = await self.pool.connect()
            try:
                pipeline = await pipeline_of(connection, prepares=self.prepares)
                if pipeline.opened_at >= self.lost_at:
                    return connection, pipeline
                await connection.invalidate()
            except BaseException:
                await self.pool.release(connection)
                raise
            await self.pool.release(connection)

    async def _run(
        self,
        connection: AsyncConnection,
        pipeline: Pipeline,
        query: Callable[[Connection], T],
        snapshot: bool,
        deadline: float,
    ) -> T:
        try:
            if snapshot:
                pipeline.pending.append(SNAPSHOT)
            with closing_after(pipeline.connection, max(0.0, deadline - time.monotonic())):
                return await connection.run_sync(query)
        finally:
            if pipeline.is_lost or pipeline.is_idle:
                await self._release(connection, pipeline)
            else:
                self.tasks.spawn(self._end(connection, pipeline))

    async def _end(self, connection: AsyncConnection, pipeline: Pipeline) -> None:
        """Of a snapshot."""
        try:
            with closing_after(pipeline.connection, self.seconds):
                await pipeline.run([COMMIT])
        except psycopg.Error as error:
            logger.info("a snapshot could not be ended: %r", error)
        finally:
            await self._release(connection, pipeline)

    async def _release(self, connection: AsyncConnection, pipeline: Pipeline) -> None:
        """Give it back to the pool, unless it is lost."""
        pipeline.pending.clear()
        if pipeline.is_lost and not connection.invalidated:
            await connection.invalidate()
        await self.pool.release(connection)

    async def close(self) -> None:
        await self.tasks.finish()
        await self.pool.close()


def begin(connection: Connection, *_: Any) -> None:
    """Begin the snapshot before a statement of SQLAlchemy's."""
    pipeline = connection.info.get(PIPELINE)
    if pipeline and pipeline.pending:
        await_only(pipeline.run([]))
