"""How often something rare may be done, counted in fixed windows by all nodes together, for an account or an address."""

import math
import time

from limits import RateLimitItem, RateLimitItemPerDay, RateLimitItemPerHour, RateLimitItemPerMinute
from limits.aio.storage import MemoryStorage, Storage
from limits.aio.strategies import FixedWindowRateLimiter

from realtime.schema.limits import Limits
from storage.errors import TooMany

BACKWARD_SECONDS = 2.0


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
        if moment < self.asked_at - BACKWARD_SECONDS and isinstance(self.storage, MemoryStorage):
            await self.storage.reset()
        self.asked_at = moment

    async def spend(self, window: RateLimitItem, key: str | None) -> None:
        """Count one attempt; a key of None has no limit. Raises TooMany."""
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
        raise TooMany(f"At most {window.amount} per {window.get_expiry()} s; retry in {wait} s", retry_after=wait)
