"""Stamps: what a phone shows of a stream is replaced only by a push with a newer stamp, in seconds since 1970."""

from collections.abc import Collection, Sequence
from typing import NamedTuple

from sqlalchemy import Table, select

from storage.prepared import Update
from storage.transaction import Tx
from storage.types import SECOND


class Stamped(NamedTuple):
    """Rows that get pushes with stamps; those in the state ``active`` do, and after an end they are ``ending``.

    ``change`` sets the stamp and the state of a row.
    """

    table: Table
    active: str
    change: Update


class Stamping(NamedTuple):
    """Rows that get a push; with ``ending`` they are from then on being ended."""

    pks: Collection[int]
    ending: bool


def stamp(tx: Tx, stamped: Stamped, pushes: Sequence[Stamping]) -> list[dict[int, int]]:
    """For each push in order, a newer stamp for those of its rows that are active: also than a start of this second."""
    pks = {pk for each in pushes for pk in each.pks}
    if not pks:
        return [{} for _ in pushes]
    column = stamped.table.c
    held = select(column.pk, column.stamp).where(column.pk.in_(pks), column.state == stamped.active)
    newest = {row.pk: row.stamp for row in tx.execute(held.order_by(column.pk).with_for_update())}
    found = []
    for each in pushes:
        stamps = {pk: max(tx.now // SECOND, newest[pk]) + 1 for pk in each.pks if pk in newest}
        found.append(stamps)
        for pk, newer in stamps.items():
            tx.update_later(stamped.change, (pk,), (newer, "ending" if each.ending else stamped.active))
            newest[pk] = newer
            if each.ending:
                del newest[pk]
    return found
