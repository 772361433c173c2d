"""A double of the push services of browsers, over HTTPS: it checks VAPID, decrypts, and answers as one of four of them does.

The flavours are ``google``, ``mozilla``, ``apple`` and ``windows``. It is also a command, to try Web Push without a browser:

    python -m push.doubles.webpush --folder /tmp/browsers

prints the settings that point a server to it, the body of a registration, and each message that arrives.
"""

import argparse
import asyncio
import json
import os
import re
import secrets
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import http_ece
import jwt
import trustme
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import ec

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
    """A browser's. What is shown is replaced under its ``tag``; the service worker drops what it has shown."""

    endpoint: str
    flavour: str
    # The VAPID key that it was made with; any, where it is empty.
    key: str
    private: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(CURVE))
    auth: bytes = field(default_factory=lambda: os.urandom(16))
    gone: bool = False
    shown: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    push_ids: set[str] = field(default_factory=set)

    @property
    def body(self) -> dict[str, Any]:
        """As a browser registers it."""
        keys = {"p256dh": base64url(public_bytes(self.private.public_key())), "auth": base64url(self.auth)}
        return {"platform": "web", "endpoint": self.endpoint, "keys": keys}

    def show(self, message: dict[str, Any]) -> None:
        notification = message["notification"]
        if notification["data"]["pushId"] not in self.push_ids:
            self.push_ids.add(notification["data"]["pushId"])
            self.shown.setdefault(notification["tag"], []).append(notification)


class PushService:
    """``async with PushService() as service``. ``plan`` may say for each message what goes wrong with it."""

    def __init__(
        self, *, delay: float = 0.0, plan: Callable[[Received], WebPushFault | None] = lambda received: None
    ) -> None:
        self.delay = delay
        self.plan = plan
        self.received: list[Received] = []
        self.keep = True
        self.count = 0
        self.subscriptions: dict[str, Subscription] = {}
        # JWTs, by origin: one is to serve for hours.
        self.tokens: dict[str, set[str]] = {}
        self.changed = asyncio.Event()
        self.ca = trustme.CA()
        self.runner: web.AppRunner | None = None
        self.port = 0

    async def __aenter__(self) -> "PushService":
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self) -> None:
        app = web.Application(client_max_size=2 * LARGEST_BODY_BYTES)
        app.router.add_post("/wpush/{id}", self._receive)
        # Many browsers with the keys of one.
        app.router.add_post("/wpush/{id}/{number}", self._receive)
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.ca.issue_cert("localhost", "127.0.0.1").configure_cert(tls)
        self.runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self.runner.setup()
        await web.TCPSite(self.runner, "127.0.0.1", self.port, ssl_context=tls).start()
        self.port = self.runner.addresses[0][1]

    async def stop(self) -> None:
        """Nobody listens any more, and all connections are closed."""
        if self.runner:
            await self.runner.cleanup()
            self.runner = None

    @property
    def origin(self) -> str:
        return f"https://localhost:{self.port}"

    def subscribe(self, flavour: str = "google", key: str = "") -> Subscription:
        id = secrets.token_urlsafe(24)
        made = self.subscriptions[id] = Subscription(f"{self.origin}/wpush/{id}", flavour, key)
        return made

    async def until(self, condition: Callable[[], Any], seconds: float = 30.0) -> None:
        async with asyncio.timeout(seconds):
            while not condition():
                self.changed.clear()
                await self.changed.wait()

    def write_files(self, folder: Path) -> dict[str, str]:
        """The certificate, and the settings that name it and allow this push service."""
        folder.mkdir(parents=True, exist_ok=True)
        self.ca.cert_pem.write_to_path(str(folder / "ca.pem"))
        return {
            "push_ca": str(folder / "ca.pem"),
            "push_private": "true",
            "webpush_hosts": "localhost",
            "vapid_subject": "mailto:operator@example.org",
        }

    async def _receive(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        subscription = self.subscriptions.get(request.match_info["id"])
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
            return web.Response(status=201, headers={"Location": f"{self.origin}/m/{self.count}"})
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
            claims = jwt.decode(fields["t"], key, algorithms=["ES256"], audience=self.origin)
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


async def serve(folder: Path, *, delay: float, quiet: bool) -> None:
    async with PushService(delay=delay) as service:
        service.keep = False
        if not quiet:
            service.plan = show
        for name, value in service.write_files(folder).items():
            print(f"BELLWIRE_{name.upper()}={value}")
        print(flush=True)
        print(json.dumps({"deviceId": "browser", **service.subscribe().body}), flush=True)
        await asyncio.Event().wait()


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m push.doubles.webpush", description=__doc__.split("\n")[0] if __doc__ else ""
    )
    parser.add_argument("--folder", type=Path, required=True, help="where the certificate is written")
    parser.add_argument("--delay", type=float, default=0.0, help="seconds before each answer")
    parser.add_argument("--quiet", action="store_true", help="do not print the messages")
    asked = parser.parse_args()
    asyncio.run(serve(asked.folder, delay=asked.delay, quiet=asked.quiet))


if __name__ == "__main__":
    main()
