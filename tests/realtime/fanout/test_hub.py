"""The hub by itself: hints in any order, replay that turns live, removals at their seq, gaps that can't be filled."""

import asyncio
import random
from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import Any

import orjson
import pytest

from realtime.cluster.broker import Subscriber
from realtime.cluster.broker_memory import MemoryBroker
from realtime.fanout.hub import Hub, is_hidden
from realtime.fanout.subscription import Channel
from realtime.schema.limits import Limits
from realtime.transport.frames import split_frames
from storage import log
from storage.database import Database
from storage.errors import Unavailable
from storage.models import channels, events
from storage.transaction import Command, Event, Tx
from tests.conftest import eventually
from tests.support.guard import HANG_SECONDS


class Recorder:
    """A reader that remembers the seqs it was written."""

    def __init__(self, user_id: str = "reader") -> None:
        self.user_id = user_id
        self.subscriptions: dict[int, Channel] = {}
        self.live_at = 0.0
        self.seqs: list[int] = []
        self.gaps: list[int] = []
        self.pause: asyncio.Event | None = None
        self.write: Callable[[bytes], None] = self.on_data

    def on_data(self, data: bytes) -> None:
        for payload in split_frames(data):
            self.seqs.append(orjson.loads(payload[payload.index(b"[") :])[2]["seq"])

    def write_ephemeral(self, data: bytes) -> None:
        raise AssertionError

    async def drained(self, below: int) -> bool:
        if self.pause:
            await self.pause.wait()
        await asyncio.sleep(0)
        return True

    def on_user_event(self, event: Event) -> None:
        raise AssertionError

    def on_member_removed(self) -> None:
        """Nobody is watched."""

    def on_removed(self, pk: int) -> None:
        """It reads no rooms."""

    def on_gap(self, pk: int, name: str) -> None:
        self.gaps.append(pk)


class LossyBroker(MemoryBroker):
    """Loses, doubles, delays and swaps hints."""

    def __init__(self, seed: int, subscriber: Subscriber) -> None:
        super().__init__(subscriber)
        self.random = random.Random(seed)
        self.kept: list[Event] = []

    def publish(self, events: Sequence[Event]) -> None:
        for event in events:
            match self.random.randrange(5):
                case 0:
                    continue
                case 1:
                    super().publish([event, event])
                case 2:
                    self.kept.append(event)
                case _:
                    super().publish([event])
        if self.kept and self.random.random() < 0.3:
            self.random.shuffle(self.kept)
            late, self.kept = self.kept, []
            super().publish(late)


@pytest.fixture
async def pk(database: Database) -> int:
    return await database.write(Command(lambda tx: log.open_channel(tx, "chat:one")))


async def append(database: Database, pk: int, count: int = 1, name: str = "note", document: object = None) -> None:
    def apply(tx: Tx) -> None:
        for _ in range(count):
            log.append(tx, pk, name, document or {})

    await database.write(Command(apply, channels=[pk]))


async def read(hub: Hub, reader: Recorder, pk: int, cursor: int) -> None:
    replay = hub.add(reader, pk, "chat:one", cursor)
    assert replay
    await hub.start([replay])


@pytest.mark.parametrize("seed", range(5))
async def test_every_reader_gets_every_event_once_and_in_order(database: Database, pk: int, seed: int) -> None:
    hub = Hub(database, partial(LossyBroker, seed), Limits())
    database.writer.on_commit = hub.publish
    readers: list[tuple[int, Recorder]] = []
    starting: list[asyncio.Task[None]] = []
    for step in range(60):
        await append(database, pk, 1 + step % 4)
        head = (await database.read(lambda connection: log.heads(connection, [pk])))[pk]
        cursor = max(0, head - (step * 7) % 50)
        readers.append((cursor, Recorder()))
        starting.append(asyncio.create_task(read(hub, readers[-1][1], pk, cursor)))
        if step % 5 == 0:
            await hub.check_tail()
        if step % 11 == 10:
            hub.leave(readers.pop(0)[1])
    await asyncio.gather(*starting)
    await hub.check_tail()
    head = (await database.read(lambda connection: log.heads(connection, [pk])))[pk]
    for cursor, reader in readers:
        await eventually(lambda reader=reader: reader.seqs and reader.seqs[-1] == head)  # type: ignore[misc]
        assert reader.seqs == list(range(cursor + 1, head + 1))
    await hub.tasks.finish()


async def test_a_replaying_reader_is_removed_at_the_seq_of_its_removal(database: Database, pk: int) -> None:
    hub = Hub(database, MemoryBroker, Limits())
    database.writer.on_commit = hub.publish
    await append(database, pk, 5)
    live, slow, other = Recorder("gone"), Recorder("gone"), Recorder("stays")
    await read(hub, live, pk, 5)
    await read(hub, other, pk, 5)
    slow.pause = asyncio.Event()
    replay = asyncio.create_task(read(hub, slow, pk, 0))
    await eventually(lambda: slow.seqs)
    await append(database, pk, 2)
    await append(database, pk, 1, "chat:updated", {"removed": ["gone"]})
    await append(database, pk, 3)
    slow.pause.set()
    await replay
    assert slow.seqs == list(range(1, 9))
    assert live.seqs == [6, 7, 8]
    assert other.seqs == [6, 7, 8, 9, 10, 11]
    assert not live.subscriptions and not slow.subscriptions
    hub.leave(other)
    assert not hub.channels


async def test_what_retention_took_is_said(database: Database, pk: int) -> None:
    hub = Hub(database, MemoryBroker, Limits())
    await append(database, pk, 20)
    reader, replaying = Recorder(), Recorder()
    await read(hub, reader, pk, 20)
    await append(database, pk, 10)

    def forget(tx: Tx) -> None:
        tx.execute(events.delete().where(events.c.seq <= 25))
        tx.execute(channels.update().values(floor=25))

    await database.write(Command(forget))
    await hub.check_tail()
    await eventually(lambda: reader.gaps)
    await read(hub, replaying, pk, 10)
    assert replaying.gaps == [pk] and replaying.seqs == []
    assert reader.seqs == [] and not hub.channels


async def test_a_gap_on_a_channel_that_was_left_is_nobodys_work(database: Database, pk: int) -> None:
    hub = Hub(database, MemoryBroker, Limits())
    first, second = Recorder(), Recorder()
    await read(hub, first, pk, 0)
    channel = hub.channels[pk]
    hub.leave(first)
    await read(hub, second, pk, 0)
    channel.hinted = 99
    hub._fill(channel)
    await asyncio.wait_for(hub.tasks.finish(), HANG_SECONDS)
    assert hub.channels[pk] is not channel


async def test_an_unknown_outcome_makes_the_hub_look(database: Database, pk: int) -> None:
    hub = Hub(database, MemoryBroker, Limits())
    reader = Recorder()
    await read(hub, reader, pk, 0)
    await append(database, pk, 3)
    assert reader.seqs == []
    await hub.check_heads([pk])
    assert reader.seqs == [1, 2, 3]
    hub.leave(reader)


async def test_a_lost_hint_is_noticed_with_the_next(database: Database, pk: int) -> None:
    hub = Hub(database, MemoryBroker, Limits())
    published: list[Event] = []
    database.writer.on_commit = published.extend
    reader = Recorder()
    await read(hub, reader, pk, 0)
    for _ in range(3):
        await append(database, pk)
    hub.publish([published[0]])
    hub.publish([published[2]])
    await eventually(lambda: reader.seqs == [1, 2, 3])
    assert hub.repaired == 2
    hub.leave(reader)


class Counting(MemoryBroker):
    """Records what the hub subscribes to."""

    def __init__(self, subscriber: Subscriber) -> None:
        super().__init__(subscriber)
        self.subscribed: list[int] = []
        self.listened: list[str] = []

    async def subscribe(self, pks: Collection[int]) -> None:
        self.subscribed += pks
        await super().subscribe(pks)

    def unsubscribe(self, pks: Collection[int]) -> None:
        for pk in pks:
            self.subscribed.remove(pk)
        super().unsubscribe(pks)

    def subscribe_topic(self, topic: str) -> None:
        self.listened.append(topic)
        super().subscribe_topic(topic)

    def unsubscribe_topic(self, topic: str) -> None:
        self.listened.remove(topic)
        super().unsubscribe_topic(topic)


def counting(hub: Hub) -> Counting:
    assert isinstance(hub.broker, Counting)
    return hub.broker


async def test_it_listens_as_long_as_somebody_reads(database: Database, pk: int) -> None:
    hub = Hub(database, Counting, Limits())
    broker = counting(hub)
    first, second = Recorder(), Recorder()
    await asyncio.gather(read(hub, first, pk, 0), read(hub, second, pk, 0))
    assert broker.subscribed == [pk] and hub.add(first, pk, "chat:one", 0) is None
    hub.leave(first)
    assert broker.subscribed == [pk]
    hub.leave(second)
    assert broker.subscribed == [] and not hub.channels
    for reader in (first, second):
        hub.topics.watch("presence:1", reader)
    hub.topics.unwatch("presence:1", first)
    assert broker.listened == ["presence:1"]
    hub.topics.unwatch("presence:1", second)
    hub.topics.unwatch("presence:1", second)
    assert broker.listened == [] and not hub.topics.watchers
    hub.topics.handle("asked", lambda name, document: None)
    assert broker.listened == ["asked"]


async def test_who_leaves_while_a_channel_is_opened_leaves_nothing(database: Database, pk: int) -> None:
    hub, reader = Hub(database, Counting, Limits()), Recorder()
    broker = counting(hub)
    replay = hub.add(reader, pk, "chat:one", 0)
    assert replay
    starting = asyncio.create_task(hub.start([replay]))
    await eventually(lambda: broker.subscribed)
    hub.leave(reader)
    await starting
    assert broker.subscribed == [] and not hub.channels and not reader.subscriptions


async def test_a_long_replay_is_written_in_pieces_that_the_reader_takes(
    database: Database, pk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("realtime.fanout.hub.REPLAY_AHEAD_BYTES", 1000)
    hub = Hub(database, MemoryBroker, Limits())
    await append(database, pk, 10, document={"text": "x" * 400})

    class Careful(Recorder):
        def __init__(self, stops: int) -> None:
            super().__init__()
            self.stops = stops
            self.pieces: list[int] = []

        def on_data(self, data: bytes) -> None:
            super().on_data(data)
            self.pieces.append(len(split_frames(data)))

        async def drained(self, below: int) -> bool:
            assert below == 1000
            return len(self.pieces) < self.stops

    reader = Careful(stops=100)
    await read(hub, reader, pk, 0)
    assert reader.pieces == [3, 3, 3, 1] and reader.seqs == list(range(1, 11))
    assert hub.delivered == 10
    gone = Careful(stops=2)
    replay = hub.add(gone, pk, "chat:one", 0)
    assert replay
    await hub._replay(replay)
    assert gone.pieces == [3, 3], "nothing is written to who takes nothing any more"


async def test_suspect_channels_are_compared_with_the_log(
    database: Database, pk: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("realtime.fanout.hub.CHECK_PAUSE_SECONDS", 0)
    monkeypatch.setattr("realtime.fanout.hub.RETRY_SECONDS", 0)
    hub, reader = Hub(database, MemoryBroker, Limits()), Recorder()
    await read(hub, reader, pk, 0)
    await append(database, pk, 2)
    hub.on_suspect([pk + 1])
    await hub.tasks.finish()
    assert reader.seqs == [], "another channel"
    hub.on_suspect([pk])
    await hub.tasks.finish()
    assert reader.seqs == [1, 2] and hub.checking is None and not hub.suspect
    await append(database, pk, 1)
    faults, reading = [Unavailable(), Unavailable()], database.read

    async def failing(query: Any, **options: Any) -> Any:
        if faults:
            raise faults.pop()
        return await reading(query, **options)

    monkeypatch.setattr(database, "read", failing)
    hub.on_suspect(None)
    await hub.tasks.finish()
    assert reader.seqs == [1, 2, 3] and caplog.text.count("retrying") == 2
    assert hub.repaired == 3


async def test_the_look_at_the_tail_goes_back_to_the_last_one(
    database: Database, pk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub = Hub(database, MemoryBroker, Limits())
    asked: list[int] = []
    tail = log.tail

    def recorded(connection: Any, seconds: int) -> Any:
        asked.append(seconds)
        return tail(connection, seconds)

    monkeypatch.setattr(log, "tail", recorded)
    await hub.check_tail()
    hub.checked_at -= 100
    await hub.check_tail()
    await hub.check_tail()
    assert asked == [10, 110, 10]


async def test_a_channel_that_can_not_be_filled_is_tried_again(
    database: Database, pk: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("realtime.fanout.hub.REFILL_SECONDS", 0)
    hub, reader = Hub(database, MemoryBroker, Limits()), Recorder()
    await read(hub, reader, pk, 0)
    await append(database, pk, 2)
    faults, page = [ZeroDivisionError()], hub._page

    async def failing(channel: Channel, after: int) -> Any:
        if faults:
            raise faults.pop()
        return await page(channel, after)

    monkeypatch.setattr(hub, "_page", failing)
    hub._fill(hub.channels[pk], 2)
    await eventually(lambda: reader.seqs == [1, 2])
    assert "could not fill chat:one" in caplog.text
    await hub.tasks.finish()
    caplog.clear()


@pytest.mark.parametrize(("about", "hidden"), [(None, False), (4, True), (5, True), (6, False)])
def test_what_is_about_an_object_from_before_the_joining_is_hidden(about: int | None, hidden: bool) -> None:
    assert is_hidden(Event(1, "chat:one", 9, "message:updated", b"{}", about), 5) is hidden


def leaving(seq: int) -> dict[str, object]:
    return {"chatId": "one", "at": seq}


@pytest.mark.parametrize("first", ["the user's own", "the chat's"])
async def test_a_reader_whose_user_left_gets_nothing_above_that_seq(database: Database, pk: int, first: str) -> None:
    hub = Hub(database, MemoryBroker, Limits())
    own = await database.write(Command(lambda tx: log.open_channel(tx, "user:gone")))
    await append(database, pk, 3)
    live, slow, stays = Recorder("gone"), Recorder("gone"), Recorder("stays")
    for reader in (live, slow):
        reader.on_user_event = lambda event: None  # type: ignore[method-assign]
    for reader in (live, stays):
        await read(hub, reader, pk, 3)
    replay = hub.add(live, own, "user:gone", 0)
    assert replay
    await hub.start([replay])
    slow.pause = asyncio.Event()
    replaying = asyncio.create_task(read(hub, slow, pk, 0))
    await eventually(lambda: slow.seqs)
    replay = hub.add(slow, own, "user:gone", 0)
    assert replay
    await hub.start([replay])
    committed: list[Event] = []
    database.writer.on_commit = committed.extend
    await append(database, pk, 1)
    await append(database, own, 1, "chat:removed", leaving(4))
    await append(database, pk, 2)
    hub.publish(committed if first == "the chat's" else committed[1:2])
    if first == "the user's own":
        assert live.subscriptions.get(pk), "there is one event that it gets yet"
        hub.publish(committed)
    slow.pause.set()
    await replaying
    await eventually(lambda: stays.seqs[-1] == 6)
    assert [seq for seq in live.seqs if seq != 1] == [4] and pk not in live.subscriptions
    assert [*dict.fromkeys(slow.seqs)] == [1, 2, 3, 4] and pk not in slow.subscriptions
    assert live.gaps == slow.gaps == []
    await hub.tasks.finish()


async def test_who_joined_again_since_keeps_the_subscription(database: Database, pk: int) -> None:
    hub = Hub(database, MemoryBroker, Limits())
    database.writer.on_commit = hub.publish
    own = await database.write(Command(lambda tx: log.open_channel(tx, "user:back")))
    await append(database, own, 1, "chat:removed", leaving(3))
    await append(database, pk, 5)
    reader = Recorder("back")
    reader.on_user_event = lambda event: None  # type: ignore[method-assign]
    chat = hub.add(reader, pk, "chat:one", 5, 5)
    replayed = hub.add(reader, own, "user:back", 0)
    assert chat and replayed
    await hub.start([chat, replayed])
    await append(database, pk, 1)
    await eventually(lambda: reader.seqs[-1] == 6)
    await hub.tasks.finish()
