"""Notifications: one row, whatever dialect it came in."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import orjson
from sqlalchemy import ColumnElement, Connection, Select, and_, func, insert, select, update

from storage.models import notifications, tenants, users
from storage.transaction import Tx
from storage.types import Ref

recipients, senders = users.alias("recipients"), users.alias("senders")
SHOWN = and_(notifications.c.seq.is_not(None), notifications.c.deleted_at.is_(None))
UNREAD = and_(SHOWN, notifications.c.read_at.is_(None))
READ_AT_ONCE = 1000


@dataclass(frozen=True, slots=True)
class Party:
    """The recipient or the sender, as a notification names them."""

    pk: int
    id: str
    number: int
    uuid: str
    email: str | None


@dataclass(frozen=True, slots=True)
class Notification:
    """``pk`` is its integer name too. One that was deleted keeps its ids and times, and nothing else."""

    pk: int
    id: str
    uuid: str
    tenant: str
    recipient: Party
    sender: Party
    creator_pk: int
    type: str
    category: str
    title: str | None
    message: str | None
    metadata: Mapping[str, Any]
    action_url: str | None
    actionable: bool
    template_key: str | None
    entity_type: str | None
    entity_id: str | None
    seq: int | None
    fingerprint: str | None
    created_at: int
    updated_at: int
    read_at: int | None
    deleted_at: int | None

    @property
    def active(self) -> bool:
        """Whether its recipient sees it."""
        return self.seq is not None


@dataclass(frozen=True, slots=True)
class Filter:
    """Which notifications of a box. ``types`` and ``but_types`` name those wanted and those not."""

    sent: bool = False
    unread: bool = False
    types: Collection[str] = ()
    but_types: Collection[str] = ()
    category: str | None = None


PARTY = ("pk", "id", "number", "uuid", "email")
OWN = [each for each in Notification.__slots__ if each not in ("tenant", "recipient", "sender")]
SELECT = (
    select(
        *(notifications.c[name] for name in OWN),
        tenants.c.uuid.label("tenant"),
        *(recipients.c[name].label(f"recipient_{name}_") for name in PARTY),
        *(senders.c[name].label(f"sender_{name}_") for name in PARTY),
    )
    .join(tenants, tenants.c.pk == notifications.c.tenant_pk)
    .join(recipients, recipients.c.pk == notifications.c.recipient_pk)
    .join(senders, senders.c.pk == notifications.c.sender_pk)
)


def read_notification(row: Any) -> Notification:
    values = row._mapping
    own = {name: values[name] for name in OWN} | {"metadata": orjson.loads(values["metadata"])}
    recipient, sender = (Party(*(values[f"{role}_{name}_"] for name in PARTY)) for role in ("recipient", "sender"))
    return Notification(**own, tenant=values["tenant"], recipient=recipient, sender=sender)


def add(tx: Tx, values: Mapping[str, Any]) -> int:
    """Keep a notification of these columns; its number."""
    row = {**values, "metadata": orjson.dumps(values["metadata"]).decode()}
    primary_key = tx.execute(
        insert(notifications), row | {"created_at": tx.now, "updated_at": tx.now}
    ).inserted_primary_key
    assert primary_key is not None
    return int(primary_key[0])


def get(connection: Connection, pk: int) -> Notification:
    return read_notification(connection.execute(SELECT.where(notifications.c.pk == pk)).one())


def find(connection: Connection, tenant_pk: int, ref: Ref) -> Notification | None:
    """A notification of a tenant."""
    column = notifications.c["pk" if ref.kind == "number" else ref.kind]
    row = connection.execute(
        SELECT.where(notifications.c.tenant_pk == tenant_pk, column == ref.value, notifications.c.deleted_at.is_(None))
    ).first()
    return read_notification(row) if row else None


def by_key(connection: Connection, creator_pk: int, key: str) -> Notification | None:
    """What the creator made under an idempotency key."""
    row = connection.execute(
        SELECT.where(notifications.c.creator_pk == creator_pk, notifications.c.client_key == key)
    ).first()
    return read_notification(row) if row else None


def box(connection: Connection, user_pk: int, wanted: Filter, *, before: int | None, limit: int) -> list[Notification]:
    """Up to ``limit`` of what a user got, or sent, newest first, with a number below ``before``."""
    statement: Select[Any] = SELECT.where(*conditions(user_pk, wanted))
    if before is not None:
        statement = statement.where(notifications.c.pk < before)
    rows = connection.execute(statement.order_by(notifications.c.pk.desc()).limit(limit))
    return [read_notification(row) for row in rows]


def conditions(user_pk: int, wanted: Filter) -> list[ColumnElement[bool]]:
    column = notifications.c
    found: list[ColumnElement[bool]] = (
        [column.sender_pk == user_pk, column.deleted_at.is_(None)]
        if wanted.sent
        else [column.recipient_pk == user_pk, SHOWN]
    )
    if wanted.unread:
        found.append(column.read_at.is_(None) if wanted.sent else UNREAD)
    if wanted.types:
        found.append(column.type.in_(wanted.types))
    if wanted.but_types:
        found.append(column.type.not_in(wanted.but_types))
    if wanted.category is not None:
        found.append(column.category == wanted.category)
    return found


def unread(connection: Connection, user_pk: int) -> int:
    statement = select(func.count()).select_from(notifications).where(notifications.c.recipient_pk == user_pk, UNREAD)
    return int(connection.execute(statement).scalar_one())


def mark_read(tx: Tx, pk: int) -> None:
    tx.execute(update(notifications).where(notifications.c.pk == pk).values(read_at=tx.now, updated_at=tx.now))


def mark_some_read(tx: Tx, user_pk: int) -> tuple[int, int | None]:
    """Mark the oldest unread of a user; how many, and the time of the last of them if there may be more."""
    mine = select(notifications.c.pk).where(notifications.c.recipient_pk == user_pk, UNREAD)
    pks = list(tx.execute(mine.order_by(notifications.c.pk).limit(READ_AT_ONCE)).scalars())
    if not pks:
        return 0, None
    here = and_(notifications.c.recipient_pk == user_pk, notifications.c.pk <= pks[-1], UNREAD)
    tx.execute(update(notifications).where(here).values(read_at=tx.now, updated_at=tx.now))
    if len(pks) < READ_AT_ONCE:
        return len(pks), None
    last: int = tx.execute(select(notifications.c.created_at).where(notifications.c.pk == pks[-1])).scalar_one()
    return len(pks), last


def delete(tx: Tx, pk: int) -> Notification:
    """Empty it; the tombstone, which holds the idempotency key."""
    gone = {"title": None, "message": None, "metadata": "{}", "action_url": None, "entity_type": None}
    tx.execute(
        update(notifications)
        .where(notifications.c.pk == pk)
        .values(**gone, entity_id=None, actionable=False, updated_at=tx.now, deleted_at=tx.now)
    )
    return get(tx.connection(), pk)
