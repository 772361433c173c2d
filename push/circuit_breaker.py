"""Where a provider refuses our credentials, nothing is sent for a while; then one push goes ahead of the others.

They may be refused altogether or for one app alone: each has a breaker of its own, so that what is wrong with one app does
not keep the others waiting.
"""

import logging
import time
from collections import OrderedDict

from push.provider import Outcome, PushResult

logger = logging.getLogger("bellwire.push")

PAUSE_SECONDS = 60.0
MOST_BREAKERS = 1000
ALL_SCOPES = ""
CREDENTIALS_STATUSES = (401, 403)
# After so many answers in turn that ask for fewer pushes, a scope gets none for a while.
SLOW_ANSWERS = 10


class CircuitBreaker:
    """Open while the provider refuses our credentials: then nothing is sent, but one push a minute to try again."""

    def __init__(self, provider: str, scope: str) -> None:
        self.provider = provider
        # What it is for; "" for all of the provider.
        self.scope = scope
        # Of time.monotonic().
        self.open_until = 0.0
        # Whether a push was accepted since it opened last.
        self.proven = True
        # Whether a push is on its way to try again.
        self.probing = False
        # Answers in turn that asked for fewer pushes.
        self.slow_answers = 0

    @property
    def is_open(self) -> bool:
        return time.monotonic() < self.open_until or (self.probing and not self.proven)

    def on_slow_answer(self, seconds: float) -> None:
        """The answer asked for fewer pushes, and to wait so long, if that is above 0."""
        self.slow_answers += 1
        if self.slow_answers >= SLOW_ANSWERS:
            self.open_until = max(self.open_until, time.monotonic() + (seconds or PAUSE_SECONDS))

    def on_result(self, *, accepted: bool, reason: str, began_at: float) -> None:
        """A success closes the breaker only if that push was sent after it opened."""
        self.probing = False
        if accepted:
            self.proven = self.proven or began_at >= self.open_until
            return
        self.proven = False
        if time.monotonic() >= self.open_until:
            self.open_until = time.monotonic() + PAUSE_SECONDS
            where = f" for {self.scope}" if self.scope else ""
            logger.error(
                "%s refuses our credentials%s: %s; pushes are paused for %d s",
                self.provider,
                where,
                reason,
                PAUSE_SECONDS,
            )


class CircuitBreakers:
    """Those of a provider: one for all of it, and one for each of the scopes that were used last."""

    def __init__(self, provider: str) -> None:
        self.provider = provider
        self.all = CircuitBreaker(provider, ALL_SCOPES)
        self.breakers: OrderedDict[str, CircuitBreaker] = OrderedDict()

    def breaker(self, scope: str) -> CircuitBreaker:
        breaker = self.breakers.setdefault(scope, CircuitBreaker(self.provider, scope))
        self.breakers.move_to_end(scope)
        while len(self.breakers) > MOST_BREAKERS:
            self.breakers.popitem(last=False)
        return breaker

    def may_send(self, scope: str) -> bool:
        """Whether a push to this scope may be sent now."""
        breakers = (self.all, self.breaker(scope))
        if any(breaker.is_open for breaker in breakers):
            return False
        for breaker in breakers:
            breaker.probing = True
        return True

    def retry_after(self, scope: str) -> float:
        """Seconds until the next attempt makes sense."""
        return max(1.0, max(self.all.open_until, self.breaker(scope).open_until) - time.monotonic())

    def on_result(self, scope: str, result: PushResult, *, began_at: float) -> None:
        """The result of a push sent at ``began_at``."""
        if not result.status or (result.outcome is Outcome.RETRY and result.status in CREDENTIALS_STATUSES):
            # It says nothing of our credentials, or not yet.
            self.breaker(scope).probing = self.all.probing = False
            return
        if result.outcome is Outcome.SLOW_DOWN and result.one_scope:
            self.breaker(scope).on_slow_answer(result.after)
        else:
            self.breaker(scope).slow_answers = 0
        refused = result.outcome is Outcome.REFUSED
        for breaker, concerned in ((self.breaker(scope), result.one_scope), (self.all, not result.one_scope)):
            breaker.on_result(accepted=not (refused and concerned), reason=result.reason, began_at=began_at)
