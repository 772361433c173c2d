"""What must be known to write a push, read when it is sent and not when it was promised."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import orjson
from sqlalchemy import Connection, bindparam, case, func, literal_column, select, tuple_

from storage import activities, models, notifications, push_channels, streams, threads, unread
from storage.activities import Activity
from storage.devices import APPLE, CHANNEL, ONGOING, Device, signed_in
from storage.devices import SELECT as DEVICES
from storage.models import chats, devices, members, messages, tenants, thread_members, users
from storage.notifications import UNREAD, Notification
from storage.outbox import LIVE, ON_SCREEN, OVER_CHANNEL, Delivery
from storage.prepared import padded
from storage.push_channels import PushChannel
from storage.streams import Stream

BADGE_CAP = 999
OF_MESSAGES = ("message", "reply", "mention")


@dataclass(frozen=True, slots=True)
class Text:
    """A message as a push tells it. ``chat`` is the name of a group; ``amount`` the credits of a transfer,
    ``media`` the kind of a file. ``root_seq`` is that of the thread in which a reply is shown alone.
    """

    id: str
    chat_id: str
    seq: int
    chat: str | None
    sender_id: str
    sender: str
    type: str
    content: str | None
    amount: int | None
    media: str | None
    thread_id: str | None = None
    root_seq: int | None = None
    # Numbers of whom it mentions, and whether it mentions all.
    mentioned_pks: Collection[int] = ()
    mentions_all: bool = False

    def mentions(self, user_pk: int) -> bool:
        return self.mentions_all or user_pk in self.mentioned_pks


class Preferences(NamedTuple):
    """How a user wants to be notified: the language, and from when to when without a sound, by their clock."""

    locale: str | None = None
    time_zone: str | None = None
    quiet_from: str | None = None
    quiet_to: str | None = None


@dataclass(frozen=True, slots=True)
class PushContext:
    """A push to be written. ``about`` is None for a badge alone."""

    delivery: Delivery
    device: Device
    preferences: Preferences
    about: Text | Notification | None
    badge: int


@dataclass(frozen=True, slots=True)
class LiveContext:
    """A push to a device that shall show a stream, or to what shows it. ``attributes`` are the tenant's.

    ``activity`` is None before the start, ``device`` where the activity has a token of its own. ``channel`` is the one that
    a start is to listen to; without an activity and a device the push goes to all who listen.
    """

    delivery: Delivery
    activity: Activity | None
    device: Device | None
    channel: PushChannel | None
    preferences: Preferences
    stream: Stream
    attributes_type: str | None
    attributes: str | None


def contexts(connection: Connection, due: Sequence[Delivery], at: int) -> dict[int, PushContext | LiveContext | str]:
    """By delivery, what to push; or a word that says why nothing is to be pushed any more."""
    live = [each for each in due if each.kind in LIVE]
    plain = [each for each in due if each.kind not in LIVE]
    found: dict[int, PushContext | LiveContext | str] = {}
    if live:
        found |= live_contexts(connection, live, at)
    if plain:
        found |= plain_contexts(connection, plain, at)
    return found


def live_contexts(connection: Connection, due: Sequence[Delivery], at: int) -> dict[int, LiveContext | str]:
    shown = activities.by_pks(connection, {each.target_pk for each in due if each.kind in ON_SCREEN})
    numbers = {
        each.ref_pk if each.kind == "live_start" else each.target_pk for each in due if each.kind not in ON_SCREEN
    }
    channels = push_channels.by_pks(connection, {each for each in numbers if each is not None})
    phones = devices_of(connection, {each.target_pk for each in due if each.kind == "live_start"}, at)
    shown_on = devices_of_activities(connection, [each for each in shown.values() if each.platform != APPLE], at)
    people = people_of(connection, {each.user_pk for each in due})
    by_pk = streams.by_pks(connection, {each.channel_pk for each in due})
    homes = {
        row.pk: row
        for row in connection.execute(
            select(tenants.c.pk, tenants.c.activity_type, tenants.c.activity_attributes).where(
                tenants.c.pk.in_({each.tenant_pk for each in by_pk.values()})
            )
        )
    }
    may = streams.notifiable(
        connection, {(each.channel_pk, each.user_pk) for each in due if each.kind in ("live_start", "live_end")}
    )

    def context(delivery: Delivery) -> LiveContext | str:
        stream = by_pk[delivery.channel_pk]
        home = homes[stream.tenant_pk]
        if delivery.kind == "live_start":
            device = phones.get(delivery.target_pk)
            if device is None or not can_start(device, home.activity_type):
                return "can't be started there any more"
            if stream.status != "scheduled" or stream.starts_at < at:
                return f"the stream is {stream.status}, or late"
            if (stream.pk, delivery.user_pk) not in may:
                return "the user does not follow any more, or is blocked"
            wanted = preferences_of(people[delivery.user_pk], device)
            channel = channels.get(delivery.ref_pk or 0)
            return LiveContext(
                delivery,
                None,
                device,
                channel if channel and can_listen(device, channel) else None,
                wanted,
                stream,
                home.activity_type,
                home.activity_attributes,
            )
        if delivery.kind in OVER_CHANNEL:
            return over_channel(delivery, stream, channels.get(delivery.target_pk))
        activity = shown.get(delivery.target_pk)
        if activity is None or activity.state in ("ended", "dead"):
            return "the activity is over"
        if delivery.kind == "live_update" and activity.state != "active":
            return "the activity is being ended"
        if delivery.kind == "live_end" and (activity.state, activity.stamp) != ("ending", delivery.stamp):
            return "another end was promised since"
        device = shown_on.get((activity.user_pk, activity.device_id))
        if activity.platform != APPLE and device is None:
            return "the device is gone"
        if activity.platform == "web" and (stream.pk, delivery.user_pk) not in may:
            # What ends an activity elsewhere would be one more notification there.
            return "the user does not follow any more, or is blocked"
        wanted = preferences_of(people[delivery.user_pk], device)
        return LiveContext(delivery, activity, device, None, wanted, stream, None, None)

    return {each.pk: context(each) for each in due}


def over_channel(delivery: Delivery, stream: Stream, channel: PushChannel | None) -> LiveContext | str:
    """A push to all who listen; an older one is of no use, for each has the state of when it is sent."""
    if channel is None or channel.state not in ("open", "ending"):
        return "the channel is over"
    if delivery.kind == "channel_update" and channel.state != "open":
        return "the channel is being ended"
    if channel.stamp != delivery.stamp or (delivery.kind == "channel_end" and channel.state != "ending"):
        return "a newer push was promised since"
    return LiveContext(delivery, None, None, channel, Preferences(), stream, None, None)


def can_listen(device: Device, channel: PushChannel) -> bool:
    """Whether a device can use the channel now: it may have been registered again since the delivery was made."""
    mine = CHANNEL in device.features.split() and device.bundle_id == channel.bundle_id
    return mine and device.environment == channel.environment and channel.state == "open"


def can_start(device: Device, activity_type: str | None) -> bool:
    """Whether a device can show a stream; an iPhone needs to know the type of the tenant's activities."""
    if device.platform == APPLE:
        return device.push_to_start_token is not None and activity_type is not None
    return ONGOING in device.features.split()


def devices_of_activities(
    connection: Connection, shown: Collection[Activity], at: int
) -> dict[tuple[int, str], Device]:
    """The devices of activities without a token, by user and id."""
    if not shown:
        return {}
    names = {(each.user_pk, each.device_id) for each in shown}
    rows: Any = connection.execute(
        DEVICES.where(tuple_(devices.c.user_pk, devices.c.device_id).in_(padded(names)), signed_in(at))
    )
    return {(row.user_pk, row.device_id): Device(*row) for row in rows}


def people_of(connection: Connection, pks: Collection[int]) -> dict[int, Any]:
    """Users, with their preferences, by number."""
    columns = (users.c.pk, users.c.status, users.c.locale, users.c.time_zone, users.c.quiet_from, users.c.quiet_to)
    return {row.pk: row for row in connection.execute(select(*columns).where(users.c.pk.in_(padded(pks))))}


def preferences_of(person: Any, device: Device | None) -> Preferences:
    locale = device.locale if device and device.locale else person.locale
    return Preferences(locale, person.time_zone, person.quiet_from, person.quiet_to)


def devices_of(connection: Connection, pks: Collection[int], at: int) -> dict[int, Device]:
    """Those whose logins live."""
    rows: Any = connection.execute(DEVICES.where(devices.c.pk.in_(pks), signed_in(at))) if pks else []
    return {row.pk: Device(*row) for row in rows}


def plain_contexts(connection: Connection, due: Sequence[Delivery], at: int) -> dict[int, PushContext | str]:
    found = devices_of(connection, {each.target_pk for each in due}, at)
    people = people_of(connection, {each.user_pk for each in due})
    of_messages = [each for each in due if each.kind in OF_MESSAGES]
    texts = texts_of(connection, {place_of(each) for each in of_messages})
    wanted = unread_by(connection, of_messages, texts, at)
    numbers = {each.ref_pk for each in due if each.kind == "notification" and each.ref_pk is not None}
    by_pk = notifications.by_pks(connection, numbers)
    badges = badges_of(connection, {each.user_pk for each in due}, at)

    def context(delivery: Delivery) -> PushContext | str:
        device, person = found.get(delivery.target_pk), people[delivery.user_pk]
        if device is None or device.user_pk != delivery.user_pk:
            return "the device is gone"
        if person.status != "active":
            return f"the user is {person.status}"
        about: Text | Notification | None = None
        if delivery.kind in OF_MESSAGES:
            about = texts.get(place_of(delivery))
            if about is None:
                return "deleted"
            if delivery.pk not in wanted:
                return "read, muted or left" if about.root_seq is None else "read, muted, left or not followed"
            if delivery.kind == "mention" and not about.mentions(delivery.user_pk):
                return "the mention was removed by an edit"
        elif delivery.kind == "notification":
            about = by_pk[delivery.ref_pk or 0]
            if about.deleted_at is not None or about.read_at is not None:
                return "deleted" if about.deleted_at is not None else "read"
        return PushContext(
            delivery,
            device,
            preferences_of(person, device),
            about,
            badges.get(delivery.user_pk, 0),
        )

    return {each.pk: context(each) for each in due}


def texts_of(connection: Connection, places: Collection[tuple[int, int]]) -> dict[tuple[int, int], Text]:
    """Messages that are there still."""
    if not places:
        return {}
    rows: Any = connection.execute(
        select(
            messages.c.chat_pk,
            messages.c.id,
            chats.c.id.label("chat_id"),
            messages.c.seq,
            chats.c.name.label("chat"),
            users.c.id.label("sender_id"),
            users.c.name.label("sender"),
            messages.c.type,
            messages.c.content,
            messages.c.transfer,
            messages.c.media,
            messages.c.thread_id,
            messages.c.mentions,
            messages.c.mention_all,
            case((messages.c.previous_seq.is_not(None), messages.c.thread_seq)).label("root_seq"),
        )
        .join(chats, chats.c.pk == messages.c.chat_pk)
        .join(users, users.c.pk == messages.c.sender_pk)
        .where(tuple_(messages.c.chat_pk, messages.c.seq).in_(list(places)))
        .where(messages.c.deleted_at.is_(None), chats.c.deleted_at.is_(None))
    )
    found: dict[tuple[int, int], Text] = {}
    for row in rows:
        by_pk = row._asdict()
        chat_pk, transfer, media = (by_pk.pop(name) for name in ("chat_pk", "transfer", "media"))
        mentions, mention_all = by_pk.pop("mentions"), by_pk.pop("mention_all")
        amount = orjson.loads(transfer)["amount"] if transfer else None
        text = Text(
            **by_pk,
            amount=amount,
            media=orjson.loads(media)["type"] if media else None,
            mentioned_pks=[pk for pk, _ in orjson.loads(mentions)] if mentions else (),
            mentions_all=mention_all is not None,
        )
        found[chat_pk, text.seq] = text
    return found


def place_of(delivery: Delivery) -> tuple[int, int]:
    """Chat and seq of the message that a push is about."""
    if delivery.kind == "mention":
        return delivery.channel_pk, delivery.ref_pk or 0
    return delivery.channel_pk, delivery.seq


def unread_by(
    connection: Connection, due: Collection[Delivery], texts: Mapping[tuple[int, int], Text], at: int
) -> set[int]:
    """Deliveries, by number, of messages that a member has not read, in the chat or in a thread that they follow.

    Where the chat is muted, only of those that mention them and that the mute lets through.
    """
    here = [each for each in due if place_of(each) in texts]
    in_chats = [each for each in here if texts[place_of(each)].root_seq is None]
    in_threads = [each for each in here if texts[place_of(each)].root_seq is not None]
    spans: dict[tuple[int, int | None, int], Any] = {}
    mute = members.c.muted_until, members.c.mute_level
    if in_chats:
        place = members.c.chat_pk, members.c.user_pk
        rows: Any = connection.execute(
            select(*place, members.c.joined_seq, members.c.read_seq, *mute).where(
                tuple_(*place).in_(list({(each.channel_pk, each.user_pk) for each in in_chats}))
            )
        )
        spans |= {(row.chat_pk, None, row.user_pk): row for row in rows}
    if in_threads:
        thread = thread_members.c.chat_pk, thread_members.c.root_seq, thread_members.c.user_pk
        known = {(each.channel_pk, texts[place_of(each)].root_seq, each.user_pk) for each in in_threads}
        rows = connection.execute(
            select(*thread, members.c.joined_seq, thread_members.c.read_seq, *mute)
            .join(members, threads.OF_MEMBER)
            .where(tuple_(*thread).in_(list(known)), thread_members.c.follows)
        )
        spans |= {(row.chat_pk, row.root_seq, row.user_pk): row for row in rows}

    def is_wanted(each: Delivery) -> bool:
        text = texts[place_of(each)]
        row = spans.get((each.channel_pk, text.root_seq, each.user_pk))
        if row is None or max(row.joined_seq, row.read_seq) >= text.seq:
            return False
        muted = row.muted_until is not None and row.muted_until > at
        return not muted or (row.mute_level is None and text.mentions(each.user_pk))

    return {each.pk for each in here if is_wanted(each)}


SOME_UNREAD = (
    select(literal_column("1"))
    .where(models.notifications.c.recipient_pk == users.c.pk, UNREAD)
    .limit(BADGE_CAP)
    .correlate(users)
    .subquery()
)
UNREAD_NOTIFICATIONS = select(users.c.pk, select(func.count()).select_from(SOME_UNREAD).scalar_subquery()).where(
    users.c.pk.in_(bindparam("users"))
)


def badges_of(connection: Connection, user_pks: Collection[int], at: int) -> dict[int, int]:
    """Unread messages of chats not muted, those of threads that one follows there, and unread notifications of each user,
    together at most 999.
    """
    in_chats, in_threads = unread.unmuted(connection, user_pks, at), threads.unmuted(connection, user_pks, at)
    notified = {row[0]: row[1] for row in connection.execute(UNREAD_NOTIFICATIONS, {"users": padded(user_pks)})}
    return {pk: min(BADGE_CAP, in_chats.get(pk, 0) + in_threads.get(pk, 0) + notified.get(pk, 0)) for pk in user_pks}
