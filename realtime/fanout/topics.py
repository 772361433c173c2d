"""Events that are not stored, by topic: to the sockets of all nodes that watch it, or to the nodes themselves."""

import asyncio
import itertools
from collections.abc import Callable, Collection, Iterator
from typing import Any

from realtime.cluster.broker import Broker
from realtime.fanout.subscription import READERS_AT_ONCE, Reader
from realtime.transport import frames


class Topics:
    def __init__(self, broker: Broker) -> None:
        self.broker = broker
        # Readers of each topic, in the order in which they subscribed.
        self.watchers: dict[str, dict[Reader, None]] = {}
        # What this node itself does with the events of a topic.
        self.handlers: dict[str, Callable[[str, Any], None]] = {}

    def watch(self, topic: str, reader: Reader) -> None:
        readers = self.watchers.get(topic)
        if readers is None:
            readers = self.watchers[topic] = {}
            self.broker.subscribe_topic(topic)
        readers[reader] = None

    def unwatch(self, topic: str, reader: Reader) -> None:
        readers = self.watchers.get(topic)
        if readers is not None:
            readers.pop(reader, None)
            if not readers:
                del self.watchers[topic]
                self.broker.unsubscribe_topic(topic)

    def publish(self, topic: str, name: str, document: object) -> None:
        """Send to those who watch or handle a topic, on every node."""
        self.broker.publish_ephemeral(topic, name, document)

    def handle(self, topic: str, handler: Callable[[str, Any], None]) -> None:
        """``handler`` gets the name and the document of what is published to a topic."""
        self.handlers[topic] = handler
        self.broker.subscribe_topic(topic)

    def on_ephemeral(self, topic: str, name: str, exclude: str | None, document: object) -> None:
        handler = self.handlers.get(topic)
        if handler:
            return handler(name, document)
        return write_to(list(self.watchers.get(topic, ())), name, document, exclude)


def write_to(readers: Collection[Reader], name: str, document: object, exclude: str | None = None) -> None:
    """Write an event that may be dropped to readers, except one user's; to many in several steps of the loop."""
    if readers:
        write_some(iter(list(readers)), frames.ephemeral(name, document), exclude)


def write_some(readers: Iterator[Reader], frame: bytes, exclude: str | None) -> None:
    some = list(itertools.islice(readers, READERS_AT_ONCE))
    for reader in some:
        if reader.user_id != exclude:
            reader.write_ephemeral(frame)
    if len(some) == READERS_AT_ONCE:
        asyncio.get_running_loop().call_soon(write_some, readers, frame, exclude)
