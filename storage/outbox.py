"""Promised pushes: a row a cause, written in the transaction of its cause, and a delivery for each device.

A cause is expanded page by page into deliveries. Both are claimed with a lease, so that several processes share them and
a crash gives them back.
"""

import uuid
from collections import Counter
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
    insert,
    select,
    text,
    update,
)

from storage import activities, webhooks
from storage.activities import Stamping
from storage.fetch import fetch_many
from storage.models import deliveries, devices, outbox
from storage.prepared import Bulk, Prepared, Update
from storage.statements import Read
from storage.transaction import Tx, clock, first
from storage.types import SECOND

Kind = Literal["message", "notification", "badge", "recount", "live_start", "live_update", "live_end"]
LIVE = ("live_start", "live_update", "live_end")
ON_SCREEN = ("live_update", "live_end")
State = Literal["waiting", "sent", "skipped", "dropped", "dead"]
BADGE_DELAY = 2 * SECOND


@dataclass(frozen=True, slots=True)
class Cause:
    """Why to push: ``channel_pk`` and ``seq`` are the place of its event; ``ref_pk`` a notification's number.

    A ``recount`` becomes badges of those who had not read a message; its ``ref_pk`` is who wrote it.
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
    """One push to one device. ``push_id`` is a uuid that stays through all attempts."""

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


def promise_recount(tx: Tx, chat_pk: int, seq: int, sender_pk: int) -> None:
    """Tell those who had not read a deleted message how much is unread now; once for all that is deleted in a moment."""
    if tx.first(ANY_DEVICE, {}) is not None:
        promise_once(tx, "recount", chat_pk, seq, sender_pk, tx.first(WAITING_RECOUNT, {"chat": chat_pk}))


def reads_of_recount(chat_pk: int) -> list[Read]:
    """The queries of ``promise_recount``."""
    return [(ANY_DEVICE, {}), (WAITING_RECOUNT, {"chat": chat_pk})]


def promise_once(
    tx: Tx,
    kind: Kind,
    channel_pk: int,
    seq: int,
    ref_pk: int | None,
    promised: tuple[int | None, int, int | None] | None,
) -> None:
    """Add a cause that is due after ``BADGE_DELAY``, or extend ``promised``, an unclaimed one ``(pk, seq, ref_pk)`` of the
    same kind and channel: it gets the larger seq, and ``ref_pk`` None if the two differ.
    """
    key = (kind, channel_pk)
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


def promise_live(tx: Tx, kind: Kind, stream_pk: int, seq: int, *, only: int | None = None) -> None:
    """Push the Live Activities of a stream, or ``only`` one; or tell its followers' phones, or only one's, to start one."""
    tx.later(ADD, (kind, stream_pk, seq, only, 0, tx.now, 0, tx.now))


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


def settle_unknown(tx: Tx, providers: Collection[str]) -> None:
    """End what waits for a provider that is not set up any more."""
    waiting = update(deliveries).where(WAITING, deliveries.c.provider.not_in(providers))
    values = {"state": "dead", "reason": "the provider is not set up", "settled_at": tx.now}
    tx.execute(waiting.values(**values, lease=None, lease_until=0))


# Expanding


class Recipient(NamedTuple):
    """A device or a Live Activity that a cause is pushed to, and by which provider."""

    user_pk: int
    target_pk: int
    provider: str


class Claim(NamedTuple):
    """By provider the first ``room`` deliveries are held under ``lease`` for ``ttl`` microseconds, but not those of the users
    in ``connected``.

    ``starts`` Live Activities are started on a device in an hour.
    """

    lease: str
    ttl: int
    room: Mapping[str, int]
    connected: Collection[int]
    starts: int


def add_deliveries(
    tx: Tx, wanted: Sequence[tuple[Cause, Sequence[Recipient]]], claim: Claim, ttl: Mapping[str, int]
) -> list[Delivery]:
    """Deliveries of causes that we hold; returns those that are held.

    What a cause has already is left alone. They are to be sent within what ``ttl`` says for their kind after their cause,
    in microseconds. A Live Activity is ended once: who is not active is left out.
    """
    pks = [cause.pk for cause, targets in wanted if targets]
    if not pks:
        return []
    ours = select(outbox.c.pk).where(outbox.c.pk.in_(pks), outbox.c.lease == claim.lease).order_by(outbox.c.pk)
    held = set(tx.execute(ours.with_for_update()).scalars())
    wanted = [(cause, targets) for cause, targets in wanted if cause.pk in held]
    known = {
        tuple(row)
        for row in tx.execute(
            select(deliveries.c.outbox_pk, deliveries.c.target_pk).where(deliveries.c.outbox_pk.in_(pks))
        )
    }
    starts_allowed = within_budget(tx, wanted, claim.starts)
    rows: list[dict[str, Any]] = []
    room = dict(claim.room)
    for (cause, targets), stamps in zip(wanted, stamps_of(tx, wanted), strict=True):
        for user_pk, target, provider in targets:
            fits = (cause.kind not in ON_SCREEN or target in stamps) and (
                cause.kind != "live_start" or (cause.pk, target) in starts_allowed
            )
            if (cause.pk, target) in known or not fits:
                continue
            now_ours = room[provider] > 0 and user_pk not in claim.connected
            room[provider] -= now_ours
            rows.append(
                {
                    "outbox_pk": cause.pk,
                    "kind": "badge" if cause.kind == "recount" else cause.kind,
                    "provider": provider,
                    "channel_pk": cause.channel_pk,
                    "seq": cause.seq,
                    "ref_pk": cause.ref_pk,
                    "user_pk": user_pk,
                    "target_pk": target,
                    "stamp": stamps.get(target),
                    "push_id": str(uuid.uuid4()),
                    "state": "waiting",
                    "attempts": 0,
                    "due_at": tx.now,
                    "deadline_at": cause.created_at + ttl[cause.kind],
                    "lease": claim.lease if now_ours else None,
                    "lease_until": tx.now + claim.ttl if now_ours else 0,
                    "created_at": tx.now,
                }
            )
    if not rows:
        return []
    made: Sequence[Any] = tx.execute(insert(deliveries).returning(*DELIVERY, deliveries.c.lease), rows).all()
    return [Delivery(*row[:-1]) for row in made if row.lease is not None]


def stamps_of(tx: Tx, wanted: Sequence[tuple[Cause, Sequence[Recipient]]]) -> list[dict[int, int]]:
    """For each cause, by target the stamps of pushes to Live Activities, in seconds since 1970."""
    pushes = [
        Stamping([each.target_pk for each in targets] if cause.kind in ON_SCREEN else (), cause.kind == "live_end")
        for cause, targets in wanted
    ]
    return [
        dict.fromkeys((each.target_pk for each in targets), tx.now // SECOND) if cause.kind == "live_start" else stamps
        for (cause, targets), stamps in zip(wanted, activities.stamp(tx, pushes), strict=True)
    ]


def within_budget(tx: Tx, wanted: Sequence[tuple[Cause, Sequence[Recipient]]], most: int) -> set[tuple[int, int]]:
    """``(cause, device)`` of starts that still go: iOS has a budget for each device, and says nothing beyond it.

    A stream is not started twice on a device within an hour.
    """
    starts = [(cause, each.target_pk) for cause, targets in wanted if cause.kind == "live_start" for each in targets]
    if not starts:
        return set()
    lately: Sequence[Any] = tx.execute(
        select(deliveries.c.target_pk, deliveries.c.channel_pk).where(
            deliveries.c.kind == "live_start",
            deliveries.c.target_pk.in_({target for _, target in starts}),
            deliveries.c.state.in_(("waiting", "sent")),
            deliveries.c.created_at > tx.now - 3600 * SECOND,
        )
    ).all()
    spent, done = Counter(row.target_pk for row in lately), {(row.channel_pk, row.target_pk) for row in lately}
    allowed = set()
    for cause, target in starts:
        if spent[target] < most and (cause.channel_pk, target) not in done:
            spent[target] += 1
            done.add((cause.channel_pk, target))
            allowed.add((cause.pk, target))
    return allowed


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
