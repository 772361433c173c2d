"""A double of the push services of browsers, over HTTPS: it checks VAPID, decrypts, and answers as one of four of them does.

The flavours are ``google``, ``mozilla``, ``apple`` and ``windows``. It is also a command, to try Web Push without a browser:

    python -m push.doubles.webpush --folder /tmp/browsers

prints the settings that point a server to it, the body of a registration, and each message that arrives.
"""

import asyncio
import json
import os
import re
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import http_ece
import jwt
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import ec

from push.doubles.https_double import HttpsDouble, run_command
from push.webpush_encryption import CURVE, base64url, from_base64url, public_bytes

LARGEST_BODY_BYTES = 4096
LONGEST_VAPID_SECONDS = 24 * 3600
TOPIC = re.compile(r"[A-Za-z0-9_-]{1,32}")
SUBJECT = re.compile(r"mailto:[^@\s]+@[^@\s]+\.[^@\s]+|https://(?!localhost)[^/\s]+.*")
# As Google says it.
OTHER_KEY = "the VAPID credentials do not correspond to those used to create the subscription"
FLAVOURS = ("google", "mozilla", "apple", "windows")


@dataclass
class Received:
    """What arrived for a subscription, decrypted, and the status of the answer; 0 where there was none."""

    subscription: "Subscription"
    headers: dict[str, str]
    body: bytes
    message: dict[str, Any]
    at: float
    status: int = 0


@dataclass
class WebPushFault:
    """``kind``: status, late, silence, close, redirect. ``reason`` is the push service's own word."""

    kind: str = "status"
    status: int = 503
    reason: str = ""
    retry_after: str = ""
    seconds: float = 30.0
    location: str = "https://127.0.0.1/"
    accepted: bool = False


@dataclass
class Subscription:
    """A browser's. What is shown is replaced under its ``tag``, but by Safari, where each push shows a notification."""

    endpoint: str
    flavour: str
    # The VAPID key that it was made with; any, where it is empty.
    key: str
    private: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(CURVE))
    auth: bytes = field(default_factory=lambda: os.urandom(16))
    gone: bool = False
    # Requests that came after it was gone.
    refused: int = 0
    shown: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    push_ids: set[str] = field(default_factory=set)

    @property
    def body(self) -> dict[str, Any]:
        """As a browser registers it."""
        keys = {"p256dh": base64url(public_bytes(self.private.public_key())), "auth": base64url(self.auth)}
        return {"platform": "web", "endpoint": self.endpoint, "keys": keys}

    def show(self, message: dict[str, Any]) -> None:
        notification = message["notification"]
        if self.flavour == "apple" or notification["data"]["pushId"] not in self.push_ids:
            self.push_ids.add(notification["data"]["pushId"])
            self.shown.setdefault(notification["tag"], []).append(notification)


class PushService(HttpsDouble):
    """``async with PushService() as service``. ``plan`` may say for each message what goes wrong with it."""

    def __init__(
        self, *, delay: float = 0.0, plan: Callable[[Received], WebPushFault | None] = lambda received: None
    ) -> None:
        # The second path is that of many browsers with the keys of one.
        super().__init__({"/wpush/{id}": self._receive, "/wpush/{id}/{number}": self._receive}, delay=delay)
        self.plan = plan
        self.received: list[Received] = []
        self.subscriptions: dict[str, Subscription] = {}
        # JWTs, by origin: one is to serve for hours.
        self.tokens: dict[str, set[str]] = {}

    def subscribe(self, flavour: str = "google", key: str = "") -> Subscription:
        id = secrets.token_urlsafe(24)
        made = self.subscriptions[id] = Subscription(f"{self.url}/wpush/{id}", flavour, key)
        return made

    def write_files(self, folder: Path) -> dict[str, str]:
        """The certificate, and the settings that name it and allow this push service."""
        allowed = {"webpush_hosts": "localhost", "vapid_subject": "mailto:operator@example.org"}
        return super().write_files(folder) | allowed

    async def _receive(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        subscription = self.subscriptions.get(request.match_info["id"])
        if subscription:
            subscription.refused += subscription.gone
        if subscription is None or subscription.gone:
            return answer_of("google" if subscription is None else subscription.flavour, 410, "Unregistered")
        flavour = subscription.flavour
        problem = self._wrong_with(request, subscription, body)
        if problem:
            return answer_of(flavour, *problem)
        message = json.loads(
            http_ece.decrypt(body, private_key=subscription.private, auth_secret=subscription.auth, version="aes128gcm")
        )
        received = Received(subscription, dict(request.headers), body, message, time.time())
        self.count += 1
        if self.keep:
            self.received.append(received)
        self.changed.set()
        if self.delay:
            await asyncio.sleep(self.delay)
        fault = self.plan(received)
        if fault is None or fault.accepted:
            subscription.show(message)
        received.status = 201 if fault is None else fault.status if fault.kind == "status" else 0
        self.changed.set()
        if fault is None:
            return web.Response(status=201, headers={"Location": f"{self.url}/m/{self.count}"})
        match fault.kind:
            case "late":
                await asyncio.sleep(fault.seconds)
                return web.Response(status=201)
            case "silence":
                await asyncio.sleep(3600)
            case "close":
                assert request.transport
                request.transport.close()
            case "redirect":
                return web.Response(status=307, headers={"Location": fault.location})
        return answer_of(flavour, fault.status, fault.reason, fault.retry_after)

    def _wrong_with(self, request: web.Request, subscription: Subscription, body: bytes) -> tuple[int, str] | None:
        """The status and the reason of an answer to a request that is not as it should be."""
        flavour = subscription.flavour
        ttl = request.headers.get("TTL", "")
        if not ttl.isdigit() or (flavour == "windows" and ttl == "0"):
            return 400, "BadTtl"
        topic = request.headers.get("Topic")
        if topic is not None and (not TOPIC.fullmatch(topic) or (flavour == "apple" and len(topic) % 4 == 1)):
            return 400, "BadWebPushTopic"
        if request.headers.get("Content-Encoding") != "aes128gcm":
            return 400, "BadContentEncoding"
        if len(body) > LARGEST_BODY_BYTES:
            return (400 if flavour == "google" else 413), "PayloadTooLarge"
        authorization = request.headers.get("Authorization", "")
        if not authorization:
            return (401 if flavour in ("google", "mozilla") else 403), "MissingAuthorization"
        return self._wrong_with_vapid(authorization, subscription)

    def _wrong_with_vapid(self, authorization: str, subscription: Subscription) -> tuple[int, str] | None:
        fields = dict(each.strip().split("=", 1) for each in authorization.removeprefix("vapid ").split(","))
        try:
            key = ec.EllipticCurvePublicKey.from_encoded_point(CURVE, from_base64url(fields["k"]))
            claims = jwt.decode(fields["t"], key, algorithms=["ES256"], audience=self.url)
        except (jwt.PyJWTError, ValueError, KeyError):
            return 403, "BadJwtToken"
        if not time.time() < claims["exp"] <= time.time() + LONGEST_VAPID_SECONDS:
            return 403, "BadJwtToken"
        if not SUBJECT.fullmatch(claims.get("sub", "")):
            return 403, "BadJwtToken"
        self.tokens.setdefault(claims["aud"], set()).add(fields["t"])
        if subscription.key and subscription.key != fields["k"]:
            return other_key(subscription.flavour)
        return None


def other_key(flavour: str) -> tuple[int, str]:
    if flavour == "apple":
        return 400, "VapidPkHashMismatch"
    if flavour == "mozilla":
        return 401, "VAPID public key mismatch"
    return 403, OTHER_KEY


def answer_of(flavour: str, status: int, reason: str, retry_after: str = "") -> web.Response:
    headers = {"Retry-After": retry_after} if retry_after else {}
    match flavour:
        case "mozilla":
            numbers = {401: 109, 404: 102, 410: 106, 413: 104, 429: 201}
            said = {"code": status, "errno": numbers.get(status, 999), "error": "", "message": reason}
            return web.json_response(said, status=status, headers=headers)
        case "apple":
            return web.json_response({"reason": reason}, status=status, headers=headers)
        case "windows":
            return web.Response(status=status, headers={**headers, "X-WNS-ERROR-DESCRIPTION": reason})
    return web.Response(status=status, text=reason, headers=headers)


def show(received: Received) -> WebPushFault | None:
    print(json.dumps({"endpoint": received.subscription.endpoint, **received.message}), flush=True)
    return None


def registration(service: HttpsDouble) -> str:
    """The body of a registration."""
    assert isinstance(service, PushService)
    return json.dumps({"deviceId": "browser", **service.subscribe().body})


if __name__ == "__main__":
    run_command(
        "webpush",
        lambda delay, quiet: PushService(delay=delay) if quiet else PushService(delay=delay, plan=show),
        registration,
    )
