"""What a push says: pure functions from what is known to the JSON document that Apple takes.

https://developer.apple.com/documentation/usernotifications/generating-a-remote-notification
"""

from bisect import bisect_right
from datetime import UTC, datetime, time
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import orjson

from push.gateway import LARGEST_PAYLOAD_BYTES
from storage.contexts import LiveContext, PushContext, Text
from storage.notifications import Notification
from storage.streams import Stream
from storage.text import boundaries
from storage.types import SECOND

TEXTS = {
    "en": {
        "message": "New message",
        "notification": "New notification",
        "soon": "It begins soon",
        "credits": "{amount} credits",
        "image": "Photo",
        "video": "Video",
        "audio": "Voice message",
        "file": "File",
    },
    "tr": {
        "message": "Yeni mesaj",
        "notification": "Yeni bildirim",
        "soon": "Birazdan başlıyor",
        "credits": "{amount} kredi",
        "image": "Fotoğraf",
        "video": "Video",
        "audio": "Sesli mesaj",
        "file": "Dosya",
    },
}


def alert(context: PushContext, *, at: int, content: bool) -> dict[str, Any]:
    """The payload of a push; without ``content`` it says that something came, and not what."""
    if context.about is None:
        return {"aps": {"badge": context.badge}}
    answer = of_message(context.about, context, content) if isinstance(context.about, Text) else of_notification(
        context.about, context, content
    )  # fmt: skip
    aps = answer["aps"] | {"badge": context.badge, "mutable-content": 1}
    aps |= {"interruption-level": "passive"} if quiet(context, at) else {"sound": "default"}
    return fitted({**answer, "aps": aps})


def of_message(message: Text, context: PushContext, content: bool) -> dict[str, Any]:
    data = {"type": "message", "chatId": message.chat_id, "messageId": message.id, "seq": message.seq}
    thread = {"thread-id": message.chat_id}
    if not content:
        return {"aps": {"alert": {"title": word(context.locale, "message")}, **thread}, **data}
    body = message.content or ""
    if message.amount is not None or message.media is not None:
        what = word(context.locale, message.media or "credits").format(amount=message.amount)
        body = f"{what}: {body}" if body else what
    if message.chat is None:
        text = {"title": message.sender, "body": body}
    else:
        text = {"title": message.chat, "subtitle": message.sender, "body": body}
    return {"aps": {"alert": text, **thread}, **data, "senderId": message.sender_id}


def of_notification(notification: Notification, context: PushContext, content: bool) -> dict[str, Any]:
    data: dict[str, Any] = {"type": "notification", "notificationId": notification.id}
    if not content:
        return {"aps": {"alert": {"title": word(context.locale, "notification")}}, **data}
    if notification.action_url is not None:
        data["actionUrl"] = notification.action_url
    text = {"title": notification.title, "body": notification.message}
    return {"aps": {"alert": text, "thread-id": notification.category}, **data, "category": notification.category}


def word(locale: str | None, name: str) -> str:
    """A text of ours in the device's language, or in English."""
    language = (locale or "en").replace("_", "-").split("-")[0].casefold()
    return TEXTS.get(language, TEXTS["en"])[name]


def quiet(context: PushContext, at: int) -> bool:
    """Whether it is one of the user's quiet hours, by their clock; they may go over midnight."""
    if context.quiet_from is None or context.quiet_to is None:
        return False
    try:
        zone: Any = ZoneInfo(context.time_zone) if context.time_zone else UTC
    except (ZoneInfoNotFoundError, ValueError):
        zone = UTC
    now = datetime.fromtimestamp(at / SECOND, zone).time()
    start, end = time.fromisoformat(context.quiet_from), time.fromisoformat(context.quiet_to)
    return start <= now < end if start <= end else now >= start or now < end


def fitted(payload: dict[str, Any]) -> dict[str, Any]:
    """Within what Apple takes: the body is cut first, then the title, then the URL left out."""
    text = payload["aps"]["alert"]
    for name in ("body", "title", "subtitle"):
        over = len(orjson.dumps(payload)) - LARGEST_PAYLOAD_BYTES
        if over <= 0:
            return payload
        if text.get(name):
            text = text | {name: shortened(text[name], over)}
            payload = {**payload, "aps": payload["aps"] | {"alert": text}}
    payload.pop("actionUrl", None)
    return payload


def shortened(text: str, over: int) -> str:
    """Cut so that its JSON has at least ``over`` bytes less, between characters as people see them, and marked."""
    wanted = len(orjson.dumps(text)) - over
    ends = boundaries(text)
    fitting = bisect_right(ends, wanted, key=lambda end: len(orjson.dumps(text[:end] + "…")))
    return text[: ends[fitting - 1]] + "…" if fitting > 1 else ""


def collapse_id(context: PushContext) -> str:
    """What shows once on a device, however often it arrives."""
    return "badge" if context.about is None else context.about.id


# Live Activities: https://developer.apple.com/documentation/activitykit/starting-and-updating-live-activities-with-activitykit-push-notifications


def content_state(stream: Stream) -> dict[str, Any]:
    """What the app's ``ContentState`` decodes: the stream as it is now; ``startsAt`` in seconds since 1970."""
    return {"status": stream.status, "title": stream.title, "startsAt": stream.starts_at // SECOND}


def start(context: LiveContext, *, stale: float) -> dict[str, Any]:
    """Puts an activity on the lock screen; an alert belongs to it."""
    locale = context.device.locale if context.device else None
    attributes = orjson.loads(context.attributes) if context.attributes else {}
    return {
        "aps": {
            "timestamp": context.delivery.stamp,
            "event": "start",
            "content-state": content_state(context.stream),
            "stale-date": int(context.stream.starts_at // SECOND + stale),
            "attributes-type": context.attributes_type,
            "attributes": {**attributes, "streamId": context.stream.id},
            "alert": {"title": context.stream.title, "body": word(locale, "soon")},
        }
    }


def update(context: LiveContext, *, stale: float) -> dict[str, Any]:
    return {
        "aps": {
            "timestamp": context.delivery.stamp,
            "event": "update",
            "content-state": content_state(context.stream),
            "stale-date": int(context.stream.starts_at // SECOND + stale),
        }
    }


def end(context: LiveContext, *, dismiss: float) -> dict[str, Any]:
    """Ends an activity with its last state; it leaves the lock screen ``dismiss`` seconds later."""
    assert context.delivery.stamp is not None
    return {
        "aps": {
            "timestamp": context.delivery.stamp,
            "event": "end",
            "content-state": content_state(context.stream),
            "dismissal-date": int(context.delivery.stamp + dismiss),
        }
    }
