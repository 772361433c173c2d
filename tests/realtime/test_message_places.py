"""The places of messages, by their ids."""

import pytest

from realtime import message_places
from tests.conftest import Served


async def test_the_places_of_as_many_messages_as_are_remembered(
    server: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(message_places, "CACHED_MESSAGES", 2)
    ann = await server.people.make()
    places, tenant = server.services.messages.places, ann.user.tenant_pk
    chat = await ann.group()
    sent = [await ann.send(chat) for _ in range(3)]
    for each in sent:
        place = await places.find(tenant, each["_id"])
        assert place is not None
        assert place.seq == each["seq"]
    assert [*places.known] == [(tenant, each["_id"]) for each in sent[1:]], "the oldest goes"
    assert await places.find(tenant, "0" * 24) is None
    other = await server.people.tenant()
    assert await places.find(other, sent[2]["_id"]) is None, "of another tenant"


async def test_what_is_remembered_of_a_deleted_chat_is_not_found(either: Served) -> None:
    ann, bob = await either.people.many(2)
    chat = await ann.group(bob)
    message = await bob.send(chat)
    path = f"/api/v2/messages/{message['_id']}"
    assert (await ann.put(f"{path}/reactions/:x:")).status == 200
    assert (await ann.delete(f"/api/v2/chats/{chat}")).status == 200
    assert (await ann.put(f"{path}/reactions/:y:")).status == 404
    assert (await ann.put(f"{path}/pin")).status == 404
    assert (await ann.post(f"{path}/thread/follow")).status == 404
    body = {"type": "text", "chatId": chat, "content": "x", "threadId": message["_id"]}
    assert (await bob.post("/api/v2/messages", body)).status == 404
