"""Statements of the hot path, with the text that each database gets.

SQLite runs them on the bare connection, compiled once: SQLAlchemy's execution costs several times what SQLite needs for
such a statement. PostgreSQL answers a query for many commands in one statement, and writes many rows
in one; see docs/decisions.md.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any, TypeVar

import orjson
from sqlalchemy import (
    BigInteger,
    Boolean,
    ColumnElement,
    Executable,
    Float,
    Integer,
    LargeBinary,
    Table,
    Text,
    TextClause,
    bindparam,
    text,
)
from sqlalchemy.dialects import sqlite
from sqlalchemy.dialects.postgresql import psycopg
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement
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


# The rows ``(pk, seq)`` of a list of pairs in JSON; ``seq`` is a number, or what ``kind`` says. Triples have a ``third``.
PAIRS = {
    "sqlite": (
        "(SELECT json_extract(value, '$[0]') AS pk, json_extract(value, '$[1]') AS seq, "
        "json_extract(value, '$[2]') AS third FROM json_each(:pairs)) AS w"
    ),
    "postgresql": (
        "(SELECT CAST(value ->> 0 AS bigint) AS pk, CAST(value ->> 1 AS {kind}) AS seq, "
        "CAST(value ->> 2 AS bigint) AS third FROM json_array_elements(CAST(:pairs AS json))) AS w"
    ),
}


class JsonList(FunctionElement[Any]):
    """The values of a list in JSON, as a parameter has it."""

    inherit_cache = True


@compiles(JsonList, "sqlite")
def list_on_sqlite(element: JsonList, compiler: SQLCompiler, **_: Any) -> str:
    return f"(SELECT value FROM json_each({compiler.process(element.clauses)}))"


@compiles(JsonList, "postgresql")
def list_on_postgres(element: JsonList, compiler: SQLCompiler, **_: Any) -> str:
    values = f"json_array_elements_text(CAST({compiler.process(element.clauses)} AS json))"
    return f"(SELECT CAST(value AS {postgres_type(element.type)}) FROM {values})"


def one_of(column: ColumnElement[Any], name: str) -> ColumnElement[bool]:
    """That a column has one of the values in the parameter ``name``, as ``json_list`` writes them."""
    values = JsonList(bindparam(name, type_=Text))
    values.type = column.type
    return column.op("IN", is_comparison=True)(values)


def json_list(values: Iterable[Any]) -> str:
    """Numbers, texts or pairs, as a parameter of a query."""
    return orjson.dumps(list(values)).decode()


def postgres_type(type: TypeEngine[Any]) -> str:
    """The PostgreSQL type of a column's values."""
    known = ((Integer, "bigint"), (Boolean, "boolean"), (LargeBinary, "bytea"), (Float, "double precision"))
    return next((name for kind, name in known if isinstance(type, kind)), "text")


def unnest(kinds: Sequence[str]) -> str:
    """One row for each place of the arrays ``$1``, ``$2`` …"""
    return f"unnest({', '.join(f'${number}::{kind}[]' for number, kind in enumerate(kinds, 1))})"


class Prepared:
    """A query; ``values`` name its bind parameters. ``on_postgres`` is what PostgreSQL gets in its place."""

    def __init__(self, statement: Executable, on_postgres: Executable | None = None, *, locks: bool = False) -> None:
        self.statement = statement
        # Whether it waits for locks of its rows.
        self.locks = locks
        self.on_postgres = statement if on_postgres is None else on_postgres
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
        return [postgres_type(self.compiled.binds[name].type) for name in self.names]

    @cached_property
    def compiled(self) -> Any:
        """For PostgreSQL."""
        return self.on_postgres.compile(dialect=POSTGRES)  # type: ignore[attr-defined]

    def with_parameters(self, names: dict[str, str]) -> str:
        """The text for PostgreSQL, with these for its parameters."""
        known = {name: f"'{value}'" for name, value in self.compiled.params.items() if value is not None}
        text: str = self.compiled.string % (names | known)
        return text

    @cached_property
    def direct_sql(self) -> str:
        """For one value of each of ``names``, ``$1``, ``$2`` …"""
        return self.with_parameters({name: f"${number}" for number, name in enumerate(self.names, 1)})

    @cached_property
    def postgres_sql(self) -> str:
        """For an array of each of ``names``: rows of a place in the arrays, from 1, and what the query finds there."""
        query = self.with_parameters({name: f"w.of_{name}" for name in self.names})
        if not self.names:
            return f"SELECT 1, q.* FROM ({query}) AS q"
        columns = ", ".join(f"of_{name}" for name in self.names)
        wanted = f"{unnest(self.kinds)} WITH ORDINALITY AS w ({columns}, n)"
        return f"SELECT w.n, q.* FROM {wanted} CROSS JOIN LATERAL ({query}) AS q"


def of_pairs(sql: str, *, kind: str = "bigint", index: str = "") -> Prepared:
    """A query about many pairs; ``sql`` has ``{pairs}`` where their rows ``w`` are to stand, of the parameter ``pairs``.

    ``index`` as in ``of_text``.
    """
    return Prepared(*by_dialect(sql, kind, index).values())


def by_dialect(sql: str, kind: str = "bigint", index: str = "") -> dict[str, TextClause]:
    """Such a statement for SQLite, and for PostgreSQL."""
    return {
        name: text(sql.format(pairs=rows, hint=hint))
        for name, rows, hint in zip(PAIRS, pair_rows(kind), hints(index), strict=True)
    }


def hints(index: str) -> tuple[str, str]:
    """What says that SQLite, which keeps no statistics here, is to use an index; nothing for PostgreSQL."""
    return (f"INDEXED BY {index}" if index else "", "")


def pair_rows(kind: str = "bigint") -> tuple[str, str]:
    """The rows ``w (pk, seq)`` of the parameter ``pairs``, for SQLite and for PostgreSQL."""
    return PAIRS["sqlite"], PAIRS["postgresql"].replace("{kind}", kind)


def of_text(sql: str, *numbers: str, index: str = "") -> Prepared:
    """A query with these numbers for its parameters; SQLite uses ``index`` for the table before ``{hint}``."""
    parameters = [bindparam(name, type_=BigInteger) for name in numbers]
    return Prepared(*(text(sql.replace("{hint}", hint)).bindparams(*parameters) for hint in hints(index)))


class Bulk:
    """Rows of one table, written many in one statement.

    On SQLite the statement is ``head``, as many ``row`` as there are, with ``separator`` between them, and ``tail``.
    """

    separator = ", "

    def __init__(self, table: Table, columns: Sequence[str]) -> None:
        self.table = table
        self.columns = columns
        self.head = f"INSERT INTO {table.name} ({', '.join(columns)}) VALUES "
        self.row = placeholders(columns)
        self.tail = ""
        self.kinds = [postgres_type(table.c[name].type) for name in columns]
        self.postgres_sql = f"INSERT INTO {table.name} ({', '.join(columns)}) SELECT * FROM {unnest(self.kinds)}"

    def rows_of(self, keyed: Mapping[Any, tuple[Any, ...]]) -> list[tuple[Any, ...]]:
        """Rows that were added with a key."""
        return list(keyed.values())


class Update:
    """New values of ``columns`` in the rows of these keys, many in one statement; ``also`` is what is set in all of them.

    The parts of the statement are those of ``Bulk``.
    """

    head: str
    row: str
    tail: str
    kinds: list[str]
    postgres_sql: str
    separator = ", "

    def __init__(self, table: Table, keys: Sequence[str], columns: Sequence[str], *, also: str = "") -> None:
        names = [*keys, *columns]
        sets = ", ".join([*(f"{name} = w.{name}" for name in columns), *([also] if also else [])])
        self.head = f"UPDATE {table.name} SET {sets} FROM (SELECT {numbered(names)} FROM (VALUES "
        self.row = placeholders(names)
        self.tail = f")) AS w WHERE {same(table, keys)}"
        self.kinds = [postgres_type(table.c[name].type) for name in names]
        wanted = f"{unnest(self.kinds)} AS w ({', '.join(names)})"
        self.postgres_sql = f"UPDATE {table.name} SET {sets} FROM {wanted} WHERE {same(table, keys)}"

    def rows_of(self, values: Mapping[Any, tuple[Any, ...]]) -> list[tuple[Any, ...]]:
        """Key and new values of each row."""
        return [(*key, *new) for key, new in values.items()]


class ListUpdate(Update):
    """Set one value in several rows. An entry has the first key and a number of its own; then a JSON list of values of the
    second key, and the value of ``column``.
    """

    def __init__(self, table: Table, keys: tuple[str, str], column: str) -> None:
        first, second = keys
        names = [first, "entry", "list", column]
        sets = f"UPDATE {table.name} SET {column} = w.{column} FROM (SELECT v.{first}"
        self.head = f"{sets}, j.value AS {second}, v.{column} FROM (SELECT {numbered(names)} FROM (VALUES "
        self.row = placeholders(names)
        # A limit keeps SQLite from reading all rows of the first key before it looks into the lists.
        self.tail = f")) AS v, json_each(v.list) AS j LIMIT -1) AS w WHERE {same(table, keys)}"
        self.kinds = [postgres_type(table.c[first].type), "bigint", "text", postgres_type(table.c[column].type)]
        self.postgres_sql = (
            f"{sets}, CAST(j.value AS bigint) AS {second}, v.{column} FROM {unnest(self.kinds)} AS v ({', '.join(names)}), "
            f"json_array_elements_text(CAST(v.list AS json)) AS j (value)) AS w WHERE {same(table, keys)}"
        )


class Delete(Update):
    """Delete the rows of these keys. The values of ``Tx.update_later`` are ``()``."""

    # For a list of several columns SQLite would read the whole table.
    separator = " OR "

    def __init__(self, table: Table, keys: Sequence[str]) -> None:
        self.head = f"DELETE FROM {table.name} WHERE "
        self.row = f"({' AND '.join(f'{name} = ?' for name in keys)})"
        self.tail = ""
        self.kinds = [postgres_type(table.c[name].type) for name in keys]
        wanted = f"{unnest(self.kinds)} AS w ({', '.join(keys)})"
        self.postgres_sql = f"DELETE FROM {table.name} USING {wanted} WHERE {same(table, keys)}"


def placeholders(names: Sequence[str]) -> str:
    return f"({', '.join('?' for _ in names)})"


def numbered(names: Sequence[str]) -> str:
    """SQLite's names of the columns of VALUES, as these."""
    return ", ".join(f"column{place} AS {name}" for place, name in enumerate(names, 1))


def same(table: Table, keys: Sequence[str]) -> str:
    return " AND ".join(f"{table.name}.{name} = w.{name}" for name in keys)
