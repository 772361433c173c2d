"""Who reads which channel on this node, and how far."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from storage.transaction import Event


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

    def on_gap(self, pk: int, name: str) -> None:
        """A gap can't be filled, and the subscription has ended: retention took what the reader was to get."""


@dataclass(eq=False, slots=True)
class Channel:
    """A channel with readers on this node. ``position`` is the last seq delivered, at
    ``delivered_at`` of the monotonic clock; None until it was read.

    ``live`` maps each live reader to its ``joined_seq``, of which ``newest_joined`` is at least the highest;
    ``restricted`` says whether readers see only what came after their joining, as of ``position``.
    """

    pk: int
    name: str
    personal: bool
    restricted: bool = False
    newest_joined: int = 0
    position: int | None = None
    delivered_at: float = 0.0
    hinted: int = 0
    live: dict[Reader, int] = field(default_factory=dict)
    replaying: "dict[Reader, Replay]" = field(default_factory=dict)
    opening: "asyncio.Future[None] | None" = None
    filling: "asyncio.Task[None] | None" = None


@dataclass(eq=False, slots=True)
class Replay:
    """A reader that is not live on a channel yet; ``cursor`` is the last seq written to it."""

    reader: Reader
    channel: Channel
    cursor: int
    joined_seq: int
    settled: "asyncio.Future[None] | None" = None

    @property
    def active(self) -> bool:
        """Whether it still goes on."""
        return self.channel.replaying.get(self.reader) is self
