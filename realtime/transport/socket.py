"""Engine.IO sessions with one writer each, and the one place that touches a socket's transport.

``Socket`` replaces engineio's: everything that goes out, engineio's own packets included, passes the synchronous
``Socket.write`` as a ready websocket frame. On a websocket that is the transport's own. A queue exists only while
polling, and is written out in the same loop step that ends the upgrade.

Relied on of engineio 4: ``AsyncServer.handle_request`` calls ``handle_get_request`` and ``handle_post_request`` of a socket,
and its own packets go through ``send`` and ``close``. Checked by name in ``tests/test_seams.py``.
"""

import asyncio
import hashlib
import math
import time
from collections import deque
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from aiohttp.web import RequestPayloadError
from engineio.async_socket import AsyncSocket

from realtime.transport import frames
from realtime.transport.context import CURRENT
from realtime.transport.polling import Refused, packets, payload, read_body
from realtime.transport.upgrade import NOOP, Upgrade
from realtime.transport.websocket import CLOSE_LINGER_SECONDS, LOST, HijackedResponse, NoHandshake, Websocket, accept

if TYPE_CHECKING:
    from realtime.transport.engine import Engine

# python-engineio's client takes no more packets in one polling payload (Payload.max_decode_packets).
POLL_FRAMES = 16
PING = frames.text_frame(b"2")
CLOSE = frames.text_frame(b"1")


class Close(NamedTuple):
    """The client is leaving, after what came before this."""

    code: int


class Socket(AsyncSocket):
    """One Engine.IO session, polling or websocket."""

    # All that engineio's own class has too, so that there is no dictionary for each.
    __slots__ = (
        "address",
        "began_at",
        "closed",
        "closing",
        "code",
        "confirmed_at",
        "connected",
        "corked",
        "deadline",
        "drained_at",
        "engine",
        "inbox",
        "outgoing",
        "outgoing_bytes",
        "phase",
        "ping_requested_at",
        "pinged_at",
        "poll_waiter",
        "posting",
        "server",
        "session",
        "sid",
        "space",
        "transport",
        "upgrade",
        "upgraded",
        "upgrading",
        "websocket",
        "worker",
        "write",
    )  # fmt: skip

    def __init__(self, engine: "Engine", sid: str, address: str | None) -> None:
        self.address = address
        self.began_at = time.monotonic()
        self.code = LOST
        self.server = self.engine = engine
        self.sid = sid
        self.connected = self.upgrading = self.upgraded = False
        self.closing = self.closed = False
        self.session: Any = None  # the protocol's state of this connection
        # Sends frames made by ``realtime.transport.frames``, in the order of the calls; never waits, never raises.
        self.write: Callable[[bytes], None] = self._enqueue_frames
        self.transport: asyncio.Transport | None = None
        self.websocket: Websocket | None = None
        self.corked: list[bytes] | None = None
        self.upgrade: Upgrade | None = None
        self.outgoing: list[bytes] = []
        self.outgoing_bytes = 0
        self.poll_waiter: asyncio.Future[bytes | None] | None = None
        self.inbox: deque[Any] | None = None
        self.worker: asyncio.Task[None] | None = None
        self.space: asyncio.Future[None] | None = None
        self.posting = False
        self.pinged_at = math.inf
        self.ping_requested_at = self.confirmed_at = self.drained_at = -math.inf
        self.phase = 0
        self.deadline: asyncio.TimerHandle | None = None
        self.start_connect_deadline()

    def described(self) -> dict[str, str]:
        """The session's own id is a secret: who knows it may speak in its name."""
        known = {"connection": hashlib.sha256(self.sid.encode()).hexdigest()[:16]}
        if self.session:
            known["user"] = self.session.user_id
        if self.address:
            known["address"] = self.address
        return known

    # Outbound

    def _write_by(self, write: Callable[[bytes], None]) -> None:
        self.write = write
        if self.session:
            self.session.write = write

    async def send(self, pkt: Any) -> None:
        """engineio's own packets go the same way."""
        self.write(frames.text_frame(pkt.encode(b64=True).encode()))

    @property
    def buffered(self) -> int:
        """Unsent bytes."""
        if self.transport is None:
            return self.outgoing_bytes
        return 0 if self.transport.is_closing() else self.transport.get_write_buffer_size()

    async def drained(self, below: int) -> bool:
        """Wait until at most ``below`` bytes are under way; False if the socket closed meanwhile."""
        pause, least, seconds_left = 0.005, self.buffered, self.engine.ping_interval + self.engine.ping_timeout
        while not self.closing and self.buffered > below:
            await asyncio.sleep(pause)
            pause, seconds_left = min(2 * pause, 0.25), seconds_left - pause
            if self.buffered < least:
                pause, least, seconds_left = 0.005, self.buffered, self.engine.ping_interval + self.engine.ping_timeout
            elif seconds_left < 0:
                self.engine.disconnect_slow(self)
                return False
        return not self.closing

    def _enqueue_frames(self, data: bytes) -> None:
        self.outgoing += frames.single_frames(data)
        self.outgoing_bytes += len(data)
        if self.poll_waiter and not self.poll_waiter.done():
            self.poll_waiter.set_result(None)
        if self.outgoing_bytes > self.engine.limits.outbound:
            self.engine.disconnect_slow(self)

    def pop_queue(self, most: int | None = None) -> bytes:
        data = b"".join(self.outgoing[:most])
        del self.outgoing[:most]
        self.outgoing_bytes -= len(data)
        if not self.outgoing:
            self.drained_at = time.monotonic()
        return data

    # Inbound

    def receive_text(self, text: str) -> None:
        """One Engine.IO packet. Raises Refused for what is none."""
        kind = text[:1]
        if kind == "3":
            self.pinged_at = math.inf
        elif kind == "4":
            self.engine.listener.on_packet(self, text[1:])
        elif kind == "1":
            self.enqueue(Close(1000))
        elif kind == "2":
            self.write(frames.text_frame(b"3" + text[1:].encode()))
        elif kind == "b":
            self.on_binary()
        elif kind not in ("5", "6"):
            raise Refused("Not an Engine.IO packet")

    def enqueue(self, item: Any) -> None:
        """Put an item where it is worked off in order, by a task that exists only while there is something."""
        if self.inbox is None:
            self.inbox = deque()
        self.inbox.append(item)
        if self.worker is None:
            self.worker = self.engine.tasks.spawn(self._work())

    def work(self, first: Awaitable[None]) -> None:
        """Begin to work with something that came while there was nothing else."""
        self.worker = self.engine.tasks.spawn(self._work(first))

    async def _work(self, first: Awaitable[None] | None = None) -> None:
        CURRENT.set(self)
        try:
            if first is not None:
                await first
            while self.inbox and not self.closing:
                item = self.inbox.popleft()
                if isinstance(item, Close):
                    return self.close_now(item.code)
                await self.engine.listener.work(self, item)
                self._resume_reading()
        finally:
            self.worker = self.inbox = None
            self._resume_reading()
        return None

    @property
    def full(self) -> bool:
        """Whether so much waits in the inbox that the socket is not read."""
        return self.inbox is not None and len(self.inbox) >= self.engine.limits.inbox and not self.closing

    def _resume_reading(self) -> None:
        """While the socket was not read, its ping could not be answered."""
        if self.full:
            return
        if self.space and not self.space.done():
            self.space.set_result(None)
        elif self.websocket and self.websocket.paused:
            self.websocket.resume()
        else:
            return
        if self.pinged_at != math.inf:
            self.pinged_at = asyncio.get_running_loop().time()

    async def _wait_for_space(self) -> None:
        """Wait while the inbox is full."""
        while self.full:
            self.space = self.space or asyncio.get_running_loop().create_future()
            await self.space
            self.space = None

    def ping_now(self) -> None:
        """Ask for a sign of life now, unless an answer is awaited already."""
        self.ping_requested_at = time.monotonic()
        if self.pinged_at == math.inf:
            self.pinged_at = asyncio.get_running_loop().time()
            self.write(PING)

    # Polling

    async def handle_get_request(self, environ: dict[str, Any]) -> Any:
        if environ.get("HTTP_UPGRADE", "").lower() == "websocket":
            return await self._upgrade_websocket(environ)
        return payload(await self._poll())

    async def _poll(self) -> bytes:
        self.confirmed_at = self.drained_at
        if self.poll_waiter is not None:
            raise Refused("Another poll is pending")
        if self.upgrading:
            return NOOP
        if self.closing and not self.outgoing:
            self._end()
            return CLOSE
        if not self.outgoing:
            self.poll_waiter = asyncio.get_running_loop().create_future()
            try:
                async with asyncio.timeout(self.engine.ping_interval + self.engine.ping_timeout):
                    answer = await self.poll_waiter
            except TimeoutError:
                self.abort()
                raise Refused("Nothing to poll") from None
            finally:
                self.poll_waiter = None
            if answer is not None:
                return answer
        # A client handles CLOSE before the events beside it: it goes alone, with a later poll.
        return self.pop_queue(POLL_FRAMES)

    async def handle_post_request(self, environ: dict[str, Any]) -> None:
        if self.posting:
            raise Refused("Another payload is being received")
        self.posting = True
        self.confirmed_at = self.drained_at
        try:
            limits = self.engine.limits
            for packet in packets(await read_body(environ["aiohttp.request"], limits), limits):
                if self.closing:
                    return
                self.receive_text(packet)
                await self._wait_for_space()
        except Refused:
            # engineio has no answer for a refusal of a session that ended meanwhile.
            if not self.closing:
                raise
        except RequestPayloadError:
            raise Refused("The body cannot be read") from None
        except ConnectionResetError:
            self.abort()
        finally:
            self.posting = False

    # Websocket

    async def _upgrade_websocket(self, environ: dict[str, Any]) -> Any:
        if self.upgraded or self.upgrading:
            return self.engine._bad_request("The session is already upgraded")
        limits = self.engine.limits
        first = b"" if self.connected else self.pop_queue()
        try:
            websocket = accept(
                environ["aiohttp.request"], self, largest=limits.packet, limit=limits.outbound, first=first
            )
        except (NoHandshake, ConnectionResetError) as error:
            if not self.connected:
                self.abort()
            answer = self.engine._bad_request(str(error))
            if isinstance(error, NoHandshake):
                answer["headers"] += error.headers
            return answer
        if self.connected:
            websocket.receiver = Upgrade(self, websocket)
        else:
            self.attach(websocket)
        websocket.start()
        return HijackedResponse()

    def attach(self, websocket: Websocket) -> None:
        """From here on everything goes this way, first what was held."""
        self.connected = self.upgraded = True
        self.websocket, self.transport = websocket, websocket.transport
        self._write_by(websocket.transport.write)
        websocket.receiver = self
        if self.outgoing:
            self.transport.write(self.pop_queue())

    def on_text(self, text: str) -> None:
        self.confirmed_at = time.monotonic()
        if len(text) > self.engine.limits.packet:
            return self.close_now(1009)
        try:
            self.receive_text(text)
        except Refused:
            return self.close_now(1008)
        if self.inbox and len(self.inbox) >= self.engine.limits.inbox and self.websocket:
            self.websocket.pause()
        return None

    def on_binary(self) -> None:
        """The bytes that an event announced are ignored, as the event says; before CONNECT there is no such event."""
        if self.session is None and self.worker is None:
            self.close_now(1003)

    def on_close(self, code: int) -> None:
        """What came before the goodbye counts."""
        if code == LOST:
            self._write_by(discard)
        if self.worker is None or self.websocket is None:
            self.close_now(code)
        else:
            self.websocket.stop_reading()
            self.enqueue(Close(code))
            asyncio.get_running_loop().call_later(CLOSE_LINGER_SECONDS, self.close_now, code)

    def cork(self) -> None:
        if self.transport and not self.closing:
            self.corked = []
            self._write_by(self.corked.append)

    def uncork(self) -> None:
        data, self.corked = self.corked, None
        if data is not None and self.transport and not self.closing and self.write is not discard:
            self._write_by(self.transport.write)
            if data:
                self.transport.write(b"".join(data))

    def on_backlog(self) -> None:
        self.engine.disconnect_slow(self)

    # Closing

    def close_now(self, code: int = 1001) -> None:
        """Close the transport after what was written, without a word of Socket.IO: official clients come back."""
        if self.closing:
            return
        self.uncork()
        self.closing = True
        self.code = code
        self._write_by(discard)
        if self.websocket:
            self.websocket.close(code)
            self._end()
        else:
            asyncio.get_running_loop().call_later(CLOSE_LINGER_SECONDS, self._end)
            if self.poll_waiter and not self.poll_waiter.done():
                self._end()
        self._gone()

    def abort(self) -> None:
        """Drop the connection at once, together with its unsent bytes."""
        if not self.closing:
            self.closing = True
            self._write_by(discard)
            if self.websocket:
                self.websocket.abort()
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
        self.cancel_connect_deadline()
        self.engine.forget(self)
        self.inbox = None
        if self.space and not self.space.done():
            self.space.set_result(None)
        self.engine.listener.on_closed(self)

    def start_connect_deadline(self) -> None:
        """Whoever is nobody's for long is dropped."""
        self.deadline = asyncio.get_running_loop().call_later(self.engine.limits.unconnected, self._unconnected)

    def cancel_connect_deadline(self) -> None:
        if self.deadline:
            self.deadline.cancel()
            self.deadline = None

    def _unconnected(self) -> None:
        if self.session is None:
            self.abort()


def discard(data: bytes) -> None:
    """Drops what is written after the end of a session."""
