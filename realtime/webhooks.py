"""Webhooks: where an operator's own backend is called for what was committed. ``push/webhooks.py`` makes the calls."""

from collections.abc import Callable
from typing import Any, TypeVar

from push.webhook_sender import new_secret, wrong_with
from realtime.schema.bodies import ChangeWebhook, CreateWebhook
from realtime.schema.caller import Caller
from storage import audit, webhooks
from storage.database import Database
from storage.errors import Conflict, Invalid, NotFound
from storage.transaction import Command, Tx
from storage.webhooks import Webhook, WebhookCall

T = TypeVar("T")
ADMIN = "admin"


class Webhooks:
    """Webhooks of a tenant, at most ``most``; ``private`` allows addresses of private networks, and no TLS."""

    def __init__(self, database: Database, *, most: int, private: bool) -> None:
        self.database = database
        self.most = most
        self.private = private

    async def create(self, caller: Caller, body: CreateWebhook) -> Webhook:
        """Raises Forbidden, Invalid for an address that can't be called, Conflict where there are enough."""
        self._check(body.url)

        def apply(tx: Tx, actor: Caller) -> Webhook:
            tenant_pk = actor.user.tenant_pk
            if len(webhooks.of_tenant(tx.connection(), tenant_pk, before=None, limit=self.most)) >= self.most:
                raise Conflict(f"A tenant can have at most {self.most} webhooks", code="limit_reached")
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


def existing(tx: Tx, actor: Caller, id: str) -> Webhook:
    """Raises NotFound."""
    found = webhooks.find(tx.connection(), actor.user.tenant_pk, id)
    if found is None:
        raise NotFound
    return found
