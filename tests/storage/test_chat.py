"""Chats as rows: lists in order, positions of many channels, and what is removed of a deleted one, slice by slice."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from sqlalchemy import func, select, update

from storage import accounts, chat, chat_list, log, media, messages, streams
from storage.access import find_access
from storage.accounts import NewUser
from storage.chat import Position
from storage.database import Database
from storage.messages import Message
from storage.models import chats, events
from storage.models import messages as table
from storage.transaction import Command, Tx
from storage.types import SECOND, new_id


async def write(database: Database, apply: Callable[[Tx], Any], *channels: int) -> Any:
    return await database.write(Command(apply, channels=channels))


async def users(database: Database, count: int) -> list[int]:
    tenant = await write(database, accounts.default_tenant)
    return [
        (await write(database, partial(accounts.add_user, tenant_pk=tenant.pk, new=NewUser(f"user {n}")))).pk
        for n in range(count)
    ]


async def group(database: Database, *members: int, **options: Any) -> int:
    tenant = await write(database, accounts.default_tenant)

    def apply(tx: Tx) -> int:
        pk = chat.add(tx, tenant.pk, type="group", name="Group", **options)
        chat.add_members(tx, pk, [(each, "member") for each in members], 0)
        return pk

    return int(await write(database, apply))


async def say(database: Database, chat_pk: int, sender_pk: int, count: int) -> None:
    def apply(tx: Tx) -> None:
        for _ in range(count):
            event = log.append(tx, chat_pk, "message:new", {})
            empty: dict[str, Any] = dict.fromkeys(("reply_to", "metadata", "deleted_at"))
            at: dict[str, Any] = {"created_at": tx.now, "updated_at": tx.now}
            message = Message(
                chat_pk=chat_pk, chat_id="", seq=event.seq, id=new_id(), sender_pk=sender_pk, sender_id="", type="text",
                content="hello", **at, **empty,
            )  # fmt: skip
            messages.add(tx, message, client_key=None, fingerprint=None)

    await write(database, apply, chat_pk)


async def count(database: Database, column: Any, pk: int) -> int:
    statement = select(func.count()).where(column == pk)
    return int(await database.read(lambda connection: connection.execute(statement).scalar_one()))


async def test_a_deleted_chat_goes_in_slices(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    (ann,) = await users(database, 1)
    gone, other = await group(database, ann), await group(database, ann)
    for pk in (gone, other):
        await say(database, pk, ann, 7)
    doomed: list[tuple[int, int | None]] = []
    monkeypatch.setattr(media, "schedule_removal", lambda tx, chat_pk, upto=None: doomed.append((chat_pk, upto)))
    left = []
    for _ in range(6):
        await write(database, partial(chat.drop_slice, pk=gone, rows=3))
        left.append((await count(database, table.c.chat_pk, gone), await count(database, events.c.channel_pk, gone)))
    assert left == [(4, 7), (1, 7), (0, 4), (0, 1), (0, 0), (0, 0)]
    assert doomed == [(gone, 3), (gone, 6), (gone, None), (gone, None), (gone, None), (gone, None)]
    assert (await count(database, table.c.chat_pk, other), await count(database, events.c.channel_pk, other)) == (7, 7)
    row = await database.read(
        lambda it: it.execute(select(chats.c.swept, chats.c.name, chats.c.id).where(chats.c.pk == gone)).one()
    )
    assert row.swept and row.name is None and row.id, "its id is never another's"


async def test_a_slice_of_exactly_the_last_rows_is_not_the_end(database: Database) -> None:
    (ann,) = await users(database, 1)
    pk = await group(database, ann)
    await say(database, pk, ann, 3)
    await write(database, partial(chat.drop_slice, pk=pk, rows=3))
    assert (await count(database, table.c.chat_pk, pk), await count(database, events.c.channel_pk, pk)) == (0, 3)


async def test_members_of_a_deleted_chat_are_notified_in_slices(database: Database) -> None:
    people = await users(database, 5)
    pk = await group(database, *people)
    assert await database.read(chat.deleted_slice) is None
    await write(database, lambda tx: chat.change(tx, pk, deleted_at=tx.now))
    found = await database.read(partial(chat.deleted_slice, limit=2))
    assert found is not None and (found.pk, found.user_pks) == (pk, people[:2])
    assert await write(database, lambda tx: chat.drop_members(tx, pk, [*people[:2], 10**6])) == people[:2]
    assert (await database.read(partial(chat.deleted_slice, limit=2))).user_pks == people[2:4]  # type: ignore[union-attr]
    await write(database, lambda tx: tx.execute(update(chats).values(swept=True)))
    assert await database.read(chat.deleted_slice) is None


async def test_chats_of_the_same_moment_have_an_order(database: Database) -> None:
    ann, bob = await users(database, 2)
    pks = [await group(database, ann) for _ in range(5)]
    await group(database, bob)
    await write(database, lambda tx: tx.execute(update(chats).values(created_at=5 * SECOND)))
    found: list[int] = []
    before: tuple[int, int] | None = None
    while page := await database.read(partial(chat_list.of_user, user_pk=ann, before=before, limit=2)):
        found += [each.chat.pk for each in page]
        before = page[-1].active_at, page[-1].chat.pk
    assert found == pks[::-1]
    await say(database, pks[1], ann, 1)
    await write(database, lambda tx: chat.change(tx, pks[4], deleted_at=tx.now))
    latest = await database.read(partial(chat_list.of_user, user_pk=ann, before=None, limit=10))
    assert [each.chat.pk for each in latest] == [pks[1], pks[3], pks[2], pks[0]]


async def test_where_many_channels_are(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chat, "CHANNELS_AT_ONCE", 3)
    (ann,) = await users(database, 1)
    joined = [await group(database, ann) for _ in range(4)]
    every = await group(database, ann, history_visible="all")
    await say(database, joined[2], ann, 2)
    found = await database.read(partial(chat.positions, pks=[*joined, every, ann, 10**6]))
    assert found == {
        **{pk: Position(2 if pk == joined[2] else 0, True, False) for pk in joined},
        every: Position(0, False, False),
        ann: Position(0, False, False),
    }
    assert Position(0, False, False) == chat.NOWHERE


async def test_who_may_see_from_where(database: Database) -> None:
    ann, bob = await users(database, 2)
    pk = await group(database, bob, history_visible="joined")
    await write(database, lambda tx: chat.add_members(tx, pk, [(ann, "member")], 4), pk)
    access = await database.read(lambda it: find_access(it, pk, ann))
    assert access is not None and (access.first_seq, access.joined_seq, access.read.wrote) == (5, 4, False)
    await write(database, lambda tx: chat.change(tx, pk, history_visible="all"))
    access = await database.read(lambda it: find_access(it, pk, ann))
    assert access is not None and access.first_seq == 1


async def test_members_in_the_order_of_their_accounts(database: Database) -> None:
    people = await users(database, 4)
    pk = await group(database, *people[::-1])
    await group(database, *people[:1])
    read = database.read
    assert [each.user_pk for each in await read(partial(chat.members_of, chat_pk=pk))] == people
    assert [each.name for each in await read(partial(chat.members_of, chat_pk=pk, limit=2))] == ["user 0", "user 1"]
    after = await read(partial(chat.members_of, chat_pk=pk, after=people[1], limit=1))
    assert [each.user_pk for each in after] == people[2:3]


async def test_streams_that_begin_soon_or_should_have_begun(database: Database) -> None:
    (ann,) = await users(database, 1)
    tenant = await write(database, accounts.default_tenant)

    async def add(starts_at: int, **changes: Any) -> int:
        room = await group(database, ann)
        made: dict[str, Any] = {"id": None, "title": "x", "starts_at": starts_at, "owner_pk": ann, "chat_pk": room}
        pk = int(await write(database, lambda tx: streams.add(tx, tenant.pk, **made)))
        if changes:
            await write(database, lambda tx: streams.change(tx, pk, **changes))
        return pk

    pks = [await add(at) for at in (9, 10, 11, 20)]
    ready = await add(15, status="ready")
    await add(15, status="started")
    announced = await add(15, announced=True)

    async def late(before: int, **options: Any) -> set[int]:
        return set(await database.read(partial(streams.late, before=before, **options)))

    async def soon(after: int, before: int, **options: Any) -> set[int]:
        return set(await database.read(partial(streams.soon, after=after, before=before, **options)))

    assert await late(9) == set() and await late(10) == {pks[0]} and await late(11) == {pks[0], pks[1]}
    assert await late(16) == {*pks[:3], ready, announced}
    assert len(await late(30, limit=2)) == 2 and len(await soon(0, 30, limit=2)) == 2
    assert await soon(9, 20) == {pks[1], pks[2]}
    assert await soon(8, 21) == {*pks}
