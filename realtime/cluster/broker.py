"""How committed events travel between nodes: hints, at most once. The log repairs what a broker loses."""

from collections.abc import Callable, Collection, Sequence
from typing import Protocol

from storage.transaction import Event


class Subscriber(Protocol):
    """Gets what a broker delivers: the hub."""

    def on_hints(self, events: Sequence[Event]) -> None:
        """Events of subscribed channels, possibly late, duplicated or never."""

    def on_suspect(self, channels: Collection[int] | None) -> None:
        """Channels, by number, that may have missed something; None for all."""

    def on_ephemeral(self, topic: str, name: str, exclude: str | None, document: object) -> None:
        """An ephemeral event of a subscribed topic or channel; ``exclude`` is the id of the user it is not for."""


class Broker(Protocol):
    """Delivers to the subscriber that it was made with."""

    @property
    def connected(self) -> bool:
        """Whether other nodes get what is published, as far as is known."""

    async def subscribe(self, channels: Collection[int]) -> None:
        """Returns once everything published from now on is delivered, or its channel suspect later. Never raises."""

    def unsubscribe(self, channels: Collection[int]) -> None:
        """Nothing more need be delivered."""

    def publish(self, events: Sequence[Event]) -> None:
        """To every node with readers. Never waits, never raises."""

    def subscribe_topic(self, topic: str) -> None:
        """Ephemeral events of this topic are delivered; those of a channel come with its subscription."""

    def unsubscribe_topic(self, topic: str) -> None:
        """They are not any more."""

    def publish_ephemeral(self, topic: str, name: str, document: object, *, exclude: str | None = None) -> None:
        """To every node that has subscribed. ``topic`` is ``channel:<number>``, or a name of the hub's."""


MakeBroker = Callable[[Subscriber], Broker]
