"""The door: everybody gets in, a few at a time, until it is closed."""

import asyncio
import contextlib
import socket
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import orjson
import pytest

from server import listening
from server.addresses import Addresses
from server.connections import OPERATOR_CONNECTIONS, Connections
from server.listening import Listener, listen
from tests.conftest import Served, ServerFactory, eventually
from tests.support.guard import HANG_SECONDS
from tests.support.people import RawSocket


class Echo(asyncio.Protocol):
    def connection_made(self, transport: Any) -> None:
        transport.write(b"hello")


def port_of(server: Served) -> int:
    return urlsplit(server.url).port or 0


async def heard(port: int) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        return await reader.readexactly(5)
    finally:
        writer.close()


async def test_all_of_a_crowd_get_in_with_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    pause = Listener._pause

    def counted(self: Listener, seconds: float) -> None:
        pauses.append(seconds)
        pause(self, seconds)

    monkeypatch.setattr(Listener, "_pause", counted)
    door = Listener(listen("127.0.0.1", 0), Echo, Connections(str, per_address=1000, most=1000), head=10, stall=10)
    port = door.socket.getsockname()[1]
    connections = [await asyncio.open_connection("127.0.0.1", port) for _ in range(100)]
    door.open()
    for reader, writer in connections:
        assert await reader.readexactly(5) == b"hello"
        writer.close()
    assert len(pauses) >= 100 // listening.ACCEPTED_AT_ONCE and set(pauses) == {listening.PAUSE_SECONDS}
    door.close()
    with pytest.raises(ConnectionRefusedError):
        await heard(port)


async def test_without_descriptors_it_waits_and_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listening, "OUT_OF_DESCRIPTORS_SECONDS", 0.05)
    door = Listener(listen("127.0.0.1", 0), Echo, Connections(str, per_address=1000, most=1000), head=10, stall=10)
    accept = socket.socket.accept
    failures = iter([OSError(24, "Too many open files")])

    def refusing(self: socket.socket) -> Any:
        for failure in failures:
            raise failure
        return accept(self)

    monkeypatch.setattr(socket.socket, "accept", refusing)
    door.open()
    assert await heard(door.socket.getsockname()[1]) == b"hello"
    door.close()


async def told(port: int, said: bytes, *, whole: bool = True) -> bytes:
    """What is answered until the connection is closed; or the first of it."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(said)
    try:
        async with asyncio.timeout(HANG_SECONDS):
            return await reader.read(-1 if whole else 4096)
    finally:
        writer.close()


@pytest.mark.parametrize("said", [b"", b"GET /healthz HTTP/1.1\r\nHost: here\r\nX-Slow: "])
async def test_a_connection_without_a_request_is_closed(serve: ServerFactory, said: bytes) -> None:
    server = await serve(max_head_seconds=0.2)
    port = port_of(server)
    assert await told(port, said) == b""


@pytest.mark.parametrize("more", [b"", b"GET /healthz HTTP/1.1\r\nHost: here\r\nX-Slow: "])
async def test_a_connection_may_be_idle_only_so_long(serve: ServerFactory, more: bytes) -> None:
    server = await serve(max_idle_seconds=0.3)
    whole = b"GET /healthz HTTP/1.1\r\nHost: here\r\n\r\n"
    answer = await told(port_of(server), whole + more)
    assert answer.startswith(b"HTTP/1.1 200 OK") and answer.endswith(b'{"status":"ok"}')


async def test_a_socket_is_not_closed_for_asking_nothing(serve: ServerFactory) -> None:
    server = await serve(max_head_seconds=2, max_idle_seconds=0.2)
    person = await server.people.make()
    raw: RawSocket | None = None
    async with asyncio.timeout(HANG_SECONDS):
        while raw is None:
            # A slow machine may take longer than that to ask.
            with contextlib.suppress(aiohttp.ClientError):
                raw = await person.socket()
    # Another, who came later, is shown out meanwhile.
    assert await told(port_of(server), b"") == b""
    assert not raw.closed and await raw.call("message:send", {})
    await raw.close()


async def test_a_slow_body_is_refused(serve: ServerFactory) -> None:
    server = await serve(max_body_seconds=0.2)
    port = port_of(server)
    head = b"POST /api/v1/auth/login HTTP/1.1\r\nHost: here\r\nContent-Type: application/json\r\n"
    answer = await told(port, head + b'Content-Length: 100\r\n\r\n{"email":', whole=False)
    assert answer.startswith(b"HTTP/1.1 400") and b"was not received within 0.2 seconds" in answer
    opened = await (await server.people.make()).get("/socket.io/?EIO=4&transport=polling")
    sid = orjson.loads(opened.body[1:])["sid"]
    path = f"/socket.io/?EIO=4&transport=polling&sid={sid}".encode()
    head = b"POST %b HTTP/1.1\r\nHost: here\r\nContent-Length: 100\r\n\r\n40" % path
    assert (await told(port, head, whole=False)).startswith(b"HTTP/1.1 400")


# How many


def test_nobody_takes_all_places() -> None:
    places = Connections(
        lambda host: None if host == "operator" else host, per_address=1000, most=100 + OPERATOR_CONNECTIONS
    )
    assert places.per_address == (100 + OPERATOR_CONNECTIONS) // 2
    first = [places.enter("1.1.1.1") for _ in range(places.per_address + 1)]
    assert first.count(None) == 1 and first[-1] is None, "half of all places at most"
    second = [places.enter("2.2.2.2") for _ in range(100)]
    assert sum(each is not None for each in second) == 100 - places.per_address
    assert places.enter("3.3.3.3") is None, "what is left is for operators"
    assert [places.enter("operator") is None for _ in range(OPERATOR_CONNECTIONS + 1)] == [
        *[False] * OPERATOR_CONNECTIONS,
        True,
    ]
    left = first[0]
    assert left is not None
    left()
    assert places.enter("2.2.2.2") is None and places.enter("operator") is not None
    assert places.refused == 1 + (100 - sum(each is not None for each in second)) + 3


async def test_an_address_has_so_many_connections(serve: ServerFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Addresses, "of_host", lambda self, host: host)
    server = await serve(max_connections_per_address=3)
    ann = await server.people.make()
    connections = server.services.connections
    socket = await ann.socket()
    port = port_of(server)
    assert port is not None
    assert connections.open == 1
    silent = [await asyncio.open_connection("127.0.0.1", port) for _ in range(2)]
    for _, writer in silent:
        writer.write(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert all([(await reader.readuntil(b"}")).startswith(b"HTTP/1.1 200") for reader, _ in silent])
    refused = await told(port, b"")
    assert refused.startswith(b"HTTP/1.1 503 ") and b"Retry-After: 5" in refused
    silent[0][1].close()
    await eventually(lambda: connections.open == 2)
    again = await told(port, b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    assert again.startswith(b"HTTP/1.1 200")
    silent[1][1].close()
    await eventually(lambda: connections.open == 1)
    await socket.ws.close()
    await eventually(lambda: connections.open == 0 and not connections.of_address)
