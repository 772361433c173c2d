"""Who is pushed for a cause in the outbox: its devices, Live Activities or push channels, page by page."""

from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    Select,
    and_,
    bindparam,
    exists,
    literal_column,
    or_,
    select,
)

from storage.devices import APPLE, CHANNEL_PROVIDER, ONGOING, PROVIDER_OF_PLATFORM, PUSHABLE, QUIET, signed_in
from storage.expansion import Recipient
from storage.fetch import fetch_many
from storage.models import (
    activities,
    blocks,
    devices,
    followers,
    members,
    mentions,
    messages,
    push_channels,
    streams,
    tenants,
    thread_members,
    users,
)
from storage.outbox import RECOUNTS, STAMPED, Cause
from storage.prepared import Prepared

PAGE = 500
PROVIDERS = {**PROVIDER_OF_PLATFORM, "channel": CHANNEL_PROVIDER}
BADGES = ("badge", *RECOUNTS)
# ``ref`` is 0 where the cause has none.
CHANNEL, SEQ, CURSOR, REF, AT = (
    bindparam(name, type_=BigInteger) for name in ("channel", "seq", "cursor", "ref", "at")
)
DEVICES = select(devices.c.user_pk, devices.c.pk, devices.c.platform).where(PUSHABLE, signed_in(AT))
OF_USER = DEVICES.join(users, users.c.pk == devices.c.user_pk).where(
    devices.c.user_pk == CHANNEL, users.c.status == "active"
)
OF_CHAT = (
    DEVICES.join(members, members.c.user_pk == devices.c.user_pk)
    .join(users, users.c.pk == devices.c.user_pk)
    .where(members.c.chat_pk == CHANNEL, members.c.user_pk > CURSOR, users.c.status == "active")
)
NOT_MUTED = or_(members.c.muted_until.is_(None), members.c.muted_until <= AT)
OF_FOLLOWER = and_(
    thread_members.c.chat_pk == members.c.chat_pk,
    thread_members.c.user_pk == members.c.user_pk,
    thread_members.c.follows,
)


def of_message(seq: ColumnElement[int], *mentioned: ColumnElement[bool]) -> Select[Any]:
    """Members who get pushes of a message; where they have muted the chat, only if it mentions them.

    ``mentioned`` are conditions of the rows that mention a user.
    """
    named = mentions.c.user_pk == members.c.user_pk, mentions.c.chat_pk == CHANNEL, mentions.c.seq == seq
    is_mentioned = or_(messages.c.mention_all.is_not(None), exists().where(*named, *mentioned))
    return (
        OF_CHAT.join(messages, and_(messages.c.chat_pk == members.c.chat_pk, messages.c.seq == seq))
        .where(
            members.c.joined_seq < seq,
            members.c.user_pk != messages.c.sender_pk,
            messages.c.deleted_at.is_(None),
            or_(NOT_MUTED, and_(members.c.mute_level.is_(None), is_mentioned)),
            ~exists().where(blocks.c.user_pk == members.c.user_pk, blocks.c.blocked_pk == messages.c.sender_pk),
        )
        .where(*([is_mentioned] if mentioned else []))
    )


OF_REPLY = of_message(SEQ).join(
    thread_members,
    and_(OF_FOLLOWER, thread_members.c.root_seq == messages.c.thread_seq, thread_members.c.read_seq < SEQ),
)
# In the chat, or in the thread of a reply that it does not show.
UNREAD_THERE = or_(
    and_(messages.c.previous_seq.is_(None), members.c.read_seq < REF),
    and_(
        messages.c.previous_seq.is_not(None),
        exists()
        .where(OF_FOLLOWER, thread_members.c.root_seq == messages.c.thread_seq, thread_members.c.read_seq < REF)
        .correlate(members, messages),
    ),
)
# Of the thread of a reply that was deleted, but its author.
OF_DELETED_REPLY = (
    OF_CHAT.join(thread_members, and_(OF_FOLLOWER, thread_members.c.root_seq == REF, thread_members.c.read_seq < SEQ))
    .join(messages, and_(messages.c.chat_pk == members.c.chat_pk, messages.c.seq == SEQ))
    .where(NOT_MUTED, members.c.joined_seq < SEQ, members.c.user_pk != messages.c.sender_pk)
)
SHOWS_LIVE = or_(
    and_(
        devices.c.platform == APPLE,
        devices.c.push_to_start_token.is_not(None),
        exists().where(
            streams.c.pk == CHANNEL, tenants.c.pk == streams.c.tenant_pk, tenants.c.activity_type.is_not(None)
        ),
    ),
    and_(devices.c.platform != APPLE, devices.c.features.contains(ONGOING), ~devices.c.features.contains(QUIET)),
)
OF_FOLLOWERS = DEVICES.where(
    or_(REF == 0, devices.c.user_pk == REF),
    devices.c.user_pk.in_(select(followers.c.user_pk).where(followers.c.stream_pk == CHANNEL)),
    devices.c.user_pk > CURSOR,
    SHOWS_LIVE,
    ~exists().where(
        activities.c.stream_pk == CHANNEL,
        activities.c.user_pk == devices.c.user_pk,
        activities.c.device_id == devices.c.device_id,
        activities.c.state == "active",
    ),
)
# Those that are neither ended nor being ended, by number.
SHOWN = (
    select(activities.c.user_pk, activities.c.pk, activities.c.platform)
    .where(
        activities.c.stream_pk == CHANNEL,
        activities.c.state == "active",
        activities.c.pk > CURSOR,
        or_(REF == 0, activities.c.pk == REF),
    )
    .order_by(activities.c.pk)
)
# The owner of the stream stands for all who listen.
CHANNELS = (
    select(streams.c.owner_pk, push_channels.c.pk, literal_column("'channel'"))
    .join(streams, streams.c.pk == push_channels.c.stream_pk)
    .where(
        push_channels.c.stream_pk == CHANNEL,
        push_channels.c.state == "open",
        push_channels.c.pk > CURSOR,
        or_(REF == 0, push_channels.c.pk == REF),
    )
    .order_by(push_channels.c.pk)
)
BY_USER = devices.c.user_pk, devices.c.pk
TARGETS = {
    kind: Prepared(statement.limit(PAGE))
    for kind, statement in {
        "message": of_message(SEQ).where(members.c.read_seq < SEQ).order_by(*BY_USER),
        "reply": OF_REPLY.order_by(*BY_USER),
        "mention": of_message(REF, mentions.c.event_seq == SEQ).where(UNREAD_THERE).order_by(*BY_USER),
        "recount": OF_CHAT.where(
            NOT_MUTED, members.c.joined_seq < SEQ, members.c.read_seq < SEQ, members.c.user_pk != REF
        ).order_by(*BY_USER),
        "recount_thread": OF_DELETED_REPLY.order_by(*BY_USER),
        "notification": OF_USER.order_by(*BY_USER),
        "badge": OF_USER.where(devices.c.pk != REF).order_by(*BY_USER),
        "live_start": OF_FOLLOWERS.order_by(*BY_USER),
        # A browser shows the start and a cancellation alone.
        "live_update": SHOWN.where(activities.c.platform != "web"),
        "live_end": SHOWN.where(
            or_(
                activities.c.platform != "web", exists().where(streams.c.pk == CHANNEL, streams.c.status == "cancelled")
            )
        ),
        "channel_update": CHANNELS,
        "channel_end": CHANNELS,
    }.items()
}


class RecipientPage(NamedTuple):
    """A part of a cause's audience; ``cursor`` is None after the last."""

    recipients: list[Recipient]
    cursor: int | None


def next_pages(
    connection: Connection, causes: Sequence[Cause], at: int, providers: Collection[str]
) -> list[RecipientPage]:
    """For each cause the next page after its cursor, ordered by user: devices or Live Activities that one of these providers
    can push to.
    """
    pages: dict[int, RecipientPage] = {}
    for kind in {each.kind for each in causes}:
        some = [each for each in causes if each.kind == kind]
        for cause, rows in zip(
            some, fetch_many(connection, TARGETS[kind], [values_of(each, at) for each in some]), strict=True
        ):
            page = page_of(cause, [Recipient(row[0], row[1], PROVIDERS[row[2]]) for row in rows])
            # A browser shows every push: there is none for a badge alone.
            possible = set(providers) - {"webpush"} if cause.kind in BADGES else providers
            pages[cause.pk] = page._replace(recipients=[each for each in page.recipients if each.provider in possible])
    return [pages[each.pk] for each in causes]


def values_of(cause: Cause, at: int) -> dict[str, Any]:
    return {
        "channel": cause.channel_pk,
        "seq": cause.seq,
        "cursor": cause.cursor,
        "ref": cause.ref_pk or 0,
        "at": at,
    }


def page_of(cause: Cause, found: list[Recipient]) -> RecipientPage:
    """A user's devices are all in one page, unless they fill it."""
    if len(found) < PAGE:
        return RecipientPage(found, None)
    if cause.kind in STAMPED:
        return RecipientPage(found, found[-1].target_pk)
    last = found[-1].user_pk
    whole = [each for each in found if each.user_pk != last] or found
    return RecipientPage(whole, whole[-1].user_pk)
