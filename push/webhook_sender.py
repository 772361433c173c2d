"""One call of a webhook: signed as https://www.standardwebhooks.com says, and never to an address that it must not reach."""

import base64
import hashlib
import hmac
import secrets
import time
from http import HTTPStatus
from typing import NamedTuple

from yarl import URL

from push.post import Poster, is_public

PREFIX = "whsec_"
KNOWN = frozenset(HTTPStatus)


class Result(NamedTuple):
    """``status`` is None where there was no answer, ``reason`` then why."""

    status: int | None
    reason: str

    @property
    def good(self) -> bool:
        return self.status is not None and 200 <= self.status < 300


def new_secret() -> str:
    return PREFIX + base64.b64encode(secrets.token_bytes(24)).decode()


def sign(secret: str, id: str, timestamp: int, body: bytes) -> str:
    key = base64.b64decode(secret.removeprefix(PREFIX))
    signature = hmac.digest(key, b"%b.%d.%b" % (id.encode(), timestamp, body), hashlib.sha256)
    return f"v1,{base64.b64encode(signature).decode()}"


def wrong_with(url: str, *, private: bool) -> str | None:
    """What is wrong with an address, if anything. Where a name leads is looked at when it is called."""
    try:
        parsed = URL(url) if url.isascii() else URL()
        host = parsed.host or ""
        whole = parsed.scheme in ("https", "http") and bool(host) and parsed.user is None and not parsed.fragment
        host.encode("idna")
    except (ValueError, UnicodeError):
        whole = False
    if not whole:
        return "must be a URL like https://example.org/path"
    if private:
        return None
    if parsed.scheme != "https":
        return "must begin with https://"
    try:
        return None if is_public(host) else "must be a public address"
    except ValueError:
        return None


class WebhookSender:
    """``private`` allows addresses of private networks, and no TLS."""

    def __init__(self, *, private: bool) -> None:
        self.private = private
        self.poster = Poster(private=private)

    async def send(self, url: str, secret: str, id: str, body: bytes) -> Result:
        if wrong := wrong_with(url, private=self.private):
            return Result(None, wrong)
        timestamp = int(time.time())
        headers = {
            "Content-Type": "application/json", "User-Agent": "Bellwire", "webhook-id": id,
            "webhook-timestamp": str(timestamp), "webhook-signature": sign(secret, id, timestamp, body),
        }  # fmt: skip
        answer = await self.poster.post(url, body, headers, with_body=False)
        if not answer.status:
            return Result(None, answer.problem)
        return Result(answer.status, HTTPStatus(answer.status).phrase if answer.status in KNOWN else "")

    async def close(self) -> None:
        await self.poster.close()
