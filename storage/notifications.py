"""Notifications: one row, whatever dialect it came in."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

import orjson
from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    Select,
    String,
    and_,
    bindparam,
    func,
    select,
    update,
)
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

from storage.accounts import User
from storage.fetch import fetch_one
from storage.models import notifications, tenants, users
from storage.prepared import Bulk, Prepared, Update, padded
from storage.statements import Read
from storage.transaction import Tx, first
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

    @classmethod
    def of(cls, user: User) -> "Party":
        return cls(user.pk, user.id, user.number, user.uuid, user.email)


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
# A notification of a tenant, by the kind of name.
FIND = {
    kind: Prepared(
        SELECT.where(
            notifications.c.tenant_pk == bindparam("tenant"),
            notifications.c["pk" if kind == "number" else kind] == bindparam("value"),
            notifications.c.deleted_at.is_(None),
        )
    )
    for kind in ("id", "uuid", "number")
}
BY_KEY = Prepared(
    SELECT.where(notifications.c.creator_pk == bindparam("creator"), notifications.c.client_key == bindparam("key"))
)
COLUMNS = (*(name for name in OWN if name != "deleted_at"), "tenant_pk", "recipient_pk", "sender_pk", "client_key")
ADD = Bulk(notifications, COLUMNS)
SET_READ = Update(notifications, ("pk",), ("read_at", "updated_at"))
EMPTY: dict[str, Any] = {
    "title": None, "message": None, "metadata": {}, "action_url": None, "actionable": False, "entity_type": None,
    "entity_id": None,
}  # fmt: skip
SET_EMPTY = Update(notifications, ("pk",), (*EMPTY, "updated_at", "deleted_at"))


class NextNumber(FunctionElement[int]):
    """The number of a new notification."""

    type = BigInteger()
    inherit_cache = True


@compiles(NextNumber, "postgresql")
def next_on_postgres(*_: Any, **__: Any) -> str:
    return "nextval(pg_get_serial_sequence('notifications', 'pk'))"


@compiles(NextNumber, "sqlite")
def next_on_sqlite(*_: Any, **__: Any) -> str:
    return "(SELECT COALESCE(MAX(seq), 0) + 1 FROM sqlite_sequence WHERE name = 'notifications')"


# By the notification's id, so that each has one of its own.
NEXT_NUMBER = Prepared(select(NextNumber()).where(bindparam("id", type_=String).is_not(None)))


def read_notification(row: Any) -> Notification:
    own = dict(zip(OWN, row, strict=False))
    own |= {"metadata": orjson.loads(own["metadata"]), "actionable": bool(own["actionable"])}
    tenant, *parties = row[len(OWN) :]
    recipient, sender = Party(*parties[: len(PARTY)]), Party(*parties[len(PARTY) :])
    return Notification(**own, tenant=tenant, recipient=recipient, sender=sender)


def next_number(tx: Tx, id: str) -> int:
    """Of a new notification with this id."""
    question = "notification number"
    number: int = max(tx.first(NEXT_NUMBER, {"id": id})[0], tx.pending(question, 0) + 1)
    tx.set_pending(question, number)
    return number


def reads_of_number(id: str) -> list[Read]:
    """The queries of ``next_number``."""
    return [(NEXT_NUMBER, {"id": id})]


def add(tx: Tx, item: Notification, *, tenant_pk: int, client_key: str | None) -> None:
    values = {name: getattr(item, name) for name in OWN} | {
        "metadata": orjson.dumps(item.metadata).decode(),
        "tenant_pk": tenant_pk,
        "recipient_pk": item.recipient.pk,
        "sender_pk": item.sender.pk,
        "client_key": client_key,
    }
    tx.later(ADD, tuple(values[name] for name in COLUMNS))
    tx.set_pending(("notification", item.creator_pk, client_key), item.pk)
    tx.set_pending(("notification", item.pk), item)


def find(source: Tx | Connection, tenant_pk: int, ref: Ref) -> Notification | None:
    """A notification of a tenant. A transaction must hold its recipient."""
    row = first(source, FIND[ref.kind], {"tenant": tenant_pk, "value": ref.value})
    if row is None:
        return None
    item = read_notification(row)
    if isinstance(source, Tx):
        item = source.pending(("notification", item.pk), item)
    return None if item.deleted_at is not None else item


def reads_of_find(tenant_pk: int, ref: Ref) -> list[Read]:
    """The queries of ``find``."""
    return [(FIND[ref.kind], {"tenant": tenant_pk, "value": ref.value})]


def by_key(source: Tx | Connection, creator_pk: int, key: str) -> Notification | None:
    """What the creator made under an idempotency key."""
    if isinstance(source, Tx):
        pk = source.pending(("notification", creator_pk, key), None)
        if pk is not None:
            return source.pending(("notification", pk), None)
    row = first(source, BY_KEY, {"creator": creator_pk, "key": key})
    if row is None:
        return None
    item = read_notification(row)
    return source.pending(("notification", item.pk), item) if isinstance(source, Tx) else item


def reads_of_key(creator_pk: int, key: str) -> list[Read]:
    """The queries of ``by_key``."""
    return [(BY_KEY, {"creator": creator_pk, "key": key})]


def by_pks(connection: Connection, pks: Collection[int]) -> dict[int, Notification]:
    """By their numbers."""
    rows = connection.execute(SELECT.where(notifications.c.pk.in_(padded(pks)))) if pks else ()
    return {each.pk: each for each in map(read_notification, rows)}


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


COUNT_UNREAD = Prepared(
    select(func.count()).select_from(notifications).where(notifications.c.recipient_pk == bindparam("user"), UNREAD)
)


def unread(connection: Connection, user_pk: int) -> int:
    return int(fetch_one(connection, COUNT_UNREAD, {"user": user_pk})[0][0])


def mark_read(tx: Tx, item: Notification) -> Notification:
    """As it is then."""
    changed = replace(item, read_at=tx.now, updated_at=tx.now)
    tx.update_later(SET_READ, (item.pk,), (tx.now, tx.now))
    tx.set_pending(("notification", item.pk), changed)
    return changed


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


def delete(tx: Tx, item: Notification) -> Notification:
    """Empty it; the tombstone, which holds the idempotency key."""
    gone = replace(item, **EMPTY, updated_at=tx.now, deleted_at=tx.now)
    stored = (*(EMPTY | {"metadata": "{}"}).values(), tx.now, tx.now)
    tx.update_later(SET_EMPTY, (item.pk,), stored)
    tx.set_pending(("notification", item.pk), gone)
    return gone
