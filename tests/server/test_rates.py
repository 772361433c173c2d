"""Limits of how often: by account, address and user, each with an answer that says when to come again."""

import asyncio
import time
from collections.abc import Hashable
from typing import Any

import aiohttp
import argon2
import pytest

from realtime.fanout.budget import Refusals
from realtime.fanout.session import UNITS_PER_ITEM
from realtime.namespace import INBOUND, UNITS_OF_ATTEMPT, UNITS_OF_CONNECT
from realtime.support.buckets import Buckets
from realtime.transport.states import Ending
from server.call import NoQuery
from server.endpoint import MOST_PREPAID
from server.routes import ROUTES
from tests.conftest import Served, ServerFactory, eventually
from tests.support.guard import HANG_SECONDS
from tests.support.people import Answer, Api, Person, RawSocket

AUTH = "/api/v1/auth"
LOCAL = "127.0.0.1/32"


def refused(answer: Any, longest: int) -> bool:
    """Whether it is a 429 of the envelope that says when to come again."""
    assert answer.status == 429, answer
    assert answer.json["errors"] == ["Too many requests"] and answer.json["details"][0]["message"]
    assert 1 <= int(answer.headers["Retry-After"]) <= longest
    return True


async def test_wrong_passwords_close_an_account_for_a_minute(serve: ServerFactory) -> None:
    server = await serve(max_failed_logins=3)
    anonymous = server.people.anonymous
    right = {"email": "ann@example.org", "password": "a long password"}
    assert (await anonymous.post(f"{AUTH}/register", right)).status == 201
    for email in ("ann@example.org", "nobody@example.org"):
        wrong = {"email": email, "password": "wrong"}
        assert [(await anonymous.post(f"{AUTH}/login", wrong)).status for _ in range(3)] == [401] * 3
        assert refused(await anonymous.post(f"{AUTH}/login", wrong), 60)
    # Not even with the right one, in any spelling; another account is open.
    assert refused(await anonymous.post(f"{AUTH}/login", {**right, "email": "ANN@example.org"}), 60)
    assert (await anonymous.post(f"{AUTH}/register", {**right, "email": "bob@example.org"})).status == 201
    assert (await anonymous.post(f"{AUTH}/login", {**right, "email": "bob@example.org"})).status == 200


async def test_wrong_passwords_at_once_help_nobody(serve: ServerFactory) -> None:
    server = await serve(max_failed_logins=3)
    anonymous, passwords = server.people.anonymous, server.services.passwords
    passwords.hasher = argon2.PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
    right = {"email": "ann@example.org", "password": "a long password"}
    made = await anonymous.post(f"{AUTH}/register", right)
    matches, three_failed = passwords.matches, asyncio.Event()

    async def matches_late(hashed: str, password: str, asker: Hashable = None) -> bool:
        if password == right["password"]:
            await three_failed.wait()
        return await matches(hashed, password, asker)

    passwords.matches = matches_late  # type: ignore[method-assign]
    last = asyncio.create_task(anonymous.post(f"{AUTH}/login", right))
    wrong = [
        asyncio.create_task(anonymous.post(f"{AUTH}/login", {**right, "password": f"guess {n}"})) for n in range(12)
    ]
    await eventually(lambda: sum(each.done() and each.result().status == 401 for each in wrong) >= 3)
    three_failed.set()
    assert (await last).status == 429
    assert {each.status for each in await asyncio.gather(*wrong)} <= {401, 429}
    # Nor does one who has a token find out the password.
    ann = Api(server.people.session, server.url, made.json["data"]["accessToken"])
    change = {"old": "guess", "new": "another password"}
    told = [(await ann.post(f"{AUTH}/password", change)).status for _ in range(4)]
    assert told == [403, 403, 403, 429]
    assert (await ann.post(f"{AUTH}/password", {**change, "old": "a long password"})).status == 429


async def test_right_passwords_are_not_counted(serve: ServerFactory) -> None:
    server = await serve(max_failed_logins=2)
    body = {"email": "ann@example.org", "password": "a long password"}
    assert (await server.people.anonymous.post(f"{AUTH}/register", body)).status == 201
    assert {(await server.people.anonymous.post(f"{AUTH}/login", body)).status for _ in range(4)} == {200}


async def test_registrations_and_logins_of_an_address(serve: ServerFactory) -> None:
    server = await serve(max_registrations_per_address=2, max_logins_per_address=2, trusted_proxies=[LOCAL])
    anonymous = server.people.anonymous

    async def post(verb: str, name: str, address: str | None) -> Any:
        headers = {"X-Forwarded-For": address} if address else {}
        body = {"email": f"{name}@example.org", "password": "a long password"}
        return await anonymous.post(f"{AUTH}/{verb}", body, headers=headers)

    far, other = "203.0.113.7", "203.0.113.8"
    assert [(await post("register", f"a{n}", far)).status for n in range(2)] == [201, 201]
    assert refused(await post("register", "a2", far), 3600)
    # What stands before the last address, anybody may have written.
    assert refused(await post("register", "a2", f"{other}, {far}"), 3600)
    assert (await post("register", "a2", other)).status == 201
    assert {(await post("register", f"b{n}", None)).status for n in range(4)} == {201}
    assert [(await post("login", "a0", far)).status for _ in range(2)] == [200, 200]
    assert refused(await post("login", "a0", far), 60)
    assert (await post("login", "a0", other)).status == 200


async def test_changes_of_mind_about_a_stream(serve: ServerFactory) -> None:
    server = await serve(max_follows_per_minute=3)
    owner = await server.people.make(grant=["streams.manage"])
    body = {"title": "Match", "startsAt": "2999-01-01T20:00:00Z"}
    first, second = [(await owner.post("/api/v1/streams", body)).json["data"]["id"] for _ in range(2)]
    ann, bob = await server.people.many(2)
    verbs = ["follow", "unfollow", "follow", "unfollow"]
    answers = [await ann.post(f"/api/v1/streams/{first}/{verb}") for verb in verbs]
    assert [each.status for each in answers] == [200, 200, 200, 429] and refused(answers[-1], 60)
    assert "3 changes a minute" in answers[-1].json["details"][0]["message"]
    assert (await ann.post(f"/api/v1/streams/{first}/follow")).status == 200, "which changes nothing"
    assert (await ann.post(f"/api/v1/streams/{second}/follow")).status == 200
    assert (await bob.post(f"/api/v1/streams/{first}/follow")).status == 200


async def test_who_leaves_the_chat_of_a_stream_and_watches_again_in_a_loop(serve: ServerFactory) -> None:
    server = await serve(max_follows_per_minute=3)
    owner, ann = await server.people.make(grant=["streams.manage"]), await server.people.make()
    body = {"title": "Match", "startsAt": "2999-01-01T20:00:00Z"}
    stream = (await owner.post("/api/v1/streams", body)).json["data"]
    socket, watch = await ann.socket(), {"streamId": stream["id"]}
    for _ in range(3):
        assert (await socket.call("stream:watch", watch))["statusCode"] == 200
        assert (await socket.call("stream:watch", watch))["statusCode"] == 200, "which changes nothing"
        assert (await ann.post(f"/api/v2/chats/{stream['chatId']}/leave")).status == 200
    assert (await socket.call("stream:watch", watch))["statusCode"] == 429


async def test_what_a_chat_delivers_is_limited(serve: ServerFactory) -> None:
    """However many send; what moderates the chat is not refused."""
    server = await serve(max_deliveries_per_second=1)
    server.services.hub.delivery_budget.buckets.rate = 1e-9
    ann, bob = await server.people.many(2)
    chat, other = await ann.group(bob), await ann.group(bob)
    reader, socket = await bob.socket(), await ann.socket()
    body = {"type": "text", "chatId": chat, "content": "x", "clientMessageId": "first"}
    sent = await ann.post("/api/v2/messages", body)
    assert sent.status == 201
    await reader.event("message:new")
    await socket.event("message:new")
    second = {"type": "text", "chatId": chat, "content": "y"}
    answer = await bob.post("/api/v2/messages", second)
    assert refused(answer, 10**10) and "deliveries a second" in answer.json["details"][0]["message"]
    assert (await reader.call("message:send", second))["statusCode"] == 429
    assert (await ann.post("/api/v2/messages", body)).json["_id"] == sent.json["_id"], "the key answers what it did"
    path = f"/api/v2/messages/{sent.json['_id']}"
    assert refused(await ann.patch(path, {"content": "z"}), 10**10)
    assert refused(await ann.patch(f"/api/v2/chats/{chat}", {"name": "z"}), 10**10)
    outsider = await server.people.make()
    assert (await outsider.post("/api/v2/messages", second)).status == 404
    assert (await socket.call("typing", {"chatId": chat}))["statusCode"] == 200
    assert (await ann.post("/api/v2/messages", {**second, "chatId": other})).status == 201
    await reader.event("message:new")
    assert not reader.named("typing")
    assert (await ann.delete(path)).status == 200
    assert (await ann.delete(f"/api/v2/chats/{chat}/members/{bob.id}")).status == 200
    later(server.services.hub.delivery_budget.buckets, 1e12)
    assert (await ann.post("/api/v2/messages", second)).status == 201


async def test_connecting_has_a_price(serve: ServerFactory) -> None:
    server = await serve(max_units_per_second=1e-9, max_units_at_once=1_000)
    ann, bob = await server.people.many(2)
    chat = await ann.group(bob)
    left = server.services.budget.users.left

    async def spent(**options: Any) -> float:
        before = left[bob.user.pk][0] if bob.user.pk in left else 1_000
        await (await bob.socket(**options)).close()
        return before - left[bob.user.pk][0]

    calm = await spent()
    assert calm == pytest.approx(UNITS_OF_CONNECT + 2 * UNITS_PER_ITEM, abs=0.1)
    for _ in range(20):
        assert (await ann.post("/api/v2/messages", {"type": "text", "chatId": chat, "content": "x"})).status == 201
    late = await spent(offsets={f"chat:{chat}": 0}, epoch=server.services.database.epoch)
    assert late - calm == pytest.approx(20 * UNITS_PER_ITEM, abs=0.05)
    socket = await bob.socket()
    before = left[bob.user.pk][0]
    await socket.send("40/chat,{}")
    await socket.send("40/other,{}")
    assert (await socket.call("app:state", {"active": True}))["isSuccess"]
    assert before - left[bob.user.pk][0] == pytest.approx(2 * UNITS_OF_CONNECT + 1, abs=0.1)
    server.services.budget.users.charge(bob.user.pk, left[bob.user.pk][0])
    await socket.send("40/other,{}")
    await socket.gone()
    assert socket.ws.close_code == 1013, "it comes back later"


async def test_sends_at_once_are_counted_before_they_are_delivered(serve: ServerFactory) -> None:
    server = await serve(max_deliveries_per_second=4)
    ann, bob = await server.people.many(2)
    chat = await ann.group(bob)
    sockets = [await ann.socket(), await bob.socket()]
    await eventually(lambda: server.services.hub.readers(pk_of(server, chat)) == 2)
    server.services.hub.delivery_budget.buckets.rate = 1e-6
    body = {"type": "text", "chatId": chat, "content": "x"}
    answers = await asyncio.gather(*(ann.post("/api/v2/messages", body) for _ in range(20)))
    # Two of two readers each are there at once, and the one that is more than is left.
    assert sorted(each.status for each in answers) == [201] * 3 + [429] * 17
    for each in sockets:
        await each.event("message:new", 3)
    assert not server.services.hub.delivery_budget.admitted


async def test_what_is_not_durable_leaves_half_for_sends(serve: ServerFactory) -> None:
    server = await serve(max_deliveries_per_second=8)
    ann, bob = await server.people.many(2)
    chat = await ann.group(bob)
    reader, socket = await bob.socket(), await ann.socket()
    await eventually(lambda: server.services.hub.readers(pk_of(server, chat)) == 2)
    server.services.hub.delivery_budget.buckets.rate = 1e-6
    server.services.typing.published.ttl = 0
    for _ in range(10):
        assert (await socket.call("typing", {"chatId": chat}))["isSuccess"]
    assert (await ann.post("/api/v2/messages", {"type": "text", "chatId": chat, "content": "x"})).status == 201
    await reader.event("message:new")
    assert len(reader.named("typing")) == 2


def pk_of(server: Served, chat_id: str) -> int:
    return next(pk for pk, each in server.services.hub.channels.items() if each.name == f"chat:{chat_id}")


async def test_connecting_without_a_good_token_costs_the_address(serve: ServerFactory) -> None:
    server = await serve(
        max_units_without_token=1e-3, max_units_without_token_at_once=3 * UNITS_OF_ATTEMPT, trusted_proxies=[LOCAL]
    )
    ann, left = await server.people.make(), server.services.budget.addresses.left
    raw = await RawSocket.open(server.people.session, server.url, headers={"X-Forwarded-For": "203.0.113.7"})
    for _ in range(3):
        await raw.send('40/chat,{"token":"x","v":1}')
    await raw.until(lambda: sum(each.startswith("44") for each in raw.packets) == 3)
    await raw.send('40/chat,{"token":"x","v":1}')
    await raw.gone()
    assert raw.ws.close_code == 1013
    assert left["203.0.113.7"][0] < UNITS_OF_ATTEMPT
    # Who has a good token does not pay for a neighbour.
    good = await RawSocket.open(server.people.session, server.url, headers={"X-Forwarded-For": "203.0.113.7"})
    assert "sid" in await good.connect({"token": ann.token, "v": 1})


async def test_of_a_key_so_many_are_refused_in_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    """Over however many connections they come."""
    asked: list[float] = []
    over = asyncio.Event()

    async def sleep(seconds: float) -> None:
        asked.append(seconds)
        await over.wait()

    monkeypatch.setattr("realtime.fanout.budget.asyncio.sleep", sleep)
    refusals = Refusals()
    waiting = [asyncio.create_task(refusals.pause("ann")) for _ in range(320)]
    waiting += [asyncio.create_task(refusals.pause(key)) for key in ("bob", None, None)]
    waiting[0].get_loop().call_soon(over.set)
    await asyncio.gather(*waiting)
    assert asked[:16] == [0.25] * 16 and asked[-3:] == [0.25] * 3
    assert all(asked[n] == 0.25 * (n + 1) / 16 for n in range(16, 320)), "so that sixteen end in 0.25 s"
    assert not refusals.waiting


async def test_groups_of_a_user(serve: ServerFactory) -> None:
    server = await serve(max_groups_per_day=2)
    ann, bob = await server.people.many(2)
    group = {"type": "group", "name": "Group", "memberIds": []}
    statuses = [(await ann.post("/api/v2/chats", group)).status for _ in range(3)]
    assert statuses == [201, 201, 429]
    refused = await ann.post("/api/v2/chats", group)
    assert 80_000 < int(refused.headers["Retry-After"]) <= 86_400
    assert (await ann.post("/api/v2/chats", {"type": "direct", "memberIds": [bob.id]})).status == 201
    assert (await bob.post("/api/v2/chats", group)).status == 201


async def test_messages_of_a_user(serve: ServerFactory) -> None:
    server = await serve(max_sends_per_second=1e-3, max_sends_at_once=3)
    ann, bob = await server.people.many(2)
    chat = await ann.group(bob)
    body = {"type": "text", "chatId": chat, "content": "x"}
    socket = await ann.socket()
    assert (await ann.post("/api/v2/messages", body)).status == 201
    acks = [await socket.call("message:send", body) for _ in range(3)]
    assert [each["statusCode"] for each in acks] == [201, 201, 429]
    assert acks[2]["errors"] == ["Too many requests"]
    assert refused(await ann.post("/api/v2/messages", body), 1000)
    assert (await bob.post("/api/v2/messages", body)).status == 201
    later(server.services.messages.sending, 1000)
    assert (await ann.post("/api/v2/messages", body)).status == 201
    history = (await ann.get(f"/api/v2/messages?chatId={chat}")).json["items"]
    assert len(history) == 5


def later(buckets: Buckets, seconds: float) -> None:
    """As if so many seconds had passed."""
    buckets.left = {key: (left, at - seconds) for key, (left, at) in buckets.left.items()}


def leave(buckets: Buckets, person: Person, amount: float) -> None:
    """So much and no more is left to a person."""
    buckets.left[person.user.pk] = (amount, time.monotonic())


async def test_one_budget_for_rest_and_all_sockets_of_a_user(serve: ServerFactory) -> None:
    me, state = priced("GET", "/api/v1/users/me"), INBOUND["app:state"].units
    server = await serve(max_units_per_second=1e-3, max_units_at_once=100)
    ann = await server.people.make()
    first, second = await ann.socket(), await ann.socket()
    leave(server.services.budget.users, ann, me + 2 * state)
    active = {"active": True}
    assert (await first.call("app:state", active))["statusCode"] == 200
    assert (await ann.get("/api/v1/users/me")).status == 200
    assert (await second.call("app:state", active))["statusCode"] == 200
    assert (await first.call("app:state", active))["statusCode"] == 429
    assert (await second.call("message:send", {}))["statusCode"] == 429
    answer = await ann.get("/api/v1/users/me")
    assert answer.status == 429 and int(answer.headers["Retry-After"]) >= 1
    assert "units a second" in answer.json["details"][0]["message"]
    other = await server.people.make()
    assert (await other.get("/api/v1/users/me")).status == 200
    later(server.services.budget.users, 1000 * me)
    assert (await ann.get("/api/v1/users/me")).status == 200


@pytest.mark.parametrize("path", ["/v1/notifications", "/notification/v1/notifications"])
async def test_the_budget_refuses_in_the_dialect(serve: ServerFactory, path: str) -> None:
    server = await serve(max_units_per_second=1e-3, max_units_at_once=int(priced("GET", f"{path}/unread-count")))
    ann = await server.people.make()
    body = {"templateKey": "T"}
    assert (await ann.get(f"{path}/unread-count")).status == 200
    refused, missing = await ann.post(path, body), await server.people.anonymous.post(path, body)
    assert (refused.status, missing.status) == (429, 401)
    assert refused.json.keys() == missing.json.keys()


async def test_a_refusal_comes_after_a_pause(serve: ServerFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """In which nothing else of the same socket is handled, so that who calls in a loop calls slowly."""
    server = await serve(max_units_per_second=1e-3, max_units_at_once=100)
    ann = await server.people.make()
    socket, over = await ann.socket(), asyncio.Event()
    leave(server.services.budget.users, ann, INBOUND["app:state"].units)
    monkeypatch.setattr(server.services.budget.refusals, "pause", lambda key, **options: over.wait())
    active = {"active": True}
    assert (await socket.call("app:state", active))["statusCode"] == 200
    handled = server.services.namespace.received["app:state"]
    waiting = [asyncio.create_task(socket.call("app:state", active)) for _ in range(3)]
    asked = asyncio.create_task(ann.get("/api/v1/users/me"))
    assert (await server.people.anonymous.get("/healthz")).status == 200
    assert not asked.done() and not any(each.done() for each in waiting)
    over.set()
    assert (await asked).status == 429
    assert {each["statusCode"] for each in await asyncio.gather(*waiting)} == {429}
    assert server.services.namespace.received["app:state"] == handled, "it is not even read what they are"


async def test_what_is_asked_for_and_sent_costs_too(serve: ServerFactory) -> None:
    server = await serve(max_units_per_second=1e-9, max_units_at_once=1_000)
    ann, bob = await server.people.many(2)
    budget = server.services.budget.users

    def left(person: Person) -> float:
        return budget.left[person.user.pk][0]

    chats = next(each for each in ROUTES if (each.method, each.path) == ("GET", "/api/v2/chats"))
    assert chats.units_per_item > 0
    await ann.group(bob)
    for limit in (1, 50):
        # What was not there is not paid for, but could not have been asked for without being able to pay.
        before = left(ann)
        assert (await ann.get(f"/api/v2/chats?limit={limit}")).status == 200
        assert before - left(ann) == pytest.approx(chats.units + chats.units_per_item, abs=0.1)
    budget.charge(ann.user.pk, left(ann) - chats.units - chats.units_per_item * 10)
    assert (await ann.get("/api/v2/chats?limit=11")).status == 429
    del budget.left[ann.user.pk]
    assert (await ann.get("/api/v1/users/me")).status == 200
    # One for each 4 KiB, also of what is refused.
    before = left(ann)
    await ann.patch("/api/v1/users/me", {"name": "x" * 40_960})
    assert before - left(ann) == pytest.approx(priced("PATCH", "/api/v1/users/me") + 10, abs=0.1)
    socket = await bob.socket()
    leave(budget, bob, 1_000)
    await socket.call("app:state", {"active": "x" * 40_960})
    assert 1_000 - left(bob) == pytest.approx(1 + 10, abs=0.1)
    named = await socket.call("presence:watch", {"userIds": [ann.id] * 10})
    watch = INBOUND["presence:watch"]
    assert named["isSuccess"]
    assert 1_000 - left(bob) == pytest.approx(11 + watch.units + 10 * watch.units_per_item, abs=0.1)


async def test_of_a_long_list_only_a_part_is_paid_before(serve: ServerFactory) -> None:
    """Several tabs may load at once; what a list has cost beyond that is owed."""
    server = await serve(max_units_per_second=1e-9, max_units_at_once=MOST_PREPAID + 100)
    ann = await server.people.make()
    for _ in range(3):
        await ann.group()
    left = server.services.budget.users.left
    left.clear()
    assert (await ann.get("/api/v2/chats?limit=200")).status == 200
    chats = next(each for each in ROUTES if (each.method, each.path) == ("GET", "/api/v2/chats"))
    assert 200 * chats.units_per_item > MOST_PREPAID + 100
    spent = MOST_PREPAID + 100 - left[ann.user.pk][0]
    assert spent == pytest.approx(chats.units + 3 * chats.units_per_item, abs=0.1)


async def test_a_path_that_is_none_costs_too(serve: ServerFactory) -> None:
    """It may be answered in the dialect of its body, which is read for that as long as there is something left."""
    server = await serve(max_units_per_second=1e-9, max_units_at_once=10)
    ann = await server.people.make()
    body = {"templateKey": "T", "key": "x" * 4_096}
    assert [(await ann.post("/v1/notifications/none", body)).status for _ in range(2)] == [405, 405]
    assert server.services.budget.users.left[ann.user.pk][0] == pytest.approx(4, abs=0.1)
    assert (await ann.get("/v1/notifications/unread-count")).status == 429


async def test_files_cost_their_user_or_the_address_of_a_link(serve: ServerFactory) -> None:
    server = await serve(
        max_units_without_token=1e-9, max_units_without_token_at_once=12, max_units_at_once=10_000,
        max_units_per_second=1e-9, trusted_proxies=[LOCAL],
    )  # fmt: skip
    ann, far = await server.people.make(), {"X-Forwarded-For": "203.0.113.7"}
    form = aiohttp.FormData()
    form.add_field("file", b"word" * 100_000, filename="a.txt")
    media = (await ann.post("/api/v2/media", data=form)).json["id"]
    left = server.services.budget.users.left
    assert 10_000 - left[ann.user.pk][0] == pytest.approx(priced("POST", "/api/v2/media"), abs=0.1), "not its bytes"
    path = f"/api/v2/media/{media}"
    before = left[ann.user.pk][0]
    assert [(await ann.get(path, headers=far)).status for _ in range(3)] == [200] * 3
    assert before - left[ann.user.pk][0] == pytest.approx(3 * priced("GET", "/api/v2/media/{id}"), abs=0.1)
    link = (await ann.post(f"{path}/link")).json["url"].removeprefix(server.url)
    anonymous = server.people.anonymous
    assert [(await anonymous.get(link, headers=far)).status for _ in range(2)] == [200, 429]


def test_every_route_has_a_price_and_every_list_one_for_each_item() -> None:
    lists = [each for each in ROUTES if each.query is not NoQuery and "limit" in each.query.model_fields]
    assert len(lists) > 10 and all(each.units_per_item > 0 for each in lists)
    named = [
        each for each in ROUTES if isinstance(each.body, type) and {"memberIds", "userIds"} & {*each.body.model_fields}
    ]
    assert len(named) == 2 and all(each.units_per_item > 1 for each in named)
    assert all(each.units >= 5 for each in ROUTES) and all(each.units >= 1 for each in INBOUND.values())


async def test_who_has_no_token_spends_the_budget_of_an_address(serve: ServerFactory) -> None:
    server = await serve(
        max_units_without_token=1e-3,
        max_units_without_token_at_once=int(priced("POST", f"{AUTH}/refresh")),
        trusted_proxies=[LOCAL],
    )
    anonymous, ann = server.people.anonymous, await server.people.make()

    async def refresh(address: str) -> int:
        headers = {"X-Forwarded-For": address}
        return (await anonymous.post(f"{AUTH}/refresh", {"refreshToken": "x"}, headers=headers)).status

    far, other = "203.0.113.7", "203.0.113.8"
    assert [await refresh(far) for _ in range(2)] == [401, 429]
    assert (await anonymous.get("/api/v1/users/me", headers={"X-Forwarded-For": far})).status == 429
    assert await refresh(other) == 401
    # A good token counts for its user alone.
    assert (await ann.get("/api/v1/users/me", headers={"X-Forwarded-For": far})).status == 200


def priced(method: str, path: str) -> float:
    """The units of a route."""
    return next(each.units for each in ROUTES if (each.method, each.path) == (method, path))


async def test_uploads_of_a_user(serve: ServerFactory) -> None:
    server = await serve(max_uploads_at_once=1, max_uploads_per_minute=2)
    ann, bob = await server.people.many(2)

    async def upload(who: Any, wait: asyncio.Event | None = None) -> Any:
        async def slowly() -> Any:
            yield b"some text"
            if wait:
                await wait.wait()

        form = aiohttp.MultipartWriter("form-data")
        part = form.append(slowly())
        part.set_content_disposition("form-data", name="file", filename="a.txt")
        return await who.request("POST", "/api/v2/media", data=form)

    held = asyncio.Event()
    slow = asyncio.create_task(upload(ann, held))
    async with asyncio.timeout(HANG_SECONDS):
        while not server.services.uploads.of_user:
            await asyncio.sleep(0.01)
    assert refused(await upload(ann), 1)
    assert (await upload(bob)).status == 201
    held.set()
    assert (await slow).status == 201
    assert (await upload(ann)).status == 201
    assert refused(await upload(ann), 60)
    assert not server.services.uploads.of_user


async def test_uploads_of_all_and_of_a_tenant(serve: ServerFactory) -> None:
    """A tenant has half of the places, so that it does not keep all others from uploading."""
    server = await serve(max_uploads_under_way=4)
    others = [await server.people.tenant() for _ in range(2)]
    held, slow = asyncio.Event(), []

    async def upload(who: Person) -> Answer:
        async def slowly() -> Any:
            yield b"some text"
            await held.wait()

        form = aiohttp.MultipartWriter("form-data")
        form.append(slowly()).set_content_disposition("form-data", name="file", filename="a.txt")
        return await who.request("POST", "/api/v2/media", data=form)

    async def begin(who: Person) -> None:
        before = server.services.uploads.of_user.total()
        slow.append(asyncio.create_task(upload(who)))
        await eventually(lambda: server.services.uploads.of_user.total() > before)

    for tenant in (None, others[0]):
        of: dict[str, Any] = {} if tenant is None else {"tenant": tenant}
        first, second, third = [await server.people.make(**of) for _ in range(3)]
        await begin(first)
        await begin(second)
        assert (await upload(third)).status == 503, "the tenant has its half"
    assert (await upload(await server.people.make(tenant=others[1]))).status == 503, "all places are taken"
    held.set()
    assert {each.status for each in await asyncio.gather(*slow)} == {201}


async def opened(server: Served, address: str) -> int:
    """Open a websocket in the name of an address: its status, or 101."""
    try:
        raw = await RawSocket.open(server.people.session, server.url, headers={"X-Forwarded-For": address})
    except aiohttp.WSServerHandshakeError as error:
        return error.status
    await raw.until(lambda: raw.packets)
    return 101


async def test_sockets_of_an_address(serve: ServerFactory) -> None:
    server = await serve(max_sockets_per_address=2, trusted_proxies=[LOCAL])
    engine = server.services.socketio.eio
    told = [await opened(server, "203.0.113.7") for _ in range(3)]
    assert told == [101, 101, 503]
    assert await opened(server, "203.0.113.8") == 101
    polling = await server.people.anonymous.get(
        "/socket.io/?EIO=4&transport=polling", headers={"X-Forwarded-For": "203.0.113.7"}
    )
    assert polling.status == 503 and polling.headers["Retry-After"]
    for each in list(engine.sockets.values()):
        each.abort(Ending.LOST)
    async with asyncio.timeout(HANG_SECONDS):
        while engine.of_address:
            await asyncio.sleep(0.01)
    assert await opened(server, "203.0.113.7") == 101


async def test_how_fast_an_address_opens_sockets(serve: ServerFactory) -> None:
    server = await serve(max_connects_per_address=1e-3, max_connects_at_once=3, trusted_proxies=[LOCAL])
    assert [await opened(server, "203.0.113.7") for _ in range(4)] == [101, 101, 101, 503]
    assert await opened(server, "203.0.113.8") == 101
