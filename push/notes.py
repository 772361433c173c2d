"""What a push says, whichever provider carries it: pure functions from what is known to texts and numbers."""

from bisect import bisect_right
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, time
from typing import Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import orjson

from storage.contexts import LiveContext, Preferences, PushContext, Text
from storage.devices import CHANNEL
from storage.notifications import Notification
from storage.streams import Stream
from storage.text import boundaries
from storage.types import SECOND

TEXTS = {
    "en": {
        "message": "New message",
        "you": "You were mentioned",
        "everyone": "Everyone was mentioned",
        "by_you": "{name} mentioned you",
        "by_everyone": "{name} mentioned everyone",
        "notification": "New notification",
        "soon": "It begins soon",
        "cancelled": "Cancelled",
        "credits": "{amount} credits",
        "image": "Photo",
        "video": "Video",
        "audio": "Voice message",
        "file": "File",
    },
    "tr": {
        "message": "Yeni mesaj",
        "you": "Bir mesajda etiketlendiniz",
        "everyone": "Bir mesajda herkes etiketlendi",
        "by_you": "{name} sizi etiketledi",
        "by_everyone": "{name} herkesi etiketledi",
        "notification": "Yeni bildirim",
        "soon": "Birazdan başlıyor",
        "cancelled": "İptal edildi",
        "credits": "{amount} kredi",
        "image": "Fotoğraf",
        "video": "Video",
        "audio": "Sesli mesaj",
        "file": "Dosya",
    },
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """What a device shows; without a title it gets the badge alone.

    ``once`` names what is shown once, however often it arrives. ``thread`` groups notes. ``quiet`` ones make no sound.
    ``data`` is for the app.
    """

    once: str
    badge: int
    title: str | None = None
    subtitle: str | None = None
    body: str | None = None
    thread: str | None = None
    quiet: bool = False
    data: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveNote:
    """The start, an update or the end of what stands on the lock screen for a stream, whose chat is ``chat_id``.

    ``stamp`` says which of two is newer; ``stale_at`` is when the state is out of date, ``dismiss_at`` when an end leaves
    the screen: all in seconds since 1970. ``attributes_type`` and ``attributes`` belong to a start. ``alert``, a title and a
    body, asks for attention; in ``quiet`` hours without a sound. What is started listens to ``channel``, or gets a token of
    its own, which new phones must be asked for (``wants_token``).
    """

    event: Literal["start", "update", "end"]
    stream_id: str
    chat_id: str
    stamp: int
    state: Mapping[str, Any]
    stale_at: int | None = None
    dismiss_at: int | None = None
    attributes_type: str | None = None
    attributes: Mapping[str, Any] | None = None
    alert: tuple[str, str] | None = None
    quiet: bool = False
    channel: str | None = None
    wants_token: bool = False


def note_of(context: PushContext, *, at: int, content: bool) -> Note:
    """The note of a push at a time in microseconds; without ``content`` it says that something came, and not what."""
    if context.about is None:
        return Note(once="badge", badge=context.badge)
    made = (
        of_message(context.about, context, content)
        if isinstance(context.about, Text)
        else of_notification(context.about, context, content)
    )
    return replace(made, badge=context.badge, quiet=is_quiet(context.preferences, at))


def of_message(message: Text, context: PushContext, content: bool) -> Note:
    data = {"type": "message", "chatId": message.chat_id, "messageId": message.id, "seq": message.seq}
    if message.thread_id is not None:
        data["threadId"] = message.thread_id
    mention = mention_of(message, context.delivery.user_pk)
    if mention is not None:
        data["mention"] = mention
    # A mention added by an edit is a push of its own.
    once = f"{message.id}-mention" if context.delivery.kind == "mention" else message.id
    note = Note(once=once, badge=0, thread=message.chat_id, data=data)
    locale = context.preferences.locale
    if not content:
        return replace(note, title=word(locale, mention or "message"))
    body = message.content or ""
    if message.amount is not None or message.media is not None:
        what = word(locale, message.media or "credits").format(amount=message.amount)
        body = f"{what}: {body}" if body else what
    data["senderId"] = message.sender_id
    sender = message.sender
    if mention is not None:
        sender = word(locale, f"by_{mention}").format(name=sender)
    if message.chat is None:
        return replace(note, title=sender, body=body)
    return replace(note, title=message.chat, subtitle=sender, body=body)


def mention_of(message: Text, user_pk: int) -> Literal["you", "everyone"] | None:
    """How a message mentions the recipient, or None."""
    if user_pk in message.mentioned_pks:
        return "you"
    return "everyone" if message.mentions_all else None


def of_notification(notification: Notification, context: PushContext, content: bool) -> Note:
    data: dict[str, Any] = {"type": "notification", "notificationId": notification.id}
    note = Note(once=notification.id, badge=0, data=data)
    if not content:
        return replace(note, title=word(context.preferences.locale, "notification"))
    if notification.action_url is not None:
        data["actionUrl"] = notification.action_url
    data["category"] = notification.category
    return replace(note, title=notification.title, body=notification.message, thread=notification.category)


def word(locale: str | None, name: str) -> str:
    """A text of ours in the device's language, or in English."""
    language = (locale or "en").replace("_", "-").split("-")[0].casefold()
    return TEXTS.get(language, TEXTS["en"])[name]


def is_quiet(wanted: Preferences, at: int) -> bool:
    """Whether it is one of the user's quiet hours, by their clock; they may go over midnight."""
    if wanted.quiet_from is None or wanted.quiet_to is None:
        return False
    try:
        zone: Any = ZoneInfo(wanted.time_zone) if wanted.time_zone else UTC
    except (ZoneInfoNotFoundError, ValueError):
        zone = UTC
    now = datetime.fromtimestamp(at / SECOND, zone).time()
    start, end = time.fromisoformat(wanted.quiet_from), time.fromisoformat(wanted.quiet_to)
    return start <= now < end if start <= end else now >= start or now < end


# Live Activities and live updates


def state_of(stream: Stream) -> dict[str, Any]:
    """The stream as the app shows it; ``startsAt`` in seconds since 1970."""
    return {"status": stream.status, "title": stream.title, "startsAt": stream.starts_at // SECOND}


def start_note(context: LiveContext, *, at: int, stale: float) -> LiveNote:
    """The start at a time in microseconds."""
    attributes = orjson.loads(context.attributes) if context.attributes else {}
    return replace(
        update_note(context, stale=stale),
        event="start",
        attributes_type=context.attributes_type,
        attributes={**attributes, "streamId": context.stream.id},
        alert=(context.stream.title, word(context.preferences.locale, "soon")),
        quiet=is_quiet(context.preferences, at),
        channel=context.channel.channel_id if context.channel else None,
        wants_token=context.device is not None and CHANNEL in context.device.features.split(),
    )


def update_note(context: LiveContext, *, stale: float) -> LiveNote:
    """The state is out of date ``stale`` seconds after the planned start."""
    assert context.delivery.stamp is not None
    return LiveNote(
        event="update",
        stream_id=context.stream.id,
        chat_id=context.stream.chat_id,
        stamp=context.delivery.stamp,
        state=state_of(context.stream),
        stale_at=int(context.stream.starts_at // SECOND + stale),
    )


def end_note(context: LiveContext, *, dismiss: float) -> LiveNote:
    """The end with the last state, which leaves the screen ``dismiss`` seconds later."""
    stamp = context.delivery.stamp
    assert stamp is not None
    return LiveNote(
        event="end",
        stream_id=context.stream.id,
        chat_id=context.stream.chat_id,
        stamp=stamp,
        state=state_of(context.stream),
        dismiss_at=int(stamp + dismiss),
    )


def cancelled_note(context: LiveContext, *, at: int, dismiss: float) -> LiveNote:
    """The end of a stream that will not begin, which asks for attention."""
    return replace(
        end_note(context, dismiss=dismiss),
        alert=(context.stream.title, word(context.preferences.locale, "cancelled")),
        quiet=is_quiet(context.preferences, at),
    )


# Size


def json_bytes(text: str) -> int:
    return len(orjson.dumps(text))


def fitted(note: Note, over: Callable[[Note], int], *, text_bytes: Callable[[str], int] = json_bytes) -> Note:
    """A note that a provider accepts: the URL is left out where it leaves no room for a title, then the body is cut, then the
    title.

    ``over`` says by how many bytes a note is too large, ``text_bytes`` how many bytes of it a text is.
    """
    if "actionUrl" in note.data and over(replace(note, body=None)) > 0:
        note = replace(note, data={key: value for key, value in note.data.items() if key != "actionUrl"})
    for name in ("body", "title", "subtitle"):
        excess = over(note)
        if excess > 0 and (text := getattr(note, name)):
            cut: Any = {name: shortened(text, excess, text_bytes)}
            note = replace(note, **cut)
    return note


def shortened(text: str, over: int, text_bytes: Callable[[str], int] = json_bytes) -> str:
    """Cut so that it has at least ``over`` bytes less, between characters as people see them, and marked."""
    wanted = text_bytes(text) - over
    ends = boundaries(text)
    fitting = bisect_right(ends, wanted, key=lambda end: text_bytes(text[:end] + "…"))
    return text[: ends[fitting - 1]] + "…" if fitting > 1 else ""
