"""The event log: what happened on each channel, gapless and in commit order.

A channel's row holds its ``head``. Taking a seq updates that row, and the row's lock makes commit order equal seq order,
on SQLite and on PostgreSQL.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

import orjson
from sqlalchemy import Connection, bindparam, func, insert, select

from storage import webhooks
from storage.fetch import fetch_one
from storage.models import channels, events
from storage.prepared import Bulk, ListUpdate, Prepared, by_dialect, json_list, of_pairs, one_of, padded
from storage.transaction import Event, Tx, clock
from storage.types import SECOND

ADD = Bulk(events, ("channel_pk", "seq", "name", "payload", "at", "about"))
OPEN = insert(channels)
BOUNDS = Prepared(select(channels.c.pk, channels.c.head, channels.c.floor).where(one_of(channels.c.pk, "pks")))
HEADS = select(channels.c.pk, channels.c.head).where(channels.c.pk.in_(bindparam("pks")))
# seq has no gaps, so that a page is a span of it.
PAGES = of_pairs(
    "SELECT w.pk, w.seq AS after, c.name AS channel, e.seq, e.name, e.payload, e.about FROM {pairs} "
    "JOIN events AS e ON e.channel_pk = w.pk AND e.seq > w.seq AND e.seq <= w.seq + :limit "
    "JOIN channels AS c ON c.pk = w.pk ORDER BY w.pk, w.seq, e.seq"
)
SIZES = of_pairs(
    "SELECT w.pk, w.seq, SUM(LENGTH(e.payload)) AS size FROM {pairs} "
    "JOIN events AS e ON e.channel_pk = w.pk AND e.seq > w.seq GROUP BY w.pk, w.seq"
)
TAIL = (
    select(events.c.channel_pk, func.max(events.c.seq))
    .where(events.c.at > bindparam("since"))
    .group_by(events.c.channel_pk)
)
SET_PAYLOAD = ListUpdate(events, ("channel_pk", "seq"), "payload")
FLOOR = by_dialect("UPDATE channels SET floor = w.seq FROM {pairs} WHERE channels.pk = w.pk AND channels.floor < w.seq")
FORGET = by_dialect(
    "DELETE FROM events WHERE (channel_pk, seq) IN (SELECT e.channel_pk, e.seq FROM {pairs} "
    "JOIN events AS e ON e.channel_pk = w.pk AND e.seq <= w.seq)"
)
LONG = select(channels.c.pk, (channels.c.head - bindparam("keep")).label("upto")).where(
    channels.c.head - channels.c.floor > bindparam("keep") + bindparam("slack")
)
AGED = (
    select(events.c.channel_pk, func.max(events.c.seq))
    .where(events.c.at < bindparam("before"))
    .group_by(events.c.channel_pk)
)
TRIMMED_AT_ONCE = 1000
NAMED = (
    select(events.c.seq, events.c.payload, events.c.at)
    .where(
        events.c.channel_pk == bindparam("pk"),
        events.c.seq >= bindparam("first"),
        events.c.seq < bindparam("before"),
        events.c.name == bindparam("name"),
    )
    .order_by(events.c.seq.desc())
)


class PastEvent(NamedTuple):
    """``payload`` is JSON, ``at`` in microseconds."""

    seq: int
    payload: bytes
    at: int


def open_channel(tx: Tx, name: str) -> int:
    """A new channel's number. Its name on the wire must be unique within its tenant."""
    primary_key = tx.execute(OPEN, {"name": name, "head": 0, "floor": 0, "ordinal": 0}).inserted_primary_key
    assert primary_key is not None
    pk = int(primary_key[0])
    tx.made(pk, name)
    return pk


def append(tx: Tx, channel_pk: int, name: str, document: object, *, about: int | None = None) -> Event:
    """Add an event with the channel's next seq. ``document`` is JSON-able; ``about`` as in ``Event``."""
    seq, channel = tx.next_seq(channel_pk)
    return write(tx, channel_pk, channel, seq, name, document, about=about)


def write(
    tx: Tx, channel_pk: int, channel: str, seq: int, name: str, document: object, *, about: int | None = None
) -> Event:
    """Add an event whose seq was taken before, for a document that tells it."""
    payload = orjson.dumps(document)
    tx.later(ADD, (channel_pk, seq, name, payload, tx.now, about))
    event = Event(channel_pk, channel, seq, name, payload, about)
    tx.events.append(event)
    webhooks.promise(tx, name, channel_pk, seq)
    return event


def rewrite(tx: Tx, channel_pk: int, seqs: Collection[int], document: Mapping[str, Any]) -> None:
    """Replace what earlier events tell, so that a replay never shows what is no longer there."""
    if seqs:
        tx.update_later(SET_PAYLOAD, (channel_pk, min(seqs)), (json_list(seqs), orjson.dumps(document)))


def heads(connection: Connection, pks: Collection[int]) -> dict[int, int]:
    """The newest seq of each channel that exists."""
    found: dict[int, int] = {}
    wanted = list(pks)
    for start in range(0, len(wanted), 1000):
        rows = connection.execute(HEADS, {"pks": padded(wanted[start : start + 1000])})
        found.update((row.pk, row.head) for row in rows)
    return found


def pages(connection: Connection, wanted: Sequence[tuple[int, int]], limit: int) -> list[list[Event]]:
    """For each ``(channel, seq)`` the events above the seq, in order, up to ``limit`` of them."""
    found: dict[tuple[int, int], list[Event]] = {each: [] for each in wanted}
    values = {"pairs": json_list(found), "limit": limit}
    for pk, after, channel, seq, name, payload, about in fetch_one(connection, PAGES, values):
        found[pk, after].append(Event(pk, channel, seq, name, bytes(payload), about))
    return [found[each] for each in wanted]


def bounds(connection: Connection, pk: int) -> tuple[int, int]:
    """The first seq that a channel's log still has, and its head."""
    ((_, head, floor),) = fetch_one(connection, BOUNDS, {"pks": json_list([pk])})
    return floor + 1, head


def named(connection: Connection, pk: int, name: str, *, first: int, before: int, limit: int) -> list[PastEvent]:
    """The newest events of this name from ``first`` on and before ``before``, the newest first."""
    values = {"pk": pk, "name": name, "first": first, "before": before}
    return [PastEvent(*row) for row in connection.execute(NAMED.limit(limit), values)]


def sizes(connection: Connection, wanted: Collection[tuple[int, int]]) -> dict[tuple[int, int], int]:
    """For each ``(channel, seq)`` the bytes of the events above the seq, where there are any."""
    if not wanted:
        return {}
    rows = fetch_one(connection, SIZES, {"pairs": json_list(wanted)})
    return {(pk, after): int(size) for pk, after, size in rows}


def tail(connection: Connection, seconds: int) -> dict[int, int]:
    """The newest seq of each channel that got an event in the last ``seconds``."""
    return {row[0]: row[1] for row in connection.execute(TAIL, {"since": clock(connection) - seconds * SECOND})}


def to_trim(connection: Connection, *, before: int, keep: int) -> dict[int, int]:
    """By channel, up to which seq events are older than ``before``, or more than ``keep``; some, if many."""
    aged: list[Any] = connection.execute(AGED.limit(TRIMMED_AT_ONCE), {"before": before}).all()  # type: ignore[assignment]
    long = connection.execute(LONG.limit(TRIMMED_AT_ONCE), {"keep": keep, "slack": keep // 10}).all()
    found: dict[int, int] = {}
    for pk, upto in [*aged, *long]:
        found[pk] = max(upto, found.get(pk, 0))
    return found


def next_cuts(connection: Connection, wanted: Mapping[int, int]) -> tuple[dict[int, int], dict[int, int]]:
    """By channel, up to which seq to trim next, at most ``TRIMMED_AT_ONCE`` events together; and what is left after that."""
    floors = {pk: floor for pk, _, floor in fetch_one(connection, BOUNDS, {"pks": json_list(wanted)})}
    cuts, rest, room = {}, {}, TRIMMED_AT_ONCE
    for pk, upto in wanted.items():
        floor = floors.get(pk, upto)
        cut = min(upto, floor + room)
        if cut > floor:
            cuts[pk] = cut
            room -= cut - floor
        if cut < upto:
            rest[pk] = upto
    return cuts, rest


def trim(tx: Tx, cuts: Mapping[int, int]) -> None:
    """Drop the events of channels up to these seqs."""
    dialect = tx.connection().dialect.name
    for statements in (FORGET, FLOOR):
        tx.execute(statements[dialect], {"pairs": json_list(cuts.items())})
