"""Keeps the search index up to date: it follows the log, outside the transactions of the writer."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Collection, Iterable

from storage.search_index import SearchIndex
from storage.transaction import Event
from storage.types import SECOND, now

logger = logging.getLogger("bellwire.search")

EVENTS = frozenset({"message:new", "message:updated", "message:deleted"})
CHATS_AT_ONCE = 20
# The pause after each slice, as a multiple of the slice's duration. In a busy process it is longer: sending has priority.
PAUSE_FACTOR, PAUSE_FACTOR_WHEN_BUSY = 4, 19
# A process is busy above this CPU usage, measured over at least MEASURE_SECONDS.
BUSY_CORES = 0.4
MEASURE_SECONDS = 0.2
# A search waits this long before it retries chats that another process is indexing.
RETRY_SECONDS = 0.02
# How often it looks for chats that another process left unindexed, as after a crash.
RESCAN_SECONDS = 60.0
# Removed texts must be gone from the file of the index within a day.
COMPACT_AFTER_SECONDS = 12 * 3600


class Indexer:
    """Call ``work()`` every second and ``compact()`` every hour. ``on_commit`` gets the events of this process."""

    def __init__(self, index: SearchIndex) -> None:
        self.index = index
        # Chats that may have messages that are not indexed.
        self.unindexed: set[int] = set()
        # The last scan of all chats: its time.monotonic(), and the generation of the index.
        self.scanned_at = float("-inf")
        self.scanned_generation = -1
        self.stopping = False
        self.load = ProcessLoad()

    def on_commit(self, events: Iterable[Event]) -> None:
        for event in events:
            if event.name in EVENTS:
                self.unindexed.add(event.channel_pk)

    def on_unknown(self, channels: Collection[int]) -> None:
        self.unindexed.update(channels)

    async def work(self) -> None:
        """Index every chat that is behind."""
        await self._scan()
        while self.unindexed and not self.stopping:
            some = [self.unindexed.pop() for _ in range(min(CHATS_AT_ONCE, len(self.unindexed)))]
            started = time.monotonic()
            try:
                left = await self.index.update(some)
            except BaseException:
                self.unindexed.update(some)
                raise
            self.unindexed.update(left)
            took = time.monotonic() - started
            pause = PAUSE_FACTOR_WHEN_BUSY if self.load.cores() > BUSY_CORES else PAUSE_FACTOR
            await asyncio.sleep(took * pause)

    async def catch_up(self, chat_pks: Collection[int], seconds: float) -> bool:
        """Index these chats now, for at most ``seconds``; whether nothing is behind."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                left = set(chat_pks)
                while left:
                    before = left
                    left = await self.index.update(left)
                    if left == before and self.index.is_shared:
                        await asyncio.sleep(RETRY_SECONDS)
                return True
        self.unindexed.update(chat_pks)
        return False

    async def compact(self) -> None:
        """Call it every hour. It also finds deleted chats, for which there is no event."""
        self.unindexed |= await self.index.unindexed_chats()
        if await self.index.compact(before=now() - COMPACT_AFTER_SECONDS * SECOND):
            logger.info("removed the words of deleted texts from the search index")

    async def rebuild(self) -> None:
        """Index everything again."""
        await self.index.rebuild()

    def request_stop(self) -> None:
        """Start no further slice."""
        self.stopping = True

    async def stop(self) -> None:
        self.request_stop()
        await self.index.close()

    async def _scan(self) -> None:
        stale = self.index.is_shared and time.monotonic() - self.scanned_at > RESCAN_SECONDS
        generation = self.index.generation
        if self.scanned_generation == generation and not stale:
            return
        self.unindexed |= await self.index.unindexed_chats()
        self.scanned_at, self.scanned_generation = time.monotonic(), generation


class ProcessLoad:
    """CPU usage of this process."""

    def __init__(self) -> None:
        # time.monotonic() and time.process_time() of the last measurement, and its result in cores.
        self.measured_at, self.cpu = time.monotonic(), time.process_time()
        self.last = 0.0

    def cores(self) -> float:
        at, cpu = time.monotonic(), time.process_time()
        if at - self.measured_at >= MEASURE_SECONDS:
            self.last = (cpu - self.cpu) / (at - self.measured_at)
            self.measured_at, self.cpu = at, cpu
        return self.last
