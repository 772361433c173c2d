"""What a push says, from values alone: within Apple's bytes, cut between characters as people see them."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest

from push import apns, notes
from push.apns_connection import LARGEST_PAYLOAD_BYTES
from storage.contexts import LiveContext, Preferences, PushContext, Text
from storage.devices import Device
from storage.notifications import Notification
from storage.outbox import Delivery
from storage.streams import Stream
from storage.text import boundaries
from storage.types import SECOND

DELIVERY = Delivery(1, "message", "apns", 2, 3, None, 4, 5, None, "id", 0, 0, 0)
DEVICE = Device(5, 4, None, "phone", "ios", "aa", "sandbox", "org.example", None, None, "", None, None, None, 0, 0)
TEXT = Text("m" * 24, "c" * 24, 7, None, "s" * 24, "Ann", "text", "hello", None, None)
BRIEF = PushContext(DELIVERY, DEVICE, Preferences("en", "Europe/Istanbul"), TEXT, 3)


def alert(context: PushContext, *, at: int, content: bool) -> dict[str, Any]:
    """As Apple gets it."""
    return apns.document(notes.note_of(context, at=at, content=content))


@pytest.mark.parametrize("piece", ["👨‍👩‍👧‍👦", "e\u0301", "🇹🇷", "क्षि", "\\", '"', "\n", "é", "a"])
@pytest.mark.parametrize("lead", ["", "x", "xy", "xyz"])
def test_a_long_text_is_cut_between_characters(piece: str, lead: str) -> None:
    """Sixteen KB of them, at every offset."""
    body = lead + piece * (16_384 // len(piece.encode()))
    made = alert(replace(BRIEF, about=replace(TEXT, content=body)), at=0, content=True)
    shown = made["aps"]["alert"]["body"]
    size = len(orjson.dumps(made))
    assert shown.endswith("…") and body.startswith(shown[:-1])
    assert (len(shown) - 1 - len(lead)) % len(piece) == 0, "between two of them"
    assert LARGEST_PAYLOAD_BYTES - 2 * len(orjson.dumps(piece)) < size <= LARGEST_PAYLOAD_BYTES


def test_the_title_is_cut_after_the_body() -> None:
    made = alert(replace(BRIEF, about=replace(TEXT, chat="t" * 5000, content="b" * 5000)), at=0, content=True)
    assert made["aps"]["alert"]["body"] == "" and made["aps"]["alert"]["title"].endswith("…")
    assert len(orjson.dumps(made)) <= LARGEST_PAYLOAD_BYTES


def test_a_direct_message_and_one_of_a_group() -> None:
    made = alert(BRIEF, at=0, content=True)
    assert made == {
        "aps": {
            "alert": {"title": "Ann", "body": "hello"},
            "thread-id": TEXT.chat_id,
            "badge": 3,
            "mutable-content": 1,
            "sound": "default",
        },
        "type": "message",
        "chatId": TEXT.chat_id,
        "messageId": TEXT.id,
        "seq": 7,
        "senderId": TEXT.sender_id,
    }
    group = alert(replace(BRIEF, about=replace(TEXT, chat="Friends")), at=0, content=True)
    assert group["aps"]["alert"] == {"title": "Friends", "subtitle": "Ann", "body": "hello"}


@pytest.mark.parametrize(
    ("changes", "body"),
    [
        ({"amount": 5, "content": None}, "5 credits"),
        ({"amount": 5, "content": "thanks"}, "5 credits: thanks"),
        ({"media": "image", "content": None}, "Photo"),
        ({"media": "video", "content": ""}, "Video"),
        ({"media": "audio", "content": None}, "Voice message"),
        ({"media": "file", "content": "look"}, "File: look"),
    ],
)
def test_what_is_no_text_is_said_in_words(changes: dict[str, Any], body: str) -> None:
    made = alert(replace(BRIEF, about=replace(TEXT, **changes)), at=0, content=True)
    assert made["aps"]["alert"]["body"] == body


def test_without_content_the_text_is_not_shown() -> None:
    made = alert(replace(BRIEF, preferences=Preferences("tr-TR")), at=0, content=False)
    assert made["aps"]["alert"] == {"title": "Yeni mesaj"} and "senderId" not in made
    assert "Ann" not in str(made) and "hello" not in str(made)


def test_a_badge_alone() -> None:
    assert alert(replace(BRIEF, about=None), at=0, content=True) == {"aps": {"badge": 3}}
    assert notes.note_of(replace(BRIEF, about=None), at=0, content=True).once == "badge"
    assert notes.note_of(BRIEF, at=0, content=True).once == TEXT.id


@pytest.mark.parametrize(
    ("hours", "clock", "quiet"),
    [
        (("22:00", "07:00"), "21:59", False), (("22:00", "07:00"), "22:00", True), (("22:00", "07:00"), "06:59", True),
        (("22:00", "07:00"), "07:00", False), (("12:00", "13:00"), "12:00", True), (("12:00", "13:00"), "12:59", True),
        (("12:00", "13:00"), "13:00", False), (("12:00", "13:00"), "11:59", False), ((None, "13:00"), "12:30", False),
        (("12:00", None), "12:30", False),
    ],
)  # fmt: skip
def test_quiet_hours_go_by_the_users_clock(hours: tuple[str | None, str | None], clock: str, quiet: bool) -> None:
    hour, minute = map(int, clock.split(":"))
    # Istanbul is three hours ahead of UTC all year.
    at = int(datetime(2026, 6, 1, hour, minute, 30, tzinfo=UTC).timestamp()) * SECOND - 3 * 3600 * SECOND
    made = alert(replace(BRIEF, preferences=Preferences("en", "Europe/Istanbul", *hours)), at=at, content=True)
    assert (made["aps"].get("interruption-level") == "passive") == quiet
    assert ("sound" in made["aps"]) != quiet
    for zone in (None, "Nowhere/Here", ""):
        assert notes.is_quiet(Preferences("en", zone, *hours), at + 3 * 3600 * SECOND) == quiet, (
            "UTC where the zone is not known"
        )


@pytest.mark.parametrize(
    ("locale", "word"),
    [("tr", "Fotoğraf"), ("tr_TR", "Fotoğraf"), ("TR-CY", "Fotoğraf"), ("fr", "Photo"), (None, "Photo")],
)
def test_words_are_in_the_devices_language(locale: str | None, word: str) -> None:
    assert notes.word(locale, "image") == word


def notification(**changes: Any) -> PushContext:
    values: dict[str, Any] = dict.fromkeys(Notification.__slots__)
    values |= {"id": "n" * 24, "title": "Title", "message": "Message", "category": "news", "action_url": None}
    return replace(BRIEF, about=Notification(**values | changes))


def test_a_notification_carries_its_url_where_it_has_one() -> None:
    made = alert(notification(action_url="https://example.org/a"), at=0, content=True)
    assert made["actionUrl"] == "https://example.org/a" and made["category"] == made["aps"]["thread-id"] == "news"
    assert made["aps"]["alert"] == {"title": "Title", "body": "Message"}
    assert "actionUrl" not in alert(notification(), at=0, content=True)
    hidden = alert(notification(action_url="https://example.org/a"), at=0, content=False)
    assert hidden["aps"]["alert"] == {"title": "New notification"} and "actionUrl" not in hidden


def test_a_url_that_is_too_long_by_itself_is_left_out() -> None:
    made = alert(notification(action_url="https://example.org/" + "a" * 4096), at=0, content=True)
    assert "actionUrl" not in made and len(orjson.dumps(made)) <= LARGEST_PAYLOAD_BYTES
    assert made["aps"]["alert"] == {"title": "Title", "body": "Message"}, "what people read comes first"
    short = alert(notification(action_url="https://example.org/" + "a" * 2000), at=0, content=True)
    assert "actionUrl" in short


def test_what_just_fits_is_left_alone() -> None:
    empty = len(orjson.dumps(alert(replace(BRIEF, about=replace(TEXT, content="")), at=0, content=True)))
    for over in (0, 1):
        body = "x" * (LARGEST_PAYLOAD_BYTES - empty + over)
        made = alert(replace(BRIEF, about=replace(TEXT, content=body)), at=0, content=True)
        assert (made["aps"]["alert"]["body"] == body) == (over == 0)


@pytest.mark.parametrize("text", ["abcdef", "ééé", '"\\"\n', "👨‍👩‍👧a👨‍👩‍👧"])
def test_as_much_of_a_text_as_fits_is_kept(text: str) -> None:
    size = len(orjson.dumps(text))
    ends = boundaries(text)
    for over in range(1, size + 2):
        fitting = [text[:end] + "…" for end in ends if end and len(orjson.dumps(text[:end] + "…")) <= size - over]
        assert notes.shortened(text, over) == (fitting[-1] if fitting else ""), over


def test_hours_that_end_as_they_begin_are_none() -> None:
    for minute in (0, 720):
        assert not notes.is_quiet(Preferences(quiet_from="12:00", quiet_to="12:00"), minute * 60 * SECOND)


# Live Activities

STREAM_VALUES = {"id": "s" * 24, "title": "Match", "status": "scheduled", "starts_at": 5_000 * SECOND + 7}
STREAM = Stream(**dict.fromkeys(Stream.__slots__) | STREAM_VALUES)  # type: ignore[arg-type]
LIVE = LiveContext(
    replace(DELIVERY, stamp=4_000), None, DEVICE, None, Preferences("tr"), STREAM, "Attributes", '{"league":1}'
)
STATE = {"status": "scheduled", "title": "Match", "startsAt": 5_000}


def test_the_start_of_an_activity() -> None:
    assert apns.document(notes.start_note(LIVE, at=0, stale=900)) == {
        "aps": {
            "timestamp": 4_000,
            "event": "start",
            "content-state": STATE,
            "stale-date": 5_900,
            "attributes-type": "Attributes",
            "attributes": {"league": 1, "streamId": STREAM.id},
            "alert": {"title": "Match", "body": "Birazdan başlıyor"},
        }
    }
    bare = apns.document(notes.start_note(replace(LIVE, attributes=None, preferences=Preferences()), at=0, stale=0))[
        "aps"
    ]
    assert bare["attributes"] == {"streamId": STREAM.id} and bare["alert"]["body"] == "It begins soon"
    assert bare["stale-date"] == 5_000


def test_its_update_and_its_end() -> None:
    updated = apns.document(notes.update_note(LIVE, stale=900))["aps"]
    assert updated == {"timestamp": 4_000, "event": "update", "content-state": STATE, "stale-date": 5_900}
    ended = apns.document(notes.end_note(LIVE, dismiss=300))["aps"]
    assert ended == {"timestamp": 4_000, "event": "end", "content-state": STATE, "dismissal-date": 4_300}
