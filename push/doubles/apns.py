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
from pathlib import Path
from typing import Any

import jwt
import trustme
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from push.doubles.apple_channels import AppleChannels, ChannelFault, ChannelRequest
from push.doubles.apple_connection import ApnsFault, ApnsPush, AppleConnection
from push.doubles.apple_device import AppleDevice, ShownActivity

# Far above what the slowest machine needs.
HANG_SECONDS = 120.0

TEAM, KEY_ID, TOPIC = "TEAM123456", "KEY1234567", "org.example.app"
TYPES = {"alert", "background", "liveactivity", "voip", "complication", "fileprovider", "mdm", "location", "pushtotalk"}


Plan = Callable[[ApnsPush], ApnsFault | None]
ChannelPlan = Callable[[ChannelRequest], ChannelFault | None]


class Apple:
    """``async with Apple() as apple``. ``plan`` may say for each push what goes wrong with it, ``channel_plan`` for each
    request about channels.
    """

    def __init__(self, *, delay: float = 0.0, plan: Plan = lambda push: None, strict_tokens: bool = True) -> None:
        self.delay = delay
        self.plan = plan
        self.strict_tokens = strict_tokens
        self.pushes: list[ApnsPush] = []
        self.keep = True
        self.count = 0
        self.connections = 0
        self.open: set[AppleConnection] = set()
        self.held: list[Callable[[], None]] | None = None
        self.providers: deque[tuple[str, float]] = deque(maxlen=16)
        self.dead: dict[str, int] = {}
        self.after_dead: list[ApnsPush] = []
        self.channels = AppleChannels()
        self.channel_plan: ChannelPlan = lambda request: None
        # By the token that starts something on them.
        self.devices: dict[str, AppleDevice] = {}
        # What was started, by its own token.
        self.activities: dict[str, ShownActivity] = {}
        self.changed = asyncio.Event()
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.ca = trustme.CA()
        self.servers: list[asyncio.Server] = []
        # Of pushes, and of the requests that manage channels.
        self.port = self.manage_port = 0

    async def __aenter__(self) -> "Apple":
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self, port: int = 0) -> None:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.ca.issue_cert("localhost", "127.0.0.1").configure_cert(tls)
        tls.set_alpn_protocols(["h2"])
        self.port = await self._listen(port or self.port, tls)
        self.manage_port = await self._listen(self.manage_port, tls)

    async def _listen(self, port: int, tls: ssl.SSLContext) -> int:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: AppleConnection(self), "127.0.0.1", port, ssl=tls)
        self.servers.append(server)
        return int(server.sockets[0].getsockname()[1])

    async def stop(self) -> None:
        """Stop listening, and cut all connections."""
        for server in self.servers:
            server.close()
        self.servers = []
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
            "apns_manage_host": "localhost",
            "apns_manage_port": str(self.manage_port),
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

    def go_online(self, device: AppleDevice, after: float = 0.0) -> None:
        """The newest push of each channel that it listens to was kept for it; it was off for so many seconds."""
        device.online = True
        for channels in self.channels.by_app.values():
            for id, channel in channels.items():
                if id in device.channels and channel.kept is not None and channel.kept_until > time.time() + after:
                    device.receive(id, channel.kept)

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
        apple.channel_plan = lambda request: print(
            f"channel {request.kind}", request.app, request.channel, json.dumps(request.payload), flush=True
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
