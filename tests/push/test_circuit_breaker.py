"""When pushes are paused, for which scopes, and what closes the breaker again."""

import pytest

from push import circuit_breaker
from push.circuit_breaker import PAUSE_SECONDS, SLOW_ANSWERS, CircuitBreakers
from push.provider import Outcome, PushResult
from tests.support.clock import Clock

ONE, OTHER = "sandbox org.example.one", "sandbox org.example.other"


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(circuit_breaker, "time", made)
    return made


def result(
    breakers: CircuitBreakers, scope: str, outcome: Outcome, began_at: float, *, one_scope: bool = False
) -> None:
    breakers.on_result(scope, PushResult(outcome, 403, "no", one_scope=one_scope), began_at=began_at)


def test_a_rejected_key_pauses_every_scope(clock: Clock) -> None:
    breakers = CircuitBreakers("APNs")
    assert breakers.may_send(ONE) and breakers.may_send(OTHER)
    result(breakers, ONE, Outcome.REFUSED, clock.now)
    assert not breakers.may_send(ONE) and not breakers.may_send(OTHER)
    assert breakers.retry_after(OTHER) == PAUSE_SECONDS


def test_a_rejected_scope_pauses_itself_alone(clock: Clock) -> None:
    breakers = CircuitBreakers("APNs")
    assert breakers.may_send(ONE)
    result(breakers, ONE, Outcome.REFUSED, clock.now, one_scope=True)
    assert not breakers.may_send(ONE) and breakers.may_send(OTHER)


def test_one_push_goes_ahead_after_the_pause(clock: Clock) -> None:
    breakers = CircuitBreakers("APNs")
    assert breakers.may_send(ONE)
    result(breakers, ONE, Outcome.REFUSED, clock.now)
    clock.now += PAUSE_SECONDS
    assert breakers.may_send(ONE) and not breakers.may_send(ONE), "the others wait for its answer"
    result(breakers, ONE, Outcome.ACCEPTED, clock.now)
    assert breakers.may_send(ONE) and breakers.may_send(OTHER)


def test_an_answer_from_before_closes_nothing(clock: Clock) -> None:
    breakers = CircuitBreakers("APNs")
    assert breakers.may_send(ONE)
    before = clock.now
    result(breakers, ONE, Outcome.REFUSED, clock.now)
    clock.now += PAUSE_SECONDS
    result(breakers, ONE, Outcome.ACCEPTED, before)
    assert breakers.may_send(ONE) and not breakers.may_send(ONE), "it was accepted before the key was rejected"


def test_no_answer_lets_the_next_one_try(clock: Clock) -> None:
    breakers = CircuitBreakers("APNs")
    assert breakers.may_send(ONE)
    result(breakers, ONE, Outcome.REFUSED, clock.now)
    clock.now += PAUSE_SECONDS
    assert breakers.may_send(ONE)
    breakers.on_result(ONE, PushResult(Outcome.RETRY, 0, "no answer"), began_at=clock.now)
    assert breakers.may_send(ONE)


def test_the_pause_of_many_rejections_is_that_of_the_first(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    breakers = CircuitBreakers("APNs")
    assert breakers.may_send(ONE)
    for _ in range(3):
        result(breakers, ONE, Outcome.REFUSED, clock.now)
        clock.now += 1
    assert breakers.retry_after(ONE) == PAUSE_SECONDS - 3 and len(caplog.records) == 1


def test_so_many_scopes_are_remembered(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(circuit_breaker, "MOST_BREAKERS", 2)
    breakers = CircuitBreakers("APNs")
    for number in range(5):
        assert breakers.may_send(f"scope {number}")
    assert list(breakers.breakers) == ["scope 3", "scope 4"]


def test_a_refusal_that_may_be_a_late_token_closes_nothing(clock: Clock) -> None:
    """The token is renewed first."""
    breakers = CircuitBreakers("FCM")
    assert breakers.may_send("")
    result(breakers, "", Outcome.REFUSED, clock.now)
    clock.now += PAUSE_SECONDS
    assert breakers.may_send("")
    breakers.on_result("", PushResult(Outcome.RETRY, 401, "UNAUTHENTICATED"), began_at=clock.now)
    assert not breakers.all.proven and breakers.may_send("") and not breakers.may_send("")


def test_a_scope_that_asks_again_and_again_for_fewer_pushes_gets_none_for_a_while(clock: Clock) -> None:
    breakers = CircuitBreakers("Web Push")
    slow = PushResult(Outcome.SLOW_DOWN, 429, "", one_scope=True, after=120.0)
    for _ in range(SLOW_ANSWERS - 1):
        breakers.on_result(ONE, slow, began_at=clock.now)
    result(breakers, ONE, Outcome.ACCEPTED, clock.now)
    for _ in range(SLOW_ANSWERS - 1):
        breakers.on_result(ONE, slow, began_at=clock.now)
    assert breakers.may_send(ONE), "an accepted push was between them"
    breakers.on_result(ONE, slow, began_at=clock.now)
    assert not breakers.may_send(ONE) and breakers.may_send(OTHER) and breakers.retry_after(ONE) == 120.0
    clock.now += 120.0
    assert breakers.may_send(ONE)


def test_one_device_that_gets_too_much_pauses_no_other(clock: Clock) -> None:
    breakers = CircuitBreakers("FCM")
    for _ in range(2 * SLOW_ANSWERS):
        breakers.on_result("", PushResult(Outcome.SLOW_DOWN, 429, "of one device"), began_at=clock.now)
    assert breakers.may_send("")
