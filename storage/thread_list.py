"""Threads as they are listed: those that a user follows, the latest active first."""

from typing import Any, NamedTuple

from sqlalchemy import Connection, Integer, and_, bindparam, func, literal_column, or_, select

from storage.access import first_visible
from storage.fetch import fetch_one
from storage.models import chats, members, messages, thread_members
from storage.prepared import Prepared
from storage.threads import OF_MEMBER, UNREAD_OF_FOLLOWER


class FollowedThread(NamedTuple):
    """A thread as a follower has it; the list is ordered by ``active_at`` (microseconds). ``first_seq`` is the first that the
    follower may see of the chat.
    """

    chat_pk: int
    root_seq: int
    active_at: int
    read_seq: int
    unread: int
    first_seq: int

    @property
    def place_in_list(self) -> tuple[int, int, int]:
        return self.active_at, self.chat_pk, self.root_seq


LAST_REPLY_AT = (
    select(messages.c.created_at)
    .where(
        messages.c.chat_pk == thread_members.c.chat_pk,
        messages.c.thread_seq == thread_members.c.root_seq,
        messages.c.deleted_at.is_(None),
    )
    .order_by(messages.c.seq.desc())
    .limit(1)
    .correlate(thread_members)
    .scalar_subquery()
)
ROOT = messages.alias("root")
FOLLOWED = (
    select(
        thread_members.c.chat_pk,
        thread_members.c.root_seq,
        func.coalesce(LAST_REPLY_AT, ROOT.c.created_at).label("active"),
        thread_members.c.read_seq,
        literal_column(UNREAD_OF_FOLLOWER, Integer).label("unread"),
        chats.c.history_visible,
        members.c.joined_seq,
    )
    .join(members, OF_MEMBER)
    .join(chats, chats.c.pk == thread_members.c.chat_pk)
    .join(ROOT, and_(ROOT.c.chat_pk == thread_members.c.chat_pk, ROOT.c.seq == thread_members.c.root_seq))
    .where(thread_members.c.user_pk == bindparam("user"), thread_members.c.follows, chats.c.deleted_at.is_(None))
    .subquery()
)
PAGE = (
    select(FOLLOWED)
    .where(FOLLOWED.c.unread >= bindparam("unread", type_=Integer))
    .order_by(FOLLOWED.c.active.desc(), FOLLOWED.c.chat_pk.desc(), FOLLOWED.c.root_seq.desc())
    .limit(bindparam("most", type_=Integer))
)
LISTED = Prepared(PAGE)
LISTED_BEFORE = Prepared(
    PAGE.where(
        or_(
            FOLLOWED.c.active < bindparam("at"),
            and_(
                FOLLOWED.c.active == bindparam("at"),
                or_(
                    FOLLOWED.c.chat_pk < bindparam("chat"),
                    and_(FOLLOWED.c.chat_pk == bindparam("chat"), FOLLOWED.c.root_seq < bindparam("root")),
                ),
            ),
        )
    )
)
ONE = Prepared(
    select(
        thread_members.c.follows,
        thread_members.c.read_seq,
        literal_column(UNREAD_OF_FOLLOWER, Integer),
    )
    .join(members, OF_MEMBER)
    .where(
        thread_members.c.chat_pk == bindparam("chat"),
        thread_members.c.root_seq == bindparam("root"),
        thread_members.c.user_pk == bindparam("user"),
    )
)


def followed(
    connection: Connection, user_pk: int, *, unread: bool, before: tuple[int, int, int] | None, limit: int
) -> list[FollowedThread]:
    """Threads that a user follows, the latest active first; ``before`` is the last one's (time, chat, root)."""
    values: dict[str, Any] = {"user": user_pk, "unread": int(unread), "most": limit}
    query = LISTED
    if before is not None:
        query, (values["at"], values["chat"], values["root"]) = LISTED_BEFORE, before
    return [
        FollowedThread(chat_pk, root_seq, active_at, read_seq, number, first_visible(history_visible, joined_seq))
        for chat_pk, root_seq, active_at, read_seq, number, history_visible, joined_seq in fetch_one(
            connection, query, values
        )
    ]


class ThreadState(NamedTuple):
    """A thread as one member has it; ``unread`` counts for who follows."""

    follows: bool
    read_seq: int
    unread: int


def state(connection: Connection, chat_pk: int, root_seq: int, user_pk: int) -> ThreadState:
    rows = fetch_one(connection, ONE, {"chat": chat_pk, "root": root_seq, "user": user_pk})
    if not rows:
        return ThreadState(False, 0, 0)
    ((follows, read_seq, number),) = rows
    return ThreadState(bool(follows), read_seq, number if follows else 0)
