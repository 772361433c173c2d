"""How long something takes, counted by length, so that quantiles can be computed from two of them."""

from bisect import bisect_left

# Upper bounds in milliseconds; what takes longer is counted after the last.
BOUNDS_MS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000)


class LatencyHistogram:
    """All counts only grow."""

    def __init__(self) -> None:
        self.counts = [0] * (len(BOUNDS_MS) + 1)
        self.count = 0
        self.seconds = 0.0

    def add(self, seconds: float) -> None:
        self.counts[bisect_left(BOUNDS_MS, seconds * 1000)] += 1
        self.count += 1
        self.seconds += seconds
