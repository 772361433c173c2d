"""A transaction on PostgreSQL: two round trips, unless a command has statements of its own.

Locks, clock and announced reads travel together, and so do all rows and the COMMIT.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.util import await_only

from storage.pipeline import Pipeline, Statement, arrays, numbers, texts
from storage.prepared import Bulk, Prepared, Update
from storage.sqlstates import CommitUnknown, Undone, is_database_error, is_retriable
from storage.statements import SET_CHANNEL, Channels, Found, Locked, Read, Waiting

BEGIN, COMMIT = Statement("BEGIN"), Statement("COMMIT")
# What the server ends by itself where this process has gone; milliseconds.
LIMITS = (
    "SELECT set_config('lock_timeout', $1, true), set_config('statement_timeout', $2, true), "
    "set_config('idle_in_transaction_session_timeout', $2, true)"
)
LOCK_KEYS = "SELECT pg_advisory_xact_lock(hashtextextended(k, 0)) FROM unnest($1::text[]) AS k"
LOCK_CHANNELS = "SELECT pk, head, name, ordinal FROM channels WHERE pk = ANY($1::bigint[]) ORDER BY pk FOR UPDATE"
# The database's own time, so that nodes with other clocks agree.
CLOCK = Statement("SELECT CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS bigint)")


class PostgresStatements:
    """Runs in a greenlet of SQLAlchemy. ``seconds`` bound a statement, half of them the wait for a lock."""

    reads_ahead = True

    def __init__(self, connection: Connection, pipeline: Pipeline, seconds: float) -> None:
        self.connection = connection
        self.pipeline = pipeline
        milliseconds = int(seconds * 1000)
        self.limits = Statement(LIMITS, [b"%d" % (milliseconds // 2), b"%d" % milliseconds])
        # What is sent with the COMMIT.
        self.last: list[Statement] = []

    def begin(self, pks: Sequence[int], keys: Sequence[str], reads: Collection[Read]) -> Locked:
        locks = []
        if keys:
            locks.append(Statement(LOCK_KEYS, [texts(keys)]))
        if pks:
            locks.append(Statement(LOCK_CHANNELS, [numbers(pks)]))
        groups = grouped(reads)
        answers = self._run([BEGIN, self.limits, *locks, CLOCK, *map(statement_of, groups, groups.values())])
        heads = answers[1 + len(locks)] if pks else []
        ((now,),) = answers[2 + len(locks)]
        return Locked(heads, now, found_of(groups, answers[3 + len(locks) :]))

    def find(self, reads: Collection[Read]) -> Found:
        groups = grouped(reads)
        return found_of(groups, self._run(list(map(statement_of, groups, groups.values())))) if groups else {}

    def rows(self, query: Prepared, values: Mapping[str, Any]) -> Sequence[Any]:
        return self.find([(query, values)])[query, query.key(values)]

    def write(self, waiting: Waiting, moved: Channels, *then: str) -> None:
        statements = [*writing(waiting, moved), *map(Statement, then)]
        if statements:
            self._run(statements)

    def finish(self, waiting: Waiting, moved: Channels) -> None:
        self.last = writing(waiting, moved)

    def commit(self) -> None:
        """Raises CommitUnknown unless the server itself said that nothing was committed; Undone where it may run again."""
        try:
            self._run([*self.last, COMMIT])
        except Exception as error:
            if self.pipeline.is_lost:
                raise CommitUnknown from error
            if is_retriable(error):
                raise Undone from error
            raise

    def is_spoiled_by(self, error: Exception) -> bool:
        return is_database_error(error)

    def _run(self, statements: Sequence[Statement]) -> list[list[tuple[Any, ...]]]:
        return await_only(self.pipeline.run(statements))


def grouped(reads: Collection[Read]) -> dict[Prepared, list[tuple[Any, ...]]]:
    """The keys of each query, once each. Those that wait for locks come first, in one order on every node."""
    groups: dict[Prepared, dict[tuple[Any, ...], None]] = {}
    for query, values in reads:
        groups.setdefault(query, {})[query.key(values)] = None
    locking = sorted((each for each in groups if each.locks), key=lambda query: query.sql)
    ordered: dict[Prepared, list[tuple[Any, ...]]] = {query: sorted(groups[query]) for query in locking}
    return ordered | {query: list(keys) for query, keys in groups.items() if not query.locks}


def statement_of(query: Prepared, keys: Sequence[tuple[Any, ...]]) -> Statement:
    return Statement(query.postgres_sql, arrays(query.kinds, keys))


def found_of(
    groups: Mapping[Prepared, Sequence[tuple[Any, ...]]], answers: Sequence[Sequence[tuple[Any, ...]]]
) -> Found:
    found: Found = {}
    for (query, keys), rows in zip(groups.items(), answers, strict=True):
        found.update(((query, key), []) for key in keys)
        for place, *row in rows:
            found[query, keys[place - 1]].append(tuple(row))
    return found


def writing(waiting: Waiting, moved: Channels) -> list[Statement]:
    """A statement for each table and each kind of update, however many rows."""
    statements = [writing_of(table, rows) for table, rows in waiting.rows.items()]
    statements += [writing_of(update, update.rows_of(values)) for update, values in waiting.updates.items()]
    if moved:
        statements.append(writing_of(SET_CHANNEL, [(pk, *values) for pk, values in moved.items()]))
    return statements


def writing_of(kind: Bulk | Update, rows: Sequence[tuple[Any, ...]]) -> Statement:
    return Statement(kind.postgres_sql, arrays(kind.kinds, rows))
