"""What is kept of a user, to be given out or to be forgotten."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from sqlalchemy import Connection, and_, case, delete, or_, select, tuple_, update

from storage import accounts, avatars
from storage import media as uploads
from storage.audit import OF_ONESELF
from storage.messages import MessagePlace
from storage.models import (
    activities,
    audit,
    blocks,
    chats,
    devices,
    exclusions,
    followers,
    last_posts,
    logins,
    media,
    members,
    mentions,
    messages,
    notifications,
    pins,
    purges,
    reports,
    reset_links,
    sanctions,
    thread_members,
    users,
)
from storage.transaction import Tx

ROWS_AT_ONCE = 50
NOBODY = {
    "email": None, "email_key": None, "avatar_url": None, "password": None, "permissions": "[]", "locale": None,
    "time_zone": None, "quiet_from": None, "quiet_to": None, "last_seen_at": None,
}  # fmt: skip


class Membership(NamedTuple):
    """A group that a user is in."""

    chat_pk: int
    chat_id: str


class Heir(NamedTuple):
    user_pk: int
    user_id: str
    role: str


def forget(tx: Tx, user_pk: int, name: str) -> None:
    """Clears the account; the rest is removed in slices."""
    values = {**NOBODY, "name": name, "name_key": accounts.name_key(name), "status": "deleted", "updated_at": tx.now}
    tx.execute(update(users).where(users.c.pk == user_pk).values(**values))
    tx.execute(delete(reset_links).where(reset_links.c.user_pk == user_pk))
    uploads.drop_all(tx, user_pk)
    avatars.remove(tx, user_pk)


def unfinished(connection: Connection) -> list[int]:
    """Deleted users of whom something is left."""
    statement = select(users.c.pk).where(users.c.status == "deleted", users.c.erased_at.is_(None))
    return list(connection.execute(statement.order_by(users.c.pk).limit(ROWS_AT_ONCE)).scalars())


def groups(connection: Connection, user_pk: int) -> list[Membership]:
    statement = select(chats.c.pk, chats.c.id).join(members, members.c.chat_pk == chats.c.pk)
    here = members.c.user_pk == user_pk, chats.c.type != "direct", chats.c.deleted_at.is_(None)
    return [Membership(*row) for row in connection.execute(statement.where(*here).limit(ROWS_AT_ONCE))]


# Of a group, by role.
HEIRS = ("owner", "admin", "moderator", "member")


def heir(connection: Connection, chat_pk: int, exclude: int) -> Heir | None:
    """Who owns a group after its last owner: of those who are active the highest role, of these who came first."""
    rank = case({role: number for number, role in enumerate(HEIRS)}, value=members.c.role, else_=len(HEIRS))
    statement = select(users.c.pk, users.c.id, members.c.role).join(users, users.c.pk == members.c.user_pk)
    here = members.c.chat_pk == chat_pk, members.c.user_pk != exclude
    order = users.c.status != "active", rank, members.c.joined_at, users.c.pk
    row = connection.execute(statement.where(*here).order_by(*order).limit(1)).first()
    return Heir(*row) if row else None


def said(connection: Connection, user_pk: int, after: tuple[int, int] = (0, 0)) -> list[MessagePlace]:
    """Where the next messages of a user are that are not deleted, after this ``(chat, seq)``."""
    order = messages.c.chat_pk, messages.c.seq
    statement = select(*(messages.c[name] for name in MessagePlace._fields)).where(
        messages.c.sender_pk == user_pk, messages.c.deleted_at.is_(None), tuple_(*order) > after
    )
    rows: Any = connection.execute(statement.order_by(*order).limit(ROWS_AT_ONCE))
    return [MessagePlace(*row) for row in rows]


def empty_notifications(tx: Tx, user_pk: int) -> bool:
    """Those that the user got; whether there may be more."""
    mine = select(notifications.c.pk).where(
        notifications.c.recipient_pk == user_pk, notifications.c.deleted_at.is_(None)
    )
    pks = list(tx.execute(mine.limit(ROWS_AT_ONCE)).scalars())
    gone = {
        "title": None,
        "message": None,
        "metadata": "{}",
        "action_url": None,
        "entity_type": None,
        "entity_id": None,
    }
    tx.execute(update(notifications).where(notifications.c.pk.in_(pks)).values(**gone, deleted_at=tx.now))
    return len(pks) == ROWS_AT_ONCE


def finish(tx: Tx, user_pk: int) -> None:
    """The rest: what names the user beside messages, credits and the audit trail, which stay; the trail without addresses."""
    for table in (logins, devices, followers, exclusions, sanctions, activities, thread_members, mentions, last_posts):
        tx.execute(delete(table).where(table.c.user_pk == user_pk))
    tx.execute(delete(blocks).where(or_(blocks.c.user_pk == user_pk, blocks.c.blocked_pk == user_pk)))
    tx.execute(delete(reports).where(reports.c.reporter_pk == user_pk))
    tx.execute(delete(purges).where(purges.c.user_pk == user_pk))
    tx.execute(update(audit).where(audit.c.actor_pk == user_pk, OF_ONESELF).values(details="{}"))
    tx.execute(update(users).where(users.c.pk == user_pk).values(erased_at=tx.now))


# Giving it out

KEPT: dict[str, Any] = {
    "login": (logins, logins.c.user_pk, ("id", "address", "agent", "created_at", "used_at", "expires_at", "ended_at")),
    "trail": (audit, audit.c.actor_pk, ("action", "target", "details", "at")),
    "device": (devices, devices.c.user_pk, ("device_id", "platform", "bundle_id", "locale", "created_at")),
    "report": (reports, reports.c.reporter_pk, ("message_id", "reason", "created_at")),
    "file": (media, media.c.owner_pk, ("id", "name", "mime", "size", "created_at")),
}


def rows(connection: Connection, user_pk: int) -> Iterator[tuple[str, dict[str, Any]]]:
    """What is kept in few rows, each with its kind; times in microseconds."""
    for kind, (table, owner, names) in KEPT.items():
        for row in connection.execute(select(*(table.c[name] for name in names)).where(owner == user_pk)):
            yield kind, dict(zip(names, row, strict=True))
    for row in connection.execute(
        select(users.c.id).join(blocks, blocks.c.blocked_pk == users.c.pk).where(blocks.c.user_pk == user_pk)
    ):
        yield "block", {"user_id": row.id}
    names = ("chat_id", "kind", "until", "reason", "created_at")
    for row in connection.execute(
        select(chats.c.id, *(sanctions.c[name] for name in names[1:]))
        .join(chats, chats.c.pk == sanctions.c.chat_pk)
        .where(sanctions.c.user_pk == user_pk)
    ):
        yield "sanction", dict(zip(names, row, strict=True))
    names = ("id", "type", "name", "role", "joined_at")
    for row in connection.execute(
        select(chats.c.id, chats.c.type, chats.c.name, members.c.role, members.c.joined_at)
        .join(chats, chats.c.pk == members.c.chat_pk)
        .where(members.c.user_pk == user_pk)
    ):
        yield "chat", dict(zip(names, row, strict=True))


# What is kept at messages, which may be much: the place of each row, and what an export shows beside the message's id.
AT_MESSAGES: dict[str, tuple[Any, Any, tuple[str, ...]]] = {
    "thread": (thread_members, thread_members.c.root_seq, ("follows", "read_seq")),
    "mention": (mentions, mentions.c.seq, ("created_at",)),
    "pin": (pins, pins.c.seq, ("until", "created_at")),
}


def at_messages(
    connection: Connection, kind: str, user_pk: int, after: tuple[int, int]
) -> list[tuple[tuple[int, int], dict[str, Any]]]:
    """What is kept of a user at messages after this ``(chat, seq)``: the next rows with their places, in order."""
    table, seq, names = AT_MESSAGES[kind]
    place = table.c.chat_pk, seq
    statement = (
        select(*place, messages.c.id, *(table.c[name] for name in names))
        .join(messages, and_(messages.c.chat_pk == table.c.chat_pk, messages.c.seq == seq))
        .where(table.c.user_pk == user_pk, tuple_(*place) > after)
    )
    rows: Any = connection.execute(statement.order_by(*place).limit(ROWS_AT_ONCE))
    return [
        ((chat_pk, at), {"message_id": id, **dict(zip(names, values, strict=True))})
        for chat_pk, at, id, *values in rows
    ]
