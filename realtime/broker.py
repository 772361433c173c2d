"""How committed events travel between nodes: hints, at most once. The log repairs what a broker loses."""

from collections.abc import Callable, Collection, Sequence
from typing import Protocol

from storage.transaction import Event

Heard = Callable[[Sequence[Event]], None]
Whispered = Callable[[str, str, str | None, object], None]


class Broker(Protocol):
    """``heard`` gets events of subscribed channels, in the order they were published here, maybe late, twice or never.

    ``whispered`` gets what is not durable: channel name, event name, the sid it is not for, document.
    """

    heard: Heard
    whispered: Whispered

    async def subscribe(self, channels: Collection[int]) -> None:
        """Returns once everything published from now on will be heard."""

    def unsubscribe(self, channels: Collection[int]) -> None:
        """Nothing more need be heard."""

    def publish(self, events: Sequence[Event]) -> None:
        """Tell every node with readers. Never waits, never raises."""

    def whisper(self, topic: str, name: str, document: object, *, but: str | None = None) -> None:
        """Tell every node what is not kept. ``topic`` is the hub's own name of where it goes."""
