"""The Engine.IO server: its sessions, their pings, and what its HTTP edge answers. One timer for all pings, no task for any.

engineio's ``handle_request`` stays the HTTP edge. Relied on of engineio 4.15: ``AsyncServer._handle_connect`` opens a
session, ``sockets`` holds all of them, a socket's ``handle_get_request`` may return a response dict, and ``_make_response``
sends one; ``_cors_allowed_origins``, ``_cors_headers``, ``_ok``, ``_bad_request`` and ``_log_error_once`` make them. Checked
by name in ``tests/test_seams.py``.
"""

import asyncio
import logging
import math
from collections import Counter
from collections.abc import Callable
from typing import Any

import engineio
import orjson
from aiohttp import web

from realtime.schema.limits import Limits
from realtime.support.buckets import Buckets
from realtime.transport import frames
from realtime.transport.admission import Admission, Refusal, Step
from realtime.transport.context import set_subject
from realtime.transport.interfaces import OriginPolicy, PacketHandler
from realtime.transport.socket import PING, Socket
from realtime.transport.states import Ending, SocketState
from storage.errors import TooMany
from storage.tasks import Tasks

logger = logging.getLogger("bellwire.socket")
# What the libraries log of packets shows tokens and texts: only their warnings are wanted.
library = logging.getLogger("bellwire.library")
library.setLevel(logging.WARNING)

NEW_WEBSOCKET = ("EIO=4&transport=websocket", "transport=websocket&EIO=4")
PHASES = 25


def unavailable(refusal: Refusal) -> dict[str, Any]:
    headers = [("Retry-After", str(math.ceil(refusal.seconds)))]
    return {"status": "503 SERVICE UNAVAILABLE", "headers": headers, "response": refusal.why.encode()}


class Engine(engineio.AsyncServer):
    """Engine.IO sessions, their pings, and who may open one."""

    def __init__(
        self,
        *,
        limits: Limits,
        handler: PacketHandler,
        origins: OriginPolicy,
        address_of: Callable[[web.BaseRequest], str | None],
        **options: Any,
    ) -> None:
        super().__init__(
            async_mode="aiohttp",
            max_http_buffer_size=limits.polling_payload,
            monitor_clients=False,
            logger=library,
            **options,
        )
        self.limits = limits
        self.handler = handler
        self.origins = origins
        # The client's address, by which it is limited; None for no limit.
        self.address_of = address_of
        self.admission = Admission(limits.connects_per_second, limits.connect_wait)
        self.connect_buckets = Buckets(limits.connects_per_address, limits.connects_at_once)
        # Open sockets of each address.
        self.of_address: Counter[str] = Counter()
        # All that have not ended, by session id.
        self.sockets: dict[str, Socket] = {}
        # Sockets by the tick at which they are pinged, and the tick that it is now.
        self.phases: list[set[Socket]] = [set() for _ in range(PHASES)]
        self.phase = 0
        # Seconds.
        self.tick = self.ping_interval / PHASES
        self.timer: asyncio.TimerHandle | None = None
        # Why no session is opened any more; None while they are.
        self.refusing: str | None = None
        # Slow readers that were disconnected; only grows.
        self.slow_closed = 0
        # What sockets do beside reading; finished by ``stop``.
        self.tasks = Tasks()

    # Coming and going

    async def handle_request(self, request: web.Request) -> web.StreamResponse:
        """A new websocket, as clients ask for one, needs nothing of what the edge finds out about a request."""
        if request.method != "OPTIONS" and not request.query.get("transport"):
            # Mandatory in the protocol; engineio would take polling.
            refused: web.StreamResponse = await self._make_response(
                self.bad_request("The parameter transport is missing"), {}
            )
            return refused
        asked = request.method == "GET" and request.query_string in NEW_WEBSOCKET
        if not asked or request.headers.get("Upgrade", "").lower() != "websocket":
            response: web.StreamResponse = await super().handle_request(request)
            return response
        environ = {"aiohttp.request": request, "REQUEST_METHOD": request.method, "HTTP_UPGRADE": "websocket"}
        environ |= {
            f"HTTP_{name.upper()}": request.headers[name] for name in ("Origin", "Host") if name in request.headers
        }
        answer = await self._handle_connect(environ, "websocket")
        begun: web.StreamResponse = await self._make_response(answer, environ) if isinstance(answer, dict) else answer
        return begun

    async def _handle_connect(self, environ: dict[str, Any], transport: str, jsonp_index: Any = None) -> Any:
        address = self.address_of(environ["aiohttp.request"])
        # A connection that began with the handshake of a websocket has had its turn.
        admitted = getattr(environ["aiohttp.request"].protocol, "was_admitted", False)
        if not admitted and (refusal := await self.turn(address)):
            return unavailable(refusal)
        if self.refusing:
            return unavailable(Refusal(self.refusing))
        sid = self.generate_id()
        origin = environ.get("HTTP_ORIGIN")
        allowed = not origin or self.origins.allowed(origin, environ)
        socket = self.sockets[sid] = Socket(self, sid, address=address, origin_allowed=allowed)
        if address is not None:
            self.of_address[address] += 1
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
        if transport == "websocket":
            return await socket.handle_get_request(environ)
        socket.state = SocketState.POLLING
        return await socket.poll()

    async def turn(self, address: str | None) -> Refusal | None:
        """Wait until a new session may be opened; or why not, where its address has too many or it would take too long."""
        if self.refusing:
            return None
        if address is not None:
            if self.of_address[address] >= self.limits.sockets_per_address:
                return Refusal(f"At most {self.limits.sockets_per_address} sockets per address")
            try:
                self.connect_buckets.acquire(address)
            except TooMany as problem:
                return Refusal(problem.message)
        seconds = await self.admission.turn(Step.HANDSHAKE)
        return Refusal("Too many connections at once; try again later", seconds) if seconds else None

    def on_ending(self, socket: Socket) -> None:
        self.phases[socket.phase].discard(socket)
        if socket.address is not None:
            self.of_address[socket.address] -= 1
            if not self.of_address[socket.address]:
                del self.of_address[socket.address]

    def on_end(self, socket: Socket) -> None:
        self.sockets.pop(socket.sid, None)

    def disconnect_slow(self, socket: Socket) -> None:
        """Drop a client that does not read what is sent; later, because a fan-out may be going through the readers."""
        asyncio.get_running_loop().call_soon(self._close_slow, socket)

    def _close_slow(self, socket: Socket) -> None:
        if not socket.closing:
            self.slow_closed += 1
            set_subject(socket)
            logger.warning("disconnected a slow reader with %d unsent bytes", socket.buffered)
            socket.abort(Ending.SLOW_READER)

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
            if socket.pinged_at <= overdue and not socket.full:
                socket.abort(Ending.PING_TIMEOUT)

    async def stop(self) -> None:
        """After all sockets were closed: no more pings, and no task left."""
        if self.timer:
            self.timer.cancel()
        self.handler.finish()
        await self.tasks.finish()

    # HTTP answers

    def _cors_allowed_origins(self, environ: dict[str, Any]) -> list[str] | None:
        """None: the HTTP edge lets every origin through, and CONNECT says what is wrong with it."""
        return None

    def _cors_headers(self, environ: dict[str, Any]) -> list[tuple[str, str]]:
        origin = environ.get("HTTP_ORIGIN")
        if not origin or not self.origins.allowed(origin, environ):
            return []
        headers = [("Access-Control-Allow-Origin", origin), ("Vary", "Origin")]
        named = self.origins.is_named(origin)
        if named:
            # For balancers that are sticky by a cookie; who is meant stands in the token alone.
            headers.append(("Access-Control-Allow-Credentials", "true"))
        if environ["REQUEST_METHOD"] == "OPTIONS":
            wanted = environ.get("HTTP_ACCESS_CONTROL_REQUEST_HEADERS") if named else None
            headers.append(("Access-Control-Allow-Methods", "OPTIONS, GET, POST"))
            headers.append(("Access-Control-Allow-Headers", wanted or "content-type"))
        return headers

    def _ok(self, *arguments: Any, **options: Any) -> Any:
        """The protocol says ``ok`` where engineio says ``OK``."""
        answer = super()._ok(*arguments, **options)
        return {**answer, "response": b"ok"} if answer["response"] == b"OK" else answer

    def bad_request(self, message: str) -> dict[str, Any]:
        answer: dict[str, Any] = self._bad_request(message)
        return answer

    def _bad_request(self, message: str | None = None) -> Any:
        if message == "Invalid transport" and "polling" not in self.transports:
            message = (
                "Polling needs one process or a sticky balancer, and here are several: connect with "
                'transports: ["websocket"]'
            )
        if message and message.startswith(("Invalid session", "Session ")):
            message = (
                "Unknown session: it ended, or another process holds it. Polling needs one process or a sticky "
                'balancer; with several, connect with transports: ["websocket"]'
            )
        return super()._bad_request(message)

    def _log_error_once(self, message: str, message_key: str) -> None:
        """A client's mistake is not a server error, and its text may contain client data: log only its type."""
        logger.debug("refused a request: %s", message_key)
