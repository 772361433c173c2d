"""Mentions: a row for each member whom a message names, and a flag of a message that names all.

Whom a message mentions is also in a column of it, as ``[[number, id], ...]``, so that an edit finds the rows that go.
"""

from collections.abc import Iterable, Mapping, Sequence

from sqlalchemy import Connection, Integer, bindparam, literal_column, select

from storage.fetch import Rows, fetch_one
from storage.messages import Message
from storage.models import OF_MENTIONS_OF_ALL, chats, members, mentions, users
from storage.prepared import Bulk, Delete, Prepared, Update, json_list, of_text, one_of
from storage.statements import Read
from storage.transaction import Tx

COUNT_CAP = 1000
# Number and id of a user.
Mentioned = tuple[int, str]

ADD = Bulk(mentions, ("user_pk", "chat_pk", "seq", "root_seq", "event_seq", "created_at"))
REMOVE = Delete(mentions, ("user_pk", "chat_pk", "seq"))
SET_ALL_AT = Update(chats, ("pk",), ("mention_all_at",))
ALL_AT = Prepared(select(chats.c.mention_all_at).where(chats.c.pk == bindparam("chat")))
MEMBERS_BY_ID = Prepared(
    select(users.c.pk, users.c.id, members.c.joined_seq)
    .join(members, members.c.user_pk == users.c.pk)
    .where(
        members.c.chat_pk == bindparam("chat"),
        one_of(users.c.id, "ids"),
        users.c.status != literal_column("'deleted'"),
    )
)


def members_by_id(tx: Tx, chat_pk: int, ids: Sequence[str], *, of_seq: int | None = None) -> list[Mentioned]:
    """Those of these users who are members of a chat, and were when the message ``of_seq`` was posted; in the order of
    ``ids``.
    """
    if not ids:
        return []
    rows = tx.rows(MEMBERS_BY_ID, {"chat": chat_pk, "ids": json_list(ids)})
    found = {id: pk for pk, id, joined_seq in rows if of_seq is None or joined_seq < of_seq}
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


def change(tx: Tx, before: Message | None, now: Message, event_seq: int) -> bool:
    """Write and remove rows, so that they are those of a message as it is ``now``; ``before`` is None for a new one.

    ``event_seq`` is that of the event that says so. Returns whether there are new rows.
    """
    had = rows_of(before) if before else {}
    wanted = rows_of(now)
    gone, new = had.keys() - wanted.keys(), wanted.keys() - had.keys()
    if not gone and not new:
        return False
    place = (now.chat_pk, now.seq)
    if tx.pending(("mentions", place), None):
        # Rows of the same keys may wait to be written, or to be removed.
        tx.connection()
    for pk in gone:
        tx.update_later(REMOVE, (pk, *place), ())
    for pk in new:
        tx.later(ADD, (pk, *place, None if now.in_chat else now.thread_seq, event_seq, now.created_at))
    if before is not None:
        tx.set_pending(("mentions", place), True)
    return bool(new)


def rows_of(item: Message) -> dict[int, str]:
    """The users for whom the message has rows; none where it mentions all."""
    return {} if item.mention_all else dict(item.mentions)


# Counting


# Of a message that mentions all: shown in the chat, or in its thread alone, where all are those who follow it.
ALL_OF_CHAT, ALL_OF_THREAD = 1, 2
FOLLOWED = (
    "EXISTS (SELECT 1 FROM thread_members AS f WHERE f.chat_pk = a.chat_pk AND f.root_seq = a.thread_seq "
    "AND f.user_pk = members.user_pk AND f.follows{unread})"
)
# A read position is never below that of the joining.
NAMED = f"""(SELECT count(*) FROM (
  SELECT 1 FROM mentions AS n WHERE n.user_pk = members.user_pk AND n.chat_pk = members.chat_pk
  AND n.seq > members.read_seq AND n.root_seq IS NULL LIMIT {COUNT_CAP}
) AS named)"""
NAMED_IN_THREADS = f"""(SELECT count(*) FROM (
  SELECT 1 FROM mentions AS n {{named}} LEFT JOIN thread_members AS t
  ON t.chat_pk = n.chat_pk AND t.root_seq = n.root_seq AND t.user_pk = n.user_pk
  WHERE n.user_pk = members.user_pk AND n.chat_pk = members.chat_pk AND n.seq > members.joined_seq
  AND n.root_seq IS NOT NULL AND n.seq > COALESCE(t.read_seq, 0) LIMIT {COUNT_CAP}
) AS in_threads)"""
WITH_ALL = f"""(SELECT count(*) FROM (
  SELECT 1 FROM messages AS a {{flagged}} WHERE a.chat_pk = members.chat_pk AND a.mention_all = {ALL_OF_CHAT}
  AND a.seq > members.read_seq AND a.sender_pk != members.user_pk LIMIT {COUNT_CAP}
) AS all_of_chat)"""
WITH_ALL_OF_THREADS = f"""(SELECT count(*) FROM (
  SELECT 1 FROM messages AS a {{flagged}} WHERE a.chat_pk = members.chat_pk AND a.mention_all = {ALL_OF_THREAD}
  AND a.seq > members.joined_seq AND a.sender_pk != members.user_pk
  AND {FOLLOWED.replace("{unread}", " AND f.read_seq < a.seq")} LIMIT {COUNT_CAP}
) AS all_of_threads)"""
COUNTS = (NAMED, NAMED_IN_THREADS, WITH_ALL, WITH_ALL_OF_THREADS)
# For SQLite, which keeps no statistics here, and for PostgreSQL.
INDEXES = (
    {"{named}": "INDEXED BY ix_mentions_thread", "{flagged}": f"INDEXED BY {OF_MENTIONS_OF_ALL}"},
    {"{named}": "", "{flagged}": ""},
)


def hinted(sql: str, indexes: Mapping[str, str]) -> str:
    for name, hint in indexes.items():
        sql = sql.replace(name, hint)
    return sql


IN_CHATS = Prepared(
    *(
        select(members.c.chat_pk, *(literal_column(hinted(each, indexes), Integer) for each in COUNTS)).where(
            members.c.user_pk == bindparam("user"), one_of(members.c.chat_pk, "chats")
        )
        for indexes in INDEXES
    )
)


def read_of_chats(user_pk: int, chat_pks: Iterable[int]) -> Read:
    """The query of ``in_chats``."""
    return IN_CHATS, {"user": user_pk, "chats": json_list(chat_pks)}


def in_chats(rows: Rows) -> dict[int, int]:
    """By chat the mentions of a member that they have not read, at most 1,000; of the rows of ``read_of_chats``."""
    return {chat_pk: min(sum(counts), COUNT_CAP) for chat_pk, *counts in rows}


# Listing


# Each part in its order and no longer than the whole, so that neither is read to its end.
PLACES = f"""
  SELECT * FROM (
    SELECT n.chat_pk AS chat_pk, n.seq AS seq, n.created_at AS at FROM mentions AS n
    JOIN members ON members.chat_pk = n.chat_pk AND members.user_pk = n.user_pk
    JOIN chats ON chats.pk = n.chat_pk AND chats.deleted_at IS NULL
    WHERE n.user_pk = :user AND n.seq > members.joined_seq{{named_before}}
    ORDER BY n.created_at DESC, n.chat_pk DESC, n.seq DESC LIMIT :most
  ) AS named UNION ALL SELECT * FROM (
    SELECT a.chat_pk AS chat_pk, a.seq AS seq, a.created_at AS at FROM members
    JOIN messages AS a {{flagged}} ON a.chat_pk = members.chat_pk AND a.mention_all IS NOT NULL AND a.seq > members.joined_seq
    JOIN chats ON chats.pk = a.chat_pk AND chats.deleted_at IS NULL
    WHERE members.user_pk = :user AND a.sender_pk != members.user_pk
    AND (a.mention_all = {ALL_OF_CHAT} OR {FOLLOWED.replace("{unread}", "")}){{all_before}}
    ORDER BY a.created_at DESC, a.chat_pk DESC, a.seq DESC LIMIT :most
  ) AS with_all
"""
BEFORE = " AND {0}.created_at <= :at AND ({0}.created_at, {0}.chat_pk, {0}.seq) < (:at, :chat, :seq)"
CURSOR = ("at", "chat", "seq")


def listing(*cursor: str) -> Prepared:
    named, with_all = (BEFORE.format(name) if cursor else "" for name in ("n", "a"))
    places = PLACES.replace("{named_before}", named).replace("{all_before}", with_all).replace("{flagged}", "{hint}")
    return of_text(
        f"SELECT p.chat_pk, p.seq, p.at FROM ({places}) AS p ORDER BY p.at DESC, p.chat_pk DESC, p.seq DESC LIMIT :most",
        "user",
        "most",
        *cursor,
        index=OF_MENTIONS_OF_ALL,
    )


LISTED, LISTED_BEFORE = listing(), listing(*CURSOR)


def of_user(
    connection: Connection, user_pk: int, *, before: tuple[int, int, int] | None, limit: int
) -> list[tuple[int, int, int]]:
    """``(time, chat, seq)`` of messages that mention a user, newest first; ``before`` is the last one's."""
    values = {"user": user_pk, "most": limit}
    if before is None:
        rows = fetch_one(connection, LISTED, values)
    else:
        rows = fetch_one(connection, LISTED_BEFORE, values | dict(zip(CURSOR, before, strict=True)))
    return [(at, chat_pk, seq) for chat_pk, seq, at in rows]
