"""How much is unread: the same as by counting."""

import asyncio
import random
import sqlite3
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, func, select, update

from storage import accounts, log, messages, unread
from storage.access import find_access
from storage.database import Database
from storage.fetch import fetch_one
from storage.messages import Message
from storage.models import channels, members
from storage.models import messages as table
from storage.transaction import Command, Tx
from storage.types import new_id
from tests.storage.test_chat import group, users


async def write(database: Database, *applies: Callable[[Tx], Any], chat_pk: int) -> list[Any]:
    """In one batch, each as a command of its own."""
    return await asyncio.gather(*(database.write(Command(apply, channels=[chat_pk])) for apply in applies))


def post(chat_pk: int, sender_pk: int) -> Callable[[Tx], int]:
    def apply(tx: Tx) -> int:
        event = log.append(tx, chat_pk, "message:new", {})
        empty: dict[str, Any] = dict.fromkeys(("reply_to", "metadata", "deleted_at"))
        message = Message(
            chat_pk=chat_pk, chat_id="", seq=event.seq, id=new_id(), sender_pk=sender_pk, sender_id="", type="text",
            content="hello", created_at=tx.now, updated_at=tx.now, **empty,
        )  # fmt: skip
        messages.add(tx, message, client_key=None, fingerprint=None)
        access = find_access(tx, chat_pk, sender_pk)
        assert access is not None
        unread.add_own(tx, chat_pk, sender_pk, access.read, wrote=True)
        return event.seq

    return apply


def delete(chat_pk: int, seq: int) -> Callable[[Tx], Any]:
    def apply(tx: Tx) -> None:
        tx.execute(update(table).where(table.c.chat_pk == chat_pk, table.c.seq == seq).values(deleted_at=tx.now))

    return apply


def read(chat_pk: int, user_pk: int, seq: int) -> Callable[[Tx], Any]:
    """Positions only grow."""

    def apply(tx: Tx) -> None:
        access = find_access(tx, chat_pk, user_pk)
        assert access is not None
        here = select(table.c.ordinal).where(table.c.chat_pk == chat_pk, table.c.seq == seq)
        if seq > access.read.read_seq:
            unread.mark_read(tx, chat_pk, user_pk, access.read, seq, tx.execute(here).scalar_one())

    return apply


def forget_numbers(chat_pk: int) -> Callable[[Tx], Any]:
    """As if all of it had been written before there were numbers."""

    def apply(tx: Tx) -> None:
        tx.execute(update(table).where(table.c.chat_pk == chat_pk).values(ordinal=None))
        tx.execute(update(channels).where(channels.c.pk == chat_pk).values(ordinal=None))
        tx.execute(update(members).where(members.c.chat_pk == chat_pk).values(read_ordinal=None, own_after=None))

    return apply


def by_counting(connection: Connection, chat_pk: int) -> dict[int, int]:
    """What each member has not read."""
    others = (
        table.c.chat_pk == members.c.chat_pk,
        table.c.seq > members.c.read_seq,
        table.c.sender_pk != members.c.user_pk,
        table.c.deleted_at.is_(None),
    )
    number = select(func.count()).select_from(table).where(*others).correlate(members).scalar_subquery()
    rows: Any = connection.execute(select(members.c.user_pk, number).where(members.c.chat_pk == chat_pk))
    return {user_pk: min(count, unread.UNREAD_CAP) for user_pk, count in rows}


async def assert_exact(database: Database, chat_pk: int) -> None:
    counted = await database.read(partial(by_counting, chat_pk=chat_pk))
    for user_pk, number in counted.items():
        assert await database.read(partial(unread.in_chat, user_pk=user_pk, chat_pk=chat_pk)) == number
    at = 10**16
    totals = await database.read(partial(unread.unmuted, user_pks=list(counted), at=at))
    assert {pk: totals.get(pk, 0) for pk in counted} == counted


async def fill_all(database: Database) -> None:
    while (pk := await database.read(unread.to_fill)) is not None:
        await write(database, partial(unread.fill, chat_pk=pk), chat_pk=pk)


@pytest.mark.parametrize("seed", range(4))
async def test_the_counts_are_exact_whatever_happened(
    database: Database, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """Messages, deletions and read positions in any order, in batches; some messages without numbers; slices between."""
    monkeypatch.setattr(unread, "FILLED_AT_ONCE", 3)
    monkeypatch.setattr(unread, "MEMBERS_AT_ONCE", 2)
    dice = random.Random(seed)
    people = await users(database, 3)
    pk = await group(database, *people)
    seqs: list[int] = []
    for _ in range(12):
        batch: list[Callable[[Tx], Any]] = [post(pk, dice.choice(people)) for _ in range(dice.randint(1, 5))]
        if dice.random() < 0.3:
            batch.insert(dice.randrange(len(batch) + 1), partial(unread.fill, chat_pk=pk))
        seqs += [seq for seq in await write(database, *batch, chat_pk=pk) if seq]
        for _ in range(dice.randint(0, 2)):
            changes = [delete(pk, dice.choice(seqs)), read(pk, dice.choice(people), dice.choice(seqs))]
            await write(database, dice.choice(changes), chat_pk=pk)
        if dice.random() < 0.2:
            await write(database, forget_numbers(pk), chat_pk=pk)
        await assert_exact(database, pk)
    await fill_all(database)
    await assert_exact(database, pk)
    await write(database, post(pk, people[0]), post(pk, people[0]), post(pk, people[1]), chat_pk=pk)
    numbers = select(table.c.ordinal).where(table.c.chat_pk == pk).order_by(table.c.seq)
    ordinals = await database.read(lambda connection: connection.execute(numbers).scalars().all())
    assert ordinals == list(range(1, len(ordinals) + 1))
    assert await database.read(unread.to_fill) is None
    unknown = select(func.count()).select_from(members).where(members.c.own_after.is_(None))
    assert await database.read(lambda connection: connection.execute(unknown).scalar_one()) == 0
    await assert_exact(database, pk)


async def test_above_a_number_of_deletions_it_is_counted(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unread, "DELETED_CAP", 2)
    ann, bob = await users(database, 2)
    pk = await group(database, ann, bob)
    seqs = await write(database, *[post(pk, ann)] * 6, chat_pk=pk)
    for seq in seqs[:4]:
        await write(database, delete(pk, seq), chat_pk=pk)
        await assert_exact(database, pk)


async def test_it_is_at_most_a_thousand_of_each_chat(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unread, "UNREAD_CAP", 3)
    ann, bob = await users(database, 2)
    pks = [await group(database, ann, bob) for _ in range(2)]
    for pk in pks:
        await write(database, *[post(pk, ann)] * 5, chat_pk=pk)

    def look(connection: Connection) -> dict[int, int]:
        rows = fetch_one(connection, *unread.read_of_chats(bob, pks))
        return unread.in_chats(connection, bob, rows)

    assert await database.read(look) == dict.fromkeys(pks, 3)
    assert await database.read(partial(unread.unmuted, user_pks=[ann, bob], at=0)) == {ann: 0, bob: 6}


async def test_a_chat_without_messages_has_none_unread(database: Database) -> None:
    (ann,) = await users(database, 1)
    pk = await group(database, ann)
    assert await database.read(partial(unread.in_chat, user_pk=ann, chat_pk=pk)) == 0
    assert (await write(database, partial(unread.fill, chat_pk=pk), chat_pk=pk)) == [None]
    assert await database.read(lambda connection: accounts.get(connection, ann)), "nothing else happened"


def test_sqlite_looks_only_at_what_was_deleted(migrated_file: Path) -> None:
    """Of all that is unread, which may be much."""
    connection = sqlite3.connect(migrated_file)
    for each in (unread.IN_CHATS, unread.UNMUTED):
        values = each.by_ordinals.defaults | dict.fromkeys(each.by_ordinals.names, "[]")
        plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {each.by_ordinals.sql}", values)]
        assert [line for line in plan if line.startswith("SEARCH messages")] == [
            "SEARCH messages USING INDEX ix_messages_deleted (chat_pk=? AND seq>?)"
        ]
    connection.close()
