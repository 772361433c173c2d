"""What is due at a time: one row for each kind and what it is about, written and removed with what it does."""

from collections.abc import Collection
from typing import NamedTuple

from sqlalchemy import Connection, bindparam, select

from storage.models import due
from storage.prepared import Bulk, Delete, Prepared, Update
from storage.statements import Read
from storage.transaction import Tx

FIND = Prepared(select(due.c.at).where(due.c.kind == bindparam("kind"), due.c.ref == bindparam("ref")))
ADD = Bulk(due, ("kind", "ref", "at"))
SET_AT = Update(due, ("kind", "ref"), ("at",))
END = Delete(due, ("kind", "ref"))


class Due(NamedTuple):
    """Of a kind, the number of what it is about, and when it is due, in microseconds."""

    kind: str
    ref: int
    at: int


# In a batch, in place of a time: it was ended.
ENDED = 0


def find(tx: Tx, kind: str, ref: int) -> int | None:
    """When it is due, in microseconds; None where it is not."""
    known = tx.pending(("due", kind, ref), None)
    if known is not None:
        return None if known == ENDED else known
    row = tx.first(FIND, {"kind": kind, "ref": ref})
    return None if row is None else int(row[0])


def reads_of_find(kind: str, ref: int) -> list[Read]:
    """The queries of ``find``."""
    return [(FIND, {"kind": kind, "ref": ref})]


def schedule(tx: Tx, kind: str, ref: int, at: int) -> None:
    """Do it at a time, in microseconds, in place of the one before."""
    if find(tx, kind, ref) is not None:
        tx.update_later(SET_AT, (kind, ref), (at,))
    else:
        if tx.pending(("due", kind, ref), None) == ENDED:
            # The deletion that waits must be written before the new row.
            tx.connection()
        tx.later(ADD, (kind, ref, at))
    tx.set_pending(("due", kind, ref), at)


def end(tx: Tx, kind: str, ref: int) -> None:
    if tx.pending(("due", kind, ref), None):
        tx.connection()
    tx.update_later(END, (kind, ref), ())
    tx.set_pending(("due", kind, ref), ENDED)


def overdue(connection: Connection, kinds: Collection[str], *, before: int, limit: int = 100) -> list[Due]:
    """What of some kinds was due before a time, in microseconds, oldest first."""
    statement = select(due.c.kind, due.c.ref, due.c.at).where(due.c.at < before, due.c.kind.in_(kinds))
    return [Due(*row) for row in connection.execute(statement.order_by(due.c.at).limit(limit))]
