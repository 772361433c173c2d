"""Webhooks: an operator's own backend is called for what was committed, and again until it answers with 2xx."""

import asyncio
import contextlib
import logging
import random
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

import orjson

from push.webhooks import Sender, new_secret, wrong_with
from realtime.schema import documents
from realtime.schema.bodies import ChangeWebhook, CreateWebhook
from realtime.schema.caller import Caller
from realtime.support.tasks import Tasks
from storage import audit, webhooks
from storage.database import Database
from storage.errors import Conflict, Invalid, NotFound, Unavailable
from storage.transaction import Command, Tx
from storage.types import SECOND
from storage.webhooks import ClaimedCall, Webhook, WebhookCall

logger = logging.getLogger("bellwire.webhooks")

T = TypeVar("T")
ADMIN = "admin"
# Calls of a webhook under way at a time, so that a slow one does not delay the others.
IN_FLIGHT_PER_WEBHOOK = 10
LEASE_SECONDS = 60
STOP_SECONDS = 2.0
# Seconds until the next retry: short at first, for a restart; then hours, for an outage at night.
RETRY_SECONDS = (5, 30, 120, 600, 1800, 3600)
# A day, with these pauses.
TRIES = 28
GONE = 410


class Webhooks:
    """``await work()`` every second, in any number of processes; ``await stop()`` at the end."""

    def __init__(self, database: Database, *, most: int, private: bool) -> None:
        self.database = database
        # Webhooks of a tenant.
        self.most = most
        # Whether addresses in private networks may be called.
        self.private = private
        self.sender = Sender(private=private)
        # Calls under way, by the webhook's number.
        self.in_flight: Counter[int] = Counter()
        # One claim at a time.
        self.claiming = asyncio.Lock()
        self.tasks = Tasks()
        # Nothing more is claimed.
        self.stopping = False

    # Their addresses

    async def create(self, caller: Caller, body: CreateWebhook) -> Webhook:
        """Raises Forbidden, Invalid for an address that can't be called, Conflict where there are enough."""
        self._check(body.url)

        def apply(tx: Tx, actor: Caller) -> Webhook:
            tenant_pk = actor.user.tenant_pk
            if len(webhooks.of_tenant(tx.connection(), tenant_pk, before=None, limit=self.most)) >= self.most:
                raise Conflict(f"A tenant can have at most {self.most} webhooks")
            made = webhooks.add(tx, tenant_pk, url=body.url, events=sorted(set(body.events)), secret=new_secret())
            audit.add(tx, actor.user, "webhook.create", made.id, events=made.events)
            return made

        return await self._write(caller, apply)

    async def page(self, caller: Caller, *, before: int | None, limit: int) -> list[Webhook]:
        caller.require(ADMIN)
        return await self.database.read(
            lambda it: webhooks.of_tenant(it, caller.user.tenant_pk, before=before, limit=limit)
        )

    async def change(self, caller: Caller, id: str, body: ChangeWebhook) -> Webhook:
        if body.url is not None:
            self._check(body.url)
        values = body.model_dump(exclude_none=True)

        def apply(tx: Tx, actor: Caller) -> Webhook:
            found = existing(tx, actor, id)
            webhooks.change(tx, found.pk, values)
            audit.add(tx, actor.user, "webhook.change", id, changed=sorted(values))
            return existing(tx, actor, id)

        return await self._write(caller, apply)

    async def remove(self, caller: Caller, id: str) -> None:
        def apply(tx: Tx, actor: Caller) -> None:
            webhooks.remove(tx, existing(tx, actor, id).pk)
            audit.add(tx, actor.user, "webhook.delete", id)

        await self._write(caller, apply)

    async def calls(self, caller: Caller, id: str, *, before: int | None, limit: int) -> list[WebhookCall]:
        """The calls of a webhook. Raises NotFound."""
        caller.require(ADMIN)

        def look(connection: Any) -> list[WebhookCall]:
            found = webhooks.find(connection, caller.user.tenant_pk, id)
            if found is None:
                raise NotFound
            return webhooks.log_of(connection, found.pk, before=before, limit=limit)

        return await self.database.read(look)

    async def retry(self, caller: Caller, id: str, pk: int) -> None:
        """Retry a failed call. Raises NotFound."""

        def apply(tx: Tx, actor: Caller) -> None:
            if not webhooks.retry(tx, existing(tx, actor, id).pk, pk):
                raise NotFound
            audit.add(tx, actor.user, "webhook.retry", id, call=pk)

        await self._write(caller, apply)

    def _check(self, url: str) -> None:
        if wrong := wrong_with(url, private=self.private):
            raise Invalid.field("url", wrong)

    async def _write(self, caller: Caller, change: Callable[[Tx, Caller], T]) -> T:
        def apply(tx: Tx) -> T:
            actor = caller.fresh(tx)
            actor.require(ADMIN)
            return change(tx, actor)

        return await self.database.write(Command(apply, keys=[f"webhooks:{caller.user.tenant_pk}"]))

    # Calling

    async def work(self) -> None:
        """Begin all calls that are due, as many at a time for each webhook as are not under way."""
        if self.claiming.locked():
            return
        async with self.claiming:
            while not self.stopping and await self.database.read(webhooks.anything):
                room = {pk: IN_FLIGHT_PER_WEBHOOK - count for pk, count in self.in_flight.items()}
                claim = partial(webhooks.claim, ttl=LEASE_SECONDS * SECOND, room=room, each=IN_FLIGHT_PER_WEBHOOK)
                claimed = await self.database.write(Command(claim))
                if not claimed:
                    return
                for each in claimed:
                    self.in_flight[each.webhook.pk] += 1
                    self.tasks.spawn(self._call(each))

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
                "timestamp": documents.time(call.created_at),
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


def existing(tx: Tx, actor: Caller, id: str) -> Webhook:
    """Raises NotFound."""
    found = webhooks.find(tx.connection(), actor.user.tenant_pk, id)
    if found is None:
        raise NotFound
    return found
