"""Pushes to Android through Firebase Cloud Messaging, HTTP v1.

Data messages: the app shows them, once under their ``tag``. Notification messages would be shown by the system, which delays
all but a few of them: https://firebase.google.com/docs/cloud-messaging/concept-options#collapsible_and_non-collapsible_messages
What is sent: https://firebase.google.com/docs/reference/fcm/rest/v1/projects.messages
What an answer means: https://firebase.google.com/docs/reference/fcm/rest/v1/ErrorCode
"""

import logging
import time
from collections.abc import Mapping
from typing import Any

import orjson

from push.notes import LiveNote, Note, fitted
from push.post import HttpAnswer, Poster, retry_after
from push.provider import ANY_STATUS, Outcome, Push, PushResult, Rule, masked, rule_of
from push.signed import GoogleToken, MintFailed, MintRefused, ServiceAccount, read_object
from storage.types import SECOND

logger = logging.getLogger("bellwire.push")

URL = "https://fcm.googleapis.com"
# Of keys and values.
LARGEST_DATA_BYTES = 4096
LONGEST_TTL_SECONDS = 28 * 24 * 3600
FCM_ERROR = "type.googleapis.com/google.firebase.fcm.v1.FcmError"
BAD_REQUEST = "type.googleapis.com/google.rpc.BadRequest"
QUOTA_FAILURE = "type.googleapis.com/google.rpc.QuotaFailure"
# Reasons of ours, where Google has no code.
INVALID_TOKEN, DEVICE_QUOTA = "INVALID_TOKEN", "DEVICE_QUOTA_EXCEEDED"
SENDER_MISMATCH = "SENDER_ID_MISMATCH"
OTHER_TOKEN = frozenset({"token", "fid", "message.token", "message.fid"})
TOKEN_WORDS = ("registration token", "registration id", "installation id")

TABLE = (
    Rule(Outcome.ACCEPTED, (200,), frozenset({""})),
    # Not from Google: something between us answered.
    Rule(Outcome.RETRY, (0, 200, 408)),
    Rule(Outcome.TOKEN_DEAD, (404,), frozenset({"UNREGISTERED"})),
    Rule(Outcome.REFUSED, (404,)),
    Rule(Outcome.TOKEN_DEAD, (400,), frozenset({INVALID_TOKEN})),
    Rule(Outcome.REFUSED, (401, 403)),
    Rule(Outcome.SLOW_DOWN, (429,), frozenset({DEVICE_QUOTA})),
    Rule(Outcome.BUSY, (429,)),
    Rule(Outcome.RETRY, range(500, 1000)),
    Rule(Outcome.REJECTED, ANY_STATUS),
)


class FcmProvider:
    """``url`` stands for Google's."""

    name = "FCM"
    # Google wants a first retry not before ten seconds; pauses may be half as long.
    retry_base = 20.0

    def __init__(self, account: ServiceAccount, poster: Poster, *, url: str = URL) -> None:
        self.token = GoogleToken(account, poster)
        self.poster = poster
        self.url = f"{url}/v1/projects/{account.project_id}/messages:send"
        # Whether this project has accepted a push of this process.
        self.proven = False

    def scope(self, push: Push) -> str:
        """The project is the only one."""
        return ""

    async def send(self, push: Push) -> PushResult:
        began_at = int(time.time() * SECOND)
        fault = unfit(push)
        if fault:
            return PushResult(Outcome.REJECTED, 0, fault)
        try:
            token = await self.token.get()
        except MintRefused as refused:
            return PushResult(Outcome.REFUSED, 401, str(refused))
        except MintFailed as failed:
            return PushResult(Outcome.RETRY, 0, str(failed))
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        document: dict[str, Any] = {"message": message_of(push, time.time())}
        if push.dry_run:
            document["validate_only"] = True
        body = orjson.dumps(document)
        result = self._result(await self.poster.post(self.url, body, headers), token, began_at)
        if result.outcome is not Outcome.ACCEPTED:
            logger.info("push to %s: %d %s", masked(push.address.token), result.status, result.reason)
        return result

    def _result(self, answer: HttpAnswer, token: str, began_at: int) -> PushResult:
        result = result_of(answer, began_at)
        if result.outcome is Outcome.ACCEPTED:
            self.proven = True
        elif result.status == 401 and result.reason != "THIRD_PARTY_AUTH_ERROR" and self.token.expire(token):
            return PushResult(Outcome.RETRY, result.status, result.reason)
        elif result.reason == SENDER_MISMATCH and self.proven:
            # The key is right, so this token is another project's.
            return PushResult(Outcome.TOKEN_DEAD, result.status, result.reason, began_at)
        return result

    async def close(self) -> None:
        await self.poster.close()


# What is sent


def message_of(push: Push, at: float) -> dict[str, Any]:
    """The message at a time, in seconds since 1970."""
    note, address = push.note, push.address
    android: dict[str, Any] = {
        "priority": "NORMAL" if address.quiet or is_badge(note) else "HIGH",
        "ttl": f"{min(LONGEST_TTL_SECONDS, max(0, push.expires_at - int(at)))}s",
    }
    if is_badge(note):
        android["collapse_key"] = "badge"
    if address.app:
        android["restricted_package_name"] = address.app
    target = {address.kind or kind_of(address.token): address.token}
    return {**target, "data": data_of(push), "android": android}


def is_badge(note: Note | LiveNote) -> bool:
    return isinstance(note, Note) and note.title is None


def kind_of(token: str) -> str:
    """Whether it looks like a Firebase installation id or like a registration token, which are longer."""
    return "fid" if len(token) <= 22 and ":" not in token else "token"


def data_of(push: Push) -> dict[str, str]:
    """For the app, texts alone, within what FCM accepts."""
    if isinstance(push.note, LiveNote):
        return live_data(push.note, push.push_id)
    note = fitted(
        push.note,
        lambda it: data_bytes(note_data(it, push.push_id)) - LARGEST_DATA_BYTES,
        text_bytes=lambda text: len(text.encode()),
    )
    return note_data(note, push.push_id)


def note_data(note: Note, push_id: str) -> dict[str, str]:
    data = {name: value if isinstance(value, str) else str(value) for name, value in note.data.items()}
    data |= {"pushId": push_id, "tag": note.once, "badge": str(note.badge)}
    if note.title is None:
        return data | {"type": "badge"}
    texts = {"title": note.title, "subtitle": note.subtitle, "body": note.body, "thread": note.thread}
    data |= {name: text for name, text in texts.items() if text is not None}
    return data | {"channelId": "quiet" if note.quiet else "messages"}


def live_data(note: LiveNote, push_id: str) -> dict[str, str]:
    """``contentState`` is JSON; an app compares ``timestamp`` with that of what it shows."""
    data = {
        "type": "live",
        "pushId": push_id,
        "streamId": note.stream_id,
        "chatId": note.chat_id,
        "tag": f"live:{note.stream_id}",
        "channelId": "live",
        "event": note.event,
        "timestamp": str(note.stamp),
        "contentState": orjson.dumps(note.state).decode(),
    }
    if note.stale_at is not None:
        data["staleAt"] = str(note.stale_at)
    if note.dismiss_at is not None:
        data["dismissAt"] = str(note.dismiss_at)
    if note.attributes is not None:
        data["attributes"] = orjson.dumps(note.attributes).decode()
    if note.alert is not None:
        data |= {"title": note.alert[0], "body": note.alert[1]}
    if note.quiet:
        data["quiet"] = "true"
    return data


def data_bytes(data: Mapping[str, str]) -> int:
    return sum(len(name.encode()) + len(value.encode()) for name, value in data.items())


def unfit(push: Push) -> str | None:
    """What FCM would refuse is not sent."""
    size = data_bytes(data_of(push))
    return f"data of {size} bytes" if size > LARGEST_DATA_BYTES else None


# What comes back


def result_of(answer: HttpAnswer, began_at: int) -> PushResult:
    """A token is dead since the request began, in microseconds: who registered it since has another one."""
    said = read_object(answer.body)
    reason = "" if answer.status == 200 and "name" in said else answer.problem or reason_of(said)
    rule = rule_of(TABLE, answer.status, reason)
    dead_at = began_at if rule.outcome is Outcome.TOKEN_DEAD else None
    return PushResult(rule.outcome, answer.status, reason, dead_at, after=retry_after(answer.headers))


def reason_of(said: Mapping[str, Any]) -> str:
    """FCM's own code where there is one: ``error.status`` is the same for a dead token and a wrong path."""
    error = said.get("error")
    if not isinstance(error, dict):
        return "not an answer of FCM"
    details = error.get("details")
    details = [each for each in details if isinstance(each, dict)] if isinstance(details, list) else []
    by_type = {str(each.get("@type")): each for each in details}
    code = by_type.get(FCM_ERROR, {}).get("errorCode")
    text = str(error.get("message") or "")
    if names_token(by_type.get(BAD_REQUEST, {}), text) and error.get("code") == 400:
        return INVALID_TOKEN
    if "device" in str(by_type.get(QUOTA_FAILURE, {}).get("violations", "")).lower():
        return DEVICE_QUOTA
    return str(code or f"{error.get('status') or 'no status'}: {text}")[:100]


def names_token(bad_request: Mapping[str, Any], text: str) -> bool:
    violations = bad_request.get("fieldViolations")
    fields = (
        {str(each.get("field")) for each in violations if isinstance(each, dict)}
        if isinstance(violations, list)
        else set()
    )
    return bool(fields & OTHER_TOKEN) or (not fields and any(each in text.lower() for each in TOKEN_WORDS))
