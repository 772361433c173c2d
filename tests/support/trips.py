"""What is sent to PostgreSQL, round trip by round trip."""

import contextlib
import re
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from sqlalchemy import event

from storage.database import Database
from storage.executor_postgres import PostgresExecutor
from storage.pipeline import Pipeline, Statement
from storage.reader import PostgresReader


@contextlib.contextmanager
def tracing(database: Database) -> Iterator[list[list[str]]]:
    """The statements of each trip that begins meanwhile, filled as they come."""
    executor = database.writer.executor
    assert isinstance(executor, PostgresExecutor)
    sent: list[list[str]] = []
    assert isinstance(database.reader, PostgresReader)
    engines, run = (executor.pool.engine.sync_engine, database.reader.pool.engine.sync_engine), Pipeline.run

    def on_statement(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        sent.append([statement])

    async def on_trip(self: Pipeline, statements: Sequence[Statement]) -> Any:
        sent.append([each.sql for each in statements])
        return await run(self, statements)

    for engine in engines:
        event.listen(engine, "before_cursor_execute", on_statement)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Pipeline, "run", on_trip)
        yield sent
    for engine in engines:
        event.remove(engine, "before_cursor_execute", on_statement)


def first_words(trips: Sequence[Sequence[str]]) -> list[list[str]]:
    return [[re.sub(r"\W.*", "", statement, flags=re.S).upper() for statement in trip] for trip in trips]
