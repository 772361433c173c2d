"""The pages and what they load: read and compressed once, and sent again only to a browser that has an older one."""

import asyncio
import base64
import hashlib
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path

from aiohttp import web

from server import icons, modules
from server.packed import Packed, pack
from storage.errors import Unavailable

STATIC = Path(__file__).parent.parent / "static"
# The JavaScript client: in the repository a package of its own, in the wheel a folder of the pages.
CLIENTS = (STATIC.parent / "clients/js/src", STATIC / "client")
VENDOR = {
    "emoji.json": "unicode-emoji-json/data-by-group.json",
    "htm.js": "htm/preact/standalone.module.js",
    "socket.io.esm.min.js": "socket.io-client/dist/socket.io.esm.min.js",
    "uplot.css": "uplot/dist/uPlot.min.css",
    "uplot.js": "uplot/dist/uPlot.esm.js",
    "swagger-ui.css": "swagger-ui-dist/swagger-ui.css",
    "swagger-ui-bundle.js": "swagger-ui-dist/swagger-ui-bundle.js",
}
ICON_SET = "@iconify-json/lucide/icons.json"
TYPES = {
    "": "text/html",
    ".html": "text/html",
    ".css": "text/css",
    ".js": "text/javascript",
    ".json": "application/json",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".webmanifest": "application/manifest+json",
}
# https://www.w3.org/TR/CSP3/: nothing but our own files, and what they make of the data of chats.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; media-src 'self' blob:; "
    "connect-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
# Swagger UI writes styles of its own.
DOCS_POLICY = POLICY.replace("style-src 'self'", "style-src 'self' 'unsafe-inline'")
WORKER_POLICY = "default-src 'none'; connect-src 'self'; frame-ancestors 'none'"
INLINE_SCRIPT = re.compile(rb'<script(?: type="importmap")?>(.*?)</script>', re.S)
# Its search is a form.
GUIDE_POLICY = DOCS_POLICY.replace("form-action 'none'", "form-action 'self'")
# The documentation site, as ``make docs`` builds it.
GUIDE, GUIDE_URL = STATIC / "guide", "/docs/guide"
GUIDE_LINK = re.compile(rb'<a href="/docs/guide">.*?</a>')
PERMISSIONS = "camera=(), geolocation=(), microphone=(self)"


@lru_cache(maxsize=256)
def packed(path: Path, changed_at: int, make: Callable[[Path], bytes]) -> Packed:
    return pack(make(path))


@dataclass(frozen=True, slots=True)
class File:
    """What a URL answers with; ``policy`` of a page. ``make`` reads the file. ``bare`` pages load nothing that npm brings."""

    path: Path
    policy: str = ""
    make: Callable[[Path], bytes] = Path.read_bytes
    bare: bool = False

    async def serve(self, request: web.Request) -> web.Response:
        try:
            changed_at = self.path.stat().st_mtime_ns
            if self.policy and not self.bare:
                require_vendor()
        except FileNotFoundError:
            raise Unavailable(
                "The pages are not installed: run `make install` in a clone, or install the package again where npm is"
            ) from None
        file = await asyncio.to_thread(packed, self.path, changed_at, self.make)
        headers = {}
        if self.policy:
            policy = await asyncio.to_thread(policy_of_page, self.path, changed_at, self.policy, self.make)
            headers = {"Content-Security-Policy": policy, "Permissions-Policy": PERMISSIONS}
        return file.answer(request, TYPES[Path(request.path).suffix], headers)


@lru_cache(maxsize=128)
def policy_of_page(path: Path, changed_at: int, policy: str, make: Callable[[Path], bytes]) -> str:
    """A browser accepts an inline script, such as an import map, where the policy allows its hash."""
    hashes = [base64.b64encode(hashlib.sha256(each).digest()).decode() for each in INLINE_SCRIPT.findall(make(path))]
    return policy.replace(
        "script-src 'self'", " ".join(["script-src 'self'", *(f"'sha256-{each}'" for each in hashes)])
    )


def require_vendor() -> None:
    """Raises FileNotFoundError where npm has not brought what every page loads."""
    for source in (*VENDOR.values(), ICON_SET):
        (STATIC / "node_modules" / source).stat()


def page(path: Path) -> bytes:
    """A page with its modules."""
    known = dict(files())
    return modules.page(path, lambda url: known[url].path if url in known else None)


def reference_page(path: Path) -> bytes:
    """A page with its modules, and with the link to the documentation site where that is built."""
    html = page(path)
    return html if (GUIDE / "index.html").exists() else GUIDE_LINK.sub(b"", html)


def files() -> Iterator[tuple[str, File]]:
    """Every URL of a page, and of what pages load."""
    yield "/", File(STATIC / "index.html", POLICY, page)
    yield "/monitor", File(STATIC / "monitor.html", POLICY, page)
    yield "/docs", File(STATIC / "docs.html", DOCS_POLICY, reference_page)
    yield "/docs/socket", File(STATIC / "socket.html", POLICY, reference_page)
    # At the top, for a service worker acts on what is below its own address.
    yield "/worker.js", File(STATIC / "worker.js", WORKER_POLICY)
    yield "/manifest.webmanifest", File(STATIC / "manifest.webmanifest")
    for name, source in VENDOR.items():
        yield f"/vendor/{name}", File(STATIC / "node_modules" / source)
    yield (
        "/vendor/icons.js",
        File(STATIC / "node_modules" / ICON_SET, make=partial(icons.module, STATIC / "icons.json")),
    )
    for path in sorted(next(each for each in CLIENTS if each.is_dir()).glob("*.js")):
        yield f"/client/{path.name}", File(path)
    for path in sorted(path for folder in ("css", "images", "js") for path in (STATIC / folder).rglob("*.*")):
        yield f"/static/{path.relative_to(STATIC)}", File(path)


def guide() -> Iterator[tuple[str, File]]:
    """Every URL of the documentation site; none where it is not built."""
    for path in sorted(each for each in GUIDE.rglob("*.*") if each.suffix in TYPES):
        url, is_page = f"{GUIDE_URL}/{path.relative_to(GUIDE)}", path.suffix == ".html"
        file = File(path, GUIDE_POLICY if is_page else "", bare=True)
        yield url, file
        if url == f"{GUIDE_URL}/index.html":
            yield f"{GUIDE_URL}/", file


async def open_guide(request: web.Request) -> web.Response:
    """Its links are relative to the address with a slash."""
    if not (GUIDE / "index.html").exists():
        text = (
            "The documentation site is not here. In a clone, run `make docs` and start the server again; "
            "the wheel of a release contains it.\n"
        )
        return web.Response(status=404, text=text)
    raise web.HTTPMovedPermanently(f"{GUIDE_URL}/")


def install(app: web.Application) -> None:
    for url, file in (*files(), *guide()):
        app.router.add_get(url, file.serve)
    app.router.add_get(GUIDE_URL, open_guide)
