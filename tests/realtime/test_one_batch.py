"""What a command sees of those before it in its batch, whose rows are not written yet."""

from dataclasses import replace
from typing import Any

import orjson
from sqlalchemy import select

from realtime.notifications import Draft
from realtime.schema.message_bodies import EditMessage, SendMessage
from storage import log, notifications
from storage.models import channels, outbox
from storage.types import Ref
from tests.conftest import Served
from tests.support.batches import in_one_batch
from tests.support.people import Person


async def written(server: Served, channel: str) -> list[tuple[str, Any]]:
    """What the log has of a channel, as replays show it."""
    database = server.services.database

    def look(connection: Any) -> list[tuple[str, Any]]:
        (pk,) = connection.execute(select(channels.c.pk).where(channels.c.name == channel)).one()
        (page,) = log.pages(connection, [(pk, 0)], 1000)
        return [(each.name, orjson.loads(each.payload)) for each in page]

    return await database.read(look)


async def group(server: Served) -> tuple[Person, Person, str]:
    ann, bob = await server.people.many(2)
    return ann, bob, await ann.group(bob, name="Group")


async def test_an_edit_shows_who_has_read_just_before(either: Served) -> None:
    ann, bob, chat = await group(either)
    sent = await ann.send(chat)
    messages, caller = either.services.messages, either.people.caller
    _, edited = await in_one_batch(
        either.services.database,
        [messages.read(caller(bob), sent["_id"]), messages.edit(caller(ann), sent["_id"], EditMessage(content="new"))],
    )
    assert (edited["readBy"], edited["readCount"]) == ([bob.id], 1)
    assert edited == (await ann.get(f"/api/v2/messages/{sent['_id']}")).json


async def test_two_edits_and_a_deletion_of_one_message_and_of_another(either: Served) -> None:
    """The later one counts, wherever the first of its kind stands; the log has nothing of what is gone."""
    ann, _, chat = await group(either)
    first, second = [await ann.send(chat) for _ in range(2)]
    messages, caller = either.services.messages, either.people.caller(ann)
    answers = await in_one_batch(
        either.services.database,
        [
            messages.delete(caller, first["_id"]),
            messages.edit(caller, second["_id"], EditMessage(content="once")),
            messages.edit(caller, second["_id"], EditMessage(content="twice")),
            messages.delete(caller, second["_id"]),
        ],
    )
    assert [each["content"] for each in answers] == [None, "once", "twice", None]
    page = (await ann.get(f"/api/v2/messages?chatId={chat}")).json["items"]
    assert [each["content"] for each in page] == [None] * 2 and all(each["deletedAt"] for each in page)
    names, documents = zip(*await written(either, f"chat:{chat}"), strict=True)
    assert names[-6:] == ("message:new",) * 2 + ("message:deleted",) + ("message:updated",) * 2 + ("message:deleted",)
    assert {each["content"] for each in documents[-6:]} == {None}


async def test_replies_and_their_deletions_count_as_one_by_one(either: Served) -> None:
    """First replies, reads and deletions of them in one batch: the summary and the rows are those of a recount."""
    ann, bob, chat = await group(either)
    root, other = [await ann.send(chat) for _ in range(2)]
    first = await bob.send(chat, threadId=other["_id"])
    messages, callers = either.services.messages, {each.id: either.people.caller(each) for each in (ann, bob)}

    def reply(person: Person, to: Any) -> Any:
        body = SendMessage(type="text", chatId=chat, content="x", threadId=to["_id"])
        return messages.post(callers[person.id], body)

    answers = await in_one_batch(
        either.services.database,
        [
            reply(bob, root),
            reply(ann, root),
            messages.read(callers[ann.id], first["_id"]),
            messages.edit(callers[bob.id], first["_id"], EditMessage(content="edited")),
            messages.delete(callers[bob.id], first["_id"]),
            reply(ann, other),
            reply(bob, root),
            messages.delete(callers[ann.id], other["_id"]),
        ],
    )
    assert answers[3]["readBy"] == [ann.id]
    shown = (await ann.get(f"/api/v2/messages/{root['_id']}")).json["thread"]
    assert (shown["replyCount"], shown["participants"]) == (3, [bob.id, ann.id])
    assert (await ann.get(f"/api/v2/messages/{other['_id']}")).json["thread"]["replyCount"] == 1
    events = [each for each in await written(either, f"chat:{chat}") if each[0] == "message:thread"]
    counts = [each["thread"]["replyCount"] for _, each in events if each["threadId"] == root["_id"]]
    assert counts == [1, 2, 3]
    listed = {each["threadId"]: each["unreadCount"] for each in (await ann.get("/api/v2/threads")).json["items"]}
    assert listed == {root["_id"]: 2, other["_id"]: 0}


async def test_notifications_have_numbers_of_their_own_and_are_read_once(either: Served) -> None:
    ann = await either.people.make(grant=["notifications.send"])
    bob = await either.people.make()
    services = either.services
    sender, reader = await services.accounts.authenticate(str(ann.token)), either.people.caller(bob)
    sent = await in_one_batch(
        services.database,
        [
            services.notifications.send(sender, Draft(Ref("id", bob.id), title=f"{n}", client_key=f"{n}"))
            for n in range(3)
        ],
    )
    assert [each.pk for each in sent] == sorted({each.pk for each in sent})
    refs = [Ref("number", each.pk) for each in sent]
    once, again = await in_one_batch(
        services.database, [services.notifications.read(reader, refs[0]) for _ in range(2)]
    )
    assert once == again and once.read_at is not None
    read, gone = await in_one_batch(
        services.database,
        [services.notifications.read(reader, refs[1]), services.notifications.delete(reader, refs[1])],
    )
    assert read.title == "1" and gone.title is None and gone.read_at == read.read_at
    names = [name for name, _ in await written(either, f"user:{bob.id}")]
    assert names == ["notification:new"] * 3 + ["notification:read"] * 2 + ["notification:deleted"]
    assert (await bob.get("/api/v1/notifications/unread-count")).json["data"] == {"count": 1}
    stored = await services.database.read(lambda it: notifications.find(it, sender.user.tenant_pk, refs[0]))
    assert stored == once


async def test_the_same_key_twice_is_one_notification(either: Served) -> None:
    ann = await either.people.make(grant=["notifications.send"])
    bob = await either.people.make()
    services = either.services
    sender = await services.accounts.authenticate(str(ann.token))
    draft = Draft(Ref("id", bob.id), title="t", client_key="k")
    first, second = await in_one_batch(
        services.database, [services.notifications.send(sender, draft) for _ in range(2)]
    )
    assert first == second
    names = [name for name, _ in await written(either, f"user:{bob.id}")]
    assert names == ["notification:new"]


async def test_badges_and_recounts_are_promised_once(either: Served) -> None:
    """By what is read, and by what is deleted, in a moment: for all devices where two of them have read."""
    ann, bob, chat = await group(either)
    services, caller = either.services, either.people.caller
    for name in ("one", "two"):
        device = {"deviceId": name, "platform": "android", "pushToken": name}
        assert (await bob.post("/api/v1/devices", device)).status == 201
    sent = [await ann.send(chat) for _ in range(4)]
    services.worker.stopping = True
    services.worker.wake()
    await in_one_batch(
        services.database,
        [
            services.messages.read(replace(caller(bob), device="one"), sent[0]["_id"]),
            services.messages.read(replace(caller(bob), device="two"), sent[1]["_id"]),
            services.messages.delete(caller(ann), sent[2]["_id"]),
            services.messages.delete(caller(ann), sent[3]["_id"]),
        ],
    )
    rows = await services.database.read(
        lambda it: it.execute(
            select(outbox.c.kind, outbox.c.seq, outbox.c.ref_pk).where(outbox.c.kind.in_(("badge", "recount")))
        ).all()
    )
    assert sorted(rows) == [("badge", 0, None), ("recount", sent[3]["seq"], ann.user.pk)]
