"""Statements of the hot path: the same on SQLite's bare connection and through SQLAlchemy."""

import sqlite3
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import Column, Connection, Integer, MetaData, Table, Text, bindparam, create_engine, select, text
from sqlalchemy.pool import StaticPool

from storage.prepared import LARGEST_LIST, Bulk, Prepared, padded

FACTS = Table("facts", MetaData(), Column("name", Text), Column("value", Integer))
VALUE = Prepared(select(FACTS.c.value).where(FACTS.c.name == bindparam("name"), FACTS.c.value > 0))
DOUBLE = Prepared(text("UPDATE facts SET value = value * 2 WHERE name = :name"))
ROWS = Bulk(FACTS, ("name", "value"))


@pytest.fixture(params=["bare", "SQLAlchemy"])
def place(request: pytest.FixtureRequest) -> Iterator[tuple[Connection, sqlite3.Connection | None]]:
    engine = create_engine("sqlite://", poolclass=StaticPool, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text("CREATE TABLE facts (name TEXT, value INTEGER)"))
        bare: Any = connection.connection.driver_connection
        yield connection, bare if request.param == "bare" else None
    engine.dispose()


@pytest.mark.parametrize("count", [0, 1, 2, 3, LARGEST_LIST, LARGEST_LIST + 1, 3 * LARGEST_LIST - 1])
def test_rows_are_written_all_and_once(place: tuple[Connection, sqlite3.Connection | None], count: int) -> None:
    connection, bare = place
    if count or bare:
        ROWS.write(connection, bare, [(str(number), number) for number in range(count)])
    found = connection.execute(text("SELECT name, value FROM facts ORDER BY value")).all()
    assert [tuple(row) for row in found] == [(str(number), number) for number in range(count)]


def test_the_first_row_or_none(place: tuple[Connection, sqlite3.Connection | None]) -> None:
    connection, bare = place
    ROWS.write(connection, bare, [("a", 5), ("b", -1)])
    assert tuple(VALUE.first(connection, bare, {"name": "a"})) == (5,)
    assert VALUE.first(connection, bare, {"name": "b"}) is None
    assert VALUE.first(connection, bare, {"name": "c"}) is None


def test_a_statement_for_many_values(place: tuple[Connection, sqlite3.Connection | None]) -> None:
    connection, bare = place
    ROWS.write(connection, bare, [("a", 1), ("b", 2), ("c", 3)])
    DOUBLE.run(connection, bare, [{"name": "a"}, {"name": "c"}])
    found = connection.execute(text("SELECT value FROM facts ORDER BY name")).scalars().all()
    assert list(found) == [2, 2, 6]


def test_lists_have_few_lengths() -> None:
    assert padded([]) == [] and padded([1]) == [1]
    assert padded((1, 2, 3)) == [1, 2, 3, 1] and len(padded(range(5))) == 8
    assert {len(padded(range(size))) for size in range(1, 65)} == {1, 2, 4, 8, 16, 32, 64}
