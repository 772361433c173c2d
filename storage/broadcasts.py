"""Broadcasts: one notification for everybody of a tenant, made user by user in slices."""

from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Connection, bindparam, func, insert, select, update

from storage.models import broadcasts, users
from storage.prepared import Prepared, Update
from storage.statements import Read
from storage.transaction import Tx
from storage.types import new_id


@dataclass(frozen=True, slots=True)
class Broadcast:
    """``cursor`` is the last user who got it, ``last_pk`` the last who is to get it."""

    pk: int
    tenant_pk: int
    id: str
    sender_pk: int
    type: str
    category: str
    title: str
    message: str
    action_url: str | None
    recipients: int
    sent: int
    cursor: int
    last_pk: int
    fingerprint: str
    created_at: int
    done_at: int | None


SELECT = select(*(broadcasts.c[name] for name in Broadcast.__slots__))
BY_PK = Prepared(SELECT.where(broadcasts.c.pk == bindparam("pk")))
SET_SENT = Update(broadcasts, ("pk",), ("cursor", "sent"))


def audience(connection: Connection, tenant_pk: int) -> tuple[int, int]:
    """How many users would be told, and the number of the last of them."""
    here = users.c.tenant_pk == tenant_pk, users.c.status == "active"
    count, last = connection.execute(select(func.count(), func.max(users.c.pk)).where(*here)).one()
    return count, last or 0


def add(tx: Tx, values: dict[str, Any]) -> Broadcast:
    recipients, last_pk = audience(tx.connection(), values["tenant_pk"])
    row = {"id": new_id(), "recipients": recipients, "last_pk": last_pk, "sent": 0, "cursor": 0, "created_at": tx.now}
    primary_key = tx.execute(insert(broadcasts), values | row).inserted_primary_key
    assert primary_key is not None
    return get(tx, primary_key[0])


def get(tx: Tx, pk: int) -> Broadcast:
    found = Broadcast(*tx.first(BY_PK, {"pk": pk}))
    waiting = tx.waiting_update(SET_SENT, (pk,))
    return found if waiting is None else replace(found, cursor=waiting[0], sent=waiting[1])


def reads_of_get(pk: int) -> list[Read]:
    """The queries of ``get``."""
    return [(BY_PK, {"pk": pk})]


def by_key(connection: Connection, sender_pk: int, key: str) -> Broadcast | None:
    """What the sender made under an idempotency key."""
    row = connection.execute(SELECT.where(broadcasts.c.sender_pk == sender_pk, broadcasts.c.client_key == key)).first()
    return Broadcast(*row) if row else None


def of_tenant(connection: Connection, tenant_pk: int, *, before: int | None, limit: int) -> list[Broadcast]:
    """Newest first, with a number below ``before``."""
    statement = SELECT.where(broadcasts.c.tenant_pk == tenant_pk)
    if before is not None:
        statement = statement.where(broadcasts.c.pk < before)
    return [Broadcast(*row) for row in connection.execute(statement.order_by(broadcasts.c.pk.desc()).limit(limit))]


def unfinished(connection: Connection) -> list[Broadcast]:
    return [Broadcast(*row) for row in connection.execute(SELECT.where(broadcasts.c.done_at.is_(None)))]


def next_users(connection: Connection, item: Broadcast, most: int) -> list[int]:
    """The numbers of those who come next."""
    statement = (
        select(users.c.pk)
        .where(users.c.tenant_pk == item.tenant_pk, users.c.status == "active")
        .where(users.c.pk > item.cursor, users.c.pk <= item.last_pk)
    )
    return list(connection.execute(statement.order_by(users.c.pk).limit(most)).scalars())


def advance(tx: Tx, item: Broadcast, cursor: int, recipients: int) -> None:
    """Record that users up to and including ``cursor`` were processed, and ``recipients`` more notifications made."""
    tx.update_later(SET_SENT, (item.pk,), (cursor, item.sent + recipients))


def finish(tx: Tx, item: Broadcast) -> None:
    tx.execute(update(broadcasts).where(broadcasts.c.pk == item.pk).values(done_at=tx.now))
