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
    finds it, and its place in the pool stays occupied. So both happen in tasks of their own. It also forgets one
    that is in use while the pool is disposed of: it is closed when it is returned.
    """

    def __init__(self, engine: AsyncEngine) -> None:
        self.engine = engine
        # Connections that open, and those that are returned.
        self.tasks = Tasks()
        # How often the engine's connections were disposed of, and by connection in use, how often when it was asked for.
        self.generation = 0
        self.in_use: dict[AsyncConnection, int] = {}
        # psycopg's connections, for as long as anything refers to them.
        self.opened: WeakSet[psycopg.AsyncConnection[Any]] = WeakSet()
        event.listen(engine.sync_engine, "connect", self._on_connect)

    def _on_connect(self, adapted: Any, _: Any) -> None:
        self.opened.add(adapted.driver_connection)

    async def connect(self) -> AsyncConnection:
        """The caller calls ``release`` after use. Raises SQLAlchemy's TimeoutError if none gets free in time."""
        opening = self.tasks.spawn(self._open())
        try:
            return await asyncio.shield(opening)
        except asyncio.CancelledError:
            self.tasks.spawn(self._return_opened(opening))
            raise

    async def release(self, connection: AsyncConnection) -> None:
        await asyncio.shield(self.tasks.spawn(self._return(connection)))

    @contextlib.asynccontextmanager
    async def connection(self) -> AsyncIterator[AsyncConnection]:
        connection = await self.connect()
        try:
            yield connection
        finally:
            await self.release(connection)

    async def dispose(self) -> None:
        """Close all connections, those in use when they are returned."""
        self.generation += 1
        await self.engine.dispose()

    async def close(self) -> None:
        await self.tasks.finish()
        await self.dispose()
        await self.tasks.finish()
        # Those of callers that were cancelled with the event loop, and return nothing any more.
        for connection in list(self.opened):
            connection.pgconn.finish()

    async def _open(self) -> AsyncConnection:
        generation = self.generation
        connection = await self.engine.connect()
        self.in_use[connection] = generation
        return connection

    async def _return(self, connection: AsyncConnection) -> None:
        if self.in_use.pop(connection) != self.generation and not connection.invalidated:
            await connection.invalidate()
        await connection.close()

    async def _return_opened(self, opening: asyncio.Task[AsyncConnection]) -> None:
        """The caller was cancelled, so an error has no one to be reported to."""
        with contextlib.suppress(Exception):
            await self._return(await opening)
