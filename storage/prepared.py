"""Statements of the hot path: Core on PostgreSQL; on SQLite compiled once and run on the bare connection.

SQLAlchemy's execution costs several times what SQLite needs for such a statement; see docs/decisions.md.
"""

import sqlite3
from collections.abc import Collection, Mapping, Sequence
from typing import Any, TypeVar

from sqlalchemy import Connection, Executable, Table, insert
from sqlalchemy.dialects import sqlite

NAMED = sqlite.dialect(paramstyle="named")
LARGEST_LIST = 64
T = TypeVar("T")


def padded(values: Collection[T]) -> list[T]:
    """Values of an IN, some of them twice, so that there are few lengths of it and each is compiled and prepared once."""
    every = list(values)
    size = 1
    while size < len(every):
        size *= 2
    return every + every[:1] * (size - len(every))


class Prepared:
    """A statement; ``values`` name its bind parameters."""

    def __init__(self, statement: Executable) -> None:
        self.statement = statement
        compiled: Any = statement.compile(dialect=NAMED)  # type: ignore[attr-defined]
        self.sql = str(compiled)
        self.defaults = {name: value for name, value in compiled.params.items() if value is not None}

    def first(self, connection: Connection, bare: sqlite3.Connection | None, values: Mapping[str, Any]) -> Any:
        """The first row as a tuple, or None."""
        if bare is None:
            return connection.execute(self.statement, values).first()
        return bare.execute(self.sql, {**self.defaults, **values}).fetchone()

    def run(self, connection: Connection, bare: sqlite3.Connection | None, values: Sequence[Mapping[str, Any]]) -> None:
        if bare is None:
            connection.execute(self.statement, values)
        else:
            bare.executemany(self.sql, values)


class Bulk:
    """Rows of one table, written many in one statement: each statement costs a hand-over of the interpreter's lock."""

    def __init__(self, table: Table, columns: Sequence[str]) -> None:
        self.statement = insert(table)
        self.columns = columns
        self.head = f"INSERT INTO {table.name} ({', '.join(columns)}) VALUES "
        self.row = f"({', '.join('?' for _ in columns)})"

    def write(self, connection: Connection, bare: sqlite3.Connection | None, rows: Sequence[tuple[Any, ...]]) -> None:
        if bare is None:
            connection.execute(self.statement, [dict(zip(self.columns, row, strict=True)) for row in rows])
            return
        start, size = 0, LARGEST_LIST
        while start < len(rows):
            while size > len(rows) - start:
                size //= 2
            part = rows[start : start + size]
            bare.execute(self.head + ", ".join([self.row] * size), [value for row in part for value in row])
            start += size
