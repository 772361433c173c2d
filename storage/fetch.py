"""The rows of prepared queries on a reading connection: on PostgreSQL those of several queries in one round trip."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.util import await_only

from storage.pipeline import PIPELINE, Pipeline, Statement, arrays, plain
from storage.prepared import Prepared
from storage.statements import Read

Rows = Sequence[tuple[Any, ...]]


def fetch(connection: Connection, *reads: Read) -> list[Rows]:
    """The rows of each query."""
    if connection.dialect.name == "sqlite":
        return [on_sqlite(connection, *each) for each in reads]
    return run(
        connection, [Statement(query.direct_sql, list(map(plain, query.key(values)))) for query, values in reads]
    )


def fetch_one(connection: Connection, query: Prepared, values: Mapping[str, Any]) -> Rows:
    """The rows of a query."""
    return fetch(connection, (query, values))[0]


def fetch_many(connection: Connection, query: Prepared, wanted: Sequence[Mapping[str, Any]]) -> list[Rows]:
    """The rows of a query for each of these values; on PostgreSQL by one statement."""
    if connection.dialect.name == "sqlite":
        return [on_sqlite(connection, query, values) for values in wanted]
    found: list[list[tuple[Any, ...]]] = [[] for _ in wanted]
    if wanted:
        columns = arrays(query.kinds, [query.key(values) for values in wanted])
        for place, *row in run(connection, [Statement(query.postgres_sql, columns)])[0]:
            found[place - 1].append(tuple(row))
    return [*found]


def on_sqlite(connection: Connection, query: Prepared, values: Mapping[str, Any]) -> Rows:
    """On the bare connection: SQLAlchemy's execution costs several times what SQLite needs."""
    bare: Any = connection.connection.driver_connection
    rows: Rows = bare.execute(query.sql, {**query.defaults, **values}).fetchall()
    return rows


def run(connection: Connection, statements: Sequence[Statement]) -> list[Rows]:
    pipeline: Pipeline = connection.info[PIPELINE]
    return [*await_only(pipeline.run(statements))]
