"""A transaction on SQLite: every statement runs at once, on sqlite3's own connection, in the writer's thread."""

import sqlite3
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import orjson
from sqlalchemy import Connection

from storage.prepared import LARGEST_LIST, Bulk, Prepared, Update
from storage.statements import SET_CHANNEL, Channels, Found, Locked, Read, Waiting
from storage.types import now

# One writer needs no locks.
FIND_CHANNELS = "SELECT pk, head, name, ordinal FROM channels WHERE pk IN (SELECT value FROM json_each(?))"


class SqliteStatements:
    """Reads are local, so that none is made ahead."""

    reads_ahead = False

    def __init__(self, connection: Connection, bare: sqlite3.Connection) -> None:
        self.connection = connection
        self.bare = bare

    def begin(self, pks: Sequence[int], keys: Sequence[str], reads: Collection[Read]) -> Locked:
        heads = self.bare.execute(FIND_CHANNELS, [orjson.dumps(pks).decode()]).fetchall() if pks else []
        return Locked(heads, now(), {})

    def find(self, reads: Collection[Read]) -> Found:
        return {}

    def rows(self, query: Prepared, values: Mapping[str, Any]) -> Sequence[Any]:
        return self.bare.execute(query.sql, {**query.defaults, **values}).fetchall()

    def write(self, waiting: Waiting, moved: Channels, *then: str) -> None:
        for table, rows in waiting.rows.items():
            self._run(table, rows)
        for update, values in waiting.updates.items():
            self._run(update, update.rows_of(values))
        self._run(SET_CHANNEL, [(pk, *values) for pk, values in moved.items()])
        for each in then:
            self.bare.execute(each)

    def _run(self, kind: Bulk | Update, rows: Sequence[tuple[Any, ...]]) -> None:
        """In powers of two: each statement costs a hand-over of the interpreter's lock, and each length is compiled once."""
        start, size = 0, LARGEST_LIST
        while start < len(rows):
            while size > len(rows) - start:
                size //= 2
            part = rows[start : start + size]
            sql = kind.head + kind.separator.join([kind.row] * size) + kind.tail
            self.bare.execute(sql, [value for row in part for value in row])
            start += size

    def finish(self, waiting: Waiting, moved: Channels) -> None:
        self.write(waiting, moved)

    def is_spoiled_by(self, error: Exception) -> bool:
        return False
