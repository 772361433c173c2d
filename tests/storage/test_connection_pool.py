"""A caller that is cancelled while it uses the database leaves no connection open, whatever it was waiting for."""

import asyncio
import gc
import types
import warnings
from collections.abc import Callable, Coroutine, Generator
from functools import partial
from typing import Any

import pytest
from sqlalchemy import Connection, text

from storage.database import Database
from storage.search_index_postgres import PostgresSearchIndex

Use = Callable[[Database, PostgresSearchIndex], Coroutine[Any, Any, Any]]


def query(connection: Connection) -> None:
    for _ in range(2):
        connection.execute(text("SELECT 1")).all()


async def read(database: Database, _: PostgresSearchIndex, *, snapshot: bool) -> None:
    await database.read(query, snapshot=snapshot)


async def fill(_: Database, index: PostgresSearchIndex) -> None:
    await index.update([1, 2])


@types.coroutine
def cancelled_at(number: int, work: Coroutine[Any, Any, Any]) -> Generator[Any, Any, bool]:
    """Run ``work`` and cancel it the ``number``-th time that it waits; whether it waited so often."""
    task = asyncio.current_task()
    assert task
    waits, step = 0, partial(work.send, None)
    while True:
        try:
            waiting_for = step()
        except StopIteration:
            return waits > number
        except asyncio.CancelledError:
            return True
        if waits == number:
            task.cancel()
        waits += 1
        try:
            step = partial(work.send, (yield waiting_for))
        except BaseException as error:
            step = partial(work.throw, error)


@pytest.mark.parametrize(
    "use", [partial(read, snapshot=False), partial(read, snapshot=True), fill], ids=["read", "snapshot", "search index"]
)
@pytest.mark.filterwarnings("ignore::ResourceWarning")
async def test_a_caller_that_is_cancelled_leaves_no_connection_open(postgres_database: str, use: Use) -> None:
    number, waited = 0, True
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        while waited:
            # New ones each time, so that connections have to be opened.
            database = Database(postgres_database)
            await database.start()
            index = PostgresSearchIndex(database)
            waited = await asyncio.create_task(cancelled_at(number, use(database, index)))
            await index.close()
            await database.close()
            number += 1
        gc.collect()
    assert number > 2
    assert [str(each.message) for each in seen] == []


@pytest.mark.filterwarnings("ignore::ResourceWarning")
async def test_a_connection_that_is_in_use_while_the_pool_closes_is_closed(postgres_database: str) -> None:
    database = Database(postgres_database)
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        pool = database.connection_pool(2, 0)
        connection = await pool.connect()
        await pool.close()
        await pool.release(connection)
        del connection, pool
        gc.collect()
    assert [str(each.message) for each in seen if "psycopg" in str(each.message)] == []
