"""Reports of messages, for the tenant's admins."""

from typing import Any

from sqlalchemy import Connection, insert, select

from storage.models import reports, users
from storage.transaction import Tx


def add(tx: Tx, *, tenant_pk: int, reporter_pk: int, message_id: str, reason: str) -> bool:
    """Keep a report; False if the reporter made one of this message already."""
    already = select(reports.c.pk).where(reports.c.reporter_pk == reporter_pk, reports.c.message_id == message_id)
    if tx.execute(already).first():
        return False
    values = {"tenant_pk": tenant_pk, "reporter_pk": reporter_pk, "message_id": message_id, "reason": reason}
    tx.execute(insert(reports), values | {"created_at": tx.now})
    return True


def of_tenant(connection: Connection, tenant_pk: int, *, before: int | None, limit: int) -> list[Any]:
    """``(pk, message_id, reason, created_at, reporter_id)``, newest first."""
    statement = (
        select(reports.c.pk, reports.c.message_id, reports.c.reason, reports.c.created_at, users.c.id)
        .join(users, users.c.pk == reports.c.reporter_pk)
        .where(reports.c.tenant_pk == tenant_pk)
    )
    if before is not None:
        statement = statement.where(reports.c.pk < before)
    return list(connection.execute(statement.order_by(reports.c.pk.desc()).limit(limit)))
