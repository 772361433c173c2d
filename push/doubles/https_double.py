"""What doubles over HTTPS share: a server with a certificate of its own, and the command that runs it."""

import argparse
import asyncio
import ssl
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, Self

import trustme
from aiohttp import web

# Far above what the slowest machine needs.
HANG_SECONDS = 120.0

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class HttpsDouble:
    """``async with HttpsDouble(routes)``: what is posted to each path; answers wait ``delay`` seconds."""

    def __init__(self, routes: Mapping[str, Handler], *, delay: float) -> None:
        self.routes = routes
        self.delay = delay
        # Whether what arrives is kept, and how much has arrived.
        self.keep = True
        self.count = 0
        # Set when something arrives or is answered.
        self.changed = asyncio.Event()
        self.ca = trustme.CA()
        self.runner: web.AppRunner | None = None
        self.port = 0

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self) -> None:
        """At the port of the time before, if there was one."""
        app = web.Application()
        for path, handler in self.routes.items():
            app.router.add_post(path, handler)
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.ca.issue_cert("localhost", "127.0.0.1").configure_cert(tls)
        self.runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self.runner.setup()
        await web.TCPSite(self.runner, "127.0.0.1", self.port, ssl_context=tls).start()
        self.port = self.runner.addresses[0][1]

    async def stop(self) -> None:
        """Stop listening, and close all connections."""
        if self.runner:
            await self.runner.cleanup()
            self.runner = None

    @property
    def url(self) -> str:
        return f"https://localhost:{self.port}"

    async def until(self, condition: Callable[[], Any]) -> None:
        async with asyncio.timeout(HANG_SECONDS):
            while not condition():
                self.changed.clear()
                await self.changed.wait()

    def write_files(self, folder: Path) -> dict[str, str]:
        """Write the certificate, and return the settings that name it."""
        folder.mkdir(parents=True, exist_ok=True)
        self.ca.cert_pem.write_to_path(str(folder / "ca.pem"))
        return {"push_ca": str(folder / "ca.pem"), "push_private": "true"}


async def serve(double: HttpsDouble, folder: Path, more: Callable[[], str]) -> None:
    async with double:
        for name, value in double.write_files(folder).items():
            print(f"BELLWIRE_{name.upper()}={value}")
        print(flush=True)
        if text := more():
            print(text, flush=True)
        await asyncio.Event().wait()


def run_command(
    name: str, make: Callable[[float, bool], HttpsDouble], more: Callable[[HttpsDouble], str] = lambda double: ""
) -> None:
    """Serve ``make(delay, quiet)`` until it is killed; print its settings, an empty line and what ``more`` says."""
    parser = argparse.ArgumentParser(prog=f"python -m push.doubles.{name}")
    parser.add_argument("--folder", type=Path, required=True, help="where the certificate and the key are written")
    parser.add_argument("--delay", type=float, default=0.0, help="seconds before each answer")
    parser.add_argument("--quiet", action="store_true", help="do not print what arrives")
    asked = parser.parse_args()

    async def run() -> None:
        double = make(asked.delay, asked.quiet)
        double.keep = False
        await serve(double, asked.folder, lambda: more(double))

    asyncio.run(run())
