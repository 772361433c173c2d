"""How PostgreSQL is written: a transaction on a connection of the pool for each batch."""

import asyncio
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, event
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.connection_pool import ConnectionPool
from storage.pipeline import Pipeline, Statement, closing_after, pipeline_of
from storage.sqlstates import Undone, is_unreachable, is_wrong_server
from storage.statements_postgres import PostgresStatements
from storage.transaction import Command, NothingToCommit, run_batch
from storage.writer import Outcome

ROLLBACK = Statement("ROLLBACK")


class PostgresExecutor:
    """A batch that was refused as a whole runs again, then command by command.

    One whose connection was lost, or that waited too long for a lock, runs again once. ``pool`` commits every statement by
    itself, and its connections are used for nothing else. A batch that takes longer than ``seconds`` loses its connection.
    """

    batch = 100

    def __init__(self, pool: ConnectionPool, seconds: float, *, prepares: bool) -> None:
        self.pool = pool
        self.seconds = seconds
        # Whether statements may have names on the server.
        self.prepares = prepares
        # Round trips to the server; only grows.
        self.trips = 0
        event.listen(pool.engine.sync_engine, "before_cursor_execute", self._on_statement)

    def _on_statement(self, *_: Any) -> None:
        self.trips += 1

    async def run(self, commands: Sequence[Command[Any]]) -> Outcome:
        lost = False
        for attempt in range(2 if len(commands) > 1 else 5):
            try:
                return await self._transact(commands)
            except NothingToCommit as nothing:
                return [nothing.answer], []
            except Undone:
                await asyncio.sleep(0.01 * attempt)
            except Exception as error:
                if lost or not is_unreachable(error):
                    raise
                lost = True
        raise Undone

    async def _transact(self, commands: Sequence[Command[Any]]) -> Outcome:
        async with self.pool.connection() as connection:
            pipeline = await pipeline_of(connection, prepares=self.prepares)
            try:
                return await self._run(connection, pipeline, commands)
            except Exception as error:
                if pipeline.is_lost or is_wrong_server(error):
                    await connection.invalidate(error)
                    # The other connections lead to the same place.
                    await self.pool.engine.dispose()
                raise
            finally:
                self.trips += pipeline.trips
                pipeline.trips = 0

    async def _run(self, connection: AsyncConnection, pipeline: Pipeline, commands: Sequence[Command[Any]]) -> Outcome:
        with closing_after(pipeline.connection, self.seconds):
            try:
                return await connection.run_sync(self._apply, pipeline, commands)
            except Exception:
                if not pipeline.is_lost:
                    await pipeline.run([ROLLBACK])
                raise

    def _apply(self, connection: Connection, pipeline: Pipeline, commands: Sequence[Command[Any]]) -> Outcome:
        statements = PostgresStatements(connection, pipeline, self.seconds)
        outcome = run_batch(statements, commands)
        statements.commit()
        return outcome

    async def close(self) -> None:
        await self.pool.close()
