"""One suite for every presence; that of many nodes is asked on two."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from realtime.cluster import presence_redis
from realtime.cluster.client_redis import RedisClient
from realtime.cluster.presence import Presence
from realtime.cluster.presence_memory import MemoryPresence
from realtime.cluster.presence_redis import RedisPresence
from realtime.cluster.servers_redis import servers_of
from tests.conftest import eventually
from tests.support.guard import HANG_SECONDS
from tests.support.redis_server import RedisServer

Two = tuple[Presence, Presence]


@contextlib.asynccontextmanager
async def two_of(server: RedisServer) -> AsyncIterator[tuple[RedisPresence, RedisPresence]]:
    clients = [RedisClient(servers_of(server.url)) for _ in range(2)]
    for each in clients:
        await each.start()
        await eventually(lambda each=each: each.connected)  # type: ignore[misc]
    first, second = (RedisPresence(each, "test", f"node{n}") for n, each in enumerate(clients))
    yield first, second
    for each in clients:
        await each.stop()


@pytest.fixture(params=["memory", "redis"])
async def two(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Two]:
    if request.param == "memory":
        alone = MemoryPresence()
        yield alone, alone
        return
    async with RedisServer(tmp_path / "redis") as server, two_of(server) as nodes:
        yield nodes


async def test_first_and_last(two: Two) -> None:
    here, there = two
    assert await here.enter(1) is True
    assert await here.enter(1) is False and await there.enter(1) is False
    assert await here.online([1, 2]) == {1} == await there.online([1, 2])
    assert await here.leave(1) is False and await there.leave(1) is False
    assert await there.online([1]) == {1}
    assert await here.leave(1) is True
    assert await here.online([1]) == set() == await there.online([1])


async def test_of_two_at_once_one_is_the_first(tmp_path: Path) -> None:
    async with RedisServer(tmp_path / "redis") as server, two_of(server) as (here, there):
        for user in range(50):
            assert sorted(await asyncio.gather(here.enter(user), there.enter(user))) == [False, True]


async def test_who_has_them(tmp_path: Path) -> None:
    async with RedisServer(tmp_path / "redis") as server, two_of(server) as (here, there):
        await here.enter(1)
        await there.enter(1)
        await there.enter(2)
        assert await here.elsewhere([1, 2, 3]) == {1: ["node1"], 2: ["node1"]}
        assert await there.elsewhere([1, 2, 3]) == {1: ["node0"]}
        await there.forget()
        assert await here.elsewhere([1, 2]) == {} and await here.online([1, 2]) == {1}


class Clock:
    """Stands in for the module ``time``."""

    def __init__(self) -> None:
        self.now = time.time()

    def time(self) -> float:
        return self.now


async def test_what_is_not_announced_again_expires(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr(presence_redis, "time", clock)
    async with RedisServer(tmp_path / "redis") as server, two_of(server) as (here, there):
        await there.enter(1)
        await there.enter(2)
        for _ in range(4):
            clock.now += presence_redis.TTL_SECONDS * 2 / 3
            await there.refresh()
        assert await here.online([1, 2]) == {1, 2}
        clock.now += presence_redis.TTL_SECONDS + 1
        assert await here.online([1, 2]) == set(), "the node said nothing any more"
        await server.call("FLUSHALL")
        await there.refresh()
        assert await here.online([1, 2]) == {1, 2}


@pytest.mark.usefixtures("default_timeouts")
async def test_without_redis_each_knows_its_own_and_nobody_waits(tmp_path: Path) -> None:
    async with RedisServer(tmp_path / "redis") as server, two_of(server) as (here, there):
        await there.enter(2)
        server.pause()
        assert await here.enter(1) is True
        assert await here.online([1, 2]) == {1}
        server.resume()
        # The connection of before may be lost yet.
        async with asyncio.timeout(HANG_SECONDS):
            while await there.online([1]) != {1}:
                await here.refresh()
                await asyncio.sleep(0.05)
