"""A pool of connections to PostgreSQL of which none is lost when a caller is cancelled."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any
from weakref import WeakSet

import psycopg
from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from storage.tasks import Tasks


class ConnectionPool:
    """``engine``, whose callers may be cancelled at any moment.

    SQLAlchemy (2.0) forgets a connection when its setup or its return is cancelled: it stays open until the garbage collector
    finds it, and its place in the pool stays occupied. So both happen in tasks of their own. It also forgets one that is in
    use while the engine is disposed of, so ``close`` closes those itself.
    """

    def __init__(self, engine: AsyncEngine) -> None:
        self.engine = engine
        # Connections that open, and those that are returned.
        self.tasks = Tasks()
        # psycopg's connections, for as long as anything refers to them.
        self.opened: WeakSet[psycopg.AsyncConnection[Any]] = WeakSet()
        event.listen(engine.sync_engine, "connect", self._on_connect)

    def _on_connect(self, adapted: Any, _: Any) -> None:
        self.opened.add(adapted.driver_connection)

    async def connect(self) -> AsyncConnection:
        """The caller calls ``release`` after use. Raises SQLAlchemy's TimeoutError if none gets free in time."""
        opening = self.tasks.spawn(open_connection(self.engine))
        try:
            return await asyncio.shield(opening)
        except asyncio.CancelledError:
            self.tasks.spawn(release_opened(opening))
            raise

    async def release(self, connection: AsyncConnection) -> None:
        await asyncio.shield(self.tasks.spawn(connection.close()))

    @contextlib.asynccontextmanager
    async def connection(self) -> AsyncIterator[AsyncConnection]:
        connection = await self.connect()
        try:
            yield connection
        finally:
            await self.release(connection)

    async def close(self) -> None:
        """Close all connections; those that are still in use fail."""
        await self.tasks.finish()
        await self.engine.dispose()
        for connection in list(self.opened):
            connection.pgconn.finish()


async def open_connection(engine: AsyncEngine) -> AsyncConnection:
    return await engine.connect()


async def release_opened(opening: asyncio.Task[AsyncConnection]) -> None:
    """The caller was cancelled, so an error has no one to be reported to."""
    with contextlib.suppress(Exception):
        connection = await opening
        await connection.close()
