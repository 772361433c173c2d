"""Pushes to browsers: RFC 8030, with messages that Safari shows by itself and other browsers by our service worker.

What each push service answers differs: https://mozilla-services.github.io/autopush-rs/errors.html (Mozilla),
https://developer.apple.com/documentation/usernotifications/sending-web-push-notifications-in-web-apps-and-browsers (Apple),
https://learn.microsoft.com/windows/apps/develop/notifications/push-notifications/push-request-response-headers (Microsoft).
"""

import hashlib
import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import orjson
from yarl import URL

from push.notes import LiveNote, Note, fitted
from push.post import HttpAnswer, Poster, is_public, retry_after
from push.provider import ANY_STATUS, Outcome, Push, PushResult, Rule, rule_of
from push.signed import VapidTokens, read_object
from push.webpush_encryption import base64url, encrypt
from storage.types import SECOND

logger = logging.getLogger("bellwire.push")

# Where browsers subscribe, with all below these names: Chrome, Edge and Opera; Chromium; Firefox; Safari; old Edge.
HOSTS = (
    "fcm.googleapis.com",
    "jmt17.google.com",
    "push.services.mozilla.com",
    "push.apple.com",
    "notify.windows.com",
)
APPLE_HOST = "push.apple.com"
# Firefox on Android receives through FCM, which carries less than the 3,993 bytes of RFC 8291.
LARGEST_TEXT_BYTES = 2600
LONGEST_ENDPOINT = 1000
LONGEST_TTL_SECONDS = 28 * 24 * 3600
# A subscription may be unknown to the push service for some seconds after it was made.
YOUNG_MICROSECONDS = 120 * SECOND
YOUNG_RETRY_SECONDS = 60.0
MOST_ORIGINS = 1000
OTHER_KEY = "other VAPID key"

TABLE = (
    Rule(Outcome.ACCEPTED, range(200, 300)),
    Rule(Outcome.RETRY, (0, 408)),
    Rule(Outcome.TOKEN_DEAD, (404, 410)),
    Rule(Outcome.REFUSED, ANY_STATUS, frozenset({OTHER_KEY}), one_scope=True),
    Rule(Outcome.REFUSED, (401, 403), one_scope=True),
    # Microsoft says 406 where others say 429.
    Rule(Outcome.SLOW_DOWN, (406, 429), one_scope=True),
    Rule(Outcome.RETRY, range(500, 1000)),
    Rule(Outcome.REJECTED, ANY_STATUS),
)
# As push services say that a subscription was made with another key.
OTHER_KEY_WORDS = ("vapidpkhashmismatch", "vapid public key mismatch", "do not correspond", "does not correspond")


class WebPushProvider:
    """``url_of`` makes the absolute address that a click on a notification opens, of what is in its data."""

    name = "Web Push"
    # The first retry is to come not before ten seconds; pauses may be half as long.
    retry_base = 20.0

    def __init__(
        self,
        keys: Sequence[VapidTokens],
        poster: Poster,
        *,
        hosts: Sequence[str],
        url_of: Callable[[Mapping[str, Any]], str],
    ) -> None:
        # By public key; a subscription is bound to the one with which it was made.
        self.keys = {each.public_key: each for each in keys}
        self.poster = poster
        self.hosts = hosts
        self.url_of = url_of
        # The origins and keys whose last answers accepted a push.
        self.proven: OrderedDict[tuple[str, str], None] = OrderedDict()

    @property
    def public_key(self) -> str:
        """The one with which browsers subscribe now."""
        return next(iter(self.keys))

    def wrong_with(self, endpoint: str) -> str | None:
        """What is wrong with the address of a subscription, if anything."""
        return wrong_with_endpoint(endpoint, self.hosts, private=self.poster.private)

    def scope(self, push: Push) -> str:
        return origin_of(push.address.token)

    async def send(self, push: Push) -> PushResult:
        address = push.address
        if problem := self.wrong_with(address.token):
            return PushResult(Outcome.REJECTED, 0, f"endpoint {problem}")
        tokens = self.keys.get(address.app)
        if tokens is None:
            return PushResult(Outcome.TOKEN_DEAD, 0, OTHER_KEY)
        try:
            body = encrypt(text_of(push, self.url_of), address.p256dh, address.auth)
        except ValueError as error:
            return PushResult(Outcome.REJECTED, 0, f"keys of the subscription: {error}"[:100])
        origin = origin_of(address.token)
        answer = await self.poster.post(address.token, body, headers_of(push, tokens.header(origin), time.time()))
        result = self._result(answer, (origin, address.app), address.registered_at)
        if result.outcome is not Outcome.ACCEPTED:
            logger.info("push to %s: %d %s", origin, result.status, result.reason)
        return result

    def _result(self, answer: HttpAnswer, key: tuple[str, str], registered_at: int) -> PushResult:
        result = result_of(answer)
        if result.outcome is Outcome.ACCEPTED:
            self.proven[key] = None
            self.proven.move_to_end(key)
            while len(self.proven) > MOST_ORIGINS:
                self.proven.popitem(last=False)
        elif result.outcome is Outcome.TOKEN_DEAD and time.time() * SECOND - registered_at < YOUNG_MICROSECONDS:
            return PushResult(Outcome.RETRY, result.status, result.reason, after=max(result.after, YOUNG_RETRY_SECONDS))
        elif result.reason == OTHER_KEY and key in self.proven:
            # Our key is right, so this subscription is another's.
            return PushResult(Outcome.TOKEN_DEAD, result.status, result.reason)
        return result

    async def close(self) -> None:
        await self.poster.close()


def origin_of(endpoint: str) -> str:
    return str(URL(endpoint).origin())


def wrong_with_endpoint(endpoint: str, hosts: Sequence[str], *, private: bool) -> str | None:
    """What is wrong with the address of a subscription, if anything; where its name leads is looked at when it is called.

    ``private`` allows any port, and addresses of private networks.
    """
    try:
        url = URL(endpoint) if endpoint.isascii() and len(endpoint) <= LONGEST_ENDPOINT else URL()
        host, whole = (url.host or "").lower().rstrip("."), url.scheme == "https" and url.user is None
    except ValueError:
        host, whole = "", False
    if not host or not whole or url.fragment or (url.port != 443 and not private):
        return f"must be an https URL of at most {LONGEST_ENDPOINT} characters, without port, user and fragment"
    if not any(host == each or host.endswith(f".{each}") for each in hosts):
        return f"must be at a push service that this server knows, not at {host}"
    try:
        return None if private or is_public(host) else "must be at a public address"
    except ValueError:
        return None


# What is sent


def headers_of(push: Push, authorization: str, at: float) -> dict[str, str]:
    """Those of a moment, in seconds since 1970."""
    headers = {
        "Authorization": authorization,
        "Content-Encoding": "aes128gcm",
        "Content-Type": "application/octet-stream",
        # 0 would mean now or never, which Microsoft refuses.
        "TTL": str(min(LONGEST_TTL_SECONDS, max(1, push.expires_at - int(at)))),
        "Urgency": "normal" if push.address.quiet else "high",
    }
    host = URL(push.address.token).host or ""
    if host.endswith(APPLE_HOST):
        # Safari does not replace what has the same tag; at Google a topic is a collapse key, with its limits.
        headers["Topic"] = base64url(hashlib.sha256(tag_of(push.note).encode()).digest()[:24])
    return headers


def tag_of(note: Note | LiveNote) -> str:
    """What is shown in place of what has the same tag."""
    return note.once if isinstance(note, Note) else f"live:{note.stream_id}"


def text_of(push: Push, url_of: Callable[[Mapping[str, Any]], str]) -> bytes:
    """What the browser decrypts: https://www.w3.org/TR/push-api/#declarative-push-message."""
    if isinstance(push.note, LiveNote):
        return live_document(push.note, push.push_id, url_of)
    note = fitted(push.note, lambda it: len(document(it, push.push_id, url_of)) - LARGEST_TEXT_BYTES)
    return document(note, push.push_id, url_of)


def document(note: Note, push_id: str, url_of: Callable[[Mapping[str, Any]], str]) -> bytes:
    body = f"{note.subtitle}: {note.body or ''}" if note.subtitle else note.body
    notification = {
        "title": note.title or "",
        "navigate": url_of(note.data),
        "tag": tag_of(note),
        "silent": note.quiet,
        "data": {**note.data, "pushId": push_id, "badge": note.badge},
    }
    if body is not None:
        notification["body"] = body
    return orjson.dumps({"web_push": 8030, "notification": notification, "app_badge": note.badge, "mutable": True})


def live_document(note: LiveNote, push_id: str, url_of: Callable[[Mapping[str, Any]], str]) -> bytes:
    """A browser shows the start and a cancellation as notifications; the second replaces the first."""
    title, body = note.alert or ("", "")
    data = {"type": "live", "streamId": note.stream_id, "chatId": note.chat_id}
    notification = {
        "title": title,
        "body": body,
        "navigate": url_of(data),
        "tag": tag_of(note),
        "silent": note.quiet,
        # The cancellation replaces the start, and asks for attention.
        "renotify": note.event == "end" and not note.quiet,
        "data": {**data, "pushId": push_id},
    }
    return orjson.dumps({"web_push": 8030, "notification": notification, "mutable": True})


# What comes back


def result_of(answer: HttpAnswer) -> PushResult:
    reason = answer.problem or reason_of(answer)
    rule = rule_of(TABLE, answer.status, reason)
    return PushResult(rule.outcome, answer.status, reason, one_scope=rule.one_scope, after=retry_after(answer.headers))


def reason_of(answer: HttpAnswer) -> str:
    """Each push service says it in its own place."""
    said = read_object(answer.body)
    words = [said.get("reason"), said.get("errno"), said.get("message"), answer.headers.get("X-WNS-ERROR-DESCRIPTION")]
    text = " ".join(str(each) for each in words if each) or answer.body.decode(errors="replace")
    return OTHER_KEY if any(each in text.lower() for each in OTHER_KEY_WORDS) else text.strip()[:100]
