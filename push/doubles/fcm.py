"""A double of Firebase Cloud Messaging and of Google's token endpoint, over HTTPS, with a model of the phones behind it.

It is also a command, to try push to Android without Google:

    python -m push.doubles.fcm --folder /tmp/google

prints the settings that point a server to it, and each message that arrives.
"""

import asyncio
import inspect
import json
import re
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jwt
from aiohttp import web
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from push.doubles.https_double import HttpsDouble, run_command

PROJECT = "example-project"
EMAIL = f"push@{PROJECT}.iam.gserviceaccount.com"
SCOPE = "https://www.googleapis.com/auth/firebase.messaging"
GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"
TOKEN_SECONDS = 3599
LARGEST_DATA_BYTES = 4096
STORED_MESSAGES = 100
STORED_KEYS = 4
MESSAGE_FIELDS = {"token", "fid", "data", "android", "notification"}
ANDROID_FIELDS = {
    "collapse_key", "priority", "ttl", "restricted_package_name", "data", "notification", "direct_boot_ok",
}  # fmt: skip
RESERVED = re.compile(r"from|message_type|google.*|gcm.*")
TTL = re.compile(r"(\d+)(\.\d{1,9})?s")
LONGEST_TTL_SECONDS = 2_419_200


@dataclass
class FcmMessage:
    """What arrived, and the status of the answer; 0 where there was none."""

    token: str
    document: dict[str, Any]
    at: float
    status: int = 0

    @property
    def data(self) -> dict[str, str]:
        return dict(self.document["data"])

    @property
    def android(self) -> dict[str, Any]:
        return dict(self.document["android"])


@dataclass
class FcmFault:
    """``kind``: status (an error with a code), late, silence, close (the connection, before an answer), cut (in the middle of
    the body), last (a good answer, and then the connection closes), html, empty.

    ``accepted`` says that the message goes to the phone in spite of it.
    """

    kind: str = "status"
    status: int = 503
    code: str = "UNAVAILABLE"
    text: str = "The service is currently unavailable."
    field: str = ""
    device_quota: bool = False
    retry_after: str = ""
    seconds: float = 30.0
    accepted: bool = False


@dataclass
class LiveUpdate:
    """The ongoing notification of a stream, as the app keeps it: the newest state, whatever the order of arrival."""

    stamp: int = 0
    state: Any = None
    shown: bool = False
    starts: int = 0
    ends: int = 0

    def receive(self, data: dict[str, str]) -> None:
        event, stamp = data["event"], int(data["timestamp"])
        if stamp > self.stamp:
            self.stamp, self.state = stamp, json.loads(data["contentState"])
        if event == "start" and not self.shown and not self.ends:
            self.shown, self.starts = True, self.starts + 1
        if event == "end" and not self.ends:
            self.shown, self.ends = False, 1


@dataclass
class AndroidDevice:
    """As Google and the app behave: what is shown is replaced under its ``tag``, a second copy of a push is dropped."""

    online: bool = True
    stored: list[dict[str, Any]] = field(default_factory=list)
    # What was shown, each time, by tag.
    shown: dict[str, list[dict[str, str]]] = field(default_factory=dict)
    # Live updates, by tag.
    live: dict[str, LiveUpdate] = field(default_factory=dict)
    push_ids: set[str] = field(default_factory=set)
    # Times that all that was stored was deleted: the app must fetch everything.
    resyncs: int = 0
    badge: int = 0

    def receive(self, message: dict[str, Any]) -> None:
        if self.online:
            return self._show(message["data"])
        key = message["android"].get("collapse_key")
        if key:
            self.stored = [each for each in self.stored if each["android"].get("collapse_key") != key]
            if len({each["android"].get("collapse_key") for each in self.stored} - {None}) >= STORED_KEYS:
                return None
        elif len(self.stored) >= STORED_MESSAGES:
            self.stored = []
            self.resyncs += 1
            return None
        self.stored.append(message)
        return None

    def go_online(self) -> None:
        self.online = True
        stored, self.stored = self.stored, []
        for each in stored:
            self._show(each["data"])

    def _show(self, data: dict[str, str]) -> None:
        if "badge" in data:
            self.badge = int(data["badge"])
        if data.get("type") != "badge" and data["pushId"] not in self.push_ids:
            self.push_ids.add(data["pushId"])
            if data.get("type") == "live":
                return self.live.setdefault(data["tag"], LiveUpdate()).receive(data)
            self.shown.setdefault(data["tag"], []).append(data)
        return None


# What goes wrong with a message; it may be found out in between.
FcmPlan = Callable[[FcmMessage], FcmFault | Awaitable[FcmFault | None] | None]


class Google(HttpsDouble):
    """``async with Google() as google``. ``plan`` may say for each message what goes wrong with it, ``token_plan`` for each
    request of a token.
    """

    def __init__(self, *, delay: float = 0.0, plan: FcmPlan = lambda message: None) -> None:
        super().__init__({"/token": self._token, "/v1/projects/{project}/messages:send": self._send}, delay=delay)
        self.plan = plan
        self.token_plan: Callable[[], FcmFault | None] = lambda: None
        self.messages: list[FcmMessage] = []
        self.devices: dict[str, AndroidDevice] = {}
        # Tokens that are not registered any more.
        self.unregistered: set[str] = set()
        self.bearers: set[str] = set()
        self.mints = 0
        # Requests of tokens at once, now and at most.
        self.minting = self.most_minting = 0
        self.key = rsa.generate_private_key(public_exponent=65537, key_size=2048)

    def device(self, token: str) -> AndroidDevice:
        return self.devices.setdefault(token, AndroidDevice())

    def write_files(self, folder: Path) -> dict[str, str]:
        """The key file and the certificate, and the settings that name them."""
        settings = super().write_files(folder)
        private = self.key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        account = {
            "type": "service_account", "project_id": PROJECT, "private_key_id": "key1", "client_email": EMAIL,
            "private_key": private.decode(), "token_uri": f"{self.url}/token",
        }  # fmt: skip
        (folder / "account.json").write_text(json.dumps(account))
        return settings | {"fcm_key": str(folder / "account.json"), "fcm_url": self.url}

    # The token endpoint

    async def _token(self, request: web.Request) -> web.StreamResponse:
        self.minting += 1
        self.most_minting = max(self.most_minting, self.minting)
        try:
            fault = self.token_plan()
            if fault:
                return await self._fail(request, fault, {"error": fault.code, "error_description": fault.text})
            form = await request.post()
            problem = self._wrong_with_assertion(form)
            if problem:
                return web.json_response({"error": "invalid_grant", "error_description": problem}, status=400)
            self.mints += 1
            bearer = f"ya29.{self.mints}"
            self.bearers.add(bearer)
            return web.json_response({"access_token": bearer, "expires_in": TOKEN_SECONDS, "token_type": "Bearer"})
        finally:
            self.minting -= 1

    def _wrong_with_assertion(self, form: Any) -> str | None:
        if form.get("grant_type") != GRANT:
            return "Bad grant_type"
        try:
            claims = jwt.decode(
                form.get("assertion", ""), self.key.public_key(), algorithms=["RS256"], audience=f"{self.url}/token"
            )
        except jwt.PyJWTError as error:
            return f"Invalid JWT: {error}"
        if claims.get("iss") != EMAIL or claims.get("scope") != SCOPE:
            return "Invalid issuer or scope"
        if claims["exp"] - claims["iat"] > 3600 or claims["iat"] > time.time():
            return "Token must be a short-lived token and in a reasonable timeframe"
        return None

    # Messages

    async def _send(self, request: web.Request) -> web.StreamResponse:
        if request.headers.get("Authorization", "").removeprefix("Bearer ") not in self.bearers:
            text = "Request had invalid authentication credentials."
            return web.json_response(error_of(401, "UNAUTHENTICATED", text), status=401)
        if request.match_info["project"] != PROJECT:
            return web.json_response(error_of(404, "NOT_FOUND", "Requested entity was not found."), status=404)
        body = await request.json()
        document = body.get("message")
        violation = wrong_with(document)
        if violation:
            return web.json_response(invalid(*violation), status=400)
        message = FcmMessage(document.get("token") or document.get("fid"), document, time.time())
        self.count += 1
        if self.keep:
            self.messages.append(message)
        self.changed.set()
        if self.delay:
            await asyncio.sleep(self.delay)
        if message.token in self.unregistered:
            message.status = 404
            return web.json_response(
                error_of(404, "NOT_FOUND", "Requested entity was not found.", "UNREGISTERED"), status=404
            )
        fault = self.plan(message)
        if inspect.isawaitable(fault):
            fault = await fault
        if (fault is None or fault.accepted) and not body.get("validate_only"):
            self.device(message.token).receive(document)
        if fault is None:
            message.status = 200
            self.changed.set()
            return web.json_response({"name": f"projects/{PROJECT}/messages/{self.count}"})
        message.status = fault.status if fault.kind == "status" else 0
        self.changed.set()
        return await self._fail(request, fault, body_of(fault))

    async def _fail(self, request: web.Request, fault: FcmFault, body: Any) -> web.StreamResponse:
        headers = {"Retry-After": fault.retry_after} if fault.retry_after else {}
        match fault.kind:
            case "late":
                await asyncio.sleep(fault.seconds)
                return web.json_response({"name": "late"})
            case "silence":
                await asyncio.sleep(3600)
            case "close":
                assert request.transport
                request.transport.close()
            case "cut":
                response = web.StreamResponse(headers={"Content-Length": "100"})
                await response.prepare(request)
                await response.write(b'{"na')
                assert request.transport
                request.transport.close()
                return response
            case "last":
                last = web.json_response({"name": f"projects/{PROJECT}/messages/{self.count}"})
                last.force_close()
                return last
            case "html":
                return web.Response(status=502, text="<html><title>Error 502</title></html>", content_type="text/html")
            case "empty":
                return web.Response(status=fault.status, headers=headers)
        return web.json_response(body, status=fault.status, headers=headers)


def wrong_with(document: Any) -> tuple[str, str] | None:
    """The field that is wrong in a message, and why; None for a good one."""
    if not isinstance(document, dict):
        return "message", "Message is missing"
    android = document.get("android", {})
    for unknown in [*(set(document) - MESSAGE_FIELDS), *(f"android.{each}" for each in set(android) - ANDROID_FIELDS)]:
        return f"message.{unknown}", "Unknown name: Cannot find field."
    if len([each for each in ("token", "fid") if document.get(each)]) != 1:
        return "message", "Exactly one of [fid, token, topic, condition] is required"
    data = document.get("data", {})
    for name, value in data.items():
        if not isinstance(value, str):
            return f"message.data[{name}]", "Invalid value (TYPE_STRING)"
        if RESERVED.fullmatch(name):
            return f"message.data[{name}]", "Invalid data payload key"
    if sum(len(name.encode()) + len(value.encode()) for name, value in data.items()) > LARGEST_DATA_BYTES:
        return "message", "Android message is too big"
    ttl = TTL.fullmatch(android.get("ttl", "0s"))
    if ttl is None or int(ttl[1]) > LONGEST_TTL_SECONDS:
        return "message.android.ttl", "Invalid TTL"
    if android.get("priority", "NORMAL") not in ("NORMAL", "HIGH"):
        return "message.android.priority", "Invalid value"
    return None


def error_of(status: int, name: str, text: str, code: str = "", details: list[Any] | None = None) -> dict[str, Any]:
    found = list(details or [])
    if code:
        found.append({"@type": "type.googleapis.com/google.firebase.fcm.v1.FcmError", "errorCode": code})
    error: dict[str, Any] = {"code": status, "message": text, "status": name}
    return {"error": {**error, "details": found} if found else error}


def invalid(where: str, text: str) -> dict[str, Any]:
    violations = {
        "@type": "type.googleapis.com/google.rpc.BadRequest",
        "fieldViolations": [{"field": where, "description": text}],
    }
    return error_of(400, "INVALID_ARGUMENT", text, "INVALID_ARGUMENT", [violations])


NAMES = {
    400: "INVALID_ARGUMENT", 401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED", 404: "NOT_FOUND",
    429: "RESOURCE_EXHAUSTED", 500: "INTERNAL", 503: "UNAVAILABLE",
}  # fmt: skip


def body_of(fault: FcmFault) -> dict[str, Any]:
    if fault.field:
        return invalid(fault.field, fault.text)
    details: list[Any] = []
    if fault.device_quota:
        details.append({
            "@type": "type.googleapis.com/google.rpc.QuotaFailure",
            "violations": [{"subject": "device:", "description": "Device message rate exceeded"}],
        })  # fmt: skip
    return error_of(fault.status, NAMES.get(fault.status, "UNKNOWN"), fault.text, fault.code, details)


def show(message: FcmMessage) -> FcmFault | None:
    print(json.dumps({"token": message.token, **message.data, "android": message.android}), flush=True)
    return None


if __name__ == "__main__":
    run_command("fcm", lambda delay, quiet: Google(delay=delay) if quiet else Google(delay=delay, plan=show))
