"""Reports of messages for the tenant's admins, made by users and by word lists."""

from collections.abc import Collection
from typing import Any, Literal, NamedTuple

from sqlalchemy import Connection, func, insert, select, update

from storage.fetch import fetch_one
from storage.models import chats, messages, reports, users
from storage.prepared import Prepared, json_list, one_of
from storage.transaction import Tx

State = Literal["open", "actioned", "dismissed"]
Action = Literal["none", "delete", "silence", "ban"]


class Report(NamedTuple):
    """``reporter`` is an id and a name, None for a report by a word list; ``resolved_at`` in microseconds."""

    pk: int
    message_id: str
    reason: str
    created_at: int
    state: State
    action: Action | None
    resolved_at: int | None
    reporter: tuple[str, str] | None


SELECT = select(
    reports.c.pk,
    reports.c.message_id,
    reports.c.reason,
    reports.c.created_at,
    reports.c.state,
    reports.c.action,
    reports.c.resolved_at,
    users.c.id,
    users.c.name,
).outerjoin(users, users.c.pk == reports.c.reporter_pk)


def add(tx: Tx, *, tenant_pk: int, reporter_pk: int | None, message_id: str, reason: str) -> Report | None:
    """Store a report.

    None if the reporter has reported the message before, or, without a reporter, if a report by a word list is open.
    """
    same = select(reports.c.pk).where(reports.c.message_id == message_id)
    if reporter_pk is None:
        same = same.where(reports.c.reporter_pk.is_(None), reports.c.state == "open")
    else:
        same = same.where(reports.c.reporter_pk == reporter_pk)
    if tx.execute(same).first():
        return None
    values = {"tenant_pk": tenant_pk, "reporter_pk": reporter_pk, "message_id": message_id, "reason": reason}
    primary_key: Any = tx.execute(insert(reports), values | {"created_at": tx.now}).inserted_primary_key
    return find(tx.connection(), tenant_pk, int(primary_key[0]))


def find(connection: Connection, tenant_pk: int, pk: int) -> Report | None:
    row = connection.execute(SELECT.where(reports.c.tenant_pk == tenant_pk, reports.c.pk == pk)).first()
    return None if row is None else read(row)


def of_tenant(
    connection: Connection, tenant_pk: int, *, state: State | None, before: int | None, limit: int
) -> list[Report]:
    """Newest first."""
    statement = SELECT.where(reports.c.tenant_pk == tenant_pk)
    if state is not None:
        statement = statement.where(reports.c.state == state)
    if before is not None:
        statement = statement.where(reports.c.pk < before)
    return [read(row) for row in connection.execute(statement.order_by(reports.c.pk.desc()).limit(limit))]


def read(row: Any) -> Report:
    pk, message_id, reason, created_at, state, action, resolved_at, reporter_id, name = row
    reporter = None if reporter_id is None else (reporter_id, name)
    return Report(pk, message_id, reason, created_at, state, action, resolved_at, reporter)


COUNTS = Prepared(
    select(reports.c.message_id, func.count(reports.c.reporter_pk))
    .where(one_of(reports.c.message_id, "ids"))
    .group_by(reports.c.message_id)
)
PLACES = Prepared(
    select(messages.c.id, messages.c.chat_pk, messages.c.seq)
    .join(chats, chats.c.pk == messages.c.chat_pk)
    .where(one_of(messages.c.id, "ids"), chats.c.deleted_at.is_(None))
)


def counts(connection: Connection, message_ids: Collection[str]) -> dict[str, int]:
    """How many users reported each of these messages."""
    return dict(fetch_one(connection, COUNTS, {"ids": json_list(set(message_ids))}))


def places(connection: Connection, message_ids: Collection[str]) -> dict[str, tuple[int, int]]:
    """Where these messages are; those of deleted chats are left out."""
    rows = fetch_one(connection, PLACES, {"ids": json_list(set(message_ids))})
    return {id: (chat_pk, seq) for id, chat_pk, seq in rows}


def resolve(tx: Tx, message_id: str, state: State, action: Action) -> None:
    """Close all open reports of a message."""
    open_ones = reports.c.message_id == message_id, reports.c.state == "open"
    values = {"state": state, "action": action, "resolved_at": tx.now}
    tx.execute(update(reports).where(*open_ones).values(**values))
