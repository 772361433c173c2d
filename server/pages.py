"""The pages and what they load: read and compressed once, and sent again only to a browser that has an older one."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from aiohttp import web

from server.packed import Packed, pack
from storage.errors import Unavailable

STATIC = Path(__file__).parent.parent / "static"
VENDOR = {
    "htm.js": "htm/preact/standalone.module.js",
    "socket.io.esm.min.js": "socket.io-client/dist/socket.io.esm.min.js",
    "swagger-ui.css": "swagger-ui-dist/swagger-ui.css",
    "swagger-ui-bundle.js": "swagger-ui-dist/swagger-ui-bundle.js",
}
TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript"}
# https://www.w3.org/TR/CSP3/: nothing but our own files, and what they make of the data of chats.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; media-src 'self' blob:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
# Swagger UI writes styles of its own.
DOCS_POLICY = POLICY.replace("style-src 'self'", "style-src 'self' 'unsafe-inline'")
PERMISSIONS = "camera=(), geolocation=(), microphone=(self)"


@lru_cache(maxsize=256)
def packed(path: Path, changed_at: int) -> Packed:
    return pack(path.read_bytes())


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
        headers = {"Content-Security-Policy": self.policy, "Permissions-Policy": PERMISSIONS} if self.policy else {}
        return file.answer(request, TYPES[self.path.suffix], headers)


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
    # At the top, for a service worker acts on what is below its own address.
    yield "/worker.js", File(STATIC / "worker.js")
    for name, source in VENDOR.items():
        yield f"/vendor/{name}", File(STATIC / "node_modules" / source)
    for path in (STATIC / "style.css", *sorted((STATIC / "js").rglob("*.js"))):
        yield f"/static/{path.relative_to(STATIC)}", File(path)


def install(app: web.Application) -> None:
    for url, file in files():
        app.router.add_get(url, file.serve)
