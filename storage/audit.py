"""The audit trail: what admins did, written in the transaction that did it, and never changed."""

from dataclasses import dataclass
from typing import Any

import orjson
from sqlalchemy import Connection, Select, delete, insert, or_, select

from storage.accounts import User
from storage.models import audit, users
from storage.transaction import Tx


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """``target`` is the id of what it was done to; ``details`` never hold a secret or a text. No actor: the operator."""

    pk: int
    actor_id: str | None
    action: str
    target: str | None
    details: dict[str, Any]
    at: int


def add(tx: Tx, actor: User, action: str, target: str | None = None, /, **details: Any) -> None:
    row = {"tenant_pk": actor.tenant_pk, "actor_pk": actor.pk or None, "action": action, "target": target, "at": tx.now}
    tx.execute(insert(audit), row | {"details": orjson.dumps(details).decode()})


# What users do to their own accounts, which anybody may try.
OF_ONESELF = or_(audit.c.action.like("login%"), audit.c.action.like("password.%"))


def old(before: int, limit: int) -> Select[tuple[int]]:
    return select(audit.c.pk).where(audit.c.at < before, OF_ONESELF).order_by(audit.c.at).limit(limit)


def sweep(tx: Tx, *, before: int, limit: int = 500) -> bool:
    """Drop some of what users did to their own accounts before a time; whether there may be more."""
    pks = list(tx.execute(old(before, limit)).scalars())
    tx.execute(delete(audit).where(audit.c.pk.in_(pks)))
    return len(pks) == limit


def of_tenant(connection: Connection, tenant_pk: int, *, before: int | None, limit: int) -> list[AuditEntry]:
    """Newest first, with a number below ``before``."""
    columns = (audit.c.pk, users.c.id, audit.c.action, audit.c.target, audit.c.details, audit.c.at)
    statement = select(*columns).outerjoin(users, users.c.pk == audit.c.actor_pk).where(audit.c.tenant_pk == tenant_pk)
    if before is not None:
        statement = statement.where(audit.c.pk < before)
    rows = connection.execute(statement.order_by(audit.c.pk.desc()).limit(limit))
    return [
        AuditEntry(pk, actor, action, target, orjson.loads(details), at)
        for pk, actor, action, target, details, at in rows
    ]
