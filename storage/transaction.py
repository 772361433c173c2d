"""One batch of commands in one transaction: lock, look, write, commit.

A ``Command`` is a plain function over a ``Tx``, so that the same code runs in SQLite's writer thread and under
``run_sync`` on PostgreSQL. What it appended to the log comes out only if its savepoint and then the batch committed.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from sqlalchemy import Connection, CursorResult, Executable, text
from sqlalchemy.exc import DBAPIError, IntegrityError

from storage.errors import Conflict, Problem
from storage.types import now

T = TypeVar("T")

LOCK_CHANNELS = text("SELECT pk FROM channels WHERE pk = ANY(:pks) ORDER BY pk FOR UPDATE")
LOCK_KEYS = text("SELECT pg_advisory_xact_lock(hashtextextended(k, 0)) FROM unnest(CAST(:keys AS text[])) AS k")
CLOCK = text("SELECT CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS bigint)")
SERIALIZATION_FAILURES = {"40001", "40P01"}


@dataclass(frozen=True, slots=True)
class Event:
    """A durable event: what happened on a channel, at which place of its order. ``payload`` is JSON."""

    channel_pk: int
    channel: str
    seq: int
    name: str
    payload: bytes


class Tx:
    """What a command works with: the connection, the batch's time in microseconds, and the events it appended."""

    __slots__ = ("connection", "events", "now")

    def __init__(self, connection: Connection, at: int) -> None:
        self.connection = connection
        self.now = at
        self.events: list[Event] = []

    def execute(
        self, statement: Executable, values: Mapping[str, Any] | Sequence[Mapping[str, Any]] = ()
    ) -> CursorResult[Any]:
        return self.connection.execute(statement, values or None)


@dataclass(frozen=True, slots=True)
class Command(Generic[T]):
    """A change, and what it must hold before it looks: channels by number, idempotency keys by name.

    ``apply`` returns the answer. If it raises, its changes are undone. If it returns a ``Problem``, its changes stay
    and the caller gets the problem.
    """

    apply: Callable[[Tx], T]
    channels: Collection[int] = ()
    keys: Collection[str] = field(default=())


class Undone(Exception):
    """The transaction was refused as a whole and may run again"""


def run_batch(connection: Connection, commands: Sequence[Command[Any]]) -> tuple[list[Any], list[Event]]:
    """Run ``commands`` in the connection's open transaction; their answers (or exceptions) in order, and their events.

    Raises ``Undone`` if the database refused the transaction as a whole.
    """
    if connection.dialect.name == "postgresql":
        lock(connection, commands)
    tx = Tx(connection, clock(connection))
    answers: list[Any] = []
    for command in commands:
        mark = len(tx.events)
        connection.exec_driver_sql("SAVEPOINT command")
        try:
            answers.append(command.apply(tx))
        except Exception as error:
            if isinstance(error, DBAPIError) and sqlstate(error) in SERIALIZATION_FAILURES:
                raise Undone from error
            connection.exec_driver_sql("ROLLBACK TO SAVEPOINT command")
            del tx.events[mark:]
            answers.append(Conflict() if is_duplicate(error) else error)
        connection.exec_driver_sql("RELEASE SAVEPOINT command")
    return answers, tx.events


def clock(connection: Connection) -> int:
    """The database's own time in microseconds, so that nodes with other clocks agree."""
    return connection.execute(CLOCK).scalar_one() if connection.dialect.name == "postgresql" else now()


def lock(connection: Connection, commands: Sequence[Command[Any]]) -> None:
    """Take every lock of the batch before anything is read, in one order on every node."""
    try:
        keys = sorted({key for command in commands for key in command.keys})
        if keys:
            connection.execute(LOCK_KEYS, {"keys": keys})
        pks = sorted({pk for command in commands for pk in command.channels})
        if pks:
            connection.execute(LOCK_CHANNELS, {"pks": pks})
    except DBAPIError as error:
        if sqlstate(error) in SERIALIZATION_FAILURES:
            raise Undone from error
        raise


def sqlstate(error: DBAPIError) -> str | None:
    return getattr(error.orig, "sqlstate", None)


def is_duplicate(error: Exception) -> bool:
    """Whether a unique constraint refused it: somebody else was first."""
    if isinstance(error, Problem) or not isinstance(error, IntegrityError):
        return False
    return sqlstate(error) == "23505" or "UNIQUE constraint failed" in str(error.orig)
