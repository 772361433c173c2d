"""Which web pages may use the server: an origin is scheme, host and port (RFC 6454), however it is written."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple
from urllib.parse import urlsplit

# A websocket's URL has the origin of the page it stands for; some clients send its own scheme.
SAME_AS = {"ws": "http", "wss": "https"}
DEFAULT_PORTS = {"http": 80, "https": 443}
ALL = "*"
# What browsers send of a page without an origin of its own, such as a file or a sandboxed frame.
NULL = "null"


class Origin(NamedTuple):
    scheme: str
    host: str
    port: int | None


class Origins:
    """``public_url`` and ``named`` may be used from everywhere; ``named`` may hold ``*`` for all."""

    def __init__(self, public_url: str, named: Iterable[str]) -> None:
        named = [*named]
        self.all, self.null = ALL in named, NULL in named
        urls = [*named, public_url] if public_url else named
        self.named = {origin for url in urls if (origin := origin_of(url))}

    def allowed(self, origin: str, environ: Mapping[str, Any]) -> bool:
        """``environ`` names the host that was asked; a page of the same host is always allowed."""
        if self.all or self.is_named(origin):
            return True
        found = read(origin)
        return found is not None and found.scheme in DEFAULT_PORTS and found == host_as(found, environ.get("HTTP_HOST"))

    def is_named(self, origin: str) -> bool:
        return (self.null and origin == NULL) or read(origin) in self.named


def read(text: str) -> Origin | None:
    """The value of an ``Origin`` header; None for ``null`` and for what is no origin."""
    try:
        url = urlsplit(text)
        port = url.port
    except ValueError:
        return None
    if not url.scheme or "://" not in text or url.path.strip("/") or url.query or url.fragment or "@" in url.netloc:
        return None
    scheme = SAME_AS.get(url.scheme, url.scheme)
    return Origin(scheme, url.hostname or "", port or DEFAULT_PORTS.get(scheme))


def origin_of(url: str) -> Origin | None:
    """The origin of a URL that may have a path."""
    scheme, _, rest = url.partition("://")
    return read(f"{scheme}://{rest.partition('/')[0]}")


def host_as(origin: Origin, host: str | None) -> Origin | None:
    """What a ``Host`` header names, with the scheme of an origin, for the header has none."""
    return read(f"{origin.scheme}://{host}") if host else None
