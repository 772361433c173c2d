"""One batch of commands in one transaction: lock, look, write, commit.

A ``Command`` is a plain function over a ``Tx``, so that the same code runs in SQLite's writer thread and under
``run_sync`` on PostgreSQL. What it appended to the log comes out only if it succeeded and then the batch committed.
"""

import sqlite3
from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import orjson
from sqlalchemy import Connection, CursorResult, Executable, text
from sqlalchemy.exc import DBAPIError, IntegrityError

from storage.errors import Conflict
from storage.prepared import Bulk, Prepared
from storage.types import now

T = TypeVar("T")
# An event without what its caller said, as it is stored.
EVENT_BYTES = 1024

LOCK_CHANNELS = text("SELECT pk, head, name FROM channels WHERE pk = ANY(:pks) ORDER BY pk FOR UPDATE")
# SQLite has one writer, which needs no locks.
FIND_CHANNELS = "SELECT pk, head, name FROM channels WHERE pk IN (SELECT value FROM json_each(?))"
LOCK_KEYS = text("SELECT pg_advisory_xact_lock(hashtextextended(k, 0)) FROM unnest(CAST(:keys AS text[])) AS k")
CLOCK = text("SELECT CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS bigint)")
SET_HEAD = Prepared(text("UPDATE channels SET head = :head WHERE pk = :pk"))
SERIALIZATION_FAILURES = {"40001", "40P01"}


@dataclass(frozen=True, slots=True)
class Event:
    """A durable event: what happened on a channel, at which place of its order. ``payload`` is JSON.

    ``about`` is the seq of the oldest object that it refers to, None where that is its own: who may not see the object
    must not receive the event.
    """

    channel_pk: int
    channel: str
    seq: int
    name: str
    payload: bytes
    about: int | None = None


class Part:
    """What some commands have to write yet: rows by table, channels whose head moved, and what the rows would answer."""

    __slots__ = ("answers", "moved", "rows")

    def __init__(self) -> None:
        self.rows: dict[Bulk, list[tuple[Any, ...]]] = {}
        self.moved: set[int] = set()
        self.answers: set[Hashable] = set()


class Tx:
    """What a command works with.

    Rows handed to ``later`` and the heads of locked channels are written together at the end of the batch. A command that
    calls ``connection()`` before sees them all: what waits is written first, and the command gets a savepoint of its own.
    A command that never does needs none, because it has written nothing when it fails.
    """

    __slots__ = (
        "_before",
        "_connection",
        "_events",
        "_fresh",
        "_heads",
        "_mine",
        "_others",
        "_saved",
        "bare",
        "events",
        "now",
    )

    def __init__(self, connection: Connection, bare: sqlite3.Connection | None, at: int) -> None:
        self._connection = connection
        # sqlite3's own connection; None on PostgreSQL.
        self.bare = bare
        # The batch's time, in microseconds.
        self.now = at
        # What was appended to the log, by all commands of the batch.
        self.events: list[Event] = []
        # [head, name] of each channel that is locked or was made, by number.
        self._heads: dict[int, list[Any]] = {}
        # What waits to be written: of the commands before, and of this one.
        self._others, self._mine = Part(), Part()
        # Of this command: the heads that it moved, as they were before; the channels that it made; where its events begin.
        self._before: dict[int, int] = {}
        self._fresh: set[int] = set()
        self._events = 0
        # Whether it has a savepoint.
        self._saved = False

    # Looking

    def connection(self) -> Connection:
        """The connection, for a statement of its own: everything that waits to be written is written first."""
        if not self._saved:
            # Heads that this command moved belong into its savepoint.
            self._write(self._others, self._before)
            self._control("SAVEPOINT command")
            self._saved = True
        self._write(self._mine)
        return self._connection

    def execute(
        self, statement: Executable, values: Mapping[str, Any] | Sequence[Mapping[str, Any]] = ()
    ) -> CursorResult[Any]:
        return self.connection().execute(statement, values or None)

    def first(self, query: Prepared, values: Mapping[str, Any], *, unless: Hashable = None) -> Any:
        """The first row, past what waits to be written; ``unless`` that is what a waiting row would ``answer``."""
        if unless is not None and (unless in self._others.answers or unless in self._mine.answers):
            return query.first(self.connection(), self.bare, values)
        return query.first(self._connection, self.bare, values)

    # Writing

    def later(self, table: Bulk, row: tuple[Any, ...], *, answers: Hashable = None) -> None:
        """Write a row with those of the other commands."""
        self._mine.rows.setdefault(table, []).append(row)
        if answers is not None:
            self._mine.answers.add(answers)

    def made(self, pk: int, name: str) -> None:
        """The command made this channel."""
        self._heads[pk] = [0, name]
        self._fresh.add(pk)

    def next_seq(self, pk: int) -> tuple[int, str]:
        """The next seq of a channel, and the channel's name. The command named or made the channel, or else KeyError."""
        head = self._heads[pk]
        self._before.setdefault(pk, head[0])
        self._mine.moved.add(pk)
        head[0] += 1
        return head[0], head[1]

    def _write(self, part: Part, heads_before: Mapping[int, int] = {}) -> None:
        if part.rows or part.moved:
            for table, rows in part.rows.items():
                table.write(self._connection, self.bare, rows)
            if part.moved:
                heads = [{"pk": pk, "head": heads_before.get(pk, self._heads[pk][0])} for pk in sorted(part.moved)]
                SET_HEAD.run(self._connection, self.bare, heads)
            part.rows.clear()
            part.moved.clear()
            part.answers.clear()

    def _control(self, statement: str) -> None:
        self.bare.execute(statement) if self.bare else self._connection.exec_driver_sql(statement)

    # The life of a batch

    def lock(self, heads: Collection[Any]) -> None:
        """These channels are locked; rows of ``(pk, head, name)``."""
        self._heads = {pk: [head, name] for pk, head, name in heads}

    def keep(self) -> None:
        """The command succeeded."""
        if self._saved:
            self._write(self._mine)
            self._control("RELEASE SAVEPOINT command")
        else:
            for table, rows in self._mine.rows.items():
                self._others.rows.setdefault(table, []).extend(rows)
            self._others.moved |= self._mine.moved
            self._others.answers |= self._mine.answers
        self._next()

    def undo(self) -> None:
        """The command failed."""
        if self._saved:
            self._control("ROLLBACK TO SAVEPOINT command")
            self._control("RELEASE SAVEPOINT command")
        for pk, head in self._before.items():
            self._heads[pk][0] = head
        for pk in self._fresh:
            del self._heads[pk]
        del self.events[self._events :]
        self._next()

    def _next(self) -> None:
        self._mine = Part()
        self._before.clear()
        self._fresh.clear()
        self._events = len(self.events)
        self._saved = False

    def spoiled_by(self, error: Exception) -> bool:
        """On PostgreSQL an error of the database outside a savepoint ends the whole transaction."""
        return self.bare is None and not self._saved and isinstance(error, DBAPIError)

    def finish(self) -> None:
        """Write what waits; the caller commits."""
        self._write(self._others)


def first(source: Tx | Connection, query: Prepared, values: Mapping[str, Any], *, unless: Hashable = None) -> Any:
    """The first row, inside a transaction or on a reading connection."""
    if isinstance(source, Tx):
        return source.first(query, values, unless=unless)
    return query.first(source, None, values)


@dataclass(frozen=True, slots=True)
class Command(Generic[T]):
    """A change, and what it must hold before it looks: channels by number, idempotency keys by name.

    ``channels`` names those to which it appends: they are locked in one order on every node, so that no two batches wait
    for each other. ``apply`` returns the answer. If it raises, its changes are undone. If it returns a ``Problem``, its
    changes stay and the caller gets the problem. ``size`` is how many bytes of the caller's it stores.
    """

    apply: Callable[[Tx], T]
    channels: Collection[int] = ()
    keys: Collection[str] = field(default=())
    size: int = 0

    @property
    def weight(self) -> int:
        """About how many bytes it writes: what it stores, in each of its channels with an event around it."""
        return (self.size + EVENT_BYTES) * max(1, len(self.channels))


class Undone(Exception):
    """The transaction was refused as a whole and may run again"""


def run_batch(
    connection: Connection, commands: Sequence[Command[Any]], bare: sqlite3.Connection | None = None
) -> tuple[list[Any], list[Event]]:
    """Run ``commands`` in the connection's open transaction; their answers (or exceptions) in order, and their events.

    Raises ``Undone`` if the database refused the transaction as a whole.
    """
    try:
        heads = lock(connection, commands, bare)
        tx = Tx(connection, bare, clock(connection))
        tx.lock(heads)
        answers: list[Any] = []
        for command in commands:
            try:
                answer = command.apply(tx)
                tx.keep()
            except Exception as error:
                if is_serialization_failure(error) or tx.spoiled_by(error):
                    raise
                tx.undo()
                answer = Conflict() if is_duplicate(error) else error
            answers.append(answer)
        tx.finish()
        return answers, tx.events
    except DBAPIError as error:
        if is_serialization_failure(error):
            raise Undone from error
        raise


def clock(connection: Connection) -> int:
    """The database's own time in microseconds, so that nodes with other clocks agree."""
    return connection.execute(CLOCK).scalar_one() if connection.dialect.name == "postgresql" else now()


def lock(connection: Connection, commands: Sequence[Command[Any]], bare: sqlite3.Connection | None) -> Collection[Any]:
    """Take every lock of the batch before anything is read, in one order on every node; the channels' heads."""
    pks = sorted({pk for command in commands for pk in command.channels})
    if bare is not None:
        return bare.execute(FIND_CHANNELS, [orjson.dumps(pks).decode()]).fetchall() if pks else []
    keys = sorted({key for command in commands for key in command.keys})
    if keys:
        connection.execute(LOCK_KEYS, {"keys": keys})
    return connection.execute(LOCK_CHANNELS, {"pks": pks}).all() if pks else []


def sqlstate(error: BaseException) -> str | None:
    return getattr(error.orig, "sqlstate", None) if isinstance(error, DBAPIError) else None


def is_serialization_failure(error: BaseException) -> bool:
    return sqlstate(error) in SERIALIZATION_FAILURES


def is_duplicate(error: BaseException) -> bool:
    """Whether a unique constraint refused it: another transaction was first."""
    if isinstance(error, sqlite3.IntegrityError):
        return "UNIQUE constraint failed" in str(error)
    if isinstance(error, IntegrityError):
        return sqlstate(error) == "23505" or (error.orig is not None and is_duplicate(error.orig))
    return False
