"""The rules of chats as the service keeps them, whoever calls it: limits to the member, rights at the commit, events."""

from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import func, select, update

from realtime.schema.bodies import CreateChat
from storage import chat
from storage.access import find_access
from storage.errors import Conflict, Forbidden, Invalid, NotFound, Unauthenticated
from storage.models import chats, events, messages, users
from storage.transaction import Command, Tx
from tests.conftest import Served
from tests.support.people import Person

CHATS = "/api/v2/chats"


def group(*others: Person, **more: Any) -> CreateChat:
    return CreateChat(type="group", name="g", memberIds=[each.id for each in others], **more)


async def disable(server: Served, person: Person) -> None:
    """As another process would: this one has still seen them as they were."""

    def apply(tx: Tx) -> None:
        tx.execute(update(users).where(users.c.pk == person.user.pk).values(status="disabled"))

    await server.services.database.write(Command(apply))


async def pk_of(server: Served, person: Person, chat_id: str) -> int:
    return await server.services.chats.numbers.find(person.user.tenant_pk, chat_id)


# Limits


async def test_members_up_to_the_limit(server: Served) -> None:
    ann, bob, cem, dan = await server.people.many(4)
    service, caller = server.services.chats, server.people.caller(ann)
    service.limits = replace(service.limits, chat_members=3)
    with pytest.raises(Conflict, match="3 members"):
        await service.create(caller, group(bob, cem, dan))
    made, _ = await service.create(caller, group(bob, cem))
    assert made["memberCount"] == 3
    with pytest.raises(Conflict, match="3 members"):
        await service.add_members(caller, made["_id"], [dan.id], "member")
    two, _ = await service.create(caller, group(bob))
    with pytest.raises(Conflict, match="3 members"):
        await service.add_members(caller, two["_id"], [cem.id, dan.id], "member")
    full, new = await service.add_members(caller, two["_id"], [cem.id], "member")
    assert (full["memberCount"], new) == (3, True)
    again, new = await service.add_members(caller, two["_id"], [cem.id], "member")
    assert (again["memberCount"], new) == (3, False), "who is in takes no place"


async def test_members_of_one_call_up_to_the_limit(server: Served) -> None:
    ann, *others = await server.people.many(4)
    service, caller = server.services.chats, server.people.caller(ann)
    service.limits = replace(service.limits, members_per_call=2)
    ids = [each.id for each in others]
    with pytest.raises(Invalid) as refused:
        await service.create(caller, group(*others))
    assert refused.value.details[0].field == "memberIds"
    made, _ = await service.create(caller, group(*others[:2], ann))
    assert made["memberCount"] == 3, "oneself does not count"
    with pytest.raises(Invalid) as refused:
        await service.add_members(caller, made["_id"], ids, "member")
    assert refused.value.details[0].field == "userIds"
    changed, _ = await service.add_members(caller, made["_id"], ids[1:], "member")
    assert changed["memberCount"] == 4


# Rights, as they are at the commit


async def test_who_was_disabled_meanwhile_makes_nothing(server: Served) -> None:
    ann, bob = await server.people.many(2)
    service, caller = server.services.chats, server.people.caller(ann)
    await disable(server, ann)
    for body in (group(bob), CreateChat(type="direct", memberIds=[bob.id])):
        with pytest.raises(Unauthenticated):
            await service.create(caller, body)
    assert await server.services.database.read(lambda it: it.execute(select(chats.c.pk)).all()) == []


async def test_the_search_of_all_chats_is_for_admins(server: Served) -> None:
    ann, admin = await server.people.make(), await server.people.make(permissions=["admin"])
    await ann.group()
    service, people = server.services.chats, server.people
    with pytest.raises(Forbidden):
        await service.search(people.caller(ann), "Group", before=None, limit=10)
    assert len(await service.search(people.caller(admin), "Group", before=None, limit=10)) == 1


async def test_a_plain_member_changes_no_roles(server: Served) -> None:
    ann, bob, cem = await server.people.many(3)
    chat_id = await ann.group(bob, cem)
    service = server.services.chats
    for role in ("member", "readonly", "admin"):
        with pytest.raises(Forbidden):
            await service.set_role(server.people.caller(bob), chat_id, cem.id, role)
    socket = await cem.socket()
    socket.events.clear()
    changed = await ann.patch(f"{CHATS}/{chat_id}/members/{cem.id}", {"role": "readonly"})
    assert changed.json["role"] == "readonly"
    document, place = await socket.event("chat:updated")
    assert document["changes"] == {"members": [{"userId": cem.id, "role": "readonly"}]}
    assert place["channel"] == f"chat:{chat_id}"


async def test_nobody_is_added_who_blocks_or_is_not_there(server: Served) -> None:
    ann, bob, cem = await server.people.many(3)
    chat_id = await ann.group()
    service, caller = server.services.chats, server.people.caller(ann)
    assert (await bob.post("/api/v1/users/me/blocks", {"userId": ann.id})).status == 201
    with pytest.raises(Forbidden):
        await service.add_members(caller, chat_id, [bob.id], "member")
    with pytest.raises(NotFound):
        await service.add_members(caller, chat_id, [cem.id, "f" * 24], "member")
    assert (await ann.get(f"{CHATS}/{chat_id}")).json["memberCount"] == 1, "nobody, if not all"
    await service.add_members(caller, chat_id, [cem.id], "member")
    assert (await ann.get(f"{CHATS}/{chat_id}")).json["memberCount"] == 2


async def test_an_id_that_is_taken(server: Served) -> None:
    ann = await server.people.make()
    service, caller = server.services.chats, server.people.caller(ann)
    await service.create(caller, group(id="a" * 24))
    with pytest.raises(Conflict, match="already exists"):
        await service.create(caller, group(id="a" * 24))
    other, _ = await service.create(caller, group())
    assert other["_id"] != "a" * 24


# What is told, remembered and removed


async def test_a_new_group_is_read_from_its_first_event_on(server: Served) -> None:
    ann, bob = await server.people.many(2)
    socket = await bob.socket()
    chat_id = await ann.group(bob)
    document, _ = await socket.event("chat:new")
    assert (document["_id"], document["at"]) == (chat_id, 0)
    await ann.send(chat_id, "first")
    message, place = await socket.event("message:new")
    assert (message["content"], place["seq"]) == ("first", 1)


async def test_the_last_message_of_a_chat_is_its_newest(server: Served) -> None:
    ann = await server.people.make()
    chat_id = await ann.group()
    for content in ("one", "two", "three"):
        await ann.send(chat_id, content)
    assert (await ann.get(f"{CHATS}/{chat_id}")).json["lastMessage"]["content"] == "three"
    (item,) = (await ann.get(CHATS)).json["items"]
    assert item["lastMessage"]["content"] == "three"


async def test_a_first_message_says_who_shares_the_chat(server: Served) -> None:
    """Of their own will: by this their presence is shown (contract, section 8 of the routes)."""
    ann, bob = await server.people.many(2)
    chat_id = await ann.group(bob)
    pk, database = await pk_of(server, ann, chat_id), server.services.database

    async def wrote(person: Person) -> bool:
        access = await database.read(lambda connection: find_access(connection, pk, person.user.pk))
        assert access is not None
        return access.read.wrote

    assert await wrote(ann) and not await wrote(bob), "who made it, and who was put into it"
    await bob.send(chat_id)
    assert await wrote(bob)
    await bob.send(chat_id)
    assert await wrote(bob)


async def test_a_deleted_chat_leaves_nothing(server: Served) -> None:
    ann, *others = await server.people.many(4)
    chat_id = await ann.group(*others)
    for number in range(3):
        await ann.send(chat_id, str(number))
    pk, service = await pk_of(server, ann, chat_id), server.services.chats
    assert (await ann.delete(f"{CHATS}/{chat_id}")).status == 200
    await service.tasks.finish()
    await service.sweep_all()

    def left(connection: Any) -> list[int]:
        owners = ((messages, messages.c.chat_pk), (events, events.c.channel_pk))
        counts = [select(func.count()).select_from(table).where(owner == pk) for table, owner in owners]
        return [connection.execute(each).scalar_one() for each in counts]

    assert await server.services.database.read(left) == [0, 0]
    assert not await service.sweep()
    for each in (ann, *others):
        assert (await each.get(CHATS)).json["items"] == []


async def test_a_chat_with_another_owner_needs_no_heir(server: Served) -> None:
    ann, bob, cem = await server.people.many(3)
    chat_id = await ann.group(bob, cem)
    assert (await ann.patch(f"{CHATS}/{chat_id}/members/{bob.id}", {"role": "owner"})).status == 200

    async def erase(person: Person) -> dict[str, str]:
        assert (await person.delete("/api/v1/users/me")).status == 200
        await server.services.erasure.work()
        members = (await cem.get(f"{CHATS}/{chat_id}/members")).json["items"]
        return {each["userId"]: each["role"] for each in members}

    assert await erase(ann) == {bob.id: "owner", cem.id: "member"}
    assert await erase(bob) == {cem.id: "owner"}


async def test_who_was_disabled_does_nothing_in_a_chat_with_others(server: Served) -> None:
    ann, bob = await server.people.many(2)
    chat_id = await ann.group(bob)
    service = server.services.chats
    await disable(server, bob)
    with pytest.raises(Unauthenticated):
        await service.mute(server.people.caller(bob), chat_id, None)
    assert (await service.mute(server.people.caller(ann), chat_id, None))["_id"] == chat_id


async def test_a_new_chat_names_twenty_of_its_members(server: Served) -> None:
    ann, *others = await server.people.many(25)
    socket = await others[-1].socket()
    await ann.group(*others)
    document, _ = await socket.event("chat:new")
    assert (len(document["members"]), document["memberCount"]) == (20, 25)


async def test_a_message_names_a_hundred_of_its_readers(server: Served) -> None:
    """And none who came after it, or sent it."""
    ann, *others = await server.people.many(103)
    chat_id = await ann.group(*others)
    sent = await ann.send(chat_id, metadata={"a": [1, {"b": None}]})
    pk = await pk_of(server, ann, chat_id)

    def read(tx: Tx) -> None:
        for each in (ann, *others):
            chat.set_member(tx, pk, each.user.pk, read_seq=sent["seq"])
        chat.set_member(tx, pk, others[0].user.pk, joined_seq=sent["seq"])

    await server.services.database.write(Command(read))
    shown = (await ann.get(f"/api/v2/messages/{sent['_id']}")).json
    assert len(shown["readBy"]) == 100 and not {ann.id, others[0].id} & {*shown["readBy"]}
    assert shown["metadata"] == {"a": [1, {"b": None}]}
