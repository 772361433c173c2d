"""The broker of one process: what is published is heard at once."""

from collections.abc import Collection, Sequence

from realtime.cluster.broker import Doubted, Heard, Whispered
from storage.transaction import Event


class MemoryBroker:
    heard: Heard
    doubted: Doubted
    whispered: Whispered

    def __init__(self) -> None:
        self.channels: set[int] = set()
        self.topics: set[str] = set()

    async def subscribe(self, channels: Collection[int]) -> None:
        self.channels.update(channels)

    def unsubscribe(self, channels: Collection[int]) -> None:
        self.channels.difference_update(channels)

    def publish(self, events: Sequence[Event]) -> None:
        wanted = [event for event in events if event.channel_pk in self.channels]
        if wanted:
            self.heard(wanted)

    def listen(self, topic: str) -> None:
        self.topics.add(topic)

    def unlisten(self, topic: str) -> None:
        self.topics.discard(topic)

    def whisper(self, topic: str, name: str, document: object, *, but: str | None = None) -> None:
        kind, _, pk = topic.partition(":")
        if topic in self.topics or (kind == "channel" and int(pk) in self.channels):
            self.whispered(topic, name, but, document)
