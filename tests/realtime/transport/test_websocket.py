"""The websocket itself: its handshake, its frames, and what it costs."""

import asyncio
from typing import Any

import aiohttp
import pytest

from tests.conftest import Served, ServerFactory, eventually
from tests.support.guard import HANG_SECONDS
from tests.support.people import transport_of
from tests.support.sockets import masked, raw


async def test_no_compression_is_negotiated(server: Served) -> None:
    """2.10: permessage-deflate was on, at the cost of memory and of a bomb's amplification."""
    headers = {"Sec-WebSocket-Extensions": "permessage-deflate; client_max_window_bits"}
    connection = await raw(server, headers=headers)
    assert "Sec-WebSocket-Extensions" not in connection.ws._response.headers
    await connection.close()


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
