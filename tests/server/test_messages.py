"""Messages over REST: edit, delete, read, look back, idempotency."""

import asyncio
from typing import Any

import orjson
import pytest

from tests.conftest import Served
from tests.support.people import Person

PATH = "/api/v2/messages"


async def room(server: Served, count: int = 2, **options: Any) -> tuple[str, list[Person]]:
    members = await server.people.many(count)
    return await members[0].group(*members[1:], **options), members


async def test_edit_rewrites_what_the_log_holds(either: Served) -> None:
    chat_id, (ann, bob) = await room(either)
    sent = await ann.send(chat_id, "first words")
    edited = await ann.patch(f"{PATH}/{sent['_id']}", {"content": "second words"})
    assert edited.status == 200 and edited.json["content"] == "second words"
    assert edited.json["seq"] == sent["seq"] and edited.json["updatedAt"] >= sent["updatedAt"]
    again = await ann.patch(f"{PATH}/{sent['_id']}", {"content": "third words"})
    assert (await ann.patch(f"{PATH}/{sent['_id']}", {"content": "third words"})).json == again.json
    assert (await bob.patch(f"{PATH}/{sent['_id']}", {"content": "mine"})).status == 403
    epoch = either.services.database.epoch
    socket = await bob.socket(offsets={f"chat:{chat_id}": 0}, epoch=epoch)
    assert [name for name, _ in socket.events][:-1] == ["message:new", "message:updated", "message:updated"]
    assert {arguments[0]["content"] for _, arguments in socket.events[:-1]} == {"third words"}
    await socket.close()


async def test_a_deleted_message_is_a_tombstone_everywhere(either: Served) -> None:
    chat_id, (ann, bob) = await room(either)
    first = await ann.send(chat_id, "hello")
    sent = await ann.send(chat_id, "a secret", metadata={"mood": "secret"}, replyTo=first["_id"])
    assert sent["metadata"] == {"mood": "secret"} and sent["replyTo"] == first["_id"]
    await ann.patch(f"{PATH}/{sent['_id']}", {"content": "still a secret"})
    assert (await bob.delete(f"{PATH}/{sent['_id']}")).status == 403
    deleted = await ann.delete(f"{PATH}/{sent['_id']}")
    assert deleted.status == 200
    assert deleted.json["content"] is None and deleted.json["media"] is None and deleted.json["deletedAt"]
    assert "metadata" not in deleted.json and "replyTo" not in deleted.json
    assert (await ann.delete(f"{PATH}/{sent['_id']}")).json == deleted.json
    assert (await ann.patch(f"{PATH}/{sent['_id']}", {"content": "x"})).status == 409
    history = await bob.get(f"{PATH}?chatId={chat_id}")
    assert history.json["items"][-1] == deleted.json
    socket = await bob.socket(offsets={f"chat:{chat_id}": 0}, epoch=either.services.database.epoch)
    names = [name for name, _ in socket.events]
    assert names == ["message:new", "message:new", "message:updated", "message:deleted", "session:ready"]
    assert not [text for text in socket.packets if "secret" in text]
    await socket.close()
    assert (await bob.get(f"/api/v2/chats/{chat_id}")).json["unreadCount"] == 1


async def test_owners_and_admins_delete_what_others_wrote(server: Served) -> None:
    chat_id, (ann, bob, cid) = await room(server, 3)
    await ann.patch(f"/api/v2/chats/{chat_id}/members/{bob.id}", {"role": "admin"})
    for deleter in (ann, bob):
        sent = await cid.send(chat_id)
        assert (await deleter.delete(f"{PATH}/{sent['_id']}")).status == 200


async def test_read_positions_only_grow(either: Served) -> None:
    chat_id, (ann, bob, cid) = await room(either, 3)
    sent = [await ann.send(chat_id, str(number)) for number in range(5)]
    socket = await ann.socket()
    assert (await bob.get(f"/api/v2/chats/{chat_id}")).json["unreadCount"] == 5
    assert (await ann.get(f"/api/v2/chats/{chat_id}")).json["unreadCount"] == 0
    read = await bob.post(f"{PATH}/{sent[3]['_id']}/read")
    assert read.json == {"chatId": chat_id, "userId": bob.id, "messageId": sent[3]["_id"], "readSeq": 4}
    for earlier in (sent[1], sent[3]):
        assert (await bob.post(f"{PATH}/{earlier['_id']}/read")).json["readSeq"] == 4
    await cid.post(f"{PATH}/{sent[0]['_id']}/read")
    await socket.event("message:read", 2)
    assert [arguments[0]["userId"] for arguments in socket.named("message:read")] == [bob.id, cid.id]
    items = (await cid.get(f"{PATH}?chatId={chat_id}")).json["items"]
    assert [item["readCount"] for item in items] == [2, 1, 1, 1, 0]
    assert {*items[0]["readBy"]} == {bob.id, cid.id} and items[1]["readBy"] == [bob.id]
    assert (await bob.get(f"/api/v2/chats/{chat_id}")).json["unreadCount"] == 1
    mine = await bob.send(chat_id, "mine")
    assert (await bob.get(f"/api/v2/chats/{chat_id}")).json["unreadCount"] == 1
    assert mine["readBy"] == []
    await socket.close()


@pytest.mark.parametrize("members", [100, 101])
async def test_read_receipts_of_large_chats(server: Served, members: int) -> None:
    """Up to 100 members everybody is sent a receipt, above that the reader alone; 100 readers are named."""
    chat_id, (ann, bob, *others) = await room(server, members)
    first, second = [await ann.send(chat_id) for _ in range(2)]
    assert (first["readBy"], first["readCount"]) == ([], 0)
    reader, sender = await bob.socket(), await ann.socket()
    await bob.post(f"{PATH}/{first['_id']}/read")
    channel = f"chat:{chat_id}" if members == 100 else f"user:{bob.id}"
    assert (await reader.event("message:read"))[1]["channel"] == channel
    await ann.send(chat_id)
    await sender.event("message:new")
    assert len(sender.named("message:read")) == (1 if members == 100 else 0)
    await asyncio.gather(*(each.post(f"{PATH}/{second['_id']}/read") for each in (bob, *others)))
    item = (await ann.get(f"{PATH}/{second['_id']}")).json
    assert (len({*item["readBy"]}), item["readCount"]) == (min(members - 1, 100), members - 1)
    extra = await server.people.make()
    await ann.post(f"/api/v2/chats/{chat_id}/members", {"userIds": [extra.id]})
    third = await ann.send(chat_id)
    await asyncio.gather(*(each.post(f"{PATH}/{third['_id']}/read") for each in (bob, *others, extra)))
    item = (await ann.get(f"{PATH}/{third['_id']}")).json
    assert (len({*item["readBy"]}), item["readCount"]) == (100, members)
    assert ann.id not in item["readBy"]


async def test_unread_messages_are_counted_up_to_a_thousand(server: Served) -> None:
    chat_id, (ann, bob) = await room(server)
    await asyncio.gather(*(ann.send(chat_id) for _ in range(999)))
    for count in (999, 1000, 1000):
        assert (await bob.get(f"/api/v2/chats/{chat_id}")).json["unreadCount"] == count
        await ann.send(chat_id)


async def test_who_can_only_read_edits_nothing(server: Served) -> None:
    chat_id, (ann, bob) = await room(server)
    sent = await bob.send(chat_id)
    await ann.patch(f"/api/v2/chats/{chat_id}/members/{bob.id}", {"role": "readonly"})
    assert (await bob.patch(f"{PATH}/{sent['_id']}", {"content": "other"})).status == 403
    assert (await bob.delete(f"{PATH}/{sent['_id']}")).status == 403


async def test_history_in_pages(either: Served) -> None:
    chat_id, (ann, _) = await room(either)
    seqs = [(await ann.send(chat_id, str(number)))["seq"] for number in range(25)]
    newest = (await ann.get(f"{PATH}?chatId={chat_id}&limit=10")).json
    assert [item["seq"] for item in newest["items"]] == seqs[15:]
    assert (newest["before"], newest["after"]) == (seqs[15], None)
    older = (await ann.get(f"{PATH}?chatId={chat_id}&limit=10&before={newest['before']}")).json
    assert [item["seq"] for item in older["items"]] == seqs[5:15]
    oldest = (await ann.get(f"{PATH}?chatId={chat_id}&limit=10&before={older['before']}")).json
    assert [item["seq"] for item in oldest["items"]] == seqs[:5] and oldest["before"] is None
    forward = (await ann.get(f"{PATH}?chatId={chat_id}&limit=10&after=0")).json
    assert [item["seq"] for item in forward["items"]] == seqs[:10] and forward["after"] == seqs[9]
    assert (forward["before"], seqs[0]) == (None, 1), "there is nothing before the first"
    second = (await ann.get(f"{PATH}?chatId={chat_id}&limit=10&after=1")).json
    assert (second["before"], second["after"]) == (seqs[1], seqs[10])
    both = (await ann.get(f"{PATH}?chatId={chat_id}&limit=10&before={seqs[8]}&after=1")).json
    assert [item["seq"] for item in both["items"]] == seqs[1:8]
    assert (both["before"], both["after"]) == (None, seqs[7])
    last = (await ann.get(f"{PATH}?chatId={chat_id}&limit=200&after={seqs[9]}")).json
    assert [item["seq"] for item in last["items"]] == seqs[10:] and last["after"] is None
    for whole in ("limit=25", "limit=25&after=0"):
        page = (await ann.get(f"{PATH}?chatId={chat_id}&{whole}")).json
        assert [item["seq"] for item in page["items"]] == seqs and page["before"] is page["after"] is None, whole
    for wrong in ("limit=0", "limit=201", "limit=x", "before=-1", f"before={2**63}", "before=1e3"):
        assert (await ann.get(f"{PATH}?chatId={chat_id}&{wrong}")).status == 400, wrong


async def test_history_begins_at_joining_unless_all_is_visible(server: Served) -> None:
    for visible, expected in (("joined", ["after"]), ("all", ["before", "after"])):
        ann, late = await server.people.many(2)
        chat_id = await ann.group(historyVisible=visible)
        early = await ann.send(chat_id, "before")
        added = await ann.post(f"/api/v2/chats/{chat_id}/members", {"userIds": [late.id]})
        assert added.status == 201
        assert (await late.get(f"/api/v2/chats/{chat_id}")).json["unreadCount"] == 0
        await ann.send(chat_id, "after")
        items = (await late.get(f"{PATH}?chatId={chat_id}")).json["items"]
        assert [item["content"] for item in items] == expected
        assert (await late.get(f"{PATH}/{early['_id']}")).status == (200 if visible == "all" else 404)
        assert (await late.post(f"{PATH}/{early['_id']}/read")).status == (200 if visible == "all" else 404)


async def test_one_key_one_message(either: Served) -> None:
    chat_id, (ann, bob) = await room(either)
    body = {"type": "text", "chatId": chat_id, "content": "once"}
    keyed = {**body, "clientMessageId": "key"}
    answers = await asyncio.gather(
        *(ann.post(PATH, keyed) for _ in range(8)),
        *(ann.post(PATH, body, headers={"Idempotency-Key": "key"}) for _ in range(8)),
    )
    assert {each.status for each in answers} == {201}
    assert len({each.body for each in answers}) == 1
    socket = await ann.socket()
    ack = await socket.call("message:send", keyed)
    assert ack["statusCode"] == 201 and ack["data"] == answers[0].json
    await socket.close()

    await bob.post(f"{PATH}/{answers[0].json['_id']}/read")
    assert (await ann.post(PATH, keyed)).body == answers[0].body
    assert (await ann.post(PATH, {**keyed, "content": "twice"})).status == 409
    assert (await ann.post(PATH, keyed, headers={"Idempotency-Key": "other"})).status == 400
    assert (await bob.post(PATH, keyed)).json["_id"] != answers[0].json["_id"]
    await ann.patch(f"{PATH}/{answers[0].json['_id']}", {"content": "edited"})
    present = (await ann.post(PATH, keyed)).json
    assert present["content"] == "edited" and present["readBy"] == [bob.id]
    items = (await ann.get(f"{PATH}?chatId={chat_id}")).json["items"]
    assert len(items) == 2


async def test_an_error_is_not_kept_under_its_key(server: Served) -> None:
    chat_id, (ann, bob) = await room(server)
    await ann.patch(f"/api/v2/chats/{chat_id}/members/{bob.id}", {"role": "readonly"})
    body = {"type": "text", "chatId": chat_id, "content": "x", "clientMessageId": "k"}
    assert (await bob.post(PATH, body)).status == 403
    await ann.patch(f"/api/v2/chats/{chat_id}/members/{bob.id}", {"role": "member"})
    assert (await bob.post(PATH, body)).status == 201


async def test_replies_stay_in_their_chat(server: Served) -> None:
    chat_id, (ann, _) = await room(server)
    other = await ann.send(await ann.group(), "elsewhere")
    body = {"type": "text", "chatId": chat_id, "content": "x"}
    assert (await ann.post(PATH, {**body, "replyTo": other["_id"]})).status == 404
    assert (await ann.post(PATH, {**body, "replyTo": "a" * 24})).status == 404
    assert (await ann.post(PATH, {**body, "replyTo": "x"})).status == 400


async def test_reports_reach_the_admins(server: Served) -> None:
    chat_id, (ann, bob) = await room(server)
    admin = await server.people.make(grant=["admin"])
    sent = await ann.send(chat_id)
    path = f"{PATH}/{sent['_id']}/report"
    assert (await bob.post(path, {"reason": "rude"})).status == 201
    assert (await bob.post(path, {"reason": "rude"})).status == 409
    assert (await admin.post(path, {"reason": "rude"})).status == 404
    other = await ann.send(chat_id)
    for person in (bob, ann):
        assert (await person.post(f"{PATH}/{other['_id']}/report", {"reason": "spam"})).status == 201
    listed: list[tuple[str, str, str]] = []
    cursor = ""
    for size in (1, 1, 1):
        page = (await admin.get(f"/api/v1/admin/reports?limit=1{cursor}")).json["data"]
        assert len(page["items"]) == size
        listed += [(each["messageId"], each["reporterId"], each["reason"]) for each in page["items"]]
        cursor = f"&cursor={page['nextCursor']}"
    assert listed == [(other["_id"], ann.id, "spam"), (other["_id"], bob.id, "spam"), (sent["_id"], bob.id, "rude")]
    assert page["nextCursor"] is None
    assert (await ann.get("/api/v1/admin/reports")).status == 403


async def test_the_document_of_rest_ack_and_event_is_one(server: Served) -> None:
    chat_id, (ann, bob) = await room(server)
    socket = await bob.socket()
    sent = await ann.send(chat_id, "ünïcødé 🎉", metadata={"a": [1, {"b": None}]})
    payload, _ = await socket.event("message:new")
    assert orjson.dumps(payload) == orjson.dumps(sent)
    await socket.close()


async def test_a_reply_names_what_its_author_may_see(either: Served) -> None:
    ann, bob, dan = await either.people.many(3)
    chat_id = await ann.group(bob)
    old = await ann.send(chat_id)
    await ann.post(f"/api/v2/chats/{chat_id}/members", {"userIds": [dan.id]})
    body = {"type": "text", "chatId": chat_id, "content": "x"}
    assert (await dan.post(PATH, {**body, "replyTo": old["_id"]})).status == 404, "it is from before the joining"
    assert (await bob.post(PATH, {**body, "replyTo": old["_id"]})).status == 201
    new = await ann.send(chat_id)
    assert (await dan.post(PATH, {**body, "replyTo": new["_id"]})).json["replyTo"] == new["_id"]
    await ann.patch(f"/api/v2/chats/{chat_id}", {"historyVisible": "all"})
    assert (await dan.post(PATH, {**body, "replyTo": old["_id"]})).status == 201


async def test_who_wrote_a_message_is_none_of_its_readers(either: Served) -> None:
    ann, bob, cem = await either.people.many(3)
    chat_id = await ann.group(bob, cem)
    sent = await ann.send(chat_id)
    for person in (ann, bob):
        assert (await person.post(f"{PATH}/{sent['_id']}/read")).status == 200
    shown = (await ann.get(f"{PATH}/{sent['_id']}")).json
    assert (shown["readBy"], shown["readCount"]) == ([bob.id], 1)
    again = await bob.send(chat_id)
    assert (await bob.post(f"{PATH}/{again['_id']}/read")).status == 200
    (first, second) = (await cem.get(f"{PATH}?chatId={chat_id}")).json["items"]
    assert first["readBy"] == [bob.id] and second["readBy"] == [], (
        "reading the later reads the earlier, but not one's own"
    )
