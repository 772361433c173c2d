"""Threads as they are listed: those that a user follows, the latest active first."""

from typing import Any, NamedTuple

from sqlalchemy import Connection, bindparam, case, select

from storage.access import first_visible
from storage.fetch import fetch_one
from storage.models import OF_THREADS, members, thread_members
from storage.prepared import Prepared, json_list, of_pairs, of_text
from storage.threads import HINTS, OF_MEMBER, UNREAD_OF_FOLLOWER, unread_of_follower
from storage.unread import UNREAD_CAP


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


# The last reply of a thread, or its root.
ACTIVE_AT = """COALESCE((
  SELECT r.created_at FROM messages AS r {hint} WHERE r.chat_pk = thread_members.chat_pk
  AND r.thread_seq = thread_members.root_seq AND r.deleted_at IS NULL ORDER BY r.seq DESC LIMIT 1
), root.created_at)"""
FOLLOWED = f"""SELECT thread_members.chat_pk, thread_members.root_seq, {ACTIVE_AT} AS active, thread_members.read_seq,
  chats.history_visible, members.joined_seq FROM thread_members
  JOIN members ON members.chat_pk = thread_members.chat_pk AND members.user_pk = thread_members.user_pk
  JOIN chats ON chats.pk = thread_members.chat_pk AND chats.deleted_at IS NULL
  JOIN messages AS root ON root.chat_pk = thread_members.chat_pk AND root.seq = thread_members.root_seq
  WHERE thread_members.user_pk = :user AND thread_members.follows"""


def listing(condition: str, *parameters: str) -> Prepared:
    """Of threads that a user follows, those of a condition."""
    return of_text(
        f"SELECT * FROM ({FOLLOWED}{condition}) AS f ORDER BY f.active DESC, f.chat_pk DESC, f.root_seq DESC LIMIT :most",
        "user",
        "most",
        *parameters,
        index=OF_THREADS,
    )


UNREAD = f" AND {UNREAD_OF_FOLLOWER.replace(f'LIMIT {UNREAD_CAP}', 'LIMIT 1')} > 0"
BEFORE = f" AND ({ACTIVE_AT}, thread_members.chat_pk, thread_members.root_seq) < (:at, :chat, :root)"
CURSOR = ("at", "chat", "root")
# By whether they have unread replies, and whether they come after others.
LISTED = {
    (False, False): listing(""),
    (False, True): listing(BEFORE, *CURSOR),
    (True, False): listing(UNREAD),
    (True, True): listing(UNREAD + BEFORE, *CURSOR),
}
COUNTED = of_pairs(
    f"SELECT thread_members.chat_pk, thread_members.root_seq, {UNREAD_OF_FOLLOWER} FROM {{pairs}} "
    "JOIN thread_members ON thread_members.chat_pk = w.pk AND thread_members.root_seq = w.seq "
    # With the sign SQLite uses the primary key, and not the index of the user's threads.
    "AND +thread_members.user_pk = :user "
    "JOIN members ON members.chat_pk = thread_members.chat_pk AND members.user_pk = thread_members.user_pk",
    index=OF_THREADS,
)
ONE = Prepared(
    *(
        select(
            thread_members.c.follows,
            thread_members.c.read_seq,
            case((thread_members.c.follows, unread_of_follower(hint)), else_=0),
        )
        .join(members, OF_MEMBER)
        .where(
            thread_members.c.chat_pk == bindparam("chat"),
            thread_members.c.root_seq == bindparam("root"),
            thread_members.c.user_pk == bindparam("user"),
        )
        for hint in HINTS
    )
)


def followed(
    connection: Connection, user_pk: int, *, unread: bool, before: tuple[int, int, int] | None, limit: int
) -> list[FollowedThread]:
    """Threads that a user follows, or those of them with ``unread`` replies, the latest active first.

    ``before`` is the last one's (time, chat, root).
    """
    values: dict[str, Any] = {"user": user_pk, "most": limit}
    if before is not None:
        values |= dict(zip(CURSOR, before, strict=True))
    rows = fetch_one(connection, LISTED[unread, before is not None], values)
    pairs = json_list([row[:2] for row in rows])
    counts = {
        (chat_pk, root_seq): number
        for chat_pk, root_seq, number in fetch_one(connection, COUNTED, {"pairs": pairs, "user": user_pk})
    }
    return [
        FollowedThread(
            chat_pk,
            root_seq,
            active_at,
            read_seq,
            counts[chat_pk, root_seq],
            first_visible(history_visible, joined_seq),
        )
        for chat_pk, root_seq, active_at, read_seq, history_visible, joined_seq in rows
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
    return ThreadState(bool(follows), read_seq, number)
