"""The broker of many nodes: hints over Redis pub/sub, a subscription for each channel that has readers here.

No answer waits for Redis: what is published is delivered to this node's own readers at once, and goes to the others as far
as there is a connection. After every new connection all channels are suspect, and the hub compares them with the log.
"""

import asyncio
from collections.abc import Collection, Sequence
from functools import partial

from realtime.cluster.broker import Subscriber
from realtime.cluster.client_redis import RedisClient
from realtime.cluster.hints import Ephemeral, Forged, Hints, LogPosition, is_ephemeral
from storage.transaction import Event

CONFIRM_SECONDS = 1.0


class RedisBroker:
    """``prefix`` is the installation's own."""

    def __init__(self, subscriber: Subscriber, redis: RedisClient, hints: Hints, prefix: str) -> None:
        self.subscriber = subscriber
        self.redis = redis
        self.hints = hints
        self.prefix = f"{prefix}:".encode()
        # What is subscribed to: channels by number, topics by name.
        self.channels: set[int] = set()
        self.topics: set[str] = set()
        # Messages that no node of the installation has written; only grows.
        self.forged = 0
        redis.listen(on_messages=self._on_messages, on_open=partial(subscriber.on_suspect, None))

    @property
    def connected(self) -> bool:
        return self.redis.connected

    async def subscribe(self, channels: Collection[int]) -> None:
        self.channels.update(channels)
        confirmations = self.redis.subscribe([self._channel(pk) for pk in channels])
        _, late = await asyncio.wait(confirmations, timeout=CONFIRM_SECONDS)
        for each in late:
            each.add_done_callback(lambda done: self.subscriber.on_suspect(channels))

    def unsubscribe(self, channels: Collection[int]) -> None:
        self.channels.difference_update(channels)
        self.redis.unsubscribe([self._channel(pk) for pk in channels])

    def publish(self, events: Sequence[Event]) -> None:
        local = [event for event in events if event.channel_pk in self.channels]
        if local:
            self.subscriber.on_hints(local)
        self.redis.publish([(self._channel(event.channel_pk), self.hints.of_event(event)) for event in events])

    def subscribe_topic(self, topic: str) -> None:
        self.topics.add(topic)
        self.redis.subscribe([self._topic(topic)])

    def unsubscribe_topic(self, topic: str) -> None:
        self.topics.discard(topic)
        self.redis.unsubscribe([self._topic(topic)])

    def publish_ephemeral(self, topic: str, name: str, document: object, *, exclude: str | None = None) -> None:
        kind, _, pk = topic.partition(":")
        of_channel = kind == "channel"
        if (int(pk) in self.channels) if of_channel else (topic in self.topics):
            self.subscriber.on_ephemeral(topic, name, exclude, document)
        channel = self._channel(int(pk)) if of_channel else self._topic(topic)
        self.redis.publish([(channel, self.hints.of_ephemeral(Ephemeral(topic, name, exclude, document)))])

    def _channel(self, pk: int) -> bytes:
        return b"%sc:%d" % (self.prefix, pk)

    def _topic(self, topic: str) -> bytes:
        return b"%st:%s" % (self.prefix, topic.encode())

    def _on_messages(self, messages: list[tuple[bytes, bytes]]) -> None:
        events, ephemeral, suspect = [], [], []
        for channel, message in messages:
            if self.hints.is_ours(message):
                continue
            try:
                hint = self.hints.read(message)
            except Forged:
                self.forged += 1
                kind, _, pk = channel.removeprefix(self.prefix).partition(b":")
                if kind == b"c" and not is_ephemeral(message):
                    suspect.append(int(pk))
                continue
            match hint:
                case Event():
                    events.append(hint)
                case LogPosition():
                    suspect.append(hint.channel_pk)
                case Ephemeral():
                    ephemeral.append(hint)
        if events:
            self.subscriber.on_hints(events)
        for each in ephemeral:
            self.subscriber.on_ephemeral(each.topic, each.name, each.exclude, each.document)
        if suspect:
            self.subscriber.on_suspect(suspect)
