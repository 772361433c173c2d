"""The pictures that users uploaded of themselves."""

from typing import NamedTuple

from sqlalchemy import Connection, delete, insert, select

from storage.models import avatars, users
from storage.transaction import Tx


class Avatar(NamedTuple):
    """``data`` is a square WebP picture, ``hash`` its SHA-256."""

    hash: str
    data: bytes


def put(tx: Tx, user_pk: int, avatar: Avatar) -> None:
    remove(tx, user_pk)
    tx.execute(insert(avatars), {"user_pk": user_pk, **avatar._asdict(), "changed_at": tx.now})


def remove(tx: Tx, user_pk: int) -> None:
    tx.execute(delete(avatars).where(avatars.c.user_pk == user_pk))


def find(connection: Connection, tenant_pk: int, user_id: str) -> Avatar | None:
    statement = select(avatars.c.hash, avatars.c.data).join(users, users.c.pk == avatars.c.user_pk)
    row = connection.execute(statement.where(users.c.tenant_pk == tenant_pk, users.c.id == user_id)).first()
    return Avatar(row[0], bytes(row[1])) if row else None
