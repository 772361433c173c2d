"""Open streams: anybody watches without being a member, from a seq on; what ends it; who may post."""

import asyncio
from typing import Any

import pytest
from sqlalchemy import func, select

from storage.errors import Unavailable
from storage.models import events, members
from tests.conftest import Served, ServerFactory, eventually
from tests.support.people import Person, transport_of

STREAMS, CHATS, MESSAGES = "/api/v1/streams", "/api/v2/chats", "/api/v2/messages"


async def open_stream(server: Served) -> tuple[Person, dict[str, Any]]:
    owner = await server.people.make("owner", grant=["streams.manage"])
    body = {"title": "Live", "startsAt": "2999-01-01T00:00:00Z", "audience": "open"}
    answer = await owner.post(STREAMS, body)
    assert answer.status == 201, answer
    return owner, answer.json["data"]


async def stored(server: Served) -> tuple[int, int]:
    """How many events and members there are."""

    def look(connection: Any) -> tuple[int, int]:
        counts = [connection.execute(select(func.count()).select_from(each)).scalar_one() for each in (events, members)]
        return counts[0], counts[1]

    return await server.services.database.read(look)


async def test_watching_writes_nothing_and_reads_all_that_comes(either: Served) -> None:
    owner, stream = await open_stream(either)
    assert stream["audience"] == "open" and (stream["viewers"], stream["peak"]) == (0, 0)
    chat_id = stream["chatId"]
    await owner.send(chat_id, "from before")
    ann, bob = await either.people.many(2)
    socket, other = await ann.socket(), await bob.socket()
    before = await stored(either)
    ack = await socket.call("stream:watch", {"streamId": stream["id"]})
    assert ack["statusCode"] == 200
    watched = ack["data"]
    assert (watched["chatId"], watched["head"], watched["viewers"]) == (chat_id, 1, 1)
    assert watched["stream"]["peak"] == 1 and watched["stream"]["id"] == stream["id"]
    await other.call("stream:watch", {"streamId": stream["id"]})
    assert await stored(either) == before
    sent = await ann.send(chat_id, "from a viewer")
    for reader in (socket, other):
        document, place = await reader.event("message:new")
        assert document == sent and place == {"channel": f"chat:{chat_id}", "seq": 2}
    history = (await bob.get(f"{MESSAGES}?chatId={chat_id}")).json["items"]
    assert [each["content"] for each in history] == ["from before", "from a viewer"]
    shown = (await bob.get(f"{CHATS}/{chat_id}")).json
    assert (shown["type"], shown["memberCount"], shown["unreadCount"]) == ("room", 1, 0)
    assert shown["lastMessage"]["content"] == "from a viewer"
    assert (await bob.get(CHATS)).json["items"] == []
    edited = await ann.patch(f"{MESSAGES}/{sent['_id']}", {"content": "better"})
    assert edited.status == 200
    assert (await bob.delete(f"{MESSAGES}/{sent['_id']}")).status == 403
    assert (await ann.delete(f"{MESSAGES}/{sent['_id']}")).status == 200
    for call in (bob.post(f"{MESSAGES}/{sent['_id']}/read"), bob.post(f"{CHATS}/{chat_id}/mute", {})):
        assert (await call).status == 403
    assert (await bob.post(f"{CHATS}/{chat_id}/leave")).status == 404
    assert (await socket.call("stream:unwatch", {"streamId": stream["id"]}))["data"]["viewers"] == 1
    await owner.send(chat_id, "after")
    await other.event("message:new", 2)
    assert len(socket.named("message:new")) == 1
    await asyncio.gather(socket.close(), other.close())


async def test_a_room_that_is_named_is_resumed_and_counts_as_watched(either: Served) -> None:
    owner, stream = await open_stream(either)
    ann = await either.people.make()
    chat, channel = f"chat:{stream['chatId']}", f"stream:{stream['id']}"
    for number in range(3):
        await owner.send(stream["chatId"], str(number))
    epoch = either.services.database.epoch
    unnamed = await ann.socket()
    assert chat not in unnamed.named("session:ready")[0][0]["heads"]
    named = await ann.socket(offsets={chat: 1, f"chat:{'f' * 24}": 0}, epoch=epoch)
    ready = named.named("session:ready")[0][0]
    assert ready["recovered"] == {chat: True, f"chat:{'f' * 24}": False}
    assert ready["heads"][chat] == 3 and channel in ready["heads"]
    assert named.seqs(chat) == [2, 3]
    assert (await ann.get(f"{STREAMS}/{stream['id']}")).json["data"]["viewers"] == 1
    assert (await named.call("stream:react", {"streamId": stream["id"], "key": "❤️"}))["statusCode"] == 200
    assert (await unnamed.call("stream:react", {"streamId": stream["id"], "key": ":x:"}))["statusCode"] == 409
    assert (await named.call("stream:react", {"streamId": stream["id"], "key": "a b"}))["statusCode"] == 400
    assert (await named.event("stream:reactions"))[0] == {"streamId": stream["id"], "counts": {"❤️": 1}}
    await named.close()
    await eventually(lambda: not either.services.viewers.watched)
    assert (await ann.get(f"{STREAMS}/{stream['id']}")).json["data"]["viewers"] == 0
    await unnamed.close()


@pytest.mark.parametrize("way", ["ban", "remove", "block"])
async def test_who_is_put_out_gets_nothing_after_and_does_not_come_back(either: Served, way: str) -> None:
    owner, stream = await open_stream(either)
    ann, bob = await either.people.many(2)
    chat_id, one = stream["chatId"], {"streamId": stream["id"]}
    if way == "remove":
        await ann.post(f"{STREAMS}/{stream['id']}/follow")
    socket, other = await ann.socket(), await bob.socket()
    for each in (socket, other):
        assert (await each.call("stream:watch", one))["statusCode"] == 200
    member = f"{CHATS}/{chat_id}/members/{ann.id}"
    match way:
        case "ban":
            answer = await owner.post(f"{member}/ban", {"reason": "spam"})
            assert answer.status == 200 and answer.json["until"] is None and answer.json["reason"] == "spam"
            assert [each["userId"] for each in (await owner.get(f"{CHATS}/{chat_id}/bans")).json["items"]] == [ann.id]
        case "remove":
            assert (await owner.delete(member)).status == 200
        case "block":
            assert (await owner.post("/api/v1/users/me/blocks", {"userId": ann.id})).status == 201
    await owner.send(chat_id, "without ann")
    await other.event("message:new")
    assert (await socket.event("chat:updated"))[0]["removed"] == [ann.id]
    assert socket.named("message:new") == []
    refused = 404 if way == "block" else 403
    for answer in (
        await ann.get(f"{CHATS}/{chat_id}"),
        await ann.get(f"{MESSAGES}?chatId={chat_id}"),
        await ann.post(MESSAGES, {"type": "text", "chatId": chat_id, "content": "still here"}),
    ):
        assert answer.status == refused, answer
        if refused == 403:
            assert [(each["code"], each["until"]) for each in answer.json["details"]] == [("banned", None)]
    assert (await socket.call("stream:watch", one))["statusCode"] == 403
    again = await ann.socket(offsets={f"chat:{chat_id}": 0}, epoch=either.services.database.epoch)
    assert again.named("session:ready")[0][0]["recovered"] == {f"chat:{chat_id}": False}
    assert either.services.viewers.watched[next(iter(either.services.viewers.watched))].users.keys() == {bob.user.pk}
    if way != "block":
        assert (await owner.delete(f"{member}/ban")).status == 200
        assert (await owner.delete(f"{member}/ban")).status == 200, "and so it is the second time"
        assert (await again.call("stream:watch", one))["statusCode"] == 200
    await asyncio.gather(socket.close(), other.close(), again.close())


async def test_who_is_silenced_reads_and_does_not_post(either: Served) -> None:
    owner, stream = await open_stream(either)
    ann = await either.people.make()
    chat_id = stream["chatId"]
    socket = await ann.socket()
    await socket.call("stream:watch", {"streamId": stream["id"]})
    sent = await ann.send(chat_id, "mine")
    member = f"{CHATS}/{chat_id}/members/{ann.id}"
    until = "2999-01-01T00:00:00.000Z"
    assert (await owner.post(f"{member}/silence", {"until": until})).json["until"] == until
    assert (await socket.event("member:silenced"))[0] == {"chatId": chat_id, "until": until}
    for answer in (
        await ann.post(MESSAGES, {"type": "text", "chatId": chat_id, "content": "still here"}),
        await ann.patch(f"{MESSAGES}/{sent['_id']}", {"content": "still here"}),
    ):
        assert answer.status == 403
        assert [(each["code"], each["until"]) for each in answer.json["details"]] == [("silenced", until)]
    assert (await socket.call("typing", {"chatId": chat_id}))["statusCode"] == 403
    assert (await ann.get(f"{MESSAGES}?chatId={chat_id}")).status == 200
    assert (await owner.delete(f"{member}/silence")).status == 200
    await ann.send(chat_id, "again")
    assert (await owner.patch(member, {"role": "readonly"})).status == 404
    await socket.close()


async def test_a_watch_that_failed_begins_again(server: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    owner, stream = await open_stream(server)
    ann = await server.people.make()
    socket, hub = await ann.socket(), server.services.hub
    start = hub.start

    async def failing(replays: Any) -> None:
        raise Unavailable

    monkeypatch.setattr(hub, "start", failing)
    assert (await socket.call("stream:watch", {"streamId": stream["id"]}))["statusCode"] == 503
    assert not server.services.viewers.watched
    monkeypatch.setattr(hub, "start", start)
    assert (await socket.call("stream:watch", {"streamId": stream["id"]}))["statusCode"] == 200
    await owner.send(stream["chatId"], "heard")
    assert (await socket.event("message:new"))[0]["content"] == "heard"
    await socket.close()


async def test_a_member_of_a_room_without_a_stream_who_is_blocked(either: Served) -> None:
    owner = await either.people.make("owner", grant=["streams.manage"])
    ann, bob = await either.people.many(2)
    room = (await owner.post(CHATS, {"type": "room", "name": "Room", "memberIds": [ann.id]})).json
    assert (room["type"], room["role"], room["memberCount"]) == ("room", "owner", 2)
    assert (await bob.get(f"{CHATS}/{room['_id']}")).json["role"] == "viewer"
    epoch = either.services.database.epoch
    socket = await bob.socket(offsets={f"chat:{room['_id']}": 0}, epoch=epoch)
    assert (await owner.post("/api/v1/users/me/blocks", {"userId": ann.id})).status == 201
    assert (await socket.event("chat:updated"))[0]["removed"] == [ann.id]
    assert (await ann.get(f"{CHATS}/{room['_id']}")).status == 404
    assert (await bob.get(f"{CHATS}/{room['_id']}")).json["memberCount"] == 1
    await owner.send(room["_id"], "without ann")
    assert (await socket.event("message:new"))[1]["seq"] == 2, "one event tells of it"
    await socket.close()


async def test_who_reads_too_slowly_in_a_room_is_disconnected_and_resumes(serve: ServerFactory) -> None:
    server = await serve(max_outbound=256 * 1024)
    owner, stream = await open_stream(server)
    ann, bob = await server.people.many(2)
    chat_id, engine = stream["chatId"], server.services.socketio.eio
    slow, other = await ann.socket(), await bob.socket()
    for each in (slow, other):
        assert (await each.call("stream:watch", {"streamId": stream["id"]}))["isSuccess"]
    transport_of(slow).pause_reading()
    count = 0
    while not engine.slow_closed and count < 2000:
        count += 1
        await owner.send(chat_id, "x" * 16_000)
    assert engine.slow_closed == 1
    await other.until(lambda: other.seqs(f"chat:{chat_id}") == list(range(1, count + 1)))
    watched = server.services.viewers.watched
    await eventually(lambda: [each.users.keys() for each in watched.values()] == [{bob.user.pk}])
    transport_of(slow).resume_reading()
    await slow.gone()
    had = slow.seqs(f"chat:{chat_id}")
    back = await ann.socket(offsets={f"chat:{chat_id}": len(had)}, epoch=server.services.database.epoch)
    await back.until(lambda: had + back.seqs(f"chat:{chat_id}") == list(range(1, count + 1)))
    await asyncio.gather(back.close(), other.close())
