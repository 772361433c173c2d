"""What becomes of a delivery after an answer, from values alone."""

from typing import NamedTuple

from push.provider import Outcome, PushResult
from push.targets import Policy
from storage.outbox import Delivery, Settlement, State
from storage.types import SECOND

MOST_ATTEMPTS_COUNTED = 30
SHORTEST_JITTER = 0.5


class Pauses(NamedTuple):
    """In seconds: ``base`` before the first retry, ``refused`` until the provider is asked again where it refused us or is
    busy; all are ``jitter`` times as long, so that what failed together does not come back together.
    """

    base: float
    refused: float
    jitter: float


def decide(
    delivery: Delivery, result: PushResult, policy: Policy, pauses: Pauses, *, registered_at: int, at: int
) -> Settlement:
    """The settlement of a delivery whose push got this result at a time.

    ``registered_at`` is since when the token is known; both in microseconds.
    """
    doubled = 2**delivery.attempts
    match result.outcome:
        case Outcome.ACCEPTED:
            return settled(delivery, "sent", result.status, result.reason)
        case Outcome.REJECTED:
            return settled(delivery, "dead", result.status, result.reason)
        case Outcome.REFUSED | Outcome.BUSY:
            return waiting(delivery, result.reason, pauses.refused * pauses.jitter, result.status, counts=False)
        case Outcome.TOKEN_DEAD if result.dead_at is None or registered_at < result.dead_at:
            return settled(delivery, "dropped", result.status, result.reason)
        case Outcome.SLOW_DOWN:
            seconds = max(policy.slow_down, pauses.base) * doubled
        case _:
            seconds = pauses.base * doubled
    seconds = min(seconds, policy.retry_most)
    if at + int(max(seconds * SHORTEST_JITTER, result.after) * SECOND) >= delivery.deadline_at:
        return settled(delivery, "dead", result.status, f"too late: {result.reason}")
    return waiting(delivery, result.reason, max(seconds * pauses.jitter, result.after), result.status, counts=True)


def settled(delivery: Delivery, state: State, status: int | None, reason: str) -> Settlement:
    """The end of a delivery."""
    return Settlement(delivery.pk, state, delivery.attempts + 1, status, reason)


def waiting(
    delivery: Delivery, reason: str, seconds: float, status: int | None = None, *, counts: bool = False
) -> Settlement:
    """Another attempt after so long; whether this one counts."""
    attempts = min(delivery.attempts + counts, MOST_ATTEMPTS_COUNTED)
    return Settlement(delivery.pk, "waiting", attempts, status, reason, int(seconds * SECOND))
