"""Token buckets: a rate per second or minute, and a burst, for each key. They count in this process alone."""

import math
import time
from collections.abc import Hashable
from typing import Literal

from storage.errors import TooMany

MOST_KEYS = 20_000
Period = Literal["second", "minute"]
PERIOD_SECONDS: dict[Period, int] = {"second": 1, "minute": 60}


class Buckets:
    """``burst`` at once, and ``rate`` per second or minute after that, for each key. ``what`` names it in the error.

    What is charged afterwards leaves a debt of at most ``debt``.
    """

    def __init__(
        self, rate: float, burst: float, what: str = "", *, period: Period = "second", debt: float = math.inf
    ) -> None:
        self.debt = debt
        self.rate = rate / PERIOD_SECONDS[period]
        self.burst = burst
        self.limit = f"At most {rate:g}{what and ' '}{what} a {period}, {burst:g} at once"
        self.left: dict[Hashable, tuple[float, float]] = {}

    def acquire(self, key: Hashable, amount: float = 1) -> None:
        """Raises TooMany where less is left; of an amount above the burst, all of the burst must be there."""
        moment = time.monotonic()
        left = self._left(key, moment)
        least = min(amount, self.burst)
        if left < least:
            raise TooMany(self.limit, retry_after=(least - left) / self.rate)
        self._put(key, left - amount, moment)

    def require(self, key: Hashable) -> None:
        """Raises TooMany while more has been charged than there was."""
        left = self._left(key, time.monotonic())
        if left < 0:
            raise TooMany(self.limit, retry_after=-left / self.rate)

    def charge(self, key: Hashable, amount: float) -> None:
        """Take what was found out afterwards, even if it is more than is left: the next ones wait for it."""
        moment = time.monotonic()
        left = self._left(key, moment)
        self._put(key, max(left - amount, min(left, -self.debt)), moment)

    def has(self, key: Hashable, amount: float) -> bool:
        """Whether so much is left."""
        return self._left(key, time.monotonic()) >= amount

    def _left(self, key: Hashable, moment: float) -> float:
        left, at = self.left.get(key) or (self.burst, moment)
        return min(self.burst, left + (moment - at) * self.rate)

    def _put(self, key: Hashable, left: float, moment: float) -> None:
        if key not in self.left and len(self.left) >= MOST_KEYS:
            self._forget(moment)
        self.left[key] = (left, moment)

    def _forget(self, moment: float) -> None:
        """Those that are full again; or all, which is generous, where too many come."""
        self.left = {key: value for key, value in self.left.items() if self._left(key, moment) < self.burst}
        if len(self.left) >= MOST_KEYS:
            self.left.clear()
