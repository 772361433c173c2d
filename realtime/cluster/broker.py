"""How committed events travel between nodes: hints, at most once. The log repairs what a broker loses."""

from collections.abc import Callable, Collection, Sequence
from typing import Protocol

from storage.transaction import Event

OnHints = Callable[[Sequence[Event]], None]
OnEphemeral = Callable[[str, str, str | None, object], None]
OnSuspect = Callable[[Collection[int] | None], None]


class Broker(Protocol):
    """``on_hints`` gets events of subscribed channels, possibly late, duplicated or never.

    ``on_suspect`` gets channels that may have missed something, None for all. ``on_ephemeral`` gets ephemeral events:
    topic, event name, the id of the user it is not for, document.
    """

    on_hints: OnHints
    on_suspect: OnSuspect
    on_ephemeral: OnEphemeral

    async def subscribe(self, channels: Collection[int]) -> None:
        """Returns once everything published from now on will be heard, or doubted later. Never raises."""

    def unsubscribe(self, channels: Collection[int]) -> None:
        """Nothing more need be heard."""

    def publish(self, events: Sequence[Event]) -> None:
        """Tell every node with readers. Never waits, never raises."""

    def subscribe_topic(self, topic: str) -> None:
        """Whispers of this topic are wanted here; those of a channel come with its subscription."""

    def unsubscribe_topic(self, topic: str) -> None:
        """They are not any more."""

    def publish_ephemeral(self, topic: str, name: str, document: object, *, exclude: str | None = None) -> None:
        """Tell every node that listens what is not kept. ``topic`` is ``channel:<number>``, or the hub's own name."""
