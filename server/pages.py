"""The pages and what they load: read and compressed once, and sent again only to a browser that has an older one."""

import asyncio
import gzip
import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from aiohttp import web

from server.conditions import not_modified
from storage.errors import Unavailable

STATIC = Path(__file__).parent.parent / "static"
VENDOR = {
    "htm.js": "htm/preact/standalone.module.js",
    "socket.io.esm.min.js": "socket.io-client/dist/socket.io.esm.min.js",
    "swagger-ui.css": "swagger-ui-dist/swagger-ui.css",
    "swagger-ui-bundle.js": "swagger-ui-dist/swagger-ui-bundle.js",
}
TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript"}
# RFC 9110, section 12.5.3.
GZIP = re.compile(r"\bgzip\b(?!\s*;\s*q=0(\.0*)?\s*(,|$))")
# https://www.w3.org/TR/CSP3/: nothing but our own files, and what they make of the data of chats.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; media-src 'self' blob:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
# Swagger UI writes styles of its own.
DOCS_POLICY = POLICY.replace("style-src 'self'", "style-src 'self' 'unsafe-inline'")
PERMISSIONS = "camera=(), geolocation=(), microphone=(self)"


@dataclass(frozen=True, slots=True)
class Packed:
    plain: bytes
    gzip: bytes
    etag: str


@lru_cache(maxsize=256)
def packed(path: Path, changed_at: int) -> Packed:
    plain = path.read_bytes()
    return Packed(plain, gzip.compress(plain, mtime=0), hashlib.sha256(plain).hexdigest()[:20])


@dataclass(frozen=True, slots=True)
class File:
    """What a URL answers with; ``policy`` of a page."""

    path: Path
    policy: str = ""

    async def serve(self, request: web.Request) -> web.Response:
        try:
            changed_at = self.path.stat().st_mtime_ns
            if self.policy:
                require_vendor()
        except FileNotFoundError:
            raise Unavailable(
                "The pages are not installed: run `make install` in a clone, or install the package again where npm is"
            ) from None
        file = await asyncio.to_thread(packed, self.path, changed_at)
        headers = {"ETag": f'W/"{file.etag}"', "Cache-Control": "no-cache", "Vary": "Accept-Encoding"}
        if self.policy:
            headers |= {"Content-Security-Policy": self.policy, "Permissions-Policy": PERMISSIONS}
        if not_modified(request, file.etag):
            return web.Response(status=304, headers=headers)
        body = file.plain
        if GZIP.search(request.headers.get("Accept-Encoding", "")):
            headers["Content-Encoding"] = "gzip"
            body = file.gzip
        return web.Response(body=body, headers=headers, content_type=TYPES[self.path.suffix], charset="utf-8")


def require_vendor() -> None:
    """Raises FileNotFoundError where npm has not brought what every page loads."""
    for source in VENDOR.values():
        (STATIC / "node_modules" / source).stat()


def files() -> Iterator[tuple[str, File]]:
    """Every URL of a page, and of what pages load."""
    yield "/", File(STATIC / "index.html", POLICY)
    yield "/monitor", File(STATIC / "monitor.html", POLICY)
    yield "/docs", File(STATIC / "docs.html", DOCS_POLICY)
    yield "/docs/socket", File(STATIC / "socket.html", POLICY)
    for name, source in VENDOR.items():
        yield f"/vendor/{name}", File(STATIC / "node_modules" / source)
    for path in (STATIC / "style.css", *sorted((STATIC / "js").rglob("*.js"))):
        yield f"/static/{path.relative_to(STATIC)}", File(path)


def install(app: web.Application) -> None:
    for url, file in files():
        app.router.add_get(url, file.serve)
