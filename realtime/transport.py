"""Engine.IO sessions with one writer each, and the one place that touches a socket's transport.

``Socket`` replaces engineio's: everything that goes out, engineio's own packets included, passes the synchronous
``Socket.write`` as a ready websocket frame. On a websocket it goes straight to the transport. A queue exists only while
polling, and is written out in the same loop step that ends the upgrade. One timer for all pings, no task for any.

engineio's ``handle_request`` stays the HTTP edge. Relied on of engineio 4.15: ``AsyncServer._handle_connect``, the
attributes of a socket that ``handle_request`` reads, and that ``handle_get_request`` may answer with a response dict.
"""

import asyncio
import logging
import math
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol

import engineio
import orjson
from aiohttp import WSMsgType, web
from aiohttp.http import WSMessage
from engineio.async_socket import AsyncSocket
from engineio.exceptions import EngineIOError

from realtime import frames
from realtime.limits import Limits
from realtime.tasks import Tasks

logger = logging.getLogger("bellwire.socket")

PHASES = 25
CLOSE_LINGER = 5.0
UPGRADE_DEADLINE = 10.0
CONNECT_DEADLINE = 10.0
SEPARATOR = b"\x1e"
NOOP = frames.text_frame(b"6")
PING = frames.text_frame(b"2")
PROBE_ANSWER = frames.text_frame(b"3probe")
CLOSE = frames.text_frame(b"1")


class Refused(EngineIOError):
    """A polling request that can't be served; the session ends and the client is told 400"""


class Listener(Protocol):
    """What the transport tells the protocol above it."""

    def arrived(self, socket: "Socket", text: str) -> None:
        """A message came; called in order, from the read loop, must not wait."""

    def work(self, socket: "Socket", item: Any) -> Awaitable[None]:
        """Handle what ``arrived`` put into the inbox; one at a time for a socket."""
        ...

    def gone(self, socket: "Socket") -> None:
        """The session is over; called once."""


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
        self.frames_in = 0
        self.pinged_at = math.inf
        self.phase = 0
        self.deadline = asyncio.get_running_loop().call_later(CONNECT_DEADLINE, self._unconnected)
        self.drained: asyncio.Future[None] | None = None

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
        while not self.closing and self.buffered > below:
            await asyncio.sleep(0.005)
        return not self.closing

    def _hold(self, data: bytes) -> None:
        self.held.append(data)
        self.held_bytes += len(data)
        if self.poll_waiter and not self.poll_waiter.done():
            self.poll_waiter.set_result(None)
        if self.held_bytes > self.engine.limits.outbound:
            self.engine.slow(self)

    def _take_held(self) -> bytes:
        data = b"".join(self.held)
        self.held.clear()
        self.held_bytes = 0
        return data

    # Inbound

    def receive_text(self, text: str) -> None:
        """One Engine.IO packet. Raises Refused for what is none; binary is none here."""
        self.frames_in += 1
        kind = text[:1]
        if kind == "3":
            self.pinged_at = math.inf
        elif kind == "4":
            self.engine.listener.arrived(self, text[1:])
        elif kind == "1":
            self.abort()
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
                await self.engine.listener.work(self, self.inbox.popleft())
                if self.space and not self.space.done():
                    self.space.set_result(None)
        finally:
            self.worker = None
            if self.space and not self.space.done():
                self.space.set_result(None)

    async def _room(self) -> None:
        """Wait while too much waits in the inbox. The socket is not read meanwhile, so its ping can't time out."""
        while len(self.inbox) >= self.engine.limits.inbox and not self.closing:
            self.space = asyncio.get_running_loop().create_future()
            try:
                await self.space
            finally:
                self.space = None
            if self.pinged_at != math.inf:
                self.pinged_at = asyncio.get_running_loop().time()

    # Polling

    async def handle_get_request(self, environ: dict[str, Any]) -> Any:
        if environ.get("HTTP_UPGRADE", "").lower() == "websocket":
            return await self._upgrade_websocket(environ)
        return self._payload(await self._poll())

    async def _poll(self) -> bytes:
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
        # A client handles CLOSE before the events beside it: it goes alone, with the next poll.
        return self._take_held()

    def _payload(self, data: bytes) -> dict[str, Any]:
        return {
            "status": "200 OK",
            "headers": [("Content-Type", "text/plain; charset=UTF-8"), ("Cache-Control", "no-store")],
            "response": SEPARATOR.join(frames.split_frames(data)),
        }

    async def handle_post_request(self, environ: dict[str, Any]) -> None:
        request: web.Request = environ["aiohttp.request"]
        limit = self.engine.limits.polling_payload
        body = bytearray()
        async for chunk in request.content.iter_any():
            body += chunk
            if len(body) > limit:
                raise Refused(f"a payload may have {limit} bytes")
        if self.closing:
            return
        try:
            packets = body.decode().split("\x1e")
        except UnicodeDecodeError:
            raise Refused("no UTF-8") from None
        if len(packets) > self.engine.limits.polling_packets:
            raise Refused(f"a payload may have {self.engine.limits.polling_packets} packets")
        if any(len(packet.encode()) > self.engine.limits.packet for packet in packets):
            raise Refused(f"a packet may have {self.engine.limits.packet} bytes")
        if any(packet[:1] not in set("123456") for packet in packets):
            raise Refused("no Engine.IO packet")
        for packet in packets:
            self.receive_text(packet)
            await self._room()

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
            self.upgrading = True
            try:
                async with asyncio.timeout(UPGRADE_DEADLINE):
                    upgraded = await self._probe(wire, transport)
            except TimeoutError:
                upgraded = False
            finally:
                self.upgrading = False
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
        return wire

    async def _probe(self, wire: "Wire", transport: asyncio.Transport) -> bool:
        message = await wire.receive()
        if message.type is not WSMsgType.TEXT or message.data != "2probe":
            return False
        transport.write(PROBE_ANSWER)
        if self.poll_waiter and not self.poll_waiter.done():
            self.poll_waiter.set_result(NOOP)
        message = await wire.receive()
        return message.type is WSMsgType.TEXT and message.data == "5"

    async def _read(self, wire: "Wire") -> None:
        while not self.closing:
            message: WSMessage = await wire.receive()
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
                self.frames_in += 1
                if self.transport and not self.closing:
                    self.transport.write(b"\x8a%c%b" % (len(message.data), message.data))
            elif message.type is WSMsgType.PONG:
                self.frames_in += 1
            elif message.type is WSMsgType.BINARY:
                continue
            else:
                return self.close_now(1000)
        return None

    # Closing

    def close_now(self, code: int = 1001) -> None:
        """Close the transport after what was written, without a word of Socket.IO: official clients come back."""
        if self.closing:
            return
        self.closing = True
        if self.transport is None:
            if self.poll_waiter and not self.poll_waiter.done():
                self._end()
            else:
                asyncio.get_running_loop().call_later(CLOSE_LINGER, self._end)
        else:
            if not self.transport.is_closing():
                self.transport.write(frames.close_frame(code))
                self.transport.close()
                asyncio.get_running_loop().call_later(CLOSE_LINGER, self.transport.abort)
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
        if self.taken is self.socket.transport:
            self.socket.close_now(code)
        elif self.taken:
            self.taken.close()
        return True


class Engine(engineio.AsyncServer):
    """Engine.IO sessions, their pings, and who may come."""

    listener: Listener

    def __init__(self, limits: Limits, **options: Any) -> None:
        super().__init__(
            async_mode="aiohttp",
            max_http_buffer_size=limits.polling_payload,
            monitor_clients=False,
            logger=logger,
            **options,
        )
        self.limits = limits
        self.sockets: dict[str, Socket] = {}
        self.phases: list[set[Socket]] = [set() for _ in range(PHASES)]
        self.phase = 0
        self.tick = self.ping_interval / PHASES
        self.timer: asyncio.TimerHandle | None = None
        self.refusing: str | None = None
        self.cut = 0
        self.tasks = Tasks()
        self.origin_allowed: Callable[[str, Mapping[str, Any]], bool] = lambda origin, environ: True

    # Coming and going

    async def _handle_connect(self, environ: dict[str, Any], transport: str, jsonp_index: Any = None) -> Any:
        if self.refusing:
            return {"status": "503 SERVICE UNAVAILABLE", "headers": [], "response": self.refusing.encode()}
        sid = self.generate_id()
        socket = self.sockets[sid] = Socket(self, sid)
        socket.phase = self.phase
        self.phases[self.phase].add(socket)
        if self.timer is None:
            self.timer = asyncio.get_running_loop().call_later(self.tick, self._ping)
        opening = {
            "sid": sid,
            "upgrades": self._upgrades(sid, transport),
            "pingTimeout": int(self.ping_timeout * 1000),
            "pingInterval": int(self.ping_interval * 1000),
            "maxPayload": self.limits.polling_payload,
        }
        socket.write(frames.text_frame(b"0" + orjson.dumps(opening)))
        await self._trigger_event("connect", sid, environ, run_async=False)
        if transport == "websocket":
            return await socket.handle_get_request(environ)
        socket.connected = True
        return socket._payload(await socket._poll())

    def forget(self, socket: Socket) -> None:
        self.phases[socket.phase].discard(socket)

    def slow(self, socket: Socket) -> None:
        """Cut off a client that does not take what is sent; later, for we may be in the middle of a fan-out."""
        asyncio.get_running_loop().call_soon(self._cut, socket)

    def _cut(self, socket: Socket) -> None:
        if not socket.closing:
            self.cut += 1
            logger.warning("cut off a slow reader with %d bytes waiting", socket.buffered)
            socket.abort()

    # Pings

    def _ping(self) -> None:
        """One tick: ping the sockets of this phase, and drop those whose last ping was not answered in time."""
        loop = asyncio.get_running_loop()
        self.timer = loop.call_later(self.tick, self._ping)
        self.phase = (self.phase + 1) % PHASES
        for socket in list(self.phases[self.phase]):
            if socket.pinged_at == math.inf:
                socket.pinged_at = loop.time()
                socket.write(PING)
        overdue = loop.time() - self.ping_timeout
        late = (self.phase - math.ceil(self.ping_timeout / self.tick)) % PHASES
        for socket in list(self.phases[late]):
            if socket.pinged_at <= overdue and socket.space is None:
                socket.abort()

    async def stop(self) -> None:
        """After all sockets were closed: no more pings, and nothing under way any more."""
        if self.timer:
            self.timer.cancel()
        await self.tasks.finish()

    # HTTP answers

    def _cors_allowed_origins(self, environ: dict[str, Any]) -> list[str] | None:
        """None: the HTTP edge lets every origin through, and CONNECT says what is wrong with it."""
        return None

    def _cors_headers(self, environ: dict[str, Any]) -> list[tuple[str, str]]:
        origin = environ.get("HTTP_ORIGIN")
        if not origin or not self.origin_allowed(origin, environ):
            return []
        headers = [("Access-Control-Allow-Origin", origin), ("Vary", "Origin")]
        if environ["REQUEST_METHOD"] == "OPTIONS":
            headers.append(("Access-Control-Allow-Methods", "OPTIONS, GET, POST"))
            headers.append(("Access-Control-Allow-Headers", "content-type"))
        return headers

    def _bad_request(self, message: str | None = None) -> Any:
        if message and message.startswith(("Invalid session", "Session ")):
            message = (
                "Unknown session: it ended, or another process holds it. Polling needs one process or a sticky "
                'balancer; with several, connect with transports: ["websocket"]'
            )
        return super()._bad_request(message)

    def _log_error_once(self, message: str, message_key: str) -> None:
        """A client's mistake is no error of ours, and its text is the client's: log the kind alone."""
        logger.debug("refused a request: %s", message_key)
