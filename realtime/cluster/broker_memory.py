"""The broker of one process: what is published is heard at once."""

from collections.abc import Collection, Sequence

from realtime.cluster.broker import OnEphemeral, OnHints, OnSuspect
from storage.transaction import Event


class MemoryBroker:
    on_hints: OnHints
    on_suspect: OnSuspect
    on_ephemeral: OnEphemeral

    def __init__(self) -> None:
        self.channels: set[int] = set()
        self.topics: set[str] = set()

    async def subscribe(self, channels: Collection[int]) -> None:
        self.channels.update(channels)

    def unsubscribe(self, channels: Collection[int]) -> None:
        self.channels.difference_update(channels)

    def publish(self, events: Sequence[Event]) -> None:
        subscribed = [event for event in events if event.channel_pk in self.channels]
        if subscribed:
            self.on_hints(subscribed)

    def subscribe_topic(self, topic: str) -> None:
        self.topics.add(topic)

    def unsubscribe_topic(self, topic: str) -> None:
        self.topics.discard(topic)

    def publish_ephemeral(self, topic: str, name: str, document: object, *, exclude: str | None = None) -> None:
        kind, _, pk = topic.partition(":")
        if topic in self.topics or (kind == "channel" and int(pk) in self.channels):
            self.on_ephemeral(topic, name, exclude, document)
