"""Chats as they are listed: of one member, the latest active first, each with its first members."""

from collections.abc import Collection
from typing import Any, NamedTuple

from sqlalchemy import Connection, and_, bindparam, func, or_, select

from storage.chat import CHAT, MEMBERS_SHOWN, Chat, Member, first_visible
from storage.models import chats, members, messages
from storage.prepared import of_pairs, padded, pairs

LARGEST_PK = 2**63 - 1


class MemberChat(NamedTuple):
    """A chat of a member: when it was active last, in microseconds, its newest message (0: none), and what they see of it."""

    chat: Chat
    active_at: int
    newest_seq: int
    joined_seq: int
    muted_until: int | None

    @property
    def first_seq(self) -> int:
        return first_visible(self.chat.history_visible, self.joined_seq)


def newest_message(column: Any) -> Any:
    """A column of the newest message of each chat."""
    here = select(column).where(messages.c.chat_pk == chats.c.pk)
    return here.order_by(messages.c.seq.desc()).limit(1).correlate(chats).scalar_subquery()


OF_MEMBER = (
    CHAT.add_columns(
        func.coalesce(newest_message(messages.c.created_at), chats.c.created_at).label("active"),
        func.coalesce(newest_message(messages.c.seq), 0).label("newest"),
        members.c.joined_seq,
        members.c.muted_until,
    )
    .join(members, members.c.chat_pk == chats.c.pk)
    .where(members.c.user_pk == bindparam("user"), chats.c.deleted_at.is_(None))
)
INNER = OF_MEMBER.subquery()
LISTED = select(INNER).order_by(INNER.c.active.desc(), INNER.c.pk.desc()).limit(bindparam("most"))
LISTED_BEFORE = LISTED.where(
    or_(INNER.c.active < bindparam("at"), and_(INNER.c.active == bindparam("at"), INNER.c.pk < bindparam("before")))
)
ONE_OF_MEMBER = OF_MEMBER.where(chats.c.pk == bindparam("chat"))


def of_user(connection: Connection, user_pk: int, *, before: tuple[int, int] | None, limit: int) -> list[MemberChat]:
    """The user's chats, the latest active first; ``before`` is the last one's (time, pk)."""
    values = {"user": user_pk, "most": limit}
    if before is None:
        return member_chats(connection.execute(LISTED, values))
    at, pk = before
    return member_chats(connection.execute(LISTED_BEFORE, {**values, "at": at, "before": pk}))


def of_member(connection: Connection, chat_pk: int, user_pk: int) -> MemberChat | None:
    found = member_chats(connection.execute(ONE_OF_MEMBER, {"user": user_pk, "chat": chat_pk}))
    return found[0] if found else None


def member_chats(rows: Any) -> list[MemberChat]:
    width = len(Chat.__slots__)
    return [MemberChat(Chat(*row[:width]), *row[width:]) for row in rows]


# The last one shown of each chat.
LAST_SHOWN = select(
    chats.c.pk,
    select(members.c.user_pk)
    .where(members.c.chat_pk == chats.c.pk)
    .order_by(members.c.user_pk)
    .offset(MEMBERS_SHOWN - 1)
    .limit(1)
    .correlate(chats)
    .scalar_subquery(),
).where(chats.c.pk.in_(bindparam("chats")))
SHOWN = of_pairs(
    "SELECT m.chat_pk, m.user_pk, u.id, u.name, m.role, m.joined_seq, m.read_seq, m.muted_until, m.joined_at, m.leaves_at "
    "FROM {pairs} JOIN members AS m ON m.chat_pk = w.pk AND m.user_pk <= w.seq JOIN users AS u ON u.pk = m.user_pk "
    "ORDER BY m.user_pk"
)


def shown_members(connection: Connection, some: Collection[Chat]) -> dict[int, list[Member]]:
    """The first members of each of these chats, at most 100."""
    if not some:
        return {}
    last = {each.pk: LARGEST_PK for each in some}
    large = [each.pk for each in some if each.member_count > MEMBERS_SHOWN]
    if large:
        last.update({row[0]: row[1] for row in connection.execute(LAST_SHOWN, {"chats": padded(large)})})
    found: dict[int, list[Member]] = {each.pk: [] for each in some}
    for row in connection.execute(SHOWN[connection.dialect.name], {"pairs": pairs(last.items())}):
        found[row.chat_pk].append(Member(*row))
    return found
