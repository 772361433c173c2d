"""What runs beside the requests: reads of the log's tail and of revocations, deadlines, and the removal of what is old."""

import asyncio
import contextlib
import logging
from collections.abc import Callable
from functools import partial
from typing import Any

from realtime.cluster.nodes import HEARTBEAT_SECONDS
from realtime.cluster.presence_redis import TTL_SECONDS as PRESENCE_TTL_SECONDS
from realtime.viewers import PEAKS_SECONDS, SHARE_SECONDS
from server.figure_history import SAMPLE_SECONDS
from server.metrics import figures
from server.nodes import nodes_of
from server.services import Services
from storage import audit, deliveries, invites, log, logins, registration, unread, webhooks
from storage.errors import Unavailable
from storage.tasks import Tasks
from storage.transaction import Command
from storage.types import SECOND, now

logger = logging.getLogger("bellwire")

TICK_SECONDS = 1.0
SWEEP_SECONDS = 60.0
MEASURE_SECONDS = 5.0
HOUR_SECONDS = 3600
DAY_SECONDS = 24 * HOUR_SECONDS
TRAIL_KEPT_SECONDS = 90 * DAY_SECONDS
PUSHES_KEPT_SECONDS = 7 * DAY_SECONDS


class Background:
    """``start`` it once the services are, ``await stop()`` before they are released."""

    def __init__(self, services: Services) -> None:
        self.services = services
        # One for each kind of work.
        self.tasks = Tasks()
        self.stopping = asyncio.Event()

    def start(self) -> None:
        services = self.services
        if not services.database.path:
            self._every(TICK_SECONDS, services.hub.check_tail)
        self._every(TICK_SECONDS, services.sessions.tick)
        self._every(TICK_SECONDS, services.sessions.look_at_revocations)
        self._every(TICK_SECONDS, services.streams.tick)
        self._every(TICK_SECONDS, services.due_work.work)
        self._every(TICK_SECONDS, services.word_lists.refresh)
        self._every(TICK_SECONDS, services.streams.finish_leaving)
        self._every(SHARE_SECONDS, services.viewers.tick)
        self._every(PEAKS_SECONDS, services.viewers.write_peaks)
        self._every(TICK_SECONDS, services.broadcasts.work)
        self._every(TICK_SECONDS, services.erasure.work)
        self._every(TICK_SECONDS, services.indexer.work)
        self._every(HOUR_SECONDS, services.indexer.compact)
        if services.settings.webhook_calls:
            self._every(TICK_SECONDS, services.webhook_calls.work)
        self._every(SWEEP_SECONDS, services.activities.expire)
        if services.push_channels:
            self._every(TICK_SECONDS, services.push_channels.work)
            self._every(MEASURE_SECONDS, services.push_channels.measure)
        self._every(MEASURE_SECONDS, services.worker.measure)
        self._every(SWEEP_SECONDS, self._sweep)
        self._every(TICK_SECONDS, self._number_messages)
        if services.cluster.nodes:
            self._every(HEARTBEAT_SECONDS, self._beat)
        self._every(SAMPLE_SECONDS, self._record_figures)
        self._every(PRESENCE_TTL_SECONDS / 3, services.cluster.presence.refresh)

    async def stop(self) -> None:
        self.stopping.set()
        self.services.indexer.request_stop()
        await self.tasks.finish()
        with contextlib.suppress(Unavailable):
            await self.services.viewers.write_peaks()

    def _every(self, seconds: float, work: Callable[[], Any]) -> None:
        async def repeat() -> None:
            while not self.stopping.is_set():
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self.stopping.wait(), seconds)
                    return
                try:
                    await work()
                except Unavailable:
                    logger.warning("%s: the database is unreachable; retrying in %s s", work.__qualname__, seconds)
                except Exception:
                    logger.exception("%s failed; retrying in %s s", work.__qualname__, seconds)

        self.tasks.spawn(repeat())

    async def _beat(self) -> None:
        assert self.services.cluster.nodes is not None
        await self.services.cluster.nodes.beat(figures(self.services))

    async def _record_figures(self) -> None:
        await self.services.figure_history.record(await nodes_of(self.services), now())

    async def _number_messages(self) -> None:
        """Number the messages from before they had numbers, in slices."""
        database = self.services.database
        while not self.stopping.is_set() and (pk := await database.read(unread.to_fill)) is not None:
            await database.write(Command(partial(unread.fill, chat_pk=pk), channels=[pk]))

    async def _sweep(self) -> None:
        """Drop, in slices, what is past its retention."""
        services = self.services
        settings = services.settings
        write = services.database.write
        old = now() - int(settings.retention_days * DAY_SECONDS * SECOND)

        wanted = await services.database.read(
            lambda connection: log.to_trim(connection, before=old, keep=settings.retention_events)
        )
        while wanted and not self.stopping.is_set():
            cuts, wanted = await services.database.read(partial(log.next_cuts, wanted=wanted))
            if cuts:
                await write(Command(partial(log.trim, cuts=cuts), channels=list(cuts)))
        sweep = Command(partial(deliveries.sweep, before=now() - PUSHES_KEPT_SECONDS * SECOND))
        while not self.stopping.is_set() and await write(sweep):
            await asyncio.sleep(0)
        forget = Command(partial(webhooks.sweep, before=now() - PUSHES_KEPT_SECONDS * SECOND))
        while not self.stopping.is_set() and await write(forget):
            await asyncio.sleep(0)
        await write(Command(lambda tx: logins.sweep(tx, before=now() - DAY_SECONDS * SECOND)))
        await write(Command(registration.sweep))
        await write(Command(invites.sweep))
        trail = Command(partial(audit.sweep, before=now() - TRAIL_KEPT_SECONDS * SECOND))
        while not self.stopping.is_set() and await write(trail):
            await asyncio.sleep(0)
        while not self.stopping.is_set() and await services.chats.sweep():
            await asyncio.sleep(0)
        await services.media.sweep()
