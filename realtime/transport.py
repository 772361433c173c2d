"""Engine.IO sessions with one writer each, and the one place that touches a socket's transport.

``Socket`` replaces engineio's: everything that goes out, engineio's own packets included, passes the synchronous
``Socket.write`` as a ready websocket frame. On a websocket it goes straight to the transport. A queue exists only while
polling, and is written out in the same loop step that ends the upgrade.
"""

import asyncio
import math
import time
from collections import deque
from typing import TYPE_CHECKING, Any

from aiohttp import WSMsgType, web
from aiohttp.http import WSMessage
from aiohttp.web import RequestPayloadError
from engineio.async_socket import AsyncSocket
from engineio.exceptions import EngineIOError

from realtime import frames

if TYPE_CHECKING:
    from realtime.engine import Engine

CLOSE_LINGER = 5.0
UPGRADE_DEADLINE = 10.0
# python-engineio's client takes no more packets in one polling payload (Payload.max_decode_packets).
POLL_FRAMES = 16
SEPARATOR = b"\x1e"
KINDS = frozenset(b"%c" % kind for kind in b"123456b")
NOOP = frames.text_frame(b"6")
PING = frames.text_frame(b"2")
PROBE_ANSWER = frames.text_frame(b"3probe")
CLOSE = frames.text_frame(b"1")


class Refused(EngineIOError):
    """A polling request that can't be served; the session ends and the client is told 400"""


class Socket(AsyncSocket):
    """One Engine.IO session, polling or websocket."""

    def __init__(self, engine: "Engine", sid: str) -> None:
        self.server = self.engine = engine
        self.sid = sid
        self.connected = self.upgrading = self.upgraded = False
        self.closing = self.closed = False
        self.queue: Any = None
        self.session: dict[str, Any] = {}
        self.last_ping: float | None = None
        self.user: Any = None  # the protocol's state of this connection
        self.transport: asyncio.Transport | None = None
        self.held: list[bytes] = []
        self.held_bytes = 0
        self.poll_waiter: asyncio.Future[bytes | None] | None = None
        self.inbox: deque[Any] = deque()
        self.worker: asyncio.Task[None] | None = None
        self.space: asyncio.Future[None] | None = None
        self.posting = False
        self.aborting: asyncio.TimerHandle | None = None
        self.pinged_at = math.inf
        self.probed_at = self.confirmed_at = self.taken_at = -math.inf
        self.phase = 0
        self.deadline = asyncio.get_running_loop().call_later(engine.limits.unconnected, self._unconnected)

    # Outbound

    def write(self, data: bytes) -> None:
        """Send frames made by ``realtime.frames``, in the order of the calls. Never waits, never raises."""
        if self.closing:
            return
        transport = self.transport
        if transport is None:
            self._hold(data)
        elif not transport.is_closing():
            transport.write(data)
            if transport.get_write_buffer_size() > self.engine.limits.outbound:
                self.engine.slow(self)

    async def send(self, pkt: Any) -> None:
        """engineio's own packets go the same way."""
        self.write(frames.text_frame(pkt.encode(b64=True).encode()))

    @property
    def buffered(self) -> int:
        """Bytes that the client has not taken yet."""
        if self.transport is None:
            return self.held_bytes
        return 0 if self.transport.is_closing() else self.transport.get_write_buffer_size()

    async def taken(self, below: int) -> bool:
        """Wait until at most ``below`` bytes are under way; False if the socket closed meanwhile."""
        pause, least, patience = 0.005, self.buffered, self.engine.ping_interval + self.engine.ping_timeout
        while not self.closing and self.buffered > below:
            await asyncio.sleep(pause)
            pause, patience = min(2 * pause, 0.25), patience - pause
            if self.buffered < least:
                pause, least, patience = 0.005, self.buffered, self.engine.ping_interval + self.engine.ping_timeout
            elif patience < 0:
                self.engine.slow(self)
                return False
        return not self.closing

    def _hold(self, data: bytes) -> None:
        self.held.append(data)
        self.held_bytes += len(data)
        if self.poll_waiter and not self.poll_waiter.done():
            self.poll_waiter.set_result(None)
        if self.held_bytes > self.engine.limits.outbound:
            self.engine.slow(self)

    def _take_held(self, most: int | None = None) -> bytes:
        data = b"".join(self.held[:most])
        del self.held[:most]
        self.held_bytes -= len(data)
        if not self.held:
            self.taken_at = time.monotonic()
        return data

    # Inbound

    def receive_text(self, text: str) -> None:
        """One Engine.IO packet. Raises Refused for what is none; binary is none here."""
        kind = text[:1]
        if kind == "3":
            self.pinged_at = math.inf
        elif kind == "4":
            self.engine.listener.arrived(self, text[1:])
        elif kind == "1":
            self.enqueue(None)
        elif kind == "2":
            self.write(frames.text_frame(b"3" + text[1:].encode()))
        elif kind not in ("5", "6"):
            raise Refused("no Engine.IO packet")

    def enqueue(self, item: Any) -> None:
        """Put an item where it is worked off in order, by a task that exists only while there is something."""
        self.inbox.append(item)
        if self.worker is None:
            self.worker = self.engine.tasks.spawn(self._work())

    async def _work(self) -> None:
        try:
            while self.inbox and not self.closing:
                item = self.inbox.popleft()
                if item is None:
                    return self.abort()
                await self.engine.listener.work(self, item)
                if self.space and not self.space.done():
                    self.space.set_result(None)
        finally:
            self.worker = None
            if self.space and not self.space.done():
                self.space.set_result(None)
        return None

    @property
    def unread(self) -> bool:
        """Whether too much waits in the inbox, so that the socket is not read."""
        return self.space is not None and not self.space.done()

    async def _room(self) -> None:
        """Wait while too much waits in the inbox. The socket is not read meanwhile, so its ping can't time out."""
        while len(self.inbox) >= self.engine.limits.inbox and not self.closing:
            # A payload and the websocket after it may both wait here.
            if self.space is None or self.space.done():
                self.space = asyncio.get_running_loop().create_future()
            await self.space
            if self.pinged_at != math.inf:
                self.pinged_at = asyncio.get_running_loop().time()

    def probe(self) -> None:
        """Ask for a sign of life now, unless an answer is awaited already."""
        self.probed_at = time.monotonic()
        if self.pinged_at == math.inf:
            self.pinged_at = asyncio.get_running_loop().time()
            self.write(PING)

    # Polling

    async def handle_get_request(self, environ: dict[str, Any]) -> Any:
        if environ.get("HTTP_UPGRADE", "").lower() == "websocket":
            return await self._upgrade_websocket(environ)
        return self._payload(await self._poll())

    async def _poll(self) -> bytes:
        self.confirmed_at = self.taken_at
        if self.poll_waiter is not None:
            raise Refused("one poll at a time")
        if self.upgrading:
            return NOOP
        if self.closing and not self.held:
            self._end()
            return CLOSE
        if not self.held:
            self.poll_waiter = asyncio.get_running_loop().create_future()
            try:
                async with asyncio.timeout(self.engine.ping_interval + self.engine.ping_timeout):
                    answer = await self.poll_waiter
            except TimeoutError:
                self.abort()
                raise Refused("nothing to poll") from None
            finally:
                self.poll_waiter = None
            if answer is not None:
                return answer
        # A client handles CLOSE before the events beside it: it goes alone, with a later poll.
        return self._take_held(POLL_FRAMES)

    def _payload(self, data: bytes) -> dict[str, Any]:
        return {
            "status": "200 OK",
            "headers": [("Content-Type", "text/plain; charset=UTF-8"), ("Cache-Control", "no-store")],
            "response": SEPARATOR.join(frames.split_frames(data)),
        }

    async def handle_post_request(self, environ: dict[str, Any]) -> None:
        if self.posting:
            raise Refused("one payload at a time")
        self.posting = True
        self.confirmed_at = self.taken_at
        try:
            packets = self._packets(await self._body(environ["aiohttp.request"]))
            for packet in packets:
                if self.closing:
                    return
                self.receive_text(packet)
                await self._room()
        except Refused:
            # engineio has no answer for a refusal of a session that ended meanwhile.
            if not self.closing:
                raise
        except (ConnectionResetError, RequestPayloadError):
            self.abort()
        finally:
            self.posting = False

    async def _body(self, request: web.Request) -> bytes:
        limit = self.engine.limits.polling_payload
        body = bytearray()
        async for chunk in request.content.iter_any():
            body += chunk
            if len(body) > limit:
                raise Refused(f"a payload may have {limit} bytes")
        return bytes(body)

    def _packets(self, body: bytes) -> list[str]:
        """The packets of a payload, all looked at before the first is handled; binary ones are left out."""
        limits = self.engine.limits
        parts = body.split(SEPARATOR)
        if len(parts) > limits.polling_packets:
            raise Refused(f"a payload may have {limits.polling_packets} packets")
        if any(len(part) > limits.packet for part in parts):
            raise Refused(f"a packet may have {limits.packet} bytes")
        if any(part[:1] not in KINDS for part in parts):
            raise Refused("no Engine.IO packet")
        try:
            return [part.decode() for part in parts if part[:1] != b"b"]
        except UnicodeDecodeError:
            raise Refused("no UTF-8") from None

    # Websocket

    async def _upgrade_websocket(self, environ: dict[str, Any]) -> Any:
        if self.upgraded or self.upgrading:
            return self.engine._bad_request("upgraded already")
        request: web.Request = environ["aiohttp.request"]
        wire = Wire(self)
        await wire.prepare(request)
        transport = request.transport
        if transport is None:
            return wire
        wire.taken = transport
        if self.connected:
            try:
                async with asyncio.timeout(UPGRADE_DEADLINE):
                    upgraded = await self._probe(wire, transport)
            except TimeoutError:
                upgraded = False
            if upgraded and self.closing:
                # It was closed meanwhile: what was to be said last goes this way.
                transport.write(self._take_held() + frames.close_frame(1000))
                self._end()
            if not upgraded or self.closing:
                transport.close()
                return wire
        self.connected = self.upgraded = True
        self.transport = transport
        if self.held:
            transport.write(self._take_held())
        try:
            await self._read(wire)
        finally:
            self.abort()
            if self.aborting and not transport.get_write_buffer_size():
                self.aborting.cancel()
        return wire

    async def _probe(self, wire: "Wire", transport: asyncio.Transport) -> bool:
        message = await wire.receive()
        if message.type is not WSMsgType.TEXT or message.data != "2probe" or self.upgrading:
            return False
        self.upgrading = True
        try:
            transport.write(PROBE_ANSWER)
            if self.poll_waiter and not self.poll_waiter.done():
                self.poll_waiter.set_result(NOOP)
            message = await wire.receive()
            return message.type is WSMsgType.TEXT and message.data == "5"
        finally:
            self.upgrading = False

    async def _read(self, wire: "Wire") -> None:
        while not self.closing:
            message: WSMessage = await wire.receive()
            self.confirmed_at = time.monotonic()
            if message.type is WSMsgType.TEXT:
                if len(message.data) > self.engine.limits.packet:
                    return self.close_now(1009)
                try:
                    self.receive_text(message.data)
                except Refused:
                    return self.close_now(1008)
                if len(self.inbox) >= self.engine.limits.inbox:
                    await self._room()
            elif message.type is WSMsgType.PING:
                self.write(b"\x8a%c%b" % (len(message.data), message.data))
            elif message.type in (WSMsgType.PONG, WSMsgType.BINARY):
                continue
            else:
                if self.worker:
                    # What came before the goodbye counts.
                    await asyncio.wait([self.worker], timeout=CLOSE_LINGER)
                return self.close_now(1000)
        return None

    # Closing

    def close_now(self, code: int = 1001) -> None:
        """Close the transport after what was written, without a word of Socket.IO: official clients come back."""
        if self.closing:
            return
        self.closing = True
        if self.transport is None:
            asyncio.get_running_loop().call_later(CLOSE_LINGER, self._end)
            if self.poll_waiter and not self.poll_waiter.done():
                self._end()
        else:
            if not self.transport.is_closing():
                self.transport.write(frames.close_frame(code))
                self.transport.close()
                self.aborting = asyncio.get_running_loop().call_later(CLOSE_LINGER, self.transport.abort)
            self._end()
        self._gone()

    def abort(self) -> None:
        """Drop the connection at once, with what was not taken yet."""
        if not self.closing:
            self.closing = True
            if self.transport:
                self.transport.abort()
            self._end()
            self._gone()

    async def close(self, wait: bool = True, abort: bool = False, reason: str | None = None) -> None:
        """engineio's own way of closing."""
        self.close_now()

    def _end(self) -> None:
        self.closed = True
        self.engine.sockets.pop(self.sid, None)
        if self.poll_waiter and not self.poll_waiter.done():
            self.poll_waiter.set_result(CLOSE)

    def _gone(self) -> None:
        self.deadline.cancel()
        self.engine.forget(self)
        self.inbox.clear()
        if self.space and not self.space.done():
            self.space.set_result(None)
        self.engine.listener.gone(self)

    def _unconnected(self) -> None:
        if self.user is None:
            self.abort()


class Wire(web.WebSocketResponse):
    """The handshake and the reading side of a websocket; whatever is written goes through its ``Socket``."""

    def __init__(self, socket: Socket) -> None:
        # A little above the limit, so that the limit's own error is the one that is seen.
        size = socket.engine.limits.packet + 1024
        super().__init__(compress=False, autoclose=False, autoping=False, max_msg_size=size)
        self.socket = socket
        self.taken: asyncio.Transport | None = None

    async def close(self, *, code: int = 1000, message: bytes = b"", drain: bool = True) -> bool:
        self._closed = True
        if self.taken is None:
            return True
        if self.taken is self.socket.transport:
            self.socket.close_now(code)
        else:
            self.taken.close()
        return True
