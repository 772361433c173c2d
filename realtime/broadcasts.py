"""Broadcasts: a notification of an admin to every user of the tenant."""

import logging

from realtime import idempotency
from realtime.notifications import Draft, NotificationPlan, keep, reads_of_keep
from realtime.schema.bodies import SendBroadcast
from realtime.schema.caller import Caller
from realtime.templates import Filled
from storage import accounts, audit, broadcasts
from storage.accounts import User
from storage.broadcasts import Broadcast
from storage.database import Database
from storage.errors import Unavailable
from storage.statements import Read
from storage.transaction import Command, Tx
from storage.types import Ref, new_id

logger = logging.getLogger("bellwire")

ADMIN = "admin"
# Users notified in one transaction, so that no other write waits long.
SLICE = 25


class Broadcasts:
    """``await work()`` every now and then, in any number of processes: each slice goes on from where the last one ended."""

    def __init__(self, database: Database) -> None:
        self.database = database

    async def audience(self, caller: Caller) -> int:
        """How many users would be notified now."""
        caller.require(ADMIN)
        return (await self.database.read(lambda it: broadcasts.audience(it, caller.user.tenant_pk)))[0]

    async def send(self, caller: Caller, body: SendBroadcast) -> Broadcast:
        """Every user who is active now is notified once. The same key again gives the same broadcast.

        Raises Forbidden, Conflict for another text under the same key.
        """
        wanted = (body.type, body.category, body.title, body.message, body.actionUrl)
        fingerprint = idempotency.fingerprint(wanted)
        key = body.clientMessageId

        def apply(tx: Tx) -> Broadcast:
            actor = caller.fresh(tx)
            actor.require(ADMIN)
            first = broadcasts.by_key(tx.connection(), actor.pk, key) if key else None
            if first:
                idempotency.require_same(first.fingerprint, fingerprint)
                return first
            values = dict(zip(("type", "category", "title", "message", "action_url"), wanted, strict=True))
            names = {"tenant_pk": actor.user.tenant_pk, "sender_pk": actor.pk, "client_key": key}
            made = broadcasts.add(tx, values | names | {"fingerprint": fingerprint})
            audit.add(tx, actor.user, "broadcast.send", made.id, recipients=made.recipients)
            return made

        keys = [f"broadcast:{caller.pk}:{key}"] if key else []
        return await self.database.write(Command(apply, keys=keys))

    async def page(self, caller: Caller, *, before: int | None, limit: int) -> list[Broadcast]:
        caller.require(ADMIN)
        tenant_pk = caller.user.tenant_pk
        return await self.database.read(lambda it: broadcasts.of_tenant(it, tenant_pk, before=before, limit=limit))

    async def work(self) -> None:
        """Notify the next users of each broadcast, until all were notified."""
        failed: set[int] = set()
        while pending := [each for each in await self.database.read(broadcasts.unfinished) if each.pk not in failed]:
            for item in pending:
                try:
                    await self._slice(item)
                except Unavailable:
                    return
                except Exception:
                    logger.exception("broadcast %s failed; retrying later", item.id)
                    failed.add(item.pk)

    async def _slice(self, item: Broadcast) -> None:
        pks = await self.database.read(lambda connection: broadcasts.next_users(connection, item, SLICE))
        draft = Draft(Ref("id", ""), type=item.type, category=item.category, action_url=item.action_url)
        # Of the notifications, by user.
        ids = {pk: new_id() for pk in pks}

        def apply(tx: Tx) -> None:
            if broadcasts.get(tx, item.pk) != item:
                # Another process has notified these.
                return
            if not pks:
                broadcasts.finish(tx, item)
                return
            sender = accounts.get(tx, item.sender_pk)
            active = [each for each in (accounts.get(tx, pk) for pk in pks) if each.status == "active"]
            for each in active:
                keep(tx, sender, draft, planned(each, sender))
            broadcasts.advance(tx, item, pks[-1], len(active))

        def planned(recipient: User, sender: User) -> NotificationPlan:
            texts = Filled(item.category, item.title, item.message)
            id = ids[recipient.pk]
            return NotificationPlan(id, recipient, sender, texts, item.action_url is not None, item.fingerprint)

        def reads() -> list[Read]:
            users = [each for pk in (item.sender_pk, *pks) for each in accounts.reads_of_get(pk)]
            numbers = [each for id in ids.values() for each in reads_of_keep(id)]
            return [*broadcasts.reads_of_get(item.pk), *users, *numbers]

        keys = [f"broadcasting:{item.pk}"]
        await self.database.write(Command(apply, channels=pks, keys=keys, reads=reads))
