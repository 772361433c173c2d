"""How many watch: over sockets of one user, over nodes that come and go, and while nodes do not reach each other."""

import asyncio
import math
from typing import Any

import orjson
import pytest

from realtime import viewers as module
from realtime.cluster.broker_memory import MemoryBroker
from realtime.fanout.hub import Hub
from realtime.schema.limits import Limits
from realtime.viewers import EXPIRY_SECONDS, KEYS_COUNTED, KEYS_PUBLISHED, SHARE_SECONDS, VIEWERS_SECONDS, Viewers
from storage import streams
from storage.database import Database
from storage.errors import TooMany
from tests.conftest import Served, eventually


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(module, "time", made)
    return made


class Link(MemoryBroker):
    """Also hands what is published to the other nodes, while there is a connection."""

    def __init__(self, subscriber: Any) -> None:
        super().__init__(subscriber)
        self.others: list[Link] = []
        self.connected = True

    def publish_ephemeral(self, topic: str, name: str, document: object, *, exclude: str | None = None) -> None:
        super().publish_ephemeral(topic, name, document, exclude=exclude)
        for each in self.others:
            if self.connected and each.connected and topic in each.topics:
                each.subscriber.on_ephemeral(topic, name, exclude, document)


class Watcher:
    """A session as the viewers see it."""

    def __init__(self, pk: int) -> None:
        self.caller = self
        self.pk = pk
        self.user_id = str(pk)
        self.frames: list[bytes] = []

    def write_ephemeral(self, data: bytes) -> None:
        self.frames.append(data)

    def last(self, name: str) -> bytes:
        return next((each for each in reversed(self.frames) if name.encode() in each), b"")


def two(database: Database) -> tuple[Viewers, Viewers]:
    hubs = [Hub(database, Link, Limits()) for _ in range(2)]
    brokers: Any = [each.broker for each in hubs]
    brokers[0].others, brokers[1].others = [brokers[1]], [brokers[0]]
    first, second = (Viewers(database, hub, Limits(), name) for hub, name in zip(hubs, "ab", strict=True))
    return first, second


async def pass_time(clock: Clock, seconds: float, *nodes: Viewers) -> None:
    """Only these nodes are alive."""
    for _ in range(math.ceil(seconds / SHARE_SECONDS)):
        clock.now += SHARE_SECONDS
        for node in nodes:
            await node.tick()


def come(viewers: Viewers, *pks: int, stream: int = 7, peak: int = 0) -> list[Any]:
    watchers: list[Any] = [Watcher(pk) for pk in pks]
    for each in watchers:
        viewers.add(each, stream, "s", peak)
    return watchers


async def test_users_are_counted_and_not_their_sockets(database: Database, clock: Clock) -> None:
    here, _ = two(database)
    first, again, other = come(here, 1, 1, 2)
    assert here.count(7) == 2
    here.remove(first, 7)
    here.remove(first, 7)
    assert here.count(7) == 2, "another socket of the user watches"
    here.remove(again, 7)
    assert here.count(7) == 1
    here.remove(other, 7)
    assert here.count(7) == 0 and not here.watched


async def test_nodes_add_up_and_a_node_that_is_gone_leaves_the_sum(database: Database, clock: Clock) -> None:
    here, there = two(database)
    (one,) = come(here, 1)
    come(there, 2, 3)
    await here.tick()
    await there.tick()
    await here.tick()
    assert here.count(7) == there.count(7) == 3
    assert one.last("stream:viewers").endswith(b'{"streamId":"s","viewers":3,"peak":3}]') is False, "too soon"
    await pass_time(clock, VIEWERS_SECONDS, there, here)
    assert one.last("stream:viewers").endswith(b'{"streamId":"s","viewers":3,"peak":3}]')
    # The other node is killed: it publishes nothing any more. What has changed just before does not delay that.
    here.watched[7].sent_at = clock.now
    await pass_time(clock, EXPIRY_SECONDS, here)
    assert here.count(7) == 1
    assert one.last("stream:viewers").endswith(b'{"streamId":"s","viewers":1,"peak":3}]')


async def test_a_node_whose_last_viewer_left_says_so(database: Database, clock: Clock) -> None:
    here, there = two(database)
    come(here, 1)
    (other,) = come(there, 2)
    await there.tick()
    assert here.count(7) == 2
    there.remove(other, 7)
    await there.tick()
    assert here.count(7) == 1


async def test_without_a_connection_the_last_shares_count(database: Database, clock: Clock) -> None:
    here, there = two(database)
    come(here, 1)
    come(there, 2, 3)
    await there.tick()
    broker: Any = here.hub.broker
    broker.connected = False
    await pass_time(clock, 10 * EXPIRY_SECONDS, here)
    assert here.count(7) == 3
    broker.connected = True
    clock.now += 10 * EXPIRY_SECONDS
    await here.tick()
    assert here.count(7) == 3, "this node itself stood still"
    await pass_time(clock, EXPIRY_SECONDS, here)
    assert here.count(7) == 1, "it had time to say that it is there"


async def test_reactions_are_summed_over_nodes(database: Database, clock: Clock) -> None:
    here, there = two(database)
    one, two_ = come(here, 1, 2)
    (three,) = come(there, 3)
    here.react(one, 7, ":heart:", 20)
    here.react(two_, 7, "👍", 1)
    there.react(three, 7, ":heart:", 2)
    await there.tick()
    await here.tick()
    await there.tick()
    assert one.last("stream:reactions").endswith('{"streamId":"s","counts":{":heart:":22,"👍":1}}]'.encode())
    assert three.frames.count(three.last("stream:reactions")) == 1
    here.reacting.charge(1, 1000)
    with pytest.raises(TooMany):
        here.react(one, 7, ":heart:", 1)


async def test_no_more_keys_are_counted_than_allowed(database: Database, clock: Clock) -> None:
    here, _ = two(database)
    for pk in range(KEYS_COUNTED + 10):
        (each,) = come(here, pk)
        here.react(each, 7, f":{pk}:", 1)
    (known,) = come(here, 10_000)
    here.react(known, 7, ":0:", 1)
    assert len(here.watched[7].given) == KEYS_COUNTED and here.watched[7].given[":0:"] == 2


async def test_keys_that_one_user_makes_up_do_not_shut_out_what_many_give(database: Database, clock: Clock) -> None:
    here, _ = two(database)
    for pk in range(10 * KEYS_PUBLISHED):
        (each,) = come(here, pk)
        here.react(each, 7, f":{pk}:", 1)
    for pk in range(1000, 1003):
        (each,) = come(here, pk)
        here.react(each, 7, "❤️", 1)
    await here.tick()
    await here.tick()
    frame = each.last("stream:reactions")
    last = orjson.loads(frame[frame.index(b"[") :])[1]["counts"]
    assert last["❤️"] == 3 and len(last) == KEYS_PUBLISHED


async def test_the_peak_is_stored_and_only_rises(either: Served) -> None:
    owner = await either.people.make(grant=["streams.manage"])
    body = {"title": "Live", "startsAt": "2999-01-01T00:00:00Z", "audience": "open"}
    stream = (await owner.post("/api/v1/streams", body)).json["data"]
    sockets = [await person.socket() for person in await either.people.many(3)]
    for socket in sockets:
        await socket.call("stream:watch", {"streamId": stream["id"]})
    await asyncio.gather(*(socket.close() for socket in sockets))
    viewers = either.services.viewers
    await eventually(lambda: not viewers.watched)
    await viewers.write_peaks()
    assert not viewers.raised

    async def peak() -> int:
        found = await either.services.database.read(
            lambda connection: streams.find(connection, owner.user.tenant_pk, stream["id"])
        )
        assert found
        return found.peak

    viewers._raise(await pk_of(either, owner, stream["id"]), 5)
    await viewers.write_peaks()
    assert await peak() == 5 and not viewers.peaks
    viewers._raise(await pk_of(either, owner, stream["id"]), 4)
    await viewers.write_peaks()
    assert await peak() == 5
    shown = (await owner.get(f"/api/v1/streams/{stream['id']}")).json["data"]
    assert (shown["viewers"], shown["peak"]) == (0, 5)


async def pk_of(server: Served, owner: Any, id: str) -> int:
    found = await server.services.database.read(lambda connection: streams.find(connection, owner.user.tenant_pk, id))
    assert found
    return found.pk
