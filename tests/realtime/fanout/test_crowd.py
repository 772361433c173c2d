"""Delivery to many readers: together, in order, a few at a time, and to nobody above a removal."""

import asyncio
from typing import Any

import pytest

from realtime.cluster.broker_memory import MemoryBroker
from realtime.fanout import crowd as module
from realtime.fanout.hub import Hub
from realtime.schema.limits import Limits
from storage import log
from storage.database import Database
from storage.transaction import Command
from tests.conftest import eventually
from tests.realtime.fanout.test_hub import Recorder, append, read


class Counting(Recorder):
    """Also counts how often it is written to."""

    def __init__(self, user_id: str = "reader") -> None:
        super().__init__(user_id)
        self.writes = 0

    def on_data(self, data: bytes) -> None:
        self.writes += 1
        super().on_data(data)


@pytest.fixture(autouse=True)
def few_are_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CROWD_READERS", 5)
    monkeypatch.setattr("realtime.fanout.hub.CROWD_READERS", 5)
    monkeypatch.setattr(module, "READERS_AT_ONCE", 2)


@pytest.fixture
async def pk(database: Database) -> int:
    return await database.write(Command(lambda tx: log.open_channel(tx, "chat:one")))


async def crowded(database: Database, pk: int, count: int) -> tuple[Hub, list[Counting]]:
    hub = Hub(database, MemoryBroker, Limits())
    database.writer.on_commit = hub.publish
    readers = [Counting(f"user {number}") for number in range(count)]
    for each in readers:
        await read(hub, each, pk, 0)
    return hub, readers


async def test_events_of_a_moment_leave_in_one_write(
    database: Database, pk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "WAIT_SECONDS", 1000.0)
    hub, readers = await crowded(database, pk, 9)
    await append(database, pk)
    await eventually(lambda: all(each.seqs == [1] for each in readers))
    for _ in range(3):
        await append(database, pk)
    channel = hub.channels[pk]
    assert channel.crowd and len(channel.crowd.held) == 3 and channel.newest == 4
    assert {each.writes for each in readers} == {1}
    late = Counting()
    reading = asyncio.create_task(read(hub, late, pk, 0))
    await eventually(lambda: late.seqs == [1, 2, 3, 4])
    assert {each.writes for each in readers} == {1}, "who comes does not disturb what waits"
    channel.crowd.release()
    await reading
    await eventually(lambda: all(each.seqs == [1, 2, 3, 4] for each in [*readers, late]))
    assert {each.writes for each in readers} == {2} and late.writes == 1
    await hub.tasks.finish()


async def test_a_few_at_a_time_and_what_follows_in_order(database: Database, pk: int) -> None:
    hub, readers = await crowded(database, pk, 9)
    events: list[Any] = []
    database.writer.on_commit = events.extend
    await append(database, pk, 3)
    channel = hub.channels[pk]
    hub._deliver(channel, events[:1])
    assert channel.crowd
    assert sum(each.writes for each in readers) == 2 and len(channel.crowd.unwritten) == 7
    gone: Any = next(iter(channel.crowd.unwritten))
    hub.leave(gone)
    hub._deliver(channel, events[1:])
    assert sum(each.writes for each in readers) == 8 + 2, "the first event to all, the others again to a few"
    await asyncio.sleep(0)
    assert sum(each.writes for each in readers) == 8 + 4
    await eventually(lambda: all(each.seqs == [1, 2, 3] for each in readers if each is not gone))
    assert gone.seqs == []
    await hub.tasks.finish()


async def test_nothing_above_a_removal_in_a_crowd(database: Database, pk: int) -> None:
    hub, readers = await crowded(database, pk, 9)
    removal = {"chatId": "one", "changes": {}, "added": [], "removed": ["user 3"]}
    await append(database, pk)
    await append(database, pk, 1, "chat:updated", removal)
    await append(database, pk)
    await eventually(lambda: all(each.seqs == [1, 2, 3] for each in readers if each.user_id != "user 3"))
    assert readers[3].seqs == [1, 2] and pk not in readers[3].subscriptions
    await hub.tasks.finish()


async def test_a_gap_is_filled_after_what_waits(database: Database, pk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WAIT_SECONDS", 1000.0)
    hub, readers = await crowded(database, pk, 9)
    await append(database, pk)
    await append(database, pk)
    lost: list[Any] = []
    database.writer.on_commit = lost.extend
    await append(database, pk)
    database.writer.on_commit = hub.publish
    await append(database, pk)
    await eventually(lambda: all(each.seqs == [1, 2, 3, 4] for each in readers))
    await asyncio.sleep(0)
    await hub.tasks.finish()
