"""The event log and group commit, on both databases."""

import asyncio
from functools import partial
from typing import Any

import pytest
from sqlalchemy import Connection, select, text

from storage import log
from storage.database import Database
from storage.errors import Conflict, NotFound
from storage.fetch import fetch_one
from storage.models import channels, events, facts
from storage.prepared import Prepared, json_list
from storage.statements_sqlite import SqliteStatements
from storage.transaction import Command, Event, Tx
from storage.types import SECOND, now
from tests.conftest import eventually


async def open_channels(database: Database, count: int) -> list[int]:
    return [await database.write(Command(partial(log.open_channel, name=f"chat:{n}"))) for n in range(count)]


async def pages(database: Database, pk: int) -> list[Event]:
    return (await database.read(lambda connection: log.pages(connection, [(pk, 0)], 10_000)))[0]


def bounds(connection: Connection, pk: int) -> tuple[int, int]:
    """Head and floor of a channel."""
    ((_, head, floor),) = fetch_one(connection, log.BOUNDS, {"pks": json_list([pk])})
    return head, floor


async def test_seqs_are_gapless_and_in_commit_order(database: Database) -> None:
    pks = await open_channels(database, 3)
    published: list[Event] = []
    database.writer.on_commit = published.extend

    def append(pk: int, number: int) -> Command[int]:
        return Command(lambda tx: log.append(tx, pk, "note", {"number": number}).seq, channels=[pk])

    answers = await asyncio.gather(*(database.write(append(pks[n % 3], n)) for n in range(300)))
    for index, pk in enumerate(pks):
        kept = await pages(database, pk)
        assert [event.seq for event in kept] == list(range(1, 101))
        assert [event.seq for event in published if event.channel_pk == pk] == list(range(1, 101))
        assert [answers[n] for n in range(300) if n % 3 == index] == list(range(1, 101))
    assert database.writer.commits.count < 300
    heads = await database.read(lambda connection: log.heads(connection, pks))
    assert heads == dict.fromkeys(pks, 100)


async def test_a_command_that_raises_leaves_nothing_behind(database: Database) -> None:
    (pk,) = await open_channels(database, 1)
    published: list[Event] = []
    database.writer.on_commit = published.extend

    def good(tx: Tx) -> int:
        return log.append(tx, pk, "good", {}).seq

    def late(tx: Tx) -> None:
        log.append(tx, pk, "bad", {})
        raise NotFound

    def heavy(tx: Tx) -> None:
        log.append(tx, pk, "bad", {})
        tx.execute(channels.update().where(channels.c.pk == pk).values(name="spoiled"))
        log.append(tx, pk, "bad", {})
        raise Conflict

    commands = [good, late, good, heavy, good]
    answers = await asyncio.gather(
        *(database.write(Command(apply, channels=[pk])) for apply in commands), return_exceptions=True
    )
    assert [answers[0], answers[2], answers[4]] == [1, 2, 3]
    assert isinstance(answers[1], NotFound) and isinstance(answers[3], Conflict)
    assert [(event.seq, event.name) for event in await pages(database, pk)] == [(1, "good"), (2, "good"), (3, "good")]
    assert [event.seq for event in published] == [1, 2, 3]
    name = await database.read(lambda connection: connection.execute(select(channels.c.name)).scalar_one())
    assert name == "chat:0"


async def test_a_returned_problem_keeps_the_changes(database: Database) -> None:
    (pk,) = await open_channels(database, 1)

    def apply(tx: Tx) -> Conflict:
        log.append(tx, pk, "kept", {})
        return Conflict("too late")

    with pytest.raises(Conflict, match="too late"):
        await database.write(Command(apply, channels=[pk]))
    assert [event.name for event in await pages(database, pk)] == ["kept"]


async def test_a_command_sees_what_the_batch_did_before(database: Database) -> None:
    (pk,) = await open_channels(database, 1)

    def append(tx: Tx) -> int:
        return log.append(tx, pk, "first", {"text": "secret"}).seq

    def rewrite(tx: Tx) -> list[Event]:
        log.rewrite(tx, pk, [1], {"text": "gone"})
        return log.pages(tx.connection(), [(pk, 0)], 10)[0]

    _, seen = await asyncio.gather(
        database.write(Command(append, channels=[pk])), database.write(Command(rewrite, channels=[pk]))
    )
    assert [event.payload for event in seen] == [b'{"text":"gone"}']


async def test_one_bad_command_does_not_spoil_its_batch(database: Database, caplog: pytest.LogCaptureFixture) -> None:
    (pk,) = await open_channels(database, 1)

    def double(tx: Tx) -> None:
        tx.later(log.ADD, (pk, 1, "double", b"{}", tx.now))
        tx.later(log.ADD, (pk, 1, "double", b"{}", tx.now))

    good = [Command(lambda tx: log.append(tx, pk, "good", {}).seq, channels=[pk]) for _ in range(3)]
    batch: list[Command[Any]] = [good[0], Command(double, channels=[pk]), *good[1:]]
    answers: list[Any] = await asyncio.gather(*(database.write(each) for each in batch), return_exceptions=True)
    assert isinstance(answers[1], Exception)
    assert [answers[0], *answers[2:]] == [1, 2, 3]
    assert "a batch of 1 failed" in caplog.text
    caplog.clear()


async def test_cancelled_commands_are_skipped_before_they_run(database: Database) -> None:
    (pk,) = await open_channels(database, 1)
    first = database.write(Command(lambda tx: log.append(tx, pk, "first", {}).seq, channels=[pk]))
    second = database.write(Command(lambda tx: log.append(tx, pk, "second", {}).seq, channels=[pk]))
    second.cancel()
    assert await first == 1
    assert [event.name for event in await pages(database, pk)] == ["first"]


async def trim(database: Database, *, before: int, keep: int) -> None:
    wanted = await database.read(lambda connection: log.to_trim(connection, before=before, keep=keep))
    while wanted:
        wanted = await trim_some(database, wanted)


async def trim_some(database: Database, wanted: dict[int, int]) -> dict[int, int]:
    """One slice; what is left."""
    cuts, rest = await database.read(partial(log.next_cuts, wanted=wanted))
    await database.write(Command(partial(log.trim, cuts=cuts)))
    return rest


async def test_retention_by_count_and_by_age(database: Database) -> None:
    first, second = await open_channels(database, 2)
    for _ in range(30):
        await database.write(Command(lambda tx: log.append(tx, first, "note", {}).seq, channels=[first]))
        await database.write(Command(lambda tx: log.append(tx, second, "note", {}).seq, channels=[second]))
    await trim(database, before=0, keep=10)
    assert [event.seq for event in await pages(database, first)] == list(range(21, 31))
    assert await database.read(lambda connection: bounds(connection, first)) == (30, 20)
    assert await database.read(lambda connection: log.sizes(connection, [(first, 25), (second, 29), (second, 30)])) == {
        (first, 25): 10,
        (second, 29): 2,
    }

    await database.write(
        Command(lambda tx: tx.execute(events.update().where(events.c.channel_pk == second).values(at=5 * SECOND)))
    )
    await trim(database, before=10 * SECOND, keep=1000)
    assert await pages(database, second) == []
    assert len(await pages(database, first)) == 10
    assert await database.write(Command(lambda tx: log.append(tx, second, "note", {}).seq, channels=[second])) == 31


async def notes(database: Database, pk: int, count: int) -> None:
    """So many events."""

    def apply(tx: Tx) -> None:
        for _ in range(count):
            log.append(tx, pk, "note", {})

    await database.write(Command(apply, channels=[pk]))


async def test_a_log_grows_a_tenth_longer_than_is_kept_before_it_is_trimmed(database: Database) -> None:
    (pk,) = await open_channels(database, 1)

    async def to_trim() -> dict[int, int]:
        return await database.read(lambda connection: log.to_trim(connection, before=0, keep=110))

    await notes(database, pk, 121)
    assert await to_trim() == {}
    await notes(database, pk, 1)
    assert await to_trim() == {pk: 12}
    await trim(database, before=0, keep=110)
    assert await database.read(lambda connection: bounds(connection, pk)) == (122, 12)
    await notes(database, pk, 11)
    assert await to_trim() == {}


async def test_what_is_exactly_as_old_is_kept(database: Database) -> None:
    (pk,) = await open_channels(database, 1)
    await notes(database, pk, 1)
    await database.write(Command(lambda tx: tx.execute(events.update().values(at=5 * SECOND))))
    for before, found in ((5 * SECOND, {}), (5 * SECOND + 1, {pk: 1})):
        assert await database.read(partial(log.to_trim, before=before, keep=1000)) == found


async def test_a_log_is_trimmed_in_slices(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log, "TRIMMED_AT_ONCE", 10)
    other, pk = await open_channels(database, 2)
    assert await database.read(lambda connection: bounds(connection, pk)) == (0, 0)
    await notes(database, other, 30)
    await notes(database, pk, 30)
    for rest, floor in (({pk: 25}, 10), ({pk: 25}, 20), ({}, 25), ({}, 25)):
        assert await trim_some(database, {pk: 25}) == rest
        assert await database.read(lambda connection: bounds(connection, pk)) == (30, floor)
    assert len(await pages(database, pk)) == 5 and len(await pages(database, other)) == 30
    # Of several channels ten events together, each in its turn.
    assert await trim_some(database, {pk: 29, pk + 1: 25, other: 8}) == {other: 8}
    assert [await database.read(partial(bounds, pk=each)) for each in (pk, other)] == [(30, 29), (30, 6)]
    assert await trim_some(database, {other: 8}) == {}
    assert [event.seq for event in await pages(database, other)] == list(range(9, 31))


async def test_the_tail_names_what_changed_lately(database: Database) -> None:
    first, second = await open_channels(database, 2)
    await database.write(Command(lambda tx: log.append(tx, first, "note", {}).seq, channels=[first]))
    await database.write(Command(lambda tx: tx.execute(events.update().values(at=now() - 60 * SECOND))))
    await database.write(Command(lambda tx: log.append(tx, second, "note", {}).seq, channels=[second]))
    assert await database.read(lambda connection: log.tail(connection, 10)) == {second: 1}


async def test_what_is_acknowledged_is_durable_by_the_databases_own_word(database: Database) -> None:
    def settings(tx: Tx) -> str:
        if isinstance(tx.statements, SqliteStatements):
            pragma = tx.statements.bare.execute
            return f"{pragma('PRAGMA synchronous').fetchone()} {pragma('PRAGMA journal_mode').fetchone()}"
        return str(tx.execute(text("SHOW synchronous_commit")).scalar_one())

    assert await database.write(Command(settings)) in ("(2,) ('wal',)", "on")


async def test_the_epoch_is_kept_in_the_database(database: Database) -> None:
    kept = await database.read(
        lambda connection: connection.execute(select(facts.c.value).where(facts.c.name == "epoch")).scalar_one()
    )
    assert kept == database.epoch


async def test_two_nodes_that_write_the_same_channels_in_every_order(postgres_database: str) -> None:
    nodes = [Database(postgres_database), Database(postgres_database)]
    for node in nodes:
        await node.start()
    try:
        assert nodes[0].epoch == nodes[1].epoch
        pks = await open_channels(nodes[0], 6)

        def write(order: list[int]) -> Command[None]:
            def apply(tx: Tx) -> None:
                for pk in order:
                    log.append(tx, pk, "note", {})

            return Command(apply, channels=order)

        orders = [pks, pks[::-1], pks[::2], pks[1::2][::-1]]
        await asyncio.gather(*(nodes[n % 2].write(write(orders[n % 4])) for n in range(400)))
        for pk in pks:
            seqs = [event.seq for event in await pages(nodes[0], pk)]
            assert seqs == list(range(1, len(seqs) + 1))
            assert len(seqs) == 300
    finally:
        for node in nodes:
            await node.close()


async def test_a_head_moved_before_a_savepoint_is_undone_with_it(database: Database) -> None:
    """Keep an event, then append, look, and fail: the second seq must not stay taken."""
    (pk,) = await open_channels(database, 1)

    def keep(tx: Tx) -> None:
        log.append(tx, pk, "kept", {})

    def fail(tx: Tx) -> None:
        log.append(tx, pk, "lost", {})
        log.heads(tx.connection(), [pk])
        raise Conflict

    commands = [Command(apply, channels=[pk]) for apply in (keep, fail, keep)]
    await asyncio.gather(*(database.write(each) for each in commands), return_exceptions=True)
    assert [event.seq for event in await pages(database, pk)] == [1, 2]
    assert await database.read(lambda connection: log.heads(connection, [pk])) == {pk: 2}


async def test_a_channel_of_an_undone_command_leaves_no_name_behind(database: Database) -> None:
    made: list[int] = []

    def fail(tx: Tx) -> None:
        made.append(log.open_channel(tx, "chat:undone"))
        log.append(tx, made[0], "note", {})
        raise Conflict

    def succeed(tx: Tx) -> Event:
        return log.append(tx, log.open_channel(tx, "chat:good"), "note", {})

    _, event = await asyncio.gather(
        database.write(Command(fail)), database.write(Command(succeed)), return_exceptions=True
    )
    assert isinstance(event, Event) and (event.channel, event.seq) == ("chat:good", 1)


async def test_a_read_that_fails_costs_nobody_else_an_answer(
    database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    """On PostgreSQL an error outside a savepoint ends the transaction, and its COMMIT would be a silent rollback."""
    broken = Prepared(text("SELECT 1 FROM channels WHERE pk / :zero = no_such_function()"))

    def look(tx: Tx) -> None:
        tx.first(broken, {"zero": 0})

    made, failed, other = await asyncio.gather(
        database.write(Command(lambda tx: log.open_channel(tx, "chat:kept"))),
        database.write(Command(look)),
        database.write(Command(lambda tx: log.open_channel(tx, "chat:kept too"))),
        return_exceptions=True,
    )
    assert isinstance(failed, Exception)
    assert isinstance(made, int) and isinstance(other, int)
    assert await database.read(lambda connection: log.heads(connection, [made, other])) == {made: 0, other: 0}
    caplog.clear()


async def test_what_waits_for_the_same_channel_is_published_together(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Events of a batch go with those of the next one, where that has any of their channel; once, and not for long."""
    monkeypatch.setattr("storage.writer.GATHER_SECONDS", 60)
    busy, calm = await open_channels(database, 2)
    told: list[list[tuple[int, int]]] = []
    database.writer.on_commit = lambda events: told.append([(each.channel_pk, each.seq) for each in events])

    def append(pk: int) -> Command[int]:
        return Command(lambda tx: log.append(tx, pk, "note", {}).seq, channels=[pk])

    first = [database.writer.submit(append(pk)) for pk in (busy, calm)]
    await asyncio.sleep(0)
    second = [database.writer.submit(append(busy)) for _ in range(3)]
    await asyncio.gather(*first, *second)
    await database.writer.drain()
    assert told == [[(calm, 1)], [(busy, seq) for seq in range(1, 5)]]

    monkeypatch.setattr("storage.writer.GATHER_SECONDS", 0.005)
    told.clear()
    held = database.writer.submit(append(busy))
    await asyncio.sleep(0)
    dropped = database.writer.submit(append(busy))
    dropped.cancel()
    await held
    await eventually(lambda: told == [[(busy, 5)]])
