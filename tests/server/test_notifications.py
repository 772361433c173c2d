"""Notifications: boxes, reading, deleting, keys, permissions, tenants, and the socket."""

import asyncio
import time
from typing import Any

import pytest

from tests.conftest import Served
from tests.server.world import SEEDS, document, is_error, send, speak, world
from tests.support.people import Answer, Person

NAMES = ["envelope", "laravel", "template"]
PATH = "/api/v1/notifications"


def items(name: str, answer: Any) -> Any:
    page = document(name, answer)
    return page["data" if name == "laravel" else "items"]


def cursor(name: str, answer: Any) -> Any:
    page = document(name, answer)
    return page["next_cursor" if name == "laravel" else "nextCursor"]


def is_read(name: str, item: Any) -> bool:
    if name == "template":
        return item["status"] == "READ" and item["readAt"] is not None
    return item["read" if name == "envelope" else "is_read"] is True


@pytest.mark.parametrize("name", NAMES)
async def test_the_box_in_each_dialect(either: Served, name: str) -> None:
    here = await world(either)
    said = speak(name)
    ids = [document(name, await send(here.sender, name))["id"] for _ in range(5)]
    me = here.recipient

    first = await me.get(f"{PATH}?limit=2", headers=said)
    assert [each["id"] for each in items(name, first)] == [ids[4], ids[3]]
    second = await me.get(f"{PATH}?limit=2&cursor={cursor(name, first)}", headers=said)
    last = await me.get(f"{PATH}?limit=2&cursor={cursor(name, second)}", headers=said)
    assert [each["id"] for each in items(name, second)] == [ids[2], ids[1]]
    assert [each["id"] for each in items(name, last)] == [ids[0]] and cursor(name, last) is None

    count = await me.get(f"{PATH}/unread-count", headers=said)
    assert document(name, count) == {"count": 5}
    one = document(name, await me.post(f"{PATH}/{ids[0]}/read", headers=said))
    assert one["id"] == ids[0] and is_read(name, one)
    assert is_read(name, document(name, await me.post(f"{PATH}/{ids[0]}/read", headers=said))), "twice is as once"
    assert document(name, await me.get(f"{PATH}/unread-count", headers=said)) == {"count": 4}
    unread = await me.get(f"{PATH}?unread=true", headers=said)
    assert [each["id"] for each in items(name, unread)] == ids[:0:-1]
    assert document(name, await me.post(f"{PATH}/read-all", headers=said)) == {"count": 4}
    assert document(name, await me.post(f"{PATH}/read-all", headers=said)) == {"count": 0}
    assert document(name, await me.get(f"{PATH}/unread-count", headers=said)) == {"count": 0}

    gone = await me.delete(f"{PATH}/{ids[1]}", headers=said)
    assert gone.status == 200 and document(name, gone)["title"] is None
    assert is_error(name, await me.delete(f"{PATH}/{ids[1]}", headers=said), 404)
    assert is_error(name, await me.get(f"{PATH}/{ids[1]}", headers=said), 404)
    assert ids[1] not in [each["id"] for each in items(name, await me.get(PATH, headers=said))]
    for wrong in (
        "limit=0",
        "limit=x",
        "limit=201",
        "cursor=x",
        "unread=maybe",
        "box=other",
        "type=",
        "type=" + "x" * 65,
    ):
        assert is_error(name, await me.get(f"{PATH}?{wrong}", headers=said), 422 if name == "laravel" else 400), wrong


async def test_filters(server: Served) -> None:
    here = await world(server)
    for type, category in (("system", "live"), ("warning", "live"), ("info", "other")):
        await send(here.sender, "envelope", type=type, category=category)
    await send(here.sender, "template")
    box = here.recipient.get

    async def types(query: str, name: str = "envelope") -> list[str]:
        answer = await box(f"{PATH}?{query}", headers=speak(name))
        return [each["type"] for each in items(name, answer)]

    assert await types("type=system") == ["system"]
    assert await types("category=live") == ["warning", "system"]
    assert await types("category=Delegations&type=info") == ["info"]
    assert await types("type=warning", "laravel") == ["warning"]
    assert await types("type=info", "laravel") == ["info", "info", "info"], "what laravel does not know reads as info"
    assert await types("type=none") == []
    none = await box(f"{PATH}?type=system", headers=speak("laravel"))
    assert is_error("laravel", none, 422) and none.json["errors"] == {"type": ["The selected type is invalid."]}


async def test_an_inactive_notification_is_its_senders_alone(either: Served) -> None:
    here = await world(either)
    me = here.recipient
    socket = await me.socket()
    made = await send(here.sender, "laravel", is_active=False)
    assert made.status == 201 and made.json["is_active"] is False
    id = made.json["id"]
    shown = await send(here.sender, "laravel")
    listed = items("laravel", await me.get(PATH, headers=speak("laravel")))
    assert listed == [{**shown.json, "sender": {**shown.json["sender"], "email": None}}]
    assert (await me.get(f"{PATH}/unread-count")).json["data"] == {"count": 1}
    for answer in (await me.get(f"{PATH}/{id}"), await me.post(f"{PATH}/{id}/read"), await me.delete(f"{PATH}/{id}")):
        assert is_error("envelope", answer, 404)
    assert (await me.post(f"{PATH}/read-all")).json["data"] == {"count": 1}
    sent = items("laravel", await here.sender.get(f"{PATH}?box=sent", headers=speak("laravel")))
    assert [each["id"] for each in sent] == [shown.json["id"], id]
    await socket.event("notification:read")
    assert [each[0] for each in socket.events if each[0].startswith("notification")] == [
        "notification:new",
        "notification:read",
    ]
    assert socket.seqs(f"user:{me.id}") == [1, 2]
    assert (await here.sender.delete(f"{PATH}/{id}")).status == 200
    await socket.close()


async def test_an_inactive_one_to_the_sender_is_marked_without_an_event(server: Served) -> None:
    here = await world(server)
    me = await here.person(grant=["notifications.send.own"])
    id = (await send(me, "laravel", user_id=me.user.number, is_active=False, metadata=[])).json["id"]
    assert len(items("envelope", await me.get(f"{PATH}?box=sent&unread=true"))) == 1
    assert (await me.post(f"{PATH}/{id}/read")).status == 200
    assert items("envelope", await me.get(f"{PATH}?box=sent&unread=true")) == []
    socket = await me.socket()
    assert socket.named("session:ready")[0][0]["heads"] == {f"user:{me.id}": 0}
    await socket.close()


async def test_the_sender_sees_it_and_may_take_it_back_but_not_mark_it(server: Served) -> None:
    here = await world(server)
    id = document("envelope", await send(here.sender, "envelope"))["id"]
    assert (await here.sender.get(f"{PATH}/{id}")).status == 200
    assert is_error("envelope", await here.sender.post(f"{PATH}/{id}/read"), 403)
    assert items("envelope", await here.sender.get(PATH)) == []
    assert (await here.sender.delete(f"{PATH}/{id}")).status == 200
    assert is_error("envelope", await here.recipient.get(f"{PATH}/{id}"), 404)


@pytest.mark.parametrize("name", NAMES)
async def test_who_may_send(server: Served, name: str) -> None:
    here = await world(server)
    nobody, own, admin = await here.person(), await here.person(grant=["notifications.send.own"]), None
    admin = await here.person(grant=["admin"])
    late = await here.person(ttl=-60, grant=["notifications.send"])
    assert is_error(name, await send(here.server.people.anonymous, name), 401)
    assert is_error(name, await send(late, name), 401)
    assert is_error(name, await send(nobody, name), 403)
    assert is_error(name, await send(nobody, name, title=5, templateKey=5), 403), "403 before the fields"
    assert (await send(own, name)).status == 201
    assert (await send(admin, name)).status == 201


@pytest.mark.parametrize("name", NAMES)
async def test_the_order_of_calls(server: Served, name: str) -> None:
    here = await world(server)
    nobody = await here.person()
    path, said = SEEDS[name]["path"], speak(name)
    keys = {"Idempotency-Key": "a", **said}
    differing = {**SEEDS[name]["request"], "clientMessageId": "b", "title": 5, "templateKey": 5}
    assert is_error(name, await nobody.post(path, differing, headers=keys), 403)
    wrong = await here.sender.post(path, differing, headers=keys)
    assert is_error(name, wrong, 422 if name == "laravel" else 400)
    assert all(
        field in wrong.body.decode() for field in ("clientMessageId", "templateKey" if name == "template" else "title")
    )
    listed = await nobody.post(path, data=b"[]", headers={**said, "Content-Type": "application/json"})
    assert is_error(name, listed, 400), "what is no object can't be read, whoever sends it"


async def test_own_is_for_ones_own_name(server: Served) -> None:
    here = await world(server)
    own = await here.person(grant=["notifications.send.own"])
    mine = await send(own, "laravel", sender_id=own.user.number)
    assert mine.status == 201 and mine.json["sender_id"] == own.user.number
    for other in (2, 987654):
        assert is_error("laravel", await send(own, "laravel", sender_id=other), 403)
        assert is_error("laravel", await send(own, "laravel", sender_id=other, title=None), 403)
    any_name = await send(here.sender, "laravel", sender_id=own.user.number)
    assert any_name.json["sender"] == {"id": own.user.number, "email": own.user.email}
    assert any_name.json["user"] == {"id": 1, "email": "user@example.com"}


async def test_who_sees_the_emails_of_a_notification(server: Served) -> None:
    """Whoever sends to everybody or manages users sees both; others their own, so that nobody counts up numbers for them."""
    here = await world(server)
    own = await here.person(grant=["notifications.send.own"])
    theirs, mine = {"id": 1, "email": "user@example.com"}, {"id": own.user.number, "email": own.user.email}
    hidden = {"email": None}
    sent = await send(own, "laravel", sender_id=own.user.number)
    assert (sent.json["user"], sent.json["sender"]) == ({**theirs, **hidden}, mine)
    seen = items("laravel", await here.recipient.get(PATH, headers=speak("laravel")))
    assert (seen[0]["user"], seen[0]["sender"]) == (theirs, {**mine, **hidden})
    box = items("laravel", await own.get(f"{PATH}?box=sent", headers=speak("laravel")))
    assert (box[0]["user"], box[0]["sender"]) == ({**theirs, **hidden}, mine)
    for permission in ("notifications.send", "users.manage"):
        stronger = await here.person(grant=["notifications.send.own", permission])
        sent = await send(stronger, "laravel", sender_id=stronger.user.number)
        assert sent.json["user"] == theirs, permission


@pytest.mark.parametrize("name", NAMES)
async def test_another_tenant_is_as_none(either: Served, name: str) -> None:
    here = await world(either)
    people = here.server.people
    outsider = await people.make(grant=["notifications.send"])
    sent = await send(here.sender, name)
    id = document(name, sent)["id"]
    foreign, absent = await send(outsider, name), await send(
        outsider, name, **{"user_id" if name == "laravel" else "userId": {
            "envelope": "e" * 24, "laravel": 424242, "template": "12345678-0000-0000-0000-123456789012"}[name]}
    )  # fmt: skip
    assert is_error(name, foreign, 422 if name == "laravel" else 404), foreign
    assert foreign.status == absent.status and {*foreign.json} == {*absent.json}
    said = speak(name)
    for method, path in (("GET", f"{PATH}/{id}"), ("POST", f"{PATH}/{id}/read"), ("DELETE", f"{PATH}/{id}")):
        assert is_error(name, await outsider.request(method, path, headers=said), 404)
        stranger = await here.person()
        assert is_error(name, await stranger.request(method, path, headers=said), 404)
    for none in ("x", "f" * 24, "12345", "9" * 19, "12345678-0000-0000-0000-123456789012", "%00"):
        assert is_error(name, await here.recipient.get(f"{PATH}/{none}", headers=said), 404), none
    assert document(name, await here.recipient.get(f"{PATH}/{id}", headers=said))["id"] == id


async def test_template_errors_of_names(server: Served) -> None:
    here = await world(server)
    other = "12345678-0000-0000-0000-123456789012"
    for changes in ({"templateKey": "NONE"}, {"tenantId": other}, {"userId": other}):
        assert is_error("template", await send(here.sender, "template", **changes), 404), changes
    missing = await send(here.sender, "template", placeholders={})
    assert is_error("template", missing, 400)
    assert missing.json["errors"] == [{"field": "placeholders.delegation_id", "message": "is required by the template"}]
    nothing = await here.sender.post("/v1/notifications", {})
    assert is_error("template", nothing, 400)
    assert {each["field"] for each in nothing.json["errors"]} == {
        "templateKey", "userId", "tenantId", "entityType", "entityId", "placeholders",
    }  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
async def test_a_key_does_nothing_twice(either: Served, name: str) -> None:
    here = await world(either)
    path, request = SEEDS[name]["path"], SEEDS[name]["request"]
    keyed = {"Idempotency-Key": "k1"}
    answers = await asyncio.gather(*(here.sender.post(path, request, headers=keyed) for _ in range(10)))
    assert {each.status for each in answers} == {201} and len({each.body for each in answers}) == 1
    id = document(name, answers[0])["id"]
    assert (await here.recipient.post(f"{PATH}/{id}/read")).status == 200
    # Another second, so that a moment of now would show.
    second = int(time.time())
    while int(time.time()) == second:
        await asyncio.sleep(0.05)
    again = await here.sender.post(path, {**request, "clientMessageId": "k1"})
    assert again.status == 201 and again.body == answers[0].body, "the first bytes, whoever read it since"
    both = await here.sender.post(path, {**request, "clientMessageId": "k2"}, headers=keyed)
    assert both.status == (422 if name == "laravel" else 400)
    assert (await here.recipient.get(f"{PATH}/unread-count")).json["data"] == {"count": 0}
    other = await here.person(grant=["notifications.send"])
    assert document(name, await other.post(path, request, headers=keyed))["id"] != id, "a key is its caller's"
    await here.recipient.delete(f"{PATH}/{id}")
    gone = await here.sender.post(path, request, headers=keyed)
    assert gone.status == 201 and document(name, gone)["id"] == id and document(name, gone)["title"] is None
    assert is_error(name, await here.sender.post(path, request, headers={"Idempotency-Key": "x" * 256}),
                    422 if name == "laravel" else 400)  # fmt: skip


async def test_a_key_is_the_same_in_another_dialect(server: Served) -> None:
    here = await world(server)
    keyed = {"Idempotency-Key": "k"}
    laravel = {"user_id": 1, "type": "info", "title": "T", "message": "M"}
    envelope = {"userId": here.recipient.id, "type": "info", "category": "general", "title": "T", "message": "M"}
    first = await here.sender.post(PATH, laravel, headers=keyed)
    second = await here.sender.post(PATH, envelope, headers=keyed)
    assert first.status == second.status == 201
    assert (
        document("envelope", await here.recipient.get(f"{PATH}/{first.json['id']}"))["id"] == second.json["data"]["id"]
    )
    assert is_error("envelope", await here.sender.post(PATH, {**envelope, "category": "x"}, headers=keyed), 409)


async def test_events_of_the_socket(either: Served) -> None:
    here = await world(either)
    me = here.recipient
    channel = f"user:{me.id}"
    phone, desk = await me.socket(), await me.socket()
    made = await send(here.sender, "template")
    payload, place = await phone.event("notification:new")
    assert place == {"channel": channel, "seq": 1}
    assert payload["uuid"] == made.json["data"]["id"] and payload["userId"] == me.id
    assert payload["templateKey"] == "DELEGATION_ISSUED" and payload["payload"] == payload["metadata"]
    assert payload["status"] == "UNREAD" and payload["isRead"] is payload["read"] is False
    envelope = document("envelope", await me.get(f"{PATH}/{payload['id']}"))
    assert {name: payload[name] for name in envelope} == envelope
    fields = {
        "number",
        "senderId",
        "actionUrl",
        "isActive",
        "readAt",
        "tenantId",
        "isActionable",
        "entityType",
        "entityId",
    }
    assert fields < {*payload} and "email" not in str(payload)
    for id in (payload["uuid"], payload["number"], payload["id"]):
        ack = await phone.call("notification:read", {"id": id})
        assert ack["statusCode"] == 200 and ack["data"]["read"] is True and ack["data"]["id"] == payload["id"]
    assert (await desk.event("notification:read"))[0] == {"ids": [payload["id"]]}
    await send(here.sender, "envelope")
    await me.post(f"{PATH}/read-all")
    read, place = await desk.event("notification:read", 2)
    assert read["all"] is True and read["before"].endswith("Z") and place["seq"] == 4
    await me.delete(f"{PATH}/{payload['id']}")
    deleted, place = await desk.event("notification:deleted")
    assert (deleted["id"], deleted["title"], place["seq"]) == (payload["id"], None, 5) and deleted["deletedAt"]
    for wrong in ({}, {"id": "x"}, {"id": None}, {"id": True}, {"id": 1.5}, {"id": [payload["id"]]}):
        assert (await phone.call("notification:read", wrong))["statusCode"] == 400, wrong
    for none in ("f" * 24, payload["id"], 987):
        assert (await phone.call("notification:read", {"id": none}))["statusCode"] == 404, none
    assert desk.seqs(channel) == phone.seqs(channel) == [1, 2, 3, 4, 5]
    await asyncio.gather(phone.close(), desk.close())

    epoch = server_epoch(here.server)
    again = await me.socket(offsets={channel: 0}, epoch=epoch)
    assert again.seqs(channel) == [1, 2, 3, 4, 5]
    replayed = again.named("notification:new")[0][0]
    assert replayed["title"] is None and replayed["deletedAt"], "a replay never shows what is no longer there"
    await again.close()


def server_epoch(server: Served) -> str:
    return server.services.database.epoch


async def test_many_are_read_in_slices(server: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    from storage import notifications

    monkeypatch.setattr(notifications, "READ_AT_ONCE", 3)
    here = await world(server)
    for _ in range(8):
        await send(here.sender, "envelope")
    socket = await here.recipient.socket()
    assert (await here.recipient.post(f"{PATH}/read-all")).json["data"] == {"count": 8}
    assert (
        len(await socket.until(lambda: socket.named("notification:read")[2:] and socket.named("notification:read")))
        == 3
    )
    assert (await here.recipient.get(f"{PATH}/unread-count")).json["data"] == {"count": 0}
    await socket.close()


async def test_a_permission_taken_away_counts_at_once(server: Served) -> None:
    from storage import accounts
    from storage.transaction import Command

    here = await world(server)
    sender = await here.person(permissions=["notifications.send"])
    assert (await send(sender, "envelope")).status == 201
    change = {"permissions": "[]"}
    await server.services.database.write(Command(lambda tx: accounts.change(tx, sender.user.pk, change)))
    assert is_error("envelope", await send(sender, "envelope"), 403)


class TestChoice:
    """Header, path, keys of the body, claim of the token, setting."""

    async def test_the_order(self, serve: Any) -> None:
        server = await serve(default_dialect="template")
        ann = await server.people.make(grant=["notifications.send"])
        claims = server.services.tokens

        def plain(name: str, answer: Answer) -> bool:
            return is_error(name, answer, 404)

        id = "f" * 24
        assert plain("template", await ann.get(f"{PATH}/{id}")), "the setting"
        token = with_dialect(server, ann, "laravel")
        assert plain("laravel", await token.get(f"{PATH}/{id}")), "the claim before the setting"
        body = await token.post(PATH, {"userId": id, "type": "a", "category": "b", "title": "c", "message": "d"})
        assert plain("envelope", body), "keys before the claim"
        assert plain("template", await token.get(f"/v1/notifications/{id}")), "the path before the claim"
        assert plain("template", await token.post("/v1/notifications/none/x", {"user_id": 1}, headers={}))
        assert plain("laravel", await ann.get(f"/v1/notifications/{id}", headers=speak("laravel"))), "the header first"
        both = await token.post(PATH, {"userId": id, "user_id": 1})
        assert is_error("laravel", both, 400)
        unknown = await token.get(PATH, headers=speak("klingon"))
        assert is_error("laravel", unknown, 400)
        assert is_error("template", await token.get("/v1/notifications", headers=speak("klingon")), 400)
        anonymous = server.people.anonymous
        assert is_error("laravel", await anonymous.post(PATH, {"user_id": 1}), 401)
        assert is_error("envelope", await anonymous.post(PATH, {"category": 1}), 401)
        assert is_error(
            "template", await anonymous.post(PATH, data=b"{", headers={"Content-Type": "application/json"}), 401
        )
        assert is_error("laravel", await token.request("PUT", PATH, {}), 405)
        assert is_error("envelope", await token.get("/api/v1/users/" + id), 404), "elsewhere it is the envelope"
        assert claims is server.services.tokens

    async def test_an_unknown_default_is_refused_at_start(self) -> None:
        from server.settings import Settings

        with pytest.raises(ValueError, match="must be one of: envelope, laravel, template"):
            Settings(default_dialect="klingon")


def with_dialect(server: Served, person: Person, name: str) -> Person:
    import jwt

    claims = {"sub": person.id, "iat": time.time(), "exp": time.time() + 600, "dialect": name,
              "permissions": ["notifications.send"]}  # fmt: skip
    token = jwt.encode(claims, server.services.tokens.access.key, algorithm="HS256")
    return Person(person.session, person.url, token, person.user)
