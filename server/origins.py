"""Which web pages may use the server: an origin is scheme, host and port (RFC 6454), however it is written."""

import re
from collections.abc import Iterable, Mapping
from ipaddress import ip_address
from typing import Any, NamedTuple
from urllib.parse import urlsplit

# A websocket's URL has the origin of the page it stands for; some clients send its own scheme.
SAME_AS = {"ws": "http", "wss": "https"}
DEFAULT_PORTS = {"http": 80, "https": 443}
ALL = "*"
# What browsers send of a page without an origin of its own, such as a file or a sandboxed frame.
NULL = "null"
# Names that are kept for private use: RFC 6761, RFC 6762, and .internal, which ICANN reserved in 2024.
PRIVATE = (".localhost", ".local", ".internal", ".test")


class Origin(NamedTuple):
    scheme: str
    host: str
    port: int | None


class Hosts:
    """The names under which the server answers: those of the settings, and names that only this machine can have.

    A page of a name that is made to lead here (DNS rebinding) is of the same origin for its browser; only the name shows it.
    What no public name server can answer for is fine: addresses, names without a dot, ``.local``, ``.internal``.
    """

    def __init__(self, public_url: str, origins: Iterable[str], named: Iterable[str]) -> None:
        urls = [*origins, public_url]
        self.named = {each.lower() for each in named} | {found.host for url in urls if (found := origin_of(url))}

    def allowed(self, header: str) -> bool:
        """Of a ``Host`` header of the right form."""
        host = header.rpartition(":")[0] if re.search(":[0-9]*$", header) else header
        name = host.lower().removesuffix(".")
        return name in self.named or "." not in name or name.endswith(PRIVATE) or is_address(name.strip("[]"))


def is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


class Origins:
    """``public_url`` and ``named`` may be used from everywhere; ``named`` may hold ``*`` for all."""

    def __init__(self, public_url: str, named: Iterable[str]) -> None:
        named = [*named]
        self.all, self.null = ALL in named, NULL in named
        urls = [*named, public_url] if public_url else named
        self.public = origin_of(public_url)
        self.named = {origin for url in urls if (origin := origin_of(url))}

    def allowed(self, origin: str, environ: Mapping[str, Any]) -> bool:
        """``environ`` names the host that was asked.

        A page of the same host and port is allowed; under the name of the public URL only with its scheme, which the header
        does not contain.
        """
        if self.all or self.is_named(origin):
            return True
        found = read(origin)
        if found is None or found.scheme not in DEFAULT_PORTS:
            return False
        if self.public and found.host == self.public.host and found.scheme != self.public.scheme:
            return False
        return found == host_as(found, environ.get("HTTP_HOST"))

    def is_named(self, origin: str) -> bool:
        return (self.null and origin == NULL) or read(origin) in self.named


def read(text: str) -> Origin | None:
    """The value of an ``Origin`` header; None for ``null`` and for anything that is not an origin."""
    try:
        url = urlsplit(text)
        port = url.port
    except ValueError:
        return None
    if not url.scheme or "://" not in text or url.path.strip("/") or url.query or url.fragment or "@" in url.netloc:
        return None
    scheme = SAME_AS.get(url.scheme, url.scheme)
    return Origin(scheme, (url.hostname or "").removesuffix("."), port or DEFAULT_PORTS.get(scheme))


def origin_of(url: str) -> Origin | None:
    """The origin of a URL that may have a path."""
    scheme, _, rest = url.partition("://")
    return read(f"{scheme}://{rest.partition('/')[0]}")


def host_as(origin: Origin, host: str | None) -> Origin | None:
    """What a ``Host`` header names, with the scheme of an origin, for the header has none."""
    return read(f"{origin.scheme}://{host}") if host else None
