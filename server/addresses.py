"""Where a request comes from, for limits by address."""

import re
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

from aiohttp import web

Address = IPv4Address | IPv6Address
FORWARDED = "X-Forwarded-For"
FORWARDED_LINE = re.compile(rb"^x-forwarded-for:[ \t]*([^\r\n]*)", re.IGNORECASE | re.MULTILINE)
WITH_PORT = re.compile(r"\[([^]]+)\](?::[0-9]+)?|([0-9.]+):[0-9]+")
# What one customer of a provider is given, who may use any address of it.
SITE = 64


class Addresses:
    """``trusted`` are the networks of proxies, which say in whose name they ask."""

    def __init__(self, trusted: Sequence[IPv4Network | IPv6Network]) -> None:
        self.trusted = trusted

    def of(self, request: web.BaseRequest) -> str | None:
        """The address that counts against limits; None for loopback and for proxies of ours, which have none.

        Of what a proxy passes on, the last address that is no proxy of ours: what stands before it, or before something
        that is no address, anybody may have written.
        """
        here, _ = self._walk(request)
        return self._key(here)

    def shown(self, request: web.BaseRequest) -> str | None:
        """The address itself, as far as it is known."""
        here, _ = self._walk(request)
        return None if here is None else str(here)

    def of_head(self, host: str, head: bytes) -> str | None:
        """The same for the peer of a connection, and the head of a request of it that was not parsed."""
        here, _ = self._behind(host, [line.decode("latin-1") for line in FORWARDED_LINE.findall(head)])
        return self._key(here)

    def of_host(self, host: str) -> str | None:
        """The same for the peer of a connection."""
        return self._key(read(host))

    def _key(self, here: Address | None) -> str | None:
        if here is None or here.is_loopback or self._is_proxy(here):
            return None
        if isinstance(here, IPv6Address):
            return str(IPv6Network((here, SITE), strict=False))
        return str(here)

    def is_private(self, request: web.BaseRequest) -> bool:
        """Whether a request comes from this machine or a private network, and not through an unknown proxy."""
        here, passed = self._walk(request)
        return here is not None and not passed and (here.is_loopback or here.is_private)

    def _walk(self, request: web.BaseRequest) -> tuple[Address | None, list[str]]:
        """The nearest address that is not a known proxy, and the header that names those behind it."""
        return self._behind(request.remote, request.headers.getall(FORWARDED, ()))

    def _behind(self, peer: str | None, lines: Sequence[str]) -> tuple[Address | None, list[str]]:
        here = read(peer)
        passed = [each.strip() for line in lines for each in line.split(",")]
        while here is not None and self._is_proxy(here) and passed:
            found = read(passed[-1])
            if found is None:
                break
            passed.pop()
            here = found
        return here, passed

    def _is_proxy(self, address: Address) -> bool:
        return any(address.version == each.version and address in each for each in self.trusted)


def read(text: str | None) -> Address | None:
    """An IPv4 address in IPv6's clothes is one of IPv4; some proxies write a port. None for anything else."""
    match = WITH_PORT.fullmatch(text or "")
    try:
        found = ip_address(((match[1] or match[2]) if match else text or "").partition("%")[0])
    except ValueError:
        return None
    return found.ipv4_mapped or found if isinstance(found, IPv6Address) else found
