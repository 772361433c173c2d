"""Statements that share a round trip to PostgreSQL, on libpq's pipeline.

https://www.postgresql.org/docs/current/libpq-pipeline-mode.html. psycopg's own pipeline does the same through cursors, for
four times the CPU. Relied on of psycopg 3.3: ``AsyncConnection.pgconn`` is non-blocking, ``errors.error_from_result`` makes
the exception of a result. Checked by name in ``tests/test_seams.py``.
"""

import asyncio
import contextlib
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import psycopg
from psycopg import errors, pq
from sqlalchemy.ext.asyncio import AsyncConnection

PIPELINE = "bellwire.pipeline"
OK = (pq.ExecStatus.COMMAND_OK, pq.ExecStatus.TUPLES_OK)
# How results in text are read, by the number of their type (pg_type.oid); all others are texts.
READERS: dict[int, Callable[[bytes], Any]] = {
    16: lambda value: value == b"t",
    17: lambda value: (
        bytes.fromhex(value[2:].decode()) if value.startswith(b"\\x") else pq.Escaping().unescape_bytea(value)
    ),
    20: int,
    21: int,
    23: int,
    701: float,
}


ESCAPED = str.maketrans({"\\": r"\\", '"': r"\""})


class Statement(NamedTuple):
    """SQL with ``$1``, ``$2`` …, and their values as PostgreSQL reads them."""

    sql: str
    values: Sequence[bytes | None] = ()


class Pipeline:
    """Of one connection, used by one task at a time. Where ``prepares`` is false, no statement gets a name."""

    def __init__(self, connection: psycopg.AsyncConnection[Any], *, prepares: bool) -> None:
        self.connection = connection
        self.pgconn = connection.pgconn
        self.prepares = prepares
        # Of time.monotonic().
        self.opened_at = time.monotonic()
        # Of the statements that are prepared on this connection, and how many ever were.
        self.names: dict[str, bytes] = {}
        self.prepared = 0
        # Round trips since they were counted last.
        self.trips = 0
        # What is sent before the next statements.
        self.pending: list[Statement] = []

    @property
    def is_lost(self) -> bool:
        return self.pgconn.status == pq.ConnStatus.BAD

    @property
    def is_idle(self) -> bool:
        """Whether no transaction has begun."""
        return self.pgconn.transaction_status == pq.TransactionStatus.IDLE

    async def run(self, statements: Sequence[Statement]) -> list[list[tuple[Any, ...]]]:
        """The rows of each statement. One that is refused ends the statements after it, and is raised.

        Raises ``psycopg.OperationalError`` where the connection was lost before the last answer: what was done is unknown.
        """
        skipped, statements = len(self.pending), [*self.pending, *statements]
        self.pending.clear()
        # Of statements that are prepared with this trip, in their order.
        fresh: dict[str, bytes] = {}
        self.trips += 1
        try:
            self.pgconn.enter_pipeline_mode()
            prepared = [self._send(each, fresh) for each in statements]
            self.pgconn.pipeline_sync()
            results = iter(await self._results())
            self.pgconn.exit_pipeline_mode()
        except BaseException:
            self.pgconn.finish()
            raise
        found, refused = [], None
        for statement, is_fresh in zip(statements, prepared, strict=True):
            if is_fresh:
                answer = next(results)
                if answer.status in OK:
                    self.names[statement.sql] = fresh[statement.sql]
                refused = refused or refusal(answer)
            answer = next(results)
            refused = refused or refusal(answer)
            found.append(rows_of(answer))
        if refused is not None:
            if isinstance(refused, errors.InvalidSqlStatementName):
                # psycopg deallocated all of them, as it does after a ROLLBACK.
                self.names.clear()
            raise refused
        return found[skipped:]

    def _send(self, statement: Statement, fresh: dict[str, bytes]) -> bool:
        """Whether it was sent to be prepared before."""
        sql = statement.sql.encode()
        if not self.prepares:
            self.pgconn.send_query_params(sql, statement.values)
            return False
        name = self.names.get(statement.sql) or fresh.get(statement.sql)
        is_fresh = name is None
        if name is None:
            name = fresh[statement.sql] = b"bellwire_%d" % self.prepared
            self.prepared += 1
            self.pgconn.send_prepare(name, sql)
        self.pgconn.send_query_prepared(name, statement.values)
        return is_fresh

    async def _results(self) -> list[pq.abc.PGresult]:
        """All that is answered until the server has done everything that was sent."""
        results: list[pq.abc.PGresult] = []
        unsent = bool(self.pgconn.flush())
        while True:
            while self.pgconn.is_busy():
                await self._ready(unsent)
                self.pgconn.consume_input()
                unsent = unsent and bool(self.pgconn.flush())
            result = self.pgconn.get_result()
            if self.is_lost:
                raise (result and refusal(result)) or psycopg.OperationalError("the connection was lost")
            if result is None:
                # The end of one statement.
                continue
            if result.status == pq.ExecStatus.PIPELINE_SYNC:
                return results
            results.append(result)

    async def _ready(self, unsent: bool) -> None:
        """Wait until there is something to read, or room to write what is ``unsent``."""
        loop, place = asyncio.get_running_loop(), self.pgconn.socket
        ready = loop.create_future()

        def on_ready() -> None:
            if not ready.done():
                ready.set_result(None)

        loop.add_reader(place, on_ready)
        if unsent:
            loop.add_writer(place, on_ready)
        try:
            await ready
        finally:
            loop.remove_reader(place)
            if unsent:
                loop.remove_writer(place)


def refusal(result: pq.abc.PGresult) -> psycopg.Error | None:
    return errors.error_from_result(result) if result.status == pq.ExecStatus.FATAL_ERROR else None


def rows_of(result: pq.abc.PGresult) -> list[tuple[Any, ...]]:
    readers = [READERS.get(result.ftype(column), bytes.decode) for column in range(result.nfields)]
    return [
        tuple(
            None if (value := result.get_value(row, column)) is None else read(value)
            for column, read in enumerate(readers)
        )
        for row in range(result.ntuples)
    ]


@contextlib.contextmanager
def closing_after(connection: psycopg.AsyncConnection[Any], seconds: float) -> Iterator[None]:
    """Shut down the connection's socket after ``seconds``: the pending request fails, and the pool discards the connection.

    Cancelling the task instead would make psycopg wait until the server confirms the cancellation.
    """

    def on_timeout() -> None:
        # Another handle of the same socket; its kind plays no part in this.
        with (
            contextlib.suppress(OSError, psycopg.OperationalError),
            socket.fromfd(connection.pgconn.socket, socket.AF_INET, socket.SOCK_STREAM) as place,
        ):
            place.shutdown(socket.SHUT_RDWR)

    timer = asyncio.get_running_loop().call_later(seconds, on_timeout)
    try:
        yield
    finally:
        timer.cancel()


async def pipeline_of(connection: AsyncConnection, *, prepares: bool) -> Pipeline:
    """That of the driver's connection, which knows what is prepared there; ``connection.info[PIPELINE]`` from then on."""
    raw = await connection.get_raw_connection()
    driver, known = raw.driver_connection, raw.info
    assert isinstance(driver, psycopg.AsyncConnection)
    pipeline: Pipeline | None = known.get(PIPELINE)
    if pipeline is None or pipeline.connection is not driver:
        pipeline = known[PIPELINE] = Pipeline(driver, prepares=prepares)
    return pipeline


# Values as PostgreSQL reads them (https://www.postgresql.org/docs/current/arrays.html#ARRAYS-IO)


def array(values: Sequence[str | None]) -> bytes:
    return f"{{{','.join(['NULL' if value is None else value for value in values])}}}".encode()


def numbers(values: Sequence[float | None]) -> bytes:
    return array([None if value is None else str(value) for value in values])


def booleans(values: Sequence[bool | None]) -> bytes:
    return array([None if value is None else "t" if value else "f" for value in values])


def byte_strings(values: Sequence[bytes | None]) -> bytes:
    return array([None if value is None else f'"\\\\x{value.hex()}"' for value in values])


def texts(values: Sequence[str | None]) -> bytes:
    """Raises ValueError for a NUL, which PostgreSQL has no place for."""
    quoted = array([None if value is None else f'"{value.translate(ESCAPED)}"' for value in values])
    if b"\0" in quoted:
        raise ValueError("a text with a NUL can't be stored")
    return quoted


def plain(value: Any) -> bytes | None:
    """Raises psycopg.DataError for a text with a NUL, which PostgreSQL has no place for."""
    if value is None:
        return None
    if isinstance(value, bool):
        return b"t" if value else b"f"
    if isinstance(value, bytes):
        return b"\\x" + value.hex().encode()
    encoded = str(value).encode()
    if b"\0" in encoded:
        raise psycopg.DataError("a text with a NUL can't be stored")
    return encoded


def arrays(kinds: Sequence[str], rows: Sequence[tuple[Any, ...]]) -> list[bytes]:
    """An array for each column."""
    return [ARRAYS[kind](column) for kind, column in zip(kinds, zip(*rows, strict=True), strict=True)]


ARRAYS: dict[str, Callable[[Sequence[Any]], bytes]] = {
    "bigint": numbers,
    "double precision": numbers,
    "boolean": booleans,
    "bytea": byte_strings,
    "text": texts,
}
