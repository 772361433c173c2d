"""How SQLite is written: one thread with the one connection that writes."""

import asyncio
import logging
import os
import queue
import sqlite3
import threading
from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import Connection, Engine

from storage.epoch import Marks
from storage.sqlstates import CommitUnknown
from storage.statements_sqlite import SqliteStatements
from storage.transaction import Command, NothingToCommit, run_batch
from storage.writer import Outcome, settle

logger = logging.getLogger("bellwire.storage")


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
        try:
            return await done
        except NothingToCommit as nothing:
            return [nothing.answer], []

    def _transact(self, connection: Connection, bare: sqlite3.Connection, commands: Sequence[Command[Any]]) -> Outcome:
        bare.execute("BEGIN IMMEDIATE")
        try:
            outcome = run_batch(SqliteStatements(connection, bare), commands)
            self.marks.count(bare)
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
