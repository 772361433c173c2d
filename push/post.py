"""One HTTPS session: requests with a deadline, without redirects or cookies, to public addresses alone if so wished."""

import asyncio
import socket
import ssl
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from ipaddress import ip_address, ip_network
from typing import NamedTuple

import aiohttp
from yarl import URL

ANSWER_SECONDS = 10.0
# Others close a connection after so long without a request; ours go before.
KEEP_ALIVE_SECONDS = 15.0
LARGEST_ANSWER_BYTES = 4096


class HttpAnswer(NamedTuple):
    """``status`` is 0 where there was no answer, and ``problem`` then why."""

    status: int
    headers: Mapping[str, str] = {}
    body: bytes = b""
    problem: str = ""


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


class Poster:
    """``connections`` at once at most, 0 for as many as there are requests; ``private`` allows addresses of private
    networks; ``ca`` stands for the certificates that the system trusts.
    """

    def __init__(self, *, private: bool, connections: int = 0, ca: str | None = None) -> None:
        self.private = private
        self.connections = connections
        self.ca = ca
        self.session: aiohttp.ClientSession | None = None

    async def post(self, url: str, body: bytes, headers: Mapping[str, str], *, with_body: bool = True) -> HttpAnswer:
        """Never raises; the body of the answer, if it is wanted, is cut after ``LARGEST_ANSWER_BYTES``."""
        try:
            async with (
                asyncio.timeout(ANSWER_SECONDS),
                self._open().post(URL(url, encoded=True), data=body, headers=headers, allow_redirects=False) as answer,
            ):
                read = await beginning(answer.content) if with_body else b""
                return HttpAnswer(answer.status, answer.headers, read)
        except TimeoutError:
            problem = f"no answer within {ANSWER_SECONDS:g} s"
        except aiohttp.ClientConnectorError:
            # The same for a name that does not exist and for one that leads where no request may go.
            problem = "no connection"
        except Exception as error:
            # What a stranger's server answers, or where a name leads, can go wrong in every way.
            problem = type(error).__name__
        return HttpAnswer(0, problem=problem)

    def _open(self) -> aiohttp.ClientSession:
        if self.session is None:
            connector = aiohttp.TCPConnector(
                limit=self.connections,
                keepalive_timeout=KEEP_ALIVE_SECONDS,
                socket_factory=None if self.private else public_socket,
                ssl=ssl.create_default_context(cafile=self.ca),
            )
            # What one server sets as a cookie is nothing that another's should be sent.
            self.session = aiohttp.ClientSession(
                connector=connector, cookie_jar=aiohttp.DummyCookieJar(), timeout=aiohttp.ClientTimeout(total=None)
            )
        return self.session

    async def close(self) -> None:
        if self.session:
            await self.session.close()


async def beginning(stream: aiohttp.StreamReader) -> bytes:
    read = b""
    while len(read) < LARGEST_ANSWER_BYTES and (some := await stream.read(LARGEST_ANSWER_BYTES - len(read))):
        read += some
    return read


def retry_after(headers: Mapping[str, str]) -> float:
    """The seconds that an answer asks to wait, as a number or until a date; 0 without a valid one. At most an hour."""
    said = headers.get("Retry-After", "")
    try:
        seconds = float(said) if said.isdigit() else parsedate_to_datetime(said).timestamp() - time.time()
    except (TypeError, ValueError, OverflowError):
        return 0.0
    return min(max(0.0, seconds), 3600.0)
