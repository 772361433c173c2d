"""What a push says: pure functions from what is known to the JSON document that Apple takes.

https://developer.apple.com/documentation/usernotifications/generating-a-remote-notification
"""

from bisect import bisect_right
from datetime import UTC, datetime, time
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import orjson

from push.gateway import LARGEST_PAYLOAD
from storage.briefs import Brief, LiveBrief, Text
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


def alert(brief: Brief, *, at: int, content: bool) -> dict[str, Any]:
    """The payload of a push; without ``content`` it tells that something came, and not what."""
    if brief.about is None:
        return {"aps": {"badge": brief.badge}}
    answer = of_message(brief.about, brief, content) if isinstance(brief.about, Text) else of_notification(
        brief.about, brief, content
    )  # fmt: skip
    aps = answer["aps"] | {"badge": brief.badge, "mutable-content": 1}
    aps |= {"interruption-level": "passive"} if quiet(brief, at) else {"sound": "default"}
    return fitted({**answer, "aps": aps})


def of_message(message: Text, brief: Brief, content: bool) -> dict[str, Any]:
    data = {"type": "message", "chatId": message.chat_id, "messageId": message.id, "seq": message.seq}
    thread = {"thread-id": message.chat_id}
    if not content:
        return {"aps": {"alert": {"title": word(brief.locale, "message")}, **thread}, **data}
    body = message.content or ""
    if message.amount is not None or message.media is not None:
        what = word(brief.locale, message.media or "credits").format(amount=message.amount)
        body = f"{what}: {body}" if body else what
    if message.chat is None:
        text = {"title": message.sender, "body": body}
    else:
        text = {"title": message.chat, "subtitle": message.sender, "body": body}
    return {"aps": {"alert": text, **thread}, **data, "senderId": message.sender_id}


def of_notification(notification: Notification, brief: Brief, content: bool) -> dict[str, Any]:
    data: dict[str, Any] = {"type": "notification", "notificationId": notification.id}
    if not content:
        return {"aps": {"alert": {"title": word(brief.locale, "notification")}}, **data}
    if notification.action_url is not None:
        data["actionUrl"] = notification.action_url
    text = {"title": notification.title, "body": notification.message}
    return {"aps": {"alert": text, "thread-id": notification.category}, **data, "category": notification.category}


def word(locale: str | None, name: str) -> str:
    """A text of ours in the device's language, or in English."""
    language = (locale or "en").replace("_", "-").split("-")[0].casefold()
    return TEXTS.get(language, TEXTS["en"])[name]


def quiet(brief: Brief, at: int) -> bool:
    """Whether it is one of the user's quiet hours, by their clock; they may go over midnight."""
    if brief.quiet_from is None or brief.quiet_to is None:
        return False
    try:
        zone: Any = ZoneInfo(brief.time_zone) if brief.time_zone else UTC
    except (ZoneInfoNotFoundError, ValueError):
        zone = UTC
    now = datetime.fromtimestamp(at / SECOND, zone).time()
    start, end = time.fromisoformat(brief.quiet_from), time.fromisoformat(brief.quiet_to)
    return start <= now < end if start <= end else now >= start or now < end


def fitted(payload: dict[str, Any]) -> dict[str, Any]:
    """Within what Apple takes: the body is cut first, then the title, then the URL left out."""
    text = payload["aps"]["alert"]
    for name in ("body", "title", "subtitle"):
        over = len(orjson.dumps(payload)) - LARGEST_PAYLOAD
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


def collapse_id(brief: Brief) -> str:
    """What shows once on a device, however often it arrives."""
    return "badge" if brief.about is None else brief.about.id


# Live Activities: https://developer.apple.com/documentation/activitykit/starting-and-updating-live-activities-with-activitykit-push-notifications


def content_state(stream: Stream) -> dict[str, Any]:
    """What the app's ``ContentState`` decodes: the stream as it is now; ``startsAt`` in seconds since 1970."""
    return {"status": stream.status, "title": stream.title, "startsAt": stream.starts_at // SECOND}


def start(brief: LiveBrief, *, stale: float) -> dict[str, Any]:
    """Puts an activity on the lock screen; an alert belongs to it."""
    locale = brief.device.locale if brief.device else None
    attributes = orjson.loads(brief.attributes) if brief.attributes else {}
    return {
        "aps": {
            "timestamp": brief.delivery.stamp,
            "event": "start",
            "content-state": content_state(brief.stream),
            "stale-date": int(brief.stream.starts_at // SECOND + stale),
            "attributes-type": brief.attributes_type,
            "attributes": {**attributes, "streamId": brief.stream.id},
            "alert": {"title": brief.stream.title, "body": word(locale, "soon")},
        }
    }


def update(brief: LiveBrief, *, stale: float) -> dict[str, Any]:
    return {
        "aps": {
            "timestamp": brief.delivery.stamp,
            "event": "update",
            "content-state": content_state(brief.stream),
            "stale-date": int(brief.stream.starts_at // SECOND + stale),
        }
    }


def end(brief: LiveBrief, *, dismiss: float) -> dict[str, Any]:
    """Ends an activity with its last state; it leaves the lock screen ``dismiss`` seconds later."""
    assert brief.delivery.stamp is not None
    return {
        "aps": {
            "timestamp": brief.delivery.stamp,
            "event": "end",
            "content-state": content_state(brief.stream),
            "dismissal-date": int(brief.delivery.stamp + dismiss),
        }
    }
