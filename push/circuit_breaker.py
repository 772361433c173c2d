"""Where the provider does not let us in, nothing is sent for a while; then one push goes ahead of the others.

A key may be refused altogether, or for one environment or topic alone: each has a door of its own, so that what is wrong with
one app does not keep the others waiting.
"""

import logging
import time
from collections import OrderedDict

logger = logging.getLogger("bellwire.push")

PAUSE_SECONDS = 60.0
MOST_BREAKERS = 1000
TOPIC_REASONS = {"BadEnvironmentKeyIdInToken", "UnrelatedKeyIdInToken", "TopicDisallowed"}
ALL_TOPICS = ""


class CircuitBreaker:
    """Open while the provider refuses our credentials: then nothing is sent, but one push a minute to try again."""

    def __init__(self, name: str) -> None:
        # The topic that it is for; "" for all of them.
        self.name = name
        # Of time.monotonic().
        self.open_until = 0.0
        # Whether a push was accepted since it opened last.
        self.proven = True
        # Whether a push is on its way to try again.
        self.probing = False

    @property
    def is_open(self) -> bool:
        return time.monotonic() < self.open_until or (self.probing and not self.proven)

    def on_result(self, *, accepted: bool, reason: str, began_at: float) -> None:
        """A success closes the breaker only if that push was sent after it opened."""
        self.probing = False
        if accepted:
            self.proven = self.proven or began_at >= self.open_until
            return
        self.proven = False
        if time.monotonic() >= self.open_until:
            self.open_until = time.monotonic() + PAUSE_SECONDS
            where = f" for {self.name}" if self.name else ""
            logger.error("APNs rejects our credentials%s: %s; pushes are paused for %d s", where, reason, PAUSE_SECONDS)


class CircuitBreakers:
    """One for all topics, and one for each of the topics that were used last."""

    def __init__(self) -> None:
        self.all = CircuitBreaker(ALL_TOPICS)
        self.breakers: OrderedDict[str, CircuitBreaker] = OrderedDict()

    def breaker(self, topic: str) -> CircuitBreaker:
        breaker = self.breakers.setdefault(topic, CircuitBreaker(topic))
        self.breakers.move_to_end(topic)
        while len(self.breakers) > MOST_BREAKERS:
            self.breakers.popitem(last=False)
        return breaker

    def may_send(self, topic: str) -> bool:
        """Whether a push to this topic may be sent now."""
        breakers = (self.all, self.breaker(topic))
        if any(breaker.is_open for breaker in breakers):
            return False
        for breaker in breakers:
            breaker.probing = True
        return True

    def retry_after(self, topic: str) -> float:
        """Seconds until the next attempt makes sense."""
        return max(1.0, max(self.all.open_until, self.breaker(topic).open_until) - time.monotonic())

    def on_result(self, topic: str, refused: str | None, *, answered: bool, began_at: float) -> None:
        """The result of a push sent at ``began_at``: accepted, refused for this reason, or not answered."""
        if not answered:
            self.breaker(topic).probing = self.all.probing = False
            return
        one_app = refused in TOPIC_REASONS
        self.breaker(topic).on_result(accepted=refused is None or not one_app, reason=refused or "", began_at=began_at)
        self.all.on_result(accepted=refused is None or one_app, reason=refused or "", began_at=began_at)
