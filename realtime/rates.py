"""How often something may be done: by windows that all nodes share, for what is rare, and by buckets of this process.

A window counts for an account or an address and is asked before costly work; a bucket is looked at in the hot path.
"""

import math
import time
from collections.abc import Hashable

from limits import RateLimitItem, RateLimitItemPerDay, RateLimitItemPerHour, RateLimitItemPerMinute
from limits.aio.storage import MemoryStorage, Storage
from limits.aio.strategies import FixedWindowRateLimiter

from realtime.limits import Limits
from storage.errors import TooMany

MOST = 20_000
BACKWARD = 2.0


class Rates:
    """Windows of a minute or an hour. ``storage`` is shared by all nodes, or this process's own."""

    def __init__(self, limits: Limits, storage: Storage | None = None) -> None:
        self.storage = storage or MemoryStorage()
        self.windows = FixedWindowRateLimiter(self.storage)
        self.asked_at = time.time()
        self.failed_logins = RateLimitItemPerMinute(limits.failed_logins, namespace="failed-logins")
        self.failed_logins_anywhere = RateLimitItemPerHour(
            limits.failed_logins_per_account, namespace="failed-logins-anywhere"
        )
        self.logins = RateLimitItemPerMinute(limits.logins_per_address, namespace="logins")
        self.registrations = RateLimitItemPerHour(limits.registrations_per_address, namespace="registrations")
        self.uploads = RateLimitItemPerMinute(limits.uploads_per_minute, namespace="uploads")
        self.follows = RateLimitItemPerMinute(limits.follows_per_minute, namespace="follows")
        self.groups = RateLimitItemPerDay(limits.groups_per_day, namespace="groups")

    async def _follow_clock(self) -> None:
        """Our own windows end by the wall clock: where that was set back they are forgotten, or they would last."""
        moment = time.time()
        if moment < self.asked_at - BACKWARD and isinstance(self.storage, MemoryStorage):
            await self.storage.reset()
        self.asked_at = moment

    async def spend(self, window: RateLimitItem, key: str | None) -> None:
        """Count one; None is nobody and has no limit. Raises TooMany."""
        await self._follow_clock()
        if key is not None and not await self.windows.hit(window, key):
            await self._refuse(window, key)

    async def require(self, window: RateLimitItem, key: str) -> None:
        """Raises TooMany where no more may be counted."""
        await self._follow_clock()
        if not await self.windows.test(window, key):
            await self._refuse(window, key)

    async def _refuse(self, window: RateLimitItem, key: str) -> None:
        ends_at = (await self.windows.get_window_stats(window, key)).reset_time
        wait = min(max(1, math.ceil(ends_at - time.time())), window.get_expiry())
        raise TooMany(f"At most {window.amount} in {window.get_expiry()} s; again in {wait} s", retry_after=wait)


class Buckets:
    """``burst`` at once, and ``rate`` a second after that, for each key."""

    def __init__(self, rate: float, burst: float) -> None:
        self.rate = rate
        self.burst = burst
        self.left: dict[Hashable, tuple[float, float]] = {}

    def take(self, key: Hashable) -> None:
        """Raises TooMany where none is left."""
        moment = time.monotonic()
        left, at = self.left.get(key) or (self.burst, moment)
        left = min(self.burst, left + (moment - at) * self.rate)
        if left < 1:
            wait = (1 - left) / self.rate
            raise TooMany(f"At most {self.rate:g} a second, {self.burst:g} at once", retry_after=wait)
        if key not in self.left and len(self.left) >= MOST:
            self._forget(moment)
        self.left[key] = (left - 1, moment)

    def _forget(self, moment: float) -> None:
        """Those that are full again; or all, which is generous, where too many come."""
        full = self.burst / self.rate
        self.left = {key: value for key, value in self.left.items() if moment - value[1] < full}
        if len(self.left) >= MOST:
            self.left.clear()
