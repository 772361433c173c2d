"""A transaction on SQLite: every statement runs at once, on sqlite3's own connection, in the writer's thread."""

import sqlite3
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import orjson
from sqlalchemy import Connection

from storage.prepared import LARGEST_LIST, Bulk, Prepared
from storage.statements import SET_HEAD, Found, Locked, Read, Waiting
from storage.types import now

# One writer needs no locks.
FIND_CHANNELS = "SELECT pk, head, name FROM channels WHERE pk IN (SELECT value FROM json_each(?))"


class SqliteStatements:
    """Reads are local, so that none is made ahead."""

    def __init__(self, connection: Connection, bare: sqlite3.Connection) -> None:
        self.connection = connection
        self.bare = bare

    def begin(self, pks: Sequence[int], keys: Sequence[str], reads: Collection[Read]) -> Locked:
        heads = self.bare.execute(FIND_CHANNELS, [orjson.dumps(pks).decode()]).fetchall() if pks else []
        return Locked(heads, now(), {})

    def find(self, reads: Collection[Read]) -> Found:
        return {}

    def first(self, query: Prepared, values: Mapping[str, Any]) -> Any:
        return self.bare.execute(query.sql, {**query.defaults, **values}).fetchone()

    def write(self, waiting: Waiting, heads: Mapping[int, int], *then: str) -> None:
        for table, rows in waiting.rows.items():
            self._insert(table, rows)
        for statement, values in waiting.updates.items():
            self.bare.executemany(statement.sql, [(*new, *key) for key, new in values.items()])
        if heads:
            self.bare.executemany(SET_HEAD.sql, [(head, pk) for pk, head in heads.items()])
        for each in then:
            self.bare.execute(each)

    def _insert(self, table: Bulk, rows: Sequence[tuple[Any, ...]]) -> None:
        """In powers of two: each statement costs a hand-over of the interpreter's lock, and each length is compiled once."""
        start, size = 0, LARGEST_LIST
        while start < len(rows):
            while size > len(rows) - start:
                size //= 2
            part = rows[start : start + size]
            self.bare.execute(table.head + ", ".join([table.row] * size), [value for row in part for value in row])
            start += size

    def finish(self, waiting: Waiting, heads: Mapping[int, int]) -> None:
        self.write(waiting, heads)

    def is_spoiled_by(self, error: Exception) -> bool:
        return False
