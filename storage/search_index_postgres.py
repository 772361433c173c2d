"""The search index of PostgreSQL: GIN over the keys of each message, filled by whichever process takes a chat first."""

import asyncio
from collections.abc import Callable, Collection, Sequence
from typing import TypeVar

import psycopg
from sqlalchemy import BigInteger, Connection, Integer, bindparam, text
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.util import await_only

from storage.database import Database
from storage.fetch import fetch_many, fetch_one, run
from storage.pipeline import Statement, closing_after, numbers, pipeline_of, texts
from storage.prepared import Prepared, json_list
from storage.search import IndexChange, IndexPosition, unindexed
from storage.search_index import SLICE_MESSAGES, IndexMatches, SearchRange, keys_of_message
from storage.sqlstates import is_retriable, unavailable_where_unreachable
from storage.words import Key

T = TypeVar("T")
UNINDEXED_AT_ONCE = 10_000
# Of a message's keys; a lexeme of PostgreSQL has at most 2 KiB, which INDEXED_LENGTH keeps.
FIND = Prepared(
    text(
        "SELECT t.seq FROM search_texts AS t WHERE t.keys @@ CAST(:query AS tsquery) AND t.chat_pk = :chat "
        "AND t.seq < :before ORDER BY t.seq DESC LIMIT :most"
    ).bindparams(
        bindparam("chat", type_=BigInteger),
        bindparam("before", type_=BigInteger),
        bindparam("most", type_=Integer),
    )
)
CHATS = "(SELECT CAST(value AS bigint) AS pk FROM json_array_elements_text(CAST(:chats AS json)) AS v (value)) AS w"
POSITIONS = Prepared(
    text(f"SELECT p.chat_pk, p.seq, p.filled FROM {CHATS} JOIN search_positions AS p ON p.chat_pk = w.pk")
)
CLAIM = Prepared(
    text(
        f"SELECT p.chat_pk, p.seq, p.filled FROM search_positions AS p "
        f"WHERE p.chat_pk IN (SELECT w.pk FROM {CHATS}) FOR UPDATE SKIP LOCKED"
    )
)
UNINDEXED = Prepared(
    text(
        "SELECT c.pk FROM chats AS c JOIN channels AS h ON h.pk = c.pk LEFT JOIN search_positions AS p ON p.chat_pk = c.pk "
        "WHERE (c.deleted_at IS NULL AND h.head > 0 AND (p.seq IS NULL OR p.seq < h.head OR p.filled < h.head)) "
        "OR (c.deleted_at IS NOT NULL AND p.seq IS NOT NULL) LIMIT :most"
    ).bindparams(bindparam("most", type_=Integer))
)
# So that nothing is cut off the log between two statements.
BEGIN = Statement("BEGIN ISOLATION LEVEL REPEATABLE READ")
COMMIT, ROLLBACK = Statement("COMMIT"), Statement("ROLLBACK")
MAKE = (
    "INSERT INTO search_positions (chat_pk, seq, filled) SELECT pk, 0, 0 FROM unnest($1::bigint[]) AS w (pk) "
    "ON CONFLICT DO NOTHING"
)
MOVE = (
    "UPDATE search_positions AS p SET seq = w.seq, filled = w.filled "
    "FROM unnest($1::bigint[], $2::bigint[], $3::bigint[]) AS w (pk, seq, filled) WHERE p.chat_pk = w.pk"
)
PUT = (
    "INSERT INTO search_texts (chat_pk, seq, keys) SELECT w.pk, w.seq, array_to_tsvector(string_to_array(w.keys, ' ')) "
    "FROM unnest($1::bigint[], $2::bigint[], $3::text[]) AS w (pk, seq, keys) "
    "ON CONFLICT (chat_pk, seq) DO UPDATE SET keys = excluded.keys WHERE search_texts.keys <> excluded.keys"
)
REMOVE = (
    "DELETE FROM search_texts AS t USING unnest($1::bigint[], $2::bigint[]) AS w (pk, seq) "
    "WHERE t.chat_pk = w.pk AND t.seq = w.seq"
)
REMOVE_SOME = (
    "DELETE FROM search_texts WHERE (chat_pk, seq) IN (SELECT t.chat_pk, t.seq FROM search_texts AS t "
    f"WHERE t.chat_pk = ANY ($1::bigint[]) LIMIT {SLICE_MESSAGES}) RETURNING chat_pk"
)
FORGET = (
    "DELETE FROM search_positions AS p WHERE p.chat_pk = ANY ($1::bigint[]) "
    "AND NOT EXISTS (SELECT 1 FROM search_texts AS t WHERE t.chat_pk = p.chat_pk) RETURNING p.chat_pk"
)
# What is found meanwhile is right; what is not right any more is replaced.
CLEAR = Statement("UPDATE search_positions SET seq = 0, filled = 0")


class PostgresSearchIndex:
    """Written through a connection of its own, so that it never holds up what is sent."""

    is_shared = True

    def __init__(self, database: Database) -> None:
        self.database = database
        self.generation = 0
        self.pool = database.connection_pool(1, 0)

    async def find(self, wanted: Sequence[SearchRange], keys: Sequence[Key], *, most: int) -> list[IndexMatches]:
        def look(connection: Connection) -> list[IndexMatches]:
            # The positions first: what is indexed meanwhile is found all the same, and nothing is removed but what changed.
            positions = positions_of(fetch_one(connection, POSITIONS, {"chats": json_list(pks)}))
            values = [
                {"query": query_of(pk, keys), "chat": pk, "before": before, "most": most} for pk, before in wanted
            ]
            rows = fetch_many(connection, FIND, values)
            return [
                IndexMatches(positions.get(pk, IndexPosition()), [seq for (seq,) in seqs])
                for pk, seqs in zip(pks, rows, strict=True)
            ]

        pks = [each.chat_pk for each in wanted]
        return await self.database.read(look)

    async def update(self, chat_pks: Collection[int]) -> set[int]:
        def work(connection: Connection) -> set[int]:
            pks = sorted(chat_pks)
            # Of their own transaction, so that no two wait for one another's new rows.
            run(connection, [Statement(MAKE, [numbers(pks)])])
            run(connection, [BEGIN])
            positions = positions_of(fetch_one(connection, CLAIM, {"chats": json_list(pks)}))
            changes = unindexed(connection, positions, limit=SLICE_MESSAGES)
            gone = [each.chat_pk for each in changes if each.position is None]
            statements = await_only(asyncio.to_thread(writing, changes))
            run(connection, [*statements, COMMIT])
            incomplete = {each.chat_pk for each in changes if not each.is_complete}
            # Others are at work on the rest.
            return incomplete | (set(pks) - positions.keys()) | (set(gone) - forget(connection, gone))

        try:
            return await self._run(work)
        except psycopg.Error as error:
            if not is_retriable(error):
                raise
            # Another process was first.
            return set(chat_pks)

    async def unindexed_chats(self) -> set[int]:
        rows = await self.database.read(lambda it: fetch_one(it, UNINDEXED, {"most": UNINDEXED_AT_ONCE}))
        return {pk for (pk,) in rows}

    async def compact(self, *, before: int) -> bool:
        """PostgreSQL's autovacuum does it."""
        return False

    async def rebuild(self) -> None:
        await self._run(lambda connection: run(connection, [CLEAR]))
        self.generation += 1

    async def close(self) -> None:
        await self.pool.close()

    async def _run(self, work: Callable[[Connection], T]) -> T:
        """On the index's own connection, which is lost where it takes too long."""
        with unavailable_where_unreachable("the search index cannot be written"):
            async with self.pool.connection() as connection:
                return await self._work(connection, work)

    async def _work(self, connection: AsyncConnection, work: Callable[[Connection], T]) -> T:
        pipeline = await pipeline_of(connection, prepares=not self.database.pooled)
        try:
            with closing_after(pipeline.connection, self.database.write_seconds):
                return await connection.run_sync(work)
        except Exception:
            if not pipeline.is_lost and not pipeline.is_idle:
                await pipeline.run([ROLLBACK])
            raise
        finally:
            # Lost, or in the transaction of a caller that was cancelled.
            if not pipeline.is_idle:
                await connection.invalidate()


def positions_of(rows: Sequence[tuple[int, ...]]) -> dict[int, IndexPosition]:
    return {pk: IndexPosition(seq, filled) for pk, seq, filled in rows}


def query_of(chat_pk: int, keys: Sequence[Key]) -> str:
    """In the language of tsquery. A key has no quotes and no backslashes."""
    return " & ".join(f"'{chat_pk}:{each.text}'{':*' if each.prefix else ''}" for each in keys)


def writing(changes: Sequence[IndexChange]) -> list[Statement]:
    kept, removed, moved = [], [], []
    for chat_pk, position, messages, _ in changes:
        if position is None:
            continue
        moved.append((chat_pk, *position))
        for seq, content in messages.items():
            keys = " ".join(keys_of_message(chat_pk, content))
            if keys:
                kept.append((chat_pk, seq, keys))
            else:
                removed.append((chat_pk, seq))
    statements = []
    if kept:
        pks, seqs, keys_of_each = zip(*kept, strict=True)
        statements.append(Statement(PUT, [numbers(pks), numbers(seqs), texts(keys_of_each)]))
    if removed:
        statements.append(Statement(REMOVE, [numbers(column) for column in zip(*removed, strict=True)]))
    if moved:
        statements.append(Statement(MOVE, [numbers(column) for column in zip(*moved, strict=True)]))
    return statements


def forget(connection: Connection, gone: Sequence[int]) -> set[int]:
    """Remove a slice of what is left of chats that are gone; those of which nothing is left."""
    if not gone:
        return set()
    pks = [numbers(gone)]
    _, left = run(connection, [Statement(REMOVE_SOME, pks), Statement(FORGET, pks)])
    return {pk for (pk,) in left}
