"""Statements that share a round trip to PostgreSQL."""

import asyncio
from collections.abc import AsyncIterator

import psycopg
import pytest

from storage.pipeline import Pipeline, Statement, byte_strings, closing_after, numbers, texts
from tests.support.guard import HANG_SECONDS
from tests.support.postgres import connect


@pytest.fixture(params=["named", "unnamed"])
async def pipeline(request: pytest.FixtureRequest, postgres_database: str) -> AsyncIterator[Pipeline]:
    connection = await connect(postgres_database)
    yield Pipeline(connection, prepares=request.param == "named")
    await connection.close()


async def test_each_statement_has_its_rows(pipeline: Pipeline) -> None:
    statements = [
        Statement("SELECT 1"),
        Statement("SELECT k, k || '!' FROM unnest($1::text[]) AS k", [texts(["a", "b"])]),
        Statement("SELECT 1 WHERE false"),
        Statement("SELECT true, NULL, 'x'::bytea, $1::bigint, $2::float8", [b"7", b"0.5"]),
    ]
    for _ in range(2):
        assert await pipeline.run(statements) == [[(1,)], [("a", "a!"), ("b", "b!")], [], [(True, None, b"x", 7, 0.5)]]


async def test_one_that_is_refused_ends_those_after_it_and_the_connection_goes_on(pipeline: Pipeline) -> None:
    await pipeline.run([Statement("CREATE TABLE seen (n int)")])
    refused = [Statement("SELECT 1 / $1::int", [b"0"]), Statement("INSERT INTO seen VALUES (1)"), Statement("COMMIT")]
    with pytest.raises(psycopg.errors.DivisionByZero):
        await pipeline.run([Statement("BEGIN"), Statement("INSERT INTO seen VALUES (0)"), *refused])
    assert not pipeline.is_lost
    await pipeline.run([Statement("ROLLBACK")])
    assert await pipeline.run([Statement("SELECT count(*) FROM seen")]) == [[(0,)]]


async def test_what_does_not_fit_into_the_buffers_of_the_network(pipeline: Pipeline) -> None:
    """Both sides write at the same time: who did not read meanwhile would wait for ever."""
    large = [byte_strings([b"x" * 2**20])] * 1
    statement = Statement("SELECT b FROM unnest($1::bytea[]) AS b", large)
    async with asyncio.timeout(HANG_SECONDS):
        answers = await pipeline.run([statement] * 24)
    assert [len(value) for ((value,),) in answers] == [2**20] * 24


async def test_a_connection_that_is_lost_says_so(pipeline: Pipeline, postgres_database: str) -> None:
    (((pid,),),) = await pipeline.run([Statement("SELECT pg_backend_pid()")])
    other = await connect(postgres_database)
    running = asyncio.create_task(pipeline.run([Statement("SELECT pg_sleep(1000)")]))
    async with asyncio.timeout(HANG_SECONDS):
        query = "SELECT count(*) FROM pg_stat_activity WHERE pid = %s AND wait_event = 'PgSleep'"
        while (await (await other.execute(query, [pid])).fetchone()) != (1,):
            await asyncio.sleep(0.01)
    await other.execute("SELECT pg_terminate_backend(%s)", [pid])
    with pytest.raises(psycopg.OperationalError):
        await running
    assert pipeline.is_lost
    await other.close()


async def test_a_connection_is_shut_down_when_its_time_is_over(pipeline: Pipeline) -> None:
    with closing_after(pipeline.connection, 0.01), pytest.raises(psycopg.OperationalError):
        async with asyncio.timeout(HANG_SECONDS):
            await pipeline.run([Statement("SELECT pg_sleep(1000)")])
    assert pipeline.is_lost


async def test_a_prepared_statement_that_is_gone_is_prepared_again(pipeline: Pipeline) -> None:
    await pipeline.run([Statement("SELECT 1")])
    await pipeline.run([Statement("DEALLOCATE ALL")])
    if pipeline.prepares:
        with pytest.raises(psycopg.errors.InvalidSqlStatementName):
            await pipeline.run([Statement("SELECT 1")])
    assert await pipeline.run([Statement("SELECT 1")]) == [[(1,)]]


def test_what_no_array_can_hold() -> None:
    assert numbers([1, None, -3, 0.5]) == b"{1,NULL,-3,0.5}"
    with pytest.raises(ValueError, match="NUL"):
        texts(["a\0b"])
