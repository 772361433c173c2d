"""Engine.IO sessions with one writer each, and the one place that touches a socket's transport.

``Socket`` replaces engineio's: everything that goes out, engineio's own packets included, passes the synchronous
``Socket.write`` as a ready websocket frame. On a websocket that is the transport's own. A queue exists only while
polling, and is written out in the same loop step that ends the upgrade.

Relied on of engineio 4: ``AsyncServer.handle_request`` calls ``handle_get_request`` and ``handle_post_request`` of a socket,
reads its ``connected``, ``upgraded`` and ``closed``, and its own packets go through ``send`` and ``close``. Checked by name
in ``tests/test_seams.py``.
"""

import asyncio
import hashlib
import math
import time
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp.web import RequestPayloadError
from engineio.async_socket import AsyncSocket

from realtime.transport import frames
from realtime.transport.context import set_subject
from realtime.transport.frames import Packet
from realtime.transport.inbox import Inbox
from realtime.transport.interfaces import ConnectedSession, Host
from realtime.transport.polling import PollQueue, Refused, packets, payload, read_body
from realtime.transport.states import Ending, SocketState
from realtime.transport.upgrade import NOOP, Upgrade
from realtime.transport.websocket import CLOSE_LINGER_SECONDS, HijackedResponse, NoHandshake, Websocket, accept

PING = frames.text_frame(b"2")
CLOSE = frames.text_frame(b"1")


class Socket(AsyncSocket):
    """One Engine.IO session, polling or websocket."""

    # All attributes, so that the dictionary that engineio's own class brings stays empty.
    __slots__ = (
        "address", "began_at", "confirmed_at", "connect_deadline", "corked", "ending", "host", "inbox", "origin_allowed",
        "phase", "ping_requested_at", "pinged_at", "polling", "posting", "server", "session", "sid", "state", "transport",
        "upgrade", "websocket", "write",
    )  # fmt: skip

    def __init__(self, host: Host, sid: str, *, address: str | None, origin_allowed: bool) -> None:
        # engineio's name for it.
        self.server = self.host = host
        # The session's id: a secret, because who knows it may speak in its name.
        self.sid = sid
        # Of the client; None where that is not limited.
        self.address = address
        # Whether the page that opened it may connect.
        self.origin_allowed = origin_allowed
        # Of time.monotonic().
        self.began_at = time.monotonic()
        self.state = SocketState.OPENING
        # Why it ended; set before ``state`` becomes CLOSING.
        self.ending = Ending.LOST
        # From a successful CONNECT to DISCONNECT or the end.
        self.session: ConnectedSession | None = None
        # Sends frames made by ``realtime.transport.frames``, in the order of the calls; never waits, never raises.
        self.write: Callable[[bytes], None] = self._enqueue_frames
        # What is written waits here until it is polled; None on a websocket.
        self.polling: PollQueue | None = PollQueue()
        # A payload is being received.
        self.posting = False
        self.websocket: Websocket | None = None
        # The websocket's.
        self.transport: asyncio.Transport | None = None
        # Frames that are held back until ``uncork``, to leave in one write; None while nothing is held back.
        self.corked: list[bytes] | None = None
        # The websocket that is to take over from polling, once it was probed.
        self.upgrade: Upgrade | None = None
        # What waits for an earlier packet to be handled; None while no packet is being handled.
        self.inbox: Inbox | None = None
        # When a ping went out that has not been answered, of the loop's time(); infinite while none has.
        self.pinged_at = math.inf
        # Of time.monotonic(): the last ``ping_now``, and when the client was known to have got all that was written before.
        self.ping_requested_at = self.confirmed_at = -math.inf
        # At which tick of the server's timer it is pinged.
        self.phase = 0
        # Ends a session that has no CONNECT.
        self.connect_deadline: asyncio.TimerHandle | None = None
        self.start_connect_deadline()

    # What engineio reads

    @property
    def connected(self) -> bool:
        return self.state is not SocketState.OPENING

    @property
    def upgraded(self) -> bool:
        return self.websocket is not None

    @property
    def closed(self) -> bool:
        return self.state is SocketState.CLOSED

    @property
    def closing(self) -> bool:
        """Whether the session has ended, even if its last packets have not been polled yet."""
        return self.state >= SocketState.CLOSING

    def described(self) -> dict[str, str]:
        """For the log, without the session's own id."""
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

    def _stop_writing(self) -> None:
        self.corked = None
        self._write_by(discard)

    async def send(self, pkt: Any) -> None:
        """engineio's own packets go the same way."""
        self.write(frames.text_frame(pkt.encode(b64=True).encode()))

    @property
    def buffered(self) -> int:
        """Unsent bytes."""
        if self.transport is None:
            return self.polling.size if self.polling else 0
        return 0 if self.transport.is_closing() else self.transport.get_write_buffer_size()

    async def drained(self, below: int) -> bool:
        """Wait until at most ``below`` bytes are unsent; False if the socket closed meanwhile."""
        pause, least, seconds_left = 0.005, self.buffered, self.host.ping_interval + self.host.ping_timeout
        while not self.closing and self.buffered > below:
            await asyncio.sleep(pause)
            pause, seconds_left = min(2 * pause, 0.25), seconds_left - pause
            if self.buffered < least:
                pause, least, seconds_left = 0.005, self.buffered, self.host.ping_interval + self.host.ping_timeout
            elif seconds_left < 0:
                self.host.disconnect_slow(self)
                return False
        return not self.closing

    def _enqueue_frames(self, data: bytes) -> None:
        assert self.polling is not None
        self.polling.put(data)
        if self.polling.size > self.host.limits.outbound:
            self.host.disconnect_slow(self)

    def cork(self) -> None:
        if self.transport and not self.closing:
            self.corked = []
            self._write_by(self.corked.append)

    def uncork(self) -> None:
        data, self.corked = self.corked, None
        if data is not None and self.transport:
            self._write_by(self.transport.write)
            if data:
                self.transport.write(b"".join(data))

    def on_backlog(self) -> None:
        self.host.disconnect_slow(self)

    def ping_now(self) -> None:
        """Ask for a sign of life now, unless an answer is awaited already."""
        self.ping_requested_at = time.monotonic()
        if self.pinged_at == math.inf:
            self.pinged_at = asyncio.get_running_loop().time()
            self.write(PING)

    # Inbound

    def receive_text(self, text: str) -> None:
        """One Engine.IO packet. Raises Refused for what is none."""
        kind = text[:1]
        if kind == "3":
            self.pinged_at = math.inf
        elif kind == "4":
            self.host.handler.on_packet(self, text[1:])
        elif kind == "1":
            self.enqueue(Ending.CLIENT_CLOSED)
        elif kind == "2":
            self.write(frames.text_frame(b"3" + text[1:].encode()))
        elif kind == "b":
            self.on_binary()
        elif kind not in ("5", "6"):
            raise Refused("Not an Engine.IO packet")

    def enqueue(self, item: Packet | Ending) -> None:
        """Have an item handled after those that came before it."""
        if self.inbox is None:
            self.work()
        assert self.inbox is not None
        self.inbox.put(item)

    def work(self, first: Awaitable[None] | None = None) -> None:
        """Handle the inbox, after ``first``, in a task that exists only while there is something. There must be none yet."""
        self.inbox = Inbox(self.host.limits.inbox)
        self.host.tasks.spawn(self._work(self.inbox, first))

    async def _work(self, inbox: Inbox, first: Awaitable[None] | None) -> None:
        set_subject(self)
        try:
            if first is not None:
                await first
            while (item := inbox.pop()) is not None and not self.closing:
                if isinstance(item, Ending):
                    return self.close_now(item)
                await self.host.handler.work(self, item)
                self._resume_reading()
        finally:
            inbox.clear()
            self.inbox = None
            self._resume_reading()
        return None

    @property
    def full(self) -> bool:
        """Whether so much waits in the inbox that the socket is not read."""
        return self.inbox is not None and self.inbox.full

    def _resume_reading(self) -> None:
        """There may be room in the inbox."""
        if self.full:
            return
        if not (self.inbox and self.inbox.signal_space()):
            if not (self.websocket and self.websocket.paused):
                return
            self.websocket.resume()
        # While the socket was not read, its ping could not be answered.
        if self.pinged_at != math.inf:
            self.pinged_at = asyncio.get_running_loop().time()

    # Polling

    async def handle_get_request(self, environ: dict[str, Any]) -> Any:
        if environ.get("HTTP_UPGRADE", "").lower() == "websocket":
            return self._upgrade_websocket(environ)
        return await self.poll()

    async def poll(self) -> dict[str, Any]:
        """The answer to a poll. Raises Refused."""
        return payload(await self._polled())

    async def _polled(self) -> bytes:
        # engineio has looked at ``upgraded``.
        assert self.polling is not None
        if self.polling.waiter is not None:
            raise Refused("Another poll is pending")
        self.confirmed_at = self.polling.drained_at
        if self.upgrade:
            return NOOP
        if self.closing and not self.polling.frames:
            self._end()
            return CLOSE
        try:
            return await self.polling.wait(self.host.ping_interval + self.host.ping_timeout)
        except TimeoutError:
            self.abort(Ending.POLL_TIMEOUT)
            raise Refused("Nothing to poll") from None

    async def handle_post_request(self, environ: dict[str, Any]) -> None:
        if self.posting:
            raise Refused("Another payload is being received")
        self.posting = True
        if self.polling:
            self.confirmed_at = self.polling.drained_at
        try:
            limits = self.host.limits
            for packet in packets(await read_body(environ["aiohttp.request"], limits), limits):
                if self.closing:
                    return
                self.receive_text(packet)
                if self.inbox:
                    await self.inbox.wait_for_space()
        except Refused:
            # engineio has no answer for a refusal of a session that ended meanwhile.
            if not self.closing:
                raise
        except RequestPayloadError:
            raise Refused("The body cannot be read") from None
        except ConnectionResetError:
            self.abort(Ending.LOST)
        finally:
            self.posting = False

    # Websocket

    def _upgrade_websocket(self, environ: dict[str, Any]) -> Any:
        if self.websocket or self.upgrade:
            return self.host.bad_request("The session is already upgraded")
        limits, opening = self.host.limits, self.state is SocketState.OPENING
        first = self.polling.pop() if opening and self.polling else b""
        try:
            websocket = accept(
                environ["aiohttp.request"], self, largest=limits.packet, limit=limits.outbound, first=first
            )
        except (NoHandshake, ConnectionResetError) as error:
            if opening:
                self.abort(Ending.HANDSHAKE_FAILED)
            answer = self.host.bad_request(str(error))
            if isinstance(error, NoHandshake):
                answer["headers"] += error.headers
            return answer
        if opening:
            self._attach(websocket)
        else:
            websocket.receiver = Upgrade(self, websocket)
        websocket.start()
        return HijackedResponse()

    def _attach(self, websocket: Websocket) -> None:
        """From here on everything goes this way, first what was queued."""
        queued, self.polling = self.polling, None
        self.state = SocketState.WEBSOCKET
        self.websocket, self.transport = websocket, websocket.transport
        self._write_by(websocket.transport.write)
        websocket.receiver = self
        if queued and queued.frames:
            self.transport.write(queued.pop())

    def begin_upgrade(self, upgrade: Upgrade) -> bool:
        """A websocket was probed; False if it may not take over."""
        if self.state is not SocketState.POLLING:
            return False
        assert self.polling is not None
        self.state, self.upgrade = SocketState.UPGRADING, upgrade
        # The client waits for the end of its poll.
        self.polling.answer(NOOP)
        return True

    def cancel_upgrade(self, upgrade: Upgrade) -> None:
        if self.upgrade is upgrade:
            self.upgrade = None
            if self.state is SocketState.UPGRADING:
                self.state = SocketState.POLLING

    def finish_upgrade(self, upgrade: Upgrade, websocket: Websocket) -> bool:
        """The websocket takes over; False if it is not the one that was probed."""
        if self.upgrade is not upgrade:
            return False
        self.upgrade = None
        if self.closing:
            # What was to be sent last goes this way.
            if self.polling:
                websocket.write(self.polling.pop())
            websocket.close(Ending.CLIENT_CLOSED.code)
            self._end()
        else:
            self._attach(websocket)
        return True

    def on_text(self, text: str) -> None:
        self.confirmed_at = time.monotonic()
        if len(text) > self.host.limits.packet:
            return self.close_now(Ending.TOO_LARGE)
        try:
            self.receive_text(text)
        except Refused:
            return self.close_now(Ending.UNEXPECTED_PACKET)
        if self.full and self.websocket:
            self.websocket.pause()
        return None

    def on_binary(self) -> None:
        """The bytes that an event announced are ignored, as the event says; before CONNECT there is no such event."""
        if self.session is None and self.inbox is None:
            self.close_now(Ending.BINARY)

    def on_close(self, ending: Ending) -> None:
        """Close after the packets that were received before are handled."""
        if ending is Ending.LOST:
            self._stop_writing()
        if self.inbox is None or self.websocket is None:
            self.close_now(ending)
        else:
            self.websocket.stop_reading()
            self.enqueue(ending)
            asyncio.get_running_loop().call_later(CLOSE_LINGER_SECONDS, self.close_now, ending)

    # Closing

    def close_now(self, ending: Ending) -> None:
        """Close the transport after what was written, without a packet of Socket.IO."""
        if self.closing:
            return
        self.uncork()
        self._begin_closing(ending)
        if self.websocket:
            self.websocket.close(ending.code)
            self._end()
        else:
            asyncio.get_running_loop().call_later(CLOSE_LINGER_SECONDS, self._end)
            if self.polling and self.polling.polled:
                self._end()
        self.host.handler.on_closed(self)

    def abort(self, ending: Ending) -> None:
        """Drop the connection at once, together with its unsent bytes."""
        if self.closing:
            return
        self._begin_closing(ending)
        if self.websocket:
            self.websocket.abort()
        self._end()
        self.host.handler.on_closed(self)

    async def close(self, wait: bool = True, abort: bool = False, reason: str | None = None) -> None:
        """engineio's own way of closing, after a request that was refused."""
        self.close_now(Ending.REFUSED)

    def _begin_closing(self, ending: Ending) -> None:
        self.ending, self.state = ending, SocketState.CLOSING
        self._stop_writing()
        self.cancel_connect_deadline()
        self.host.on_ending(self)
        if self.inbox:
            self.inbox.clear()

    def _end(self) -> None:
        self.state = SocketState.CLOSED
        self.host.on_end(self)
        if self.polling:
            self.polling.answer(CLOSE)

    def start_connect_deadline(self) -> None:
        """A session that has no CONNECT for long is dropped."""
        self.connect_deadline = asyncio.get_running_loop().call_later(
            self.host.limits.unconnected, self._on_unconnected
        )

    def cancel_connect_deadline(self) -> None:
        if self.connect_deadline:
            self.connect_deadline.cancel()
            self.connect_deadline = None

    def _on_unconnected(self) -> None:
        if self.session is None:
            self.abort(Ending.CONNECT_TIMEOUT)


def discard(data: bytes) -> None:
    """Drops what is written after the end of a session."""
