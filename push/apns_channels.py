"""Pushes over channels of Apple's, and the requests that open, close and list them.

https://developer.apple.com/documentation/usernotifications/sending-broadcast-push-notification-requests-to-apns and
https://developer.apple.com/documentation/usernotifications/sending-channel-management-requests-to-apns
"""

import logging
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import orjson
from hpack import NeverIndexedHeaderTuple

from push.apns import ask, document
from push.apns_connection import Answer, ApnsHost
from push.notes import LiveNote
from push.provider import ANY_STATUS, Outcome, Push, PushResult, Rule
from push.signed import AppleToken, read_object

logger = logging.getLogger("bellwire.push")

# By environment the host that manages channels, and its port.
MANAGERS = {
    "production": ("api-manage-broadcast.push.apple.com", 2196),
    "sandbox": ("api-manage-broadcast.sandbox.push.apple.com", 2195),
}
LARGEST_BODY_BYTES = 5120
# 10,000 names.
LARGEST_LIST_BYTES = 1 << 20
# Apple keeps the newest push for phones that are off.
KEEPS_NEWEST = 1
OPENED = b"apns-channel-id"
SAFE_BUNDLE = re.compile(r"[A-Za-z0-9._-]{1,255}")
SAFE_CHANNEL = re.compile(r"[!-~]{1,255}")

TABLE = (
    Rule(Outcome.ACCEPTED, (200, 201, 204)),
    Rule(Outcome.RETRY, (0,)),
    Rule(Outcome.TOKEN_DEAD, ANY_STATUS, frozenset({"ChannelNotRegistered", "BadChannelId"})),
    Rule(Outcome.REFUSED, ANY_STATUS, frozenset({"FeatureNotEnabled", "TopicMismatch"}), one_scope=True),
    Rule(Outcome.REFUSED, (403,)),
    Rule(Outcome.SLOW_DOWN, (429,)),
    Rule(Outcome.RETRY, range(500, 1000)),
    Rule(Outcome.REJECTED, ANY_STATUS),
)


class Opening(NamedTuple):
    """The answer to a request to open a channel; ``id`` is None where it does not say which was opened. Perhaps one was
    (``unknown``): the request was sent, and there is no answer, or one that does not say it.
    """

    result: PushResult
    id: str | None
    unknown: bool


class ApnsChannels:
    """The connections in ``hosts``, which take pushes, are another's; those in ``managers`` are its own."""

    name = "APNs channels"
    retry_base = 1.0

    def __init__(self, token: AppleToken, hosts: Mapping[str, ApnsHost], managers: Mapping[str, ApnsHost]) -> None:
        self.token = token
        self.hosts = hosts
        self.managers = managers

    def scope(self, push: Push) -> str:
        """An app of an environment."""
        return f"{push.address.environment} {push.address.app}"

    async def send(self, push: Push) -> PushResult:
        """To all who listen to the channel that is the address."""
        assert isinstance(push.note, LiveNote)
        body = orjson.dumps(document(push.note))
        channel, app = push.address.token, push.address.app
        if len(body) > LARGEST_BODY_BYTES:
            return PushResult(Outcome.REJECTED, 0, f"PayloadTooLarge: {len(body)} bytes")
        if not SAFE_BUNDLE.fullmatch(app) or not SAFE_CHANNEL.fullmatch(channel):
            return PushResult(Outcome.REJECTED, 0, "BadChannelId: not to be sent in a header")
        headers = [
            NeverIndexedHeaderTuple(OPENED, channel.encode()),
            (b"apns-push-type", b"liveactivity"),
            (b"apns-priority", b"10"),
            NeverIndexedHeaderTuple(b"apns-expiration", b"%d" % push.expires_at),
            NeverIndexedHeaderTuple(b"apns-request-id", push.push_id.encode()),
        ]
        host = self.hosts[push.address.environment]
        result, _ = await ask(host, self.token, TABLE, f"/4/broadcasts/apps/{app}", headers, body)
        if result.outcome is not Outcome.ACCEPTED:
            logger.info("push over a channel of %s: %d %s", app, result.status, result.reason)
        return result

    async def open_channel(self, environment: str, app: str) -> Opening:
        body = orjson.dumps({"message-storage-policy": KEEPS_NEWEST, "push-type": "LiveActivity"})
        result, answer = await self._manage(b"POST", environment, app, "channels", body=body)
        name = answer.headers.get(OPENED, b"").decode(errors="replace")
        id = name if result.outcome is Outcome.ACCEPTED and SAFE_CHANNEL.fullmatch(name) else None
        refused = 300 <= result.status < 500
        return Opening(result, id, unknown=id is None and answer.sent and not refused)

    async def close_channel(self, environment: str, app: str, channel_id: str) -> PushResult:
        result, _ = await self._manage(b"DELETE", environment, app, "channels", channel_id)
        return result

    async def list_channels(self, environment: str, app: str) -> tuple[PushResult, set[str]]:
        """All the channels of an app."""
        result, answer = await self._manage(b"GET", environment, app, "all-channels")
        ids = read_object(answer.body).get("channels")
        if result.outcome is Outcome.ACCEPTED and not isinstance(ids, list):
            return PushResult(Outcome.RETRY, result.status, "a list without channels"), set()
        return result, {str(each) for each in ids or ()}

    async def _manage(
        self, method: bytes, environment: str, app: str, what: str, channel_id: str | None = None, *, body: bytes = b""
    ) -> tuple[PushResult, Answer]:
        """The answer of the host that manages channels, and what it means."""
        if not SAFE_BUNDLE.fullmatch(app):
            return PushResult(Outcome.REJECTED, 0, "BadBundleId: not to be sent in a path"), Answer(0, b"", sent=False)
        headers: list[Any] = []
        if channel_id is not None:
            headers.append(NeverIndexedHeaderTuple(OPENED, channel_id.encode()))
        return await ask(
            self.managers[environment],
            self.token,
            TABLE,
            f"/1/apps/{app}/{what}",
            headers,
            body,
            method=method,
            most_received=LARGEST_LIST_BYTES,
        )

    async def close(self) -> None:
        for host in self.managers.values():
            await host.close()
