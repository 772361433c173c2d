"""How a transaction reaches its database."""

from collections.abc import Collection, Hashable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from sqlalchemy import Connection

from storage.models import channels
from storage.prepared import Bulk, Prepared, Update

SET_CHANNEL = Update(channels, ("pk",), ("head", "ordinal"))
# A query and its values: what a command will ask for.
Read = tuple[Prepared, Mapping[str, Any]]
# The rows of each query that was announced, by the query and the key of its values.
Found = dict[tuple[Prepared, tuple[Any, ...]], list[Any]]


# ``(head, ordinal)`` of channels, by number.
Channels = Mapping[int, tuple[int, int | None]]


class Locked(NamedTuple):
    """What a batch knows when it holds its locks: ``(pk, head, name, ordinal)`` of channels, the time in microseconds."""

    channels: Collection[Any]
    now: int
    found: Found


class Waiting:
    """What some commands have to write yet."""

    __slots__ = ("moved", "pending", "rows", "updates")

    def __init__(self) -> None:
        self.rows: dict[Bulk, list[tuple[Any, ...]]] = {}
        # By statement and key: new values of rows, or rows of which only one of a key is written.
        self.updates: dict[Update | Bulk, dict[Any, tuple[Any, ...]]] = {}
        # Channels that got events.
        self.moved: set[int] = set()
        # What rows that are not written will be, by a key.
        self.pending: dict[Hashable, Any] = {}

    def __bool__(self) -> bool:
        return bool(self.rows or self.updates or self.moved)

    def extend(self, other: "Waiting") -> None:
        """Have what waits in ``other`` written too, after what waits here."""
        for table, rows in other.rows.items():
            self.rows.setdefault(table, []).extend(rows)
        for statement, values in other.updates.items():
            self.updates.setdefault(statement, {}).update(values)
        self.moved |= other.moved
        self.pending |= other.pending

    def clear(self) -> None:
        self.rows.clear()
        self.updates.clear()
        self.moved.clear()
        self.pending.clear()


class Statements(Protocol):
    """Of one batch, on one connection."""

    # For statements of a command's own.
    connection: Connection
    # Whether it pays to read what commands announce.
    reads_ahead: bool

    def begin(self, pks: Sequence[int], keys: Sequence[str], reads: Collection[Read]) -> Locked:
        """Begin the transaction, lock keys and channels in the order given, then read."""
        ...

    def find(self, reads: Collection[Read]) -> Found:
        """Read again what was announced."""
        ...

    def rows(self, query: Prepared, values: Mapping[str, Any]) -> Sequence[Any]:
        """All rows, as tuples."""
        ...

    def write(self, waiting: Waiting, moved: Channels, *then: str) -> None:
        """Write what waits and the channels that moved, then run statements without values."""
        ...

    def finish(self, waiting: Waiting, moved: Channels) -> None:
        """Write what waits at the end of the batch, or with its commit."""
        ...

    def is_spoiled_by(self, error: Exception) -> bool:
        """Whether an error outside a savepoint ends the whole transaction."""
        ...
