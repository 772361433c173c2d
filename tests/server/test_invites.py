"""Invite links of groups: who makes and revokes them, who joins by them, and when they end."""

import asyncio

from sqlalchemy import select, update

from storage import invites as storing
from storage.models import invites
from storage.transaction import Command
from tests.conftest import Served, ServerFactory
from tests.support.people import Person

CHATS, JOIN = "/api/v2/chats", "/api/v2/invites"


async def rows(server: Served) -> int:
    return len(await server.services.database.read(lambda it: it.execute(select(invites)).all()))


async def link(person: Person, chat: str) -> str:
    answer = await person.post(f"{CHATS}/{chat}/invite")
    assert answer.status == 201, answer
    return str(answer.json["token"])


async def test_a_link_joins(either: Served) -> None:
    ann, bob, cat = await either.people.many(3)
    chat = await ann.group(cat)
    old = await ann.send(chat, "before")
    heard, own = await cat.socket(), await bob.socket()
    made = (await ann.post(f"{CHATS}/{chat}/invite")).json
    assert list(made) == ["token", "url", "expiresAt"]
    assert made["url"] == f"{either.services.public_url}/#invite={made['token']}"
    joined = await bob.post(f"{JOIN}/{made['token']}")
    assert joined.status == 201
    assert joined.json["_id"] == chat
    assert joined.json == (await bob.get(f"{CHATS}/{chat}")).json
    event, place = await heard.event("chat:updated")
    assert event == {"chatId": chat, "changes": {}, "added": [bob.id], "removed": []}
    assert (await own.event("chat:new"))[0]["at"] == place["seq"]
    assert (await bob.get(f"/api/v2/messages/{old['_id']}")).status == 404, "what was before is not visible"
    assert (await bob.send(chat))["seq"] == place["seq"] + 1
    again = await bob.post(f"{JOIN}/{made['token']}")
    assert (again.status, again.json["_id"]) == (200, chat)
    assert (await cat.get(f"{CHATS}/{chat}")).json["memberCount"] == 3


async def test_a_link_stays_until_it_is_revoked(either: Served) -> None:
    ann, bob = await either.people.many(2)
    chat = await ann.group()
    first = await link(ann, chat)
    assert await link(ann, chat) == first
    assert (await ann.delete(f"{CHATS}/{chat}/invite")).json == {"success": True}
    assert (await ann.delete(f"{CHATS}/{chat}/invite")).status == 200
    refused = await bob.post(f"{JOIN}/{first}")
    assert (refused.status, "revoked" in str(refused.json)) == (404, True)
    second = await link(ann, chat)
    assert second != first
    assert (await bob.post(f"{JOIN}/{first}")).status == 404
    assert (await bob.post(f"{JOIN}/{second}")).status == 201


async def test_who_may_make_one(either: Served) -> None:
    ann, bob, cat = await either.people.many(3)
    chat = await ann.group(bob)
    assert (await bob.post(f"{CHATS}/{chat}/invite")).status == 403
    assert (await bob.delete(f"{CHATS}/{chat}/invite")).status == 403
    assert (await cat.post(f"{CHATS}/{chat}/invite")).status == 404
    for role, status in (("moderator", 403), ("admin", 201)):
        await ann.patch(f"{CHATS}/{chat}/members/{bob.id}", {"role": role})
        assert (await bob.post(f"{CHATS}/{chat}/invite")).status == status
    direct = await ann.post(CHATS, {"type": "direct", "memberIds": [bob.id]})
    assert (await ann.post(f"{CHATS}/{direct.json['_id']}/invite")).status == 409
    admin = await either.people.make(permissions=["admin"])
    room = (await admin.post(CHATS, {"type": "room", "name": "r"})).json["_id"]
    assert (await admin.post(f"{CHATS}/{room}/invite")).status == 409
    stream = (await admin.post("/api/v1/streams", {"title": "s", "startsAt": "2099-01-01T00:00:00Z"})).json["data"]
    assert (await admin.post(f"{CHATS}/{stream['chatId']}/invite")).status == 409


async def test_tokens_that_open_nothing(either: Served) -> None:
    ann, bob = await either.people.many(2)
    foreign = await either.people.make(tenant=await either.people.tenant())
    token = await link(ann, await ann.group())
    key, signature = token[:24], token[24:]
    for wrong in (key, key + "0" * 64, signature, token + "0", "%20", "İ", "a" * 5000, token.upper()):
        assert (await bob.post(f"{JOIN}/{wrong}")).status == 404, wrong
    assert (await foreign.post(f"{JOIN}/{token}")).status == 404
    assert (await either.people.anonymous.post(f"{JOIN}/{token}")).status == 401


async def test_a_link_expires_and_is_removed(either: Served) -> None:
    ann, bob = await either.people.many(2)
    chat = await ann.group()
    token = await link(ann, chat)
    write = either.services.database.write
    await write(Command(lambda tx: tx.execute(update(invites).values(expires_at=tx.now)), channels=[]))
    assert (await bob.post(f"{JOIN}/{token}")).status == 404
    await write(Command(storing.sweep))
    assert await rows(either) == 0
    assert await link(ann, chat) != token
    await ann.delete(f"{CHATS}/{chat}")
    await either.services.chats.sweep_all()
    assert await rows(either) == 0


async def test_who_was_removed_or_banned_stays_out(either: Served) -> None:
    """Without a link a removed member can't come back; with one they could."""
    ann, bob, cat, dan = await either.people.many(4)
    chat = await ann.group(bob, cat, dan)
    assert (await ann.delete(f"{CHATS}/{chat}/members/{dan.id}")).status == 200
    token = await link(ann, chat)
    assert (await ann.delete(f"{CHATS}/{chat}/members/{bob.id}")).status == 200
    assert (await ann.post(f"{CHATS}/{chat}/members/{cat.id}/ban", {})).status == 200
    for each in (bob, cat):
        refused = await each.post(f"{JOIN}/{token}")
        assert (refused.status, refused.json["details"][0]["code"]) == (403, "banned")
    assert (await dan.post(f"{JOIN}/{token}")).status == 201, "the link is newer than the removal"
    assert (await ann.post(f"{CHATS}/{chat}/members", {"userIds": [bob.id]})).status == 201
    assert (await bob.post(f"{CHATS}/{chat}/leave")).status == 200
    assert (await bob.post(f"{JOIN}/{token}")).status == 201, "being added lifts the ban; leaving makes none"


async def test_who_left_can_be_banned(either: Served) -> None:
    """They could come back by the link."""
    ann, bob = await either.people.many(2)
    chat = await ann.group(bob)
    assert (await ann.post(f"{CHATS}/{chat}/members/{bob.id}/ban", {})).status == 200
    assert (await ann.delete(f"{CHATS}/{chat}/members/{bob.id}/ban")).status == 200
    assert (await ann.post(f"{CHATS}/{chat}/members/{bob.id}/ban", {})).status == 404, (
        "without a link nobody comes back"
    )
    token = await link(ann, chat)
    assert (await bob.post(f"{JOIN}/{token}")).status == 201
    assert (await bob.post(f"{CHATS}/{chat}/leave")).status == 200
    assert (await ann.post(f"{CHATS}/{chat}/members/{bob.id}/ban", {})).status == 200
    assert (await bob.post(f"{JOIN}/{token}")).status == 403


async def test_a_silenced_member_stays_silenced(either: Served) -> None:
    ann, bob = await either.people.many(2)
    chat = await ann.group(bob)
    token = await link(ann, chat)
    assert (await ann.post(f"{CHATS}/{chat}/members/{bob.id}/silence", {})).status == 200
    assert (await bob.post(f"{CHATS}/{chat}/leave")).status == 200
    assert (await bob.post(f"{JOIN}/{token}")).status == 201
    refused = await bob.post("/api/v2/messages", {"type": "text", "chatId": chat, "content": "x"})
    assert (refused.status, refused.json["details"][0]["code"]) == (403, "silenced")


async def test_the_last_place_is_taken_once(serve: ServerFactory) -> None:
    server = await serve(max_chat_members=2)
    ann, *others = await server.people.many(5)
    token = await link(ann, await ann.group())
    answers = await asyncio.gather(*(each.post(f"{JOIN}/{token}") for each in others))
    assert sorted(each.status for each in answers) == [201, 409, 409, 409]
