"""One call of a webhook: signed as https://www.standardwebhooks.com says, and never to an address that it must not reach."""

import base64
import hashlib
import hmac
import secrets
import socket
import time
from http import HTTPStatus
from ipaddress import ip_address, ip_network
from typing import NamedTuple

import aiohttp
from yarl import URL

PREFIX = "whsec_"
ANSWER_SECONDS = 10.0
KNOWN = frozenset(HTTPStatus)


class Result(NamedTuple):
    """``status`` is None where there was no answer, ``reason`` then why."""

    status: int | None
    reason: str

    @property
    def good(self) -> bool:
        return self.status is not None and 200 <= self.status < 300


class NotPublic(OSError):
    """The address is one of a private network"""


# The first three stand for IPv4 addresses, private ones among them: RFC 6052, RFC 8215, RFC 3056. The last two lead
# nowhere public either: RFC 9602, RFC 3879.
NOT_PUBLIC = [ip_network(each) for each in ("64:ff9b::/96", "64:ff9b:1::/48", "2002::/16", "5f00::/16", "fec0::/10")]


def is_public(host: str) -> bool:
    """Raises ValueError for anything that is not an address."""
    address = ip_address(host)
    inside = any(address in each for each in NOT_PUBLIC if each.version == address.version)
    return address.is_global and not address.is_multicast and not inside


def public_socket(address: aiohttp.AddrInfoType) -> socket.socket:
    """For the connection that is made now, whatever the URL's host looked like. Raises NotPublic."""
    family, kind, protocol, _, place = address
    if not is_public(str(place[0])):
        raise NotPublic(NotPublic.__doc__)
    return socket.socket(family, kind, protocol)


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
        self.session: aiohttp.ClientSession | None = None

    async def send(self, url: str, secret: str, id: str, body: bytes) -> Result:
        if wrong := wrong_with(url, private=self.private):
            return Result(None, wrong)
        if self.session is None:
            factory = None if self.private else public_socket
            connector = aiohttp.TCPConnector(limit=0, socket_factory=factory)
            # What one tenant's backend sets as a cookie is nothing that another's should be sent.
            self.session = aiohttp.ClientSession(
                connector=connector,
                timeout=aiohttp.ClientTimeout(total=ANSWER_SECONDS),
                cookie_jar=aiohttp.DummyCookieJar(),
            )
        timestamp = int(time.time())
        headers = {
            "Content-Type": "application/json", "User-Agent": "Bellwire", "webhook-id": id,
            "webhook-timestamp": str(timestamp), "webhook-signature": sign(secret, id, timestamp, body),
        }  # fmt: skip
        try:
            async with self.session.post(url, data=body, headers=headers, allow_redirects=False) as answer:
                phrase = HTTPStatus(answer.status).phrase if answer.status in KNOWN else ""
                return Result(answer.status, phrase)
        except TimeoutError:
            return Result(None, f"no answer within {ANSWER_SECONDS:g} s")
        except aiohttp.ClientConnectorError:
            # One word for a name that is not there and for one that leads where no call may go.
            return Result(None, "no connection")
        except Exception as error:
            # What a stranger's server answers, or where a name leads, can go wrong in every way.
            return Result(None, type(error).__name__)

    async def close(self) -> None:
        if self.session:
            await self.session.close()
