"""A websocket, taken from aiohttp after its handshake: no task, no queue and no request stay for it.

Relied on of aiohttp 3.14: ``request.protocol`` holds what came after the request in ``_message_tail``, and lets go of its
transport in ``connection_lost``; ``WebSocketReader`` hands each message to its queue's ``feed_data``, and an
error to its ``set_exception``. Relied on of asyncio: a transport keeps its reading method as ``_read_ready_cb``.
Protocol: RFC 6455.
"""

import asyncio
import base64
import binascii
import hashlib
import logging
import socket
import struct
from collections.abc import Callable
from typing import Any, Protocol

from aiohttp import HttpVersion11, WSMsgType, web
from aiohttp._websocket.reader import WebSocketDataQueue
from aiohttp.http import WebSocketReader
from aiohttp.web_request import BaseRequest

from realtime.transport import frames
from realtime.transport.frame_check import FrameCheck
from realtime.transport.states import FRAME_ERRORS, Ending

logger = logging.getLogger("bellwire.socket")

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
VERSION = "13"
# Of what came in one read, so much is looked at before anybody can say that it is too much.
SLICE_BYTES = 4096
# The head of a short frame, with its mask.
MASKED = 6
CLOSE_LINGER_SECONDS = 5.0
RESET = struct.pack("ii", 1, 0)
SWITCHING = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %b\r\n\r\n"
)


class NoHandshake(Exception):
    """The request is not a websocket handshake; ``headers`` go into the response"""

    def __init__(self, message: str, *headers: tuple[str, str]) -> None:
        super().__init__(message)
        self.headers = headers


class Receiver(Protocol):
    """Whom the frames are for. Everything is called in order, from the read loop, and must not raise."""

    write: Callable[[bytes], None]

    def on_text(self, text: str) -> None: ...

    def on_binary(self) -> None:
        """A binary message came."""

    def cork(self) -> None:
        """Several frames come now; hold back what is written until ``uncork``."""

    def uncork(self) -> None: ...

    def on_close(self, ending: Ending) -> None:
        """Nothing will come any more."""

    def on_backlog(self) -> None:
        """The client takes less than is sent: more waits than the limit."""


class Websocket(asyncio.Protocol):
    """``receiver`` may be changed between two messages."""

    __slots__ = (
        "aborting", "check", "on_lost", "paused", "reader", "reading", "receiver", "rest", "scheduled", "transport",
    )  # fmt: skip

    def __init__(self, transport: asyncio.Transport, receiver: Receiver, *, largest: int) -> None:
        self.transport = transport
        self.receiver: Receiver | None = receiver
        # A little above the limit, so that the limit's own error is the one that is seen.
        self.reader: WebSocketReader | None = WebSocketReader(FrameSink(self), largest + 1024, False, True)
        self.check = FrameCheck()
        self.rest = b""
        self.paused = self.scheduled = False
        self.reading = True
        self.aborting: asyncio.TimerHandle | None = None
        # Called when the connection is gone.
        self.on_lost: Callable[[], None] | None = None

    def start(self) -> None:
        """Hand out what came with the handshake."""
        self._go_on()

    # Reading

    def data_received(self, data: bytes) -> None:
        if self.paused or self.rest:
            self.rest += data
        elif len(data) <= SLICE_BYTES:
            self._feed(data)
        else:
            self.rest = data
            self._go_on()

    def _go_on(self) -> None:
        """Process a slice of the input, and the next one in another step of the loop, which lets others run."""
        self.scheduled = False
        if not self.paused:
            some, self.rest = self.rest[:SLICE_BYTES], self.rest[SLICE_BYTES:]
            if some:
                self._feed(some)
        if self.rest and not self.paused:
            self.scheduled = True
            asyncio.get_running_loop().call_soon(self._go_on)
        self._read(not self.rest and not self.paused)

    def _read(self, reading: bool) -> None:
        if reading is not self.reading and not self.transport.is_closing():
            self.reading = reading
            (self.transport.resume_reading if reading else self.transport.pause_reading)()

    def _feed(self, data: bytes) -> None:
        reader, receiver = self.reader, self.receiver
        if reader is None:
            return
        accepted = self.check.accepted(data)
        if accepted < len(data):
            self._feed_until(data[:accepted])
        elif receiver is None or len(data) < 2 or len(data) <= MASKED + (data[1] & 127):
            reader.feed_data(data)
        else:
            # More than one frame, as it seems: what is said to them goes in one write.
            receiver.cork()
            try:
                reader.feed_data(data)
            finally:
                receiver.uncork()

    def _feed_until(self, data: bytes) -> None:
        """What stands before a frame that is not allowed counts; nothing after it is read."""
        assert self.reader is not None
        self.reader.feed_data(data)
        receiver = self.receiver
        self.reader, self.rest = None, b""
        if receiver:
            receiver.on_close(Ending.PROTOCOL_ERROR)

    def pause(self) -> None:
        self.paused = True
        self._read(False)

    def resume(self) -> None:
        if self.paused and self.receiver:
            self.paused = False
            if not self.scheduled:
                self._go_on()

    def stop_reading(self) -> None:
        """Nothing that comes is for anybody any more."""
        self.receiver, self.rest = None, b""
        self.pause()

    def on_message(self, kind: WSMsgType, data: Any) -> None:
        receiver = self.receiver
        if receiver is None:
            return
        if kind is WSMsgType.TEXT:
            receiver.on_text(data)
        elif kind is WSMsgType.BINARY:
            receiver.on_binary()
        elif kind is WSMsgType.PING:
            receiver.write(b"\x8a%c%b" % (len(data), data))
        elif kind is WSMsgType.CLOSE:
            receiver.on_close(Ending.CLIENT_CLOSED)

    # Writing

    def write(self, data: bytes) -> None:
        if not self.transport.is_closing():
            self.transport.write(data)

    def close(self, code: int) -> None:
        """Send a close frame after what was written, but for 1006; a client that does not read it in time is dropped."""
        self.receiver = None
        if not self.transport.is_closing():
            if code != Ending.LOST.code:
                self.transport.write(frames.close_frame(code))
            self.transport.close()
            self.aborting = asyncio.get_running_loop().call_later(CLOSE_LINGER_SECONDS, self.transport.abort)

    def abort(self) -> None:
        """At once: the kernel drops unsent bytes too, which it would keep for minutes."""
        self.receiver = None
        connection = self.transport.get_extra_info("socket")
        if connection is not None and not self.transport.is_closing():
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        self.transport.abort()

    def pause_writing(self) -> None:
        if self.receiver:
            self.receiver.on_backlog()

    # The end

    def eof_received(self) -> None:
        receiver, self.receiver = self.receiver, None
        if receiver:
            receiver.on_close(Ending.LOST)

    def connection_lost(self, error: Exception | None) -> None:
        self.eof_received()
        self.reader, self.rest = None, b""
        if self.aborting:
            self.aborting.cancel()
        release(self.transport)
        if self.on_lost:
            self.on_lost()


def release(transport: asyncio.BaseTransport) -> None:
    """Break the circle of a transport that is lost, which only the collector would find; short connections are many."""
    if hasattr(transport, "_read_ready_cb"):
        transport._read_ready_cb = None


class FrameSink(WebSocketDataQueue):
    """The reader's way to its websocket. What is raised in here would be swallowed, and the connection live on."""

    __slots__ = ("websocket",)
    # What aiohttp's reader in plain Python looks at: nothing waits here.
    _size, _limit = 0, 1

    def __init__(self, websocket: Websocket) -> None:
        self.websocket = websocket

    def feed_data(self, message: Any, size: int) -> None:
        try:
            self.websocket.on_message(message[0], message[1])
        except Exception:
            logger.exception("handling a frame failed")
            self._end(Ending.INTERNAL_ERROR)

    def set_exception(self, error: Any, cause: Any = None) -> None:
        self._end(FRAME_ERRORS.get(getattr(error, "code", 0), Ending.PROTOCOL_ERROR))

    def _end(self, ending: Ending) -> None:
        if self.websocket.receiver:
            self.websocket.receiver.on_close(ending)


class HijackedResponse(web.Response):
    """Stands for the answer that was written already."""

    def __init__(self) -> None:
        super().__init__(status=101)

    async def prepare(self, request: BaseRequest) -> None:
        return None

    async def write_eof(self, data: bytes = b"") -> None:
        return None


def accept(request: web.Request, receiver: Receiver, *, largest: int, limit: int, first: bytes = b"") -> Websocket:
    """Answer the handshake, with ``first`` frames after it, and take the connection.

    A message may have ``largest`` bytes, and ``limit`` bytes may wait to be sent.

    Call its ``start`` before anything is awaited, and return ``HijackedResponse()`` from the handler. Raises NoHandshake, and
    ConnectionResetError after the client has gone.
    """
    key = handshake(request)
    protocol = request.protocol
    transport = protocol.transport
    if transport is None or transport.is_closing():
        raise ConnectionResetError
    websocket = Websocket(transport, receiver, largest=largest)
    websocket.rest = protocol._message_tail
    websocket.on_lost, protocol.on_lost = getattr(protocol, "on_lost", None), None  # type: ignore[attr-defined]
    held = protocol._buffer_paused
    transport.set_protocol(websocket)
    protocol.transport = None
    protocol.connection_lost(None)
    transport.set_write_buffer_limits(high=limit)
    transport.write((SWITCHING % key) + first)
    if held:
        transport.resume_reading()
    return websocket


def handshake(request: web.Request) -> bytes:
    """The answer to the client's key, RFC 6455 section 4.2. Raises NoHandshake, which says what is wrong."""
    headers = request.headers
    if request.version < HttpVersion11:
        raise NoHandshake("A WebSocket handshake requires HTTP/1.1 or later")
    words = ",".join(headers.getall("Connection", ())).lower().split(",")
    if "upgrade" not in [word.strip() for word in words]:
        raise NoHandshake("A WebSocket handshake requires the header Connection: Upgrade")
    if headers.get("Sec-WebSocket-Version") != VERSION:
        raise NoHandshake(
            f"A WebSocket handshake requires the header Sec-WebSocket-Version: {VERSION}",
            ("Sec-WebSocket-Version", VERSION),
        )
    key = headers.get("Sec-WebSocket-Key", "").encode()
    try:
        known = len(base64.b64decode(key, validate=True)) == 16
    except binascii.Error:
        known = False
    if not known:
        raise NoHandshake("A WebSocket handshake requires a key of 16 bytes in Sec-WebSocket-Key")
    return base64.b64encode(hashlib.sha1(key + GUID, usedforsecurity=False).digest())
