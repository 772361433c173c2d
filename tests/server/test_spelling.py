"""One thing, many spellings: names, addresses and passwords that are the same are equal, and what is not clear is refused."""

import functools
import zoneinfo

import argon2
import pytest

from server import accounts as server_accounts
from storage import accounts
from storage.accounts import NewUser
from storage.transaction import Command
from tests.conftest import Served, ServerFactory

PASSWORD = "a long pässword"


async def found(server: Served, query: str) -> list[str]:
    ann = await server.people.make("zz")
    answer = await ann.get("/api/v1/users", params={"query": query})
    assert answer.status == 200, answer
    return [each["name"] for each in answer.json["data"]["items"]]


async def test_people_are_found_by_their_names(either: Served) -> None:
    for name in ("İbrahim Yılmaz", "Işıl Demir", "IŞIK", "Jürgen"):
        await either.people.make(name)
    for query in ("ibrahim", "İBRAHİM", "IBRAHIM", "YILMAZ", "yılmaz", "yilmaz"):
        assert await found(either, query) == ["İbrahim Yılmaz"], query
    for query in ("ışıl", "IŞIL", "isil"):
        assert await found(either, query) == ["Işıl Demir"], query
    for query in ("ışık", "IŞIK", "ISIK"):
        assert await found(either, query) == ["IŞIK"], query
    assert await found(either, "JURGEN") == ["Jürgen"]
    assert await found(either, "%") == [] == await found(either, "_")


async def test_chats_are_found_by_their_names(either: Served) -> None:
    admin = await either.people.make(grant=["admin"])
    chat_id = await admin.group(name="Iğdır Gezisi")
    for query in ("ığdır", "IĞDIR", "igdir"):
        items = (await admin.get("/api/v1/admin/chats", params={"query": query})).json["data"]["items"]
        assert [each["_id"] for each in items] == [chat_id], query
    await admin.patch(f"/api/v2/chats/{chat_id}", {"name": "Çeşme"})
    assert (await admin.get("/api/v1/admin/chats", params={"query": "igdir"})).json["data"]["items"] == []
    assert len((await admin.get("/api/v1/admin/chats", params={"query": "CESME"})).json["data"]["items"]) == 1


async def test_a_password_is_the_same_on_every_keyboard(server: Served) -> None:
    anonymous = server.people.anonymous
    body = {"email": "ann@example.org", "password": PASSWORD}
    assert (await anonymous.post("/api/v1/auth/register", body)).status == 201
    decomposed = {**body, "password": PASSWORD.replace("ä", "a\u0308")}
    logged_in = await anonymous.post("/api/v1/auth/login", decomposed)
    assert logged_in.status == 200
    assert (await anonymous.post("/api/v1/auth/login", {**body, "password": PASSWORD.replace("ä", "a")})).status == 401
    token = {"Authorization": f"Bearer {logged_in.json['data']['accessToken']}"}
    change = {"old": decomposed["password"], "new": PASSWORD + "ﬁ"}
    assert (await anonymous.post("/api/v1/auth/password", change, headers=token)).status == 200
    assert (await anonymous.post("/api/v1/auth/login", {**body, "password": PASSWORD + "fi"})).status == 200


async def test_a_password_of_an_earlier_version_still_opens(server: Served) -> None:
    """It was hashed as it was typed."""
    typed = PASSWORD.replace("ä", "a\u0308")
    new = NewUser("Ann", email="ann@example.org", password=argon2.PasswordHasher().hash(typed))
    tenant = server.services.accounts.default_tenant.pk
    await server.services.database.write(Command(lambda tx: accounts.add_user(tx, tenant, new)))
    body = {"email": "ann@example.org", "password": typed}
    assert (await server.people.anonymous.post("/api/v1/auth/login", body)).status == 200


async def test_one_mailbox_is_one_account(either: Served) -> None:
    anonymous = either.people.anonymous
    body = {"email": "ann@xn--mnchen-3ya.de", "password": PASSWORD}
    assert (await anonymous.post("/api/v1/auth/register", body)).status == 201
    for address in ("ann@münchen.de", "ANN@MÜNCHEN.DE", "ann@mu\u0308nchen.de"):
        assert (await anonymous.post("/api/v1/auth/login", {**body, "email": address})).status == 200, address
        assert (await anonymous.post("/api/v1/auth/register", {**body, "email": address})).status == 409, address
    for address in ("a\u200bnn@example.org", "ann@exa\u202emple.org", "ann@example.org\u00ad"):
        assert (await anonymous.post("/api/v1/auth/register", {**body, "email": address})).status == 400, address
        assert (await anonymous.post("/api/v1/auth/login", {**body, "email": address})).status == 401, address


@pytest.mark.parametrize("name", ["\u200b", "\u2060", "\u3164", "\u2800", "\u00ad", "\ufe0f", "\U000e0041", "\u202e"])
async def test_what_shows_nothing_is_empty(server: Served, name: str) -> None:
    ann = await server.people.make()
    chat_id = await ann.group()
    answers = [
        await ann.patch("/api/v1/users/me", {"name": name}),
        await ann.post("/api/v2/chats", {"type": "group", "name": name, "memberIds": []}),
        await ann.patch(f"/api/v2/chats/{chat_id}", {"name": name}),
        await ann.post("/api/v2/messages", {"type": "text", "chatId": chat_id, "content": name}),
        await ann.post("/api/v1/auth/register", {"email": "x@example.org", "password": PASSWORD, "name": name}),
    ]
    for answer in answers:
        assert answer.status == 400 and "must not be empty" in answer.body.decode(), answer
    message = await ann.send(chat_id)
    assert (await ann.patch(f"/api/v2/messages/{message['_id']}", {"content": name})).status == 400


async def test_names_stay_as_they_are_but_turn_nothing(server: Served) -> None:
    ann = await server.people.make()
    for name in ("👨‍👩‍👧", "می‌خواهم", "क्‍ष", "مرحبا", "Ann Öz"):
        assert (await ann.patch("/api/v1/users/me", {"name": name})).json["data"]["name"] == name
        chat_id = await ann.group()
        assert (await ann.patch(f"/api/v2/chats/{chat_id}", {"name": name})).json["name"] == name
        assert (await ann.send(chat_id, name))["content"] == name
    turned = await ann.patch("/api/v1/users/me", {"name": "Ann \u202egpj.exe"})
    assert turned.json["data"]["name"] == "Ann gpj.exe"


TIMES = {
    "2030-01-15T20:00:00": False,
    "2030-01-15": False,
    "2030-01-15T20:00Z": False,
    "20300115T200000Z": False,
    "2030-01-15T20:00:00+0300": False,
    "2030-01-15T24:00:00Z": False,
    "soon": False,
    "2030-01-15T20:00:00z": True,
    "2030-01-15t20:00:00Z": True,
    "2030-01-15T20:00:00.123456789Z": True,
    "2030-01-15T23:00:00+03:00": True,
}


@pytest.mark.parametrize("time", TIMES)
async def test_a_time_says_its_zone(server: Served, time: str) -> None:
    ann = await server.people.make(grant=["streams.manage"])
    answer = await ann.post("/api/v1/streams", {"title": "x", "startsAt": time})
    assert answer.status == (201 if TIMES[time] else 400)
    if TIMES[time]:
        assert answer.json["data"]["startsAt"][:19] == "2030-01-15T20:00:00"
    chat_id = await ann.group()
    muted = await ann.post(f"/api/v2/chats/{chat_id}/mute", {"until": time})
    assert muted.status == (200 if TIMES[time] else 400)


async def test_zones_as_browsers_name_them(server: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the system has: the names that the newest data calls old are still sent."""
    ann = await server.people.make()
    monkeypatch.setattr(server_accounts, "time_zones", functools.cache(zoneinfo.available_timezones))
    before = zoneinfo.TZPATH
    zoneinfo.reset_tzpath(to=())
    try:
        names = ("Asia/Calcutta", "Europe/Kiev", "US/Pacific", "Asia/Saigon", "America/Buenos_Aires", "Europe/Istanbul")
        for name in names:
            assert (await ann.patch("/api/v1/users/me", {"timeZone": name})).status == 200, name
        assert (await ann.patch("/api/v1/users/me", {"timeZone": "Nowhere/Here"})).status == 400
    finally:
        zoneinfo.reset_tzpath(to=before)


async def test_an_issuers_name_is_cleaned(serve: ServerFactory) -> None:
    from realtime.accounts import name_of
    from realtime.tokens import Claims

    def named(name: str) -> str:
        return name_of(Claims("number", 7, None, None, frozenset(), 0, 0, True, None, {"name": name}))

    assert named("Ann \u202egpj.exe") == "Ann gpj.exe" and named("\u3164") == "7" and named("Öz") == "Öz"
