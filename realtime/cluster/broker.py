"""How committed events travel between nodes: hints, at most once. The log repairs what a broker loses."""

from collections.abc import Callable, Collection, Sequence
from typing import Protocol

from storage.transaction import Event

Heard = Callable[[Sequence[Event]], None]
Whispered = Callable[[str, str, str | None, object], None]
Doubted = Callable[[Collection[int] | None], None]


class Broker(Protocol):
    """``heard`` gets events of subscribed channels, in the order they were published here, maybe late, twice or never.

    ``doubted`` gets channels where something may have been missed, None for all. ``whispered`` gets what is not durable:
    topic, event name, the id of the user it is not for, document.
    """

    heard: Heard
    doubted: Doubted
    whispered: Whispered

    async def subscribe(self, channels: Collection[int]) -> None:
        """Returns once everything published from now on will be heard, or doubted later. Never raises."""

    def unsubscribe(self, channels: Collection[int]) -> None:
        """Nothing more need be heard."""

    def publish(self, events: Sequence[Event]) -> None:
        """Tell every node with readers. Never waits, never raises."""

    def listen(self, topic: str) -> None:
        """Whispers of this topic are wanted here; those of a channel come with its subscription."""

    def unlisten(self, topic: str) -> None:
        """They are not any more."""

    def whisper(self, topic: str, name: str, document: object, *, but: str | None = None) -> None:
        """Tell every node that listens what is not kept. ``topic`` is ``channel:<number>``, or the hub's own name."""
