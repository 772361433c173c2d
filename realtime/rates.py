"""How often something may be done: by windows that all nodes share, for what is rare, and by buckets of this process.

A window counts for an account or an address and is asked before costly work; a bucket is looked at in the hot path.
"""

import asyncio
import math
import time
from collections import Counter
from collections.abc import Hashable
from typing import Literal

from limits import RateLimitItem, RateLimitItemPerDay, RateLimitItemPerHour, RateLimitItemPerMinute
from limits.aio.storage import MemoryStorage, Storage
from limits.aio.strategies import FixedWindowRateLimiter

from realtime.limits import Limits
from storage.errors import TooMany

MOST = 20_000
BYTES_PER_UNIT = 4096
REFUSED_AFTER_SECONDS = 0.25
REFUSED_AFTER_MOST_SECONDS = 30
REFUSED_AT_ONCE = 16
BACKWARD = 2.0
Period = Literal["second", "minute"]
PERIOD_SECONDS: dict[Period, int] = {"second": 1, "minute": 60}


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
    """``burst`` at once, and ``rate`` a second or minute after that, for each key. ``what`` names it in the error."""

    def __init__(self, rate: float, burst: float, what: str = "", *, period: Period = "second") -> None:
        self.rate = rate / PERIOD_SECONDS[period]
        self.burst = burst
        self.limit = f"At most {rate:g}{what and ' '}{what} a {period}, {burst:g} at once"
        self.left: dict[Hashable, tuple[float, float]] = {}

    def take(self, key: Hashable, amount: float = 1) -> None:
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
        self._put(key, self._left(key, moment) - amount, moment)

    def _left(self, key: Hashable, moment: float) -> float:
        left, at = self.left.get(key) or (self.burst, moment)
        return min(self.burst, left + (moment - at) * self.rate)

    def _put(self, key: Hashable, left: float, moment: float) -> None:
        if key not in self.left and len(self.left) >= MOST:
            self._forget(moment)
        self.left[key] = (left, moment)

    def _forget(self, moment: float) -> None:
        """Those that are full again; or all, which is generous, where too many come."""
        self.left = {key: value for key, value in self.left.items() if self._left(key, moment) < self.burst}
        if len(self.left) >= MOST:
            self.left.clear()


class Budget:
    """What calls of a user may cost on this process, over REST and the socket together; who has no token, by address.

    A unit is 100 µs of a core. A call costs what its route or event names, more for each item that it asks for or names,
    and one unit for each 4 KiB that it sends.
    """

    def __init__(self, limits: Limits) -> None:
        self.users = Buckets(limits.units_per_second, limits.units_at_once, "units")
        self.addresses = Buckets(limits.units_without_token, limits.units_without_token_at_once, "units")
        self.refusals = Refusals()


class Refusals:
    """Pauses before refusals, for who calls again at once would cost more by being refused than by being served.

    The pause is the longer the more of the same user or address wait: so many a second are refused, over however many
    connections they come.
    """

    def __init__(self) -> None:
        self.waiting: Counter[str] = Counter()

    async def pause(self, key: str | None) -> None:
        """``key`` is a user or an address; None is nobody and waits alone."""
        if key is None:
            return await asyncio.sleep(REFUSED_AFTER_SECONDS)
        self.waiting[key] += 1
        longer = max(1, self.waiting[key] / REFUSED_AT_ONCE)
        try:
            await asyncio.sleep(min(REFUSED_AFTER_SECONDS * longer, REFUSED_AFTER_MOST_SECONDS))
        finally:
            self.waiting[key] -= 1
            if not self.waiting[key]:
                del self.waiting[key]


def units_of(size: int) -> int:
    """What so many bytes cost that were sent."""
    return size // BYTES_PER_UNIT
