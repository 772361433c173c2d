"""The socket that connections come to: many may wait in it, and few are taken at once, so that the rest of us goes on.

Relied on of aiohttp 3.14: ``RequestHandler`` takes what ``Server`` gives it, puts what it could not parse behind
``_messages``, keeps the request being handled as ``_current_request``, and counts requests in ``_request_count``.
"""

import asyncio
import contextlib
import logging
import math
import socket
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web
from aiohttp.http import RawRequestMessage
from aiohttp.web_protocol import RequestHandler

from realtime.transport.admission import Refusal
from realtime.transport.websocket import release
from server.connections import Connections
from storage.tasks import Tasks

logger = logging.getLogger("bellwire.http")

WAITING = 1024
ACCEPTED_AT_ONCE = 4
PAUSE_SECONDS = 0.005
OUT_OF_DESCRIPTORS_SECONDS = 1.0
REFUSED_SECONDS = 5
COME_LATER = (
    b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: %d\r\nConnection: close\r\nContent-Type: text/plain\r\n"
    b"Content-Length: %d\r\n\r\n%b"
)
# As clients ask for a new session over a websocket; what asks otherwise waits for its turn later.
HANDSHAKE, END_OF_HEAD = b"GET /socket.io/?EIO=4&transport=websocket ", b"\r\n\r\n"
# Of Linux, RFC 5482.
USER_TIMEOUT: int = getattr(socket, "TCP_USER_TIMEOUT", 0)


def listen(host: str, port: int) -> socket.socket:
    """Raises OSError, which names the settings, where the address can't be had."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=WAITING)
    except OSError as error:
        why = error.strerror or str(error)
        raise OSError(f"BELLWIRE_HOST={host} BELLWIRE_PORT={port} can't be listened on: {why}") from None


# Of a peer's address and the head of a request: wait until it may open a session, or why it may not.
Turn = Callable[[str, bytes], Awaitable[Refusal | None]]


class HttpConnection(RequestHandler):
    """aiohttp's connection; a request that waits for its body gets an error when the body turns out to be broken.

    ``deadline`` ends it if no request comes; ``on_lost`` is called when it is gone. The handshake of a websocket with which
    it begins waits for its ``turn`` before anything is read of it; ``was_admitted`` says that it has had it.
    """

    __slots__ = ("deadline", "on_lost", "tasks", "turn", "was_admitted")

    def __init__(self, *arguments: Any, turn: Turn | None = None, tasks: Tasks, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.deadline: asyncio.TimerHandle | None = None
        self.on_lost: Callable[[], None] | None = None
        self.turn: Turn | None = turn
        self.tasks = tasks
        self.was_admitted = False

    def connection_lost(self, error: BaseException | None) -> None:
        transport = self.transport
        super().connection_lost(error)
        if self.deadline:
            self.deadline.cancel()
        if transport is not None:
            release(transport)
            if self.on_lost:
                self.on_lost()
                self.on_lost = None

    def data_received(self, data: bytes) -> None:
        turn, self.turn = self.turn, None
        if turn and data.startswith(HANDSHAKE) and data.endswith(END_OF_HEAD):
            if self.deadline:
                self.deadline.cancel()
            self.tasks.spawn(self._wait(turn, data))
        else:
            self._receive(data)

    async def _wait(self, turn: Turn, data: bytes) -> None:
        transport = self.transport
        assert isinstance(transport, asyncio.Transport)
        transport.pause_reading()
        peer = transport.get_extra_info("peername")
        refusal = await turn(peer[0] if peer else "", data)
        if transport.is_closing():
            return
        if refusal:
            transport.write(come_later(refusal))
            transport.close()
        else:
            self.was_admitted = True
            self._receive(data)
            if self.transport is transport:
                transport.resume_reading()

    def _receive(self, data: bytes) -> None:
        super().data_received(data)
        if self._messages and not isinstance(problem := self._messages[-1][0], RawRequestMessage):
            # Its frames lead back to this connection.
            problem.exc.__traceback__ = problem.exc.__context__ = None
            self._fail_body()

    def _fail_body(self) -> None:
        """The parser gave up. Where that was in a body, its request answers; otherwise aiohttp does, with a 400."""
        if len(self._messages) > 1:
            body = self._messages[-2][1]
        elif self._current_request is not None:
            body = self._current_request.content
        else:
            return
        if not body.is_eof() and body.exception() is None:
            self._messages.pop()
            body.set_exception(web.RequestPayloadError("the body is not encoded as its head says"))
            body.feed_eof()
            self.close()


class Listener:
    """Accepts connections while it is open: a few at a time, with a pause for other work while more are waiting.

    After a network failure thousands reconnect at once; asyncio alone would accept them all first. Where
    ``connections`` has no place for one, it gets a 503 and is closed. A client without a request after ``head``
    seconds is disconnected; aiohttp would wait as long as between two requests. After ``stall`` seconds without a TCP
    acknowledgement the kernel closes the connection.
    """

    def __init__(
        self,
        listening: socket.socket,
        protocol: Callable[[], asyncio.BaseProtocol],
        connections: Connections,
        *,
        head: float,
        stall: float,
    ) -> None:
        self.socket = listening
        self.connections = connections
        self.tasks = Tasks()
        self.protocol = protocol
        self.head = head
        self.stall = int(1000 * stall)
        self.pausing: asyncio.TimerHandle | None = None
        self.loop = asyncio.get_running_loop()
        listening.setblocking(False)

    def open(self) -> None:
        self.pausing = None
        self.loop.add_reader(self.socket, self._accept)

    def close(self) -> None:
        """What waits in the socket is refused, what was taken goes on."""
        if self.pausing:
            self.pausing.cancel()
        self.loop.remove_reader(self.socket)
        self.socket.close()

    def _accept(self) -> None:
        for _ in range(ACCEPTED_AT_ONCE):
            try:
                connection, peer = self.socket.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                logger.error("connections cannot be accepted: %s", error)
                self._pause(OUT_OF_DESCRIPTORS_SECONDS)
                return
            connection.setblocking(False)
            left = self.connections.enter(peer[0])
            if left is None:
                refuse(connection)
                continue
            if USER_TIMEOUT:
                connection.setsockopt(socket.IPPROTO_TCP, USER_TIMEOUT, self.stall)
            self.tasks.spawn(self._begin(connection, left))
        self._pause(PAUSE_SECONDS)

    def _pause(self, seconds: float) -> None:
        self.loop.remove_reader(self.socket)
        self.pausing = self.loop.call_later(seconds, self.open)

    async def _begin(self, connection: socket.socket, left: Callable[[], None]) -> None:
        try:
            transport, handler = await self.loop.connect_accepted_socket(self.protocol, connection)
        except OSError as error:
            logger.debug("a connection was lost at once: %s", error)
            connection.close()
            left()
        else:
            if not isinstance(handler, HttpConnection) or transport.is_closing():
                left()
            else:
                handler.on_lost = left
                handler.deadline = self.loop.call_later(self.head, show_out, transport)


def come_later(refusal: Refusal) -> bytes:
    why = refusal.why.encode()
    return COME_LATER % (math.ceil(refusal.seconds), len(why), why)


def refuse(connection: socket.socket) -> None:
    with connection, contextlib.suppress(OSError):
        connection.send(come_later(Refusal("Too many connections", REFUSED_SECONDS)))


def show_out(transport: asyncio.Transport) -> None:
    """Close a connection that has asked nothing yet."""
    handler = transport.get_protocol()
    if isinstance(handler, RequestHandler) and not handler._request_count and not transport.is_closing():
        logger.debug("closed a connection that asked nothing")
        transport.abort()
