"""Socket.IO over our sockets: CONNECT, DISCONNECT, and events to the session that a CONNECT began.

Packets are handled in the order in which they come, by their type. Of python-socketio only ``AsyncServer`` is used, which
creates engineio's server. Relied on of python-socketio 5: ``AsyncServer._engineio_server_class`` names the class of ``eio``,
which the constructor makes with all options that it does not know. Checked by name in ``tests/test_seams.py``.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable
from typing import Protocol

import orjson
import socketio
from aiohttp import web

from realtime.schema.limits import Limits
from realtime.schema.parsing import depth
from realtime.transport import frames
from realtime.transport.admission import Step
from realtime.transport.context import set_subject
from realtime.transport.engine import Engine, library
from realtime.transport.frames import NAMESPACE, Packet
from realtime.transport.interfaces import ConnectedSession, OriginPolicy
from realtime.transport.polling import Refused
from realtime.transport.socket import Socket
from realtime.transport.states import Ending
from storage.errors import Malformed, TooMany, Unavailable

logger = logging.getLogger("bellwire.socket")
access = logging.getLogger("bellwire.access")

REFRESH = '["session:refresh"'
SESSIONS_ENDED_AT_ONCE = 20


class Overload(Exception):
    """There is no room for this connection now"""


class ConnectRefused(Exception):
    """The client may not connect; the text is what it gets as the error's message"""


class Namespace(Protocol):
    """Who may connect to ``/chat``."""

    async def admit(self, socket: Socket, auth: object) -> ConnectedSession:
        """The session of a CONNECT; ``auth`` is JSON.

        Raises ConnectRefused. Overload, Unavailable and TooMany close the socket.
        """
        ...

    def charge(self, socket: Socket) -> None:
        """A CONNECT came that leads to nothing. Raises TooMany where the budget of the user, or of the address, is spent."""


class Server(socketio.AsyncServer):
    """The Socket.IO server of one process."""

    eio: Engine

    def __init__(
        self,
        limits: Limits,
        namespace: Namespace,
        *,
        origins: OriginPolicy,
        address_of: Callable[[web.BaseRequest], str | None],
        ping_interval: float,
        ping_timeout: float,
        transports: list[str],
    ) -> None:
        super().__init__(
            logger=library,
            handler=self,
            limits=limits,
            origins=origins,
            address_of=address_of,
            ping_interval=ping_interval,
            ping_timeout=ping_timeout,
            transports=transports,
        )
        self.limits = limits
        self.namespace = namespace
        self.tasks = self.eio.tasks
        # Closed, and their sessions not ended yet.
        self.closed_sockets: deque[Socket] = deque()

    def _engineio_server_class(self) -> type[Engine]:
        return Engine

    # From the transport

    def on_packet(self, socket: Socket, text: str) -> None:
        try:
            packet = frames.parse(text)
        except Malformed as error:
            raise Refused(error.message) from None
        session = socket.session
        if session and not session.refreshing and packet.data.startswith(REFRESH):
            session.refreshing = True
            self.tasks.spawn(self._refresh(socket, session, packet))
        elif session and socket.inbox is None and is_event(packet):
            work = session.on_event(packet)
            if work is not None:
                socket.work(work)
        else:
            socket.enqueue(packet)

    async def _refresh(self, socket: Socket, session: ConnectedSession, packet: Packet) -> None:
        """Past the inbox, so that a slow database does not let a token expire; one at a time."""
        set_subject(socket)
        try:
            await self.work(socket, packet)
        finally:
            session.refreshing = False

    async def work(self, socket: Socket, packet: Packet) -> None:
        try:
            if packet.kind == "0":
                await self._connect(socket, packet)
            elif socket.session is None or packet.namespace != NAMESPACE or packet.kind == "4":
                # Socket.IO v5: what does not follow a CONNECT closes the connection at once.
                socket.close_now(Ending.UNEXPECTED_PACKET)
            elif packet.kind == "1":
                self._disconnect(socket)
            elif is_event(packet):
                work = socket.session.on_event(packet)
                if work is not None:
                    await work
        except (Overload, Unavailable, TooMany) as error:
            # The request is valid: without a packet of Socket.IO the client reconnects by itself.
            logger.warning("closed a connection: %s", error)
            socket.close_now(Ending.OVERLOAD)
        except Exception:
            logger.exception("handling a packet failed")
            socket.close_now(Ending.INTERNAL_ERROR)

    def on_closed(self, socket: Socket) -> None:
        """A few in a step: when a network fails, thousands are gone at once."""
        if not self.closed_sockets:
            asyncio.get_running_loop().call_soon(self._end_sessions)
        self.closed_sockets.append(socket)

    def finish(self) -> None:
        while self.closed_sockets:
            self._end_sessions()

    def _end_sessions(self) -> None:
        for _ in range(min(len(self.closed_sockets), SESSIONS_ENDED_AT_ONCE)):
            socket = self.closed_sockets.popleft()
            set_subject(socket)
            about = {
                "seconds": round(time.monotonic() - socket.began_at, 1),
                "code": socket.ending.code,
                "reason": socket.ending.reason,
            }
            access.info("connection closed", extra={"fields": about})
            self._disconnect(socket)
        if self.closed_sockets:
            asyncio.get_running_loop().call_soon(self._end_sessions)

    # CONNECT and DISCONNECT

    async def _connect(self, socket: Socket, packet: Packet) -> None:
        if packet.namespace != NAMESPACE or socket.session is not None:
            self.namespace.charge(socket)
        if packet.namespace != NAMESPACE:
            return socket.write(frames.connect_error(packet.namespace, "Invalid namespace"))
        if socket.session is not None:
            return socket.write(frames.connect_error(NAMESPACE, "already connected"))
        auth = self._read_auth(packet)
        await self.eio.admission.turn(Step.RESUME if isinstance(auth, dict) and auth.get("offsets") else Step.CONNECT)
        try:
            session = await self.namespace.admit(socket, auth)
        except ConnectRefused as refused:
            return socket.write(frames.connect_error(NAMESPACE, str(refused)))
        socket.session = session
        socket.write(frames.connected(self.eio.generate_id()))
        socket.cancel_connect_deadline()
        access.info("connected")
        self.tasks.spawn(self._begin(socket, session))
        return None

    def _read_auth(self, packet: Packet) -> object:
        """The auth object of a CONNECT; None if absent or empty.

        Invalid or too deeply nested JSON is returned as a string, which the namespace rejects.
        """
        try:
            auth: object = orjson.loads(packet.data) if packet.data else None
        except orjson.JSONDecodeError:
            return packet.data
        return (auth or None) if depth(auth, self.limits.nesting) else "too deep"

    async def _begin(self, socket: Socket, session: ConnectedSession) -> None:
        try:
            await session.begin()
        except Exception:
            logger.exception("starting a session failed")
            socket.close_now(Ending.INTERNAL_ERROR)

    def _disconnect(self, socket: Socket) -> None:
        session, socket.session = socket.session, None
        if session:
            session.end()
            if not socket.closing:
                socket.start_connect_deadline()


def is_event(packet: Packet) -> bool:
    return packet.kind in "256" and packet.namespace == NAMESPACE
