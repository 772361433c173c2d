"""How much a chat may deliver to its open sockets on this process.

A send is admitted for all who read the chat here now, before it is written, so that many sends at once are counted too. The
hub charges what it delivers beyond that, which other nodes have sent.
"""

import threading
from collections import Counter
from collections.abc import Callable

from realtime.schema.limits import Limits
from realtime.support.buckets import Buckets


class DeliveryBudget:
    """Channels by their number; ``readers`` says how many read one here. Used by the writer's thread and the event loop."""

    def __init__(self, limits: Limits, readers: Callable[[int], int]) -> None:
        rate = limits.deliveries_per_second
        self.buckets = Buckets(rate, rate, "deliveries", debt=rate)
        self.readers = readers
        # What was admitted and is not delivered yet, by channel.
        self.admitted: Counter[int] = Counter()
        self.lock = threading.Lock()

    def admit(self, channel_pk: int) -> None:
        """Raises TooMany while the channel has delivered, or is to deliver, more than it may."""
        count = self.readers(channel_pk)
        with self.lock:
            self.buckets.require(channel_pk)
            if count:
                self.buckets.charge(channel_pk, count)
                self.admitted[channel_pk] += count

    def on_delivered(self, channel_pk: int, count: int) -> None:
        with self.lock:
            admitted = self.admitted.pop(channel_pk, 0)
            if admitted > count:
                self.admitted[channel_pk] = admitted - count
            elif admitted < count:
                self.buckets.charge(channel_pk, count - admitted)

    def admit_ephemeral(self, channel_pk: int, count: int) -> bool:
        """Whether so many may get an ephemeral event: they use half of what there is, so that no send waits for them."""
        with self.lock:
            if not self.buckets.has(channel_pk, self.buckets.burst / 2 + count):
                return False
            self.buckets.charge(channel_pk, count)
        return True
