"""Logins: where one is logged in, what the trail keeps of them, and who may try when many fail."""

import asyncio
import threading
from typing import Any, Literal

import argon2
import pytest

from storage.types import UUID
from tests.conftest import Served, ServerFactory, eventually
from tests.support.people import Answer, Api

AUTH, SESSIONS = "/api/v1/auth", "/api/v1/users/me/sessions"
ANN = {"email": "ann@example.org", "password": "correct horse"}
LOCAL = "127.0.0.1/32"
# Public addresses of two networks.
HERE, THERE = "9.9.9.9", "8.8.4.4"


def of(server: Served, answer: Answer) -> Api:
    assert answer.status in (200, 201), answer
    return Api(server.people.session, server.url, answer.json["data"]["accessToken"])


async def ask(server: Served, verb: str, address: str | None = None, agent: str = "App/1", **body: Any) -> Answer:
    headers = {"User-Agent": agent, **({"X-Forwarded-For": address} if address else {})}
    return await server.people.anonymous.post(f"{AUTH}/{verb}", {**ANN, **body}, headers=headers)


# Where one is logged in


async def test_where_one_is_logged_in(database_url: str, serve: ServerFactory) -> None:
    server = await serve(database_url=database_url, trusted_proxies=[LOCAL])
    phone = of(server, await ask(server, "register", HERE, "Phone/2"))
    made = await ask(server, "login", THERE, "Laptop\u202e/3" + "x" * 300)
    laptop = of(server, made)
    items = (await phone.get(SESSIONS)).json["data"]["items"]
    assert [(each["address"], each["device"][:8], each["current"]) for each in items] == [
        (THERE, "Laptop/3", False), (HERE, "Phone/2", True),
    ]  # fmt: skip
    assert all(UUID.fullmatch(each["id"]) and each["createdAt"] == each["lastUsedAt"] for each in items)
    assert len(items[0]["device"]) == 255
    renewed = await server.people.anonymous.post(
        f"{AUTH}/refresh", {"refreshToken": made.json["data"]["refreshToken"]}, headers={"X-Forwarded-For": HERE}
    )
    renewed_laptop = of(server, renewed)
    items = (await renewed_laptop.get(SESSIONS)).json["data"]["items"]
    assert (items[0]["address"], items[0]["current"]) == (HERE, True)
    assert items[0]["lastUsedAt"] > items[0]["createdAt"]
    socket = await laptop.socket()
    stranger = await server.people.make()
    assert (await stranger.delete(f"{SESSIONS}/{items[0]['id']}")).status == 404
    for wrong in ("x", "0" * 36, "123e4567-e89b-12d3-a456-426614174000"):
        assert (await phone.delete(f"{SESSIONS}/{wrong}")).status == 404, wrong
    assert (await phone.delete(f"{SESSIONS}/{items[0]['id']}")).status == 200
    assert (await socket.event("session:closed"))[0] == {"reason": "logout"}
    assert (await laptop.get(SESSIONS)).status == (await renewed_laptop.get(SESSIONS)).status == 401
    assert (await phone.delete(f"{SESSIONS}/{items[0]['id']}")).status == 404, "it has ended"
    assert len((await phone.get(SESSIONS)).json["data"]["items"]) == 1


async def test_a_new_login_ends_the_one_least_used_where_too_many_live(database_url: str, serve: ServerFactory) -> None:
    server = await serve(database_url=database_url, max_logins_per_user=2)
    first = await ask(server, "register", agent="first")
    second = of(server, await ask(server, "login", agent="second"))
    refresh = {"refreshToken": first.json["data"]["refreshToken"]}
    renewed = of(
        server, await server.people.anonymous.post(f"{AUTH}/refresh", refresh, headers={"User-Agent": "first"})
    )
    socket = await second.socket()
    third = of(server, await ask(server, "login", agent="third"))
    assert [each["device"] for each in (await third.get(SESSIONS)).json["data"]["items"]] == ["third", "first"]
    assert (await second.get(SESSIONS)).status == 401 and (await renewed.get(SESSIONS)).status == 200
    assert (await socket.event("session:closed"))[0] == {"reason": "logout"}


async def test_all_others_end_at_once(either: Served) -> None:
    mine = of(either, await ask(either, "register"))
    other = of(either, await ask(either, "login"))
    manager = await either.people.make(grant=["users.manage"])
    id = (await mine.get("/api/v1/users/me")).json["data"]["id"]
    token = (await manager.post(f"/api/v1/users/{id}/tokens", {})).json["data"]["token"]
    made = Api(either.people.session, either.url, token)
    assert (await made.get(SESSIONS)).json["data"]["items"][0]["current"] is False
    sockets = [await each.socket() for each in (other, made)]
    assert (await mine.delete(SESSIONS)).status == 200
    for each, socket in zip((other, made), sockets, strict=True):
        assert (await socket.event("session:closed"))[0] == {"reason": "logout"}
        assert (await each.get(SESSIONS)).status == 401
    assert [each["current"] for each in (await mine.get(SESSIONS)).json["data"]["items"]] == [True]


# What the trail keeps


async def test_the_trail_of_logins_and_passwords(serve: ServerFactory) -> None:
    server = await serve(trusted_proxies=[LOCAL])
    mine = of(server, await ask(server, "register", HERE))
    id = (await mine.get("/api/v1/users/me")).json["data"]["id"]
    admin = await server.people.make(grant=["admin"])
    assert (await ask(server, "login", THERE, password="wrong horse")).status == 401
    assert (await ask(server, "login", THERE, email="nobody@example.org")).status == 401
    first = await ask(server, "login", THERE)
    reused = {"refreshToken": first.json["data"]["refreshToken"]}
    for _ in range(2):
        await server.people.anonymous.post(f"{AUTH}/refresh", reused)
    change = {"old": ANN["password"], "new": "battery staple"}
    assert (await mine.post(f"{AUTH}/password", change)).status == 200
    link = (await admin.post(f"/api/v1/admin/users/{id}/reset-link")).json["data"]["token"]
    assert (await ask(server, "reset", HERE, token=link, password="another one")).status == 200
    trail = [each for each in (await admin.get("/api/v1/admin/audit")).json["data"]["items"] if each["actorId"] == id]
    told = [(each["action"], each["target"], each["details"].get("address")) for each in reversed(trail)]
    local = "127.0.0.1"
    assert told == [
        ("login.register", id, HERE), ("login.failed", id, THERE), ("login", id, THERE), ("login.reused", id, local),
        ("password.change", id, local), ("password.reset", id, HERE),
    ]  # fmt: skip
    assert "horse" not in str(trail) and trail[0]["details"]["agent"] == "App/1"


# When many fail


@pytest.fixture
async def quick(serve: ServerFactory) -> Served:
    """Three wrong ones from an address, five from all; hashing takes no time."""
    server = await serve(max_failed_logins=3, max_failed_logins_per_account=5, trusted_proxies=[LOCAL])
    server.services.passwords.hasher = argon2.PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
    return server


async def test_wrong_passwords_of_one_address_close_the_account_to_it_alone(quick: Served) -> None:
    assert (await ask(quick, "register", HERE)).status == 201
    tried = [(await ask(quick, "login", HERE, password="wrong horse")).status for _ in range(4)]
    assert tried == [401, 401, 401, 429]
    assert (await ask(quick, "login", HERE)).status == 429
    assert (await ask(quick, "login", THERE)).status == 200, "its owner is elsewhere"


async def test_wrong_passwords_of_many_addresses_leave_it_open_to_known_devices(quick: Served) -> None:
    device = (await ask(quick, "register", HERE)).json["data"]["deviceToken"]
    other = (await ask(quick, "register", HERE, email="bob@example.org")).json["data"]["deviceToken"]
    assert device != other
    for number in range(5):
        assert (await ask(quick, "login", f"8.8.{number}.1", password="wrong horse")).status == 401
    assert (await ask(quick, "login", THERE)).status == 429
    for wrong in (other, "x", "", device[:-1]):
        assert (await ask(quick, "login", THERE, deviceToken=wrong)).status == 429, wrong
    assert (await ask(quick, "login", THERE, deviceToken=device)).status == 200
    assert (await ask(quick, "login", THERE, email="bob@example.org")).status == 200
    for status in (401, 401, 401, 429):
        assert (await ask(quick, "login", THERE, password="wrong horse", deviceToken=device)).status == status
    mine = of(quick, await ask(quick, "login", HERE, deviceToken=device))
    change = {"old": ANN["password"], "new": "battery staple"}
    assert (await mine.post(f"{AUTH}/password", change)).status == 200
    again = await ask(quick, "login", HERE, password="battery staple", deviceToken=device)
    assert again.status == 429, "it is of the old password"


async def test_an_unknown_device_changes_nothing(quick: Served) -> None:
    assert (await ask(quick, "register", HERE)).status == 201
    for device in ("é", "x" * 255, ""):
        for email in (ANN["email"], "nobody@example.org"):
            answer = await ask(quick, "login", None, email=email, password="wrong horse", deviceToken=device)
            assert answer.status in (401, 429), (device, email)
    assert (await ask(quick, "login", HERE, deviceToken="x" * 256)).status == 400


async def test_one_address_waits_for_its_own_passwords_alone(serve: ServerFactory) -> None:
    """The passwords of an address that sends many wait behind each other, those of others come in turn."""
    server = await serve(max_passwords_per_asker=4, trusted_proxies=[LOCAL])
    assert (await ask(server, "register", THERE)).status == 201
    passwords = server.services.passwords
    gate, began = threading.Event(), []
    verify = passwords.hasher.verify

    class Slow(argon2.PasswordHasher):
        def verify(self, hashed: str | bytes, password: str | bytes) -> Literal[True]:
            began.append(password)
            gate.wait()
            return verify(hashed, password)

    passwords.hasher = Slow()
    crowd = [
        asyncio.create_task(ask(server, "login", HERE, email=f"a{n}@example.org", password=f"guess {n}"))
        for n in range(30)
    ]
    await eventually(lambda: len(began) == 2 and passwords.turns.waiting == 4)
    await eventually(lambda: sum(each.done() for each in crowd) == 24)
    assert {each.result().status for each in crowd if each.done()} == {503}
    mine = asyncio.create_task(ask(server, "login", THERE))
    await eventually(lambda: passwords.turns.waiting == 5)
    gate.set()
    assert (await mine).status == 200
    assert began.index(ANN["password"]) <= 3, "before most of the others"
    assert {(await each).status for each in crowd} == {401, 503}


async def test_passwords_that_are_changed_are_counted_right_or_wrong(quick: Served) -> None:
    mine = of(quick, await ask(quick, "register"))
    change = {"old": ANN["password"], "new": ANN["password"]}
    answers = await asyncio.gather(*(mine.post(f"{AUTH}/password", change) for _ in range(20)))
    assert sum(each.status == 429 for each in answers) == 17


# Which passwords are taken


WEAK = [
    "password", "12345678", "QWERTYUIOP", "iloveyou", "        ", "aaaaaaaaaaaa", "abababababab", "ann.example",
    "ann.example@example.org", "Annabelle1", "annabelle2026", "ＰＡＳＳＷＯＲＤ",
]  # fmt: skip
STRONG = ["correct horse", "ann likes green tea", "Ann.example and bob", "пароль для чата", "x" * 4 + "yz-" * 41 + "!"]


async def test_passwords_that_are_easily_guessed(server: Served) -> None:
    person = {"email": "ann.example@example.org", "name": "Annabelle"}
    for number, password in enumerate(WEAK):
        answer = await ask(server, "register", **person | {"email": f"{number}.{person['email']}"}, password=password)
        wanted = 400 if "ann.example" not in password else 201
        assert answer.status == wanted, password
        answer = await ask(server, "register", **person, password=password)
        assert answer.status == 400 and answer.json["details"][0]["field"] == "password", password
    for number, password in enumerate(STRONG):
        answer = await ask(server, "register", **person | {"email": f"s{number}@example.org"}, password=password)
        assert answer.status == 201, (password, answer)
    for length, status in ((7, 400), (8, 201), (128, 201), (129, 400)):
        password = ("correct horse " * 10)[: length - 1] + "!"
        answer = await ask(server, "register", email=f"l{length}@example.org", password=password)
        assert answer.status == status, length


async def test_weak_passwords_are_refused_wherever_one_is_set(server: Served) -> None:
    made = await ask(server, "register")
    mine, id = of(server, made), made.json["data"]["user"]["id"]
    admin = await server.people.make(grant=["admin"])
    change = await mine.post(f"{AUTH}/password", {"old": ANN["password"], "new": "iloveyou"})
    assert change.status == 400 and change.json["details"][0]["field"] == "new"
    link = (await admin.post(f"/api/v1/admin/users/{id}/reset-link")).json["data"]["token"]
    assert (await ask(server, "reset", token=link, password="iloveyou")).status == 400
    assert (await ask(server, "reset", token=link, password="a better one")).status == 200
    assert (await admin.post("/api/v1/users", {"name": "New", "password": "iloveyou"})).status == 400
    assert (await admin.post("/api/v1/users", {"name": "New", "password": "a better one"})).status == 201
