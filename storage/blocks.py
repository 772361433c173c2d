"""Whom a user blocks."""

from collections.abc import Collection

from sqlalchemy import Connection, delete, insert, select

from storage.accounts import SELECT, User, read_user
from storage.models import blocks, users
from storage.transaction import Tx


def add(tx: Tx, user_pk: int, blocked_pk: int) -> bool:
    """Whether it is new."""
    if is_blocked(tx.connection(), user_pk, blocked_pk):
        return False
    tx.execute(insert(blocks), {"user_pk": user_pk, "blocked_pk": blocked_pk, "created_at": tx.now})
    return True


def remove(tx: Tx, user_pk: int, blocked_pk: int) -> bool:
    found = tx.execute(delete(blocks).where(blocks.c.user_pk == user_pk, blocks.c.blocked_pk == blocked_pk))
    return found.rowcount > 0


def is_blocked(connection: Connection, user_pk: int, blocked_pk: int) -> bool:
    statement = select(blocks.c.user_pk).where(blocks.c.user_pk == user_pk, blocks.c.blocked_pk == blocked_pk)
    return connection.execute(statement).first() is not None


def any_block(connection: Connection, user_pks: Collection[int], blocked_pk: int) -> bool:
    """Whether one of these users blocks another."""
    statement = select(blocks.c.user_pk).where(blocks.c.user_pk.in_(user_pks), blocks.c.blocked_pk == blocked_pk)
    return connection.execute(statement.limit(1)).first() is not None


def of_user(connection: Connection, user_pk: int, *, after: int, limit: int) -> list[User]:
    statement = SELECT.join(blocks, blocks.c.blocked_pk == users.c.pk).where(
        blocks.c.user_pk == user_pk, users.c.pk > after
    )
    return [read_user(row) for row in connection.execute(statement.order_by(users.c.pk).limit(limit))]
