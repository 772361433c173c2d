"""Streams over REST and the socket, and the published example of registering a Live Activity."""

import asyncio
import re
from pathlib import Path
from typing import Any

import orjson
import pytest
from sqlalchemy import select, update

from realtime import streams
from storage import blocks
from storage.models import members
from storage.transaction import Command
from tests.conftest import Served, ServerFactory, eventually
from tests.support.guard import NEVER
from tests.support.people import Answer, Person

SEED = orjson.loads(Path("tests/seeds/live_activity.json").read_bytes())
STREAMS = "/api/v1/streams"
SOON = "2999-01-01T20:00:00Z"
MILLIS = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


async def owner_of(server: Served, **options: Any) -> tuple[Person, Any]:
    """A stream and its owner."""
    owner = await server.people.make("Owner", grant=["streams.manage"])
    answer = await owner.post(STREAMS, {"title": "Match", "startsAt": SOON, **options})
    assert answer.status == 201, answer
    return owner, answer.json["data"]


def is_error(answer: Answer, status: int) -> bool:
    body = answer.json
    body.pop("details", None)
    text = SEED["errors"][str(status)]
    return bool(
        answer.status == status
        and MILLIS.fullmatch(body.pop("timestamp"))
        and body == {"isSuccess": False, "statusCode": status, "data": None, "errors": [text]}
    )


async def test_the_published_example_and_its_six_answers(either: Served) -> None:
    owner, _ = await owner_of(either, id=SEED["request"]["streamId"])
    ann, request, path = await either.people.make(), SEED["request"], SEED["path"]
    for _ in range(2):
        answer = await ann.post(path, request)
        assert (answer.status, answer.json) == (201, SEED["answer"])
    assert (await ann.post(path, {**request, "liveActivityToken": "rotated"})).status == 201
    for name in request:
        assert is_error(await ann.post(path, {**request, name: None}), 400)
    assert is_error(await ann.post(path, {**request, "liveActivityToken": "../x"}), 400)
    assert is_error(await ann.post(path, {**request, "deviceId": "x" * 256}), 400)
    assert is_error(await either.people.anonymous.post(path, request), 401)
    assert is_error(await ann.post(path, {**request, "streamId": "f" * 24}), 404)
    outsider = await either.people.make(tenant=await either.people.tenant())
    assert is_error(await outsider.post(path, request), 404)
    other = await either.people.make()
    assert is_error(await other.post(path, request), 409), "the activity is another user's"
    await owner.post("/api/v1/users/me/blocks", {"userId": other.id})
    assert is_error(await other.post(path, {**request, "activityId": "theirs"}), 403)
    assert (await owner.post(f"{STREAMS}/{request['streamId']}/ready")).status == 200
    assert is_error(await ann.post(path, {**request, "activityId": "late"}), 409)
    assert is_error(await ann.post(path, request), 409)


async def test_a_title_is_without_characters_that_change_the_direction_of_text(server: Served) -> None:
    owner, _ = await owner_of(server)
    made = (await owner.post(STREAMS, {"title": "gpj.\u202eexe", "startsAt": SOON})).json["data"]
    assert made["title"] == "gpj.exe"
    changed = await owner.patch(f"{STREAMS}/{made['id']}", {"title": "\u2066x\u2069"})
    assert changed.json["data"]["title"] == "x"


async def test_what_may_follow_what(either: Served) -> None:
    owner, _ = await owner_of(either)
    ways = {
        (): "scheduled", ("ready",): "ready", ("ready", "start"): "started", ("ready", "start", "end"): "ended",
        ("cancel",): "cancelled", ("ready", "cancel"): "cancelled",
    }  # fmt: skip
    legal = {
        "scheduled": {"ready", "cancel"}, "ready": {"start", "cancel"}, "started": {"end"}, "ended": set(),
        "cancelled": set(),
    }  # fmt: skip
    for way, status in ways.items():
        for verb in ("ready", "start", "end", "cancel"):
            made = (await owner.post(STREAMS, {"title": "x", "startsAt": SOON})).json["data"]
            one = f"{STREAMS}/{made['id']}"
            for step in way:
                assert (await owner.post(f"{one}/{step}")).status == 200
            before = (await owner.get(one)).json["data"]
            assert before["status"] == status
            answer = await owner.post(f"{one}/{verb}")
            if verb in legal[status]:
                assert answer.status == 200
            else:
                assert is_error(answer, 409) and (await owner.get(one)).json["data"] == before


async def test_make_list_change_and_who_may(server: Served) -> None:
    owner, stream = await owner_of(server, id="a" * 24)
    one = f"{STREAMS}/{stream['id']}"
    assert {**stream, "chatId": 0, "createdAt": 0, "updatedAt": 0} == {
        "id": "a" * 24, "title": "Match", "status": "scheduled", "startsAt": "2999-01-01T20:00:00.000Z",
        "ownerId": owner.id, "chatId": 0, "createdAt": 0, "updatedAt": 0,
    }  # fmt: skip
    ann = await server.people.make()
    manager = await server.people.make(grant=["streams.manage"])
    assert is_error(await ann.post(STREAMS, {"title": "x", "startsAt": SOON}), 403)
    assert is_error(await owner.post(STREAMS, {"title": "x", "startsAt": SOON, "id": "a" * 24}), 409)
    for wrong in (
        {"title": ""},
        {"title": None},
        {"startsAt": "soon"},
        {"startsAt": None},
        {"startsAt": 5},
        {"id": "x"},
    ):
        assert is_error(await owner.post(STREAMS, {"title": "x", "startsAt": SOON, **wrong}), 400), wrong
    for verb in ("ready", "start", "end", "cancel"):
        assert is_error(await ann.post(f"{one}/{verb}"), 403)
        assert is_error(await ann.post(f"{STREAMS}/{'f' * 24}/{verb}"), 404)
    assert is_error(await ann.patch(one, {"title": "Mine"}), 403)
    changed = (await manager.patch(one, {"title": "Final", "startsAt": "2999-02-01T20:00:00Z"})).json["data"]
    assert (changed["title"], changed["startsAt"]) == ("Final", "2999-02-01T20:00:00.000Z")
    assert (await owner.get(f"/api/v2/chats/{stream['chatId']}")).json["name"] == "Final"
    assert (await owner.patch(one, {})).json["data"] == changed
    second = (await owner.post(STREAMS, {"title": "Second", "startsAt": SOON})).json["data"]
    await owner.post(f"{STREAMS}/{second['id']}/cancel")
    assert is_error(await owner.patch(f"{STREAMS}/{second['id']}", {"title": "x"}), 409)
    page = (await ann.get(f"{STREAMS}?limit=1")).json["data"]
    assert [each["title"] for each in page["items"]] == ["Second"]
    rest = (await ann.get(f"{STREAMS}?cursor={page['nextCursor']}")).json["data"]
    assert [each["title"] for each in rest["items"]] == ["Final"] and rest["nextCursor"] is None
    assert len((await ann.get(f"{STREAMS}?status=cancelled")).json["data"]["items"]) == 1
    assert is_error(await ann.get(f"{STREAMS}?status=over"), 400)
    outsider = await server.people.make(grant=["admin"], tenant=await server.people.tenant())
    assert is_error(await outsider.get(one), 404) and (await outsider.get(STREAMS)).json["data"]["items"] == []
    assert is_error(await outsider.post(f"{one}/cancel"), 404)


async def test_watching_and_following(either: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "STAY_SECONDS", 0)
    owner, stream = await owner_of(either)
    one, channel, chat = f"{STREAMS}/{stream['id']}", f"stream:{stream['id']}", stream["chatId"]
    ann, bob = await either.people.many(2)
    socket = await ann.socket()
    ack = await socket.call("stream:watch", {"streamId": stream["id"]})
    assert ack["statusCode"] == 200 and ack["data"] == stream
    await socket.event("chat:new")
    await ann.send(chat, "hello from a watcher")
    assert (await bob.get(f"/api/v2/chats/{chat}")).status == 404
    assert (await bob.post(f"{one}/follow")).json["data"] == stream
    assert (await bob.get(f"/api/v2/chats/{chat}")).status == 200
    follower = await bob.socket()
    ready = (await owner.post(f"{one}/ready")).json["data"]
    for reader in (socket, follower):
        payload, place = await reader.event("stream:status")
        assert payload == ready and place == {"channel": channel, "seq": 1}
    epoch = either.services.database.epoch
    await socket.close()
    await owner.post(f"{one}/start")
    again = await ann.socket(offsets={channel: 1, f"stream:{'f' * 24}": 0, "stream:x": 0}, epoch=epoch)
    assert again.named("stream:status")[0][1]["seq"] == 2
    recovered = again.named("session:ready")[0][0]["recovered"]
    assert recovered == {channel: True, f"stream:{'f' * 24}": False, "stream:x": False}
    assert (await again.call("stream:unwatch", {"streamId": stream["id"]}))["isSuccess"]
    await again.event("chat:removed")
    assert (await ann.get(f"/api/v2/chats/{chat}")).status == 404
    assert (await bob.post(f"{one}/unfollow")).status == (await bob.post(f"{one}/unfollow")).status == 200
    assert (await bob.get(f"/api/v2/chats/{chat}")).status == 404
    await owner.post("/api/v1/users/me/blocks", {"userId": bob.id})
    assert is_error(await bob.post(f"{one}/follow"), 403)
    assert (await follower.call("stream:watch", {"streamId": stream["id"]}))["statusCode"] == 403
    assert (await follower.call("stream:watch", {"streamId": "f" * 24}))["statusCode"] == 404
    assert (await follower.call("stream:watch", {}))["statusCode"] == 400
    assert (await owner.post(f"{one}/unfollow")).status == 200
    assert (await owner.get(f"/api/v2/chats/{chat}")).status == 200, "its owner stays in the chat"
    blocked = await bob.socket(offsets={channel: 0}, epoch=epoch)
    assert blocked.named("session:ready")[0][0]["recovered"] == {channel: False}
    await asyncio.gather(again.close(), follower.close(), blocked.close())


async def test_the_chat_of_a_stream_is_left_and_kept_as_it_should(
    server: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    from realtime import stream_watch

    monkeypatch.setattr(stream_watch, "UNWATCH_AFTER_SECONDS", 0.1)
    monkeypatch.setattr(streams, "STAY_SECONDS", 0)
    owner, stream = await owner_of(server)
    one, chat = f"{STREAMS}/{stream['id']}", stream["chatId"]
    ann, bob, cat = await server.people.many(3)
    assert (await owner.delete(f"/api/v2/chats/{chat}")).status == 409
    for person in (ann, bob):
        await person.post(f"{one}/follow")
    await owner.patch(f"/api/v2/chats/{chat}/members/{ann.id}", {"role": "readonly"})
    await owner.delete(f"/api/v2/chats/{chat}/members/{bob.id}")
    for person in (ann, bob):
        await person.post(f"{one}/unfollow")
        await person.post(f"{one}/follow")
    assert (await ann.post("/api/v2/messages", {"type": "text", "chatId": chat, "content": "x"})).status == 403
    assert (await bob.post("/api/v2/messages", {"type": "text", "chatId": chat, "content": "x"})).status == 404
    await owner.post(f"/api/v2/chats/{chat}/members", {"userIds": [bob.id]})
    await bob.post(f"{one}/unfollow")
    await bob.post(f"{one}/follow")
    assert (await bob.get(f"/api/v2/chats/{chat}")).status == 200, "who was let in again comes back"
    first, second = await cat.socket(), await cat.socket()
    for socket in (first, second):
        await socket.call("stream:watch", {"streamId": stream["id"]})
    await first.call("stream:unwatch", {"streamId": stream["id"]})
    assert (await cat.get(f"/api/v2/chats/{chat}")).status == 200, "the other socket watches still"
    await second.close()
    await first.event("chat:removed")
    assert (await cat.get(f"/api/v2/chats/{chat}")).status == 404, "nobody watches any more"
    await first.close()


@pytest.mark.parametrize("way", ["leave", "remove oneself", "unfollow"])
@pytest.mark.parametrize("back", ["follow", "watch"])
async def test_who_may_only_read_comes_back_as_a_reader(either: Served, way: str, back: str) -> None:
    owner, stream = await owner_of(either)
    ann = await either.people.make()
    chat, path = f"/api/v2/chats/{stream['chatId']}", f"{STREAMS}/{stream['id']}"
    assert (await ann.post(f"{path}/follow")).status == 200
    assert (await owner.patch(f"{chat}/members/{ann.id}", {"role": "readonly"})).status == 200
    match way:
        case "leave":
            assert (await ann.post(f"{chat}/leave")).status == 200
        case "remove oneself":
            assert (await ann.delete(f"{chat}/members/{ann.id}")).status == 200
    assert (await ann.post(f"{path}/unfollow")).status == 200
    if back == "follow":
        assert (await ann.post(f"{path}/follow")).status == 200
    else:
        socket = await ann.socket()
        assert (await socket.call("stream:watch", {"streamId": stream["id"]}))["statusCode"] == 200
    text = {"type": "text", "chatId": stream["chatId"], "content": "hello"}
    assert (await ann.post("/api/v2/messages", text)).status == 403
    members = (await owner.get(f"{chat}/members")).json["items"]
    assert [each["role"] for each in members if each["userId"] == ann.id] == ["readonly"]
    assert (await owner.delete(f"{chat}/members/{ann.id}")).status == 200
    assert (await ann.post(f"{path}/follow")).status == 200
    assert (await ann.post("/api/v2/messages", text)).status == 404, "who was removed does not come back"
    assert (await owner.post(f"{chat}/members", {"userIds": [ann.id]})).status == 201
    assert (await ann.post("/api/v2/messages", text)).status == 201, "unless somebody takes them in"


async def test_more_streams_and_activities_than_one_may_have(serve: ServerFactory) -> None:
    server = await serve(max_streams_followed=1, max_activities=1)
    _, first = await owner_of(server)
    _, second = await owner_of(server)
    ann = await server.people.make()
    assert (await ann.post(f"{STREAMS}/{first['id']}/follow")).status == 200
    assert is_error(await ann.post(f"{STREAMS}/{second['id']}/follow"), 409)
    body = {**SEED["request"], "streamId": first["id"]}
    assert (await ann.post(SEED["path"], body)).status == 201
    assert is_error(await ann.post(SEED["path"], {**body, "activityId": "two"}), 409)


async def test_more_streams_than_a_socket_may_watch(serve: ServerFactory) -> None:
    server = await serve(max_streams_watched=1)
    _, first = await owner_of(server)
    _, second = await owner_of(server)
    socket = await (await server.people.make()).socket()
    assert (await socket.call("stream:watch", {"streamId": first["id"]}))["statusCode"] == 200
    assert (await socket.call("stream:watch", {"streamId": first["id"]}))["statusCode"] == 200
    assert (await socket.call("stream:watch", {"streamId": second["id"]}))["statusCode"] == 409
    await socket.close()


async def test_cancel_and_start_at_once(either: Served) -> None:
    owner, _ = await owner_of(either)
    for _ in range(5):
        stream = (await owner.post(STREAMS, {"title": "x", "startsAt": SOON})).json["data"]
        one = f"{STREAMS}/{stream['id']}"
        await owner.post(f"{one}/ready")
        answers = await asyncio.gather(*(owner.post(f"{one}/{verb}") for verb in ("cancel", "start") * 3))
        assert sorted(each.status for each in answers) == [200, 409, 409, 409, 409, 409]
        epoch = either.services.database.epoch
        reader = await owner.socket(offsets={f"stream:{stream['id']}": 0}, epoch=epoch)
        assert [each[1]["seq"] for each in reader.named("stream:status")] == [1, 2], "one wins, with one event"
        await reader.close()


async def test_it_expires_by_the_servers_own_clock(serve: ServerFactory) -> None:
    server = await serve(stream_grace=0.0)
    owner, stream = await owner_of(server)
    socket = await owner.socket()
    await socket.call("stream:watch", {"streamId": stream["id"]})
    await owner.patch(f"{STREAMS}/{stream['id']}", {"startsAt": "2020-01-01T00:00:00Z"})
    payload, _ = await socket.event("stream:status", 2)
    assert payload["status"] == "expired"
    assert is_error(await owner.post(f"{STREAMS}/{stream['id']}/ready"), 409)
    await socket.close()


@pytest.mark.parametrize("body", [{"liveActivity": {"attributesType": "Attrs", "attributes": {"a": 1}}}])
async def test_what_a_tenant_sets(server: Served, body: Any) -> None:
    admin = await server.people.make(grant=["admin"])
    path = "/api/v1/admin/tenant"
    assert (await admin.get(path)).json["data"]["liveActivity"] is None
    assert (await admin.patch(path, body)).json["data"]["liveActivity"] == body["liveActivity"]
    assert (await admin.patch(path, {})).json["data"]["liveActivity"] == body["liveActivity"]
    assert (await admin.patch(path, {"liveActivity": {"attributesType": "no name"}})).status == 400
    large = {"attributesType": "Attrs", "attributes": {"a": "x" * 1500}}
    assert (await admin.patch(path, {"liveActivity": large})).status == 400
    assert (await admin.patch(path, {"liveActivity": None})).json["data"]["liveActivity"] is None
    nobody = await server.people.make()
    assert is_error(await nobody.get(path), 403) and is_error(await nobody.patch(path, body), 403)


@pytest.mark.parametrize("full", [False, True])
async def test_whom_the_owner_blocks_is_out_at_once(database_url: str, serve: ServerFactory, full: bool) -> None:
    server = await serve(database_url=database_url, **({"max_chat_members": 2} if full else {}))
    owner, stream = await owner_of(server)
    one, chat = f"{STREAMS}/{stream['id']}", stream["chatId"]
    other = await server.people.make()
    if full:
        await other.post(f"{one}/follow")
    ann = await server.people.make()
    socket, elsewhere = await ann.socket(), await ann.socket()
    assert (await socket.call("stream:watch", {"streamId": stream["id"]}))["statusCode"] == 200
    assert (await ann.post(f"{one}/follow")).status == 200
    text = {"type": "text", "chatId": chat, "content": "x"}
    assert (await ann.post("/api/v2/messages", text)).status == (404 if full else 201)
    assert (await owner.post("/api/v1/users/me/blocks", {"userId": ann.id})).status == 201
    assert (await ann.post("/api/v2/messages", text)).status == 404
    assert (await ann.post(f"{one}/follow")).status == 403
    for each in (socket, elsewhere):
        assert (await each.event("chat:removed"))[0] == {"chatId": chat}
    name = f"stream:{stream['id']}"
    sessions = server.services.sessions.of_user[ann.user.pk]
    await eventually(lambda: not [one for each in sessions for one in each.subscriptions.values() if one.name == name])
    assert (await owner.post(f"{one}/cancel")).status == 200
    assert (await ann.get("/api/v1/users/me")).status == 200
    await socket.call("presence:watch", {"userIds": []})
    assert socket.named("stream:status") == []
    assert (await owner.delete(f"/api/v1/users/me/blocks/{ann.id}")).status == 200
    assert (await ann.get(one)).json["data"]["status"] == "cancelled"


async def test_a_block_ends_no_other_streams(server: Served) -> None:
    owner, _ = await owner_of(server)
    other, stream = await owner_of(server)
    ann = await server.people.make()
    socket = await ann.socket()
    await socket.call("stream:watch", {"streamId": stream["id"]})
    await ann.post(f"{STREAMS}/{stream['id']}/follow")
    await owner.post("/api/v1/users/me/blocks", {"userId": ann.id})
    assert (await other.post(f"{STREAMS}/{stream['id']}/cancel")).status == 200
    assert (await socket.event("stream:status"))[0]["status"] == "cancelled"
    assert (await ann.get(f"/api/v2/chats/{stream['chatId']}")).status == 200


async def test_a_stream_is_made_and_changed_with_its_chat_and_a_trail(either: Served) -> None:
    owner = await either.people.make("Owner", grant=["streams.manage"])
    other, ann = await either.people.make(grant=["streams.manage"]), await either.people.make()
    admin = await either.people.make(grant=["admin"])
    assert (await ann.post(STREAMS, {"title": "Match", "startsAt": SOON})).status == 403
    socket = await owner.socket()
    stream = (await owner.post(STREAMS, {"title": "Match", "startsAt": SOON, "id": "a" * 24})).json["data"]
    told = (await socket.event("chat:new"))[0]
    assert (told["_id"], told["at"], told["name"], told["memberCount"]) == (stream["chatId"], 0, "Match", 1)
    assert told["members"][0]["joinedSeq"] == told["members"][0]["readSeq"] == 0
    answers = await asyncio.gather(
        *(owner.post(STREAMS, {"title": "Match", "startsAt": SOON, "id": "b" * 24}) for _ in range(4))
    )
    assert sorted(each.status for each in answers) == [201, 409, 409, 409]
    one = f"{STREAMS}/{stream['id']}"
    assert (await other.patch(one, {"title": "Final"})).status == 200
    assert (await socket.event("chat:updated"))[0]["changes"] == {"name": "Final"}
    assert (await owner.get(f"/api/v2/chats/{stream['chatId']}")).json["name"] == "Final"
    assert (await owner.patch(one, {"title": "Final"})).status == 200
    trail = (await admin.get("/api/v1/admin/audit")).json["data"]["items"]
    made = [(each["action"], each["actorId"], each["target"]) for each in reversed(trail) if "stream" in each["action"]]
    assert made == [
        ("stream.create", owner.id, "a" * 24), ("stream.create", owner.id, "b" * 24),
        ("stream.change", other.id, "a" * 24),
    ]  # fmt: skip
    unnamed = (await owner.post(STREAMS, {"title": "Match", "startsAt": SOON})).json["data"]
    assert (await admin.get("/api/v1/admin/audit?limit=1")).json["data"]["items"][0]["target"] == unnamed["id"]


async def test_the_list_of_streams_by_their_state(server: Served) -> None:
    owner, first = await owner_of(server)
    second = (await owner.post(STREAMS, {"title": "Other", "startsAt": SOON})).json["data"]
    assert (await owner.post(f"{STREAMS}/{first['id']}/cancel")).status == 200
    for status, found in (("scheduled", [second["id"]]), ("cancelled", [first["id"]]), ("ended", [])):
        items = (await owner.get(f"{STREAMS}?status={status}")).json["data"]["items"]
        assert [each["id"] for each in items] == found
    assert [each["id"] for each in (await owner.get(STREAMS)).json["data"]["items"]] == [second["id"], first["id"]]


async def test_watching_and_following_are_two_reasons_to_stay(server: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "STAY_SECONDS", 0)
    _, stream = await owner_of(server)
    ann = await server.people.make()
    one, chat = f"{STREAMS}/{stream['id']}", f"/api/v2/chats/{stream['chatId']}"
    socket = await ann.socket()
    assert (await ann.post(f"{one}/unfollow")).status == 200
    assert (await ann.get(chat)).status == 404
    await ann.post(f"{one}/follow")
    await socket.call("stream:watch", {"streamId": stream["id"]})
    await ann.post(f"{one}/unfollow")
    assert (await ann.get(chat)).status == 200, "one watches it still"
    await ann.post(f"{one}/follow")
    await socket.call("stream:unwatch", {"streamId": stream["id"]})
    assert (await ann.get(chat)).status == 200, "one follows it still"
    await ann.post(f"{one}/unfollow")
    assert (await ann.get(chat)).status == 404


async def test_the_last_owner_of_a_streams_chat_can_be_blocked(either: Served) -> None:
    owner, stream = await owner_of(either)
    ann, bob = await either.people.many(2)
    one, chat = f"{STREAMS}/{stream['id']}", f"/api/v2/chats/{stream['chatId']}"
    for person in (ann, bob):
        assert (await person.post(f"{one}/follow")).status == 200
    assert (await owner.patch(f"{chat}/members/{ann.id}", {"role": "owner"})).status == 200
    assert (await owner.post(f"{chat}/leave")).status == 200
    assert (await owner.post("/api/v1/users/me/blocks", {"userId": ann.id})).status == 201
    assert (await ann.get(chat)).status == 404
    members = (await bob.get(f"{chat}/members")).json["items"]
    assert [(each["userId"], each["role"]) for each in members] == [(bob.id, "owner")]
    assert (await owner.post("/api/v1/users/me/blocks", {"userId": bob.id})).status == 201
    assert (await bob.get(chat)).status == 404, "also where nobody is left"


@pytest.mark.parametrize("way", ["removed", "left", "resumed"])
async def test_a_block_ends_subscriptions_of_who_is_not_in_the_chat(either: Served, way: str) -> None:
    owner, stream = await owner_of(either)
    ann, bob = await either.people.many(2)
    path, chat = f"{STREAMS}/{stream['id']}", f"/api/v2/chats/{stream['chatId']}"
    offsets = {f"stream:{stream['id']}": 0} if way == "resumed" else {}
    socket = await ann.socket(offsets=offsets, epoch=either.services.database.epoch)
    other = await bob.socket()
    await other.call("stream:watch", {"streamId": stream["id"]})
    if way != "resumed":
        await socket.call("stream:watch", {"streamId": stream["id"]})
        await (owner.delete(f"{chat}/members/{ann.id}") if way == "removed" else ann.post(f"{chat}/leave"))
    assert (await owner.post("/api/v1/users/me/blocks", {"userId": ann.id})).status == 201
    await socket.event("chat:removed", 1 if way == "resumed" else 2)
    session = next(iter(either.services.sessions.of_user[ann.user.pk]))
    await eventually(lambda: not any(each.name.startswith("stream:") for each in session.subscriptions.values()))
    await owner.patch(path, {"title": "another"})
    await other.event("stream:status")
    assert (await socket.call("app:state", {"active": True}))["isSuccess"], "the connection stays"
    assert not socket.named("stream:status")


async def test_a_block_from_before_acts_when_it_is_said_again(server: Served) -> None:
    owner, stream = await owner_of(server)
    ann = await server.people.make()
    assert (await ann.post(f"{STREAMS}/{stream['id']}/follow")).status == 200
    block = Command(lambda tx: blocks.add(tx, owner.user.pk, ann.user.pk))
    await server.services.database.write(block)
    assert (await ann.get(f"/api/v2/chats/{stream['chatId']}")).status == 200
    assert (await owner.post("/api/v1/users/me/blocks", {"userId": ann.id})).status == 200
    assert (await ann.get(f"/api/v2/chats/{stream['chatId']}")).status == 404


@pytest.mark.parametrize("way", ["follow", "watch"])
async def test_a_change_of_mind_within_a_minute_is_not_announced(
    either: Served, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    monkeypatch.setattr(streams, "STAY_SECONDS", NEVER)
    owner, stream = await owner_of(either)
    ann, reader = await either.people.make(), await owner.socket()
    path, chat = f"{STREAMS}/{stream['id']}", f"/api/v2/chats/{stream['chatId']}"
    socket, database = await ann.socket(), either.services.database

    async def change(verb: str) -> None:
        if way == "follow":
            assert (await ann.post(f"{path}/{verb}follow")).status == 200
        else:
            assert (await socket.call(f"stream:{verb}watch", {"streamId": stream["id"]}))["isSuccess"]

    async def come_due() -> None:
        """As if the minute were over, for whoever is to leave."""
        due = update(members).where(members.c.leaves_at.is_not(None)).values(leaves_at=1)
        await database.write(Command(lambda tx: tx.execute(due)))
        await either.services.streams.finish_leaving()

    for _ in range(3):
        await change("")
        await change("un")
        await change("")
    await come_due()
    assert (await ann.get(chat)).status == 200, "who came back stays"
    await change("un")
    assert (await ann.get(chat)).status == 200
    await come_due()
    assert (await ann.get(chat)).status == 404
    await socket.event("chat:removed")
    await owner.send(stream["chatId"], "the end")
    await reader.event("message:new")
    told = [(each["added"], each["removed"]) for each, _ in reader.named("chat:updated")]
    assert told == [([ann.id], []), ([], [ann.id])]


async def test_who_is_given_a_role_or_added_before_they_leave_stays(server: Served) -> None:
    owner, stream = await owner_of(server)
    ann, bob = await server.people.many(2)
    path, chat = f"{STREAMS}/{stream['id']}", f"/api/v2/chats/{stream['chatId']}"
    for person in (ann, bob):
        await person.post(f"{path}/follow")
        await person.post(f"{path}/unfollow")
    assert (await owner.patch(f"{chat}/members/{ann.id}", {"role": "admin"})).status == 200
    assert (await owner.post(f"{chat}/members", {"userIds": [bob.id]})).status == 200
    due = update(members).where(members.c.leaves_at.is_not(None)).values(leaves_at=1)
    await server.services.database.write(Command(lambda tx: tx.execute(due)))
    await server.services.streams.finish_leaving()
    for person in (ann, bob):
        assert (await person.get(chat)).status == 200
    left = select(members.c.user_pk).where(members.c.leaves_at.is_not(None))
    assert await server.services.database.read(lambda it: it.execute(left).all()) == []
