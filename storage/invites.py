"""Invite links of groups: at most one per chat, looked up by its key."""

from typing import NamedTuple

from sqlalchemy import Connection, delete, insert, select

from storage.models import chats, invites
from storage.transaction import Tx
from storage.types import new_id


class ChatInvite(NamedTuple):
    """``key`` names it in its token; ``expires_at`` in microseconds."""

    chat_pk: int
    chat_id: str
    key: str
    expires_at: int


INVITE = (
    select(invites.c.chat_pk, chats.c.id, invites.c.key, invites.c.expires_at)
    .join(chats, chats.c.pk == invites.c.chat_pk)
    .where(chats.c.deleted_at.is_(None))
)


def find(connection: Connection, tenant_pk: int, key: str, *, at: int) -> ChatInvite | None:
    """The one of a tenant with this key that has not expired."""
    here = invites.c.key == key, chats.c.tenant_pk == tenant_pk, invites.c.expires_at > at
    row = connection.execute(INVITE.where(*here)).first()
    return ChatInvite(*row) if row else None


def of_chat(connection: Connection, chat_pk: int, *, at: int) -> ChatInvite | None:
    """The one of a chat, unless it has expired."""
    row = connection.execute(INVITE.where(invites.c.chat_pk == chat_pk, invites.c.expires_at > at)).first()
    return ChatInvite(*row) if row else None


def put(tx: Tx, chat_pk: int, *, expires_at: int) -> str:
    """Extend the chat's link, or make one where there is none; returns its key."""
    known = of_chat(tx.connection(), chat_pk, at=tx.now)
    key = known.key if known else new_id()
    remove(tx, chat_pk)
    tx.execute(insert(invites), {"chat_pk": chat_pk, "key": key, "expires_at": expires_at})
    return key


def remove(tx: Tx, chat_pk: int) -> None:
    tx.execute(delete(invites).where(invites.c.chat_pk == chat_pk))


def sweep(tx: Tx) -> None:
    """Remove those that have expired."""
    tx.execute(delete(invites).where(invites.c.expires_at <= tx.now))
