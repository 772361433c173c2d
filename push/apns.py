"""Pushes through Apple's service.

What a push says: https://developer.apple.com/documentation/usernotifications/generating-a-remote-notification and
https://developer.apple.com/documentation/activitykit/starting-and-updating-live-activities-with-activitykit-push-notifications
What an answer means:
https://developer.apple.com/documentation/usernotifications/handling-notification-responses-from-apns
"""

import asyncio
import logging
import re
import ssl
from collections.abc import Sequence
from typing import Any

import orjson
from hpack import NeverIndexedHeaderTuple

from push.apns_connection import LARGEST_PAYLOAD_BYTES, Answer, ApnsHost, Exchange
from push.notes import LiveNote, Note, fitted
from push.provider import ANY_STATUS, Outcome, Push, PushResult, Rule, masked, rule_of
from push.signed import AppleToken
from storage.errors import Unavailable

logger = logging.getLogger("bellwire.push")

HOSTS = {"production": "api.push.apple.com", "sandbox": "api.sandbox.push.apple.com"}
LATEST = 2**62
LONGEST_COLLAPSE_ID = 64
PLAIN = re.compile(r"[!-~]+")
SAFE_TOKEN = re.compile(r"[A-Za-z0-9._~+=:-]{1,512}")
# Apple calls our token too old.
TOKEN_EXPIRED = "ExpiredProviderToken"

TABLE = (
    Rule(Outcome.ACCEPTED, (200,)),
    Rule(Outcome.RETRY, (0,)),
    Rule(Outcome.TOKEN_DEAD, (410,)),
    Rule(Outcome.TOKEN_DEAD, ANY_STATUS, frozenset({"BadDeviceToken", "Unregistered", "ExpiredToken"})),
    Rule(
        Outcome.REFUSED,
        (403,),
        frozenset({"BadEnvironmentKeyIdInToken", "UnrelatedKeyIdInToken", "TopicDisallowed"}),
        one_scope=True,
    ),
    Rule(Outcome.REFUSED, (403,)),
    Rule(
        Outcome.REFUSED,
        ANY_STATUS,
        frozenset({"MissingProviderToken", "InvalidProviderToken", "Forbidden", "TooManyProviderTokenUpdates"}),
    ),
    Rule(Outcome.SLOW_DOWN, (429,)),
    Rule(Outcome.RETRY, range(500, 1000)),
    Rule(Outcome.RETRY, ANY_STATUS, frozenset({"IdleTimeout"})),
    Rule(Outcome.REJECTED, ANY_STATUS),
)


class ApnsProvider:
    """``topic`` is the bundle id where an address names none; ``host`` stands for both environments, where it is given."""

    name = "APNs"
    retry_base = 1.0

    def __init__(
        self,
        token: AppleToken,
        *,
        topic: str,
        host: str | None = None,
        port: int = 443,
        ca: str | None = None,
        connections: int = 2,
    ) -> None:
        self.token = token
        self.topic = topic
        self.tls = ssl.create_default_context(cafile=ca)
        self.tls.set_alpn_protocols(["h2"])
        # The connections to the host of each environment.
        self.hosts = {name: ApnsHost(host or own, port, self.tls, connections) for name, own in HOSTS.items()}

    def scope(self, push: Push) -> str:
        """An app of an environment: a key may be refused for one alone."""
        return f"{push.address.environment} {self.topic_of(push)}"

    def topic_of(self, push: Push) -> str:
        topic = push.address.app or self.topic
        return f"{topic}.push-type.liveactivity" if isinstance(push.note, LiveNote) else topic

    async def send(self, push: Push) -> PushResult:
        topic = self.topic_of(push)
        body = orjson.dumps(document(push.note))
        fault = unfit(push, topic, body)
        if fault:
            return PushResult(Outcome.REJECTED, 0, fault)
        host = self.hosts[push.address.environment]
        path = f"/3/device/{push.address.token}"
        result, _ = await ask(host, self.token, TABLE, path, headers_of(push, topic), body)
        if result.outcome is not Outcome.ACCEPTED:
            logger.info("push to %s: %d %s", masked(push.address.token), result.status, result.reason)
        return result

    async def close(self) -> None:
        for host in self.hosts.values():
            await host.close()


async def ask(
    host: ApnsHost,
    token: AppleToken,
    table: Sequence[Rule],
    path: str,
    headers: Sequence[Any],
    body: bytes,
    *,
    method: bytes = b"POST",
    most_received: int = LARGEST_PAYLOAD_BYTES,
) -> tuple[PushResult, Answer]:
    """Make a request with our token, and find in a table what its answer means."""
    try:
        text = await token.get()
    except Unavailable:
        return PushResult(Outcome.RETRY, 0, "the shared provider token can't be read"), Answer(0, b"", sent=False)
    # What differs from one to the next is kept out of the table of headers that both sides remember.
    common = [
        (b":method", method),
        (b":scheme", b"https"),
        (b":authority", host.host.encode()),
        NeverIndexedHeaderTuple(b":path", path.encode()),
        (b"authorization", b"bearer " + text.encode()),
    ]
    done: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
    answer = await host.run(Exchange([*common, *headers], body, done, most_received=most_received))
    result = result_of(answer, table)
    if result.reason == TOKEN_EXPIRED:
        outcome = Outcome.RETRY if token.expire(text) else Outcome.REFUSED
        result = PushResult(outcome, result.status, result.reason)
    return result, answer


# What is sent


def document(note: Note | LiveNote) -> dict[str, Any]:
    """The JSON document of a push."""
    if isinstance(note, LiveNote):
        return live_document(note)
    return alert_document(fitted(note, lambda it: len(orjson.dumps(alert_document(it))) - LARGEST_PAYLOAD_BYTES))


def alert_document(note: Note) -> dict[str, Any]:
    if note.title is None:
        return {"aps": {"badge": note.badge}}
    texts = {"title": note.title, "subtitle": note.subtitle, "body": note.body}
    aps: dict[str, Any] = {
        "alert": {name: text for name, text in texts.items() if text is not None},
        "badge": note.badge,
        "mutable-content": 1,
    }
    if note.thread is not None:
        aps["thread-id"] = note.thread
    aps |= {"interruption-level": "passive"} if note.quiet else {"sound": "default"}
    return {"aps": aps, **note.data}


def live_document(note: LiveNote) -> dict[str, Any]:
    aps: dict[str, Any] = {"timestamp": note.stamp, "event": note.event, "content-state": note.state}
    if note.stale_at is not None:
        aps["stale-date"] = note.stale_at
    if note.dismiss_at is not None:
        aps["dismissal-date"] = note.dismiss_at
    if note.event == "start":
        aps |= {"attributes-type": note.attributes_type, "attributes": note.attributes}
        if note.channel is not None:
            aps["input-push-channel"] = note.channel
        elif note.wants_token:
            aps["input-push-token"] = 1
    if note.alert is not None:
        aps["alert"] = {"title": note.alert[0], "body": note.alert[1]}
    return {"aps": aps}


def collapse_id_of(note: Note | LiveNote) -> str | None:
    """What shows once on a device. A Live Activity has none: the stamps say which push is the newest."""
    return note.once if isinstance(note, Note) else None


def priority_of(note: Note | LiveNote) -> int:
    """10 at once, 5 for a badge alone, when it suits the device."""
    return 5 if isinstance(note, Note) and note.title is None else 10


def unfit(push: Push, topic: str, body: bytes) -> str | None:
    """What Apple would refuse is not sent."""
    if len(body) > LARGEST_PAYLOAD_BYTES:
        return f"PayloadTooLarge: {len(body)} bytes"
    collapse_id = collapse_id_of(push.note)
    if collapse_id is not None and not (PLAIN.fullmatch(collapse_id) and len(collapse_id) <= LONGEST_COLLAPSE_ID):
        return "BadCollapseId"
    if not PLAIN.fullmatch(topic) or not PLAIN.fullmatch(push.push_id):
        return "BadTopic"
    if not SAFE_TOKEN.fullmatch(push.address.token):
        return "BadDeviceToken: not to be sent in a path"
    return None


def headers_of(push: Push, topic: str) -> list[Any]:
    """Those of a push alone."""
    headers: list[Any] = [
        (b"apns-topic", topic.encode()),
        (b"apns-push-type", b"liveactivity" if isinstance(push.note, LiveNote) else b"alert"),
        (b"apns-priority", b"%d" % priority_of(push.note)),
        NeverIndexedHeaderTuple(b"apns-expiration", b"%d" % push.expires_at),
        NeverIndexedHeaderTuple(b"apns-id", push.push_id.encode()),
    ]
    collapse_id = collapse_id_of(push.note)
    if collapse_id is not None:
        headers.append(NeverIndexedHeaderTuple(b"apns-collapse-id", collapse_id.encode()))
    return headers


# What comes back


def result_of(answer: Answer, table: Sequence[Rule] = TABLE) -> PushResult:
    status, body = answer.status, answer.body
    if 200 <= status < 300:
        return PushResult(rule_of(table, status, "").outcome, status)
    if status == 0:
        return PushResult(Outcome.RETRY, 0, body.decode(errors="replace"))
    try:
        said = orjson.loads(body)
    except orjson.JSONDecodeError:
        said = None
    said = said if isinstance(said, dict) else {}
    reason, timestamp = str(said.get("reason") or "no reason")[:100], said.get("timestamp")
    dead_at = min(int(timestamp * 1000), LATEST) if status == 410 and isinstance(timestamp, int | float) else None
    rule = rule_of(table, status, reason)
    return PushResult(rule.outcome, status, reason, dead_at, one_scope=rule.one_scope)
