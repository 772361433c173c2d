"""Statements of the hot path: the same on SQLite's bare connection, on PostgreSQL's pipeline, and through SQLAlchemy."""

import importlib
import pkgutil
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import BigInteger, Boolean, Column, LargeBinary, MetaData, Table, Text, bindparam, select, text

import storage
from storage.database import Database
from storage.models import metadata
from storage.prepared import LARGEST_LIST, Bulk, Prepared, Update, padded
from storage.transaction import Command, Tx, first

SORTS = Table(
    "sorts",
    MetaData(),
    Column("name", Text),
    Column("number", BigInteger),
    Column("yes", Boolean),
    Column("data", LargeBinary),
)
NUMBER = Prepared(
    select(SORTS.c.number)
    .where(SORTS.c.name == bindparam("name"), SORTS.c.number > 0)
    .order_by(SORTS.c.number)
    .limit(1)
)
ROW = Prepared(select(SORTS).where(SORTS.c.number == bindparam("number"), SORTS.c.yes == bindparam("yes")))
# Two bounds, which the dialects number in ways of their own.
BY_NUMBER = select(SORTS.c.number).order_by(SORTS.c.number)
PAIR = Prepared(
    select(
        BY_NUMBER.where(SORTS.c.name == "a").limit(1).scalar_subquery(),
        BY_NUMBER.where(SORTS.c.name == "b").limit(1).offset(1).scalar_subquery(),
    ).where(bindparam("wanted", type_=BigInteger) == 1)
)
ANY = Prepared(select(SORTS.c.number).where(SORTS.c.name == "any").limit(1))
ROWS = Bulk(SORTS, ("name", "number", "yes", "data"))
CHANGE = Update(SORTS, ("name", "number"), ("data", "yes"))


@pytest.fixture
async def sorts(database: Database) -> Database:
    """A database with an empty table that has a column of each type."""
    data = "BYTEA" if database.path is None else "BLOB"
    table = text(f"CREATE TABLE sorts (name TEXT, number BIGINT, yes BOOLEAN, data {data})")
    await database.write(Command(lambda tx: tx.execute(table)))
    return database


async def add(database: Database, *rows: tuple[Any, ...]) -> None:
    def apply(tx: Tx) -> None:
        for row in rows:
            tx.later(ROWS, row)

    await database.write(Command(apply))


async def found(database: Database) -> list[tuple[Any, ...]]:
    query = select(SORTS).order_by(SORTS.c.number)
    return [tuple(row) for row in await database.read(lambda connection: connection.execute(query).all())]


@pytest.mark.parametrize("count", [0, 1, 2, 3, LARGEST_LIST, LARGEST_LIST + 1, 3 * LARGEST_LIST - 1])
async def test_rows_are_written_all_and_once(sorts: Database, count: int) -> None:
    rows = [(str(number), number, None, None) for number in range(count)]
    await add(sorts, *rows)
    assert await found(sorts) == rows


TEXTS = [
    "",
    "NULL",
    "null",
    "{a,b}",
    'say "hi"',
    "back\\slash",
    "two\nlines",
    " edge ",
    "ğ😀\u2028",
    ",",
    "'",
    "\\x00",
    None,
]


async def test_every_value_comes_back_as_it_was(sorts: Database) -> None:
    data = [b"", b"\0\xff", b"text", None]
    rows = [
        (name, number - 2**40, (True, False, None)[number % 3], data[number % 4]) for number, name in enumerate(TEXTS)
    ]
    await add(sorts, *rows)
    assert await found(sorts) == rows
    keys = [(number, bool(yes)) for _, number, yes, _ in rows if yes is not None]
    assert await look(sorts, ROW, [{"number": number, "yes": yes} for number, yes in keys]) == [
        row for row in rows if row[2] is not None
    ]


async def look(database: Database, query: Prepared, asked: Sequence[dict[str, Any]]) -> list[Any]:
    """The answers, which are the same whether they were announced, asked for in a transaction, or read."""

    def apply(tx: Tx) -> list[Any]:
        return [tx.first(query, values) for values in asked]

    answers = [
        await database.write(Command(apply, reads=lambda: [(query, values) for values in asked])),
        await database.write(Command(apply)),
        await database.read(lambda connection: [first(connection, query, values) for values in asked]),
    ]
    shown = [[row and (*map(as_bool, row),) for row in each] for each in answers]
    assert shown[0] == shown[1] == shown[2]
    return [row and tuple(row) for row in answers[2]]


def as_bool(value: Any) -> Any:
    """The bare connection of SQLite has numbers for booleans."""
    return int(value) if isinstance(value, bool) else value


async def test_the_first_row_or_none(sorts: Database) -> None:
    await add(sorts, ("a", 7, None, None), ("a", 5, None, None), ("b", -1, None, None))
    assert await look(sorts, ANY, [{}]) == [None]
    await add(sorts, ("any", 1, None, None), ("any", 1, None, None))
    assert await look(sorts, ANY, [{}, {}]) == [(1,), (1,)]
    await add(sorts, ("b", 9, None, None))
    assert await look(sorts, PAIR, [{"wanted": 1}, {"wanted": 2}]) == [(5, 9), None]
    names = ["a", "b", "c", "a", "it's"]
    assert await look(sorts, NUMBER, [{"name": name} for name in names]) == [(5,), (9,), None, (5,), None]


async def test_many_rows_are_changed_in_one_statement(sorts: Database) -> None:
    rows = [(name, number, False, b"old") for number, name in enumerate("aabc")]
    await add(sorts, *rows)

    def apply(tx: Tx) -> None:
        tx.update_later(CHANGE, ("a", 1), (b"new", True))
        tx.update_later(CHANGE, ("c", 3), (None, None))
        tx.update_later(CHANGE, ("c", 4), (b"nowhere", True))

    await sorts.write(Command(apply))
    assert await found(sorts) == [rows[0], ("a", 1, True, b"new"), rows[2], ("c", 3, None, None)]


def test_lists_have_few_lengths() -> None:
    assert padded([]) == [] and padded([1]) == [1]
    assert padded((1, 2, 3)) == [1, 2, 3, 1] and len(padded(range(5))) == 8
    assert {len(padded(range(size))) for size in range(1, 65)} == {1, 2, 4, 8, 16, 32, 64}


def written_in_bulk() -> dict[str, Update]:
    """Every update and deletion of many rows that the storage knows."""
    found = {}
    for each in pkgutil.iter_modules(storage.__path__, "storage."):
        for name, value in vars(importlib.import_module(each.name)).items():
            if isinstance(value, Update):
                found[f"{each.name}.{name}"] = value
    return found


@pytest.mark.parametrize("name", written_in_bulk())
@pytest.mark.parametrize("count", [1, 2, LARGEST_LIST])
def test_a_write_of_many_rows_reads_no_others_on_sqlite(migrated_file: Path, name: str, count: int) -> None:
    """By the whole key: the rows of a table, or of one chat, may be many."""
    kind = written_in_bulk()[name]
    sql = kind.head + kind.separator.join([kind.row] * count) + kind.tail
    connection = sqlite3.connect(migrated_file)
    plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {sql}", [1] * sql.count("?"))]
    connection.close()
    tables = {each.name for each in metadata.sorted_tables}
    assert not [each for each in plan if each.split()[0] == "SCAN" and each.split()[1] in tables], plan
    searched = [each for each in plan if each.startswith("SEARCH")]
    if name == "storage.log.SET_PAYLOAD":
        assert all("channel_pk=? AND seq=?" in each for each in searched), plan
    assert searched
