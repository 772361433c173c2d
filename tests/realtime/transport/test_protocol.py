"""CONNECT, DISCONNECT and events of one connection, in the order in which they come."""

import asyncio
import logging
from typing import Any

import orjson
import pytest

from storage.errors import Unauthenticated
from tests.conftest import Served, ServerFactory, eventually
from tests.support.people import transport_of
from tests.support.sockets import masked, raw


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
        ([], "authentication required"),
        ("", "authentication required"),
        (False, "authentication required"),
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


async def test_the_session_shows_its_limits(server: Served) -> None:
    ann = await server.people.make()
    socket = await ann.socket()
    ready = (await socket.event("session:ready"))[0]
    assert {*ready} == {"userId", "v", "epoch", "serverTime", "limits", "recovered", "heads", "expiresAt"}
    assert ready["limits"]["content"] == 16384 and ready["limits"]["pollingPackets"] == 1000
    await socket.close()


async def test_disconnect_then_connect_on_one_engine(server: Served) -> None:
    ann = await server.people.make()
    socket = await ann.socket()
    await socket.send("41/chat,")
    await eventually(lambda: server.services.sessions.count == 0)
    assert "sid" in await socket.connect(ann.auth())
    await socket.event("session:ready", 2)
    assert (await socket.call("app:state", {"active": True}))["isSuccess"]
    await socket.close()


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


async def test_sends_that_come_together_are_stored_together_and_in_order(server: Served) -> None:
    """A socket need not wait for the last send's ack; what one read brings is answered in one write."""
    ann, bob = await server.people.many(2)
    chat_id = await ann.group(bob)
    await ann.send(chat_id, "first")
    socket, reader = await ann.socket(), await bob.socket()
    commits = server.services.database.writer.commits.count
    packets = [
        f'42/chat,{id}["message:send",{{"type":"text","chatId":"{chat_id}","content":"{id}"}}]' for id in range(1, 21)
    ]
    data = b"".join(masked(packet) for packet in packets)
    transport = transport_of(socket)
    transport.write(data)
    await eventually(lambda: len(reader.named("message:new")) == 20)
    assert [arguments[0]["content"] for arguments in reader.named("message:new")] == [str(id) for id in range(1, 21)]
    assert server.services.database.writer.commits.count - commits <= 3
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


async def test_quick_disconnects_leave_nothing_behind(server: Served) -> None:
    ann, bob = await server.people.many(2)
    admin = await server.people.make(grant=["streams.manage"])
    chat_id = await ann.group(bob)
    planned = {"title": "Match", "startsAt": "2100-01-01T00:00:00Z"}
    stream = (await admin.post("/api/v1/streams", planned)).json["data"]["id"]
    for round in range(30):
        connection = await raw(server)
        await connection.until(lambda c=connection: c.packets)
        await connection.send("40/chat," + orjson.dumps(ann.auth()).decode())
        if round % 3:
            await connection.send('42/chat,1["presence:watch",{"userIds":["' + bob.id + '"]}]')
            await connection.send('42/chat,2["stream:watch",{"streamId":"' + stream + '"}]')
        if round % 2:
            await asyncio.sleep(0.005 * (round % 5))
        await connection.close()
    await eventually(lambda: not server.services.socketio.eio.sockets)
    await eventually(lambda: not server.services.hub.channels)
    services = server.services
    assert not services.hub.topics.watchers and not services.sessions.of_user and services.sessions.count == 0
    assert not services.cluster.presence.connections  # type: ignore[attr-defined]
    engine = services.socketio.eio
    assert not any(engine.phases) and not services.socketio.closed_sockets
    assert not services.streams.watching
    assert chat_id
