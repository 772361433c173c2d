"""Whether users are online, shown to those who watch them."""

import threading
from collections.abc import Collection

import pytest
from sqlalchemy import Connection

from storage import accounts
from tests.conftest import Served, eventually
from tests.support.guard import HANG_SECONDS
from tests.support.people import Person, RawSocket


async def test_presence(server: Served) -> None:
    ann, bob, stranger = await server.people.many(3)
    await bob.send(await ann.group(bob))
    a, s = await ann.socket(), await stranger.socket()
    ack = await a.call("presence:watch", {"userIds": [bob.id, stranger.id, "a" * 24]})
    assert [(each["userId"], each["online"]) for each in ack["data"]["items"]] == [
        (bob.id, False), (stranger.id, False), ("a" * 24, False),
    ]  # fmt: skip
    b = await bob.socket()
    assert (await a.event("presence"))[0] == {"userId": bob.id, "online": True, "lastSeenAt": None}
    second = await bob.socket()
    await b.close()
    await second.close()
    gone = (await a.event("presence", 2))[0]
    assert gone["online"] is False and gone["lastSeenAt"]
    ack = await a.call("presence:watch", {"userIds": [bob.id]})
    assert ack["data"]["items"] == [gone]
    assert len(a.named("presence")) == 2
    ids = [f"{number:024x}" for number in range(501)]
    assert (await a.call("presence:watch", {"userIds": ids}))["statusCode"] == 400
    await a.close()
    await s.close()


async def test_a_user_who_is_back_at_once_is_not_shown_offline(server: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    ann, bob = await server.people.many(2)
    await bob.send(await ann.group(bob))
    a, b = await ann.socket(), await bob.socket()
    assert await shown(a, bob)
    reading, back = threading.Event(), threading.Event()
    hidden = accounts.hidden

    def slowly(connection: Connection, pks: Collection[int]) -> set[int]:
        reading.set()
        assert back.wait(HANG_SECONDS)
        return hidden(connection, pks)

    monkeypatch.setattr(accounts, "hidden", slowly)
    await b.close()
    await eventually(reading.is_set)
    b = await bob.socket()
    back.set()
    await eventually(lambda: server.services.presence_watch.writing is None)
    assert await shown(a, bob)
    assert a.named("presence")[-1][0]["online"] is True


async def shown(socket: RawSocket, person: Person) -> bool:
    ack = await socket.call("presence:watch", {"userIds": [person.id]})
    return bool(ack["data"]["items"][0]["online"])


async def test_presence_is_the_watched_users_to_give(either: Served) -> None:
    """Nobody sees whether somebody is here by putting them into a chat."""
    ann, bob = await either.people.many(2)
    a, b = await ann.socket(), await bob.socket()
    group = await ann.group(bob)
    assert not await shown(a, bob) and await shown(b, ann), "bob was only put into it"
    direct = (await ann.post("/api/v2/messages", {"type": "text", "targetUserId": bob.id, "content": "hello"})).json
    assert not await shown(a, bob)
    await bob.send(direct["chatId"], "hello Ann")
    assert await shown(a, bob)
    assert (await ann.post(f"/api/v2/chats/{group}/leave")).status == 409
    cat = await either.people.make()
    c = await cat.socket()
    await bob.group(cat)
    assert await shown(c, bob), "who makes a group shows it in there"


async def test_presence_can_be_shown_to_nobody(either: Served) -> None:
    me = "/api/v1/users/me"
    ann, bob = await either.people.many(2)
    await bob.send(await ann.group(bob))
    a, b = await ann.socket(), await bob.socket()
    assert await shown(a, bob) and "presence" not in (await bob.get(me)).json["data"]
    assert (await bob.patch(me, {"presence": "nobody"})).json["data"]["presence"] == "nobody"
    assert (await a.event("presence"))[0] == {"userId": bob.id, "online": False, "lastSeenAt": None}
    assert not await shown(a, bob) and await shown(b, bob), "one sees oneself"
    await b.close()
    await eventually(
        lambda: not either.services.presence_watch.writing and not either.services.sessions.of_user.get(bob.user.pk)
    )
    b = await bob.socket()
    assert len(a.named("presence")) == 1, "neither coming nor going is told"
    assert (await bob.patch(me, {"presence": "somebody"})).status == 400
    for presence in ("contacts", None):
        assert (await bob.patch(me, {"presence": "nobody"})).status == 200
        assert "presence" not in (await bob.patch(me, {"presence": presence})).json["data"]
        assert await shown(a, bob)
    assert a.named("presence")[-1][0]["online"] is True


async def test_strangers_are_not_watched_any_more(server: Served) -> None:
    ann, bob, cid = await server.people.many(3)
    first, second = await ann.group(bob, cid), await ann.group(bob)
    for chat, writer in ((first, bob), (first, cid), (second, bob)):
        await writer.send(chat)
    socket = await ann.socket()
    await socket.call("presence:watch", {"userIds": [bob.id, cid.id]})
    await ann.delete(f"/api/v2/chats/{first}/members/{bob.id}")
    await ann.delete(f"/api/v2/chats/{second}/members/{bob.id}")
    await eventually(lambda: len(server.services.hub.topics.watchers) == 1)
    sockets = [await bob.socket(), await cid.socket()]
    await socket.event("presence")
    assert [arguments[0]["userId"] for arguments in socket.named("presence")] == [cid.id]
    for each in (socket, *sockets):
        await each.close()
