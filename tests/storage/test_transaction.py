"""What the commands of one batch see of each other, what they leave behind, and how many statements they cost."""

import asyncio
import random
import re
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import pytest
from sqlalchemy import bindparam, delete, event, select, text
from sqlalchemy.exc import DBAPIError

from storage import log
from storage.database import Database
from storage.errors import Conflict, NotFound, Unavailable
from storage.executor_postgres import PostgresExecutor
from storage.models import events, facts
from storage.pipeline import Pipeline, Statement
from storage.prepared import Bulk, Prepared, Update
from storage.statements_sqlite import SqliteStatements
from storage.transaction import EVENT_BYTES, Command, Tx
from storage.writer import BATCH_BYTES
from tests.support.guard import HANG_SECONDS
from tests.support.postgres import connect

FACT = Bulk(facts, ("name", "value"))
VALUE = Prepared(select(facts.c.value).where(facts.c.name == bindparam("name")))
CHANGE = Update(facts, ("name",), ("value",))


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
    def apply(tx: Tx) -> None:
        tx.later(FACT, (name, "kept"))
        tx.set_pending(("fact", name), "kept")

    return apply


def look_up(name: str) -> Callable[[Tx], str | None]:
    def apply(tx: Tx) -> str | None:
        row = tx.first(VALUE, {"name": name})
        return tx.pending(("fact", name), row and str(row[0]))

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


async def test_a_row_that_waits_is_found_by_its_key(database: Database) -> None:
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
    assert isinstance(tx.statements, SqliteStatements)
    tx.statements.bare.set_trace_callback(on_statement)


async def trips(database: Database, run: Callable[[], Any]) -> list[list[str]]:
    """What is sent to the database meanwhile: the first words of the statements of each round trip."""
    sent: list[list[str]] = []
    executor = database.writer.executor
    if isinstance(executor, PostgresExecutor):
        engine, original = executor.pool.engine.sync_engine, Pipeline.run

        def on_statement(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
            sent.append([statement])

        async def on_trip(self: Pipeline, statements: Sequence[Statement]) -> Any:
            sent.append([each.sql for each in statements])
            return await original(self, statements)

        event.listen(engine, "before_cursor_execute", on_statement)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Pipeline, "run", on_trip)
            await run()
        event.remove(engine, "before_cursor_execute", on_statement)
    else:
        await database.write(Command(partial(trace, lambda statement: sent.append([statement]))))
        sent.clear()
        await run()
        await database.write(Command(partial(trace, None)))
        del sent[1 + sent.index(["COMMIT"]) :]
    return [[re.sub(r"\W.*", "", statement, flags=re.S).upper() for statement in trip] for trip in sent]


async def words(database: Database, run: Callable[[], Any]) -> list[str]:
    return [word for trip in await trips(database, run) for word in trip]


@pytest.mark.parametrize("many", [1, 40])
async def test_what_a_batch_of_messages_costs(database: Database, many: int) -> None:
    pk = await open_channel(database)
    sent = await trips(database, lambda: batch(database, *[note(pk)] * many, channels=[pk]))
    if database.path is None:
        # The limits, the lock, the clock; the rows, the head.
        assert sent == [["BEGIN", "SELECT", "SELECT", "SELECT"], ["INSERT", "UPDATE", "COMMIT"]]
    else:
        # SQLite inserts powers of two; the last one is the mark of its epoch.
        assert sent == [
            ["BEGIN"], ["SELECT"], *[["INSERT"]] * many.bit_count(), ["UPDATE"], ["UPDATE"], ["COMMIT"],
        ]  # fmt: skip


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
    sent = await words(database, lambda: batch(database, *applies, channels=[pk]))
    control = [word for word in sent if word in ("SAVEPOINT", "RELEASE", "ROLLBACK")]
    assert control == ["SAVEPOINT", "RELEASE", "SAVEPOINT", "ROLLBACK", "RELEASE"]


async def test_the_only_command_of_a_batch_needs_no_savepoint(database: Database) -> None:
    """Where it fails, nothing is committed."""
    pk = await open_channel(database)
    answers: list[Any] = []

    async def run() -> None:
        answers.extend(await batch(database, then(count, note(pk), remember("a"), count), channels=[pk]))
        answers.extend(await batch(database, then(note(pk), remember("b"), count, fail), channels=[pk]))

    control = [word for word in await words(database, run) if word in ("SAVEPOINT", "RELEASE", "COMMIT", "ROLLBACK")]
    assert control == ["COMMIT", "ROLLBACK"] or (database.path and control == ["COMMIT"])
    assert answers[0] == 1 and isinstance(answers[1], NotFound)
    assert await kept(database, pk) == [(1, "note")]
    assert await batch(database, note(pk), look_up("b"), channels=[pk]) == [2, None]


async def test_a_head_is_written_once_for_all_events_before(database: Database) -> None:
    pk = await open_channel(database)
    sent = await words(database, lambda: batch(database, note(pk), note(pk), count, count, channels=[pk]))
    marks = 1 if database.path else 0
    assert sent.count("UPDATE") == 1 + marks


# What is announced, and changes that wait


def announced(apply: Callable[[Tx], Any], *names: str) -> Command[Any]:
    return Command(apply, reads=lambda: [(VALUE, {"name": name}) for name in names])


def change(name: str, value: str) -> Callable[[Tx], None]:
    return lambda tx: tx.update_later(CHANGE, (name,), (value,))


def change_now(name: str, value: str) -> Callable[[Tx], Any]:
    statement = text("UPDATE facts SET value = :value WHERE name = :name")
    return lambda tx: tx.execute(statement, {"name": name, "value": value})


def value_of(name: str) -> Callable[[Tx], str | None]:
    """As the commands before have it, whether it was written or waits."""

    def apply(tx: Tx) -> str | None:
        row = tx.first(VALUE, {"name": name})
        waiting = tx.waiting_update(CHANGE, (name,))
        return row and str((waiting or row)[0])

    return apply


@on_postgres
@pytest.mark.parametrize("many", [1, 50])
async def test_what_is_announced_costs_no_round_trip(database: Database, many: int) -> None:
    commands = [announced(value_of(f"fact-{number}"), f"fact-{number}") for number in range(many)]
    await database.write(Command(then(remember("fact-0"))))
    answers: list[Any] = []

    async def run() -> None:
        answers.extend(await asyncio.gather(*map(database.write, commands)))

    assert len(await trips(database, run)) == 2
    assert answers == ["kept"] + [None] * (many - 1)


@on_postgres
async def test_after_a_command_with_statements_of_its_own_it_is_read_again(database: Database) -> None:
    await database.write(Command(remember("a")))
    commands = [announced(value_of("a"), "a"), announced(change_now("a", "new"), "a"), announced(value_of("a"), "a")]
    answers = await asyncio.gather(*map(database.write, commands))
    assert (answers[0], answers[2]) == ("kept", "new")


async def test_the_last_change_of_a_row_counts(database: Database) -> None:
    await batch(database, remember("a"), remember("b"))
    answers = await batch(
        database,
        change("a", "first"),
        then(change("a", "second"), value_of("a")),
        then(change("a", "lost"), fail),
        then(change("b", "lost"), count, fail),
        value_of("a"),
    )
    assert answers[1] == answers[4] == "second"
    values = select(facts.c.name, facts.c.value).where(facts.c.name.in_(["a", "b"]))
    found = await database.read(lambda connection: {row.name: row.value for row in connection.execute(values)})
    assert found == {"a": "second", "b": "kept"}


NAMES = [f"name-{number}" for number in range(4)]


def random_command(dice: random.Random) -> Command[Any]:
    """One that looks, writes, writes at once, or fails, in any order; it announces some of what it asks for, or none."""
    name = dice.choice(NAMES)
    steps = [
        value_of(name),
        change(name, str(dice.random())),
        change_now(name, str(dice.random())),
        value_of(dice.choice(NAMES)),
        count,
        *([fail] if dice.random() < 0.3 else []),
    ]
    chosen = dice.sample(steps, dice.randint(1, 3))

    def apply(tx: Tx) -> list[Any]:
        return [step(tx) if step in (steps[0], steps[3], count, fail) else step(tx) and None for step in chosen]

    return announced(apply, *dice.sample(NAMES, dice.randint(0, 4)))


async def test_a_batch_answers_what_its_commands_answer_one_by_one(database: Database) -> None:
    for seed in range(20):
        await database.write(Command(lambda tx: tx.execute(delete(facts).where(facts.c.name.in_(NAMES)))))
        await batch(database, *map(remember, NAMES[:3]))
        dice = random.Random(seed)
        commands = [random_command(dice) for _ in range(12)]

        async def whole(command: Command[Any]) -> Any:
            return await asyncio.gather(database.write(command), return_exceptions=True)

        def values() -> Any:
            return database.read(lambda connection: connection.execute(select(facts).order_by(facts.c.name)).all())

        start = await values()
        together = await asyncio.gather(*map(database.write, commands), return_exceptions=True)
        after_together = await values()
        for name, value in start:
            await database.write(Command(change_now(name, value)))
        one_by_one = [(await whole(command))[0] for command in commands]
        shown = [
            [str(each) if isinstance(each, Exception) else each for each in some] for some in (together, one_by_one)
        ]
        assert shown[0] == shown[1], seed
        assert [tuple(row) for row in after_together if row.name in NAMES] == [
            tuple(row) for row in await values() if row.name in NAMES
        ]


# PostgreSQL's locks and errors


@on_postgres
async def test_keys_are_locked_before_the_first_command(database: Database) -> None:
    locks = text("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()")
    commands = [Command(lambda tx: tx.execute(locks).scalar_one(), keys=keys) for keys in (["a", "b"], ["b", "c"], [])]
    assert await asyncio.gather(*map(database.write, commands)) == [3, 3, 3]


@on_postgres
async def test_another_node_waits_for_a_channel_that_is_locked(database: Database) -> None:
    pk = await open_channel(database)
    waiting = text(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )
    other = await connect(database.url)
    async with other.transaction():
        await other.execute("UPDATE channels SET head = head + 1 WHERE pk = %s", [pk])
        second = database.write(Command(note(pk), channels=[pk]))
        async with asyncio.timeout(HANG_SECONDS):
            while not await database.read(lambda connection: connection.execute(waiting).scalar_one()):
                await asyncio.sleep(0.01)
    assert await second == 2
    await other.close()


@on_postgres
@pytest.mark.parametrize(("code", "times"), [("40001", 5), ("40P01", 5), ("22012", 1)])
async def test_only_a_serialization_failure_lets_the_batch_run_again(database: Database, code: str, times: int) -> None:
    raising = text(f"DO $$ BEGIN RAISE EXCEPTION 'refused' USING ERRCODE = '{code}'; END $$")
    tried: list[Tx] = []
    command = Command(then(tried.append, lambda tx: tx.execute(raising)))
    with pytest.raises(Unavailable if times > 1 else DBAPIError):
        await database.write(command)
    assert len(tried) == times


@pytest.mark.parametrize(("size", "batches"), [(0, 1), (BATCH_BYTES // 2 - EVENT_BYTES, 2), (BATCH_BYTES, 4)])
async def test_a_batch_is_bounded_in_bytes(database: Database, size: int, batches: int) -> None:
    before = database.writer.commits.count
    answers = await asyncio.gather(*(database.write(Command(lambda tx, n=n: n, size=size)) for n in range(4)))  # type: ignore[misc]
    assert answers == [0, 1, 2, 3]
    assert database.writer.commits.count - before == batches


async def test_what_goes_to_many_channels_weighs_more() -> None:
    one, many = Command(lambda tx: None, channels=[1], size=10), Command(lambda tx: None, channels=[1, 2, 3], size=10)
    assert many.weight == 3 * one.weight > 3 * 10
