"""What was read a moment ago, for what may be a little behind: at most 2 seconds, and never for a write."""

import time
from typing import Generic, TypeVar

TTL_SECONDS = 2.0
MOST_KEYS = 20_000

K = TypeVar("K")
V = TypeVar("V")


class TtlCache(Generic[K, V]):
    def __init__(self, ttl: float = TTL_SECONDS) -> None:
        self.ttl = ttl
        self.known: dict[K, tuple[float, V]] = {}

    def get(self, key: K) -> V | None:
        found = self.known.get(key)
        return found[1] if found and time.monotonic() - found[0] < self.ttl else None

    def put(self, key: K, value: V, at: float | None = None) -> None:
        """``at`` is when it was asked for, of the monotonic clock; now if absent."""
        if len(self.known) >= MOST_KEYS:
            self.known.clear()
        self.known[key] = (time.monotonic() if at is None else at, value)

    def clear(self) -> None:
        self.known.clear()
