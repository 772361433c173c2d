"""Whatever changes what is unread changes the badge; and who is pushed no more: other spellings of a token, ended logins."""

from typing import Any

import pytest
from sqlalchemy import update

from push.doubles.apns import Apple
from push.doubles.apple_connection import ApnsFault, ApnsPush
from storage import logins, outbox
from storage.models import devices
from storage.models import logins as table
from storage.transaction import Command
from storage.types import SECOND
from tests.conftest import Served, ServerFactory
from tests.support.people import Person
from tests.support.pushing import due_now, pair, phone, quiet

HEX = "c0ffee" * 10 + "aaaa"


def badges(pushes: list[ApnsPush]) -> list[tuple[str, int]]:
    """Token and number of those that say nothing else."""
    return [(push.token, push.payload["aps"]["badge"]) for push in pushes if [*push.payload["aps"]] == ["badge"]]


async def waiting(server: Served, apple: Apple) -> None:
    """All is pushed, and forgotten."""
    await quiet(server)
    apple.pushes.clear()


async def test_a_deletion_updates_the_badge_of_those_who_had_not_read_it(
    database_url: str, apple: Apple, start: ServerFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = await start(database_url=database_url)
    ann, _, chat = await pair(server, "b1", "b2")
    cem, dan = await server.people.make("Cem"), await server.people.make("Dan")
    for person, token in ((ann, "a1"), (cem, "c1"), (dan, "d1")):
        await phone(person, token)
    assert (await ann.post(f"/api/v2/chats/{chat}/members", {"userIds": [cem.id, dan.id]})).status == 201
    messages = [await ann.send(chat) for _ in range(9)]
    await cem.post(f"/api/v2/messages/{messages[-1]['_id']}/read")
    await dan.post(f"/api/v2/chats/{chat}/mute", {"until": "2099-01-01T00:00:00Z"})
    await waiting(server, apple)
    assert (await ann.delete(f"/api/v2/messages/{messages[4]['_id']}")).status == 200
    await quiet(server)
    assert sorted(badges(apple.pushes)) == [("b1", 8), ("b2", 8)]
    assert len(apple.pushes) == 2, "neither who wrote it, nor who had read it, nor who muted the chat"

    await waiting(server, apple)
    monkeypatch.setattr(outbox, "BADGE_DELAY", 3600 * SECOND)
    for message in messages[5:8]:
        assert (await ann.delete(f"/api/v2/messages/{message['_id']}")).status == 200
    await due_now(server)
    await quiet(server)
    assert sorted(badges(apple.pushes)) == [("b1", 5), ("b2", 5)], "once for all"


async def test_deletions_of_two_authors(apple: Apple, start: ServerFactory) -> None:
    server = await start()
    ann, bob, chat = await pair(server, "b1")
    await phone(ann, "a1")
    of_ann, of_bob = await ann.send(chat), await bob.send(chat)
    await ann.send(chat)
    await waiting(server, apple)
    await ann.delete(f"/api/v2/messages/{of_ann['_id']}")
    await bob.delete(f"/api/v2/messages/{of_bob['_id']}")
    await quiet(server)
    assert sorted(badges(apple.pushes)) == [("a1", 0), ("b1", 1)]


async def change(server: Served, ann: Person, bob: Person, chat: str, how: str) -> None:
    """What changes Bob's badge."""
    if how in ("muted", "unmuted"):
        body = {"until": "2099-01-01T00:00:00Z"} if how == "muted" else {"until": None}
        assert (await bob.post(f"/api/v2/chats/{chat}/mute", body)).status == 200
    elif how == "left":
        assert (await bob.post(f"/api/v2/chats/{chat}/leave")).status == 200
    elif how == "removed":
        assert (await ann.delete(f"/api/v2/chats/{chat}/members/{bob.id}")).status == 200
    elif how == "chat deleted":
        assert (await ann.delete(f"/api/v2/chats/{chat}")).status == 200
    else:
        listed = (await bob.get("/api/v1/notifications")).json["data"]["items"]
        assert (await ann.delete(f"/api/v1/notifications/{listed[0]['id']}")).status == 200


@pytest.mark.parametrize(
    ("how", "left"), [("muted", 1), ("left", 1), ("removed", 1), ("chat deleted", 1), ("notification deleted", 2)]
)
async def test_what_else_changes_the_badge(apple: Apple, start: ServerFactory, how: str, left: int) -> None:
    server = await start()
    ann = await server.people.make("Ann", grant=["notifications.send", "admin"])
    bob = await server.people.make("Bob")
    await phone(bob, "b1")
    chat = await ann.group(bob)
    for _ in range(2):
        await ann.send(chat)
    notification = {"userId": bob.id, "type": "info", "category": "c", "title": "t", "message": "m"}
    assert (await ann.post("/api/v1/notifications", notification)).status == 201
    await waiting(server, apple)
    await change(server, ann, bob, chat, how)
    await apple.until(lambda: badges(apple.pushes))
    await quiet(server)
    assert badges(apple.pushes) == [("b1", left)] and len(apple.pushes) == 1
    if how == "muted":
        await waiting(server, apple)
        await change(server, ann, bob, chat, "unmuted")
        await quiet(server)
        assert badges(apple.pushes) == [("b1", 3)]


# Who is pushed no more


async def test_a_token_in_capitals_is_the_same_token(apple: Apple, start: ServerFactory) -> None:
    server = await start()
    ann, bob, chat = await pair(server, HEX)
    shown = await phone(bob, HEX.upper(), deviceId=f"phone-{HEX}")
    assert shown["pushToken"] == HEX
    cem = await server.people.make("Cem")
    await phone(cem, HEX.upper(), deviceId="another")
    await ann.send(chat)
    await quiet(server)
    assert apple.pushes == [], "the phone is Cem's now"
    other = await ann.group(cem)
    await ann.send(other)
    await quiet(server)
    assert [push.token for push in apple.good] == [HEX]
    android = {"deviceId": "droid", "platform": "android", "pushToken": "ABCDEF"}
    assert (await bob.post("/api/v1/devices", android)).json["data"]["pushToken"] == "ABCDEF", "theirs are letters"


async def test_a_token_that_was_kept_in_capitals_is_taken_over(apple: Apple, start: ServerFactory) -> None:
    """As earlier versions did."""
    server = await start()
    ann, _, chat = await pair(server, HEX)
    capitals = update(devices).values(push_token=HEX.upper())
    await server.services.database.write(Command(lambda tx: tx.execute(capitals)))
    await phone(await server.people.make("Cem"), HEX, deviceId="another")
    await ann.send(chat)
    await quiet(server)
    assert apple.pushes == []


async def registered(server: Served) -> Person:
    """Bob, logged in with a password."""
    body = {"email": "bob@example.org", "password": "a long password", "name": "Bob"}
    made = await server.people.anonymous.post("/api/v1/auth/register", body)
    user: Any = made.json["data"]["user"]
    bob = await server.people.make()
    person = Person(bob.session, bob.url, made.json["data"]["accessToken"], bob.user)
    person.id = user["id"]
    return person


async def expire(server: Served) -> None:
    """As if thirty days had passed without a refresh."""
    past = update(table).values(expires_at=1)
    await server.services.database.write(Command(lambda tx: tx.execute(past)))


async def test_a_phone_whose_login_expired_is_not_pushed(database_url: str, apple: Apple, start: ServerFactory) -> None:
    server = await start(database_url=database_url)
    ann, bob = await server.people.make("Ann"), await registered(server)
    await phone(bob, "b1")
    chat = await ann.group(bob)
    await ann.send(chat)
    await apple.until(lambda: len(apple.good) == 1)
    await quiet(server)
    await expire(server)
    await ann.send(chat)
    await quiet(server)
    assert len(apple.pushes) == 1
    await server.services.database.write(Command(lambda tx: logins.sweep(tx, before=2)))
    body = {"email": "bob@example.org", "password": "a long password"}
    bob.token = (await server.people.anonymous.post("/api/v1/auth/login", body)).json["data"]["accessToken"]
    assert (await bob.get("/api/v1/devices")).json["data"]["items"] == []
    await phone(bob, "b1")
    await ann.send(chat)
    await apple.until(lambda: len(apple.good) == 2)


async def test_a_push_that_waits_is_not_sent_when_its_login_expires(apple: Apple, start: ServerFactory) -> None:
    server = await start()
    ann, bob = await server.people.make("Ann"), await registered(server)
    await phone(bob, "b1")
    chat = await ann.group(bob)
    apple.plan = lambda push: ApnsFault("status")
    await ann.send(chat)
    await apple.until(lambda: apple.pushes)
    await expire(server)
    await quiet(server)
    apple.plan = lambda push: None
    assert apple.good == []
