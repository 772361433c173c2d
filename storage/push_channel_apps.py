"""Apps whose iPhones can use push channels, and the comparison of their channels with the list that Apple has."""

from collections.abc import Collection
from typing import Any, NamedTuple

from sqlalchemy import delete, exists, insert, select, update

from storage.models import devices, push_channel_apps, push_channels
from storage.push_channels import (
    OF_APP,
    REFUSED_MICROSECONDS,
    REQUEST_MICROSECONDS,
    REQUESTS_AT_ONCE,
    SELECT,
    PushChannel,
    closed,
    new_channel,
)
from storage.transaction import Tx
from storage.types import SECOND

EVERY_MICROSECONDS = 3600 * SECOND
# A channel that is unknown here must be seen in two comparisons, this far apart, before it is closed.
SECOND_LOOK_MICROSECONDS = 60 * SECOND


class App(NamedTuple):
    """``claimed_at`` is since when this process compares it, in microseconds."""

    pk: int
    environment: str
    bundle_id: str
    claimed_at: int


def add_app(tx: Tx, environment: str, bundle_id: str) -> None:
    """Unless it is known."""
    here = (push_channel_apps.c.environment == environment, push_channel_apps.c.bundle_id == bundle_id)
    if tx.execute(select(push_channel_apps.c.pk).where(*here)).first() is None:
        row = {"environment": environment, "bundle_id": bundle_id, "due_at": 0, "compared_at": 0}
        tx.execute(insert(push_channel_apps), row)


def claim_apps(tx: Tx) -> list[App]:
    """Apps that are due to be compared; they are due again after a request's time. One without devices and channels is
    removed.
    """
    due = select(push_channel_apps.c.pk, push_channel_apps.c.environment, push_channel_apps.c.bundle_id).where(
        push_channel_apps.c.due_at <= tx.now
    )
    rows: Any = tx.execute(
        due.order_by(push_channel_apps.c.due_at).limit(REQUESTS_AT_ONCE).with_for_update(skip_locked=True)
    )
    found = [App(row.pk, row.environment, row.bundle_id, tx.now) for row in rows]
    of_device = exists().where(
        devices.c.environment == push_channel_apps.c.environment, devices.c.bundle_id == push_channel_apps.c.bundle_id
    )
    here = push_channel_apps.c.pk.in_([each.pk for each in found])
    unused = set(tx.execute(select(push_channel_apps.c.pk).where(here, ~of_device, ~exists().where(OF_APP))).scalars())
    if unused:
        tx.execute(delete(push_channel_apps).where(push_channel_apps.c.pk.in_(unused)))
    if found:
        tx.execute(update(push_channel_apps).where(here).values(due_at=tx.now + REQUEST_MICROSECONDS))
    return [each for each in found if each.pk not in unused]


def not_compared(tx: Tx, app: App) -> None:
    """Apple refuses to list the channels of this app."""
    later = {"due_at": tx.now + REFUSED_MICROSECONDS}
    tx.execute(update(push_channel_apps).where(push_channel_apps.c.pk == app.pk).values(**later))


class Compared(NamedTuple):
    """How many channels are newly known to be of no stream here, and which of those are to be closed."""

    unknown: int
    orphans: list[PushChannel]


def compare(tx: Tx, app: App, ids: Collection[str]) -> Compared:
    """Note which channels of an app at Apple are of no stream here, and which of ours Apple does not have any more.

    The first are to be closed where requests of ours got no answer: as many as these, and none that was there when the app
    was compared before the first of those requests.
    """
    here = push_channels.c.environment == app.environment, push_channels.c.bundle_id == app.bundle_id
    found: Any = tx.execute(SELECT.where(*here).order_by(push_channels.c.pk))
    rows = [PushChannel(*row) for row in found]
    known = {each.channel_id for each in rows}
    fresh = [
        new_channel(tx, app.environment, app.bundle_id, state="unknown", channel_id=id) for id in ids if id not in known
    ]
    if fresh:
        tx.execute(insert(push_channels), fresh)
    remove_lost(tx, [each for each in rows if each.channel_id not in ids], app)
    asked = [each for each in rows if each.unanswered]
    since = min((each.first_asked_at for each in asked), default=tx.now)
    seen_twice = [
        each
        for each in rows
        if each.state == "unknown"
        and each.channel_id in ids
        and since < each.created_at < tx.now - SECOND_LOOK_MICROSECONDS
    ]
    if not seen_twice and not fresh:
        # Whatever older requests opened is found by now.
        old = [each.pk for each in asked if each.asked_at < tx.now - 2 * SECOND_LOOK_MICROSECONDS]
        tx.execute(update(push_channels).where(push_channels.c.pk.in_(old)).values(unanswered=0))
    pause = SECOND_LOOK_MICROSECONDS if asked else EVERY_MICROSECONDS
    own = push_channel_apps.c.pk == app.pk
    tx.execute(update(push_channel_apps).where(own).values(compared_at=tx.now, due_at=tx.now + pause))
    return Compared(len(fresh), seen_twice[: sum(each.unanswered for each in asked)])


def remove_lost(tx: Tx, missing: Collection[PushChannel], app: App) -> None:
    """Of channels that are not in Apple's list: those that were not opened after it was made are closed."""
    old = [each for each in missing if each.asked_at < app.claimed_at - REQUEST_MICROSECONDS]
    over = [each.pk for each in old if each.state == "unknown" or (each.state == "ended" and not each.unanswered)]
    failed = [each.pk for each in old if each.state in ("open", "ending", "ended") and each.pk not in over]
    if over:
        tx.execute(delete(push_channels).where(push_channels.c.pk.in_(over)))
    if failed:
        tx.execute(update(push_channels).where(push_channels.c.pk.in_(failed)).values(state="failed", channel_id=None))


def orphan_closed(tx: Tx, channel: PushChannel) -> None:
    """A channel that a request without an answer had opened."""
    closed(tx, channel)
    asked = tx.execute(
        select(push_channels.c.pk)
        .where(
            push_channels.c.environment == channel.environment,
            push_channels.c.bundle_id == channel.bundle_id,
            push_channels.c.unanswered > 0,
            # A request that may still be answered is not the one.
            push_channels.c.asked_at < tx.now - REQUEST_MICROSECONDS,
        )
        .order_by(push_channels.c.asked_at)
        .limit(1)
    ).scalar()
    if asked is not None:
        less = {"unanswered": push_channels.c.unanswered - 1}
        tx.execute(update(push_channels).where(push_channels.c.pk == asked).values(**less))
