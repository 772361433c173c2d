"""The channels of apps at Apple's double: opened, closed and listed, and pushes to all who listen."""

import base64
import json
import secrets
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from push.doubles.apple_device import AppleDevice

MOST_CHANNELS = 10_000
LARGEST_BODY_BYTES = 5120
KEPT_SECONDS = 8 * 3600


@dataclass
class AppleChannel:
    """``policy`` 1 keeps the newest push for devices that are off."""

    policy: int
    kept: Any = None
    kept_until: int = 0
    # All that was sent, in order.
    sent: list[Any] = field(default_factory=list)


@dataclass
class ChannelRequest:
    """What was asked of the host that manages channels, or a push over one, and the status of the answer; 0 for none."""

    kind: Literal["open", "close", "read", "list", "push"]
    app: str
    channel: str
    payload: Any
    headers: dict[str, str]
    at: float
    status: int = -1


@dataclass
class ChannelFault:
    """``status`` and ``reason`` are answered; with status 0 nothing is. ``done`` says that it is done in spite of it.

    ``nameless`` is a 201 without the name of what was opened. The answer comes after so many ``seconds``.
    """

    status: int = 503
    reason: str = "ServiceUnavailable"
    done: bool = False
    nameless: bool = False
    seconds: float = 0.0


class AppleChannels:
    """By app, the channels by their names."""

    def __init__(self) -> None:
        self.by_app: dict[str, dict[str, AppleChannel]] = {}
        self.requests: list[ChannelRequest] = []
        self.limit = MOST_CHANNELS

    @property
    def ids(self) -> set[str]:
        return {id for channels in self.by_app.values() for id in channels}

    def make(self, app: str, policy: int = 1) -> str:
        """A new channel; its name."""
        id = base64.b64encode(secrets.token_bytes(16)).decode()
        self.by_app.setdefault(app, {})[id] = AppleChannel(policy)
        return id

    def wrong_with(self, request: ChannelRequest, size: int) -> tuple[int, str] | None:
        """The status and the reason of the answer to what Apple would refuse."""
        own = self.by_app.get(request.app, {})
        if request.kind in ("close", "read", "push"):
            if not request.channel:
                return 400, "MissingChannelId"
            if request.channel not in own:
                return 400, "ChannelNotRegistered"
        if request.kind == "open":
            body = request.payload if isinstance(request.payload, dict) else {}
            if body.get("push-type") != "LiveActivity" or body.get("message-storage-policy") not in (0, 1):
                return 400, "BadRequestParams"
            if len(own) >= self.limit:
                return 400, "CannotCreateChannelConfig"
        if request.kind == "push":
            return self._wrong_with_push(request, own[request.channel], size)
        return None

    def _wrong_with_push(self, request: ChannelRequest, channel: AppleChannel, size: int) -> tuple[int, str] | None:
        headers, aps = request.headers, (request.payload or {}).get("aps", {})
        expiration = headers.get("apns-expiration", "")
        if headers.get("apns-push-type") != "liveactivity" or "apns-topic" in headers:
            return 400, "InvalidPushType"
        if not expiration.isdigit() or (channel.policy == 0 and expiration != "0"):
            return 400, "BadExpirationDate"
        if headers.get("apns-priority") not in ("1", "5", "10"):
            return 400, "BadPriority"
        if size > LARGEST_BODY_BYTES:
            return 413, "PayloadTooLarge"
        if aps.get("event") not in ("update", "end"):
            return 400, "BadRequestParams"
        return None

    def do(self, request: ChannelRequest, devices: list["AppleDevice"]) -> tuple[str, bytes]:
        """The name of what was opened and the body of the answer, where there are some."""
        own = self.by_app.setdefault(request.app, {})
        match request.kind:
            case "open":
                return self.make(request.app, request.payload["message-storage-policy"]), b""
            case "close":
                del own[request.channel]
            case "read":
                policy = own[request.channel].policy
                return "", json.dumps({"message-storage-policy": policy, "push-type": "LiveActivity"}).encode()
            case "list":
                return "", json.dumps({"channels": [*own]}).encode()
            case "push":
                aps = request.payload["aps"]
                # An update that is not of now is dropped.
                if aps["event"] == "end" or abs(aps["timestamp"] - time.time()) < KEPT_SECONDS:
                    channel = own[request.channel]
                    channel.sent.append(aps)
                    channel.kept = aps if channel.policy == 1 else None
                    expires_at = int(request.headers["apns-expiration"])
                    channel.kept_until = min(expires_at, int(request.at) + KEPT_SECONDS)
                    for each in devices:
                        each.receive(request.channel, aps)
        return "", b""
