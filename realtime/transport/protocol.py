"""Socket.IO over our sockets: python-socketio handles CONNECT and DISCONNECT, the namespace's own table handles events.

python-socketio looks up inbound events among its own handlers, runs each in a task, and keeps incomplete binary packets.
None of that is used here: the transport passes text packets in order, and this file dispatches them by type.

Relied on of python-socketio 5: ``AsyncServer._engineio_server_class`` names the server below, ``_handle_eio_connect`` and
``_handle_connect`` handle a new transport and a CONNECT, ``_trigger_event`` calls the namespace, ``_send_packet`` sends the
answer; ``environ`` and ``eio`` are set in the constructor. ``AsyncManager`` keeps the ids: ``pre_connect``, ``connect``,
``is_connected``, ``is_pre_connected``, ``sid_from_eio_sid``, ``eio_sid_from_sid``, ``basic_disconnect``. Checked by name in
``tests/test_seams.py``.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Awaitable
from typing import Any, Protocol

import orjson
import socketio

from realtime.schema.limits import Limits
from realtime.schema.parsing import depth
from realtime.transport import frames
from realtime.transport.context import CURRENT
from realtime.transport.engine import Engine, library
from realtime.transport.frames import NAMESPACE, Packet
from realtime.transport.polling import Refused
from realtime.transport.socket import Socket
from storage.errors import Malformed, TooMany, Unavailable

logger = logging.getLogger("bellwire.socket")
access = logging.getLogger("bellwire.access")

REFRESH = '["session:refresh"'
SESSIONS_ENDED_AT_ONCE = 20


class Overload(Exception):
    """There is no room for this connection now"""


class NamespaceHandler(Protocol):
    """What happens in the namespace."""

    async def on_connect(self, sid: str, environ: dict[str, Any], auth: object = None) -> None:
        """Raises python-socketio's ConnectionRefusedError."""

    def charge(self, socket: Socket) -> None:
        """A CONNECT came that leads to nothing. Raises TooMany where the budget of the user, or of the address, is spent."""

    async def begin(self, session: Any) -> None:
        """CONNECT was answered."""

    def event(self, session: Any, packet: Packet) -> Awaitable[None] | None:
        """An event came; what is left to wait for. Whatever is wrong with it is answered, not raised."""

    def end(self, session: Any) -> None:
        """The session is over."""


class Server(socketio.AsyncServer):
    """The Socket.IO server of one process."""

    eio: Engine

    def __init__(self, limits: Limits, **options: Any) -> None:
        super().__init__(
            client_manager=Manager(),
            logger=library,
            async_handlers=False,
            namespaces=[NAMESPACE],
            limits=limits,
            **options,
        )
        self.limits = limits
        self.eio.listener = self
        self.namespace: NamespaceHandler
        self.tasks = self.eio.tasks
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
        elif socket.worker is None and self._is_event(socket, packet):
            work = self.namespace.event(session, packet)
            if work is not None:
                socket.work(work)
        else:
            socket.enqueue(packet)

    def _is_event(self, socket: Socket, packet: Packet) -> bool:
        return packet.kind in "256" and packet.namespace == NAMESPACE and socket.session is not None

    async def _refresh(self, socket: Socket, session: Any, packet: Packet) -> None:
        """Past the inbox, so that a slow database does not let a token expire; one at a time."""
        CURRENT.set(socket)
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
                socket.close_now(1008)
            elif packet.kind == "1":
                self._disconnect(socket)
            elif self._is_event(socket, packet):
                work = self.namespace.event(socket.session, packet)
                if work is not None:
                    await work
        except (Overload, Unavailable, TooMany) as error:
            # Not what the client asked for is wrong: without a word of Socket.IO it comes back by itself.
            logger.warning("closed a connection: %s", error)
            socket.close_now(1013)
        except Exception:
            logger.exception("handling a packet failed")
            socket.close_now(1011)

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
            CURRENT.set(socket)
            about = {"seconds": round(time.monotonic() - socket.began_at, 1), "code": socket.code}
            access.info("connection closed", extra={"fields": about})
            self._disconnect(socket)
            self.environ.pop(socket.sid, None)
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
        try:
            auth = orjson.loads(packet.data) if packet.data else None
        except orjson.JSONDecodeError:
            auth = packet.data
        if not depth(auth, self.limits.nesting):
            auth = "too deep"
        await self._handle_connect(socket.sid, packet.namespace, auth)
        session = socket.session
        if socket.closing:
            self._disconnect(socket)
        elif session and self.manager.sid_from_eio_sid(socket.sid, NAMESPACE):
            socket.cancel_connect_deadline()
            access.info("connected")
            self.tasks.spawn(self._begin(socket, session))
        return None

    async def _trigger_event(self, event: str, namespace: str, *arguments: Any) -> Any:
        """Of python-socketio's own events CONNECT alone is anybody's here."""
        return await self.namespace.on_connect(*arguments) if event == "connect" else None

    async def _send_packet(self, eio_sid: str, pkt: Any) -> None:
        socket = self.eio.sockets.get(eio_sid)
        if socket:
            socket.write(frames.text_frame(b"4" + pkt.encode().encode()))

    async def _handle_eio_connect(self, eio_sid: str, environ: dict[str, Any]) -> None:
        """Keep of the request what CONNECT looks at, not the request."""
        self.environ[eio_sid] = {name: environ.get(name) for name in ("HTTP_ORIGIN", "HTTP_HOST")}

    async def _begin(self, socket: Socket, session: Any) -> None:
        try:
            await self.namespace.begin(session)
        except Exception:
            logger.exception("starting a session failed")
            socket.close_now(1011)

    def _disconnect(self, socket: Socket) -> None:
        session, socket.session = socket.session, None
        self.manager.drop(socket.sid)
        if session:
            self.namespace.end(session)
            if not socket.closing:
                socket.start_connect_deadline()


class Manager(socketio.AsyncManager):
    """Who is connected, by Engine.IO session: two dictionaries. Rooms are the hub's business."""

    def __init__(self) -> None:
        super().__init__()
        self.sids: dict[tuple[str, str], str] = {}
        self.owners: dict[tuple[str, str], str] = {}
        self.pending: set[str] = set()

    async def pre_connect(self, eio_sid: str, namespace: str) -> str | None:
        if (namespace, eio_sid) in self.sids:
            return None
        sid: str = self.server.eio.generate_id()
        self.sids[namespace, eio_sid] = sid
        self.owners[namespace, sid] = eio_sid
        self.pending.add(sid)
        return sid

    async def connect(self, sid: str, namespace: str) -> str:
        self.pending.discard(sid)
        return sid

    def is_pre_connected(self, sid: str, namespace: str) -> bool:
        return sid in self.pending

    def is_connected(self, sid: str, namespace: str) -> bool:
        return (namespace, sid) in self.owners and sid not in self.pending

    def sid_from_eio_sid(self, eio_sid: str, namespace: str) -> str | None:
        return self.sids.get((namespace, eio_sid))

    def eio_sid_from_sid(self, sid: str, namespace: str) -> str | None:
        return self.owners.get((namespace, sid))

    def basic_disconnect(self, sid: str, namespace: str, **_: Any) -> None:
        eio_sid = self.owners.pop((namespace, sid), None)
        if eio_sid is not None:
            self.sids.pop((namespace, eio_sid), None)
        self.pending.discard(sid)

    def drop(self, eio_sid: str) -> None:
        """The Engine.IO session is over."""
        sid = self.sids.get((NAMESPACE, eio_sid))
        if sid is not None:
            self.basic_disconnect(sid, NAMESPACE)
