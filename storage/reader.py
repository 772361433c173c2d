"""How the database is read: a function runs over a connection, in one go.

On SQLite each of aiosqlite's connections has a thread, and the function runs there whole: a hop to the thread and back costs
more than most statements. Relied on of aiosqlite 0.22: ``Connection._execute`` runs a function in the thread, and ``_conn``
is the connection there.
"""

import asyncio
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, TypeVar

import aiosqlite
import psycopg
from sqlalchemy import Connection, create_engine
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.pool import StaticPool

from storage.pipeline import closing_after

T = TypeVar("T")
SNAPSHOT = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
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
    """``engine`` commits every statement by itself. A read loses its connection ``seconds`` after it was asked for."""

    def __init__(self, engine: AsyncEngine, seconds: float) -> None:
        self.engine = engine
        self.seconds = seconds

    async def read(self, query: Callable[[Connection], T], snapshot: bool) -> T:
        deadline = time.monotonic() + self.seconds
        async with self.engine.connect() as connection:
            driver = (await connection.get_raw_connection()).driver_connection
            assert isinstance(driver, psycopg.AsyncConnection)
            with closing_after(driver, max(0.0, deadline - time.monotonic())):
                return await connection.run_sync(in_snapshot if snapshot else call, query)

    async def close(self) -> None:
        await self.engine.dispose()


def call(connection: Connection, query: Callable[[Connection], T]) -> T:
    return query(connection)


def in_snapshot(connection: Connection, query: Callable[[Connection], T]) -> T:
    connection.exec_driver_sql(SNAPSHOT)
    try:
        return query(connection)
    finally:
        # Not ROLLBACK, after which psycopg discards its prepared statements.
        if not connection.invalidated:
            connection.exec_driver_sql("COMMIT")
