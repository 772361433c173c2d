"""How fast newcomers are let in, by what they cost: when a node fails, all its clients come at once, and the clients that are
connected must not notice.

Time is cut into slices, and newcomers may use a share of a core in each. What one costs is measured: the process's CPU above
what it used before they came.
"""

import asyncio
import heapq
import itertools
import time
from collections.abc import Callable
from enum import IntEnum
from typing import NamedTuple

SLICE_SECONDS = 0.05
SHARE = 0.3
# Where others use little, newcomers may use what they leave, and are cheaper the more come together.
MOST_SHARE = 0.9
# Before anything was measured.
FIRST_COST_SECONDS = 0.0005
# By so much an old measurement counts less after each slice.
DECAY = 0.9
# When the loop is so late, others wait already, and the slice is theirs …
LATE_SECONDS = 0.01
# … but not every slice.
SKIPPED_AT_MOST = 4
# Steps of a slice in any case.
LEAST = 0.1
# A pause says what others use if it is so long at least.
PAUSE_SECONDS = 0.1
# Of what the slices left unused so much is kept.
BURST_SLICES = 1


class Step(IntEnum):
    """What a newcomer asks for, the most urgent first; each is let in by itself."""

    RESUME = 0
    CONNECT = 1
    HANDSHAKE = 2


class Refusal(NamedTuple):
    """Why a newcomer is not let in, and after how many seconds to come again."""

    why: str
    seconds: float = 1


class Newcomer(NamedTuple):
    step: Step
    number: int
    future: "asyncio.Future[None]"


class Admission:
    """Lets at most ``per_second`` newcomers in; refuses a handshake that would wait longer than ``longest_wait`` seconds."""

    def __init__(
        self,
        per_second: float,
        longest_wait: float,
        *,
        cpu: Callable[[], float] = time.process_time,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        # Of a newcomer's two steps.
        self.most = 2 * per_second * SLICE_SECONDS
        self.longest_wait = longest_wait
        self.cpu, self.clock = cpu, clock
        self.waiting: list[Newcomer] = []
        self.numbers = itertools.count()
        # Seconds of a core and steps, as measured; old ones count less.
        self.spent, self.steps = FIRST_COST_SECONDS, 1.0
        # CPU a second without newcomers.
        self.baseline = 0.0
        # Steps that are let in at once.
        self.credit = BURST_SLICES * self._allowed(FIRST_COST_SECONDS)
        # Steps of the slice before and of this one; when this one began, and the CPU then.
        self.steps_before = self.steps_now = 0
        self.began_at, self.began_cpu = clock(), cpu()
        self.skipped = 0
        self.timer: asyncio.TimerHandle | None = None

    def _allowed(self, cost: float) -> float:
        """How many steps of this cost a slice has room for."""
        return min(self.most, max(LEAST, self.share * SLICE_SECONDS / cost))

    @property
    def share(self) -> float:
        """The share of a core that newcomers may use; twice what others use is left to them."""
        return max(SHARE, MOST_SHARE - 2 * self.baseline)

    @property
    def allowed(self) -> float:
        return self._allowed(max(self.spent / self.steps, 1e-6))

    @property
    def burst(self) -> float:
        """How many steps may be let in at once after a pause."""
        return BURST_SLICES * self.allowed + 1

    def wait_seconds(self) -> float:
        """How long a handshake that comes now would wait."""
        return max(0.0, len(self.waiting) + 1 - self.credit) / self.allowed * SLICE_SECONDS

    async def turn(self, step: Step) -> float:
        """Wait for a place. For a handshake that is refused: in how many seconds there may be one; else 0."""
        if self.timer is None:
            self._begin_again()
        if not self.waiting and self.credit >= 1:
            self._admit()
            return 0.0
        if step is Step.HANDSHAKE and (wait := self.wait_seconds()) > self.longest_wait:
            return wait
        mine = Newcomer(step, next(self.numbers), asyncio.get_running_loop().create_future())
        heapq.heappush(self.waiting, mine)
        await mine.future
        return 0.0

    def _admit(self) -> None:
        self.credit -= 1
        self.steps_now += 1

    def _begin_again(self) -> None:
        """After a pause without newcomers, whose use of the CPU is that of others."""
        moment, cpu = self.clock(), self.cpu()
        seconds = moment - self.began_at
        if seconds > PAUSE_SECONDS:
            self.baseline = (cpu - self.began_cpu) / seconds
        self.credit = min(self.credit + self.allowed * seconds / SLICE_SECONDS, self.burst)
        self.began_at, self.began_cpu = moment, cpu
        self.steps_before = self.steps_now = 0
        self.timer = asyncio.get_running_loop().call_later(SLICE_SECONDS, self._begin_slice)

    def _begin_slice(self) -> None:
        """Learn from the last slice, and let the next ones in."""
        self.timer = asyncio.get_running_loop().call_later(SLICE_SECONDS, self._begin_slice)
        moment, cpu = self.clock(), self.cpu()
        seconds, used = max(moment - self.began_at, 1e-9), cpu - self.began_cpu
        late = seconds - SLICE_SECONDS
        if self.steps_now or self.steps_before:
            above = max(0.0, used - self.baseline * seconds)
            self.spent, self.steps = DECAY * self.spent + above, DECAY * self.steps + self.steps_now
        else:
            self.baseline += (used / seconds - self.baseline) * (1 - DECAY)
        self.began_at, self.began_cpu = moment, cpu
        self.steps_before, self.steps_now = self.steps_now, 0
        self.credit = min(self.credit + self.allowed * seconds / SLICE_SECONDS, self.burst)
        if late > LATE_SECONDS and self.skipped < SKIPPED_AT_MOST:
            self.skipped += 1
            return
        self.skipped = 0
        while self.waiting and self.credit >= 1:
            future = heapq.heappop(self.waiting).future
            if not future.done():
                self._admit()
                future.set_result(None)
        if not self.waiting and self.credit >= self.burst:
            self.timer.cancel()
            self.timer = None
