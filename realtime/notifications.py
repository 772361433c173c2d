"""Notifications: send, list, read, delete. A dialect says what is wanted, and how the answer is written."""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from sqlalchemy import Connection

from realtime import idempotency
from realtime.schema import documents, shapes
from realtime.schema.caller import Caller
from realtime.schema.limits import Limits
from realtime.templates import Filled, existing, fill, require_tenant
from storage import accounts, log, notifications, outbox
from storage.accounts import User
from storage.database import Database
from storage.errors import Forbidden, NotFound
from storage.notifications import Filter, Notification, Party
from storage.statements import Read
from storage.transaction import Command, Tx
from storage.types import Ref, iso_time, new_id

SEND, SEND_OWN = "notifications.send", "notifications.send.own"


@dataclass(frozen=True, slots=True)
class Draft:
    """A notification that is wanted: the one command that every dialect reads its bodies into.

    ``recipient`` and ``sender`` are one of a user's three names; the sender is the caller if absent. With a
    ``template_key`` category, title and message come from the template, filled with ``placeholders``.
    """

    recipient: Ref
    sender: Ref | None = None
    type: str = "info"
    category: str = "general"
    title: str = ""
    message: str = ""
    metadata: Mapping[str, Any] = field(default_factory=dict)
    action_url: str | None = None
    active: bool = True
    tenant: str | None = None
    template_key: str | None = None
    placeholders: Mapping[str, Any] = field(default_factory=dict)
    entity_type: str | None = None
    entity_id: str | None = None
    client_key: str | None = None


class NotificationPlan(NamedTuple):
    """A draft whose names were looked up and whose template was filled; ``id`` is that of the notification."""

    id: str
    recipient: User
    sender: User
    texts: Filled
    actionable: bool
    fingerprint: str


class Notifications:
    def __init__(self, database: Database, limits: Limits) -> None:
        self.database = database
        self.limits = limits

    async def send(self, caller: Caller, draft: Draft) -> Notification:
        """Store a notification and append its event; the same key again gives the first answer.

        Raises Forbidden, NotFound for a user, template or tenant that is not the caller's, Invalid for placeholders
        that do not fit, Conflict for another draft under the same key.
        """
        found = await self.database.read(lambda connection: self._plan(connection, caller, draft))
        if isinstance(found, Notification):
            return found
        keys = [] if draft.client_key is None else [f"notification:{caller.pk}:{draft.client_key}"]
        command = Command(
            lambda tx: add(tx, caller, draft, found),
            channels=[found.recipient.pk],
            keys=keys,
            reads=lambda: reads_of_add(caller, draft, found),
        )
        return await self.database.write(command)

    def _plan(self, connection: Connection, caller: Caller, draft: Draft) -> NotificationPlan | Notification:
        tenant_pk = caller.user.tenant_pk
        recipient = accounts.by_ref(connection, tenant_pk, draft.recipient)
        sender = accounts.by_ref(connection, tenant_pk, draft.sender) if draft.sender else caller.user
        if recipient is None or sender is None:
            raise NotFound
        require_sending(caller, sender)
        if draft.tenant is not None:
            require_tenant(caller, draft.tenant)
        fingerprint = fingerprint_of(draft, recipient, sender)
        first = first_answer(connection, caller, draft.client_key, fingerprint)
        if first:
            return first
        if draft.template_key is None:
            texts = Filled(draft.category, draft.title, draft.message)
            return NotificationPlan(new_id(), recipient, sender, texts, draft.action_url is not None, fingerprint)
        template = existing(connection, caller, draft.template_key)
        texts = fill(template, draft.placeholders, recipient.locale, self.limits)
        return NotificationPlan(new_id(), recipient, sender, texts, template.actionable, fingerprint)

    async def users(self, caller: Caller, refs: list[Ref]) -> list[bool]:
        """Whether the caller's tenant has each of these users."""

        def look(connection: Connection) -> list[bool]:
            tenant_pk = caller.user.tenant_pk
            return [accounts.by_ref(connection, tenant_pk, each) is not None for each in refs]

        return await self.database.read(look)

    async def box(self, caller: Caller, filter: Filter, *, before: int | None, limit: int) -> list[Notification]:
        """What the caller got, or sent, newest first."""
        return await self.database.read(
            lambda connection: notifications.box(connection, caller.pk, filter, before=before, limit=limit)
        )

    async def unread(self, caller: Caller) -> int:
        return await self.database.read(lambda connection: notifications.unread(connection, caller.pk))

    async def get(self, caller: Caller, ref: Ref) -> Notification:
        """One that the caller got or sent, by any of its names. Raises NotFound."""
        return await self.database.read(lambda connection: visible(connection, caller, ref))

    async def read(self, caller: Caller, ref: Ref) -> Notification:
        """Mark one read. Raises NotFound, and Forbidden for its sender."""

        def apply(tx: Tx) -> Notification:
            item = visible(tx, caller.fresh(tx), ref)
            if item.recipient.pk != caller.pk:
                raise Forbidden
            if item.read_at is not None:
                return item
            item = notifications.mark_read(tx, item)
            if item.seq is not None:
                # One that is inactive, and sent to its sender, had no event.
                document: shapes.NotificationsReadDocument = {"ids": [item.id]}
                log.append(tx, caller.pk, "notification:read", document)
                outbox.promise_badge(tx, caller.pk, exclude_device=caller.device)
            return item

        def reads() -> list[Read]:
            return [
                *caller.reads_of_fresh(),
                *notifications.reads_of_find(caller.user.tenant_pk, ref),
                *outbox.reads_of_badge(caller.pk, exclude_device=caller.device),
            ]

        return await self.database.write(Command(apply, channels=[caller.pk], reads=reads))

    async def read_all(self, caller: Caller) -> int:
        """Mark all read, in slices; how many were not."""

        def apply(tx: Tx) -> tuple[int, int | None]:
            count, last = notifications.mark_some_read(tx, caller.fresh(tx).pk)
            if count:
                before = iso_time(tx.now if last is None else last)
                document: shapes.NotificationsReadDocument = {"all": True, "before": before}
                log.append(tx, caller.pk, "notification:read", document)
                outbox.promise_badge(tx, caller.pk, exclude_device=caller.device)
            return count, last

        total, more = 0, True
        while more:
            count, last = await self.database.write(Command(apply, channels=[caller.pk]))
            total, more = total + count, last is not None
        return total

    async def delete(self, caller: Caller, ref: Ref) -> Notification:
        """Its recipient or its sender deletes it, for both; the tombstone. Raises NotFound."""
        place = await self.get(caller, ref)

        def apply(tx: Tx) -> Notification:
            item = visible(tx, caller.fresh(tx), ref)
            gone = notifications.delete(tx, item)
            if item.seq is not None:
                document = documents.notification(gone)
                log.rewrite(tx, item.recipient.pk, [item.seq], document)
                log.append(tx, item.recipient.pk, "notification:deleted", document)
                if item.read_at is None:
                    own = caller.device if caller.pk == item.recipient.pk else None
                    outbox.promise_badge(tx, item.recipient.pk, exclude_device=own)
            return gone

        def reads() -> list[Read]:
            return [
                *caller.reads_of_fresh(),
                *notifications.reads_of_find(caller.user.tenant_pk, ref),
                *outbox.reads_of_badge(place.recipient.pk, exclude_device=caller.device),
            ]

        return await self.database.write(Command(apply, channels=[place.recipient.pk], reads=reads))


def require_sending(caller: Caller, sender: User) -> None:
    """Raises Forbidden unless the caller may send as ``sender``."""
    if not caller.may(SEND) and not (caller.may(SEND_OWN) and sender.pk == caller.pk):
        raise Forbidden


def add(tx: Tx, caller: Caller, draft: Draft, plan: NotificationPlan) -> Notification:
    """The first answer under a key, or a new notification."""
    require_sending(caller.fresh(tx), plan.sender)
    first = first_answer(tx, caller, draft.client_key, plan.fingerprint)
    if first:
        return first
    if accounts.get(tx, plan.recipient.pk).status == "deleted":
        raise NotFound
    return keep(tx, caller.user, draft, plan)


def reads_of_add(caller: Caller, draft: Draft, plan: NotificationPlan) -> list[Read]:
    """The queries of ``add``."""
    reads = [*caller.reads_of_fresh(), *accounts.reads_of_get(plan.recipient.pk), *reads_of_keep(plan.id)]
    if draft.client_key is not None:
        reads += notifications.reads_of_key(caller.pk, draft.client_key)
    return reads


def keep(tx: Tx, creator: User, draft: Draft, plan: NotificationPlan) -> Notification:
    """Store it as the creator's, and append its event to the recipient's channel, which is locked, unless it is inactive."""
    seq, channel = tx.next_seq(plan.recipient.pk) if draft.active else (None, "")
    item = Notification(
        pk=notifications.next_number(tx, plan.id),
        id=plan.id,
        uuid=str(uuid.uuid4()),
        tenant=plan.recipient.tenant,
        recipient=Party.of(plan.recipient),
        sender=Party.of(plan.sender),
        creator_pk=creator.pk,
        type=draft.type,
        category=plan.texts.category,
        title=plan.texts.title,
        message=plan.texts.message,
        metadata=draft.metadata,
        action_url=draft.action_url,
        actionable=plan.actionable,
        template_key=draft.template_key,
        entity_type=draft.entity_type,
        entity_id=draft.entity_id,
        seq=seq,
        fingerprint=plan.fingerprint,
        created_at=tx.now,
        updated_at=tx.now,
        read_at=None,
        deleted_at=None,
    )
    notifications.add(tx, item, tenant_pk=creator.tenant_pk, client_key=draft.client_key)
    if seq is not None:
        log.write(tx, plan.recipient.pk, channel, seq, "notification:new", documents.notification(item))
        outbox.promise(tx, "notification", plan.recipient.pk, seq, ref_pk=item.pk)
    return item


def reads_of_keep(id: str) -> list[Read]:
    """The queries of ``keep`` for a notification of this id."""
    return [*notifications.reads_of_number(id), *outbox.reads_of_promise()]


def first_answer(source: Tx | Connection, caller: Caller, key: str | None, fingerprint: str) -> Notification | None:
    """The first response under a key: it was unread then. Its tombstone if it was deleted.

    Raises Conflict if that call wanted something else.
    """
    found = None if key is None else notifications.by_key(source, caller.pk, key)
    if found is None:
        return None
    idempotency.require_same(found.fingerprint, fingerprint)
    return found if found.deleted_at is not None else replace(found, read_at=None, updated_at=found.created_at)


def visible(source: Tx | Connection, caller: Caller, ref: Ref) -> Notification:
    """One that the caller got or sent. Raises NotFound, for foreign as for absent."""
    item = notifications.find(source, caller.user.tenant_pk, ref)
    mine = item is not None and (item.sender.pk == caller.pk or (item.recipient.pk == caller.pk and item.active))
    if item is None or not mine:
        raise NotFound
    return item


def fingerprint_of(draft: Draft, recipient: User, sender: User) -> str:
    """What makes two drafts the same, whichever dialect they came in."""
    command = (
        recipient.pk, sender.pk, draft.type, draft.category, draft.title, draft.message, draft.metadata,
        draft.action_url, draft.active, draft.template_key, draft.placeholders, draft.entity_type, draft.entity_id,
    )  # fmt: skip
    return idempotency.fingerprint(command)
