"""Promised pushes: a row a cause, written in the transaction of its cause, and a delivery for each device.

A cause is expanded page by page into deliveries. Both are claimed with a lease, so that several processes share them and
a crash gives them back.
"""

import uuid
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    Table,
    and_,
    bindparam,
    delete,
    insert,
    select,
    text,
    update,
)

from storage import activities, webhooks
from storage.models import deliveries, devices, outbox
from storage.prepared import Bulk, Prepared, Update
from storage.statements import Read
from storage.transaction import Tx, clock
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


ANY_DEVICE = Prepared(select(devices.c.pk).limit(1))
DEVICE_OF = Prepared(select(devices.c.pk).where(devices.c.user_pk == bindparam("user")).limit(1))
NAMED_DEVICE = Prepared(
    select(devices.c.pk).where(devices.c.user_pk == bindparam("user"), devices.c.device_id == bindparam("device"))
)
WAITING_BADGE = Prepared(
    select(outbox.c.pk, outbox.c.ref_pk)
    .where(outbox.c.kind == "badge", outbox.c.channel_pk == bindparam("user"), outbox.c.lease.is_(None))
    .limit(1)
)
ADD = Bulk(
    outbox,
    ("kind", "channel_pk", "seq", "ref_pk", "cursor", "due_at", "lease_until", "created_at"),
)
# Written out, so that they are those of the indexes.
WAITING, DEAD = text("deliveries.state = 'waiting'"), text("deliveries.state = 'dead'")
CAUSE = [outbox.c[name] for name in Cause.__slots__]
DELIVERY = [deliveries.c[name] for name in Delivery.__slots__]
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
    """What ``promise`` asks for."""
    return [(ANY_DEVICE, {})]


def reads_of_badge(user_pk: int, *, exclude_device: str | None = None) -> list[Read]:
    """What ``promise_badge`` asks for."""
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
    question = ("badge", user_pk)
    if tx.waiting_answer(question, default=False) in (None, exclude_device_pk):
        return
    promised = tx.first(WAITING_BADGE, {"user": user_pk}, unless=question)
    if promised and promised[1] in (None, exclude_device_pk):
        return
    if promised:
        # Another device has read since: every device has to hear of it.
        changed = tx.execute(update(outbox).where(*waiting_still(promised[0])).values(ref_pk=None))
        if changed.rowcount:
            return
    row = ("badge", user_pk, 0, exclude_device_pk, 0, tx.now + BADGE_DELAY, 0, tx.now)
    tx.later(ADD, row, answers={question: exclude_device_pk})


def promise_recount(tx: Tx, chat_pk: int, seq: int, sender_pk: int) -> None:
    """Tell those who had not read a deleted message how much is unread now; once for all that is deleted in a moment."""
    if tx.first(ANY_DEVICE, {}) is None:
        return
    waiting = select(outbox.c.pk, outbox.c.seq, outbox.c.ref_pk).where(
        outbox.c.kind == "recount", outbox.c.channel_pk == chat_pk, outbox.c.cursor == 0, outbox.c.lease.is_(None)
    )
    promised = tx.execute(waiting.limit(1)).first()
    if promised:
        # Who has not read an older one has not read the newest either.
        sender = promised.ref_pk if promised.ref_pk == sender_pk else None
        values = {"seq": max(seq, promised.seq), "ref_pk": sender}
        if tx.execute(update(outbox).where(*waiting_still(promised.pk)).values(values)).rowcount:
            return
    tx.later(ADD, ("recount", chat_pk, seq, sender_pk, 0, tx.now + BADGE_DELAY, 0, tx.now))


def waiting_still(pk: int) -> tuple[ColumnElement[bool], ...]:
    """A cause may be claimed between the look at it and its change."""
    return outbox.c.pk == pk, outbox.c.lease.is_(None), outbox.c.cursor == 0


def promise_live(tx: Tx, kind: Kind, stream_pk: int, seq: int, *, only: int | None = None) -> None:
    """Push the Live Activities of a stream, or ``only`` one; or tell its followers' phones, or only one's, to start one."""
    tx.later(ADD, (kind, stream_pk, seq, only, 0, tx.now, 0, tx.now))


# Claiming


def causes_due(connection: Connection) -> bool:
    return anything(connection, outbox)


def deliveries_due(connection: Connection) -> bool:
    return anything(connection, deliveries)


def anything(connection: Connection, table: Table) -> bool:
    return connection.execute(due(table, clock(connection)).limit(1)).first() is not None


def due(table: Table, at: int) -> Select[tuple[int]]:
    statement = select(table.c.pk).where(table.c.due_at <= at, table.c.lease_until <= at)
    return statement.where(WAITING) if table is deliveries else statement


def claim(tx: Tx, table: Table, columns: Sequence[Any], lease: str, ttl: int, limit: int) -> list[Any]:
    first = due(table, tx.now).order_by(table.c.due_at).limit(limit).with_for_update(skip_locked=True)
    # Read once, whatever the plan: read again it would skip what is held by now, and hold more.
    once = first.cte("once").prefix_with("MATERIALIZED", dialect="postgresql")
    held = update(table).where(table.c.pk.in_(select(once.c.pk))).values(lease=lease, lease_until=tx.now + ttl)
    return sorted(tx.execute(held.returning(*columns)).all())


def claim_causes(tx: Tx, lease: str, ttl: int, limit: int) -> list[Cause]:
    """Due causes, oldest first, held under ``lease`` for ``ttl`` microseconds."""
    return [Cause(*row) for row in claim(tx, outbox, CAUSE, lease, ttl, limit)]


def claim_deliveries(tx: Tx, lease: str, ttl: int, limit: int) -> list[Delivery]:
    """Due deliveries without a lease."""
    return [Delivery(*row) for row in claim(tx, deliveries, DELIVERY, lease, ttl, limit)]


def release(tx: Tx, lease: str | None = None) -> None:
    """Give back all that is held under ``lease``, or by anybody: at once due again."""
    for table in (outbox, deliveries):
        held = table.c.lease.is_not(None) if lease is None else table.c.lease == lease
        tx.execute(update(table).where(held).values(lease=None, lease_until=0))


# Expanding


class Claim(NamedTuple):
    """The first ``room`` deliveries are held under ``lease`` for so long, but not those of the users in ``connected``.

    ``starts`` Live Activities are started on a device in an hour.
    """

    lease: str
    ttl: int
    room: int
    connected: Collection[int]
    starts: int


def add_deliveries(
    tx: Tx, wanted: Sequence[tuple[Cause, Sequence[tuple[int, int]]]], claim: Claim, ttl: Mapping[str, int]
) -> list[Delivery]:
    """Deliveries of causes that we hold, to ``(user_pk, target_pk)``; returns those that are held.

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
    room = claim.room
    for cause, targets in wanted:
        stamps = stamps_of(tx, cause, [target for _, target in targets])
        for user_pk, target in targets:
            fits = (cause.kind not in ON_SCREEN or target in stamps) and (
                cause.kind != "live_start" or (cause.pk, target) in starts_allowed
            )
            if (cause.pk, target) in known or not fits:
                continue
            now_ours = room > 0 and user_pk not in claim.connected
            room -= now_ours
            rows.append(
                {
                    "outbox_pk": cause.pk,
                    "kind": "badge" if cause.kind == "recount" else cause.kind,
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


def stamps_of(tx: Tx, cause: Cause, targets: Sequence[int]) -> dict[int, int]:
    """The stamps of pushes to Live Activities, in seconds since 1970."""
    if cause.kind == "live_start":
        return dict.fromkeys(targets, tx.now // SECOND)
    return activities.stamp(tx, targets, ending=cause.kind == "live_end") if cause.kind in ON_SCREEN and targets else {}


def within_budget(tx: Tx, wanted: Sequence[tuple[Cause, Sequence[tuple[int, int]]]], most: int) -> set[tuple[int, int]]:
    """``(cause, device)`` of starts that still go: iOS has a budget for each device, and says nothing beyond it.

    A stream is not started twice on a device within an hour.
    """
    starts = [(cause, target) for cause, targets in wanted if cause.kind == "live_start" for _, target in targets]
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
            here = and_(outbox.c.pk == pk, outbox.c.lease == lease)
            tx.execute(update(outbox).where(here).values(cursor=cursor, lease=None, lease_until=0))


# Settling


def settle(tx: Tx, lease: str, settlements: Sequence[Settlement]) -> None:
    """Write what became of deliveries that are still held under ``lease``."""
    for each in settlements:
        settled_at = None if each.state == "waiting" else tx.now
        values = (each.state, each.attempts, each.status, each.reason[:255], tx.now + each.pause, settled_at)
        tx.update_later(SETTLE, (each.pk, lease), values)
    webhooks.promise_failures(tx, [each.pk for each in settlements if each.state == "dead"])
