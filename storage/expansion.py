"""Causes that are held become deliveries: one for each device or Live Activity of their audience, and none twice."""

import uuid
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy import and_, insert, or_, select

from storage import activities, push_channels
from storage.activities import Start
from storage.devices import APPLE, PROVIDER_OF_PLATFORM
from storage.models import deliveries, outbox
from storage.outbox import DELIVERY, ENDING, ON_SCREEN, OVER_CHANNEL, RECOUNTS, STAMPED, Cause, Delivery
from storage.stamps import Stamping, stamp
from storage.transaction import Tx
from storage.types import SECOND


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
    by_channel = push_channels.for_starts(tx, {(stream, device) for _, stream, device in starts_allowed})
    rows: list[dict[str, Any]] = []
    room = dict(claim.room)
    for (cause, targets), stamps in zip(wanted, stamps_of(tx, wanted), strict=True):
        for user_pk, target, provider in targets:
            start = (cause.pk, cause.channel_pk, target)
            fits = (cause.kind not in STAMPED or target in stamps) and (
                cause.kind != "live_start" or start in starts_allowed
            )
            if (cause.pk, target) in known or not fits:
                continue
            now_ours = room[provider] > 0 and user_pk not in claim.connected
            room[provider] -= now_ours
            rows.append(
                {
                    "outbox_pk": cause.pk,
                    "kind": "badge" if cause.kind in RECOUNTS else cause.kind,
                    "provider": provider,
                    "channel_pk": cause.channel_pk,
                    "seq": cause.seq,
                    "ref_pk": by_channel.get(start[1:]) if cause.kind == "live_start" else cause.ref_pk,
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
    activities.add_started(tx, [
        Start(row["channel_pk"], row["target_pk"], row["push_id"])
        for row in rows
        if row["kind"] == "live_start" and row["provider"] != PROVIDER_OF_PLATFORM[APPLE]
    ])  # fmt: skip
    made: Sequence[Any] = tx.execute(insert(deliveries).returning(*DELIVERY, deliveries.c.lease), rows).all()
    return [Delivery(*row[:-1]) for row in made if row.lease is not None]


def stamps_of(tx: Tx, wanted: Sequence[tuple[Cause, Sequence[Recipient]]]) -> list[dict[int, int]]:
    """For each cause, by target the stamps of pushes that show a stream, in seconds since 1970."""
    found: list[dict[int, int]] = [{} for _ in wanted]
    for kinds, stamped in ((ON_SCREEN, activities.STAMPED), (OVER_CHANNEL, push_channels.STAMPED)):
        pushes = [
            Stamping([each.target_pk for each in targets] if cause.kind in kinds else (), cause.kind in ENDING)
            for cause, targets in wanted
        ]
        for all_of_cause, stamps in zip(found, stamp(tx, stamped, pushes), strict=True):
            all_of_cause.update(stamps)
    for (cause, targets), stamps in zip(wanted, found, strict=True):
        if cause.kind == "live_start":
            stamps.update(dict.fromkeys((each.target_pk for each in targets), tx.now // SECOND))
    return found


def within_budget(tx: Tx, wanted: Sequence[tuple[Cause, Sequence[Recipient]]], most: int) -> set[tuple[int, int, int]]:
    """``(cause, stream, device)`` of starts that still go: iOS has a budget for each device, and says nothing beyond it.

    A stream is not started twice on a device within an hour; by channel not as long as an activity lives, for nothing says
    whether it is still there.
    """
    starts = [(cause, each.target_pk) for cause, targets in wanted if cause.kind == "live_start" for each in targets]
    if not starts:
        return set()
    hour_ago = tx.now - 3600 * SECOND
    lately: Sequence[Any] = tx.execute(
        select(deliveries.c.target_pk, deliveries.c.channel_pk, deliveries.c.created_at).where(
            deliveries.c.kind == "live_start",
            deliveries.c.target_pk.in_({target for _, target in starts}),
            deliveries.c.state.in_(("waiting", "sent")),
            or_(
                deliveries.c.created_at > hour_ago,
                and_(deliveries.c.ref_pk.is_not(None), deliveries.c.created_at > tx.now - activities.LIFE_MICROSECONDS),
            ),
        )
    ).all()
    spent = Counter(row.target_pk for row in lately if row.created_at > hour_ago)
    done = {(row.channel_pk, row.target_pk) for row in lately}
    allowed = set()
    for cause, target in starts:
        if spent[target] < most and (cause.channel_pk, target) not in done:
            spent[target] += 1
            done.add((cause.channel_pk, target))
            allowed.add((cause.pk, cause.channel_pk, target))
    return allowed
