"""Chats and their members."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from sqlalchemy import (
    Connection,
    bindparam,
    delete,
    func,
    insert,
    literal_column,
    or_,
    select,
    text,
    update,
)

from storage import accounts, invites, last_posts, log, media, threads
from storage.models import (
    LEAVING,
    OWNS,
    channels,
    chats,
    events,
    members,
    mentions,
    messages,
    pins,
    reactions,
    thread_members,
    users,
)
from storage.prepared import Prepared, one_of, padded
from storage.transaction import Tx
from storage.types import new_id


@dataclass(frozen=True, slots=True)
class Chat:
    """``type`` is direct, group or room; ``history_visible`` is joined or all; ``seq`` is the channel's head; ``reactions``
    says who may react: members, all or none. Only moderators post into a ``frozen`` chat; others once in ``slow_mode``
    seconds (0: as they like), and with ``links`` where it is all and not moderators.
    """

    pk: int
    tenant_pk: int
    id: str
    type: str
    name: str | None
    history_visible: str
    member_count: int
    created_at: int
    updated_at: int
    seq: int
    reactions: str
    frozen: bool
    slow_mode: int
    links: str


@dataclass(frozen=True, slots=True)
class Member:
    """``role`` is owner, admin, moderator, member or readonly; at ``leaves_at`` who joined the chat of a stream leaves it."""

    chat_pk: int
    user_pk: int
    user_id: str
    name: str
    role: str
    joined_seq: int
    read_seq: int
    muted_until: int | None
    joined_at: int
    leaves_at: int | None


MEMBERS_SHOWN = 100
CHAT = select(
    chats.c.pk,
    chats.c.tenant_pk,
    chats.c.id,
    chats.c.type,
    chats.c.name,
    chats.c.history_visible,
    chats.c.member_count,
    chats.c.created_at,
    chats.c.updated_at,
    channels.c.head.label("seq"),
    chats.c.reactions,
    chats.c.frozen,
    chats.c.slow_mode,
    chats.c.links,
).join(channels, channels.c.pk == chats.c.pk)

MEMBER = select(
    members.c.chat_pk,
    members.c.user_pk,
    users.c.id.label("user_id"),
    users.c.name,
    members.c.role,
    members.c.joined_seq,
    members.c.read_seq,
    members.c.muted_until,
    members.c.joined_at,
    members.c.leaves_at,
).join(users, users.c.pk == members.c.user_pk)

FIND = select(chats.c.pk).where(
    chats.c.tenant_pk == bindparam("tenant"), chats.c.id == bindparam("id"), chats.c.deleted_at.is_(None)
)
# Chats


def pair_of(first_pk: int, second_pk: int) -> str:
    return f"{min(first_pk, second_pk)}:{max(first_pk, second_pk)}"


def find(connection: Connection, tenant_pk: int, id: str) -> int | None:
    """A chat's number by its id."""
    return connection.execute(FIND, {"tenant": tenant_pk, "id": id}).scalar()


def search(connection: Connection, tenant_pk: int, query: str, *, before: int | None, limit: int) -> list[Chat]:
    """The tenant's chats of this id, or whose name contains each word of ``query``, newest first, with a number below
    ``before``.
    """
    statement = CHAT.where(
        chats.c.tenant_pk == tenant_pk,
        chats.c.deleted_at.is_(None),
        or_(chats.c.id == query, accounts.contains_words(chats.c.name_key, query)),
    )
    if before is not None:
        statement = statement.where(chats.c.pk < before)
    rows: Any = connection.execute(statement.order_by(chats.c.pk.desc()).limit(limit))
    return [Chat(*row) for row in rows]


def id_taken(connection: Connection, tenant_pk: int, id: str) -> bool:
    """Whether the tenant has, or had, a chat of this id."""
    return (
        connection.execute(select(chats.c.pk).where(chats.c.tenant_pk == tenant_pk, chats.c.id == id)).first()
        is not None
    )


def find_direct(connection: Connection, first_pk: int, second_pk: int) -> int | None:
    return connection.execute(select(chats.c.pk).where(chats.c.pair == pair_of(first_pk, second_pk))).scalar()


def get(connection: Connection, pk: int) -> Chat:
    values: Any = connection.execute(CHAT.where(chats.c.pk == pk)).one()
    return Chat(*values)


def add(
    tx: Tx,
    tenant_pk: int,
    *,
    type: str,
    name: str | None = None,
    history_visible: str = "joined",
    pair: str | None = None,
    id: str | None = None,
) -> int:
    id = id or new_id()
    pk = log.open_channel(tx, f"chat:{id}")
    tx.execute(
        insert(chats),
        {
            "pk": pk,
            "tenant_pk": tenant_pk,
            "id": id,
            "type": type,
            "name": name,
            "name_key": None if name is None else accounts.name_key(name),
            "history_visible": history_visible,
            "pair": pair,
            "member_count": 0,
            "created_at": tx.now,
            "updated_at": tx.now,
        },
    )
    return pk


def change(tx: Tx, pk: int, **values: Any) -> None:
    if values.get("name") is not None:
        values["name_key"] = accounts.name_key(values["name"])
    tx.execute(update(chats).where(chats.c.pk == pk).values(**values, updated_at=tx.now))


class Slice(NamedTuple):
    """Part of a deleted chat: some members who have not been told yet."""

    pk: int
    chat_id: str
    user_pks: list[int]


def deleted_slice(connection: Connection, *, limit: int = 100) -> Slice | None:
    """What to remove next of a deleted chat, or None."""
    deleted = select(chats.c.pk, chats.c.id).where(chats.c.deleted_at.is_not(None), chats.c.swept.is_(False))
    row = connection.execute(deleted.limit(1)).first()
    if row is None:
        return None
    remaining = select(members.c.user_pk).where(members.c.chat_pk == row.pk).order_by(members.c.user_pk).limit(limit)
    return Slice(row.pk, row.id, list(connection.execute(remaining).scalars()))


def drop_members(tx: Tx, chat_pk: int, user_pks: Collection[int]) -> list[int]:
    """Remove these members of a deleted chat; returns those who still were."""
    gone = sorted(known_members(tx.connection(), chat_pk, user_pks))
    tx.execute(delete(members).where(members.c.chat_pk == chat_pk, members.c.user_pk.in_(gone)))
    return gone


def drop_slice(tx: Tx, pk: int, *, rows: int = 500) -> None:
    """Remove a slice of a deleted chat's messages and events; its row stays, so that its id is never another's."""
    for order, owner in (
        (reactions.c.seq, reactions.c.chat_pk),
        (thread_members.c.root_seq, thread_members.c.chat_pk),
        (mentions.c.seq, mentions.c.chat_pk),
        (pins.c.seq, pins.c.chat_pk),
        (messages.c.seq, messages.c.chat_pk),
        (events.c.seq, events.c.channel_pk),
    ):
        last = tx.execute(select(order).where(owner == pk).order_by(order).offset(rows - 1).limit(1)).scalar()
        if owner is messages.c.chat_pk:
            media.schedule_removal(tx, pk, upto=last)
        gone = delete(order.table).where(owner == pk)
        tx.execute(gone if last is None else gone.where(order <= last))
        if last is not None:
            return
    last_posts.forget(tx, pk)
    invites.remove(tx, pk)
    tx.execute(update(chats).where(chats.c.pk == pk).values(swept=True, name=None, name_key=None))


# Members


def add_members(
    tx: Tx, chat_pk: int, rows: Sequence[tuple[int, str]], seq: int, *, maker_pk: int | None = None
) -> None:
    """Let users in, as ``(number, role)``, to see what comes after ``seq``. The maker of a chat shows presence in it."""
    ordinal = tx.ordinal(chat_pk)
    tx.execute(
        insert(members),
        [
            {
                "chat_pk": chat_pk,
                "user_pk": user_pk,
                "role": role,
                "joined_seq": seq,
                "read_seq": seq,
                "joined_at": tx.now,
                "wrote": user_pk == maker_pk,
                "read_ordinal": ordinal,
                "own_after": None if ordinal is None else 0,
            }
            for user_pk, role in rows
        ],
    )
    count(tx, chat_pk, len(rows))


def remove_member(tx: Tx, chat_pk: int, user_pk: int) -> None:
    tx.execute(delete(members).where(members.c.chat_pk == chat_pk, members.c.user_pk == user_pk))
    threads.unfollow_all(tx, chat_pk, user_pk)
    count(tx, chat_pk, -1)


def count(tx: Tx, chat_pk: int, difference: int) -> None:
    tx.execute(
        update(chats)
        .where(chats.c.pk == chat_pk)
        .values(member_count=chats.c.member_count + difference, updated_at=tx.now)
    )


def set_member(tx: Tx, chat_pk: int, user_pk: int, **values: Any) -> None:
    tx.execute(update(members).where(members.c.chat_pk == chat_pk, members.c.user_pk == user_pk).values(**values))


def member(connection: Connection, chat_pk: int, user_pk: int) -> Member | None:
    statement = MEMBER.where(members.c.chat_pk == chat_pk, members.c.user_pk == user_pk)
    row: Any = connection.execute(statement).first()
    return Member(*row) if row else None


def joined_among(connection: Connection, user_pk: int, chat_pks: Collection[int]) -> set[int]:
    """Those of the chats that a user is a member of."""
    statement = select(members.c.chat_pk).where(members.c.user_pk == user_pk, members.c.chat_pk.in_(chat_pks))
    return set(connection.execute(statement).scalars()) if chat_pks else set()


def keep_members(tx: Tx, chat_pk: int, user_pks: Collection[int]) -> None:
    """Members who were about to leave stay."""
    here = members.c.chat_pk == chat_pk, members.c.user_pk.in_(user_pks), text(LEAVING)
    tx.execute(update(members).where(*here).values(leaves_at=None))


def leaving(connection: Connection, *, before: int, limit: int = 500) -> list[tuple[int, int]]:
    """``(chat_pk, user_pk)`` of members whose time to leave has come."""
    statement = select(members.c.chat_pk, members.c.user_pk).where(text(LEAVING), members.c.leaves_at <= before)
    rows: Any = connection.execute(statement.order_by(members.c.leaves_at).limit(limit))
    return [(row.chat_pk, row.user_pk) for row in rows]


def members_of(connection: Connection, chat_pk: int, *, after: int = 0, limit: int = MEMBERS_SHOWN) -> list[Member]:
    statement = MEMBER.where(members.c.chat_pk == chat_pk, members.c.user_pk > after).order_by(members.c.user_pk)
    rows: Any = connection.execute(statement.limit(limit))
    return [Member(*row) for row in rows]


def member_count(connection: Connection, pk: int) -> int:
    return int(connection.execute(select(chats.c.member_count).where(chats.c.pk == pk)).scalar_one())


def owners(connection: Connection, chat_pk: int) -> int:
    statement = select(func.count()).select_from(members).where(members.c.chat_pk == chat_pk, text(OWNS))
    return int(connection.execute(statement).scalar_one())


# ``(user_pk, pk, name, head, floor, joined_seq)`` of the channel of each chat that each of these users is in; not of rooms.
READABLE = Prepared(
    select(
        members.c.user_pk,
        channels.c.pk,
        channels.c.name,
        channels.c.head,
        channels.c.floor,
        members.c.joined_seq,
    )
    .join(members, members.c.chat_pk == channels.c.pk)
    .join(chats, chats.c.pk == channels.c.pk)
    .where(one_of(members.c.user_pk, "pks"), chats.c.deleted_at.is_(None), chats.c.type != literal_column("'room'"))
)


class Position(NamedTuple):
    """Where a channel is, and as of that seq whether its members see only what came after their joining.

    ``room`` says whether it is a room's.
    """

    head: int
    restricted: bool
    room: bool


CHANNELS_AT_ONCE = 1000
NOWHERE = Position(0, False, False)
POSITIONS = (
    select(channels.c.pk, channels.c.head, chats.c.history_visible, chats.c.type)
    .outerjoin(chats, chats.c.pk == channels.c.pk)
    .where(channels.c.pk.in_(bindparam("pks")))
)


def positions(connection: Connection, pks: Collection[int]) -> dict[int, Position]:
    """For channels of any kind; only those of chats are restricted."""
    found, wanted = {}, list(pks)
    for start in range(0, len(wanted), CHANNELS_AT_ONCE):
        rows = connection.execute(POSITIONS, {"pks": padded(wanted[start : start + CHANNELS_AT_ONCE])})
        found.update({pk: Position(head, visible == "joined", kind == "room") for pk, head, visible, kind in rows})
    return found


def known_members(connection: Connection, chat_pk: int, user_pks: Collection[int]) -> set[int]:
    statement = select(members.c.user_pk).where(members.c.chat_pk == chat_pk, members.c.user_pk.in_(user_pks))
    return set(connection.execute(statement).scalars())
