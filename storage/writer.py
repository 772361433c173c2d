"""The one queue through which everything is written: what waits is committed together, then answered.

``Writer.submit`` returns a future that resolves after COMMIT (and on SQLite after its fsync). While one batch commits the
next one gathers, so that the more there is to do, the fewer commits it takes for each.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from contextvars import Context
from typing import Any, Protocol, TypeVar

from storage.errors import Problem, Unavailable
from storage.latencies import LatencyHistogram
from storage.sqlstates import CommitUnknown, Undone, is_unreachable
from storage.transaction import Command, Event

logger = logging.getLogger(__name__)
T = TypeVar("T")

# What a batch writes at most, about, unless one command alone writes more.
BATCH_BYTES = 4 * 2**20
# Seconds that an event may wait for the next ones of its channel.
GATHER_SECONDS = 0.005
UNKNOWN = "It is not known whether this was stored; retry with the same key"
Outcome = tuple[list[Any], list[Event]]
OnCommit = Callable[[list[Event]], None]
OnUnknown = Callable[[set[int]], None]


class Executor(Protocol):
    """Runs one batch at a time. Raises ``CommitUnknown`` where the outcome can't be told."""

    batch: int

    async def run(self, commands: Sequence[Command[Any]]) -> Outcome: ...

    async def close(self) -> None: ...


class Writer:
    """Group commit.

    ``on_commit`` gets the events of a batch right after its COMMIT, some with those of the next batch; ``on_unknown`` the
    channels of a batch whose COMMIT failed. ``size`` bounds what may wait; above it ``submit`` raises ``Unavailable``.
    """

    def __init__(self, executor: Executor, on_commit: OnCommit, on_unknown: OnUnknown, *, size: int = 20_000) -> None:
        self.executor = executor
        self.on_commit = on_commit
        self.on_unknown = on_unknown
        # Commands.
        self.size = size
        # Batches that were committed, and how many commands they had; both only grow.
        self.commits = LatencyHistogram()
        self.commands = 0
        # When a batch was committed last, of time.monotonic().
        self.committed_at = float("-inf")
        # Commands for the next batches, with the futures of their answers, and the task that commits them.
        self._waiting: list[tuple[Command[Any], asyncio.Future[Any]]] = []
        self._task: asyncio.Task[None] | None = None
        # Committed events that wait for the next ones of their channel.
        self._held: list[Event] = []

    def submit(self, command: Command[T]) -> "asyncio.Future[T]":
        """Queue a command; the future holds its answer once it is committed, or its error."""
        if len(self._waiting) >= self.size:
            raise Unavailable("Server overloaded: the write queue is full; try again later")
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._waiting.append((command, future))
        if self._task is None:
            self._task = asyncio.create_task(self._work(), context=Context())
        return future

    @property
    def depth(self) -> int:
        return len(self._waiting)

    async def drain(self) -> None:
        """Wait until all that was submitted is answered."""
        while self._task is not None:
            await asyncio.wait([self._task])

    async def _work(self) -> None:
        try:
            while self._waiting:
                count = self._count()
                batch = [item for item in self._waiting[:count] if not item[1].done()]
                del self._waiting[:count]
                if batch:
                    await self._commit(batch)
        finally:
            self._task = None

    def _count(self) -> int:
        """How many of those that wait make a batch: bounded in number and in bytes, and one at least."""
        weight = 0
        for count, (command, _) in enumerate(self._waiting[: self.executor.batch]):
            weight += command.weight
            if weight > BATCH_BYTES:
                return max(1, count)
        return self.executor.batch

    async def _commit(self, batch: list[tuple[Command[Any], "asyncio.Future[Any]"]]) -> None:
        began = time.perf_counter()
        try:
            answers, events = await self.executor.run([command for command, _ in batch])
        except CommitUnknown as error:
            logger.error("COMMIT failed, outcome unknown: %s", error.__cause__)
            for _, future in batch:
                settle(future, Unavailable(UNKNOWN))
            self.on_unknown({pk for command, _ in batch for pk in command.channels})
            return
        except Exception as error:
            if len(batch) > 1 and not is_unreachable(error):
                # One of them could not be written, or all stood in another node's way: each for itself.
                for item in batch:
                    await self._commit([item])
                return
            problem = Problem()
            if isinstance(error, Undone) or is_unreachable(error):
                problem = Unavailable()
                logger.warning("a batch of %d could not be written: %s", len(batch), error)
            else:
                logger.exception("a batch of %d failed", len(batch))
            for _, future in batch:
                settle(future, problem)
            return
        self.committed_at = time.monotonic()
        self.commits.add(time.perf_counter() - began)
        self.commands += len(batch)
        for (_, future), answer in zip(batch, answers, strict=True):
            settle(future, answer)
        self._publish(events)

    def _publish(self, events: list[Event]) -> None:
        """Publish a batch; channels for which more waits already, together with the next one, at most 5 ms later."""
        busy = set() if self._held else {pk for command, _ in self._waiting for pk in command.channels}
        later = [event for event in events if event.channel_pk in busy]
        ready = [*self._held, *(event for event in events if event.channel_pk not in busy)]
        self._held = later
        if later:
            asyncio.get_running_loop().call_later(GATHER_SECONDS, self._publish, [])
        if ready:
            try:
                self.on_commit(ready)
            except Exception:
                # They are in the log, where this node is to look now, and others look anyway.
                logger.exception("%d events could not be published", len(ready))
                self.on_unknown({event.channel_pk for event in ready})


def ignore(events: list[Event] | set[int]) -> None:
    """For a process that publishes nothing."""


def settle(future: "asyncio.Future[Any]", answer: Any) -> None:
    if future.done():
        return
    if isinstance(answer, Exception):
        future.set_exception(answer)
    else:
        future.set_result(answer)
