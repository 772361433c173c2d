"""The broker of one process: what is published is delivered at once."""

from collections.abc import Collection, Sequence

from realtime.cluster.broker import Subscriber
from storage.transaction import Event


class MemoryBroker:
    connected = True

    def __init__(self, subscriber: Subscriber) -> None:
        self.subscriber = subscriber
        # What is subscribed to: channels by number, topics by name.
        self.channels: set[int] = set()
        self.topics: set[str] = set()

    async def subscribe(self, channels: Collection[int]) -> None:
        self.channels.update(channels)

    def unsubscribe(self, channels: Collection[int]) -> None:
        self.channels.difference_update(channels)

    def publish(self, events: Sequence[Event]) -> None:
        subscribed = [event for event in events if event.channel_pk in self.channels]
        if subscribed:
            self.subscriber.on_hints(subscribed)

    def subscribe_topic(self, topic: str) -> None:
        self.topics.add(topic)

    def unsubscribe_topic(self, topic: str) -> None:
        self.topics.discard(topic)

    def publish_ephemeral(self, topic: str, name: str, document: object, *, exclude: str | None = None) -> None:
        kind, _, pk = topic.partition(":")
        if topic in self.topics or (kind == "channel" and int(pk) in self.channels):
            self.subscriber.on_ephemeral(topic, name, exclude, document)
