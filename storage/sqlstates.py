"""What an error of the database means, whichever library raised it.

PostgreSQL's codes: https://www.postgresql.org/docs/current/errcodes-appendix.html
"""

import contextlib
import logging
import sqlite3
from collections.abc import Iterator

import psycopg
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from storage.errors import Unavailable

logger = logging.getLogger("bellwire.storage")

# The same may run again: another transaction was first (a deadlock, a conflict), or a prepared statement is gone.
RETRIABLE = frozenset({"40001", "40P01", "26000"})
# A lock or an answer that did not come in time.
CANCELLED = frozenset({"57014", "55P03", "25P03"})
# Connection exceptions, too many connections, a server that stops or starts, and one that only reads: a standby.
WRONG_SERVER = ("08", "53", "57P", "25006")
# What the server lacks may pass, and the connection stays.
RESOURCES = "53"
# A fault of our own.
PROTOCOL_VIOLATION = "08P01"
# Malformed, no database at all, and a page that is not there.
DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_IOERR)
UNREACHABLE = (OperationalError, InterfaceError, sqlite3.OperationalError, psycopg.OperationalError, OSError)


class Undone(Exception):
    """The transaction was refused as a whole and may run again"""


class CommitUnknown(Exception):
    """COMMIT itself failed: the batch may be stored or not"""


def original(error: BaseException) -> BaseException:
    """The driver's own error."""
    return error.orig if isinstance(error, DBAPIError) and error.orig is not None else error


def sqlstate(error: BaseException) -> str | None:
    return getattr(original(error), "sqlstate", None)


def is_database_error(error: BaseException) -> bool:
    return isinstance(original(error), (psycopg.Error, sqlite3.Error))


def is_retriable(error: BaseException) -> bool:
    """Whether the transaction was refused as a whole, and may run again."""
    return sqlstate(error) in RETRIABLE


def is_wrong_server(error: BaseException) -> bool:
    """Whether the connection leads to a server that can't do what it is asked for, now or for long."""
    if isinstance(error, DBAPIError) and error.connection_invalidated:
        return True
    code = sqlstate(error) or ""
    return code.startswith(WRONG_SERVER) and code != PROTOCOL_VIOLATION


def costs_connection(error: BaseException) -> bool:
    """Whether an open connection failed, or leads to a server that can't do what it is asked for."""
    cause, code = original(error), sqlstate(error)
    if code is None:
        return isinstance(cause, (psycopg.OperationalError, psycopg.InterfaceError))
    return is_wrong_server(error) and not code.startswith(RESOURCES)


def is_cancelled(error: BaseException) -> bool:
    """Whether a statement took too long, for a lock or at all."""
    return sqlstate(error) in CANCELLED


def is_unreachable(error: BaseException) -> bool:
    """Whether the database can't be reached now, or did not answer in time, and it is worth trying again."""
    if sqlstate(error) is None and isinstance(error, (*UNREACHABLE, PoolTimeout)):
        return True
    return is_cancelled(error) or is_wrong_server(error)


@contextlib.contextmanager
def unavailable_where_unreachable(what: str) -> Iterator[None]:
    """Raises Unavailable in place of an error that says that the database can't be reached."""
    try:
        yield
    except Exception as error:
        if not is_unreachable(error):
            raise
        logger.warning("%s: %r", what, error)
        raise Unavailable from error


def is_damaged(error: sqlite3.Error) -> bool:
    """Whether a file of SQLite is not, or not any more, what SQLite wrote (https://www.sqlite.org/rescode.html)."""
    code = getattr(error, "sqlite_errorcode", None)
    return type(error) is sqlite3.DatabaseError if code is None else code & 0xFF in DAMAGED


def is_duplicate(error: BaseException) -> bool:
    """Whether a unique constraint refused it: another transaction was first."""
    cause = original(error)
    if isinstance(cause, sqlite3.IntegrityError):
        return "UNIQUE constraint failed" in str(cause)
    return sqlstate(error) == "23505"
