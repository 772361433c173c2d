"""What was read a moment ago, on a clock of the test's own."""

import pytest

from realtime.support import ttl_cache
from realtime.support.ttl_cache import TtlCache
from tests.support.clock import Clock


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(ttl_cache, "time", made)
    return made


def test_an_entry_expires(clock: Clock) -> None:
    cache: TtlCache[str, int] = TtlCache(2)
    assert cache.get("a") is None
    cache.put("a", 1)
    clock.now += 1.9
    assert cache.get("a") == 1
    clock.now += 0.1
    assert cache.get("a") is None


def test_it_counts_from_when_it_was_asked_for(clock: Clock) -> None:
    cache: TtlCache[str, int] = TtlCache(2)
    cache.put("a", 1, at=clock.now - 1)
    clock.now += 1
    assert cache.get("a") is None


def test_it_is_cleared_when_it_is_full(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ttl_cache, "MOST_KEYS", 2)
    cache: TtlCache[str, int] = TtlCache()
    for key in "abc":
        cache.put(key, 1)
    assert cache.known.keys() == {"c"}
    cache.clear()
    assert cache.get("c") is None
