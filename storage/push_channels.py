"""Push channels: channels of Apple's, each for a stream in an app, over which one push reaches all iPhones that show it.

A row is ``wanted`` until Apple has opened the channel, then ``open``; ``ending`` while an end is on its way, ``ended`` once
Apple has accepted it, and gone when the channel is closed. A ``failed`` one will not open, or Apple does not know it any
more: iPhones that start later have tokens. An ``unknown`` one is at Apple and of no stream here.

A request to open one may get no answer and yet open a channel. Such requests are counted in ``unanswered``, before they are
sent; what they opened is found by comparing (``push_channel_apps``).
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, case, delete, exists, func, insert, or_, select, update

from storage import activities
from storage.devices import APPLE, CHANNEL
from storage.models import deliveries, devices, followers, push_channel_apps, push_channels, streams, tenants
from storage.outbox import promise_live
from storage.prepared import Update
from storage.stamps import Stamped
from storage.transaction import Tx
from storage.types import SECOND

# Of the 10,000 that Apple allows for an app; above it, streams use tokens.
MOST_CHANNELS = 8_000
# A request is made again after this; no answer comes so late.
REQUEST_MICROSECONDS = 30 * SECOND
# A request that Apple refuses is made again after this.
REFUSED_MICROSECONDS = 3600 * SECOND
# How long the start of a stream waits for its channels.
OPENING_MICROSECONDS = 60 * SECOND
# How long Apple keeps the last push of a channel for phones that are off.
KEPT_MICROSECONDS = 8 * 3600 * SECOND
# A channel without an end is closed when the last activity that it started is gone from its screen.
LIFE_MICROSECONDS = activities.LIFE_MICROSECONDS
# An end is repeated after this where starts were under way.
REPEAT_MICROSECONDS = 30 * SECOND
# An app is compared before its first channel is opened, unless the last comparison is more recent than this.
RECENTLY_MICROSECONDS = 300 * SECOND
REQUESTS_AT_ONCE = 20
STATES = ("wanted", "open", "ending", "ended", "failed", "unknown")


@dataclass(frozen=True, slots=True)
class PushChannel:
    """``stamp`` is that of the newest push to it, in seconds since 1970. Apple was first asked to open it at
    ``first_asked_at`` and last at ``asked_at``, 0 for never; at ``due_at`` it is asked, or asked to close it.
    """

    pk: int
    stream_pk: int | None
    environment: str
    bundle_id: str
    channel_id: str | None
    state: str
    stamp: int
    unanswered: int
    first_asked_at: int
    asked_at: int
    due_at: int
    created_at: int


STAMPED = Stamped(push_channels, "open", Update(push_channels, ("pk",), ("stamp", "state")))
SELECT = select(*(push_channels.c[name] for name in PushChannel.__slots__))
USES_CHANNELS = and_(
    devices.c.platform == APPLE, devices.c.push_to_start_token.is_not(None), devices.c.features.contains(CHANNEL)
)
# A follower's iPhone could show the stream over a channel of the app.
COULD_USE = and_(
    followers.c.stream_pk == streams.c.pk,
    devices.c.user_pk == followers.c.user_pk,
    USES_CHANNELS,
    devices.c.environment == push_channel_apps.c.environment,
    devices.c.bundle_id == push_channel_apps.c.bundle_id,
    tenants.c.pk == streams.c.tenant_pk,
    tenants.c.activity_type.is_not(None),
)
OF_APP = and_(
    push_channels.c.environment == push_channel_apps.c.environment,
    push_channels.c.bundle_id == push_channel_apps.c.bundle_id,
)
HAS_CHANNELS = exists().where(push_channels.c.stream_pk == streams.c.pk)


def new_channel(tx: Tx, environment: str, bundle_id: str, *, state: str, **more: Any) -> dict[str, Any]:
    """A row."""
    never = {"stream_pk": None, "channel_id": None, "stamp": 0, "unanswered": 0, "first_asked_at": 0, "asked_at": 0}
    own = {"environment": environment, "bundle_id": bundle_id, "state": state, "due_at": tx.now, "created_at": tx.now}
    return never | own | more


# Opening


def to_want(connection: Connection, *, after: int, before: int, limit: int = 100) -> list[int]:
    """Streams that begin between two times, have no channels, and whose followers could use one."""
    statement = (
        select(streams.c.pk)
        .where(
            streams.c.status == "scheduled",
            streams.c.announced.is_(False),
            streams.c.starts_at > after,
            streams.c.starts_at < before,
            ~HAS_CHANNELS,
            exists().where(push_channel_apps.c.compared_at > 0, COULD_USE),
        )
        .limit(limit)
    )
    return list(connection.execute(statement).scalars())


def want(tx: Tx, stream_pk: int) -> None:
    """A channel for the stream in each app that could use it, unless it has some. It is opened once the app is compared."""
    own = select(func.count()).select_from(push_channels).where(OF_APP, push_channels.c.state != "failed")
    apps: Any = tx.execute(
        select(
            push_channel_apps.c.environment,
            push_channel_apps.c.bundle_id,
            push_channel_apps.c.pk,
            push_channel_apps.c.compared_at,
        )
        .join(streams, streams.c.pk == stream_pk)
        .where(
            ~HAS_CHANNELS,
            push_channel_apps.c.compared_at > 0,
            exists().where(COULD_USE),
            own.scalar_subquery() < MOST_CHANNELS,
        )
    ).all()
    rows = [
        new_channel(tx, environment, bundle_id, state="wanted", stream_pk=stream_pk)
        for environment, bundle_id, _, _ in apps
    ]
    if rows:
        tx.execute(insert(push_channels), rows)
    stale = [pk for *_, pk, compared_at in apps if compared_at < tx.now - RECENTLY_MICROSECONDS]
    if stale:
        tx.execute(update(push_channel_apps).where(push_channel_apps.c.pk.in_(stale)).values(due_at=tx.now))


def are_opening(tx: Tx, stream_pk: int) -> bool:
    """Whether the start of a stream is to wait for its channels."""
    opening = select(push_channels.c.pk).where(
        push_channels.c.stream_pk == stream_pk,
        push_channels.c.state == "wanted",
        push_channels.c.created_at > tx.now - OPENING_MICROSECONDS,
    )
    return tx.execute(opening.limit(1)).first() is not None


def is_due(at: int) -> ColumnElement[bool]:
    """That a request is to be made for a channel at a time."""
    compared = exists().where(
        OF_APP, push_channel_apps.c.compared_at >= push_channels.c.created_at - RECENTLY_MICROSECONDS
    )
    return and_(
        push_channels.c.due_at <= at,
        or_(push_channels.c.state.in_(("open", "ending", "ended")), and_(push_channels.c.state == "wanted", compared)),
    )


def any_due(connection: Connection, at: int) -> tuple[bool, bool]:
    """Whether something is to be done for channels, and for apps."""
    channel = connection.execute(select(push_channels.c.pk).where(is_due(at)).limit(1)).first()
    app = connection.execute(select(push_channel_apps.c.pk).where(push_channel_apps.c.due_at <= at).limit(1)).first()
    return channel is not None, app is not None


def claim(tx: Tx) -> list[PushChannel]:
    """Channels to be opened, those that are ``wanted``, and to be closed; they are due again after a request's time."""
    begun = select(streams.c.pk).where(streams.c.pk == push_channels.c.stream_pk, streams.c.status != "scheduled")
    tx.execute(update(push_channels).where(push_channels.c.state == "wanted", begun.exists()).values(state="failed"))
    too_old = push_channels.c.created_at < tx.now - LIFE_MICROSECONDS
    tx.execute(delete(push_channels).where(push_channels.c.state == "failed", too_old, push_channels.c.unanswered == 0))
    # Streams wait for those that are wanted.
    first = push_channels.c.state != "wanted", push_channels.c.due_at
    due = SELECT.where(is_due(tx.now)).order_by(*first).limit(REQUESTS_AT_ONCE)
    rows: Any = tx.execute(due.with_for_update(skip_locked=True))
    found = [PushChannel(*row) for row in rows]
    if found:
        mine = push_channels.c.pk.in_([each.pk for each in found])
        tx.execute(update(push_channels).where(mine).values(due_at=tx.now + REQUEST_MICROSECONDS))
    opening = [each.pk for each in found if each.state == "wanted"]
    if opening:
        first_asked_at = case((push_channels.c.asked_at == 0, tx.now), else_=push_channels.c.first_asked_at)
        more = {
            "unanswered": push_channels.c.unanswered + 1, "asked_at": tx.now, "first_asked_at": first_asked_at
        }  # fmt: skip
        tx.execute(update(push_channels).where(push_channels.c.pk.in_(opening)).values(**more))
    return found


def opened(tx: Tx, channel: PushChannel, channel_id: str) -> None:
    """Apple has opened it. Where nothing waits for it any more it is closed again."""
    app = (push_channels.c.environment == channel.environment, push_channels.c.bundle_id == channel.bundle_id)
    same = (*app, push_channels.c.channel_id == channel_id, push_channels.c.pk != channel.pk)
    tx.execute(delete(push_channels).where(*same))
    mine = push_channels.c.pk == channel.pk
    state = tx.execute(select(push_channels.c.state).where(mine).with_for_update()).scalar()
    values: dict[str, Any] = {"channel_id": channel_id, "unanswered": push_channels.c.unanswered - 1}
    if state == "wanted":
        values |= {"state": "open", "due_at": tx.now + LIFE_MICROSECONDS}
    elif state == "failed":
        values |= {"state": "ended", "due_at": tx.now}
    else:
        # Another request has opened one: this one is of no use.
        unused = new_channel(tx, channel.environment, channel.bundle_id, state="ended", channel_id=channel_id)
        tx.execute(insert(push_channels), unused)
        del values["channel_id"]
    tx.execute(update(push_channels).where(mine).values(**values))


def not_opened(tx: Tx, channel: PushChannel, *, retry_in: int | None) -> None:
    """Apple has answered that it did not open it: it is tried again after so many microseconds, or not at all."""
    values: dict[str, Any] = {"unanswered": push_channels.c.unanswered - 1}
    mine = push_channels.c.pk == channel.pk
    tx.execute(update(push_channels).where(mine).values(**values))
    values = {"state": "failed"} if retry_in is None else {"due_at": tx.now + retry_in}
    tx.execute(update(push_channels).where(mine, push_channels.c.state == "wanted").values(**values))


def not_closed(tx: Tx, channel: PushChannel) -> None:
    """Apple refuses to close it; an immediate retry would be refused as well."""
    later = {"due_at": tx.now + REFUSED_MICROSECONDS}
    tx.execute(update(push_channels).where(push_channels.c.pk == channel.pk).values(**later))


def closed(tx: Tx, channel: PushChannel) -> None:
    """Apple does not know it any more. Its requests without an answer are remembered until what they opened is found."""
    mine = push_channels.c.pk == channel.pk
    tx.execute(delete(push_channels).where(mine, push_channels.c.unanswered == 0))
    tx.execute(update(push_channels).where(mine).values(state="failed", channel_id=None))


# Pushes


def for_starts(tx: Tx, starts: Collection[tuple[int, int]]) -> dict[tuple[int, int], int]:
    """By ``(stream, device)`` the channel by which the stream starts on the device, where there is one; it stays as long."""
    if not starts:
        return {}
    rows: Any = tx.execute(
        select(push_channels.c.stream_pk, devices.c.pk, push_channels.c.pk)
        .join(
            push_channels,
            and_(
                push_channels.c.environment == devices.c.environment,
                push_channels.c.bundle_id == devices.c.bundle_id,
            ),
        )
        .where(
            push_channels.c.state == "open",
            push_channels.c.stream_pk.in_({stream for stream, _ in starts}),
            devices.c.pk.in_({device for _, device in starts}),
            USES_CHANNELS,
        )
    )
    found = {(row[0], row[1]): row[2] for row in rows if (row[0], row[1]) in starts}
    if found:
        used = push_channels.c.pk.in_(set(found.values()))
        tx.execute(update(push_channels).where(used).values(due_at=tx.now + LIFE_MICROSECONDS))
    return found


def by_pks(connection: Connection, pks: Collection[int]) -> dict[int, PushChannel]:
    found = [PushChannel(*row) for row in connection.execute(SELECT.where(push_channels.c.pk.in_(pks)))] if pks else []
    return {each.pk: each for each in found}


def end_accepted(tx: Tx, channel: PushChannel) -> None:
    """All who listen have the end. Who has not yet begun to, because a start is under way, gets another one."""
    under_way = select(deliveries.c.pk).where(
        deliveries.c.channel_pk == channel.stream_pk,
        deliveries.c.kind == "live_start",
        deliveries.c.ref_pk == channel.pk,
        deliveries.c.state == "waiting",
    )
    held = (push_channels.c.pk == channel.pk, push_channels.c.state == "ending")
    if tx.execute(under_way.limit(1)).first() is None:
        ended = {"state": "ended", "due_at": tx.now + KEPT_MICROSECONDS}
        tx.execute(update(push_channels).where(*held).values(**ended))
        return
    assert channel.stream_pk is not None
    if tx.execute(update(push_channels).where(*held).values(state="open")).rowcount:
        promise_live(tx, "channel_end", channel.stream_pk, 0, only=channel.pk, after=REPEAT_MICROSECONDS)


def end_failed(tx: Tx, channel: PushChannel) -> None:
    """The next moment tries again."""
    held = (push_channels.c.pk == channel.pk, push_channels.c.state == "ending")
    tx.execute(update(push_channels).where(*held).values(state="open"))


def fail(tx: Tx, channel: PushChannel) -> None:
    """Apple no longer knows the channel: nothing can be sent over it."""
    tx.execute(update(push_channels).where(push_channels.c.pk == channel.pk).values(state="failed"))


def counts(connection: Connection) -> dict[str, int]:
    """How many there are, by state."""
    rows: Sequence[Any] = connection.execute(
        select(push_channels.c.state, func.count()).group_by(push_channels.c.state)
    ).all()
    return {row[0]: row[1] for row in rows}
