"""The door: everybody gets in, a few at a time, until it is closed."""

import asyncio
import contextlib
import socket
from urllib.parse import urlsplit

import aiohttp
import orjson
import pytest

from server import listening
from server.listening import Door, listen
from tests.conftest import ServerFactory
from tests.guard import HANG_SECONDS
from tests.people import RawSocket


class Echo(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport.write(b"hello")


async def heard(port: int) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        return await reader.readexactly(5)
    finally:
        writer.close()


async def test_all_of_a_crowd_get_in_with_pauses(monkeypatch):
    pauses = []
    pause = Door._pause
    monkeypatch.setattr(Door, "_pause", lambda self, seconds: (pauses.append(seconds), pause(self, seconds)))
    door = Door(listen("127.0.0.1", 0), Echo, head=10, stall=10)
    port = door.socket.getsockname()[1]
    connections = [await asyncio.open_connection("127.0.0.1", port) for _ in range(100)]
    door.open()
    for reader, writer in connections:
        assert await reader.readexactly(5) == b"hello"
        writer.close()
    assert len(pauses) >= 100 // listening.TAKEN_AT_ONCE and set(pauses) == {listening.PAUSE}
    door.close()
    with pytest.raises(ConnectionRefusedError):
        await heard(port)


async def test_without_descriptors_it_waits_and_goes_on(monkeypatch):
    monkeypatch.setattr(listening, "OUT_OF_DESCRIPTORS", 0.05)
    door = Door(listen("127.0.0.1", 0), Echo, head=10, stall=10)
    accept = socket.socket.accept
    failures = iter([OSError(24, "Too many open files")])

    def refusing(self):
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
async def test_who_asks_nothing_is_shown_out(serve: ServerFactory, said: bytes) -> None:
    server = await serve(max_head_seconds=0.2)
    port = urlsplit(server.url).port
    assert await told(port, said) == b""


@pytest.mark.parametrize("more", [b"", b"GET /healthz HTTP/1.1\r\nHost: here\r\nX-Slow: "])
async def test_a_connection_may_be_idle_only_so_long(serve: ServerFactory, more: bytes) -> None:
    server = await serve(max_idle_seconds=0.3)
    whole = b"GET /healthz HTTP/1.1\r\nHost: here\r\n\r\n"
    answer = await told(urlsplit(server.url).port, whole + more)
    assert answer.startswith(b"HTTP/1.1 200 OK") and answer.endswith(b'{"status":"ok"}')


async def test_a_socket_is_not_shown_out(serve: ServerFactory) -> None:
    server = await serve(max_head_seconds=2, max_idle_seconds=0.2)
    person = await server.people.make()
    raw: RawSocket | None = None
    async with asyncio.timeout(HANG_SECONDS):
        while raw is None:
            # A slow machine may take longer than that to ask.
            with contextlib.suppress(aiohttp.ClientError):
                raw = await person.socket()
    # Another, who came later, is shown out meanwhile.
    assert await told(urlsplit(server.url).port, b"") == b""
    assert not raw.closed and await raw.call("message:send", {})
    await raw.close()


async def test_a_slow_body_is_refused(serve: ServerFactory) -> None:
    server = await serve(max_body_seconds=0.2)
    port = urlsplit(server.url).port
    head = b"POST /api/v1/auth/login HTTP/1.1\r\nHost: here\r\nContent-Type: application/json\r\n"
    answer = await told(port, head + b'Content-Length: 100\r\n\r\n{"email":', whole=False)
    assert answer.startswith(b"HTTP/1.1 400") and b"took longer than 0.2 seconds" in answer
    opened = await (await server.people.make()).get("/socket.io/?EIO=4&transport=polling")
    sid = orjson.loads(opened.body[1:])["sid"]
    path = f"/socket.io/?EIO=4&transport=polling&sid={sid}".encode()
    head = b"POST %b HTTP/1.1\r\nHost: here\r\nContent-Length: 100\r\n\r\n40" % path
    assert (await told(port, head, whole=False)).startswith(b"HTTP/1.1 400")
