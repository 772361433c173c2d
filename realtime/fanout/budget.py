"""What the calls of a user may cost, and how long a refusal takes."""

import asyncio
from collections import Counter

from realtime.schema.limits import Limits
from realtime.support.buckets import Buckets

BYTES_PER_UNIT = 4096
REFUSED_AFTER_SECONDS = 0.25
REFUSED_AFTER_MOST_SECONDS = 30
REFUSED_AT_ONCE = 16


class Budget:
    """What calls of a user may cost on this process, over REST and the socket together; who has no token, by address.

    A unit is 100 µs of a core. A call costs what its route or event names, more for each item that it asks for or names,
    and one unit for each 4 KiB that it sends.
    """

    def __init__(self, limits: Limits) -> None:
        # What was found out afterwards, such as what a connection missed, leaves a debt of a burst at most.
        self.users = Buckets(limits.units_per_second, limits.units_at_once, "units", debt=limits.units_at_once)
        self.addresses = Buckets(limits.units_without_token, limits.units_without_token_at_once, "units")
        self.refusals = Refusals()


class Refusals:
    """Pauses before refusals, for who calls again at once would cost more by being refused than by being served.

    The pause is the longer the more of the same user or address wait: so many a second are refused, over however many
    connections they come.
    """

    def __init__(self) -> None:
        self.waiting: Counter[int | str] = Counter()

    async def pause(self, key: int | str | None, most: float = REFUSED_AFTER_MOST_SECONDS) -> None:
        """``key`` is a user's number or an address; None waits alone. At most ``most`` seconds."""
        if key is None:
            return await asyncio.sleep(REFUSED_AFTER_SECONDS)
        self.waiting[key] += 1
        longer = max(1, self.waiting[key] / REFUSED_AT_ONCE)
        try:
            await asyncio.sleep(min(REFUSED_AFTER_SECONDS * longer, most))
        finally:
            self.waiting[key] -= 1
            if not self.waiting[key]:
                del self.waiting[key]


def units_of(size: int) -> int:
    """What so many bytes cost that were sent."""
    return size // BYTES_PER_UNIT
