"""What an error of the database means."""

import sqlite3

import psycopg
import pytest
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from storage.sqlstates import is_duplicate, is_retriable, is_unreachable, is_wrong_server, sqlstate

CLASSES = {
    # Lost, refused, or led to a server that stops, starts or only reads.
    "08006": "unreachable wrong_server",
    "53300": "unreachable wrong_server",
    "57P01": "unreachable wrong_server",
    "57P03": "unreachable wrong_server",
    "25006": "unreachable wrong_server",
    # Took too long.
    "57014": "unreachable",
    "55P03": "unreachable",
    "40001": "retriable",
    "40P01": "retriable",
    "26000": "retriable",
    "23505": "duplicate",
    # Faults of our own.
    "08P01": "",
    "22012": "",
    "42601": "",
    "23502": "",
}
ASKED = {
    "duplicate": is_duplicate, "retriable": is_retriable, "unreachable": is_unreachable, "wrong_server": is_wrong_server
}  # fmt: skip


@pytest.mark.parametrize("code", CLASSES)
def test_codes_of_postgresql(code: str) -> None:
    error = psycopg.errors.lookup(code)("refused") if code != "08P01" else psycopg.OperationalError("refused")
    error.sqlstate = code
    for each in (error, DBAPIError("SELECT 1", None, error)):
        assert sqlstate(each) == code
        assert {name for name, asked in ASKED.items() if asked(each)} == set(CLASSES[code].split())


@pytest.mark.parametrize(
    ("error", "classes"),
    [
        (psycopg.OperationalError("the connection was lost"), "unreachable"),
        (OperationalError("SELECT 1", None, sqlite3.OperationalError("database is locked")), "unreachable"),
        (sqlite3.OperationalError("disk I/O error"), "unreachable"),
        (PoolTimeout("no connection is free"), "unreachable"),
        (DBAPIError("SELECT 1", None, psycopg.Error(), connection_invalidated=True), "unreachable wrong_server"),
        (IntegrityError("INSERT", None, sqlite3.IntegrityError("UNIQUE constraint failed: facts.name")), "duplicate"),
        (sqlite3.IntegrityError("UNIQUE constraint failed: facts.name"), "duplicate"),
        (sqlite3.IntegrityError("NOT NULL constraint failed: facts.name"), ""),
        (ValueError("a fault of our own"), ""),
    ],
    ids=str,
)
def test_errors_without_a_code(error: Exception, classes: str) -> None:
    assert {name for name, asked in ASKED.items() if asked(error)} == set(classes.split())
