"""Sanctions: what a user may not do in a chat. They count for members and others, and stay when a member leaves."""

from collections.abc import Collection
from typing import Any, Literal, NamedTuple

from sqlalchemy import Connection, bindparam, delete, insert, literal_column, select

from storage.errors import FOREVER
from storage.models import sanctions, users
from storage.prepared import Prepared, json_list, one_of
from storage.statements import Read
from storage.transaction import Tx
from storage.types import now

Kind = Literal["ban", "silence"]


class Sanction(NamedTuple):
    """``until`` and ``created_at`` in microseconds, ``until`` FOREVER where there is no end."""

    user_pk: int
    user_id: str
    name: str
    until: int
    reason: str | None
    created_at: int


def put(tx: Tx, chat_pk: int, user_pk: int, kind: Kind, *, until: int = FOREVER, reason: str | None = None) -> None:
    """Begin a sanction, or replace the one of this kind."""
    lift(tx, chat_pk, [user_pk], kind)
    values = {"chat_pk": chat_pk, "user_pk": user_pk, "kind": kind, "until": until, "reason": reason}
    tx.execute(insert(sanctions), values | {"created_at": tx.now})


def lift(tx: Tx, chat_pk: int, user_pks: Collection[int], *kinds: Kind) -> bool:
    """End sanctions; whether one of them was still in force."""
    here = sanctions.c.chat_pk == chat_pk, sanctions.c.user_pk.in_(user_pks), sanctions.c.kind.in_(kinds)
    in_force = tx.execute(select(sanctions.c.user_pk).where(*here, sanctions.c.until > tx.now).limit(1)).first()
    tx.execute(delete(sanctions).where(*here))
    return in_force is not None


def of_user(connection: Connection, chat_pk: int, user_pk: int, at: int) -> dict[Kind, int]:
    """When each sanction that is in force ends."""
    here = sanctions.c.chat_pk == chat_pk, sanctions.c.user_pk == user_pk, sanctions.c.until > at
    rows: Any = connection.execute(select(sanctions.c.kind, sanctions.c.until).where(*here))
    return {row.kind: row.until for row in rows}


SILENCES = Prepared(
    select(sanctions.c.chat_pk, sanctions.c.until).where(
        sanctions.c.user_pk == bindparam("user"),
        sanctions.c.kind == literal_column("'silence'"),
        sanctions.c.until > bindparam("at"),
        one_of(sanctions.c.chat_pk, "chats"),
    )
)


def read_of_silences(user_pk: int, chat_pks: Collection[int]) -> Read:
    """When the silences of a user in these chats end that are in force: rows ``(chat_pk, until)``."""
    return SILENCES, {"user": user_pk, "at": now(), "chats": json_list(chat_pks)}


def page(
    connection: Connection, chat_pk: int, kind: Kind, at: int, *, of: int | None = None, after: int = 0, limit: int = 1
) -> list[Sanction]:
    """Those of a chat that are in force, in the order of their users' accounts; or the one ``of`` a user."""
    statement = (
        select(
            sanctions.c.user_pk, users.c.id, users.c.name, sanctions.c.until, sanctions.c.reason, sanctions.c.created_at
        )
        .join(users, users.c.pk == sanctions.c.user_pk)
        .where(sanctions.c.chat_pk == chat_pk, sanctions.c.kind == kind)
        .where(sanctions.c.until > at, sanctions.c.user_pk > after)
    )
    if of is not None:
        statement = statement.where(sanctions.c.user_pk == of)
    return [Sanction(*row) for row in connection.execute(statement.order_by(sanctions.c.user_pk).limit(limit))]
