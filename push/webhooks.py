"""Calls of webhooks: signed as https://www.standardwebhooks.com says, and never to a place that they must not reach."""

import base64
import hashlib
import hmac
import secrets
import socket
import time
from ipaddress import ip_address
from typing import NamedTuple
from urllib.parse import urlsplit

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

PREFIX = "whsec_"
SECONDS = 10.0


class Result(NamedTuple):
    """``status`` is None where there was no answer, ``reason`` then why."""

    status: int | None
    reason: str

    @property
    def good(self) -> bool:
        return self.status is not None and 200 <= self.status < 300


class NotPublic(OSError):
    """The address is one of a private network"""


def is_public(host: str) -> bool:
    return ip_address(host).is_global


class Public(AbstractResolver):
    """Only addresses of the public network, looked up once for the connection that is made."""

    def __init__(self) -> None:
        self.resolver = aiohttp.ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        found = [each for each in await self.resolver.resolve(host, port, family) if is_public(each["host"])]
        if not found:
            raise NotPublic(NotPublic.__doc__)
        return found

    async def close(self) -> None:
        await self.resolver.close()


def new_secret() -> str:
    return PREFIX + base64.b64encode(secrets.token_bytes(24)).decode()


def sign(secret: str, id: str, timestamp: int, body: bytes) -> str:
    key = base64.b64decode(secret.removeprefix(PREFIX))
    signature = hmac.digest(key, b"%b.%d.%b" % (id.encode(), timestamp, body), hashlib.sha256)
    return f"v1,{base64.b64encode(signature).decode()}"


def wrong_with(url: str, *, private: bool) -> str | None:
    """What is wrong with an address, if anything. A name is looked at again when it is called."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return "must be a URL"
    if parts.scheme not in ("https", "http") or not host or parts.username or parts.fragment:
        return "must be a URL like https://example.org/path"
    if private:
        return None
    if parts.scheme != "https":
        return "must begin with https://"
    try:
        return None if is_public(host) else "must be a public address"
    except ValueError:
        return None


class Sender:
    """``private`` allows addresses of private networks, and no TLS."""

    def __init__(self, *, private: bool) -> None:
        self.private = private
        self.session: aiohttp.ClientSession | None = None

    async def send(self, url: str, secret: str, id: str, body: bytes) -> Result:
        if wrong := wrong_with(url, private=self.private):
            return Result(None, wrong)
        if self.session is None:
            resolver = None if self.private else Public()
            connector = aiohttp.TCPConnector(resolver=resolver, limit=100, limit_per_host=20)
            self.session = aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=SECONDS))
        timestamp = int(time.time())
        headers = {
            "Content-Type": "application/json", "User-Agent": "Bellwire", "webhook-id": id,
            "webhook-timestamp": str(timestamp), "webhook-signature": sign(secret, id, timestamp, body),
        }  # fmt: skip
        try:
            async with self.session.post(url, data=body, headers=headers, allow_redirects=False) as answer:
                return Result(answer.status, answer.reason or "")
        except TimeoutError:
            return Result(None, f"no answer within {SECONDS:g} s")
        except (aiohttp.ClientError, OSError) as error:
            return Result(None, type(error).__name__)

    async def close(self) -> None:
        if self.session:
            await self.session.close()
