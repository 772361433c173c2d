"""The hub of this node: which sockets read which channels, and how every event reaches each of them once, in order.

The hub knows its position on each channel it has readers for: the next seq is delivered, an older one dropped, a gap
filled from the log. A subscription is *replaying* or *live*. A replaying one reads the log page by page; when it has read
exactly as far as the hub, it turns live in that step. There is no other way to become live.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import orjson
from sqlalchemy import Connection

from realtime import frames
from realtime.broker import Broker
from realtime.limits import KIB
from realtime.subscription import Channel, Reader, Subscription
from realtime.tasks import Tasks
from storage import log
from storage.database import Database
from storage.errors import Unavailable
from storage.gather import Gather
from storage.transaction import Event

logger = logging.getLogger("bellwire.hub")

PAGE = 200
AHEAD = 64 * KIB
TAIL_SECONDS = 10
GATHER = 0.1


class Hub:
    """Give it ``publish`` as the writer's ``on_commit``. ``delivered``, ``repaired`` and ``resets`` only grow."""

    def __init__(self, database: Database, broker: Broker) -> None:
        self.database = database
        self.broker = broker
        self.channels: dict[int, Channel] = {}
        self.watchers: dict[str, dict[Reader, None]] = {}
        self.handlers: dict[str, Callable[[str, Any], None]] = {}
        self.delivered = 0
        self.repaired = 0
        self.resets = 0
        self.looked_at = time.monotonic()
        self.tasks = Tasks()
        self.heads: Gather[Collection[int], Mapping[int, int]] = Gather(database, heads_of)
        self.pages: Gather[tuple[int, int], list[Event]] = Gather(database, partial(log.pages, limit=PAGE), most=16)
        self.doubtful: set[int] = set()
        self.doubting: asyncio.Task[None] | None = None
        broker.heard = self.hear
        broker.doubted = self.doubt
        broker.whispered = self._whispered

    # Subscriptions

    def add(self, reader: Reader, pk: int, name: str, cursor: int) -> "Subscription | None":
        """A new subscription that has everything up to ``cursor``; None if the reader has the channel already."""
        if pk in reader.subscriptions:
            return None
        channel = self.channels.get(pk)
        if channel is None:
            channel = self.channels[pk] = Channel(pk, name, personal=name.startswith("user:"))
        subscription = reader.subscriptions[pk] = Subscription(reader, channel, cursor)
        channel.replaying.add(subscription)
        return subscription

    async def start(self, subscriptions: Collection["Subscription"]) -> None:
        """Bring subscriptions live, in their order: each event after the cursor once, and no gap."""
        await self._open([each.channel for each in subscriptions])
        for subscription in subscriptions:
            await self._catch_up(subscription)

    async def _open(self, channels: Collection[Channel]) -> None:
        """Listen to channels, then read their positions; in that order nothing falls between."""
        fresh = [channel for channel in channels if channel.position is None and channel.opened is None]
        if fresh:
            opened = asyncio.get_running_loop().create_future()
            for channel in fresh:
                channel.opened = opened
            try:
                await self.broker.subscribe([channel.pk for channel in fresh])
                heads = await self.heads.get([each.pk for each in fresh])
                for channel in fresh:
                    channel.position = heads.get(channel.pk, 0)
                    if channel.hinted > channel.position:
                        self._fill(channel)
            finally:
                opened.set_result(None)
                for channel in fresh:
                    channel.opened = None
                    self._close_unread(channel)
        for channel in channels:
            while channel.opened:
                await asyncio.shield(channel.opened)
            if channel.position is None:
                raise ConnectionError(f"{channel.name} could not be opened")

    async def _catch_up(self, subscription: "Subscription") -> None:
        try:
            await self._follow_log(subscription)
        finally:
            if subscription.settled:
                subscription.settled.set_result(None)
                subscription.settled = None

    async def settle(self, subscription: "Subscription") -> None:
        """Wait until it is live, or has ended."""
        if subscription in subscription.channel.replaying:
            if subscription.settled is None:
                subscription.settled = asyncio.get_running_loop().create_future()
            await asyncio.shield(subscription.settled)

    async def _follow_log(self, subscription: "Subscription") -> None:
        channel = subscription.channel
        while subscription.held:
            assert channel.position is not None
            if subscription.cursor > channel.position:
                await self._filled(channel, subscription.cursor)
            elif subscription.cursor == channel.position:
                channel.replaying.discard(subscription)
                channel.live[subscription] = None
                subscription.live_at = time.monotonic()
                return
            else:
                await self._replay(subscription)

    async def _replay(self, subscription: "Subscription") -> None:
        """Write one page of the log to a replaying subscription."""
        channel, after = subscription.channel, subscription.cursor
        page = await self._page(channel, after)
        for event in page:
            if not subscription.held:
                return None
            if event.seq != subscription.cursor + 1:
                break
            subscription.cursor = event.seq
            self._write(subscription, event, frames.durable(event))
            if event.name == "chat:updated" and subscription.reader.user_id in removed_by(event):
                return self.remove(subscription.reader, channel.pk)
            if not await subscription.reader.taken(AHEAD):
                return None
        if subscription.cursor == after:
            self._lose([subscription])
        return None

    async def _page(self, channel: Channel, after: int) -> list[Event]:
        return await self.pages.get((channel.pk, after))

    def remove(self, reader: Reader, pk: int) -> None:
        """End a reader's subscription to a channel."""
        subscription = reader.subscriptions.pop(pk, None)
        if subscription:
            channel = subscription.channel
            channel.live.pop(subscription, None)
            channel.replaying.discard(subscription)
            self._close_unread(channel)

    def _close_unread(self, channel: Channel) -> None:
        unread = not channel.live and not channel.replaying and channel.opened is None
        if unread and self.channels.get(channel.pk) is channel:
            del self.channels[channel.pk]
            self.broker.unsubscribe([channel.pk])

    def leave(self, reader: Reader) -> None:
        """The reader is gone."""
        for pk in list(reader.subscriptions):
            self.remove(reader, pk)

    # Delivery

    def publish(self, events: Sequence[Event]) -> None:
        """Committed just now, by this node."""
        self.broker.publish(events)

    def hear(self, events: Iterable[Event]) -> None:
        """Hints came, in whatever order: the next seq is delivered, an older one dropped, a gap filled from the log."""
        for event in events:
            channel = self.channels.get(event.channel_pk)
            if channel is None:
                continue
            if channel.position is None or channel.filling:
                channel.hinted = max(channel.hinted, event.seq)
            elif event.seq == channel.position + 1:
                self._deliver(channel, event)
            elif event.seq > channel.position:
                self._fill(channel, event.seq)

    def _deliver(self, channel: Channel, event: Event) -> None:
        channel.position = event.seq
        channel.delivered_at = time.monotonic()
        if channel.live:
            frame = frames.durable(event)
            for subscription in list(channel.live):
                self._write(subscription, event, frame)
        if event.name == "chat:updated":
            self._remove(channel, event)

    def _write(self, subscription: Subscription, event: Event, frame: bytes) -> None:
        subscription.reader.write(frame)
        self.delivered += 1
        if subscription.channel.personal:
            subscription.reader.told(event)

    def _remove(self, channel: Channel, event: Event) -> None:
        """Apply a removal at its seq: nothing above it reaches the removed."""
        removed = removed_by(event)
        if removed:
            # A replaying one has not had the events before it yet: it ends when its replay comes here.
            for subscription in list(channel.live):
                subscription.reader.parted()
                if subscription.reader.user_id in removed:
                    self.remove(subscription.reader, channel.pk)

    def _lose(self, subscriptions: Collection[Subscription]) -> None:
        """Retention took what these were to get: what happened to the reader meanwhile is not known either."""
        for subscription in subscriptions:
            self.resets += 1
            self.remove(subscription.reader, subscription.channel.pk)
            subscription.reader.lost(subscription.channel.pk, subscription.channel.name)

    # Repair

    def _fill(self, channel: Channel, upto: int = 0) -> None:
        """Read from the log what the hub has not delivered, up to the newest hinted."""
        channel.hinted = max(channel.hinted, upto)
        if channel.filling is None:
            channel.filling = self.tasks.spawn(self._filling(channel))

    async def _filling(self, channel: Channel) -> None:
        try:
            while self.channels.get(channel.pk) is channel:
                assert channel.position is not None
                after = channel.position
                if channel.hinted <= after:
                    return
                page = await self._page(channel, after)
                for event in page:
                    if event.seq != channel.position + 1:
                        break
                    self.repaired += 1
                    self._deliver(channel, event)
                if not page or page[0].seq != after + 1:
                    head = page[-1].seq if page else channel.hinted
                    channel.position = max(head, channel.position)
                    self._lose(list(channel.live))
        except Exception:
            logger.exception("could not fill %s from the log", channel.name)
            await asyncio.sleep(0.5)
        finally:
            channel.filling = None
            behind = channel.position is not None and channel.hinted > channel.position
            if behind and self.channels.get(channel.pk) is channel:
                self._fill(channel)

    async def _filled(self, channel: Channel, upto: int) -> None:
        """Wait until the hub has delivered ``upto``."""
        while channel.position is not None and channel.position < upto and self.channels.get(channel.pk) is channel:
            self._fill(channel, upto)
            if channel.filling:
                await asyncio.wait([channel.filling])

    def compare(self, heads: Mapping[int, int]) -> None:
        """Fill every channel whose newest seq is above the hub's position."""
        for pk, head in heads.items():
            channel = self.channels.get(pk)
            if channel and channel.position is not None and head > channel.position:
                self._fill(channel, head)

    async def look(self, pks: Collection[int]) -> None:
        """Read the heads of these channels and deliver what is missing on them; returns when it is."""
        known = [pk for pk in pks if pk in self.channels]
        heads = await self.database.read(lambda connection: log.heads(connection, known))
        for pk, head in heads.items():
            channel = self.channels.get(pk)
            if channel:
                await self._filled(channel, head)

    def doubt(self, pks: Collection[int] | None) -> None:
        """Something may have been missed on these channels, or on all: look, many at a time."""
        self.doubtful.update(self.channels if pks is None else pks)
        if self.doubting is None and self.doubtful:
            self.doubting = self.tasks.spawn(self._settle_doubts())

    async def _settle_doubts(self) -> None:
        try:
            while self.doubtful:
                pks, self.doubtful = self.doubtful & self.channels.keys(), set()
                self.compare(await self.database.read(partial(log.heads, pks=pks)))
                await asyncio.sleep(GATHER)
        except Unavailable:
            logger.warning(
                "could not look at %d doubtful channels; the look at the tail finds what they miss", len(pks)
            )
        finally:
            self.doubting = None

    async def look_at_tail(self) -> None:
        """Compare with what the log got lately, so that a hint that never came is not missed for long."""
        moment = time.monotonic()
        seconds = TAIL_SECONDS + int(moment - self.looked_at)
        self.compare(await self.database.read(lambda connection: log.tail(connection, seconds)))
        self.looked_at = moment

    # What is not durable

    def watch(self, topic: str, reader: Reader) -> None:
        readers = self.watchers.get(topic)
        if readers is None:
            readers = self.watchers[topic] = {}
            self.broker.listen(topic)
        readers[reader] = None

    def unwatch(self, topic: str, reader: Reader) -> None:
        readers = self.watchers.get(topic)
        if readers is not None:
            readers.pop(reader, None)
            if not readers:
                del self.watchers[topic]
                self.broker.unlisten(topic)

    def whisper(self, channel_pk: int, name: str, document: object, *, but: str) -> None:
        """Tell the live readers of a channel, on every node, except one user's."""
        self.broker.whisper(f"channel:{channel_pk}", name, document, but=but)

    def whisper_to(self, topic: str, name: str, document: object) -> None:
        """Tell who watches or handles a topic, on every node."""
        self.broker.whisper(topic, name, document)

    def handle(self, topic: str, handler: Callable[[str, Any], None]) -> None:
        """``handler`` gets the name and the document of what is whispered to a topic."""
        self.handlers[topic] = handler
        self.broker.listen(topic)

    def _whispered(self, topic: str, name: str, but: str | None, document: object) -> None:
        handler = self.handlers.get(topic)
        if handler:
            return handler(name, document)
        kind, _, pk = topic.partition(":")
        if kind == "channel":
            channel = self.channels.get(int(pk))
            readers = [each.reader for each in channel.live] if channel else []
        else:
            readers = list(self.watchers.get(topic, ()))
        if readers:
            frame = frames.passing(name, document)
            for reader in readers:
                if reader.user_id != but:
                    reader.murmur(frame)
        return None


def heads_of(connection: Connection, asked: Sequence[Collection[int]]) -> list[Mapping[int, int]]:
    """For each of these sets of channels their heads."""
    heads = log.heads(connection, {pk for pks in asked for pk in pks})
    return [heads] * len(asked)


def removed_by(event: Event) -> Collection[str]:
    """The ids of the users whom a ``chat:updated`` removed."""
    removed: list[str] = orjson.loads(event.payload)["removed"]
    return removed
