"""Sends through one provider: so many pushes at once, and none while it refuses us."""

import contextlib
import logging
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from push.circuit_breaker import CircuitBreakers
from push.dead_guard import DeadGuard
from push.provider import Outcome, Provider, Push, PushResult

logger = logging.getLogger("bellwire.push")

# A scope that has not answered for so long gets no more than this share of the places, so that the others have some left.
SILENT_SECONDS = 2.0
SILENT_SHARE = 0.25
# After a push had to wait for others of its scope, for so long no more are claimed.
FULL_SECONDS = 0.1
# Where the provider does not say for how long.
BUSY_SECONDS = 60.0


@dataclass(slots=True)
class ScopeLoad:
    """Pushes in flight to a scope, and when it answered last, or when the first of them was sent, of time.monotonic()."""

    count: int
    answered_at: float

    @property
    def is_silent(self) -> bool:
        return time.monotonic() - self.answered_at > SILENT_SECONDS


class Sender:
    """One of a worker's, so that a provider that is slow or refuses us does not keep the others waiting."""

    def __init__(self, provider: Provider, limit: int) -> None:
        self.provider = provider
        # Pushes in flight at most.
        self.limit = limit
        self.breakers = CircuitBreakers(provider.name)
        # Deliveries being sent, by number, and since when, of time.monotonic().
        self.sending: dict[int, float] = {}
        # Deliveries of this provider by their final state; only grows.
        self.settled: Counter[str] = Counter()
        # What is in flight by scope; none where nothing is.
        self.to_scope: dict[str, ScopeLoad] = {}
        # A silent scope had its share in flight: until then nothing more is claimed, of time.monotonic().
        self.full_until = 0.0
        # Places kept for deliveries that are being claimed.
        self.reserved = 0
        # The provider gets too many pushes: nothing is sent before, of time.monotonic().
        self.busy_until = 0.0
        self.guard = DeadGuard()
        # Answers that called a token dead and were not believed; only grows.
        self.disbelieved = 0

    @property
    def room(self) -> int:
        """How many more pushes may be in flight."""
        return max(0, self.limit - len(self.sending) - self.reserved)

    @property
    def can_claim(self) -> bool:
        is_full = time.monotonic() < self.full_until
        return self.room > 0 and not is_full and not self.is_busy and not self.breakers.all.is_open

    @property
    def is_busy(self) -> bool:
        return time.monotonic() < self.busy_until

    @contextlib.contextmanager
    def reserving(self, most: int) -> Iterator[int]:
        """Keep places for deliveries that are claimed meanwhile; how many."""
        slots = min(self.room, most)
        self.reserved += slots
        try:
            yield slots
        finally:
            self.reserved -= slots

    def may_send(self, push: Push) -> bool:
        scope = self.provider.scope(push)
        load = self.to_scope.get(scope)
        if load and load.is_silent and load.count >= max(1, self.limit * SILENT_SHARE):
            self.full_until = time.monotonic() + FULL_SECONDS
            return False
        return not self.is_busy and self.breakers.may_send(scope)

    def retry_after(self, push: Push) -> float:
        """Seconds until the next attempt makes sense."""
        return max(self.breakers.retry_after(self.provider.scope(push)), self.busy_until - time.monotonic())

    async def send(self, push: Push, user_pk: int) -> PushResult:
        """Never raises."""
        began_at, scope = time.monotonic(), self.provider.scope(push)
        load = self.to_scope.setdefault(scope, ScopeLoad(0, began_at))
        load.count += 1
        try:
            result = await self.provider.send(push)
        except Exception as error:
            logger.exception("%s failed", self.provider.name)
            result = PushResult(Outcome.RETRY, 0, type(error).__name__)
        finally:
            load.count -= 1
            if not load.count:
                del self.to_scope[scope]
        if result.status:
            load.answered_at = time.monotonic()
        self.breakers.on_result(scope, result, began_at=began_at)
        if result.outcome is Outcome.BUSY:
            self.busy_until = max(self.busy_until, time.monotonic() + (result.after or BUSY_SECONDS))
        elif result.status:
            self.guard.add(user_pk if result.outcome is Outcome.TOKEN_DEAD else None)
        return result

    def disbelieve(self) -> None:
        """Most tokens are called dead: none is forgotten, and nothing is sent for a while."""
        self.disbelieved += 1
        if not self.is_busy:
            self.busy_until = time.monotonic() + BUSY_SECONDS
            logger.error(
                "%s called a token dead in %d of its last %d answers; none is forgotten, pushes are paused for %d s",
                self.provider.name, self.guard.dead, len(self.guard.answers), BUSY_SECONDS,
            )  # fmt: skip
