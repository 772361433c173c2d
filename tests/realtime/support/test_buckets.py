"""Token buckets, on a clock of the test's own."""

import pytest

from realtime.support import buckets
from realtime.support.buckets import Buckets
from storage.errors import TooMany
from tests.support.clock import Clock


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(buckets, "time", made)
    return made


def test_a_burst_and_then_a_rate(clock: Clock) -> None:
    made = Buckets(2, 3, "calls")
    for _ in range(3):
        made.acquire("a")
    with pytest.raises(TooMany, match="At most 2 calls a second, 3 at once") as caught:
        made.acquire("a")
    assert caught.value.retry_after == 0.5
    made.acquire("b")
    clock.now += 0.5
    made.acquire("a")
    with pytest.raises(TooMany):
        made.acquire("a")
    clock.now += 60
    assert made.has("a", 3) and not made.has("a", 3.5)


def test_a_minute(clock: Clock) -> None:
    made = Buckets(60, 1, period="minute")
    made.acquire("a")
    clock.now += 1
    made.acquire("a")
    assert made.limit == "At most 60 a minute, 1 at once"


def test_more_than_the_burst_needs_all_of_it_and_leaves_a_debt(clock: Clock) -> None:
    made = Buckets(1, 3)
    made.acquire("a", 5)
    with pytest.raises(TooMany) as caught:
        made.require("a")
    assert caught.value.retry_after == 2
    clock.now += 2
    made.require("a")
    with pytest.raises(TooMany):
        made.acquire("a", 5)


def test_what_is_charged_afterwards_leaves_no_more_than_the_debt(clock: Clock) -> None:
    made = Buckets(1, 3, debt=4)
    made.charge("a", 100)
    clock.now += 4
    made.require("a")
    with pytest.raises(TooMany):
        made.acquire("a")
    made.acquire("b", 3)
    made.charge("b", 3)
    with pytest.raises(TooMany) as caught:
        made.require("b")
    assert caught.value.retry_after == 3


def test_keys_that_are_full_again_are_forgotten(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(buckets, "MOST_KEYS", 2)
    made = Buckets(1, 1)
    made.acquire("a")
    clock.now += 1
    made.acquire("b")
    made.acquire("c")
    assert made.left.keys() == {"b", "c"}
    made.acquire("d")
    assert made.left.keys() == {"d"}, "too many: all are forgotten, and nobody is refused for it"
