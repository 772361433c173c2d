"""One batch of commands in one transaction: lock, look, write, commit.

A ``Command`` is a plain function over a ``Tx``, so that the same code runs in SQLite's writer thread and under
``run_sync`` on PostgreSQL. What it appended to the log comes out only if it succeeded and then the batch committed.
"""

from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from sqlalchemy import Connection, CursorResult, Executable, text

from storage.errors import Conflict, Unavailable
from storage.fetch import fetch_one
from storage.prepared import Bulk, Prepared, Update
from storage.sqlstates import Undone, is_cancelled, is_duplicate, is_retriable, is_wrong_server
from storage.statements import Channels, Found, Locked, Read, Statements, Waiting
from storage.types import now

T = TypeVar("T")
NONE: Channels = {}
# An event without what its caller said, as it is stored.
EVENT_BYTES = 1024

CLOCK = text("SELECT CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS bigint)")


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


@dataclass(slots=True)
class LockedChannel:
    """As the commands of the batch have moved it."""

    head: int
    name: str
    ordinal: int | None


class Tx:
    """What a command works with.

    Rows handed to ``later`` and the channels that got events are written together at the end of the batch. A command that
    calls ``connection()`` before sees them all: what waits is written first, and the command gets a savepoint of its own.
    A command that never does needs none, because it has written nothing when it fails; nor does the only one of a batch,
    which is not committed then.
    """

    __slots__ = (
        "_alone",
        "_announced",
        "_before",
        "_channels",
        "_events",
        "_fresh",
        "_mine",
        "_others",
        "_saved",
        "events",
        "now",
        "statements",
    )

    def __init__(self, statements: Statements, locked: Locked, *, alone: bool) -> None:
        self.statements = statements
        # Whether there is one command.
        self._alone = alone
        # The batch's time, in microseconds.
        self.now = locked.now
        # What was appended to the log, by all commands of the batch.
        self.events: list[Event] = []
        # Each channel that is locked or was made, by number.
        self._channels = {pk: LockedChannel(*columns) for pk, *columns in locked.channels}
        # What was read ahead, as long as no command has changed it; None after that.
        self._announced: Found | None = locked.found
        # What waits to be written: of the commands before, and of this one.
        self._others, self._mine = Waiting(), Waiting()
        # Of this command: the channels that it moved, as they were before; those that it made; where its events begin.
        self._before: dict[int, tuple[int, int | None]] = {}
        self._fresh: set[int] = set()
        self._events = 0
        # Whether it has a savepoint, or needs none although it has used the connection.
        self._saved = False

    # Looking

    def connection(self) -> Connection:
        """The connection, for a statement of its own: everything that waits to be written is written first."""
        if not self._saved:
            if not self._alone:
                # Channels that this command moved belong into its savepoint.
                self._write(self._others, "SAVEPOINT command", before=self._before)
            self._saved = True
            self._announced = None
        self._write(self._mine)
        return self.statements.connection

    def execute(
        self, statement: Executable, values: Mapping[str, Any] | Sequence[Mapping[str, Any]] = ()
    ) -> CursorResult[Any]:
        return self.connection().execute(statement, values or None)

    def rows(self, query: Prepared, values: Mapping[str, Any]) -> Sequence[Any]:
        """Rows of a query as stored: what this batch has not written yet is not among them.

        On PostgreSQL it costs a round trip, unless the command announced it.
        """
        if self._announced:
            place = (query, query.key(values))
            if place in self._announced:
                return self._announced[place]
        return self.statements.rows(query, values)

    def first(self, query: Prepared, values: Mapping[str, Any]) -> Any:
        """The first of these rows, or None."""
        found = self.rows(query, values)
        return found[0] if found else None

    # Writing

    def later(self, table: Bulk, row: tuple[Any, ...], *, key: Hashable = None) -> None:
        """Write a row with those of the other commands; of several with one ``key`` only the last."""
        if key is None:
            self._mine.rows.setdefault(table, []).append(row)
        else:
            self._mine.updates.setdefault(table, {})[key] = row

    def set_pending(self, key: Hashable, value: Any) -> None:
        """Register what a row that is not written yet will be, for the commands that follow."""
        self._mine.pending[key] = value

    def pending(self, key: Hashable, default: T) -> T:
        """What was registered under this key by a command of the batch and is not written yet, or ``default``."""
        value: T = self._mine.pending.get(key, self._others.pending.get(key, default))
        return value

    def update_later(self, update: Update, key: tuple[Any, ...], values: tuple[Any, ...]) -> None:
        """Change a row with those of the other commands; of several changes of one key the last one counts."""
        self._mine.updates.setdefault(update, {})[key] = values

    def waiting_update(self, update: Update, key: tuple[Any, ...]) -> tuple[Any, ...] | None:
        """The values that wait to be written to this row."""
        mine = self._mine.updates.get(update, {}).get(key)
        return mine if mine is not None else self._others.updates.get(update, {}).get(key)

    def made(self, pk: int, name: str) -> None:
        """The command made this channel."""
        self._channels[pk] = LockedChannel(0, name, 0)
        self._fresh.add(pk)

    def next_seq(self, pk: int) -> tuple[int, str]:
        """The next seq of a channel, and the channel's name. The command named or made the channel, or else KeyError."""
        channel = self._move(pk)
        channel.head += 1
        return channel.head, channel.name

    def head(self, pk: int) -> int:
        """The newest seq of a channel that the command named or made."""
        return self._channels[pk].head

    def ordinal(self, pk: int) -> int | None:
        """That of a chat's newest message; None where its messages are not numbered yet."""
        return self._channels[pk].ordinal

    def set_ordinal(self, pk: int, ordinal: int) -> None:
        self._move(pk).ordinal = ordinal

    def _move(self, pk: int) -> "LockedChannel":
        channel = self._channels[pk]
        self._before.setdefault(pk, (channel.head, channel.ordinal))
        self._mine.moved.add(pk)
        return channel

    def _moved(self, waiting: Waiting, before: Channels = NONE) -> Channels:
        """As the commands up to here have moved them, or as they were ``before``; in order of their numbers."""
        now = self._channels
        return {pk: before.get(pk, (now[pk].head, now[pk].ordinal)) for pk in sorted(waiting.moved)}

    def _write(self, waiting: Waiting, *then: str, before: Channels = NONE) -> None:
        if waiting or then:
            self.statements.write(waiting, self._moved(waiting, before), *then)
            waiting.clear()

    # The life of a batch

    def announce(self, commands: Sequence["Command[Any]"]) -> None:
        """Read ahead again what the commands from here on ask for, after one that may have changed it."""
        if self._announced is None and self.statements.reads_ahead:
            self._announced = self.statements.find([read for each in commands for read in each.reads()])

    def keep(self) -> None:
        """The command succeeded."""
        if self._saved and not self._alone:
            self._write(self._mine, "RELEASE SAVEPOINT command")
        else:
            self._others.extend(self._mine)
        self._next()

    def undo(self, answer: Exception) -> None:
        """The command failed. Raises NothingToCommit for the only one of a batch, if it may have written anything."""
        if self._saved and self._alone:
            raise NothingToCommit(answer)
        if self._saved:
            self.statements.write(Waiting(), {}, "ROLLBACK TO SAVEPOINT command", "RELEASE SAVEPOINT command")
        for pk, (head, ordinal) in self._before.items():
            self._channels[pk].head, self._channels[pk].ordinal = head, ordinal
        for pk in self._fresh:
            del self._channels[pk]
        del self.events[self._events :]
        self._next()

    def _next(self) -> None:
        self._mine = Waiting()
        self._before.clear()
        self._fresh.clear()
        self._events = len(self.events)
        self._saved = False

    def spoiled_by(self, error: Exception) -> bool:
        """Whether the whole transaction ends with this error."""
        return not self._saved and self.statements.is_spoiled_by(error)

    def finish(self) -> None:
        """The last command is done; the caller commits."""
        self.statements.finish(self._others, self._moved(self._others))


def rows(source: Tx | Connection, query: Prepared, values: Mapping[str, Any]) -> Sequence[Any]:
    """What a query finds, inside a transaction or on a reading connection."""
    return source.rows(query, values) if isinstance(source, Tx) else fetch_one(source, query, values)


def first(source: Tx | Connection, query: Prepared, values: Mapping[str, Any]) -> Any:
    """The first row, inside a transaction or on a reading connection."""
    return next(iter(rows(source, query, values)), None)


@dataclass(frozen=True, slots=True)
class Command(Generic[T]):
    """A change, and what it must hold before it looks: channels by number, idempotency keys by name.

    ``channels`` names those to which it appends: they are locked in one order on every node, so that no two batches wait
    for each other. ``apply`` returns the answer. If it raises, its changes are undone. If it returns a ``Problem``, its
    changes stay and the caller gets the problem. ``size`` is how many bytes of the caller's it stores. ``reads`` announces
    what it asks for with ``Tx.rows`` and ``Tx.first``: on PostgreSQL all of it is read at once, after the locks.
    """

    apply: Callable[[Tx], T]
    channels: Collection[int] = ()
    keys: Collection[str] = field(default=())
    size: int = 0
    reads: Callable[[], Collection[Read]] = tuple

    @property
    def weight(self) -> int:
        """About how many bytes it writes: what it stores, in each of its channels with an event around it."""
        return (self.size + EVENT_BYTES) * max(1, len(self.channels))


class NothingToCommit(Exception):
    """The only command of a batch failed: the transaction is to be rolled back, and this is the answer"""

    def __init__(self, answer: Exception) -> None:
        self.answer = answer


def run_batch(statements: Statements, commands: Sequence[Command[Any]]) -> tuple[list[Any], list[Event]]:
    """Run ``commands`` in one transaction; their answers (or exceptions) in order, and their events. The caller commits.

    Raises ``Undone`` if the database refused the transaction as a whole, ``NothingToCommit`` where all of it failed.
    """
    # Sorted, so that no two batches wait for each other.
    pks = sorted({pk for command in commands for pk in command.channels})
    keys = sorted({key for command in commands for key in command.keys})
    try:
        reads = [read for each in commands for read in each.reads()] if statements.reads_ahead else []
        tx = Tx(statements, statements.begin(pks, keys, reads), alone=len(commands) == 1)
        answers: list[Any] = []
        for place, command in enumerate(commands):
            try:
                if place:
                    tx.announce(commands[place:])
                answer = command.apply(tx)
                tx.keep()
            except Exception as error:
                if is_retriable(error) or is_wrong_server(error) or tx.spoiled_by(error):
                    raise
                answer = Conflict() if is_duplicate(error) else Unavailable() if is_cancelled(error) else error
                tx.undo(answer)
            answers.append(answer)
        tx.finish()
        return answers, tx.events
    except Exception as error:
        if is_retriable(error):
            raise Undone from error
        raise


def clock(connection: Connection) -> int:
    """The database's own time in microseconds, so that nodes with other clocks agree."""
    return connection.execute(CLOCK).scalar_one() if connection.dialect.name == "postgresql" else now()
