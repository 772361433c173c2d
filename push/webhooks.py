"""Calls of webhooks: claimed, made, and retried until the backend answers with 2xx, or for about a day."""

import asyncio
import contextlib
import logging
import random
from collections import Counter
from functools import partial

import orjson

from push.webhook_sender import WebhookSender
from storage import webhooks
from storage.database import Database
from storage.errors import Unavailable
from storage.tasks import Tasks
from storage.transaction import Command
from storage.types import SECOND, iso_time
from storage.webhooks import ClaimedCall

logger = logging.getLogger("bellwire.webhooks")

# Calls of a webhook under way at a time, so that a slow one does not delay the others.
IN_FLIGHT_PER_WEBHOOK = 10
LEASE_SECONDS = 60
STOP_SECONDS = 2.0
GATHER_SECONDS = 0.02
# Seconds until the next retry: short at first, for a restart; then hours, for an outage at night.
RETRY_SECONDS = (5, 30, 120, 600, 1800, 3600)
# A day, with these pauses.
TRIES = 28
GONE = 410


class WebhookCalls:
    """``await work()`` every second, in any number of processes; ``await stop()`` at the end.

    ``private`` allows addresses of private networks, and no TLS.
    """

    def __init__(self, database: Database, *, private: bool) -> None:
        self.database = database
        self.sender = WebhookSender(private=private)
        # Calls under way, by the webhook's number.
        self.in_flight: Counter[int] = Counter()
        # Whether calls are being claimed, and whether more may have become due, or possible, since.
        self.claiming = False
        self.wanted = False
        # Whether calls that have ended are being gathered before the next ones are claimed.
        self.gathering = False
        self.tasks = Tasks()
        # Nothing more is claimed.
        self.stopping = False

    async def work(self) -> None:
        """Start all due calls, at most ``IN_FLIGHT_PER_WEBHOOK`` of one webhook at a time."""
        self.wanted = True
        if self.claiming:
            return
        self.claiming = True
        try:
            while self.wanted and not self.stopping:
                self.wanted = False
                await self._claim()
        finally:
            self.claiming = False

    async def _claim(self) -> None:
        at = await self.database.read(webhooks.time_if_calls_due)
        if at is None:
            return
        room = {pk: IN_FLIGHT_PER_WEBHOOK - count for pk, count in self.in_flight.items()}
        each = IN_FLIGHT_PER_WEBHOOK
        claim = partial(webhooks.claim, ttl=LEASE_SECONDS * SECOND, room=room, each=each, at=at)
        reads = webhooks.reads_of_claim(room, each, at)
        page = await self.database.write(Command(claim, reads=lambda: reads))
        for call in page.calls:
            self.in_flight[call.webhook.pk] += 1
            self.tasks.spawn(self._call(call))
        self.wanted = self.wanted or page.is_full

    async def stop(self) -> None:
        """A call that is not answered in a moment is made again, by the next process that has its lease."""
        self.stopping = True
        await self.tasks.finish(STOP_SECONDS)
        await self.sender.close()

    async def _call(self, claimed: ClaimedCall) -> None:
        try:
            await self._attempt(claimed)
        except Exception:
            logger.exception("a call of webhook %s failed", claimed.webhook.id)
        finally:
            self.in_flight[claimed.webhook.pk] -= 1
            if not self.in_flight[claimed.webhook.pk]:
                del self.in_flight[claimed.webhook.pk]
        if not self.gathering:
            self.gathering = True
            self.tasks.spawn(self._work_soon())

    async def _work_soon(self) -> None:
        """Claim for all calls that end in a moment."""
        await asyncio.sleep(GATHER_SECONDS)
        self.gathering = False
        if not self.stopping:
            with contextlib.suppress(Unavailable):
                await self.work()

    async def _attempt(self, claimed: ClaimedCall) -> None:
        call, webhook = claimed.call, claimed.webhook
        if claimed.document is None:
            return await self._settle(claimed, "dead", None, "it is in the log no more")
        if not webhook.active:
            return await self._settle(claimed, "dead", None, "the webhook is switched off")
        body = orjson.dumps(
            {
                "type": call.event,
                "timestamp": iso_time(call.created_at),
                "tenantId": claimed.tenant,
                "data": claimed.document,
            }
        )
        result = await self.sender.send(webhook.url, webhook.secret, f"{webhook.id}-{call.pk}", body)
        if result.good:
            await self._settle(claimed, "sent", result.status, result.reason)
        elif result.status == GONE or call.attempts >= TRIES:
            logger.warning(
                "webhook %s: call for %s failed: %s %s", webhook.id, call.event, result.status, result.reason
            )
            await self._settle(claimed, "dead", result.status, result.reason)
        else:
            pause = RETRY_SECONDS[min(call.attempts, len(RETRY_SECONDS)) - 1] * random.uniform(0.8, 1.2)
            await self._settle(claimed, "waiting", result.status, result.reason, pause)
        return None

    async def _settle(
        self, claimed: ClaimedCall, state: webhooks.State, status: int | None, reason: str, pause: float = 0
    ) -> None:
        """Where it can't be written, the lease ends and it is called again, under the same id."""
        place = partial(webhooks.settle, pk=claimed.call.pk, lease=claimed.lease, state=state)
        settle = partial(place, status=status, reason=reason, pause=int(pause * SECOND))
        try:
            await self.database.write(Command(settle))
        except Unavailable as error:
            logger.warning("the result of a webhook call could not be stored: %s", error)
