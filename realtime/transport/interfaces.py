"""What the transport expects of the protocol above it, and a socket of its server."""

from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

from realtime.schema.caller import Caller
from realtime.schema.limits import Limits
from realtime.transport.frames import Packet
from storage.tasks import Tasks

if TYPE_CHECKING:
    from realtime.transport.socket import Socket


class ConnectedSession(Protocol):
    """A user's session in the namespace, from a successful CONNECT on."""

    caller: Caller
    # The socket's own ``write``, or one that drops everything: kept here for those who write to many.
    write: Callable[[bytes], None]
    # Its ``session:refresh`` is being handled.
    refreshing: bool

    @property
    def user_id(self) -> str: ...

    async def begin(self) -> None:
        """CONNECT was answered."""

    def on_event(self, packet: Packet) -> Awaitable[None] | None:
        """An event came; what is left to wait for. Whatever is wrong with it is answered, not raised."""

    def end(self) -> None:
        """The session is over; called once."""


class PacketHandler(Protocol):
    """The protocol above the transport."""

    def on_packet(self, socket: "Socket", text: str) -> None:
        """A message came; called in order, from the read loop, must not wait. Raises Refused for what is no packet."""

    async def work(self, socket: "Socket", packet: Packet) -> None:
        """Handle what ``on_packet`` put into the inbox; one at a time for a socket."""

    def on_closed(self, socket: "Socket") -> None:
        """The session is over; called once."""

    def finish(self) -> None:
        """After the last socket has closed: end the sessions that are still queued."""


class OriginPolicy(Protocol):
    """Which web pages may connect. ``environ`` holds HTTP_HOST."""

    def allowed(self, origin: str, environ: Mapping[str, Any]) -> bool: ...

    def is_named(self, origin: str) -> bool:
        """Whether the origin is allowed by its name, not because all are, or because it is the server's own."""
        ...


class Host(Protocol):
    """What a socket needs of the server that it belongs to."""

    limits: Limits
    tasks: Tasks
    handler: PacketHandler
    # Seconds.
    ping_interval: float
    ping_timeout: float

    def on_ending(self, socket: "Socket") -> None:
        """Nothing more is to be sent to the socket; called once."""

    def on_end(self, socket: "Socket") -> None:
        """Nothing is left of the session, and its id is not known any more; may be called again."""

    def disconnect_slow(self, socket: "Socket") -> None:
        """Drop a client that does not read what is sent, in a later step of the loop."""

    def bad_request(self, message: str) -> dict[str, Any]:
        """The response to a request that is not valid, as engineio's HTTP edge expects it."""
        ...
