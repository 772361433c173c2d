"""What a chat may deliver: counted when a send is admitted, and when an event of another node is delivered."""

import pytest

from realtime.fanout.delivery_budget import DeliveryBudget
from realtime.schema.limits import Limits
from storage.errors import TooMany


class Clock:
    now = 1000.0


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr("realtime.support.buckets.time.monotonic", lambda: made.now)
    return made


def budget(readers: int) -> DeliveryBudget:
    return DeliveryBudget(Limits(deliveries_per_second=10), lambda channel_pk: readers)


def left(of: DeliveryBudget) -> float:
    return of.buckets.left[1][0]


def test_a_send_is_counted_before_and_not_again(clock: Clock) -> None:
    here = budget(4)
    here.admit(1)
    assert left(here) == 6
    here.on_delivered(1, 4)
    assert left(here) == 6 and not here.admitted


def test_an_event_of_another_node_is_counted_when_it_is_delivered(clock: Clock) -> None:
    here = budget(4)
    here.admit(1)
    here.on_delivered(1, 8)
    assert left(here) == 2 and not here.admitted


def test_too_much_is_refused_until_the_debt_is_paid(clock: Clock) -> None:
    here = budget(100)
    here.admit(1)
    assert left(here) == -10, "a second's worth at most"
    with pytest.raises(TooMany) as refused:
        here.admit(1)
    assert refused.value.retry_after == 1
    clock.now += 1
    here.admit(1)
    here.admit(2)


def test_nobody_reads_and_nothing_is_counted(clock: Clock) -> None:
    here = budget(0)
    for _ in range(100):
        here.admit(1)
    assert not here.buckets.left and not here.admitted


def test_ephemeral_events_leave_half(clock: Clock) -> None:
    here = budget(2)
    passed = [here.admit_ephemeral(1, 2) for _ in range(4)]
    assert passed == [True, True, False, False] and left(here) == 6
    here.admit(1)
