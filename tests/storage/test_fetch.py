"""Rows of prepared queries, on both databases."""

import asyncio
from functools import partial
from typing import Any

import psycopg
import pytest
from sqlalchemy import Connection, Float, LargeBinary, bindparam, func, insert, literal_column, select, text
from sqlalchemy.util import await_only

from storage import log
from storage.database import Database
from storage.fetch import fetch, fetch_many, fetch_one
from storage.models import channels, facts
from storage.prepared import Prepared, json_list, of_pairs, one_of
from storage.reader import PostgresReader
from storage.transaction import Command, Tx
from tests.conftest import eventually
from tests.support.guard import HANG_SECONDS
from tests.support.postgres import connect
from tests.support.trips import tracing

VALUE = Prepared(select(facts.c.value).where(facts.c.name == bindparam("name")))
NAMED = Prepared(select(facts.c.name).where(one_of(facts.c.name, "names")).order_by(facts.c.name))
NUMBERED = Prepared(select(channels.c.pk).where(one_of(channels.c.pk, "pks")).order_by(channels.c.pk))
PAIRS = of_pairs("SELECT w.pk, w.seq, f.value FROM {pairs} JOIN facts AS f ON f.name = 'a' ORDER BY w.pk")
SOME = Prepared(select(facts.c.name).where(facts.c.name <= bindparam("most")).order_by(facts.c.name).limit(2))
COUNT = Prepared(select(func.count()).select_from(facts).where(facts.c.name.like("x%")))


@pytest.fixture
async def filled(database: Database) -> Database:
    """With the facts ``a``, ``b`` and ``c``."""

    def apply(tx: Tx) -> None:
        tx.execute(insert(facts), [{"name": name, "value": f'{name}\' %s \u00e9 "1"'} for name in "abc"])
        log.open_channel(tx, "chat:1")

    await database.write(Command(apply))
    return database


async def test_several_queries_at_once(filled: Database) -> None:
    def look(connection: Connection) -> Any:
        (pk,) = connection.execute(select(channels.c.pk)).scalars()
        found = fetch(
            connection,
            (VALUE, {"name": "a"}),
            (VALUE, {"name": "none"}),
            (NAMED, {"names": json_list(["c", "a", "none", "it's"])}),
            (NUMBERED, {"pks": json_list([pk, pk + 1])}),
            (PAIRS, {"pairs": json_list([(2, 3), (1, 2**40)])}),
            (COUNT, {}),
        )
        return pk, [list(map(tuple, rows)) for rows in found]

    pk, found = await filled.read(look)
    value = 'a\' %s \u00e9 "1"'
    assert found == [[(value,)], [], [("a",), ("c",)], [(pk,)], [(1, 2**40, value), (2, 3, value)], [(0,)]]


async def test_one_query_for_many_values(filled: Database) -> None:
    """Each has rows of its own, up to the query's limit."""

    def look(connection: Connection) -> Any:
        return fetch_many(connection, SOME, [{"most": "c"}, {"most": "a"}, {"most": " "}]), fetch_many(
            connection, SOME, []
        )

    found, none = await filled.read(look)
    assert [list(map(tuple, rows)) for rows in found] == [[("a",), ("b",)], [("a",)], []] and none == []


async def test_a_snapshot_sees_one_moment(filled: Database) -> None:
    """From its first statement on, whether that is fetched or SQLAlchemy's; what others write meanwhile comes after it."""
    loop = asyncio.get_running_loop()

    async def write(value: str) -> None:
        await filled.write(Command(lambda tx: tx.execute(facts.update().values(value=value))))

    def write_meanwhile(value: str) -> None:
        if filled.path:
            # The read has a thread of its own.
            asyncio.run_coroutine_threadsafe(write(value), loop).result(HANG_SECONDS)
        else:
            await_only(write(value))

    for first in (lambda it: fetch_one(it, COUNT, {}), lambda it: it.execute(COUNT.statement).all()):

        def look(connection: Connection, first: Any = first) -> Any:
            first(connection)
            before = fetch_one(connection, VALUE, {"name": "a"})
            write_meanwhile("new")
            return (
                before,
                fetch_one(connection, VALUE, {"name": "a"}),
                connection.execute(VALUE.statement, {"name": "a"}).all(),
            )

        await write("old")
        assert await filled.read(look, snapshot=True) == ([("old",)], [("old",)], [("old",)])
    assert await filled.read(lambda it: fetch_one(it, VALUE, {"name": "a"})) == [("new",)]


async def test_the_end_of_a_snapshot_is_not_waited_for(postgres_database: str) -> None:
    """It begins with its first statement, in the same trip; its connection goes back to the pool after it."""
    database = Database(postgres_database)
    await database.start()
    assert isinstance(database.reader, PostgresReader)
    with tracing(database) as sent:
        await database.read(lambda it: fetch(it, (COUNT, {}), (VALUE, {"name": "a"})), snapshot=True)
        answered = len(sent)
        await eventually(lambda: not database.reader.tasks.running)  # type: ignore[attr-defined]
        assert answered == 1 and sent[1:] == [["COMMIT"]]
        sent.clear()
        # One that asks nothing has nothing to end.
        await database.read(lambda it: None, snapshot=True)
        await database.read(lambda it: it.execute(COUNT.statement).all(), snapshot=True)
        await eventually(lambda: not database.reader.tasks.running)  # type: ignore[attr-defined]
        assert [len(each) for each in sent] == [0, 1, 1]
    # In a connection that is given back there is no transaction.
    connection = await connect(postgres_database)
    left = await connection.execute("SELECT count(*) FROM pg_stat_activity WHERE state LIKE 'idle in transaction%'")
    assert await left.fetchall() == [(0,)]
    await connection.close()
    await database.close()


async def test_a_query_that_is_refused_ends_the_snapshot_and_harms_no_later_one(filled: Database) -> None:
    broken = Prepared(text("SELECT nothing FROM facts WHERE name = :name"))
    for snapshot in (True, False):
        with pytest.raises(Exception, match=r"nothing|unavailable"):
            await filled.read(lambda it: fetch(it, (COUNT, {}), (broken, {"name": "a"})), snapshot=snapshot)
        for _ in range(20):
            assert await filled.read(lambda it: fetch_one(it, COUNT, {})) == [(0,)]


OWN = Prepared(select(func.pg_backend_pid()))
SLOW = Prepared(select(func.pg_sleep(bindparam("seconds", type_=Float))))


async def test_a_read_that_is_cancelled_costs_its_connection(postgres_database: str) -> None:
    database = Database(postgres_database, connections=1)
    await database.start()
    ((pid,),) = await database.read(lambda it: fetch_one(it, OWN, {}))
    task = asyncio.create_task(database.read(lambda it: fetch_one(it, SLOW, {"seconds": 1000})))
    connection = await connect(postgres_database)
    running = "SELECT pid FROM pg_stat_activity WHERE wait_event = 'PgSleep'"
    while await (await connection.execute(running)).fetchall() != [(pid,)]:
        await asyncio.sleep(0.01)
    await connection.close()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    ((later,),) = await database.read(lambda it: fetch_one(it, OWN, {}))
    assert later != pid
    await database.close()


async def test_a_statement_that_the_server_has_forgotten_is_prepared_again(postgres_database: str) -> None:
    database = Database(postgres_database, pool=1)
    await database.start()
    for snapshot in (True, False):
        for forget in ("DEALLOCATE ALL", "DISCARD ALL"):
            assert await database.read(lambda it: fetch_one(it, COUNT, {}), snapshot=snapshot) == [(0,)]
            await database.read(lambda it, forget=forget: it.exec_driver_sql(forget))  # type: ignore[misc]
    assert await database.read(lambda it: fetch_one(it, COUNT, {})) == [(0,)]
    await database.close()


async def test_a_text_with_a_nul_is_refused(postgres_database: str) -> None:
    """libpq would end the text there."""
    database = Database(postgres_database)
    await database.start()
    with pytest.raises(psycopg.DataError, match="NUL"):
        await database.read(lambda it: fetch_one(it, VALUE, {"name": "a\0b"}))
    await database.close()


async def open_connections(database: Database, url: str, count: int) -> None:
    """Have so many connections in the pool: reads that wait for a lock together."""
    holder = await connect(url)
    await holder.execute("SELECT pg_advisory_lock(1)")
    waiting = Prepared(select(func.pg_advisory_xact_lock_shared(1)))
    reads = [asyncio.create_task(database.read(lambda it: fetch_one(it, waiting, {}))) for _ in range(count)]
    blocked = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
    while await (await holder.execute(blocked)).fetchall() != [(count,)]:
        await asyncio.sleep(0.01)
    await holder.close()
    await asyncio.gather(*reads)


async def test_reads_survive_a_server_that_has_closed_all_connections(postgres_database: str) -> None:
    """None of those that were open in the pool fails more than once."""
    database = Database(postgres_database, pool=4)
    await database.start()
    await open_connections(database, postgres_database, 4)
    connection = await connect(postgres_database)
    closed = await connection.execute(
        "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity "
        "WHERE pid <> pg_backend_pid() AND datname = current_database()"
    )
    assert len(await closed.fetchall()) >= 4
    await connection.close()
    found = await asyncio.gather(*(database.read(lambda it: fetch_one(it, COUNT, {})) for _ in range(4)))
    assert found == [[(0,)]] * 4
    await database.close()


async def test_bytes_come_as_they_are_whatever_the_server_writes(postgres_database: str) -> None:
    """``bytea_output`` may be set for a role, a database or in the URL."""
    shown = Prepared(select(func.decode(bindparam("digits"), literal_column("'hex'"), type_=LargeBinary)))
    for output in ("hex", "escape"):
        database = Database(f"{postgres_database}&options=-c%20bytea_output%3D{output}")
        await database.start()
        values = [b"", b"4142", b'{"a":"\\x41"}', bytes(range(256))]
        wanted = [{"digits": each.hex()} for each in values]
        found = await database.read(partial(fetch_many, query=shown, wanted=wanted))
        assert found == [[(each,)] for each in values]
        await database.close()


async def test_reads_take_no_more_connections_than_they_may(postgres_database: str) -> None:
    database = Database(postgres_database, connections=2)
    await database.start()
    own = Prepared(select(func.pg_backend_pid(), func.pg_sleep(bindparam("seconds", type_=Float))))
    found = await asyncio.gather(*(database.read(lambda it: fetch_one(it, own, {"seconds": 0.05})) for _ in range(8)))
    assert len({row[0][0] for row in found}) == 2
    await database.close()
