"""Connections to Apple's push service over HTTP/2: aioapns' wire code with a table of streams of our own.

By itself aioapns 4.0 waits without end on a reset stream, an error without a body or silence, re-sends all in flight when
a connection ends, signs a token per connection, and keeps an entry for each push. Here every request ends within its deadline
with a result, a failed one does not affect the others, and nothing is ever sent twice: retries are the outbox's.

Relied on of aioapns 4.0: ``APNsTLSClientProtocol`` with ``conn`` (an ``H2Connection``), ``flush`` and ``transport``.
Apple's rules: https://developer.apple.com/documentation/usernotifications/sending-notification-requests-to-apns
"""

import asyncio
import logging
import random
import ssl
import time
from collections import deque
from collections.abc import Mapping
from contextvars import Context
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

from aioapns.connection import APNsTLSClientProtocol
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import (
    ConnectionTerminated,
    DataReceived,
    RemoteSettingsChanged,
    ResponseReceived,
    StreamEnded,
    StreamReset,
    WindowUpdated,
)
from h2.exceptions import ProtocolError
from h2.settings import SettingCodes

logger = logging.getLogger("bellwire.push")

ANSWER_SECONDS = 10.0
CONNECT_SECONDS = 5.0
OPEN_AGAIN = 0.25
IN_FLIGHT = 200
LARGEST_PAYLOAD_BYTES = 4096


@dataclass(eq=False, slots=True)
class Exchange:
    """A request on its way, and what came of it so far."""

    headers: list[Any]
    body: bytes
    done: "asyncio.Future[Answer]"
    connection: "ApnsConnection | None" = None
    stream: int = 0
    sent_at: float = 0.0
    status: int = 0
    received: bytearray = field(default_factory=bytearray)
    received_headers: Mapping[bytes, bytes] = field(default_factory=dict)
    # Of the body, about; what comes beyond is dropped.
    most_received: int = LARGEST_PAYLOAD_BYTES


class Answer(NamedTuple):
    """A status and a body; status 0 is an exchange that got none, and the body says why. What was not ``sent`` can't have
    had an effect.
    """

    status: int
    body: bytes
    headers: Mapping[bytes, bytes] = {}
    sent: bool = True


class ApnsConnection(APNsTLSClientProtocol):
    """One HTTP/2 connection. Until a first push was answered it carries one at a time, as Apple asks."""

    def __init__(self, host: "ApnsHost") -> None:
        super().__init__(apns_topic="")
        # Huffman coding and the checks of headers took a third of a push's CPU; ours are checked before (``unfit``).
        self.conn = H2Connection(H2Configuration(validate_outbound_headers=False, normalize_outbound_headers=False))
        self.conn.encoder.encode = partial(self.conn.encoder.encode, huffman=False)  # type: ignore[method-assign]
        self.host = host
        self.exchanges: dict[int, Exchange] = {}
        self.limit = IN_FLIGHT
        self.proven = False
        self.gone = False
        self.received_at = time.monotonic()
        self.flushing = False

    def refresh_inactivity_timer(self) -> None:
        """Connections stay open: Apple takes frequent opening and closing for an attack."""

    @property
    def free(self) -> bool:
        if self.gone or self.transport is None or self.transport.is_closing():
            return False
        room = len(self.exchanges) < (min(self.limit, IN_FLIGHT) if self.proven else 1)
        return room and self.conn.outbound_flow_control_window >= LARGEST_PAYLOAD_BYTES

    def begin(self, exchange: Exchange) -> None:
        exchange.connection, exchange.sent_at = self, time.monotonic()
        try:
            exchange.stream = self.conn.get_next_available_stream_id()
            self.exchanges[exchange.stream] = exchange
            self.conn.send_headers(exchange.stream, exchange.headers)
            self.conn.send_data(exchange.stream, exchange.body, end_stream=True)
            self._flush_soon()
        except ProtocolError as error:
            settle(exchange, Answer(0, b"not sent"))
            self.end(f"can't be used any more: {error}")

    def give_up(self, exchange: Exchange) -> None:
        """Its caller no longer waits for it."""
        if self.exchanges.pop(exchange.stream, None) is None:
            return
        try:
            self.conn.reset_stream(exchange.stream, ErrorCodes.CANCEL)
            self._flush_soon()
        except ProtocolError:
            self.end("out of step")

    def _flush_soon(self) -> None:
        """What is written in one step of the loop goes out together."""
        if not self.flushing:
            self.flushing = True
            self.loop.call_soon(self._flush)

    def _flush(self) -> None:
        self.flushing = False
        if self.transport is not None and not self.transport.is_closing():
            self.flush()

    # What comes

    def data_received(self, data: bytes) -> None:
        self.received_at = time.monotonic()
        try:
            for event in self.conn.receive_data(data):
                self._happened(event)
        except ProtocolError as error:
            self.end(f"protocol error: {error}")
        if not self.gone:
            self._flush_soon()
            self.host.dispatch()

    def _happened(self, event: Any) -> None:
        match event:
            case ResponseReceived():
                exchange = self.exchanges.get(event.stream_id)
                if exchange:
                    exchange.received_headers = dict(event.headers)
                    exchange.status = int(exchange.received_headers.get(b":status", b"0"))
            case DataReceived():
                self.conn.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                exchange = self.exchanges.get(event.stream_id)
                if exchange and len(exchange.received) < exchange.most_received:
                    exchange.received += event.data
            case StreamEnded():
                exchange = self.exchanges.pop(event.stream_id, None)
                if exchange:
                    self.proven = self.proven or exchange.status not in (0, 403)
                    settle(exchange, Answer(exchange.status, bytes(exchange.received), exchange.received_headers))
            case StreamReset():
                exchange = self.exchanges.pop(event.stream_id, None)
                if exchange:
                    settle(exchange, Answer(0, b"stream reset"))
            case RemoteSettingsChanged():
                changed = event.changed_settings.get(SettingCodes.MAX_CONCURRENT_STREAMS)
                if changed:
                    self.limit = changed.new_value
            case ConnectionTerminated():
                # h2 reads nothing after it: what is still in flight has an unknown outcome.
                self.end(f"going away: {(event.additional_data or b'').decode(errors='replace')[:100]}")
            case WindowUpdated():
                pass

    def connection_lost(self, exc: Exception | None) -> None:
        self.end("connection lost")

    def end(self, why: str) -> None:
        if self.gone:
            return
        self.gone = True
        if self.transport is not None:
            self.transport.close()
        for exchange in self.exchanges.values():
            settle(exchange, Answer(0, why.encode()))
        if self.exchanges or not self.host.closing:
            logger.info("connection to %s ended: %s; %d pushes in flight", self.host.host, why, len(self.exchanges))
        self.exchanges.clear()
        self.host.ended(self)


def settle(exchange: Exchange, answer: Answer) -> None:
    if not exchange.done.done():
        exchange.done.set_result(answer)


class ApnsHost:
    """The connections to one host, and what waits for a place on them."""

    def __init__(self, host: str, port: int, tls: ssl.SSLContext, connections: int) -> None:
        self.host = host
        self.port = port
        self.tls = tls
        self.most = connections
        self.connections: list[ApnsConnection] = []
        self.waiting: deque[Exchange] = deque()
        self.opening: asyncio.Task[None] | None = None
        self.failures = 0
        self.open_after = 0.0
        self.closing = False

    async def run(self, exchange: Exchange) -> Answer:
        """The answer, or within the deadline one with status 0."""
        self.waiting.append(exchange)
        self.dispatch()
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                return await exchange.done
        except TimeoutError:
            connection = exchange.connection
            if connection and connection.received_at < exchange.sent_at < time.monotonic() - ANSWER_SECONDS / 2:
                # It has said nothing at all for so long: it is taken for dead.
                connection.end("silence")
            return Answer(0, b"no answer in time", sent=exchange.connection is not None)
        finally:
            if exchange.connection:
                exchange.connection.give_up(exchange)
            elif exchange in self.waiting:
                self.waiting.remove(exchange)
            self.dispatch()

    def dispatch(self) -> None:
        """Send what waits, as far as there is room; open a connection where there is none."""
        while self.waiting:
            connection = min((each for each in self.connections if each.free), key=load, default=None)
            if connection is None:
                break
            connection.begin(self.waiting.popleft())
        if self.waiting and self.opening is None and len(self.connections) < self.most and not self.closing:
            if time.monotonic() >= self.open_after:
                self.opening = asyncio.create_task(self._open(), context=Context())
            elif not self.connections:
                self._give_up("no connection; the next is tried in a moment")

    async def _open(self) -> None:
        why = ""
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                _, connection = await asyncio.get_running_loop().create_connection(
                    lambda: ApnsConnection(self), self.host, self.port, ssl=self.tls
                )
            if connection.gone:
                why = "it ended at once"
            else:
                self.connections.append(connection)
        except (OSError, TimeoutError) as error:
            why = f"can't connect: {type(error).__name__}"
            self._failed()
        finally:
            self.opening = None
        if why:
            logger.warning("%s:%d: %s", self.host, self.port, why)
            if not self.connections:
                self._give_up(why)
        self.dispatch()

    def _give_up(self, why: str) -> None:
        """What waits is tried again out of the outbox."""
        while self.waiting:
            settle(self.waiting.popleft(), Answer(0, why.encode(), sent=False))

    def _failed(self) -> None:
        """The next connection is opened later and later: Apple takes frequent opening for an attack."""
        self.failures = min(self.failures + 1, 6)
        self.open_after = time.monotonic() + OPEN_AGAIN * 2**self.failures * random.uniform(0.5, 1.0)

    def ended(self, connection: ApnsConnection) -> None:
        if connection in self.connections:
            self.connections.remove(connection)
        if connection.proven:
            self.failures = 0
        elif not self.closing:
            self._failed()
        asyncio.get_running_loop().call_soon(self.dispatch)

    async def close(self) -> None:
        self.closing = True
        if self.opening:
            await asyncio.wait([self.opening])
        for connection in list(self.connections):
            connection.end("closing")


def load(connection: ApnsConnection) -> int:
    return len(connection.exchanges)
