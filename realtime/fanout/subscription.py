"""Who reads which channel on this node, and how far."""

import asyncio
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from storage.transaction import Event

if TYPE_CHECKING:
    from realtime.fanout.crowd import Crowd

# At most so many readers are written to in one step of the event loop.
READERS_AT_ONCE = 500


class Reader(Protocol):
    """One connection as the hub sees it. ``live_at`` is when it last turned live on a channel, by the monotonic clock.

    ``write`` sends frames; it may be another one a moment later.
    """

    subscriptions: "dict[int, Channel]"
    live_at: float
    write: Callable[[bytes], None]

    @property
    def user_id(self) -> str: ...

    def write_ephemeral(self, data: bytes) -> None:
        """Send a frame that may be dropped where much waits."""

    async def drained(self, below: int) -> bool:
        """Wait until at most ``below`` bytes wait to be sent; False if the reader is gone."""
        ...

    def on_user_event(self, event: Event) -> None:
        """An event of the reader's own ``user:`` channel was just written to it."""

    def on_member_removed(self) -> None:
        """A member was removed from a channel that the reader reads."""

    def on_removed(self, pk: int) -> None:
        """The user was removed from a channel, and the subscription has ended."""

    def on_gap(self, pk: int, name: str) -> None:
        """A gap can't be filled, and the subscription has ended: retention took what the reader was to get."""


@dataclass(eq=False, slots=True)
class Channel:
    """A channel with readers on this node."""

    pk: int
    # ``chat:<id>``, ``user:<id>`` or ``stream:<id>``.
    name: str
    # A user's own.
    personal: bool
    # Whether readers see only objects from after their joining, as of ``position``.
    restricted: bool = False
    # Whether it is a room's, whose readers share nothing by reading it.
    room: bool = False
    # At least the highest ``joined_seq`` of the live readers.
    newest_joined: int = 0
    # The last seq delivered; None until the head was read.
    position: int | None = None
    # When that was, of time.monotonic().
    delivered_at: float = 0.0
    # The highest seq that a hint has named and that is not delivered.
    hinted: int = 0
    # Each live reader with its ``joined_seq``.
    live: dict[Reader, int] = field(default_factory=dict)
    replaying: "dict[Reader, Replay]" = field(default_factory=dict)
    # Readers that get nothing above a seq: their users left by themselves at that seq. None where there are none.
    ends: dict[Reader, int] | None = None
    # Delivers to many; None while there were never many.
    crowd: "Crowd | None" = None
    # Done once ``position`` was read; only while it is.
    opening: "asyncio.Future[None] | None" = None
    # Reads what hints have named from the log; only while it does.
    filling: "asyncio.Task[None] | None" = None

    def end_of(self, reader: Reader) -> float:
        """The last seq that a reader gets."""
        return self.ends.get(reader, math.inf) if self.ends else math.inf

    @property
    def newest(self) -> int:
        """The newest seq that was delivered or is about to be."""
        return max(self.position or 0, self.crowd.newest if self.crowd else 0)


@dataclass(eq=False, slots=True)
class Replay:
    """A reader that is not live on a channel yet."""

    reader: Reader
    channel: Channel
    # The last seq written to the reader.
    cursor: int
    # Objects up to this seq are hidden where the channel is restricted.
    joined_seq: int
    # Done when the reader is live or has left; only while that is waited for.
    settled: "asyncio.Future[None] | None" = None

    @property
    def active(self) -> bool:
        """Whether it still goes on."""
        return self.channel.replaying.get(self.reader) is self
