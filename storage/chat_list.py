"""Chats as they are listed: of one member, the latest active first, each with its first members."""

from collections.abc import Collection
from typing import NamedTuple

from sqlalchemy import Connection, Integer, and_, bindparam, func, or_, select

from storage.access import VIEWER, first_visible
from storage.chat import CHAT, MEMBERS_SHOWN, Chat, Member
from storage.fetch import Rows, fetch_one
from storage.models import chats, members, messages
from storage.prepared import Prepared, json_list, of_pairs, one_of
from storage.statements import Read

LARGEST_PK = 2**63 - 1


class MemberChat(NamedTuple):
    """A chat of a member: when it was active last, in microseconds, its newest message (0: none), and what they see of it."""

    chat: Chat
    active_at: int
    newest_seq: int
    joined_seq: int
    muted_until: int | None
    mute_level: str | None
    role: str

    @property
    def first_seq(self) -> int:
        return first_visible(self.chat.history_visible, self.joined_seq)


# That is shown in the chat.
NEWEST_SEQ = (
    select(func.coalesce(messages.c.previous_seq, messages.c.seq))
    .where(messages.c.chat_pk == chats.c.pk)
    .order_by(messages.c.seq.desc())
    .limit(1)
    .correlate(chats)
    .scalar_subquery()
)
NEWEST = messages.alias("newest_message")
NEWEST_AT = (
    select(NEWEST.c.created_at)
    .where(NEWEST.c.chat_pk == chats.c.pk, NEWEST.c.seq == NEWEST_SEQ)
    .correlate(chats)
    .scalar_subquery()
)
ACTIVE = CHAT.add_columns(
    func.coalesce(NEWEST_AT, chats.c.created_at).label("active"), func.coalesce(NEWEST_SEQ, 0).label("newest")
)
OF_MEMBER = (
    ACTIVE.add_columns(
        members.c.joined_seq,
        members.c.muted_until,
        members.c.mute_level,
        members.c.role,
    )
    .join(members, members.c.chat_pk == chats.c.pk)
    .where(members.c.user_pk == bindparam("user"), chats.c.deleted_at.is_(None))
)
INNER = OF_MEMBER.subquery()
FIRST_PAGE = select(INNER).order_by(INNER.c.active.desc(), INNER.c.pk.desc()).limit(bindparam("most", type_=Integer))
LISTED = Prepared(FIRST_PAGE)
LISTED_BEFORE = Prepared(
    FIRST_PAGE.where(
        or_(INNER.c.active < bindparam("at"), and_(INNER.c.active == bindparam("at"), INNER.c.pk < bindparam("before")))
    )
)
ONE_OF_VIEWER = Prepared(ACTIVE.where(chats.c.pk == bindparam("chat")))
ONE_OF_MEMBER = Prepared(OF_MEMBER.where(chats.c.pk == bindparam("chat")))


def of_user(connection: Connection, user_pk: int, *, before: tuple[int, int] | None, limit: int) -> list[MemberChat]:
    """The user's chats, the latest active first; ``before`` is the last one's (time, pk)."""
    values = {"user": user_pk, "most": limit}
    if before is None:
        return member_chats(fetch_one(connection, LISTED, values))
    at, pk = before
    return member_chats(fetch_one(connection, LISTED_BEFORE, {**values, "at": at, "before": pk}))


def of_member(connection: Connection, chat_pk: int, user_pk: int) -> MemberChat | None:
    found = member_chats(fetch_one(connection, ONE_OF_MEMBER, {"user": user_pk, "chat": chat_pk}))
    return found[0] if found else None


def of_viewer(connection: Connection, chat_pk: int) -> MemberChat:
    """A room as a viewer sees it."""
    ((*columns, active_at, newest_seq),) = fetch_one(connection, ONE_OF_VIEWER, {"chat": chat_pk})
    return MemberChat(Chat(*columns), active_at, newest_seq, 0, None, None, VIEWER)


def member_chats(rows: Rows) -> list[MemberChat]:
    width = len(Chat.__slots__)
    return [MemberChat(Chat(*row[:width]), *row[width:]) for row in rows]


# The last one shown of each chat.
LAST_SHOWN = Prepared(
    select(
        chats.c.pk,
        select(members.c.user_pk)
        .where(members.c.chat_pk == chats.c.pk)
        .order_by(members.c.user_pk)
        .offset(MEMBERS_SHOWN - 1)
        .limit(1)
        .correlate(chats)
        .scalar_subquery(),
    ).where(one_of(chats.c.pk, "chats"))
)
MEMBERS_OF_PAIRS = (
    "SELECT m.chat_pk, m.user_pk, u.id, u.name, m.role, m.joined_seq, m.read_seq, m.muted_until, m.joined_at, m.leaves_at "
    "FROM {{pairs}} JOIN members AS m ON m.chat_pk = w.pk AND {which} JOIN users AS u ON u.pk = m.user_pk"
)
FIRST_MEMBERS = MEMBERS_OF_PAIRS.format(which="m.user_pk <= w.seq")
OWN_MEMBER = MEMBERS_OF_PAIRS.format(which="m.user_pk = :user AND m.user_pk > w.seq")
SHOWN = of_pairs(f"{FIRST_MEMBERS} UNION ALL {OWN_MEMBER} ORDER BY 2")


def read_of_members(connection: Connection, some: Collection[Chat], user_pk: int) -> Read:
    """The query of ``shown_members``. Where there are large chats, it reads which members are shown of them."""
    last = {each.pk: LARGEST_PK for each in some}
    large = [each.pk for each in some if each.member_count > MEMBERS_SHOWN]
    if large:
        last.update(dict(fetch_one(connection, LAST_SHOWN, {"chats": json_list(large)})))
    return SHOWN, {"pairs": json_list(last.items()), "user": user_pk}


def shown_members(some: Collection[Chat], rows: Rows) -> dict[int, list[Member]]:
    """The first members of each of these chats, at most 100; of the rows of ``read_of_members``.

    The user is always among them, as the last one where 100 have an older account.
    """
    found: dict[int, list[Member]] = {each.pk: [] for each in some}
    for row in rows:
        found[row[0]].append(Member(*row))
    for shown in found.values():
        if len(shown) > MEMBERS_SHOWN:
            del shown[MEMBERS_SHOWN - 1]
    return found
