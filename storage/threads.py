"""Threads: replies to one message, its root, and how far each member has read them.

The root's row has the summary, as JSON. A row of ``thread_members`` is of who follows the thread, has read in it or replied.
All of it changes under the chat's lock.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from typing import NamedTuple

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    Integer,
    and_,
    bindparam,
    cast,
    func,
    literal_column,
    or_,
    select,
    update,
)

from storage import readers
from storage.fetch import Rows, fetch_one
from storage.messages import Message, dumped
from storage.models import OF_THREADS, members, messages, thread_members, users
from storage.prepared import Bulk, Prepared, Update, hints, json_list, of_text, one_of
from storage.readers import ReaderRow
from storage.statements import Read
from storage.transaction import Tx
from storage.unread import UNREAD_CAP

PARTICIPANTS_SHOWN = 5


class Summary(NamedTuple):
    """Of the replies that are not deleted; ``last_at`` in microseconds. ``participants`` are the ids of who replied first."""

    reply_count: int
    last_seq: int
    last_at: int | None
    participants: Sequence[str]


class ThreadMember(NamedTuple):
    """Who follows has read up to ``read_seq``, what was there before ``from_seq`` without being its reader, except for what
    they had read before they followed: up to ``read_before``.

    ``replies`` are those that are not deleted; ``first_seq`` is that of the first reply.
    """

    follows: bool
    read_seq: int
    replies: int
    first_seq: int | None
    from_seq: int = 0
    read_before: int = 0


NO_REPLIES = Summary(0, 0, None, ())
KEYS = ("chat_pk", "root_seq", "user_pk")
FIND = Prepared(
    select(*(thread_members.c[name] for name in ThreadMember._fields)).where(
        thread_members.c.chat_pk == bindparam("chat"),
        thread_members.c.root_seq == bindparam("root"),
        thread_members.c.user_pk == bindparam("user"),
    )
)
ADD = Bulk(thread_members, (*KEYS, *ThreadMember._fields))
SET = Update(thread_members, KEYS, ThreadMember._fields)
SET_SUMMARY = Update(messages, ("chat_pk", "seq"), ("thread",))
AUTHOR_IN_CHAT = Prepared(
    select(members.c.user_pk)
    .join(users, users.c.pk == members.c.user_pk)
    .where(
        members.c.chat_pk == bindparam("chat"),
        members.c.user_pk == bindparam("user"),
        users.c.status != literal_column("'deleted'"),
    )
)
NEWEST_REPLY = of_text(
    "SELECT r.seq, r.created_at FROM messages AS r {hint} WHERE r.chat_pk = :chat AND r.thread_seq = :root "
    "AND r.deleted_at IS NULL ORDER BY r.seq DESC LIMIT 1",
    "chat",
    "root",
    index=OF_THREADS,
)


# Changing


def summary_of(root: Message) -> Summary:
    return NO_REPLIES if root.thread is None else Summary(**root.thread)


def keep_summary(tx: Tx, root: Message, summary: Summary) -> Message:
    """Write the summary of a thread; the root with it."""
    changed = replace(root, thread=summary._asdict())
    tx.update_later(SET_SUMMARY, (root.chat_pk, root.seq), (dumped(changed.thread),))
    tx.set_pending(("message", root.chat_pk, root.seq), changed)
    return changed


def member(tx: Tx, chat_pk: int, root_seq: int, user_pk: int) -> ThreadMember | None:
    return known_member(tx, chat_pk, root_seq, user_pk)[0]


def known_member(tx: Tx, chat_pk: int, root_seq: int, user_pk: int) -> tuple[ThreadMember | None, bool]:
    """Also whether the row is stored already."""
    waiting: tuple[ThreadMember | None, bool] | None = tx.pending(("thread member", chat_pk, root_seq, user_pk), None)
    if waiting is not None:
        return waiting
    row = tx.first(FIND, {"chat": chat_pk, "root": root_seq, "user": user_pk})
    return (None, False) if row is None else (ThreadMember(bool(row[0]), *row[1:]), True)


def reads_of_member(chat_pk: int, root_seq: int, user_pks: Iterable[int]) -> list[Read]:
    """The queries of ``member``."""
    return [(FIND, {"chat": chat_pk, "root": root_seq, "user": user_pk}) for user_pk in user_pks]


def keep_member(tx: Tx, chat_pk: int, root_seq: int, user_pk: int, now: ThreadMember) -> None:
    _, stored = known_member(tx, chat_pk, root_seq, user_pk)
    key = (chat_pk, root_seq, user_pk)
    if stored:
        tx.update_later(SET, key, now)
    else:
        tx.later(ADD, (*key, *now), key=key)
    tx.set_pending(("thread member", *key), (now, stored))


def author_is_member(tx: Tx, root: Message) -> bool:
    return tx.first(AUTHOR_IN_CHAT, {"chat": root.chat_pk, "user": root.sender_pk}) is not None


def follow(tx: Tx, root: Message, user_pk: int, *, from_seq: int | None = None) -> ThreadMember:
    """A member of the chat follows from now on, and has read what is there, or what is up to ``from_seq``; who does already
    is left alone.
    """
    known = member(tx, root.chat_pk, root.seq, user_pk)
    if known is not None and known.follows:
        return known
    start = max(root.seq, summary_of(root).last_seq) if from_seq is None else from_seq
    now = known or ThreadMember(True, start, 0, None, start)
    if start > now.read_seq:
        read_before = now.read_seq if now.read_seq > now.from_seq else now.read_before
        now = now._replace(read_seq=start, from_seq=start, read_before=read_before)
    now = now._replace(follows=True)
    keep_member(tx, root.chat_pk, root.seq, user_pk, now)
    return now


def add_reply(tx: Tx, root: Message, reply: Message, *, is_member: bool) -> Message:
    """Count a reply that was posted; a member follows the thread by it. Returns the root with the new summary."""
    before = summary_of(root)
    if is_member:
        follow(tx, root, reply.sender_pk)
    known = member(tx, root.chat_pk, root.seq, reply.sender_pk) or ThreadMember(False, root.seq, 0, None, root.seq)
    first_seq = reply.seq if known.first_seq is None else known.first_seq
    keep_member(
        tx, root.chat_pk, root.seq, reply.sender_pk, known._replace(replies=known.replies + 1, first_seq=first_seq)
    )
    participants = before.participants
    if reply.sender_id not in participants and len(participants) < PARTICIPANTS_SHOWN:
        participants = [*participants, reply.sender_id]
    return keep_summary(tx, root, Summary(before.reply_count + 1, reply.seq, reply.created_at, participants))


def remove_reply(tx: Tx, root: Message, reply: Message) -> Message:
    """A reply is being deleted, whose tombstone waits to be written. Returns the root with the new summary."""
    summary = summary_of(root)
    known = member(tx, root.chat_pk, root.seq, reply.sender_pk)
    left = max(0, known.replies - 1) if known else 0
    if known:
        keep_member(tx, root.chat_pk, root.seq, reply.sender_pk, known._replace(replies=left))
    if not left and reply.sender_id in summary.participants:
        summary = summary._replace(participants=first_participants(tx.connection(), root))
    if reply.seq == summary.last_seq:
        last_seq, last_at = newest_reply(tx.connection(), root)
        summary = summary._replace(last_seq=last_seq, last_at=last_at)
    return keep_summary(tx, root, summary._replace(reply_count=summary.reply_count - 1))


def first_participants(connection: Connection, root: Message) -> list[str]:
    statement = (
        select(users.c.id)
        .join(thread_members, thread_members.c.user_pk == users.c.pk)
        .where(
            thread_members.c.chat_pk == root.chat_pk,
            thread_members.c.root_seq == root.seq,
            thread_members.c.replies > 0,
        )
    )
    return list(connection.execute(statement.order_by(thread_members.c.first_seq).limit(PARTICIPANTS_SHOWN)).scalars())


def newest_reply(connection: Connection, root: Message) -> tuple[int, int | None]:
    """``(seq, created_at)`` of the newest one that is not deleted; ``(0, None)`` if there is none."""
    rows = fetch_one(connection, NEWEST_REPLY, {"chat": root.chat_pk, "root": root.seq})
    return rows[0] if rows else (0, None)


def mark_read(tx: Tx, root_place: tuple[int, int], reader: ReaderRow) -> int:
    """The member has read the thread up to ``reader.read_seq``, if not farther. Returns the position."""
    chat_pk, root_seq = root_place
    known = member(tx, chat_pk, root_seq, reader.user_pk)
    if known is not None and known.read_seq >= reader.read_seq:
        return known.read_seq
    now = (known or ThreadMember(False, 0, 0, None))._replace(read_seq=reader.read_seq)
    keep_member(tx, chat_pk, root_seq, reader.user_pk, now)
    readers.add(tx, (chat_pk, root_seq), reader._replace(joined_seq=max(reader.joined_seq, now.from_seq)))
    return reader.read_seq


def unfollow_all(tx: Tx, chat_pk: int, user_pk: int) -> None:
    """Who leaves a chat follows none of its threads."""
    here = thread_members.c.chat_pk == chat_pk, thread_members.c.user_pk == user_pk, thread_members.c.follows
    tx.execute(update(thread_members).where(*here).values(follows=False))


# Counting


# Unread replies of others, for a row of ``thread_members`` joined with ``members`` (``OF_MEMBER``).
UNREAD_OF_FOLLOWER = f"""(SELECT count(*) FROM (
  SELECT 1 FROM messages AS r {{hint}} WHERE r.chat_pk = thread_members.chat_pk AND r.thread_seq = thread_members.root_seq
  AND r.seq > thread_members.read_seq AND r.seq > members.joined_seq AND r.sender_pk != thread_members.user_pk
  AND r.previous_seq IS NOT NULL AND r.deleted_at IS NULL LIMIT {UNREAD_CAP}
) AS unread)"""
# For SQLite and for PostgreSQL.
HINTS = hints(OF_THREADS)
OF_MEMBER = and_(members.c.chat_pk == thread_members.c.chat_pk, members.c.user_pk == thread_members.c.user_pk)


def unread_of_follower(hint: str) -> ColumnElement[int]:
    return literal_column(UNREAD_OF_FOLLOWER.replace("{hint}", hint), Integer)


def summed_by(column: ColumnElement[int], *where: ColumnElement[bool]) -> Prepared:
    """By user or chat the unread replies of threads that a condition names and that are followed."""
    return Prepared(
        *(
            select(column, cast(func.sum(unread_of_follower(hint)), BigInteger))
            .select_from(thread_members)
            .join(members, OF_MEMBER)
            .where(thread_members.c.follows, *where)
            .group_by(column)
            for hint in HINTS
        )
    )


IN_CHATS = summed_by(
    thread_members.c.chat_pk,
    thread_members.c.user_pk == bindparam("user"),
    one_of(thread_members.c.chat_pk, "chats"),
)
UNMUTED = summed_by(
    thread_members.c.user_pk,
    one_of(thread_members.c.user_pk, "users"),
    or_(members.c.muted_until.is_(None), members.c.muted_until <= bindparam("at")),
)


def read_of_chats(user_pk: int, chat_pks: Iterable[int]) -> Read:
    """The query of ``in_chats``."""
    return IN_CHATS, {"user": user_pk, "chats": json_list(chat_pks)}


def in_chats(rows: Rows) -> dict[int, int]:
    """By chat the unread replies of threads that a member follows; of the rows of ``read_of_chats``."""
    return dict(rows)


def in_chat(connection: Connection, user_pk: int, chat_pk: int) -> int:
    return in_chats(fetch_one(connection, *read_of_chats(user_pk, [chat_pk]))).get(chat_pk, 0)


def unmuted(connection: Connection, user_pks: Collection[int], at: int) -> dict[int, int]:
    """By user the unread replies of threads that they follow, over all chats that are not muted at ``at``."""
    return in_chats(fetch_one(connection, UNMUTED, {"users": json_list(user_pks), "at": at}))
