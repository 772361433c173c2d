"""The hub by itself: hints in any order, replay that turns live, removals at their seq, gaps that can't be filled."""

import asyncio
import random
from collections.abc import Sequence

import orjson
import pytest

from realtime.broker_memory import MemoryBroker
from realtime.frames import split_frames
from realtime.hub import Hub
from realtime.subscription import Channel
from storage import log
from storage.database import Database
from storage.models import channels, events
from storage.transaction import Command, Event, Tx
from tests.conftest import eventually
from tests.guard import HANG_SECONDS


class Recorder:
    """A reader that remembers the seqs it was written."""

    def __init__(self, user_id: str = "reader") -> None:
        self.user_id = user_id
        self.subscriptions: dict[int, Channel] = {}
        self.live_at = 0.0
        self.seqs: list[int] = []
        self.gaps: list[int] = []
        self.pause: asyncio.Event | None = None

    def write(self, data: bytes) -> None:
        for payload in split_frames(data):
            self.seqs.append(orjson.loads(payload[payload.index(b"[") :])[2]["seq"])

    def murmur(self, data: bytes) -> None:
        raise AssertionError

    async def taken(self, below: int) -> bool:
        if self.pause:
            await self.pause.wait()
        await asyncio.sleep(0)
        return True

    def told(self, event: Event) -> None:
        raise AssertionError

    def parted(self) -> None:
        """Nobody is watched."""

    def lost(self, pk: int, name: str) -> None:
        self.gaps.append(pk)


class LossyBroker(MemoryBroker):
    """Loses, doubles, delays and swaps hints."""

    def __init__(self, seed: int) -> None:
        super().__init__()
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
    hub = Hub(database, LossyBroker(seed))
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
            await hub.look_at_tail()
        if step % 11 == 10:
            hub.leave(readers.pop(0)[1])
    await asyncio.gather(*starting)
    await hub.look_at_tail()
    head = (await database.read(lambda connection: log.heads(connection, [pk])))[pk]
    for cursor, reader in readers:
        await eventually(lambda reader=reader: reader.seqs and reader.seqs[-1] == head)
        assert reader.seqs == list(range(cursor + 1, head + 1))
    await hub.tasks.finish()


async def test_a_replaying_reader_is_removed_at_the_seq_of_its_removal(database: Database, pk: int) -> None:
    hub = Hub(database, MemoryBroker())
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
    hub = Hub(database, MemoryBroker())
    await append(database, pk, 20)
    reader, replaying = Recorder(), Recorder()
    await read(hub, reader, pk, 20)
    await append(database, pk, 10)

    def forget(tx: Tx) -> None:
        tx.execute(events.delete().where(events.c.seq <= 25))
        tx.execute(channels.update().values(floor=25))

    await database.write(Command(forget))
    await hub.look_at_tail()
    await eventually(lambda: reader.gaps)
    await read(hub, replaying, pk, 10)
    assert replaying.gaps == [pk] and replaying.seqs == []
    assert reader.seqs == [] and not hub.channels


async def test_a_gap_on_a_channel_that_was_left_is_nobodys_work(database: Database, pk: int) -> None:
    hub = Hub(database, MemoryBroker())
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
    hub = Hub(database, MemoryBroker())
    reader = Recorder()
    await read(hub, reader, pk, 0)
    await append(database, pk, 3)
    assert reader.seqs == []
    await hub.look([pk])
    assert reader.seqs == [1, 2, 3]
    hub.leave(reader)


async def test_a_lost_hint_is_noticed_with_the_next(database: Database, pk: int) -> None:
    hub = Hub(database, MemoryBroker())
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
