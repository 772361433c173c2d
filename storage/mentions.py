"""Mentions: a row for each member whom a message names, and a flag of a message that names all.

Who a message mentions is also in a column of it, as ``[[number, id], ...]``, so that an edit finds the rows that go.
"""

from collections.abc import Iterable, Sequence

from sqlalchemy import BigInteger, Connection, Integer, bindparam, literal_column, select, text

from storage.fetch import Rows, fetch_one
from storage.messages import Message
from storage.models import chats, members, mentions, users
from storage.prepared import Bulk, Delete, Prepared, Update, json_list, one_of
from storage.statements import Read
from storage.transaction import Tx

COUNT_CAP = 1000
# Number and id of a user.
Mentioned = tuple[int, str]

ADD = Bulk(mentions, ("user_pk", "chat_pk", "seq", "root_seq", "created_at"))
REMOVE = Delete(mentions, ("user_pk", "chat_pk", "seq"))
SET_ALL_AT = Update(chats, ("pk",), ("mention_all_at",))
ALL_AT = Prepared(select(chats.c.mention_all_at).where(chats.c.pk == bindparam("chat")))
MEMBERS_BY_ID = Prepared(
    select(users.c.pk, users.c.id)
    .join(members, members.c.user_pk == users.c.pk)
    .where(members.c.chat_pk == bindparam("chat"), one_of(users.c.id, "ids"))
)


def members_by_id(tx: Tx, chat_pk: int, ids: Sequence[str]) -> list[Mentioned]:
    """Those of these users who are members of a chat, in the order of ``ids``."""
    if not ids:
        return []
    found = {id: pk for pk, id in tx.rows(MEMBERS_BY_ID, {"chat": chat_pk, "ids": json_list(ids)})}
    return [(found[id], id) for id in ids if id in found]


def reads_of_members(chat_pk: int, ids: Sequence[str]) -> list[Read]:
    """The queries of ``members_by_id``."""
    return [(MEMBERS_BY_ID, {"chat": chat_pk, "ids": json_list(ids)})] if ids else []


def all_at(tx: Tx, chat_pk: int) -> int | None:
    """When a message of the chat last mentioned all, in microseconds."""
    known: int | None = tx.pending(("mention of all", chat_pk), None)
    if known is not None:
        return known
    row = tx.first(ALL_AT, {"chat": chat_pk})
    return row[0] if row else None


def reads_of_all(chat_pk: int) -> list[Read]:
    """The queries of ``all_at``."""
    return [(ALL_AT, {"chat": chat_pk})]


def set_all_at(tx: Tx, chat_pk: int) -> None:
    tx.update_later(SET_ALL_AT, (chat_pk,), (tx.now,))
    tx.set_pending(("mention of all", chat_pk), tx.now)


def change(tx: Tx, before: Message | None, now: Message) -> None:
    """Write and remove rows, so that they are those of a message as it is ``now``; ``before`` is None for a new one."""
    had = rows_of(before) if before else {}
    wanted = rows_of(now)
    gone, new = had.keys() - wanted.keys(), wanted.keys() - had.keys()
    if not gone and not new:
        return
    place = (now.chat_pk, now.seq)
    if tx.pending(("mentions", place), None):
        # Rows of the same keys may wait to be written, or to be removed.
        tx.connection()
    for pk in gone:
        tx.update_later(REMOVE, (pk, *place), ())
    for pk in new:
        tx.later(ADD, (pk, *place, None if now.in_chat else now.thread_seq, now.created_at))
    if before is not None:
        tx.set_pending(("mentions", place), True)


def rows_of(item: Message) -> dict[int, str]:
    """Whom a row mentions: none where all are mentioned."""
    return {} if item.mention_all else dict(item.mentions)


# Counting


# Of a message that mentions all: shown in the chat, or in its thread alone, where all are those who follow it.
ALL_OF_CHAT, ALL_OF_THREAD = 1, 2
FOLLOWED = (
    "EXISTS (SELECT 1 FROM thread_members AS f WHERE f.chat_pk = a.chat_pk AND f.root_seq = a.thread_seq "
    "AND f.user_pk = members.user_pk AND f.follows{unread})"
)
NAMED = f"""(SELECT count(*) FROM (
  SELECT 1 FROM mentions AS n LEFT JOIN thread_members AS t
  ON t.chat_pk = n.chat_pk AND t.root_seq = n.root_seq AND t.user_pk = n.user_pk
  WHERE n.user_pk = members.user_pk AND n.chat_pk = members.chat_pk AND n.seq > members.joined_seq
  AND n.seq > CASE WHEN n.root_seq IS NULL THEN members.read_seq ELSE COALESCE(t.read_seq, 0) END LIMIT {COUNT_CAP}
) AS named)"""
WITH_ALL = f"""(SELECT count(*) FROM (
  SELECT 1 FROM messages AS a WHERE a.chat_pk = members.chat_pk AND a.mention_all = {ALL_OF_CHAT}
  AND a.seq > members.joined_seq AND a.seq > members.read_seq AND a.sender_pk != members.user_pk LIMIT {COUNT_CAP}
) AS all_of_chat)"""
WITH_ALL_OF_THREADS = f"""(SELECT count(*) FROM (
  SELECT 1 FROM messages AS a WHERE a.chat_pk = members.chat_pk AND a.mention_all = {ALL_OF_THREAD}
  AND a.seq > members.joined_seq AND a.sender_pk != members.user_pk
  AND {FOLLOWED.format(unread=" AND f.read_seq < a.seq")} LIMIT {COUNT_CAP}
) AS all_of_threads)"""
IN_CHATS = Prepared(
    select(
        members.c.chat_pk, *(literal_column(each, Integer) for each in (NAMED, WITH_ALL, WITH_ALL_OF_THREADS))
    ).where(members.c.user_pk == bindparam("user"), one_of(members.c.chat_pk, "chats"))
)


def read_of_chats(user_pk: int, chat_pks: Iterable[int]) -> Read:
    """The query of ``in_chats``."""
    return IN_CHATS, {"user": user_pk, "chats": json_list(chat_pks)}


def in_chats(rows: Rows) -> dict[int, int]:
    """By chat the mentions of a member that they have not read, at most 1,000; of the rows of ``read_of_chats``."""
    return {chat_pk: min(sum(counts), COUNT_CAP) for chat_pk, *counts in rows}


# Listing


PLACES = f"""
  SELECT n.chat_pk AS chat_pk, n.seq AS seq, n.created_at AS at FROM mentions AS n
  JOIN members ON members.chat_pk = n.chat_pk AND members.user_pk = n.user_pk
  WHERE n.user_pk = :user AND n.seq > members.joined_seq
  UNION ALL SELECT a.chat_pk AS chat_pk, a.seq AS seq, a.created_at AS at FROM members
  JOIN messages AS a ON a.chat_pk = members.chat_pk AND a.mention_all IS NOT NULL AND a.seq > members.joined_seq
  WHERE members.user_pk = :user AND a.sender_pk != members.user_pk
  AND (a.mention_all = {ALL_OF_CHAT} OR {FOLLOWED.format(unread="")})
"""


def listing(condition: str, *more: str) -> Prepared:
    return Prepared(
        text(
            f"SELECT p.chat_pk, p.seq, p.at FROM ({PLACES}) AS p JOIN chats ON chats.pk = p.chat_pk "
            f"WHERE chats.deleted_at IS NULL{condition} ORDER BY p.at DESC, p.chat_pk DESC, p.seq DESC LIMIT :most"
        ).bindparams(*(bindparam(name, type_=BigInteger) for name in ("user", "most", *more)))
    )


LISTED = listing("")
LISTED_BEFORE = listing(" AND (p.at, p.chat_pk, p.seq) < (:at, :chat, :seq)", "at", "chat", "seq")


def of_user(
    connection: Connection, user_pk: int, *, before: tuple[int, int, int] | None, limit: int
) -> list[tuple[int, int, int]]:
    """``(time, chat, seq)`` of messages that mention a user, newest first; ``before`` is the last one's."""
    values = {"user": user_pk, "most": limit}
    if before is None:
        rows = fetch_one(connection, LISTED, values)
    else:
        rows = fetch_one(connection, LISTED_BEFORE, values | dict(zip(("at", "chat", "seq"), before, strict=True)))
    return [(at, chat_pk, seq) for chat_pk, seq, at in rows]
