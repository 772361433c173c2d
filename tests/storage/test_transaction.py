"""What the commands of one batch see of each other, what they leave behind, and how many statements they cost."""

import asyncio
import re
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import pytest
from sqlalchemy import event, select, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import create_async_engine

from storage import log
from storage.database import Database
from storage.errors import Conflict, NotFound
from storage.models import events, facts
from storage.prepared import Bulk, Prepared
from storage.transaction import EVENT_BYTES, Command, Tx, Undone, run_batch, sqlstate
from storage.writer import BATCH_BYTES, PostgresExecutor
from tests.support.guard import HANG_SECONDS

FACT = Bulk(facts, ("name", "value"))
VALUE = Prepared(text("SELECT value FROM facts WHERE name = :name"))


async def batch(database: Database, *applies: Callable[[Tx], Any], channels: Sequence[int] = ()) -> list[Any]:
    """The answers of commands that are written together, and the errors of those that failed."""
    futures = [database.write(Command(apply, channels=channels)) for apply in applies]
    return await asyncio.gather(*futures, return_exceptions=True)


async def open_channel(database: Database, name: str = "chat:one") -> int:
    return await database.write(Command(lambda tx: log.open_channel(tx, name)))


async def kept(database: Database, pk: int) -> list[tuple[int, str]]:
    columns = select(events.c.seq, events.c.name).where(events.c.channel_pk == pk).order_by(events.c.seq)
    return [tuple(row) for row in await database.read(lambda connection: connection.execute(columns).all())]


def note(pk: int, name: str = "note") -> Callable[[Tx], int]:
    return lambda tx: log.append(tx, pk, name, {}).seq


def remember(name: str) -> Callable[[Tx], None]:
    return lambda tx: tx.later(FACT, (name, "kept"), answers=("fact", name))


def look_up(name: str) -> Callable[[Tx], str | None]:
    def apply(tx: Tx) -> str | None:
        row = tx.first(VALUE, {"name": name}, unless=("fact", name))
        return row and str(row[0])

    return apply


def then(*applies: Callable[[Tx], Any]) -> Callable[[Tx], Any]:
    """One command that does all this; its answer is the last one."""
    return lambda tx: [apply(tx) for apply in applies][-1]


def fail(tx: Tx) -> None:
    raise NotFound


def count(tx: Tx) -> int:
    return int(tx.execute(text("SELECT count(*) FROM facts WHERE value = 'kept'")).scalar_one())


async def test_a_first_command_that_fails_publishes_none_of_its_events(database: Database) -> None:
    pk = await open_channel(database)
    published: list[int] = []
    database.writer.on_commit = lambda committed: published.extend(each.seq for each in committed)
    await batch(database, then(note(pk), note(pk), fail), note(pk, "good"), channels=[pk])
    assert await kept(database, pk) == [(1, "good")]
    assert published == [1]


async def test_a_command_that_fails_gives_back_only_its_own_seqs(database: Database) -> None:
    pk = await open_channel(database)
    answers = await batch(database, note(pk), then(note(pk), fail), note(pk), fail, note(pk), channels=[pk])
    assert [each for each in answers if isinstance(each, int)] == [1, 2, 3]
    assert [seq for seq, _ in await kept(database, pk)] == [1, 2, 3]


async def test_a_command_appends_to_channels_that_it_named_or_made(database: Database) -> None:
    """Locked in the order of their use, two commands would wait for each other."""
    pk = await open_channel(database)

    def make(tx: Tx) -> int:
        made = log.open_channel(tx, "chat:made")
        return log.append(tx, made, "note", {}).seq + log.append(tx, made, "note", {}).seq

    unnamed, made = await batch(database, note(pk), make)
    assert isinstance(unnamed, KeyError) and made == 1 + 2
    (lost,) = await batch(database, then(make, fail))
    assert isinstance(lost, NotFound)
    assert await kept(database, pk) == []


async def test_a_command_sees_its_own_rows_and_those_of_the_commands_before(database: Database) -> None:
    answers = await batch(
        database,
        then(remember("a"), count),
        then(remember("b"), look_up("b")),
        look_up("a"),
        then(remember("c"), count),
    )
    assert answers == [1, "kept", "kept", 3]


async def test_a_row_that_waits_is_found_by_what_it_answers(database: Database) -> None:
    answers = await batch(database, remember("a"), look_up("a"), then(remember("b"), look_up("b")), look_up("c"))
    assert answers == [None, "kept", "kept", None]


async def test_rows_of_a_command_that_failed_are_not_written(database: Database) -> None:
    await batch(database, then(remember("a"), fail), remember("b"), then(remember("c"), count, fail))
    names = select(facts.c.name).where(facts.c.value == "kept")
    assert await database.read(lambda connection: connection.execute(names).scalars().all()) == ["b"]


async def test_a_duplicate_is_a_conflict_and_other_constraints_are_not(database: Database) -> None:
    add = text("INSERT INTO facts (name, value) VALUES (:name, :value)")

    def insert(name: str | None) -> Callable[[Tx], Any]:
        return lambda tx: tx.execute(add, {"name": name, "value": "kept"})

    def insert_bare(name: str | None) -> Callable[[Tx], Any]:
        # The connection of the driver on SQLite, whose errors are its own.
        return lambda tx: then(remember("other"), count, lambda tx: tx.later(FACT, (name, "kept")), count)(tx)

    await database.write(Command(insert("taken")))
    for command in (insert, insert_bare):
        with pytest.raises(Conflict):
            await database.write(Command(command("taken")))
        with pytest.raises(Exception, match=r"(?i)not[- ]null") as refused:
            await database.write(Command(command(None)))
        assert not isinstance(refused.value, Conflict)


on_postgres = pytest.mark.parametrize("database_url", ["postgres"], indirect=True)


# What the statements of a batch cost


def trace(on_statement: Callable[[str], Any] | None, tx: Tx) -> None:
    assert tx.bare is not None
    tx.bare.set_trace_callback(on_statement)


async def statements(database: Database, run: Callable[[], Any]) -> list[str]:
    """The first words of what is sent to the database meanwhile."""
    sent: list[str] = []
    executor = database.writer.executor
    if isinstance(executor, PostgresExecutor):
        engine = executor.engine.sync_engine

        def on_statement(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
            sent.append(statement)

        event.listen(engine, "before_cursor_execute", on_statement)
        await run()
        event.remove(engine, "before_cursor_execute", on_statement)
    else:
        await database.write(Command(partial(trace, sent.append)))
        sent.clear()
        await run()
        await database.write(Command(partial(trace, None)))
        del sent[sent.index("COMMIT") :]
    every = [re.sub(r"\W.*", "", statement, flags=re.S).upper() for statement in sent]
    return [word for word in every if word not in ("BEGIN", "COMMIT")]


@pytest.mark.parametrize("many", [1, 40])
async def test_what_a_batch_of_messages_costs(database: Database, many: int) -> None:
    """The locks (on SQLite the head), the clock of PostgreSQL, the rows, the heads, and the mark of SQLite's epoch."""
    pk = await open_channel(database)
    sent = await statements(database, lambda: batch(database, *[note(pk)] * many, channels=[pk]))
    if database.path is None:
        assert sent == ["SELECT", "SELECT", "INSERT", "UPDATE"]
    else:
        # SQLite inserts powers of two.
        assert sent == ["SELECT", *["INSERT"] * many.bit_count(), "UPDATE", "UPDATE"]


async def test_only_a_command_that_uses_the_connection_gets_a_savepoint(database: Database) -> None:
    pk = await open_channel(database)
    applies = [
        note(pk),
        then(remember("a"), look_up("b")),
        then(remember("b"), count),
        look_up("b"),
        then(count, fail),
        fail,
    ]
    sent = await statements(database, lambda: batch(database, *applies, channels=[pk]))
    control = [word for word in sent if word in ("SAVEPOINT", "RELEASE", "ROLLBACK")]
    assert control == ["SAVEPOINT", "RELEASE", "SAVEPOINT", "ROLLBACK", "RELEASE"]


async def test_a_head_is_written_once_for_all_events_before(database: Database) -> None:
    pk = await open_channel(database)
    sent = await statements(database, lambda: batch(database, note(pk), note(pk), count, count, channels=[pk]))
    marks = 1 if database.path else 0
    assert sent.count("UPDATE") == 1 + marks


# PostgreSQL's locks and errors


@on_postgres
async def test_keys_are_locked_before_the_first_command(database: Database) -> None:
    locks = text("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()")
    commands = [Command(lambda tx: tx.execute(locks).scalar_one(), keys=keys) for keys in (["a", "b"], ["b", "c"], [])]
    assert await asyncio.gather(*map(database.write, commands)) == [3, 3, 3]


@on_postgres
async def test_another_node_waits_for_a_channel_that_is_locked(database: Database) -> None:
    pk = await open_channel(database)
    engine = create_async_engine(database.url)
    waiting = text(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )
    async with engine.connect() as other:
        answers, _ = await other.run_sync(run_batch, [Command(note(pk), channels=[pk])])
        second = database.write(Command(note(pk), channels=[pk]))
        async with asyncio.timeout(HANG_SECONDS):
            while not await database.read(lambda connection: connection.execute(waiting).scalar_one()):
                await asyncio.sleep(0.01)
        await other.commit()
    await engine.dispose()
    assert [*answers, await second] == [1, 2]
    assert [seq for seq, _ in await kept(database, pk)] == [1, 2]


@on_postgres
@pytest.mark.parametrize(("code", "undone"), [("40001", True), ("40P01", True), ("22012", False)])
async def test_only_a_serialization_failure_lets_the_batch_run_again(
    database: Database, code: str, undone: bool
) -> None:
    raising = Prepared(text(f"DO $$ BEGIN RAISE EXCEPTION 'refused' USING ERRCODE = '{code}'; END $$"))
    engine = create_async_engine(database.url)
    async with engine.connect() as connection:
        with pytest.raises(Undone if undone else DBAPIError) as raised:
            await connection.run_sync(run_batch, [Command(lambda tx: tx.first(raising, {}))])
    await engine.dispose()
    refused = raised.value.__cause__ if undone else raised.value
    assert refused is not None and sqlstate(refused) == code


@pytest.mark.parametrize(("size", "batches"), [(0, 1), (BATCH_BYTES // 2 - EVENT_BYTES, 2), (BATCH_BYTES, 4)])
async def test_a_batch_is_bounded_in_bytes(database: Database, size: int, batches: int) -> None:
    before = database.writer.batches
    answers = await asyncio.gather(*(database.write(Command(lambda tx, n=n: n, size=size)) for n in range(4)))  # type: ignore[misc]
    assert answers == [0, 1, 2, 3]
    assert database.writer.batches - before == batches


async def test_what_goes_to_many_channels_weighs_more() -> None:
    one, many = Command(lambda tx: None, channels=[1], size=10), Command(lambda tx: None, channels=[1, 2, 3], size=10)
    assert many.weight == 3 * one.weight > 3 * 10
