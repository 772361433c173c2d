"""Pinned messages: who may pin, how many, who sees which, and pins that end by themselves."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select, update

from storage.models import due, pins
from storage.transaction import Command
from storage.types import SECOND
from tests.conftest import Served, ServerFactory, eventually
from tests.server.test_threads import MESSAGES, pair
from tests.support.people import Person


def path(message: Any) -> str:
    return f"{MESSAGES}/{message['_id']}/pin"


async def pinned(person: Person, chat: str) -> list[str]:
    answer = await person.get(f"/api/v2/chats/{chat}/pins")
    assert answer.status == 200, answer
    return [each["message"]["_id"] for each in answer.json["items"]]


async def test_a_message_is_pinned_and_unpinned(either: Served) -> None:
    ann, bob, chat = await pair(either)
    first, second = await bob.send(chat), await ann.send(chat)
    socket = await bob.socket()
    answer = await ann.put(path(first))
    assert (answer.status, answer.json) == (200, {"messageId": first["_id"], "until": None})
    payload, _ = await socket.event("chat:updated")
    assert payload == {"chatId": chat, "changes": {"pins": True}, "added": [], "removed": []}
    until = "2099-01-01T00:00:00.000Z"
    assert (await ann.put(path(second), {"until": until})).json == {"messageId": second["_id"], "until": until}
    (newer, older) = (await bob.get(f"/api/v2/chats/{chat}/pins")).json["items"]
    assert newer["message"] == second
    assert (newer["userId"], newer["until"], older["until"]) == (ann.id, until, None)
    assert (await ann.get(f"/api/v2/messages/{first['_id']}")).json["updatedAt"] == first["updatedAt"]
    await ann.put(path(second), {"until": until})
    await ann.put(path(second), {"until": None})
    assert await pinned(bob, chat) == [second["_id"], first["_id"]]
    assert (await ann.delete(path(first))).json == {"success": True}
    assert (await ann.delete(path(first))).status == 200, "what changes nothing makes no event"
    await eventually(lambda: len(socket.named("chat:updated")) == 4)
    assert await pinned(bob, chat) == [second["_id"]]
    await socket.close()


async def test_who_may_pin(either: Served) -> None:
    ann, bob, chat = await pair(either)
    stranger = await either.people.make()
    message = await bob.send(chat)
    assert (await bob.put(path(message))).status == 403
    assert (await bob.delete(path(message))).status == 403
    assert (await stranger.put(path(message))).status == 404
    assert (await stranger.get(f"/api/v2/chats/{chat}/pins")).status == 404
    assert (await ann.patch(f"/api/v2/chats/{chat}/members/{bob.id}", {"role": "admin"})).status == 200
    assert (await bob.put(path(message))).status == 200
    direct = await ann.post(MESSAGES, {"type": "text", "targetUserId": bob.id, "content": "x"})
    assert (await bob.put(path(direct.json))).status == 200, "both of a direct chat"
    assert (await bob.post("/api/v1/users/me/blocks", {"userId": ann.id})).status == 201
    assert (await ann.put(path(direct.json))).status == 403
    assert (await ann.delete(path(direct.json))).status == 403


async def test_what_is_not_pinned(serve: ServerFactory) -> None:
    server = await serve(max_pins=2)
    ann, _, chat = await pair(server)
    sent = [await ann.send(chat) for _ in range(3)]
    for each in sent[:2]:
        assert (await ann.put(path(each))).status == 200
    answer = await ann.put(path(sent[2]))
    assert answer.status == 409
    assert "at most 2" in str(answer.json)
    assert (await ann.put(path(sent[2]), {"until": "2001-01-01T00:00:00Z"})).status == 400
    assert (await ann.delete(f"{MESSAGES}/{sent[0]['_id']}")).status == 200
    assert await pinned(ann, chat) == [sent[1]["_id"]], "a deletion unpins"
    assert (await ann.put(path(sent[0]))).status == 409
    assert (await ann.put(path(sent[2]))).status == 200


async def test_who_came_later_does_not_see_what_is_older(either: Served) -> None:
    ann, _, chat = await pair(either)
    old = await ann.send(chat)
    cat = await either.people.make()
    await ann.post(f"/api/v2/chats/{chat}/members", {"userIds": [cat.id]})
    new = await ann.send(chat)
    for each in (old, new):
        await ann.put(path(each))
    assert await pinned(cat, chat) == [new["_id"]]
    assert await pinned(ann, chat) == [new["_id"], old["_id"]]
    assert (await cat.put(path(old))).status == 404


async def rows(server: Served, table: Any) -> int:
    return len(await server.services.database.read(lambda it: it.execute(select(table)).all()))


async def test_a_pin_ends_by_itself(either: Served) -> None:
    ann, bob, chat = await pair(either)
    first, second, last = [await ann.send(chat, str(number)) for number in range(3)]
    soon = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    await ann.put(path(first), {"until": soon})
    await ann.put(path(second), {"until": "2099-01-01T00:00:00Z"})
    await ann.put(path(last))
    socket = await bob.socket()

    def pass_two_hours(tx: Any) -> None:
        for table, column in ((pins, "until"), (due, "at")):
            old = table.c[column]
            tx.execute(update(table).values({column: old - 2 * 3600 * SECOND}))

    await either.services.database.write(Command(pass_two_hours))
    assert await pinned(ann, chat) == [last["_id"], second["_id"]], "at once, whatever the table has"
    payload, _ = await socket.event("chat:updated")
    assert payload["changes"] == {"pins": True}
    assert [await rows(either, pins), await rows(either, due)] == [2, 1]
    await eventually(lambda: either.services.due_work.runs["pins", "done"] > 0)
    assert 'bellwire_due_total{kind="pins",outcome="done"}' in (await ann.get("/metrics")).body.decode()
    await ann.put(path(first))
    assert await pinned(ann, chat) == [first["_id"], last["_id"], second["_id"]]
    await socket.close()


async def test_many_at_once_stay_within_the_limit(serve: ServerFactory, database_url: str) -> None:
    server = await serve(database_url=database_url, max_pins=3)
    ann, _, chat = await pair(server)
    sent = [await ann.send(chat) for _ in range(8)]
    answers = await asyncio.gather(*(ann.put(path(each)) for each in sent))
    assert sorted(each.status for each in answers) == [200] * 3 + [409] * 5
    verbs = [verb for each in sent for verb in (ann.put(path(each)), ann.delete(path(each)), ann.put(path(each)))]
    assert {each.status for each in await asyncio.gather(*verbs)} <= {200, 409}
    assert len(await pinned(ann, chat)) == await rows(server, pins) <= 3


@pytest.mark.parametrize("verb", ["leave", "erase"])
async def test_pins_outlive_who_pinned(either: Served, verb: str) -> None:
    ann, bob, chat = await pair(either)
    message = await ann.send(chat)
    assert (await ann.patch(f"/api/v2/chats/{chat}/members/{bob.id}", {"role": "admin"})).status == 200
    await bob.put(path(message))
    if verb == "leave":
        assert (await bob.post(f"/api/v2/chats/{chat}/leave")).status == 200
    else:
        assert (await bob.delete("/api/v1/users/me?confirm=self")).status == 200
        await either.services.erasure.work()
    assert await pinned(ann, chat) == [message["_id"]]
