"""Statements of the hot path, with the text that each database gets.

SQLite runs them on the bare connection, compiled once: SQLAlchemy's execution costs several times what SQLite needs for
such a statement. PostgreSQL answers a query for many commands in one statement, and writes many rows
in one; see docs/decisions.md.
"""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any, TypeVar

import orjson
from sqlalchemy import Boolean, Connection, Executable, Integer, LargeBinary, Table, TextClause, text
from sqlalchemy.dialects import sqlite
from sqlalchemy.dialects.postgresql import psycopg
from sqlalchemy.types import TypeEngine

SQLITE, POSTGRES = sqlite.dialect(paramstyle="named"), psycopg.dialect()  # type: ignore[no-untyped-call]
LARGEST_LIST = 64
T = TypeVar("T")


def padded(values: Collection[T]) -> list[T]:
    """Values of an IN, some of them twice, so that there are few lengths of it and each is compiled and prepared once."""
    every = list(values)
    size = 1
    while size < len(every):
        size *= 2
    return every + every[:1] * (size - len(every))


# The rows ``(pk, seq)`` of a list of pairs in JSON.
PAIRS = {
    "sqlite": (
        "(SELECT json_extract(value, '$[0]') AS pk, json_extract(value, '$[1]') AS seq FROM json_each(:pairs)) AS w"
    ),
    "postgresql": (
        "(SELECT (value ->> 0)::bigint AS pk, (value ->> 1)::bigint AS seq "
        "FROM json_array_elements(CAST(:pairs AS json))) AS w"
    ),
}


def of_pairs(sql: str) -> dict[str, TextClause]:
    """A statement about many pairs, by dialect; ``sql`` has ``{pairs}`` where their rows ``w`` are to stand."""
    return {dialect: text(sql.format(pairs=rows)) for dialect, rows in PAIRS.items()}


def pairs(wanted: Iterable[tuple[int, int]]) -> str:
    """The value of such a statement's parameter ``pairs``."""
    return orjson.dumps(list(wanted)).decode()


def postgres_type(type: TypeEngine[Any]) -> str:
    """The PostgreSQL type of a column's values."""
    known = ((Integer, "bigint"), (Boolean, "boolean"), (LargeBinary, "bytea"))
    return next((name for kind, name in known if isinstance(type, kind)), "text")


def unnest(kinds: Sequence[str]) -> str:
    """One row for each place of the arrays ``$1``, ``$2`` …"""
    return f"unnest({', '.join(f'${number}::{kind}[]' for number, kind in enumerate(kinds, 1))})"


class Prepared:
    """A query; ``values`` name its bind parameters."""

    def __init__(self, statement: Executable) -> None:
        self.statement = statement
        compiled: Any = statement.compile(dialect=SQLITE)  # type: ignore[attr-defined]
        self.sql = str(compiled)
        self.defaults = {name: value for name, value in compiled.params.items() if value is not None}
        # The parameters that each call gives, in the order of ``key``.
        self.names = [name for name, value in compiled.params.items() if value is None]

    def key(self, values: Mapping[str, Any]) -> tuple[Any, ...]:
        """What tells one call from another."""
        return tuple(values[name] for name in self.names)

    @cached_property
    def kinds(self) -> list[str]:
        """PostgreSQL's types of ``names``."""
        compiled: Any = self.statement.compile(dialect=POSTGRES)  # type: ignore[attr-defined]
        return [postgres_type(compiled.binds[name].type) for name in self.names]

    @cached_property
    def postgres_sql(self) -> str:
        """For an array of each of ``names``: rows of a place in the arrays, from 1, and what the query finds there."""
        compiled: Any = self.statement.compile(dialect=POSTGRES)  # type: ignore[attr-defined]
        known = {name: f"'{value}'" for name, value in compiled.params.items() if value is not None}
        query = compiled.string % ({name: f"w.of_{name}" for name in self.names} | known)
        if not self.names:
            return f"SELECT 1, q.* FROM ({query}) AS q"
        columns = ", ".join(f"of_{name}" for name in self.names)
        wanted = f"{unnest(self.kinds)} WITH ORDINALITY AS w ({columns}, n)"
        return f"SELECT w.n, q.* FROM {wanted} CROSS JOIN LATERAL ({query}) AS q"

    @cached_property
    def driver_sql(self) -> str:
        """``postgres_sql`` as psycopg takes it."""
        return re.sub(r"\$\d+", "%s", self.postgres_sql.replace("%", "%%"))

    def many(self, connection: Connection, wanted: Sequence[Mapping[str, Any]]) -> list[list[Any]]:
        """The rows for each of these values; on PostgreSQL all in one statement."""
        if connection.dialect.name == "sqlite":
            return [
                list(connection.execute(self.statement, {name: values[name] for name in self.names}))
                for values in wanted
            ]
        found: list[list[Any]] = [[] for _ in wanted]
        if wanted:
            columns = tuple(list(column) for column in zip(*map(self.key, wanted), strict=True))
            for place, *row in connection.exec_driver_sql(self.driver_sql, columns):
                found[place - 1].append(tuple(row))
        return found


class Bulk:
    """Rows of one table, written many in one statement."""

    def __init__(self, table: Table, columns: Sequence[str]) -> None:
        self.table = table
        self.columns = columns
        self.head = f"INSERT INTO {table.name} ({', '.join(columns)}) VALUES "
        self.row = f"({', '.join('?' for _ in columns)})"
        self.kinds = [postgres_type(table.c[name].type) for name in columns]
        self.postgres_sql = f"INSERT INTO {table.name} ({', '.join(columns)}) SELECT * FROM {unnest(self.kinds)}"


class Update:
    """New values of ``columns`` in the rows of these keys, many in one statement; ``also`` is what is set in all of them."""

    def __init__(self, table: Table, keys: Sequence[str], columns: Sequence[str], *, also: str = "") -> None:
        self.columns = [*keys, *columns]
        sets = ", ".join([*(f"{name} = w.{name}" for name in columns), *([also] if also else [])])
        where = " AND ".join(f"{table.name}.{name} = w.{name}" for name in keys)
        # Values of ``keys``, then of ``columns``: many rows of them between the two parts.
        named = ", ".join(f"column{place} AS {name}" for place, name in enumerate(self.columns, 1))
        self.head = f"UPDATE {table.name} SET {sets} FROM (SELECT {named} FROM (VALUES "
        self.row = f"({', '.join('?' for _ in self.columns)})"
        self.tail = f")) AS w WHERE {where}"
        self.kinds = [postgres_type(table.c[name].type) for name in self.columns]
        wanted = f"{unnest(self.kinds)} AS w ({', '.join(self.columns)})"
        self.postgres_sql = f"UPDATE {table.name} SET {sets} FROM {wanted} WHERE {where}"
