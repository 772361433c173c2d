"""A Socket.IO client over one raw websocket, cheap enough to load a server from one core.

Engine.IO v4 and Socket.IO v5 as far as a load test needs them. Frames are masked with a zero key, which is legal.
"""

import asyncio
import base64
import os
from collections.abc import Callable
from typing import Any, cast
from urllib.parse import urlsplit

import orjson

from tests.support.guard import HANG_SECONDS

Heard = Callable[[bytes], None]
# A frame of its own.
PING = b"\x81\x012"


class Wire(asyncio.Protocol):
    """One connection. ``ready`` resolves when the server said ``until``; ``heard`` gets each packet from then on, and
    ``before`` holds what came earlier.
    """

    def __init__(self, host: str, namespace: str, auth: Any, until: bytes, query: str = "") -> None:
        self.host = host
        self.query = query
        self.prefix = b"" if namespace == "/" else namespace.encode() + b","
        self.connect = b"40" + self.prefix + (orjson.dumps(auth) if auth is not None else b"")
        self.until = until
        self.heard: Heard | None = None
        self.before: list[bytes] = []
        self.ready: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self.closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.transport: asyncio.Transport
        self._rest = b""
        self._open = False
        self._counting = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are of no class of asyncio's.
        self.transport = cast(asyncio.Transport, transport)
        lines = [
            f"GET /socket.io/?EIO=4&transport=websocket{self.query} HTTP/1.1",
            f"Host: {self.host}",
            "Upgrade: websocket",
            "Connection: Upgrade",
            f"Sec-WebSocket-Key: {base64.b64encode(os.urandom(16)).decode()}",
            "Sec-WebSocket-Version: 13",
        ]
        self.transport.write("\r\n".join([*lines, "", ""]).encode())

    def count_only(self) -> None:
        """From now on answer pings, and read nothing else."""
        self._counting = True

    def data_received(self, data: bytes) -> None:
        if self._counting:
            if PING in data:
                self.send(b"3")
            return
        data = self._rest + data
        if not self._open:
            head, found, rest = data.partition(b"\r\n\r\n")
            if not found:
                self._rest = data
                return
            if not head.startswith(b"HTTP/1.1 101"):
                self._fail(head[:200].decode(errors="replace"))
                self.transport.close()
                return
            self._open, data = True, rest
        start, end = 0, len(data)
        while end - start >= 2:
            size, body = data[start + 1] & 127, start + 2
            if size > 125:
                width = 2 if size == 126 else 8
                if end < body + width:
                    break
                size, body = int.from_bytes(data[body : body + width], "big"), body + width
            if end < body + size:
                break
            if data[start] & 15 == 1:
                self._packet(data[body : body + size])
            start = body + size
        self._rest = data[start:]

    def _packet(self, packet: bytes) -> None:
        kind = packet[:1]
        if kind == b"2":
            self.send(b"3")
        elif kind == b"0":
            self.send(self.connect)
        elif packet.startswith(b"44"):
            self._fail(packet.decode())
        elif self.ready.done():
            if self.heard:
                self.heard(packet)
        elif packet.startswith(self.until):
            self.ready.set_result(packet)
        else:
            self.before.append(packet)

    def send(self, packet: bytes) -> None:
        """An Engine.IO packet."""
        size = len(packet)
        if size < 126:
            head = bytes((0x81, 0x80 | size))
        elif size < 65536:
            head = b"\x81\xfe" + size.to_bytes(2, "big")
        else:
            head = b"\x81\xff" + size.to_bytes(8, "big")
        self.transport.write(head + b"\0\0\0\0" + packet)

    def emit(self, id: int, name: str, payload: Any) -> None:
        """An event that wants an ack."""
        self.send(b"42%b%d%b" % (self.prefix, id, orjson.dumps([name, payload])))

    def connection_lost(self, error: Exception | None) -> None:
        self._fail(str(error or "closed"))
        if not self.closed.done():
            self.closed.set_result(None)

    def _fail(self, why: str) -> None:
        if not self.ready.done():
            self.ready.set_exception(ConnectionError(why))
            self.ready.exception()


async def dial(
    url: str,
    auth: Any = None,
    *,
    namespace: str = "/chat",
    until: bytes = b'42/chat,["session:ready"',
    query: str = "",
) -> Wire:
    """Connect, and wait until the server is ready for us."""
    parts = urlsplit(url)
    assert parts.hostname
    host, port = parts.hostname, parts.port or 80
    loop = asyncio.get_running_loop()
    _, wire = await loop.create_connection(lambda: Wire(f"{host}:{port}", namespace, auth, until, query), host, port)
    await asyncio.wait_for(asyncio.shield(wire.ready), HANG_SECONDS)
    return wire
