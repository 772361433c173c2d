"""Promised pushes: a row a cause, written in the transaction of its cause, and a delivery for each device.

A cause is expanded page by page into deliveries. Both are claimed with a lease, so that several processes share them and
a crash gives them back.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

from sqlalchemy import (
    Connection,
    Integer,
    Select,
    Table,
    bindparam,
    delete,
    select,
    text,
    update,
)

from storage import webhooks
from storage.fetch import fetch_many
from storage.messages import Message, MessagePlace
from storage.models import deliveries, devices, outbox
from storage.prepared import Bulk, Prepared, Update
from storage.statements import Read
from storage.transaction import Tx, clock, first
from storage.types import SECOND

Kind = Literal[
    "message",
    "reply",
    "mention",
    "notification",
    "badge",
    "recount",
    "recount_thread",
    "live_start",
    "live_update",
    "live_end",
    "channel_update",
    "channel_end",
]
# To Live Activities, each by itself, and over channels to many.
ON_SCREEN = ("live_update", "live_end")
OVER_CHANNEL: tuple[Kind, Kind] = ("channel_update", "channel_end")
RECOUNTS = ("recount", "recount_thread")
STAMPED = (*ON_SCREEN, *OVER_CHANNEL)
ENDING = ("live_end", "channel_end")
LIVE = ("live_start", *STAMPED)
State = Literal["waiting", "sent", "skipped", "dropped", "dead"]
BADGE_DELAY = 2 * SECOND


@dataclass(frozen=True, slots=True)
class Cause:
    """Why to push: ``channel_pk`` and ``seq`` are the place of its event; ``ref_pk`` is a notification's number, or the only
    one of its audience that is meant.

    A ``recount`` becomes badges of those who had not read a message, whose author is ``ref_pk``; a ``recount_thread`` the
    same in a thread, whose root is at ``ref_pk``. A ``mention`` was added by an edit; its ``ref_pk`` is the message's seq.
    """

    pk: int
    kind: Kind
    channel_pk: int
    seq: int
    ref_pk: int | None
    cursor: int
    created_at: int


@dataclass(frozen=True, slots=True)
class Delivery:
    """One push to one device, or over a push channel. ``push_id`` is a uuid that stays through all attempts.

    ``ref_pk`` is that of its cause; of the start of a Live Activity the push channel that it starts with.
    """

    pk: int
    kind: Kind
    provider: str
    channel_pk: int
    seq: int
    ref_pk: int | None
    user_pk: int
    target_pk: int
    stamp: int | None
    push_id: str
    attempts: int
    created_at: int
    deadline_at: int


class Settlement(NamedTuple):
    """What became of a delivery. One that waits on is due after ``pause`` microseconds."""

    pk: int
    state: State
    attempts: int
    status: int | None
    reason: str
    pause: int = 0


# A cause that waits to be claimed. It is locked where it is read, so that it isn't claimed before it is changed.
NOT_BEGUN = outbox.c.lease.is_(None), outbox.c.cursor == 0
ANY_DEVICE = Prepared(select(devices.c.pk).limit(1))
DEVICE_OF = Prepared(select(devices.c.pk).where(devices.c.user_pk == bindparam("user")).limit(1))
NAMED_DEVICE = Prepared(
    select(devices.c.pk).where(devices.c.user_pk == bindparam("user"), devices.c.device_id == bindparam("device"))
)
WAITING_BADGE = Prepared(
    select(outbox.c.pk, outbox.c.seq, outbox.c.ref_pk)
    .where(outbox.c.kind == "badge", outbox.c.channel_pk == bindparam("user"), *NOT_BEGUN)
    .limit(1)
    .with_for_update(skip_locked=True)
)
WAITING_RECOUNT = Prepared(
    select(outbox.c.pk, outbox.c.seq, outbox.c.ref_pk)
    .where(outbox.c.kind == "recount", outbox.c.channel_pk == bindparam("chat"), *NOT_BEGUN)
    .limit(1)
    .with_for_update(skip_locked=True)
)
WAITING_THREAD_RECOUNT = Prepared(
    select(outbox.c.pk, outbox.c.seq, outbox.c.ref_pk)
    .where(
        outbox.c.kind == "recount_thread",
        outbox.c.channel_pk == bindparam("chat"),
        outbox.c.ref_pk == bindparam("root"),
        *NOT_BEGUN,
    )
    .limit(1)
    .with_for_update(skip_locked=True)
)
SET_CAUSE = Update(outbox, ("pk",), ("seq", "ref_pk"))
# Of a cause that is still held.
SET_CURSOR = Update(outbox, ("pk", "lease"), ("cursor",), also="lease = NULL, lease_until = 0")
ADD = Bulk(
    outbox,
    ("kind", "channel_pk", "seq", "ref_pk", "cursor", "due_at", "lease_until", "created_at"),
)
# Written out, so that they are those of the indexes.
WAITING, DEAD = text("deliveries.state = 'waiting'"), text("deliveries.state = 'dead'")
CAUSE = [outbox.c[name] for name in Cause.__slots__]
DELIVERY = [deliveries.c[name] for name in Delivery.__slots__]


def due(table: Table, columns: Sequence[Any]) -> Select[Any]:
    """Rows that wait and that nobody holds, oldest first."""
    statement = select(*columns).where(table.c.due_at <= bindparam("at"), table.c.lease_until <= bindparam("at"))
    return statement.order_by(table.c.due_at).limit(bindparam("limit", type_=Integer))


DUE_CAUSES = Prepared(due(outbox, [outbox.c.pk]))
OF_PROVIDER = deliveries.c.provider == bindparam("provider")
DUE_DELIVERIES = Prepared(due(deliveries, [deliveries.c.pk]).where(OF_PROVIDER, WAITING))
CLAIM_CAUSES = Prepared(due(outbox, CAUSE).with_for_update(skip_locked=True))
CLAIM_DELIVERIES = Prepared(due(deliveries, DELIVERY).where(OF_PROVIDER, WAITING).with_for_update(skip_locked=True))
SET_CAUSE_LEASE = Update(outbox, ("pk",), ("lease", "lease_until"))
SET_DELIVERY_LEASE = Update(deliveries, ("pk",), ("lease", "lease_until"))
# Of a delivery that is still held.
SETTLE = Update(
    deliveries,
    ("pk", "lease"),
    ("state", "attempts", "status", "reason", "due_at", "settled_at"),
    also="lease = NULL, lease_until = 0",
)


# Promising


def promise(tx: Tx, kind: Kind, channel_pk: int, seq: int, *, ref_pk: int | None = None) -> None:
    """Push the event at this position of a channel. Without registered devices nothing is written."""
    if tx.first(ANY_DEVICE, {}) is not None:
        tx.later(ADD, (kind, channel_pk, seq, ref_pk, 0, tx.now, 0, tx.now))


def reads_of_promise() -> list[Read]:
    """The queries of ``promise``."""
    return [(ANY_DEVICE, {})]


def reads_of_badge(user_pk: int, *, exclude_device: str | None = None) -> list[Read]:
    """The queries of ``promise_badge``."""
    reads: list[Read] = [(DEVICE_OF, {"user": user_pk}), (WAITING_BADGE, {"user": user_pk})]
    if exclude_device:
        reads.append((NAMED_DEVICE, {"user": user_pk, "device": exclude_device}))
    return reads


def promise_badge(tx: Tx, user_pk: int, *, exclude_device: str | None = None) -> None:
    """Tell a user's other devices how much is unread now; once, for all that is read within a moment."""
    if tx.first(DEVICE_OF, {"user": user_pk}) is None:
        return
    device = tx.first(NAMED_DEVICE, {"user": user_pk, "device": exclude_device}) if exclude_device else None
    exclude_device_pk = device[0] if device else None
    promise_once(tx, "badge", user_pk, 0, exclude_device_pk, tx.first(WAITING_BADGE, {"user": user_pk}))


def promise_recount(tx: Tx, item: Message) -> None:
    """Tell those who had not read a deleted message how much is unread now; once for all that is deleted in a moment."""
    if tx.first(ANY_DEVICE, {}) is None:
        return
    if item.previous_seq is None:
        promised = tx.first(WAITING_RECOUNT, {"chat": item.chat_pk})
        promise_once(tx, "recount", item.chat_pk, item.seq, item.sender_pk, promised)
    else:
        promised = tx.first(WAITING_THREAD_RECOUNT, {"chat": item.chat_pk, "root": item.thread_seq})
        promise_once(tx, "recount_thread", item.chat_pk, item.seq, item.thread_seq, promised, apart=item.thread_seq)


def reads_of_recount(place: MessagePlace) -> list[Read]:
    """The queries of ``promise_recount``."""
    if place.previous_seq is None:
        return [(ANY_DEVICE, {}), (WAITING_RECOUNT, {"chat": place.chat_pk})]
    return [(ANY_DEVICE, {}), (WAITING_THREAD_RECOUNT, {"chat": place.chat_pk, "root": place.thread_seq})]


def promise_once(
    tx: Tx,
    kind: Kind,
    channel_pk: int,
    seq: int,
    ref_pk: int | None,
    promised: tuple[int | None, int, int | None] | None,
    *,
    apart: int | None = None,
) -> None:
    """Add a cause that is due after ``BADGE_DELAY``, or extend ``promised``, an unclaimed one ``(pk, seq, ref_pk)`` of the
    same kind and channel: it gets the larger seq, and ``ref_pk`` None if the two differ. Those with different ``apart`` are
    causes of their own.
    """
    key = (kind, channel_pk, apart)
    known = tx.pending(key, promised)
    if known is not None and tx.waiting_update(SET_CAUSE_LEASE, known[:1]) is not None:
        # It was claimed in this batch.
        known = None
    pk, known_seq, known_ref = known or (None, seq, ref_pk)
    merged = max(seq, known_seq), ref_pk if ref_pk == known_ref else None
    if pk is None:
        tx.later(ADD, (kind, channel_pk, *merged, 0, tx.now + BADGE_DELAY, 0, tx.now), key=key)
    elif merged != (known_seq, known_ref):
        tx.update_later(SET_CAUSE, (pk,), merged)
    tx.set_pending(key, (pk, *merged))


def promise_live(tx: Tx, kind: Kind, stream_pk: int, seq: int, *, only: int | None = None, after: int = 0) -> None:
    """Push what devices show of a stream, or ``only`` one; or start it on those of its followers, or of only one.

    It is due ``after`` so many microseconds.
    """
    kinds = [kind]
    if kind in ON_SCREEN and only is None:
        kinds.append(OVER_CHANNEL[ON_SCREEN.index(kind)])
    for each in kinds:
        tx.later(ADD, (each, stream_pk, seq, only, 0, tx.now + after, 0, tx.now))


# Claiming


def time_if_causes_due(connection: Connection) -> int | None:
    """The database's time if a cause is due, in microseconds; otherwise None."""
    at = clock(connection)
    return None if first(connection, DUE_CAUSES, {"at": at, "limit": 1}) is None else at


def time_if_deliveries_due(connection: Connection, providers: Sequence[str]) -> int | None:
    """The database's time if a delivery by one of these providers is due, in microseconds; otherwise None."""
    at = clock(connection)
    wanted = [{"provider": name, "at": at, "limit": 1} for name in providers]
    return at if any(fetch_many(connection, DUE_DELIVERIES, wanted)) else None


def claim_causes(tx: Tx, lease: str, *, ttl: int, limit: int, at: int) -> list[Cause]:
    """Causes that are due ``at`` a time, oldest first, held under ``lease`` for ``ttl`` microseconds."""
    found = []
    for row in claim(tx, [(CLAIM_CAUSES, {"limit": limit, "at": at})], SET_CAUSE_LEASE, SET_CURSOR, lease, ttl):
        cause = Cause(*row)
        merged = tx.waiting_update(SET_CAUSE, (cause.pk,))
        if merged is not None:
            cause = replace(cause, seq=merged[0], ref_pk=merged[1])
        found.append(cause)
    return found


def reads_of_causes(limit: int, at: int) -> list[Read]:
    """The queries of ``claim_causes``."""
    return [(CLAIM_CAUSES, {"limit": limit, "at": at})]


def claim_deliveries(tx: Tx, lease: str, *, ttl: int, limits: Mapping[str, int], at: int) -> list[Delivery]:
    """Deliveries that are due ``at`` a time, held under ``lease`` for ``ttl`` microseconds: by provider so many."""
    rows = claim(tx, reads_of_deliveries(limits, at), SET_DELIVERY_LEASE, SETTLE, lease, ttl)
    return [Delivery(*row) for row in rows]


def reads_of_deliveries(limits: Mapping[str, int], at: int) -> list[Read]:
    """The queries of ``claim_deliveries``."""
    return [(CLAIM_DELIVERIES, {"provider": provider, "limit": limit, "at": at}) for provider, limit in limits.items()]


def claim(tx: Tx, due: Sequence[Read], set_lease: Update, end_lease: Update, lease: str, ttl: int) -> list[Any]:
    """Claim due rows, in the order of their numbers, but for those that another transaction has locked, and those that
    this batch has claimed or released.
    """
    found = [
        row
        for each in due
        for row in tx.rows(*each)
        if tx.waiting_update(set_lease, row[:1]) is None and tx.waiting_update(end_lease, (row[0], lease)) is None
    ]
    for row in found:
        tx.update_later(set_lease, row[:1], (lease, tx.now + ttl))
    return sorted(found)


def release(tx: Tx, lease: str | None = None) -> None:
    """Give back all that is held under ``lease``, or by anybody: at once due again."""
    for table in (outbox, deliveries):
        held = table.c.lease.is_not(None) if lease is None else table.c.lease == lease
        tx.execute(update(table).where(held).values(lease=None, lease_until=0))


# Expanding


def advance(tx: Tx, cursors: Mapping[int, int | None], lease: str) -> None:
    """By cause, up to which user the audience has its deliveries; None ends the cause."""
    ended = [pk for pk, cursor in cursors.items() if cursor is None]
    if ended:
        tx.execute(delete(outbox).where(outbox.c.pk.in_(ended), outbox.c.lease == lease))
    for pk, cursor in cursors.items():
        if cursor is not None:
            tx.update_later(SET_CURSOR, (pk, lease), (cursor,))


# Settling


def settle(tx: Tx, lease: str, settlements: Sequence[Settlement]) -> None:
    """Write what became of deliveries that are still held under ``lease``."""
    for each in settlements:
        settled_at = None if each.state == "waiting" else tx.now
        values = (each.state, each.attempts, each.status, each.reason[:255], tx.now + each.pause, settled_at)
        tx.update_later(SETTLE, (each.pk, lease), values)
    webhooks.promise_failures(tx, [each.pk for each in settlements if each.state == "dead"])


def settle_unknown(tx: Tx, providers: Collection[str]) -> None:
    """End what waits for a provider that is not set up any more."""
    waiting = update(deliveries).where(WAITING, deliveries.c.provider.not_in(providers))
    values = {"state": "dead", "reason": "the provider is not set up", "settled_at": tx.now}
    tx.execute(waiting.values(**values, lease=None, lease_until=0))
