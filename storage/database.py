"""The database: SQLite in the data folder, or PostgreSQL by URL. One door to write, one to read.

On SQLite one synchronous connection in its own thread does all writing and checkpointing, which also keeps clear of the
WAL-reset fault of SQLite before 3.51.3 (https://sqlite.org/wal.html#walresetbug); aiosqlite's connections only read.
"""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import Connection, create_engine, event, make_url
from sqlalchemy.exc import DatabaseError
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import StaticPool

from storage import epoch, migrations
from storage.connection_pool import ConnectionPool
from storage.epoch import Marks
from storage.executor_postgres import PostgresExecutor
from storage.executor_sqlite import SqliteExecutor
from storage.reader import DatabaseReader, PostgresReader, SqliteReader
from storage.sqlstates import unavailable_where_unreachable
from storage.transaction import Command
from storage.writer import Executor, OnCommit, OnUnknown, Writer, ignore

# Seconds, but for the last: milliseconds for which the network may fail to deliver anything.
CONNECTING = {
    "connect_timeout": 5,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 20_000,
}
T = TypeVar("T")
# Without a commit for so long, a queue that is not empty stands still.
MOVING_SECONDS = 3.0


class DatabaseBroken(Exception):
    """The database can't be used"""


def sqlite_path(url: str) -> Path | None:
    """The file behind a SQLite URL, or None for another database."""
    parsed = make_url(url)
    return Path(parsed.database or "") if parsed.get_backend_name() == "sqlite" else None


class Database:
    """``await start()`` before use, ``await close()`` after. ``on_commit`` and ``on_unknown`` are as of ``Writer``."""

    # The name of the history, see ``storage/epoch.py``.
    epoch: str
    writer: Writer
    reader: DatabaseReader
    # Of SQLite alone.
    marks: Marks | None = None

    def __init__(
        self,
        url: str,
        *,
        pool: int = 4,
        connections: int = 20,
        read_seconds: float = 15.0,
        write_seconds: float = 10.0,
        pooled: bool = False,
        on_commit: OnCommit = ignore,
        on_unknown: OnUnknown = ignore,
    ) -> None:
        self.url = url
        # Of the SQLite file; None on PostgreSQL.
        self.path = sqlite_path(url)
        # Connections that read: on SQLite there are as many; on PostgreSQL they stay open, and there are more when needed.
        self.pool = pool
        self.connections = connections
        # A longer read is Unavailable, and so is a longer batch of writes on PostgreSQL.
        self.read_seconds = read_seconds
        self.write_seconds = write_seconds
        # Whether a pooler stands before PostgreSQL that gives each transaction another connection.
        self.pooled = pooled
        self.on_commit = on_commit
        self.on_unknown = on_unknown

    async def start(self) -> None:
        if self.path:
            try:
                await asyncio.to_thread(migrations.upgrade_file, self.path)
            except DatabaseError as error:
                raise DatabaseBroken(f"{self.path} can't be used: {error.orig}") from error
            await self._start_sqlite(self.path)
        else:
            kept = min(self.pool, self.connections)
            # Of their own, so that slow reads keep no write waiting.
            writing, reading = self.connection_pool(1, 1), self.connection_pool(kept, self.connections - kept)
            self.writer = self._writer(PostgresExecutor(writing, self.write_seconds, prepares=not self.pooled))
            self.reader = PostgresReader(reading, self.read_seconds, prepares=not self.pooled)
        try:
            if not self.path:
                await self.read(migrations.require_newest)
            open_history = self.marks.open_history if self.marks else epoch.open_history
            self.epoch = await self.write(Command(open_history, keys=["installation"]))
        except BaseException:
            await self.close()
            raise

    def connection_pool(self, size: int, overflow: int) -> ConnectionPool:
        """Connections to PostgreSQL that commit every statement by itself: ``size`` stay open, ``overflow`` come on top."""
        engine = create_async_engine(
            self.url,
            pool_size=size,
            max_overflow=overflow,
            pool_timeout=self.read_seconds,
            connect_args=self._connect_args(),
            hide_parameters=True,
            pool_reset_on_return=None,
            isolation_level="AUTOCOMMIT",
        )
        return ConnectionPool(engine)

    def _connect_args(self) -> dict[str, Any]:
        """What the URL does not say itself; see https://www.postgresql.org/docs/current/libpq-connect.html."""
        said = make_url(self.url).query
        wanted = {name: value for name, value in CONNECTING.items() if name not in said}
        # Names of prepared statements belong to a connection, which a pooler exchanges.
        return wanted | ({"prepare_threshold": None} if self.pooled else {})

    async def _start_sqlite(self, path: Path) -> None:
        writing = create_engine(
            f"sqlite:///{path}", poolclass=StaticPool, isolation_level="AUTOCOMMIT", hide_parameters=True
        )
        event.listen(writing, "connect", prepare_writer)
        self.marks = Marks(path.with_suffix(".mark"))
        self.writer = self._writer(SqliteExecutor(writing, self.marks))
        reader = self.reader = SqliteReader(path, self.pool, self.read_seconds)
        await reader.start()

    def _writer(self, executor: Executor) -> Writer:
        return Writer(executor, self.on_commit, self.on_unknown)

    async def migrate(self) -> None:
        """Bring the database to the newest schema, without starting."""
        if self.path:
            await asyncio.to_thread(migrations.upgrade_file, self.path)
            return
        engine = create_async_engine(self.url, connect_args=self._connect_args(), hide_parameters=True)
        async with engine.begin() as connection:
            await connection.run_sync(migrations.upgrade)
        await engine.dispose()

    async def close(self) -> None:
        # The writer's connection closes last: it is the one that checkpoints.
        await self.writer.drain()
        await self.reader.close()
        await self.writer.executor.close()
        if self.marks:
            self.marks.write()

    @property
    def trips(self) -> int:
        """Round trips of all batches; none on SQLite."""
        executor = self.writer.executor
        return executor.trips if isinstance(executor, PostgresExecutor) else 0

    async def can_write(self) -> None:
        """Raises where nothing can be written now. A queue that is full, or long and moving, is fine."""
        moving = self.writer.depth and time.monotonic() - self.writer.committed_at < MOVING_SECONDS
        if self.writer.depth < self.writer.size and not moving:
            # The lock of a channel that does not exist: a server that only reads refuses it.
            await self.write(Command(lambda tx: None, channels=[0]))

    def write(self, command: Command[T]) -> "asyncio.Future[T]":
        """Queue a command; the future resolves after its commit. See ``storage/transaction.py``."""
        return self.writer.submit(command)

    async def read(self, query: Callable[[Connection], T], *, snapshot: bool = False) -> T:
        """Run ``query`` on a reading connection; with ``snapshot`` all its statements see one moment.

        Raises Unavailable if the database can't be reached, or has not answered after ``read_seconds``.
        """
        with unavailable_where_unreachable("the database cannot be read"):
            return await self.reader.read(query, snapshot)


def prepare_writer(connection: Any, _record: Any) -> None:
    for pragma in (
        "journal_mode = WAL",
        "synchronous = FULL",
        "foreign_keys = ON",
        "secure_delete = ON",
        "cache_size = -65536",
        "temp_store = MEMORY",
        "wal_autocheckpoint = 4000",
        "busy_timeout = 5000",
    ):
        connection.execute(f"PRAGMA {pragma}")
