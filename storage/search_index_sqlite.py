"""The search index of SQLite: FTS5 in a file of its own, which one process writes.

The file may be deleted or damaged: it is rebuilt then. Relied on of FTS5 (https://www.sqlite.org/fts5.html):
the tokenizer ``ascii`` leaves everything above ASCII as it is; ``merge`` with a negative number works towards one segment,
without the words of rows that were deleted.
"""

import asyncio
import contextlib
import logging
import sqlite3
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from storage.database import Database
from storage.prepared import json_list
from storage.search import IndexChange, IndexPosition, heads, unindexed
from storage.search_index import SLICE_MESSAGES, IndexMatches, SearchRange, keys_of_message
from storage.sqlstates import is_damaged, unavailable_where_unreachable
from storage.types import now
from storage.words import Key

logger = logging.getLogger("bellwire.storage")
T = TypeVar("T")

VERSION = 1
# A message's number in the file: its chat's, and its seq in the lower bits.
SEQ_BITS = 32
LOWER_BITS = 2**SEQ_BITS - 1
WAL = "-wal"
MERGED_PAGES = 200
SCHEMA = f"""
    PRAGMA journal_mode = WAL;
    PRAGMA synchronous = NORMAL;
    PRAGMA secure_delete = ON;
    PRAGMA busy_timeout = 5000;
    BEGIN IMMEDIATE;
    CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS positions (
        chat_pk INTEGER PRIMARY KEY, seq INTEGER NOT NULL, filled INTEGER NOT NULL, texts INTEGER NOT NULL
    );
    CREATE TABLE IF NOT EXISTS texts (pk INTEGER PRIMARY KEY, keys TEXT NOT NULL);
    CREATE VIRTUAL TABLE IF NOT EXISTS found USING fts5(
        keys, content='texts', content_rowid='pk', detail='none', columnsize=0, tokenize="ascii tokenchars ':'"
    );
    INSERT OR IGNORE INTO facts VALUES ('version', '{VERSION}');
    COMMIT;
"""
PUT_FACT = "INSERT INTO facts VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value"
PUT_ONCE = "INSERT OR IGNORE INTO facts VALUES (?, ?)"
PUT_POSITION = (
    "INSERT INTO positions (chat_pk, seq, filled, texts) VALUES (?, ?, ?, ?) ON CONFLICT (chat_pk) "
    "DO UPDATE SET seq = excluded.seq, filled = excluded.filled, texts = texts + excluded.texts"
)
POSITIONS = "SELECT chat_pk, seq, filled FROM positions WHERE chat_pk IN (SELECT value FROM json_each(?))"
KNOWN = "SELECT pk, keys FROM texts WHERE pk IN (SELECT value FROM json_each(?))"
OF_CHAT = "SELECT pk, keys FROM texts WHERE pk BETWEEN ? AND ? LIMIT ?"
ADD = "INSERT INTO texts (pk, keys) VALUES (?, ?)", "INSERT INTO found (rowid, keys) VALUES (?, ?)"
REMOVE = "INSERT INTO found (found, rowid, keys) VALUES ('delete', ?, ?)", "DELETE FROM texts WHERE pk = ?"
FIND = "SELECT rowid FROM found WHERE found MATCH ? AND rowid < ? ORDER BY rowid DESC LIMIT ?"
INTEGRITY = "INSERT INTO found (found) VALUES ('integrity-check')"
CHECKPOINT = "PRAGMA wal_checkpoint(TRUNCATE)"
MERGE = "INSERT INTO found (found, rank) VALUES ('merge', ?)"
# When the oldest text was removed whose words may still be in the file, in microseconds.
REMOVED_AT = "removed_at"


class SqliteSearchIndex:
    """Reads and writes run in threads, one of each at a time. The file is opened when it is first used."""

    is_shared = False

    def __init__(self, database: Database, path: Path) -> None:
        self.database = database
        self.path = path
        self.generation = 0
        self.file: IndexFile | None = None
        # Lock order: writing before reading. The third guards the opening of the file.
        self.writing, self.reading, self.opening = asyncio.Lock(), asyncio.Lock(), asyncio.Lock()

    async def find(self, wanted: Sequence[SearchRange], keys: Sequence[Key], *, most: int) -> list[IndexMatches]:
        return await self._guarded(self.reading, lambda file: in_thread(find, file.reader, wanted, keys, most))

    async def update(self, chat_pks: Collection[int]) -> set[int]:
        async def work(file: IndexFile) -> set[int]:
            positions = await in_thread(positions_of, file.writer, chat_pks)
            changes = await self.database.read(lambda it: unindexed(it, positions, limit=SLICE_MESSAGES), snapshot=True)
            return await in_thread(store, file.writer, changes)

        return await self._guarded(self.writing, work)

    async def unindexed_chats(self) -> set[int]:
        known = await self._guarded(self.writing, lambda file: in_thread(positions_of, file.writer, None))
        newest = await self.database.read(heads)
        behind = {pk for pk, head in newest.items() if known.get(pk) != IndexPosition(head, head)}
        return behind | (known.keys() - newest.keys())

    async def compact(self, *, before: int) -> bool:
        if not await self._guarded(self.writing, lambda file: in_thread(is_compaction_due, file.writer, before)):
            return False
        pages = -MERGED_PAGES
        # The lock is released between two steps.
        while await self._guarded(self.writing, partial(merge_some, pages=pages)):
            pages = MERGED_PAGES

        async def finish(file: IndexFile) -> None:
            # An open read transaction would keep the old pages in the log.
            async with self.reading:
                await in_thread(finish_compaction, file.writer)

        await self._guarded(self.writing, finish)
        return True

    async def rebuild(self) -> None:
        async with self.writing, self.reading:
            await in_thread(self._remove)

    async def close(self) -> None:
        async with self.writing, self.reading:
            if self.file is None:
                return
            try:
                await in_thread(self.file.close, True)
                self.file = None
            except sqlite3.Error as error:
                if not is_damaged(error):
                    raise
                logger.warning("the search index %s is built again when it is next used: %s", self.path, error)
                await in_thread(self._remove)

    async def _guarded(self, lock: asyncio.Lock, work: Callable[["IndexFile"], Awaitable[T]]) -> T:
        """Run on the open file, holding a lock; once more on a new one where the file is damaged."""
        with unavailable_where_unreachable(f"the search index {self.path} cannot be used"):
            async with lock:
                file = self.file
                try:
                    file = await self._open()
                    return await work(file)
                except sqlite3.Error as error:
                    if not is_damaged(error):
                        raise
                    logger.warning("the search index %s is built again: %s", self.path, error)
            async with self.writing, self.reading:
                # Unless another task has replaced the file already.
                if self.file is file:
                    await in_thread(self._remove)
            async with lock:
                return await work(await self._open())

    async def _open(self) -> "IndexFile":
        async with self.opening:
            if self.file is None:
                self.file = await in_thread(IndexFile, self.path, self.database.epoch)
            return self.file

    def _remove(self) -> None:
        if self.file:
            self.file.close(clean=False)
            self.file = None
        for suffix in ("", WAL, "-shm"):
            self.path.with_name(self.path.name + suffix).unlink(missing_ok=True)
        self.generation += 1


async def in_thread(work: Callable[..., T], *arguments: Any) -> T:
    """Run in a thread. A cancelled caller waits until the thread has finished with the connection, then raises."""
    task = asyncio.ensure_future(asyncio.to_thread(work, *arguments))
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        raise


async def merge_some(file: "IndexFile", pages: int) -> bool:
    return await in_thread(merge, file.writer, pages)


class IndexFile:
    """A connection that writes and one that reads. Raises sqlite3.DatabaseError for a file that cannot be used."""

    def __init__(self, path: Path, epoch: str) -> None:
        had_wal = path.with_name(path.name + WAL).exists()
        self.writer = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        try:
            self.writer.executescript(SCHEMA)
            facts: dict[str, str] = dict(self.writer.execute("SELECT name, value FROM facts").fetchall())
            if facts["version"] != str(VERSION):
                raise sqlite3.DatabaseError("it is of another version")
            if facts.get("epoch", epoch) != epoch:
                raise sqlite3.DatabaseError("it belongs to another epoch of the database")
            if facts.get("open") == "1":
                if not had_wal:
                    raise sqlite3.DatabaseError("its log is gone")
                check(self.writer)
            self.writer.executemany(PUT_FACT, [("epoch", epoch), ("open", "1")])
            self.writer.execute(CHECKPOINT)
            self.reader = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
            self.reader.executescript("PRAGMA query_only = ON; PRAGMA busy_timeout = 5000;")
        except BaseException:
            self.writer.close()
            raise

    def close(self, clean: bool) -> None:
        if clean:
            self.writer.execute(PUT_FACT, ("open", "0"))
        # The last connection to be closed checkpoints the log.
        self.reader.close()
        self.writer.close()


def check(connection: sqlite3.Connection) -> None:
    """Check a file that was not closed cleanly. Raises sqlite3.DatabaseError."""
    connection.execute(INTEGRITY)
    found = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    if found != "ok":
        raise sqlite3.DatabaseError(found)
    counted = dict(connection.execute(f"SELECT pk >> {SEQ_BITS}, COUNT(*) FROM texts GROUP BY 1").fetchall())
    for chat_pk, texts in connection.execute("SELECT chat_pk, texts FROM positions"):
        if counted.pop(chat_pk, 0) != texts:
            raise sqlite3.DatabaseError(f"texts of chat {chat_pk} are missing")
    if counted:
        raise sqlite3.DatabaseError("positions are missing")


def find(
    connection: sqlite3.Connection, wanted: Sequence[SearchRange], keys: Sequence[Key], most: int
) -> list[IndexMatches]:
    found = []
    with transaction(connection, "DEFERRED"):
        positions = positions_of(connection, [each.chat_pk for each in wanted])
        for chat_pk, before in wanted:
            upto = chat_pk << SEQ_BITS | min(before, LOWER_BITS)
            rows = connection.execute(FIND, (match_of(chat_pk, keys), upto, most))
            found.append(IndexMatches(positions[chat_pk], [pk & LOWER_BITS for (pk,) in rows]))
    return found


def is_compaction_due(connection: sqlite3.Connection, before: int) -> bool:
    row = connection.execute("SELECT value FROM facts WHERE name = ?", (REMOVED_AT,)).fetchone()
    return row is not None and int(row[0]) < before


def merge(connection: sqlite3.Connection, pages: int) -> bool:
    """Whether there was something to merge."""
    done = connection.total_changes
    connection.execute(MERGE, (pages,))
    return connection.total_changes - done > 1


def finish_compaction(connection: sqlite3.Connection) -> None:
    connection.execute("DELETE FROM facts WHERE name = ?", (REMOVED_AT,))
    connection.execute(CHECKPOINT)


@contextlib.contextmanager
def transaction(connection: sqlite3.Connection, kind: str) -> Iterator[None]:
    connection.execute(f"BEGIN {kind}")
    try:
        yield
    except BaseException:
        with contextlib.suppress(sqlite3.Error):
            connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


def positions_of(connection: sqlite3.Connection, chat_pks: Iterable[int] | None) -> dict[int, IndexPosition]:
    """Of these chats, or of all that have one."""
    if chat_pks is None:
        rows = connection.execute("SELECT chat_pk, seq, filled FROM positions")
        return {pk: IndexPosition(seq, filled) for pk, seq, filled in rows}
    found = dict.fromkeys(chat_pks, IndexPosition())
    rows = connection.execute(POSITIONS, (json_list(found),))
    return found | {pk: IndexPosition(seq, filled) for pk, seq, filled in rows}


def match_of(chat_pk: int, keys: Sequence[Key]) -> str:
    """In FTS5's language: strings that all match. A key has neither spaces nor quotes."""
    return " AND ".join(f'"{chat_pk}:{each.text}"{"*" if each.prefix else ""}' for each in keys)


def store(connection: sqlite3.Connection, changes: Sequence[IndexChange]) -> set[int]:
    """Write texts and positions in one transaction; the chats that lack more."""
    incomplete = {each.chat_pk for each in changes if not each.is_complete}
    with transaction(connection, "IMMEDIATE"):
        for chat_pk, position, texts, _ in changes:
            if position is None:
                if not remove_some(connection, chat_pk):
                    incomplete.add(chat_pk)
                continue
            wanted = {
                chat_pk << SEQ_BITS | seq: " ".join(keys_of_message(chat_pk, content)) for seq, content in texts.items()
            }
            known = dict(connection.execute(KNOWN, (json_list(wanted),)).fetchall())
            old = {pk: keys for pk, keys in known.items() if wanted[pk] != keys}
            new = {pk: keys for pk, keys in wanted.items() if keys and known.get(pk) != keys}
            replace(connection, old, new)
            connection.execute(PUT_POSITION, (chat_pk, *position, len(new) - len(old)))
    return incomplete


def replace(connection: sqlite3.Connection, old: Mapping[int, str], new: Mapping[int, str]) -> None:
    if old:
        connection.executemany(REMOVE[0], old.items())
        connection.executemany(REMOVE[1], [(pk,) for pk in old])
        connection.execute(PUT_ONCE, (REMOVED_AT, now()))
    for statement in ADD:
        connection.executemany(statement, sorted(new.items()))


def remove_some(connection: sqlite3.Connection, chat_pk: int) -> bool:
    """Whether nothing is left of a chat."""
    some = dict(
        connection.execute(OF_CHAT, (chat_pk << SEQ_BITS, chat_pk << SEQ_BITS | LOWER_BITS, SLICE_MESSAGES)).fetchall()
    )
    replace(connection, some, {})
    if len(some) == SLICE_MESSAGES:
        connection.execute("UPDATE positions SET texts = texts - ? WHERE chat_pk = ?", (SLICE_MESSAGES, chat_pk))
        return False
    connection.execute("DELETE FROM positions WHERE chat_pk = ?", (chat_pk,))
    return True
