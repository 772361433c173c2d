"""One suite for windows of a process and of many nodes, which count together."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from limits.aio.storage import MemoryStorage, Storage

from realtime.cluster.client_redis import RedisClient
from realtime.cluster.rates import Rates
from realtime.cluster.rates_redis import RedisRates
from realtime.cluster.servers_redis import servers_of
from realtime.schema.limits import Limits
from realtime.support.buckets import Buckets
from storage.errors import TooMany
from tests.conftest import eventually
from tests.support.redis_server import RedisServer

LIMITS = Limits(failed_logins=3)


@contextlib.asynccontextmanager
async def two_of(server: RedisServer) -> AsyncIterator[tuple[Rates, Rates]]:
    clients = [RedisClient(servers_of(server.url)) for _ in range(2)]
    for each in clients:
        await each.start()
        await eventually(lambda each=each: each.connected)  # type: ignore[misc]
    first, second = (Rates(LIMITS, RedisRates(each, "test")) for each in clients)
    yield first, second
    for each in clients:
        await each.stop()


@pytest.fixture(params=["memory", "redis"])
async def two(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[tuple[Rates, Rates]]:
    if request.param == "memory":
        storage: Storage = MemoryStorage()
        yield Rates(LIMITS, storage), Rates(LIMITS, storage)
        return
    async with RedisServer(tmp_path / "redis") as server, two_of(server) as nodes:
        yield nodes


async def test_all_count_together(two: tuple[Rates, Rates]) -> None:
    here, there = two
    window = here.failed_logins
    await here.require(window, "ann")
    for each in (here, there, here):
        await each.spend(window, "ann")
    for each in (here, there):
        with pytest.raises(TooMany) as refused:
            await each.require(window, "ann")
        assert 1 <= refused.value.retry_after <= 60
        with pytest.raises(TooMany):
            await each.spend(window, "ann")
        await each.require(window, "bob")
        await each.spend(window, None)
    # Other windows of the same name count for themselves.
    await here.spend(here.uploads, "ann")


async def test_of_many_at_once_as_many_as_allowed(two: tuple[Rates, Rates]) -> None:
    here, there = two
    tries = [each.spend(each.failed_logins, "ann") for each in (here, there) for _ in range(10)]
    told = await asyncio.gather(*tries, return_exceptions=True)
    assert sum(each is None for each in told) == 3


async def test_without_redis_each_counts_for_itself(tmp_path: Path) -> None:
    async with RedisServer(tmp_path / "redis") as server, two_of(server) as (here, there):
        await server.kill()
        for each in (here, there):
            for _ in range(3):
                await each.spend(each.failed_logins, "ann")
            with pytest.raises(TooMany):
                await each.spend(each.failed_logins, "ann")
            with pytest.raises(TooMany):
                await each.require(each.failed_logins, "ann")


def test_a_bucket_fills_again_and_forgets_who_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    moment = 100.0
    monkeypatch.setattr("realtime.support.buckets.time.monotonic", lambda: moment)
    monkeypatch.setattr("realtime.support.buckets.MOST_KEYS", 3)
    bucket = Buckets(2, 3)
    for _ in range(3):
        bucket.acquire("a")
    with pytest.raises(TooMany) as refused:
        bucket.acquire("a")
    assert refused.value.retry_after == 0.5
    moment += 0.5
    bucket.acquire("a")
    with pytest.raises(TooMany):
        bucket.acquire("a")
    moment += 60
    for _ in range(3):
        bucket.acquire("a")
    with pytest.raises(TooMany):
        bucket.acquire("a")
    for key in range(50):
        bucket.acquire(key)
        assert len(bucket.left) <= 3
        moment += 1
