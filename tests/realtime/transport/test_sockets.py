"""The socket: connecting, expiring, typing, presence, closing; and the stock libraries' faults, which must not be ours."""

import asyncio
import gc
import io
import logging
import math
import socket as sockets
import time
import weakref
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest

from realtime.transport import frames
from storage.errors import Unauthenticated
from storage.types import SECOND, now
from tests.conftest import Served, ServerFactory, eventually
from tests.support.guard import HANG_SECONDS
from tests.support.people import Api, Person, RawSocket, transport_of
from tests.support.process import ServerProcess


async def raw(server: Served, **options: Any) -> RawSocket:
    return await RawSocket.open(server.people.session, server.url, **options)


# Connecting


async def test_auth_of_texts_alone_resumes_as_well(server: Served) -> None:
    """The official Java client's."""
    ann, bob = await server.people.many(2)
    chat_id = await ann.group(bob)
    await ann.send(chat_id)
    seq = (await ann.send(chat_id, "missed"))["seq"]
    offsets = orjson.dumps({f"chat:{chat_id}": seq - 1}).decode()
    socket = await bob.socket(v="1", offsets=offsets, epoch=server.services.database.epoch)
    assert (await socket.event("message:new"))[0]["content"] == "missed"
    assert (await socket.event("session:ready"))[0]["recovered"] == {f"chat:{chat_id}": True}


async def test_what_connect_refuses(server: Served) -> None:
    ann = await server.people.make()
    expired = await server.people.make(ttl=-60)
    refused: list[tuple[Any, str]] = [
        (None, "authentication required"),
        ({"v": 1}, "authentication required"),
        ({"token": "", "v": 1}, "authentication required"),
        ({"token": "x", "v": 1}, "authentication required"),
        ({"token": expired.token, "v": 1}, "token expired"),
        ({"token": ann.token}, "unsupported version"),
        ({"token": ann.token, "v": 2}, "unsupported version"),
        ({"token": ann.token, "v": True}, "unsupported version"),
        ({"token": 5, "v": 1}, "malformed auth"),
        (ann.auth(deviceId="a\0b"), "malformed auth"),
        ([1], "malformed auth"),
        ("x", "malformed auth"),
        (ann.auth(offsets=[]), "malformed auth"),
        (ann.auth(offsets="{"), "malformed auth"),
        (ann.auth(offsets="[]"), "malformed auth"),
        (ann.auth(offsets='{"chat:x": -1}'), "malformed auth"),
        ({"token": ann.token, "v": "2"}, "unsupported version"),
        (ann.auth(offsets={"chat:x": -1}), "malformed auth"),
        (ann.auth(offsets={"chat:x": "1"}), "malformed auth"),
        (ann.auth(offsets={f"chat:{n}": 1 for n in range(5001)}), "malformed auth"),
        (ann.auth(epoch=5), "malformed auth"),
        (ann.auth(deviceId="x" * 256), "malformed auth"),
    ]
    for auth, message in refused:
        connection = await raw(server)
        assert await connection.connect(auth) == message, auth
        await connection.close()
    connection = await raw(server)
    await connection.until(lambda: connection.packets)
    await connection.send("40/chat,{")
    await connection.until(lambda: [each for each in connection.packets if "malformed auth" in each])
    await connection.close()
    assert server.services.sessions.count == 0


async def test_origins(serve: ServerFactory) -> None:
    server = await serve(cors_origins="https://app.example.org")
    ann = await server.people.make()
    host = server.url.split("//")[1]
    for origin, allowed in {
        f"http://{host}": True,
        "https://app.example.org": True,
        "https://app.example.org.evil.example": False,
        "null": False,
    }.items():
        connection = await raw(server, headers={"Origin": origin})
        answer = await connection.connect(ann.auth())
        assert ("sid" in answer) if allowed else (answer == "forbidden origin"), origin
        await connection.close()
        preflight = await server.people.anonymous.get("/socket.io/?EIO=4&transport=polling", headers={"Origin": origin})
        assert (preflight.headers.get("Access-Control-Allow-Origin") == origin) == allowed


async def test_a_user_may_have_so_many_sockets(serve: ServerFactory) -> None:
    server = await serve(max_sockets_per_user=2)
    ann = await server.people.make()
    first, second = await ann.socket(), await ann.socket()
    third = await raw(server)
    with pytest.raises(ConnectionError):
        await third.connect(ann.auth())
    assert third.ws.close_code == 1013
    await first.close()
    await eventually(lambda: server.services.sessions.count == 1)
    again = await ann.socket()
    for each in (second, again):
        await each.close()


async def test_connect_twice_and_elsewhere(server: Served) -> None:
    ann = await server.people.make()
    socket = await ann.socket()
    await socket.send("40/chat," + orjson.dumps(ann.auth()).decode())
    await socket.until(lambda: [each for each in socket.packets if each.startswith("44/chat,")])
    await socket.send("40")
    await socket.send("40/other,")
    await socket.until(lambda: [each for each in socket.packets if each.startswith("44/other,")])
    assert (await socket.call("app:state", {"active": True}))["isSuccess"]
    await socket.close()


async def test_the_session_tells_its_limits(server: Served) -> None:
    ann = await server.people.make()
    socket = await ann.socket()
    ready = (await socket.event("session:ready"))[0]
    assert {*ready} == {"userId", "v", "epoch", "serverTime", "limits", "recovered", "heads", "expiresAt"}
    assert ready["limits"]["content"] == 16384 and ready["limits"]["pollingPackets"] == 1000
    await socket.close()


# Living and ending


async def test_a_session_ends_with_its_token_unless_refreshed(server: Served) -> None:
    ann, other = await server.people.many(2)
    socket = await ann.socket()
    (session,) = server.services.sessions.all()
    refreshed = await ann.socket()
    longer, _ = server.services.tokens.issue(ann.user, ttl=3600)
    ack = await refreshed.call("session:refresh", {"token": longer})
    assert ack["isSuccess"] and ack["data"]["expiresAt"] > time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime())
    assert (await refreshed.call("session:refresh", {"token": other.token}))["statusCode"] == 401
    # The warning comes a minute before the end; as if that were now.
    (longest,) = (each for each in server.services.sessions.all() if each is not session)
    assert longest.due == -(-longest.caller.expires_at // SECOND) - 60
    expiries = server.services.sessions.expiries
    expiries.discard(longest.due, longest)
    longest.due = expiries.add(0, longest)
    assert (await refreshed.event("session:expiring"))[0] == {"expiresAt": ack["data"]["expiresAt"]}
    session.caller = replace(session.caller, expires_at=now())
    server.services.sessions.time(session)
    assert (await socket.event("session:closed"))[0] == {"reason": "expired"}
    await socket.gone()
    assert socket.packets[-1] == "41/chat,"
    assert not refreshed.closed
    await refreshed.close()


async def test_typing(server: Served) -> None:
    ann, bob, cid = await server.people.many(3)
    chat_id = await ann.group(bob, cid)
    await ann.patch(f"/api/v2/chats/{chat_id}/members/{cid.id}", {"role": "readonly"})
    a, a2, b, c = await ann.socket(), await ann.socket(), await bob.socket(), await cid.socket()
    assert (await a.call("typing", {"chatId": chat_id}))["isSuccess"]
    assert await b.event("typing") == [{"chatId": chat_id, "userId": ann.id}]
    assert await c.event("typing") == [{"chatId": chat_id, "userId": ann.id}]
    assert (await c.call("typing", {"chatId": chat_id}))["statusCode"] == 403
    assert a2.named("typing") == []
    for each in (a, a2, b, c):
        await each.close()


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
        lambda: not either.services.presence.writing and not either.services.sessions.of_user.get(bob.user.pk)
    )
    b = await bob.socket()
    assert len(a.named("presence")) == 1, "neither coming nor going is told"
    assert (await bob.patch(me, {"presence": "somebody"})).status == 400
    for presence in ("contacts", None):
        assert (await bob.patch(me, {"presence": "nobody"})).status == 200
        assert "presence" not in (await bob.patch(me, {"presence": presence})).json["data"]
        assert await shown(a, bob)
    assert a.named("presence")[-1][0]["online"] is True


async def test_a_drain_closes_without_disconnect(tmp_path: Path) -> None:
    """2.16: the stock server left sockets open, and was still there seconds after SIGTERM."""
    async with ServerProcess(tmp_path / "data") as process, aiohttp.ClientSession() as session:
        ann = await process.user(session, "ann@example.org")
        socket = await ann.socket()
        polling = await Polling(Api(session, process.url)).open()
        await polling.connect(ann.auth())
        assert await process.stop() == 0
        await socket.gone()
        assert socket.ws.close_code == 1012
        assert "41/chat," not in socket.packets + polling.packets
        assert "Traceback" not in process.log.read_text()


async def test_joining_and_leaving_while_connected(either: Served) -> None:
    ann, bob = await either.people.many(2)
    chat_id = await ann.group()
    await ann.send(chat_id, "before")
    socket = await bob.socket()
    path = f"/api/v2/chats/{chat_id}/members"
    for round in range(1, 6):
        await ann.post(path, {"userIds": [bob.id]})
        await ann.send(chat_id, f"inside {round}")
        await socket.event("message:new", round)
        await ann.delete(f"{path}/{bob.id}")
        await ann.send(chat_id, f"outside {round}")
    await socket.event("chat:removed", 5)
    hub = either.services.hub
    await eventually(lambda: f"chat:{chat_id}" not in {each.name for each in hub.channels.values()})
    contents = [arguments[0]["content"] for arguments in socket.named("message:new")]
    assert contents == [f"inside {round}" for round in range(1, 6)]
    assert len(socket.named("chat:new")) == len(socket.named("chat:removed")) == 5
    for payload, place in socket.named("chat:new"):
        assert payload["lastMessage"] is None and place["channel"] == f"user:{bob.id}"
    assert (await socket.call("typing", {"chatId": chat_id}))["statusCode"] == 404
    again = await bob.socket(offsets={f"chat:{chat_id}": 3}, epoch=either.services.database.epoch)
    ready = (await again.event("session:ready"))[0]
    assert ready["recovered"] == {f"chat:{chat_id}": False} and f"chat:{chat_id}" not in ready["heads"]
    await socket.close()
    await again.close()


async def test_what_can_not_be_replayed_is_said(serve: ServerFactory) -> None:
    server = await serve(max_replay_events=10, max_replay_bytes=20_000)
    ann, bob = await server.people.many(2)
    many, large, joined, fine = [await ann.group(bob) for _ in range(4)]
    for number in range(11):
        await ann.send(many, str(number))
    for _ in range(3):
        await ann.send(large, "x" * 8000)
    await ann.delete(f"/api/v2/chats/{joined}/members/{bob.id}")
    await ann.post(f"/api/v2/chats/{joined}/members", {"userIds": [bob.id]})
    await ann.send(fine, "x")
    ids = {name: f"chat:{id}" for name, id in (("many", many), ("large", large), ("joined", joined), ("fine", fine))}
    epoch = server.services.database.epoch
    socket = await bob.socket(offsets={**dict.fromkeys(ids.values(), 0), f"user:{bob.id}": 999}, epoch=epoch)
    ready = (await socket.event("session:ready"))[0]
    assert ready["recovered"] == {
        ids["many"]: False, ids["large"]: False, ids["joined"]: False, ids["fine"]: True, f"user:{bob.id}": False,
    }  # fmt: skip
    assert [arguments[1]["channel"] for arguments in socket.named("message:new")] == [ids["fine"]]
    assert {*ready["heads"]} == {*ids.values(), f"user:{bob.id}"}
    await socket.close()


async def test_much_that_is_short_is_replayed_whole(either: Served) -> None:
    """The bytes of a resume are what its events have, not what they could have."""
    ann, bob = await either.people.many(2)
    chats = [await ann.group(bob) for _ in range(4)]
    for chat in chats:
        await asyncio.gather(*(ann.send(chat, str(number)) for number in range(50)))
    offsets = {f"chat:{chat}": 0 for chat in chats}
    socket = await bob.socket(offsets=offsets, epoch=either.services.database.epoch)
    ready = (await socket.event("session:ready"))[0]
    assert ready["recovered"] == dict.fromkeys(offsets, True) and len(socket.named("message:new")) == 200
    await socket.close()


# Faults of the stock libraries


async def test_no_handler_of_ours_runs_by_a_clients_word(server: Served) -> None:
    """reliability.md 2.1: inbound names were looked up among the server's own handlers."""
    ann = await server.people.make()
    socket = await ann.socket()
    await socket.send('42/chat,["disconnect"]')
    await socket.send('42/chat,["connect",{},{}]')
    assert (await socket.call("app:state", {"active": False}))["isSuccess"]
    assert server.services.sessions.count == 1
    await socket.send('42["connect",{},{}]')
    await socket.gone()
    await eventually(lambda: server.services.sessions.count == 0)


async def test_events_of_one_client_keep_their_order(server: Served) -> None:
    """2.2: each event ran in a task of its own."""
    ann = await server.people.make()
    chat_id = await ann.group()
    socket = await ann.socket()
    for number in range(300):
        body = {"type": "text", "chatId": chat_id, "content": str(number)}
        await socket.send(f"42/chat,{number}" + orjson.dumps(["message:send", body]).decode())
    await socket.until(lambda: len(socket.acks) == 300)
    assert [socket.acks[number]["data"]["seq"] for number in range(300)] == list(range(1, 301))
    assert list(socket.acks) == list(range(300))
    await socket.close()


async def test_a_reader_that_does_not_read_is_cut_off(serve: ServerFactory) -> None:
    """2.6: the queue of a socket had no bound."""
    server = await serve(max_outbound=256 * 1024)
    ann, bob, cid = await server.people.many(3)
    chat_id = await ann.group(bob, cid)
    good = await bob.socket()
    slow = await cid.socket()
    transport = transport_of(slow)
    transport.pause_reading()
    transport.get_extra_info("socket").setsockopt(sockets.SOL_SOCKET, sockets.SO_RCVBUF, 4096)
    count = 0
    while not server.services.socketio.eio.slow_closed and count < 2000:
        await ann.send(chat_id, "x" * 16_000)
        count += 1
    assert server.services.socketio.eio.slow_closed == 1
    await eventually(lambda: server.services.sessions.count == 1)
    assert len(server.services.socketio.eio.sockets) == 1
    await good.event("message:new", count, 10)
    again = await cid.socket(offsets={f"chat:{chat_id}": count - 1}, epoch=server.services.database.epoch)
    assert again.named("message:new")[0][1]["seq"] == count
    for each in (good, again):
        await each.close()
    await slow.ws.close()


async def test_a_connection_that_never_connects_is_closed(serve: ServerFactory) -> None:
    """2.7: an unauthenticated peer that only answered pings stayed for ever."""
    server = await serve()
    ann = await server.people.make()
    engine = server.services.socketio.eio
    good, refused = await ann.socket(), await raw(server)
    await refused.connect({"v": 1})
    engine.limits = replace(engine.limits, unconnected=0.05)
    silent = await raw(server)
    await silent.gone()
    waiting = [each for each in engine.sockets.values() if each.connect_deadline]
    assert len(waiting) == 1, "the one that was refused has its time still, and who connected needs none"
    waiting[0].start_connect_deadline()
    await refused.gone()
    assert not good.closed
    assert len(server.services.socketio.eio.sockets) == 1
    await good.close()


async def test_binary_is_refused_and_not_kept(server: Served) -> None:
    """2.8: half-sent attachments were held until the connection ended."""
    ann = await server.people.make()
    socket = await ann.socket()
    await socket.send('451-/chat,7["message:send",{"_placeholder":true,"num":0}]')
    ack = await socket.until(lambda: socket.acks.get(7))
    assert ack["statusCode"] == 400
    await socket.ws.send_bytes(b"x" * 100_000)
    await socket.send('459999999999-/chat,8["a",{"_placeholder":true,"num":-1}]')
    assert (await socket.until(lambda: socket.acks.get(8)))["statusCode"] == 400
    assert (await socket.call("app:state", {"active": True}))["isSuccess"]
    await socket.close()


@pytest.mark.parametrize("frame", ["x", "", "9", "4", "4x", "4[[[[", "42/chat," + "9" * 100 + '["a"]', "\0"])
async def test_frames_that_are_none_close_the_connection(server: Served, frame: str) -> None:
    """2.9: they raised out of the read loop and left the session behind."""
    ann = await server.people.make()
    socket = await ann.socket()
    await socket.send(frame)
    await socket.gone()
    await eventually(lambda: not server.services.socketio.eio.sockets)
    assert server.services.sessions.count == 0


async def test_no_compression_is_negotiated(server: Served) -> None:
    """2.10: permessage-deflate was on, at the cost of memory and of a bomb's amplification."""
    headers = {"Sec-WebSocket-Extensions": "permessage-deflate; client_max_window_bits"}
    connection = await raw(server, headers=headers)
    assert "Sec-WebSocket-Extensions" not in connection.ws._response.headers
    await connection.close()


async def test_tokens_stay_out_of_the_log(serve: ServerFactory, caplog: pytest.LogCaptureFixture) -> None:
    """2.12: the packet log showed the token of CONNECT."""
    server = await serve(log_level="DEBUG")
    with caplog.at_level(logging.DEBUG):
        ann = await server.people.make()
        chat_id = await ann.group()
        socket = await ann.socket()
        await socket.call("message:send", {"type": "text", "chatId": chat_id, "content": "canary words"})
        await ann.post("/api/v1/auth/login", {"email": "a@b.c", "password": "canary password"})
        await socket.close()
        client = await ann.client(["polling"])
        await client.close()
    ours = ("bellwire", "aiohttp", "engineio.server", "socketio.server")
    logged = "\n".join(record.getMessage() for record in caplog.records if record.name.startswith(ours))
    assert ann.token and ann.token not in logged and "canary" not in logged


async def test_a_packet_over_the_limit(server: Served) -> None:
    ann = await server.people.make()
    socket = await ann.socket()
    await socket.send("42/chat,1" + orjson.dumps(["message:send", {"content": "x" * 300_000}]).decode())
    await socket.gone()
    assert socket.ws.close_code == 1009


# Pings and polling


async def test_pings(serve: ServerFactory) -> None:
    server = await serve(ping_interval=0.2)
    ann = await server.people.make()
    dead = await ann.socket()
    (session,) = server.services.sessions.all()
    dead.pongs = False
    alive = await ann.socket()
    await alive.until(lambda: alive.packets.count("2") >= 2)
    await eventually(lambda: session.socket.pinged_at < math.inf)
    # As if that had been long ago.
    session.socket.pinged_at = -math.inf
    await dead.gone()
    await alive.until(lambda: alive.packets.count("2") >= 4)
    assert server.services.sessions.count == 1
    await alive.close()


async def polled(server: Served) -> None:
    """Until somebody's poll waits for what comes."""
    await eventually(
        lambda: any(each.polling and each.polling.waiter for each in server.services.socketio.eio.sockets.values())
    )


class Polling:
    """Engine.IO polling by hand."""

    def __init__(self, api: Api) -> None:
        self.api = api
        self.base = "/socket.io/?EIO=4&transport=polling"
        self.packets: list[str] = []

    async def open(self) -> "Polling":
        answer = await self.api.get(self.base)
        assert answer.status == 200
        self.base += f"&sid={orjson.loads(answer.body[1:])['sid']}"
        return self

    async def poll(self) -> list[str]:
        answer = await self.api.get(self.base)
        assert answer.status == 200, answer
        found = answer.body.decode().split("\x1e")
        self.packets += found
        return found

    async def post(self, *packets: str) -> int:
        return (await self.api.post(self.base, data="\x1e".join(packets).encode())).status

    async def connect(self, auth: Any) -> None:
        assert await self.post("40/chat," + orjson.dumps(auth).decode()) == 200
        while not any("session:ready" in each for each in self.packets):
            await self.poll()


async def test_a_polling_payload_is_handled_whole(server: Served) -> None:
    """Stock: more than 16 packets vanished with 200 ok."""
    ann = await server.people.make()
    chat_id = await ann.group()
    polling = await Polling(server.people.anonymous).open()
    await polling.connect(ann.auth())

    def sends(count: int) -> list[str]:
        body = {"type": "text", "chatId": chat_id, "content": "x"}
        return [f"42/chat,{id}" + orjson.dumps(["message:send", body]).decode() for id in range(count)]

    posting = asyncio.create_task(polling.post(*sends(200)))
    while len([each for each in polling.packets if each.startswith("43/chat,")]) < 200:
        await polling.poll()
    assert await posting == 200
    assert [int(each[8:].split("[")[0]) for each in polling.packets if each.startswith("43")] == list(range(200))
    assert await polling.post(*sends(1001)) == 400
    assert (await polling.api.get(polling.base)).status == 400
    await eventually(lambda: server.services.sessions.count == 0)
    history = (await ann.get(f"/api/v2/messages?chatId={chat_id}")).json
    assert history["items"][-1]["seq"] == 200


async def test_a_polling_body_in_pieces(server: Served) -> None:
    """Stock: a body that came in two TCP pieces was cut off, with 200 ok."""
    ann = await server.people.make()
    chat_id = await ann.group()
    polling = await Polling(server.people.anonymous).open()
    await polling.connect(ann.auth())
    body = {"type": "text", "chatId": chat_id, "content": "x" * 16_000}
    packets = [f"42/chat,{id}" + orjson.dumps(["message:send", body]).decode() for id in range(10)]
    payload = "\x1e".join(packets).encode()

    async def pieces() -> Any:
        for start in range(0, len(payload), 40_000):
            yield payload[start : start + 40_000]
            await asyncio.sleep(0.02)

    answer = await polling.api.post(polling.base, data=pieces())
    assert answer.status == 200
    while len([each for each in polling.packets if each.startswith("43/chat,")]) < 10:
        await polling.poll()


async def test_bad_polling_requests(server: Served) -> None:
    ann = await server.people.make()
    anonymous = server.people.anonymous
    unknown = await anonymous.get("/socket.io/?EIO=4&transport=polling&sid=nowhere")
    assert unknown.status == 400 and "websocket" in unknown.body.decode() and "nowhere" not in unknown.body.decode()
    for query in ("", "?EIO=3&transport=polling", "?EIO=4&transport=carrier-pigeon"):
        assert (await anonymous.get(f"/socket.io/{query}")).status == 400, query
    for bad in (b"x", b"", b"\xff", b"4" * 2_000_000, b"4" * 300_000):
        polling = await Polling(anonymous).open()
        await polling.connect(ann.auth())
        assert (await anonymous.post(polling.base, data=io.BytesIO(bad))).status == 400, bad[:9]
        assert (await anonymous.get(polling.base)).status == 400
    polling = await Polling(anonymous).open()
    await polling.connect(ann.auth())
    waiting = asyncio.create_task(polling.poll())
    await polled(server)
    assert (await anonymous.get(polling.base)).status == 400
    waiting.cancel()
    await eventually(lambda: not server.services.socketio.eio.sockets)


async def test_a_final_close_while_polling(server: Served) -> None:
    ann, admin = await server.people.make(), await server.people.make(grant=["admin"])
    polling = await Polling(server.people.anonymous).open()
    await polling.connect(ann.auth())
    waiting = asyncio.create_task(polling.poll())
    await polled(server)
    await admin.post(f"/api/v1/admin/users/{ann.id}/ban")
    found = await waiting
    assert found == ['42/chat,["session:closed",{"reason":"banned"}]', "41/chat,"]
    assert await polling.poll() == ["1"]
    assert (await polling.api.get(polling.base)).status == 400


async def test_a_slow_upgrade_on_a_busy_channel(server: Served) -> None:
    """Events before the probe, between the probe and its end, with it and after it: whole and in order."""
    ann, bob = await server.people.many(2)
    chat_id = await ann.group(bob)
    polling = await Polling(server.people.anonymous).open()
    await polling.connect(bob.auth())
    await ann.send(chat_id, "1")
    sid = polling.base.split("sid=")[1]
    ws = await server.people.session.ws_connect(f"{server.url}/socket.io/?EIO=4&transport=websocket&sid={sid}")
    await ann.send(chat_id, "2")
    await polling.poll()
    waiting = asyncio.create_task(polling.poll())
    await polled(server)
    await ws.send_str("2probe")
    assert await ws.receive_str() == "3probe"
    await waiting
    await ann.send(chat_id, "3")
    assert await polling.poll() == ["6"]
    await ann.send(chat_id, "4")
    await asyncio.gather(ws.send_str("5"), ann.send(chat_id, "5"))
    await ann.send(chat_id, "6")
    arrived = [each for each in polling.packets if "message:new" in each]
    while len(arrived) < 6:
        arrived.append(await asyncio.wait_for(ws.receive_str(), HANG_SECONDS))
    assert [each[each.rindex('"seq":') + 6 : -2] for each in arrived] == ["1", "2", "3", "4", "5", "6"]
    assert (await server.people.anonymous.get(polling.base)).status == 400
    await ws.close()


async def test_a_probe_that_breaks_off_leaves_polling_as_it_was(server: Served) -> None:
    """Stock: every poll was then answered at once, with nothing, for ever."""
    ann = await server.people.make()
    chat_id = await ann.group()
    polling = await Polling(server.people.anonymous).open()
    await polling.connect(ann.auth())
    sid = polling.base.split("sid=")[1]
    for word in (None, "2probe", "nonsense"):
        url = f"{server.url}/socket.io/?EIO=4&transport=websocket&sid={sid}"
        ws = await server.people.session.ws_connect(url)
        if word:
            await ws.send_str(word)
        await ws.close()
    await ann.send(chat_id, "still here")
    found: list[str] = []
    async with asyncio.timeout(HANG_SECONDS):
        while not any("still here" in each for each in found):
            found += await polling.poll()
    assert found.count("6") <= 3


async def test_a_websocket_that_speaks_nonsense(server: Served) -> None:
    host, port = server.url.split("//")[1].split(":")
    handshake = (
        b"GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
    for nonsense in (
        b"\xff" * 10,
        b"\x81\xff" + b"\xff" * 8,
        b"\xc1\x80\0\0\0\0",
        b"\x81\x82\0\0\0\0\xff\xfe",
        b"\x81\x05hello",
    ):
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(handshake + nonsense)
        async with asyncio.timeout(HANG_SECONDS):
            data = await reader.read()
        assert b" 101 " in data
        writer.close()
    await eventually(lambda: not server.services.socketio.eio.sockets)


def test_frames_are_split_as_they_were_joined() -> None:
    payloads = [b"", b"x", b"y" * 125, b"z" * 126, b"a" * 65535, b"b" * 65536]
    assert frames.split_frames(b"".join(frames.text_frame(each) for each in payloads)) == payloads


async def test_an_idle_websocket_costs_no_task(server: Served) -> None:
    people = await server.people.many(5)
    before = len(asyncio.all_tasks())
    connections = [await each.socket() for each in people]
    # Two of aiohttp's for each connection and one of this test's client; none of ours.
    await eventually(lambda: len(asyncio.all_tasks()) - before <= 3 * len(connections))
    for each in connections:
        await each.close()
    await eventually(lambda: not server.services.socketio.eio.sockets)
    assert not server.services.hub.channels
    assert isinstance(connections[0].ws, aiohttp.ClientWebSocketResponse)


# Found by review


async def test_a_new_login_outlives_an_older_sign_out(server: Served) -> None:
    admin, ann = await server.people.make(grant=["admin"]), await server.people.make()
    old = await ann.socket()
    await admin.post(f"/api/v1/admin/users/{ann.id}/sign-out")
    await old.gone()
    ann.token, _ = server.services.tokens.issue(ann.user, ttl=60)
    new = await ann.socket()
    await server.services.sessions.look_at_revocations()
    await new.call("app:state", {"active": True})
    assert not new.closed
    await new.close()


async def test_payloads_of_one_session_at_once(server: Served) -> None:
    ann = await server.people.make()
    polling = await Polling(server.people.anonymous).open()
    await polling.connect(ann.auth())
    packets = [f'42/chat,{id}["presence:watch",{{"userIds":[]}}]' for id in range(300)]
    async with asyncio.timeout(HANG_SECONDS):
        statuses = await asyncio.gather(*(polling.post(*packets) for _ in range(3)))
    assert 400 in statuses
    await eventually(lambda: not server.services.socketio.eio.sockets)


async def test_a_ping_flood_that_is_not_read(serve: ServerFactory) -> None:
    server = await serve(max_outbound=256 * 1024)
    ann = await server.people.make()
    socket = await ann.socket()
    transport = transport_of(socket)
    transport.pause_reading()

    async def flood() -> None:
        for _ in range(200_000):
            await socket.ws.ping(b"x" * 125)

    with pytest.raises((ConnectionError, aiohttp.ClientError)):
        await flood()
    assert server.services.socketio.eio.slow_closed == 1
    await socket.ws.close()


async def test_disconnect_then_connect_on_one_engine(server: Served) -> None:
    ann = await server.people.make()
    socket = await ann.socket()
    await socket.send("41/chat,")
    await eventually(lambda: server.services.sessions.count == 0)
    assert "sid" in await socket.connect(ann.auth())
    await socket.event("session:ready", 2)
    assert (await socket.call("app:state", {"active": True}))["isSuccess"]
    await socket.close()


async def test_what_was_sent_before_a_goodbye_counts(server: Served) -> None:
    ann = await server.people.make()
    chat_id = await ann.group()
    for goodbye in ("41/chat,", "1", None):
        socket = await ann.socket()
        for number in range(5):
            body = {"type": "text", "chatId": chat_id, "content": f"{goodbye} {number}"}
            await socket.send("42/chat," + orjson.dumps(["message:send", body]).decode())
        await (socket.send(goodbye) if goodbye else socket.ws.close())
        await eventually(lambda: server.services.sessions.count == 0)
        await socket.ws.close()
    await server.services.database.writer.drain()
    assert len((await ann.get(f"/api/v2/messages?chatId={chat_id}")).json["items"]) == 15


async def test_a_final_close_during_an_upgrade(server: Served) -> None:
    ann, admin = await server.people.make(), await server.people.make(grant=["admin"])
    polling = await Polling(server.people.anonymous).open()
    await polling.connect(ann.auth())
    sid = polling.base.split("sid=")[1]
    ws = await server.people.session.ws_connect(f"{server.url}/socket.io/?EIO=4&transport=websocket&sid={sid}")
    await ws.send_str("2probe")
    await ws.receive_str()
    await admin.post(f"/api/v1/admin/users/{ann.id}/ban")
    await ws.send_str("5")
    assert [await ws.receive_str(), await ws.receive_str()] == [
        '42/chat,["session:closed",{"reason":"banned"}]', "41/chat,",
    ]  # fmt: skip
    assert (await ws.receive()).type is aiohttp.WSMsgType.CLOSE
    await ws.close()


async def test_quick_goodbyes_leave_nothing_behind(server: Served) -> None:
    ann, bob = await server.people.many(2)
    chat_id = await ann.group(bob)
    for round in range(30):
        connection = await raw(server)
        await connection.until(lambda c=connection: c.packets)
        await connection.send("40/chat," + orjson.dumps(ann.auth()).decode())
        if round % 3:
            await connection.send('42/chat,1["presence:watch",{"userIds":["' + bob.id + '"]}]')
        if round % 2:
            await asyncio.sleep(0.005 * (round % 5))
        await connection.close()
    await eventually(lambda: not server.services.socketio.eio.sockets)
    await eventually(lambda: not server.services.hub.channels)
    services = server.services
    assert not services.hub.watchers and not services.sessions.of_user and services.sessions.count == 0
    assert not services.cluster.presence.connections  # type: ignore[attr-defined]
    assert not services.stream_watch.streams.watching
    assert chat_id


async def test_a_member_removed_and_added_while_connecting(server: Served) -> None:
    """The snapshot of connecting is old by the time it is read from: nothing may be missed, nothing doubled."""
    ann, bob = await server.people.many(2)
    chat_id = await ann.group(bob, historyVisible="all")
    path = f"/api/v2/chats/{chat_id}/members"
    epoch = server.services.database.epoch
    for round in range(10):
        head = (await ann.send(chat_id, f"before {round}"))["seq"]
        connecting = asyncio.create_task(bob.socket(offsets={f"chat:{chat_id}": head - 1}, epoch=epoch))
        await asyncio.sleep(0.002 * round)
        await ann.delete(f"{path}/{bob.id}")
        back = (await ann.post(path, {"userIds": [bob.id]})).json["seq"]
        socket = await connecting
        last = (await ann.send(chat_id, f"after {round}"))["seq"]
        channel = f"chat:{chat_id}"

        await socket.until(lambda s=socket, c=channel, last=last: last in s.seqs(c))
        seqs = socket.seqs(channel)
        assert seqs == sorted(set(seqs))
        assert [seq for seq in seqs if seq > back] == list(range(back + 1, last + 1))
        await socket.close()


async def test_a_refresh_flood_is_bounded(server: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    ann = await server.people.make()
    socket = await ann.socket()
    running = peak = 0

    async def slow(token: str) -> Any:
        nonlocal running, peak
        running += 1
        peak = max(peak, running)
        await asyncio.sleep(0.002)
        running -= 1
        raise Unauthenticated

    monkeypatch.setattr(server.services.accounts, "authenticate", slow)
    for _ in range(200):
        await socket.send('42/chat,["session:refresh",{"token":"x"}]')
    assert (await socket.call("app:state", {"active": True}))["isSuccess"]
    assert 1 <= peak <= 2
    await socket.close()


async def test_strangers_are_not_watched_any_more(server: Served) -> None:
    ann, bob, cid = await server.people.many(3)
    first, second = await ann.group(bob, cid), await ann.group(bob)
    for chat, writer in ((first, bob), (first, cid), (second, bob)):
        await writer.send(chat)
    socket = await ann.socket()
    await socket.call("presence:watch", {"userIds": [bob.id, cid.id]})
    await ann.delete(f"/api/v2/chats/{first}/members/{bob.id}")
    await ann.delete(f"/api/v2/chats/{second}/members/{bob.id}")
    await eventually(lambda: len(server.services.hub.watchers) == 1)
    sockets = [await bob.socket(), await cid.socket()]
    await socket.event("presence")
    assert [arguments[0]["userId"] for arguments in socket.named("presence")] == [cid.id]
    for each in (socket, *sockets):
        await each.close()


async def test_a_payload_that_waits_while_the_socket_is_upgraded(
    server: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both may wait for room in the inbox; neither may be forgotten."""
    ann = await server.people.make()
    polling = await Polling(server.people.anonymous).open()
    await polling.connect(ann.auth())
    gate = asyncio.Event()
    handle = server.services.namespace.on_event

    async def slow(session: Any, packet: Any) -> None:
        await gate.wait()
        handle(session, packet)

    monkeypatch.setattr(server.services.namespace, "on_event", slow)
    packets = [f'42/chat,{id}["app:state",{{"active":true}}]' for id in range(100)]
    posting = asyncio.create_task(polling.post(*packets))
    (socket,) = server.services.socketio.eio.sockets.values()
    await eventually(lambda: socket.full)
    sid = polling.base.split("sid=")[1]
    ws = await server.people.session.ws_connect(f"{server.url}/socket.io/?EIO=4&transport=websocket&sid={sid}")
    await ws.send_str("2probe")
    await ws.receive_str()
    await ws.send_str("5")
    for id in range(100, 200):
        await ws.send_str(f'42/chat,{id}["app:state",{{"active":true}}]')
    await eventually(lambda: socket.websocket and socket.websocket.paused)
    gate.set()
    assert await asyncio.wait_for(posting, HANG_SECONDS) == 200
    acks: set[str] = set()
    async with asyncio.timeout(HANG_SECONDS):
        while len(acks) < 200:
            text = await ws.receive_str()
            if text.startswith("43/chat,"):
                acks.add(text.split("[")[0])
    await ws.close()


async def test_a_closed_socket_that_is_not_read_goes_too(server: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("realtime.transport.websocket.CLOSE_LINGER_SECONDS", 0.5)
    ann = await server.people.make()
    chat_id = await ann.group()
    socket = await ann.socket()
    here = next(iter(server.services.socketio.eio.sockets.values()))
    transport = transport_of(socket)
    transport.pause_reading()
    while here.buffered < 300_000:
        await asyncio.gather(*(ann.send(chat_id, "x" * 16_000) for _ in range(10)))
    await socket.send("nonsense")
    await eventually(lambda: here.closing)
    assert here.transport
    await eventually(lambda: here.transport.get_extra_info("socket").fileno() == -1)  # type: ignore[union-attr]
    await socket.ws.close()


async def test_sends_that_come_together_are_stored_together_and_in_order(server: Served) -> None:
    """A socket need not wait for the last send's ack; what one read brings is answered in one write."""
    ann, bob = await server.people.many(2)
    chat_id = await ann.group(bob)
    await ann.send(chat_id, "first")
    socket, reader = await ann.socket(), await bob.socket()
    commits = server.services.database.writer.batches
    packets = [
        f'42/chat,{id}["message:send",{{"type":"text","chatId":"{chat_id}","content":"{id}"}}]' for id in range(1, 21)
    ]
    data = b"".join(masked(packet) for packet in packets)
    transport = transport_of(socket)
    transport.write(data)
    await eventually(lambda: len(reader.named("message:new")) == 20)
    assert [arguments[0]["content"] for arguments in reader.named("message:new")] == [str(id) for id in range(1, 21)]
    assert server.services.database.writer.batches - commits <= 3
    await socket.close()
    await reader.close()


async def test_more_sends_than_may_be_pending_wait_unread(serve: ServerFactory) -> None:
    server = await serve(max_inbox=4)
    ann, bob = await server.people.many(2)
    chat_id = await ann.group(bob)
    await ann.send(chat_id, "first")
    socket, reader = await ann.socket(), await bob.socket()
    for id in range(100):
        await socket.send(f'42/chat,{id}["message:send",{{"type":"text","chatId":"{chat_id}","content":"{id}"}}]')
    await eventually(lambda: len(reader.named("message:new")) == 100)
    assert [arguments[0]["content"] for arguments in reader.named("message:new")] == [str(id) for id in range(100)]
    await socket.close()
    await reader.close()


def masked(text: str) -> bytes:
    """A client's text frame; a mask of zeros is one too."""
    payload = text.encode()
    size = bytes([128 + len(payload)]) if len(payload) < 126 else b"\xfe" + len(payload).to_bytes(2, "big")
    return b"\x81" + size + b"\0\0\0\0" + payload


async def test_no_session_outlives_its_socket(server: Served) -> None:
    ann = await server.people.make()
    socket = await ann.socket()
    refresh = {"token": ann.token}
    for _ in range(5):
        assert (await socket.call("session:refresh", refresh))["isSuccess"]
    session = weakref.ref(next(iter(server.services.sessions.all())).socket)
    assert sum(map(len, server.services.sessions.expiries.due.values())) == 1
    await socket.close()
    await eventually(lambda: server.services.sessions.count == 0)
    assert not server.services.sessions.expiries.due
    await eventually(lambda: gc.collect() >= 0 and session() is None)


async def test_a_flood_of_goodbyes(server: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing after the first is looked at, even where it waits for what came before."""
    ann = await server.people.make()
    socket = await ann.socket()
    gate = asyncio.Event()

    async def slow(session: Any, packet: Any) -> None:
        await gate.wait()

    monkeypatch.setattr(server.services.namespace, "on_event", slow)
    await socket.send('42/chat,1["app:state",{"active":true}]')
    transport = transport_of(socket)
    (session,) = server.services.sessions.all()
    await eventually(lambda: session.socket.inbox is not None)
    transport.write(b"\x88\x82\0\0\0\0\x03\xe8" * 50_000 + masked('42/chat,2["app:state",{}]'))
    await eventually(lambda: len(session.socket.inbox.items if session.socket.inbox else ()) == 1)
    gate.set()
    await eventually(lambda: server.services.sessions.count == 0)
    await socket.ws.close()


async def test_much_at_once_keeps_nobody_waiting(server: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """A read is looked at in slices, with the others' turns between them; typing is told once, not for each."""
    ann, bob = await server.people.many(2)
    chat_id = await ann.group(bob)
    loud, other = await ann.socket(), await bob.socket()
    server.services.typing.published.ttl = 3600
    assert (await loud.call("typing", {"chatId": chat_id}))["isSuccess"]
    heard: list[str] = []
    handle = server.services.namespace.on_event

    def event(session: Any, packet: Any) -> Any:
        heard.append(session.user_id)
        return handle(session, packet)

    monkeypatch.setattr(server.services.namespace, "on_event", event)
    transport = transport_of(loud)
    transport.write(masked(f'42/chat,["typing",{{"chatId":"{chat_id}"}}]') * 5000)
    assert (await other.call("app:state", {"active": True}))["isSuccess"]
    await eventually(lambda: len(heard) == 5001)
    assert heard.index(bob.id) < 4000
    assert len(other.named("typing")) == 1
    await loud.close()
    await other.close()
