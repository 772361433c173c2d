"""The hub of this node: which sockets read which channels, and how every event reaches each of them once, in order.

The hub knows its position on each channel it has readers for: the next seq is delivered, an older one dropped, a gap
filled from the log. A subscription is *replaying* or *live*. A replaying one reads the log page by page; when it has read
exactly as far as the hub, it turns live in that step. There is no other way to become live.
"""

import asyncio
import logging
import time
from collections.abc import Collection, Mapping, Sequence
from functools import partial

import orjson
from sqlalchemy import Connection

from realtime.cluster.broker import MakeBroker
from realtime.fanout.crowd import CROWD_READERS, Crowd
from realtime.fanout.delivery_budget import DeliveryBudget
from realtime.fanout.subscription import Channel, Reader, Replay
from realtime.fanout.topics import Topics, write_to
from realtime.schema.limits import KIB, Limits
from realtime.transport import frames
from storage import chat, log
from storage.batcher import Batcher
from storage.chat import NOWHERE, Position
from storage.database import Database
from storage.errors import Unavailable
from storage.tasks import Tasks
from storage.transaction import Event

logger = logging.getLogger("bellwire.hub")

PAGE_EVENTS = 200
REPLAY_AHEAD_BYTES = 64 * KIB
TAIL_SECONDS = 10
CHECK_PAUSE_SECONDS = 0.1
RETRY_SECONDS = 1.0
REFILL_SECONDS = 0.5


class Hub:
    """Give it ``publish`` as the writer's ``on_commit``, ``on_suspect`` as its ``on_unknown``; ``stop`` it at the end."""

    def __init__(self, database: Database, make_broker: MakeBroker, limits: Limits) -> None:
        self.database = database
        # What each channel of several users is sent; a chat that sends too much accepts no messages.
        self.delivery_budget = DeliveryBudget(limits, self.readers)
        self.broker = make_broker(self)
        # Those with readers, by number.
        self.channels: dict[int, Channel] = {}
        self.topics = Topics(self.broker)
        # Events written to readers, events read from the log because their hint was missing, subscriptions ended at a gap
        # that the log does not fill. All only grow.
        self.delivered = 0
        self.repaired = 0
        self.resets = 0
        # When the tail of the log was read last, of time.monotonic().
        self.checked_at = time.monotonic()
        self.tasks = Tasks()
        # Reads of many readers, made together.
        self.positions: Batcher[Collection[int], Mapping[int, Position]] = Batcher(database, positions_of)
        self.pages: Batcher[tuple[int, int], list[Event]] = Batcher(
            database, partial(log.pages, limit=PAGE_EVENTS), most=16
        )
        # Channels that may have missed something, and the task that compares them with the log.
        self.suspect: set[int] = set()
        self.checking: asyncio.Task[None] | None = None

    async def stop(self) -> None:
        """After the last session has ended."""
        await self.tasks.finish()

    # Subscriptions

    def add(self, reader: Reader, pk: int, name: str, cursor: int, joined_seq: int = 0) -> Replay | None:
        """A new subscription that has everything up to ``cursor``; None if the reader has the channel already.

        Objects up to ``joined_seq`` are hidden from the reader where the channel is restricted.
        """
        if pk in reader.subscriptions:
            return None
        channel = self.channels.get(pk)
        if channel is None:
            channel = self.channels[pk] = Channel(pk, name, personal=name.startswith("user:"))
        reader.subscriptions[channel.pk] = channel
        replay = channel.replaying[reader] = Replay(reader, channel, cursor, joined_seq)
        return replay

    async def start(self, replays: Collection[Replay]) -> None:
        """Bring subscriptions live, in their order: each event after the cursor once, and no gap."""
        await self._open([each.channel for each in replays])
        for replay in replays:
            await self._catch_up(replay)

    async def _open(self, channels: Collection[Channel]) -> None:
        """Listen to channels, then read their positions; in that order nothing falls between."""
        fresh = [channel for channel in channels if channel.position is None and channel.opening is None]
        if fresh:
            opening = asyncio.get_running_loop().create_future()
            for channel in fresh:
                channel.opening = opening
            try:
                await self.broker.subscribe([channel.pk for channel in fresh])
                positions = await self.positions.get([each.pk for each in fresh])
                for channel in fresh:
                    channel.position, channel.restricted, channel.room = positions.get(channel.pk, NOWHERE)
                    if channel.hinted > channel.position:
                        self._fill(channel)
            finally:
                opening.set_result(None)
                for channel in fresh:
                    channel.opening = None
                    self._close_unread(channel)
        for channel in channels:
            while channel.opening:
                await asyncio.shield(channel.opening)
            if channel.position is None:
                raise ConnectionError(f"{channel.name} could not be opened")

    async def _catch_up(self, replay: Replay) -> None:
        try:
            await self._follow_log(replay)
        finally:
            if replay.settled:
                replay.settled.set_result(None)
                replay.settled = None

    async def settle(self, reader: Reader, channel: Channel) -> None:
        """Wait until the reader is live on a channel, or has left it."""
        replay = channel.replaying.get(reader)
        if replay:
            if replay.settled is None:
                replay.settled = asyncio.get_running_loop().create_future()
            await asyncio.shield(replay.settled)

    async def _follow_log(self, replay: Replay) -> None:
        channel, reader = replay.channel, replay.reader
        while replay.active:
            assert channel.position is not None
            if channel.crowd and channel.position < replay.cursor <= channel.newest:
                await channel.crowd.wait()
            elif replay.cursor > channel.position:
                await self._filled(channel, replay.cursor)
            elif replay.cursor >= channel.end_of(reader):
                self.remove(reader, channel.pk)
            elif replay.cursor == channel.position:
                del channel.replaying[reader]
                channel.live[reader] = replay.joined_seq
                channel.newest_joined = max(channel.newest_joined, replay.joined_seq)
                reader.live_at = time.monotonic()
                return
            else:
                await self._replay(replay)

    async def _replay(self, replay: Replay) -> None:
        """Write one page of the log, as fast as the reader takes it."""
        channel, reader, after = replay.channel, replay.reader, replay.cursor
        waiting: list[Event] = []
        size = 0
        for event in await self._page(channel, after):
            if not replay.active:
                return None
            if event.seq != replay.cursor + 1:
                break
            if event.seq > channel.end_of(reader):
                break
            replay.cursor = event.seq
            if channel.restricted and is_hidden(event, replay.joined_seq):
                event = skipped(event)
            waiting.append(event)
            size += len(event.payload)
            if event.name == "chat:updated" and reader.user_id in removed_by(event):
                self._write(reader, channel, waiting)
                return self._remove_member(reader, channel)
            if size > REPLAY_AHEAD_BYTES:
                self._write(reader, channel, waiting)
                waiting, size = [], 0
                if not await reader.drained(REPLAY_AHEAD_BYTES):
                    return None
        if waiting and replay.active:
            self._write(reader, channel, waiting)
            await reader.drained(REPLAY_AHEAD_BYTES)
        if replay.cursor == after and replay.active and after < channel.end_of(reader):
            self._end_at_gap(channel, [reader])
        return None

    async def _page(self, channel: Channel, after: int) -> list[Event]:
        return await self.pages.get((channel.pk, after))

    def remove(self, reader: Reader, pk: int) -> None:
        """End a reader's subscription to a channel."""
        channel = reader.subscriptions.pop(pk, None)
        if channel:
            channel.live.pop(reader, None)
            channel.replaying.pop(reader, None)
            if channel.ends:
                channel.ends.pop(reader, None)
            if channel.crowd:
                channel.crowd.unwritten.pop(reader, None)
            self._close_unread(channel)

    def _close_unread(self, channel: Channel) -> None:
        unread = not channel.live and not channel.replaying and channel.opening is None
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

    def on_hints(self, events: Sequence[Event]) -> None:
        """Hints came, in whatever order: the next seq is delivered, an older one dropped, a gap filled from the log."""
        by_channel: dict[int, list[Event]] = {}
        for event in events:
            if event.channel_pk in self.channels:
                by_channel.setdefault(event.channel_pk, []).append(event)
        # Users' own first: at which seq they left a chat stands there.
        for pk in sorted(by_channel, key=lambda pk: not self.channels[pk].personal):
            channel, some = self.channels.get(pk), by_channel[pk]
            if channel:
                self._on_channel_hints(channel, some)

    def _on_channel_hints(self, channel: Channel, events: Sequence[Event]) -> None:
        if channel.position is None or channel.filling:
            channel.hinted = max(channel.hinted, *(event.seq for event in events))
            return
        seq, fresh = channel.newest, []
        for event in events:
            if event.seq == seq + 1:
                fresh.append(event)
                seq += 1
        if fresh:
            crowd = self._crowd(channel)
            crowd.deliver_soon(fresh) if crowd else self._deliver(channel, fresh)
        newest = max(event.seq for event in events)
        if newest > seq:
            self._fill(channel, newest)

    def _crowd(self, channel: Channel) -> Crowd | None:
        """That of a channel which has many readers, or had."""
        if channel.crowd is None and len(channel.live) > CROWD_READERS:
            channel.crowd = Crowd(channel, self._deliver)
        return channel.crowd

    def _deliver(self, channel: Channel, events: Sequence[Event]) -> None:
        """The channel's next events, in one write a reader; a removal among them ends it at its seq."""
        channel.delivered_at = time.monotonic()
        start = 0
        for end, event in enumerate(events, 1):
            if event.name == "chat:updated" or channel.ends:
                self._write_live(channel, events[start:end])
                if event.name == "chat:updated":
                    self._apply_update(channel, event)
                self._end_left(channel)
                start = end
        self._write_live(channel, events[start:])

    def _write_live(self, channel: Channel, events: Sequence[Event]) -> None:
        if not events:
            return None
        channel.position = events[-1].seq
        if not channel.live:
            return None
        crowd = self._crowd(channel)
        if crowd:
            crowd.finish()
        if channel.restricted and any(is_hidden(event, channel.newest_joined) for event in events):
            self._write_visible(channel, events)
        elif crowd:
            crowd.write(channel.live, frames.of_events(events))
        else:
            data = frames.of_events(events)
            for reader in channel.live:
                write = reader.write
                write(data)
        count = len(events) * len(channel.live)
        self.delivered += count
        if not channel.personal:
            return self.delivery_budget.on_delivered(channel.pk, count)
        for reader in list(channel.live):
            for event in events:
                self._on_user_event(reader, event, replayed=False)
        return None

    def readers(self, channel_pk: int) -> int:
        """How many sockets of this node are live on a channel."""
        channel = self.channels.get(channel_pk)
        return len(channel.live) if channel else 0

    def _write_visible(self, channel: Channel, events: Sequence[Event]) -> None:
        """To each live reader the events about objects that it may see; the others keep their seq and show nothing."""
        built: dict[int, bytes] = {}
        for reader, joined_seq in channel.live.items():
            data = built.get(joined_seq)
            if data is None:
                seen = [skipped(event) if is_hidden(event, joined_seq) else event for event in events]
                data = built[joined_seq] = frames.of_events(seen)
            reader.write(data)

    def _write(self, reader: Reader, channel: Channel, events: Sequence[Event]) -> None:
        reader.write(frames.of_events(events))
        self.delivered += len(events)
        if channel.personal:
            for event in events:
                self._on_user_event(reader, event, replayed=True)

    def _on_user_event(self, reader: Reader, event: Event, *, replayed: bool) -> None:
        if event.name == "chat:removed":
            document = orjson.loads(event.payload)
            if "at" in document:
                # What is replayed may be of a membership before the one that the reader has subscribed with.
                self.end_at(reader, f"chat:{document['chatId']}", document["at"], joined_before=replayed)
        reader.on_user_event(event)

    def end_at(self, reader: Reader, name: str, seq: int, *, joined_before: bool = False) -> None:
        """The user left a channel at this seq: the reader gets nothing above it, unless the user has joined again since.

        With ``joined_before`` a joining at the same seq is taken for a later one.
        """
        channel = next((each for each in reader.subscriptions.values() if each.name == name), None)
        if channel:
            replay = channel.replaying.get(reader)
            joined_seq = replay.joined_seq if replay else channel.live[reader]
            if joined_seq < seq or (joined_seq == seq and not joined_before):
                channel.ends = {**(channel.ends or {}), reader: seq}
                self._end_left(channel)

    def _end_left(self, channel: Channel) -> None:
        """End the live readers that have all they get; a replaying one ends when its replay comes there."""
        if not channel.ends:
            return
        if channel.crowd:
            channel.crowd.finish()
        for reader in [each for each, seq in channel.ends.items() if (channel.position or 0) >= seq]:
            if reader in channel.live:
                self.remove(reader, channel.pk)

    def _apply_update(self, channel: Channel, event: Event) -> None:
        """Apply a ``chat:updated`` at its seq: nothing above a removal reaches the removed."""
        document = orjson.loads(event.payload)
        visible = document.get("changes", {}).get("historyVisible")
        if visible is not None:
            channel.restricted = visible == "joined"
        removed = document["removed"]
        if removed:
            if channel.crowd:
                channel.crowd.finish()
            # A replaying one has not had the events before it yet: it ends when its replay comes here.
            for reader in list(channel.live):
                if not channel.room:
                    reader.on_member_removed()
                if reader.user_id in removed:
                    self._remove_member(reader, channel)

    def _remove_member(self, reader: Reader, channel: Channel) -> None:
        self.remove(reader, channel.pk)
        reader.on_removed(channel.pk)

    def _end_at_gap(self, channel: Channel, readers: Collection[Reader]) -> None:
        """Retention took what these were to get: what happened to the reader meanwhile is not known either."""
        for reader in readers:
            self.resets += 1
            self.remove(reader, channel.pk)
            reader.on_gap(channel.pk, channel.name)

    # Repair

    def _fill(self, channel: Channel, upto: int = 0) -> None:
        """Read from the log what the hub has not delivered, up to the newest hinted."""
        if channel.crowd:
            channel.crowd.release()
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
                whole = [event for place, event in enumerate(page, after + 1) if event.seq == place]
                if whole:
                    self.repaired += len(whole)
                    self._deliver(channel, whole)
                else:
                    found = (await self.positions.get([channel.pk])).get(channel.pk, NOWHERE)
                    channel.position = max(found.head, channel.position)
                    channel.restricted = found.restricted
                    self._end_at_gap(channel, list(channel.live))
        except Exception:
            logger.exception("could not fill %s from the log", channel.name)
            await asyncio.sleep(REFILL_SECONDS)
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

    def compare_heads(self, heads: Mapping[int, int]) -> None:
        """Fill every channel whose newest seq is above the hub's position."""
        for pk, head in heads.items():
            channel = self.channels.get(pk)
            if channel and channel.position is not None and head > channel.newest:
                self._fill(channel, head)

    async def check_heads(self, pks: Collection[int]) -> None:
        """Read the heads of these channels and deliver what is missing on them; returns when it is."""
        known = [pk for pk in pks if pk in self.channels]
        heads = await self.database.read(lambda connection: log.heads(connection, known))
        for pk, head in heads.items():
            channel = self.channels.get(pk)
            if channel:
                await self._filled(channel, head)

    def on_suspect(self, pks: Collection[int] | None) -> None:
        """Something may have been missed on these channels, or on all: look, many at a time."""
        self.suspect.update(self.channels if pks is None else self.channels.keys() & pks)
        if self.checking is None and self.suspect:
            self.checking = self.tasks.spawn(self._check_suspects())

    async def _check_suspects(self) -> None:
        try:
            while self.suspect:
                pks, self.suspect = self.suspect & self.channels.keys(), set()
                try:
                    self.compare_heads(await self.database.read(partial(log.heads, pks=pks)))
                except Unavailable:
                    logger.warning("could not check %d suspect channels; retrying", len(pks))
                    self.suspect |= pks
                    await asyncio.sleep(RETRY_SECONDS)
                await asyncio.sleep(CHECK_PAUSE_SECONDS)
        finally:
            self.checking = None

    async def check_tail(self) -> None:
        """Compare with what the log got lately, by other processes too: no hint that never came is missed for long."""
        moment = time.monotonic()
        seconds = TAIL_SECONDS + int(moment - self.checked_at)
        self.compare_heads(await self.database.read(lambda connection: log.tail(connection, seconds)))
        self.checked_at = moment

    # What is not durable

    def publish_ephemeral(self, channel_pk: int, name: str, document: object, *, exclude: str) -> None:
        """Send to the live readers of a channel, on every node, except one user's."""
        self.broker.publish_ephemeral(f"channel:{channel_pk}", name, document, exclude=exclude)

    def on_ephemeral(self, topic: str, name: str, exclude: str | None, document: object) -> None:
        kind, _, pk = topic.partition(":")
        if kind != "channel":
            return self.topics.on_ephemeral(topic, name, exclude, document)
        channel = self.channels.get(int(pk))
        readers = list(channel.live) if channel else []
        if readers and self.delivery_budget.admit_ephemeral(int(pk), len(readers)):
            write_to(readers, name, document, exclude)
        return None


def positions_of(connection: Connection, asked: Sequence[Collection[int]]) -> list[Mapping[int, Position]]:
    """For each of these sets of channels where they are."""
    positions = chat.positions(connection, {pk for pks in asked for pk in pks})
    return [positions] * len(asked)


def is_hidden(event: Event, joined_seq: int) -> bool:
    """Whether an event is about an object from before a joining."""
    return event.about is not None and event.about <= joined_seq


def skipped(event: Event) -> Event:
    """What stands in an event's place for those who may not see what it is about."""
    return Event(event.channel_pk, event.channel, event.seq, "channel:skip", b"{}")


def removed_by(event: Event) -> Collection[str]:
    """The ids of the users whom a ``chat:updated`` removed."""
    removed: list[str] = orjson.loads(event.payload)["removed"]
    return removed
