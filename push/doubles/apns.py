"""A double of Apple's push service: real HTTP/2 over TLS, that behaves like Apple, and can be asked to misbehave.

It is also a command, to try push without Apple:

    python -m push.doubles.apns --folder /tmp/apple

prints the settings that point a server to it, and each push that arrives.
"""

import argparse
import asyncio
import json
import ssl
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import jwt
import trustme
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import DataReceived, RequestReceived, StreamEnded, StreamReset
from h2.exceptions import ProtocolError
from h2.settings import SettingCodes
from hyperframe.frame import SettingsFrame

from push.doubles.apple_device import AppleDevice, ShownActivity

# Far above what the slowest machine needs.
HANG_SECONDS = 120.0

TEAM, KEY_ID, TOPIC = "TEAM123456", "KEY1234567", "org.example.app"
STREAMS = 1000
TYPES = {"alert", "background", "liveactivity", "voip", "complication", "fileprovider", "mdm", "location", "pushtotalk"}


@dataclass
class ApnsPush:
    """What arrived, and what was answered: a status, or 0 with what was done instead."""

    token: str
    headers: dict[str, str]
    payload: Any
    size: int
    at: float
    connection: int
    status: int = -1
    reason: str = ""

    @property
    def id(self) -> str:
        return self.headers["apns-id"]

    @property
    def collapse_id(self) -> str | None:
        return self.headers.get("apns-collapse-id")


@dataclass
class ApnsFault:
    """``kind``: status, reset, silence, late, goaway, abort, empty (a body of an empty frame), bodiless, garbage.

    With ``forever`` every later push to the token gets the same answer.
    """

    kind: str
    status: int = 503
    reason: str = "ServiceUnavailable"
    timestamp: int | None = None
    seconds: float = 30.0
    forever: bool = False


Plan = Callable[[ApnsPush], ApnsFault | None]


class Apple:
    """``async with Apple() as apple``. ``plan`` may say for each push what goes wrong with it."""

    def __init__(self, *, delay: float = 0.0, plan: Plan = lambda push: None, strict_tokens: bool = True) -> None:
        self.delay = delay
        self.plan = plan
        self.strict_tokens = strict_tokens
        self.pushes: list[ApnsPush] = []
        self.keep = True
        self.count = 0
        self.connections = 0
        self.open: set[Connection] = set()
        self.held: list[Callable[[], None]] | None = None
        self.providers: deque[tuple[str, float]] = deque(maxlen=16)
        self.dead: dict[str, int] = {}
        self.after_dead: list[ApnsPush] = []
        # By the token that starts something on them.
        self.devices: dict[str, AppleDevice] = {}
        # What was started, by its own token.
        self.activities: dict[str, ShownActivity] = {}
        self.changed = asyncio.Event()
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.ca = trustme.CA()
        self.server: asyncio.Server | None = None
        self.port = 0

    async def __aenter__(self) -> "Apple":
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self, port: int = 0) -> None:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.ca.issue_cert("localhost", "127.0.0.1").configure_cert(tls)
        tls.set_alpn_protocols(["h2"])
        loop = asyncio.get_running_loop()
        self.server = await loop.create_server(lambda: Connection(self), "127.0.0.1", port or self.port, ssl=tls)
        self.port = self.server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Stop listening, and cut all connections."""
        if self.server:
            self.server.close()
            self.server = None
        for connection in list(self.open):
            connection.abort()
        await asyncio.sleep(0)

    def withhold(self) -> None:
        """Answer nothing until ``release``, to which all that comes meanwhile is kept."""
        self.held = []

    def release(self) -> None:
        held, self.held = self.held or [], None
        for answer in held:
            answer()

    def write_files(self, folder: Path) -> dict[str, str]:
        """The key and the certificate, and the settings that name them."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "key.p8").write_text(self.private_key)
        self.ca.cert_pem.write_to_path(str(folder / "ca.pem"))
        return {
            "apns_key": str(folder / "key.p8"),
            "apns_key_id": KEY_ID,
            "apns_team_id": TEAM,
            "apns_topic": TOPIC,
            "apns_host": "localhost",
            "apns_port": str(self.port),
            "apns_ca": str(folder / "ca.pem"),
        }

    @property
    def private_key(self) -> str:
        return self.key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ).decode()

    # What the tests ask

    def of(self, token: str) -> list[ApnsPush]:
        return [push for push in self.pushes if push.token == token]

    @property
    def good(self) -> list[ApnsPush]:
        return [push for push in self.pushes if push.status == 200]

    async def until(self, check: Callable[[], Any], seconds: float = HANG_SECONDS) -> Any:
        async with asyncio.timeout(seconds):
            while not (found := check()):
                self.changed.clear()
                await self.changed.wait()
            return found

    # The phones behind it

    def device(self, start_token: str, ios: int = 17, **more: Any) -> AppleDevice:
        made = self.devices[start_token] = AppleDevice(start_token, ios, **more)
        return made

    def deliver(self, push: ApnsPush) -> None:
        """Show on the phone what was accepted."""
        aps = push.payload["aps"]
        if push.token in self.devices and aps.get("event") == "start":
            self.devices[push.token].start(aps)
        elif push.token in self.activities:
            self.activities[push.token].receive(aps)

    # Apple's rules

    def judge(self, push: ApnsPush) -> ApnsFault | None:
        """What Apple would refuse, before any fault that the plan has."""
        headers = push.headers
        refusal = self.refuse_token(headers.get("authorization", ""))
        if refusal:
            return refusal
        kind, topic = headers.get("apns-push-type"), headers.get("apns-topic", "")
        checks = [
            (not topic, 400, "MissingTopic"),
            (kind not in TYPES, 400, "InvalidPushType"),
            ((kind == "liveactivity") != topic.endswith(".push-type.liveactivity"), 400, "TopicDisallowed"),
            (not topic.startswith(TOPIC), 400, "DeviceTokenNotForTopic"),
            (push.size == 0, 400, "PayloadEmpty"),
            (push.size > 4096, 413, "PayloadTooLarge"),
            (len(headers.get("apns-collapse-id", "").encode()) > 64, 400, "BadCollapseId"),
            (not headers.get("apns-expiration", "0").isdigit(), 400, "BadExpirationDate"),
            (0 < int(headers.get("apns-expiration", "0")) < time.time(), 400, "BadExpirationDate"),
            (headers.get("apns-priority", "10") not in ("1", "5", "10"), 400, "BadPriority"),
            (kind == "background" and headers.get("apns-priority") == "10", 400, "BadPriority"),
            (not isinstance(push.payload, dict) or "aps" not in push.payload, 400, "PayloadEmpty"),
        ]
        for wrong, status, reason in checks:
            if wrong:
                return ApnsFault("status", status, reason)
        if push.token in self.dead:
            self.after_dead.append(push)
            return ApnsFault("status", 410, "Unregistered", self.dead[push.token])
        return None

    def refuse_token(self, authorization: str) -> ApnsFault | None:
        token = authorization.removeprefix("bearer ")
        if any(token == known for known, _ in self.providers):
            return None
        try:
            claims = jwt.decode(token, self.key.public_key(), algorithms=["ES256"], options={"verify_iat": False})
            header = jwt.get_unverified_header(token)
        except jwt.PyJWTError:
            return ApnsFault("status", 403, "InvalidProviderToken")
        if header.get("kid") != KEY_ID or claims.get("iss") != TEAM:
            return ApnsFault("status", 403, "InvalidProviderToken")
        if abs(time.time() - claims.get("iat", 0)) > 3600:
            return ApnsFault("status", 403, "ExpiredProviderToken")
        if self.strict_tokens and any(time.time() - at < 20 * 60 for _, at in self.providers):
            return ApnsFault("status", 429, "TooManyProviderTokenUpdates")
        self.providers.append((token, time.time()))
        return None


@dataclass(eq=False)
class Request:
    headers: dict[str, str]
    body: bytearray = field(default_factory=bytearray)


class Connection(asyncio.Protocol):
    """One stream at a time until the first good push."""

    def __init__(self, apple: Apple) -> None:
        self.apple = apple
        self.h2 = H2Connection(H2Configuration(client_side=False, header_encoding="utf-8"))
        self.h2.local_settings[SettingCodes.MAX_CONCURRENT_STREAMS] = 100_000
        self.transport: Any = None
        self.streams: dict[int, Request] = {}
        self.allowed = 1
        self.number = 0

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.apple.connections += 1
        self.number = self.apple.connections
        self.apple.open.add(self)
        self.h2.initiate_connection()
        self.write()
        self.advertise(1)

    def advertise(self, streams: int) -> None:
        self.allowed = streams
        self.transport.write(SettingsFrame(0, {SettingsFrame.MAX_CONCURRENT_STREAMS: streams}).serialize())

    def connection_lost(self, exc: Exception | None) -> None:
        self.apple.open.discard(self)
        self.transport = None

    def abort(self) -> None:
        if self.transport:
            self.transport.abort()

    def write(self) -> None:
        data = self.h2.data_to_send()
        if self.transport and data:
            self.transport.write(data)

    def data_received(self, data: bytes) -> None:
        try:
            for event in self.h2.receive_data(data):
                if isinstance(event, RequestReceived):
                    self.requested(event.stream_id, dict(event.headers))
                elif isinstance(event, DataReceived):
                    self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                    if event.stream_id in self.streams:
                        self.streams[event.stream_id].body += event.data
                elif isinstance(event, StreamEnded) and event.stream_id in self.streams:
                    self.arrived(event.stream_id, self.streams[event.stream_id])
                elif isinstance(event, StreamReset):
                    self.streams.pop(event.stream_id, None)
        except ProtocolError:
            self.abort()
        self.write()

    def requested(self, stream: int, headers: Any) -> None:
        if len(self.streams) >= self.allowed:
            self.h2.reset_stream(stream, ErrorCodes.REFUSED_STREAM)
            return
        self.streams[stream] = Request({str(name): str(value) for name, value in headers.items()})

    def arrived(self, stream: int, request: Request) -> None:
        token = request.headers[":path"].removeprefix("/3/device/")
        try:
            payload = json.loads(request.body) if request.body else None
        except ValueError:
            payload = None
        push = ApnsPush(token, request.headers, payload, len(request.body), time.time(), self.number)
        apple = self.apple
        apple.count += 1
        if apple.keep:
            apple.pushes.append(push)
        fault = apple.judge(push) or apple.plan(push) or ApnsFault("status", 200, "")
        if fault.forever and fault.timestamp:
            apple.dead.setdefault(token, fault.timestamp)
        if fault.kind == "silence":
            self.done(push, 0, "silence")
            return
        delay = apple.delay + (fault.seconds if fault.kind == "late" else 0)
        if apple.held is not None:
            apple.held.append(partial(self.answer, stream, push, fault))
        elif delay:
            asyncio.get_running_loop().call_later(delay, self.answer, stream, push, fault)
        else:
            self.answer(stream, push, fault)

    def done(self, push: ApnsPush, status: int, reason: str) -> None:
        push.status, push.reason = status, reason
        self.apple.changed.set()

    def answer(self, stream: int, push: ApnsPush, fault: ApnsFault) -> None:
        if self.transport is None or stream not in self.streams:
            return self.done(push, 0, "the server has stopped")
        try:
            self.act(stream, push, fault)
        except ProtocolError:
            self.done(push, 0, "the server has stopped")
        self.write()
        return None

    def act(self, stream: int, push: ApnsPush, fault: ApnsFault) -> None:
        if fault.kind == "abort":
            self.done(push, 0, "abort")
            return self.abort()
        if fault.kind == "goaway":
            self.done(push, 0, "goaway")
            self.h2.close_connection(last_stream_id=max(stream - 2, 0), additional_data=b'{"reason":"Shutdown"}')
            self.write()
            self.transport.close()
            return None
        self.streams.pop(stream)
        if fault.kind == "reset":
            self.done(push, 0, "reset")
            return self.h2.reset_stream(stream, ErrorCodes.INTERNAL_ERROR)
        good = fault.kind in ("empty", "late") or fault.status == 200
        status = 200 if good else fault.status
        headers = [(":status", str(status)), ("apns-id", push.id)]
        if fault.kind == "empty":
            self.h2.send_headers(stream, headers)
            self.h2.send_data(stream, b"")
            self.h2.send_data(stream, b"", end_stream=True)
        elif good or fault.kind == "bodiless":
            self.h2.send_headers(stream, headers, end_stream=True)
        else:
            asked = {"reason": fault.reason} | ({"timestamp": fault.timestamp} if fault.timestamp else {})
            body = b"<html>" if fault.kind == "garbage" else json.dumps(asked).encode()
            self.h2.send_headers(stream, headers)
            self.h2.send_data(stream, body, end_stream=True)
        self.write()
        if good and self.allowed == 1:
            self.advertise(STREAMS)
        if good:
            self.apple.deliver(push)
        self.done(push, status, "" if good else fault.reason)
        return None


async def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m push.doubles.apns", description=__doc__.split("\n")[0] if __doc__ else ""
    )
    parser.add_argument("--folder", type=Path, default=Path("apple"), help="where the key and the certificate go")
    parser.add_argument("--port", type=int, default=0, help="port to listen on; 0 takes a free one")
    parser.add_argument("--delay", type=float, default=0.0, help="seconds until an answer")
    parser.add_argument("--quiet", action="store_true", help="count instead of printing each push")
    options = parser.parse_args()
    apple = Apple(delay=options.delay)
    apple.keep = False
    if not options.quiet:
        apple.plan = lambda push: print(
            push.token, push.headers["apns-push-type"], json.dumps(push.payload), flush=True
        )
    await apple.start(options.port)
    for name, value in apple.write_files(options.folder).items():
        print(f"BELLWIRE_{name.upper()}={value}", flush=True)
    print(flush=True)
    while True:
        before = apple.count
        await asyncio.sleep(1)
        if options.quiet and apple.count > before:
            print(f"{apple.count} pushes, {apple.count - before} in the last second", flush=True)


if __name__ == "__main__":
    asyncio.run(main())
