"""The web application: services, routes, pages, and its life from listening to the last response."""

import asyncio
import contextlib
import logging
import re
import socket
from collections.abc import AsyncIterator, Sequence
from functools import partial
from typing import Any

from aiohttp import web

from realtime.transport.admission import Refusal
from server import descriptions, metrics, operator, pages
from server.bootstrap import build, running
from server.call import SERVICES, write_json
from server.endpoint import endpoint
from server.listening import HttpConnection, Listener, listen
from server.logs import TRACING, library, name_request, observed
from server.middleware import browsers, errors
from server.route import Route
from server.routes import ROUTES
from server.services import Services
from server.settings import Settings
from server.shutdown import close_sockets
from server.tracing import Tracing
from storage.tasks import Tasks

logger = logging.getLogger("bellwire")

FINISH_SECONDS = 5.0


def create_app(settings: Settings) -> web.Application:
    """Everything that answers HTTP; ``cleanup_ctx`` builds and releases the services."""
    app = web.Application(middlewares=[observed, browsers, errors], client_max_size=settings.limits().body + 1)

    async def live(app: web.Application) -> AsyncIterator[None]:
        async with build(settings) as services, running(services):
            app[SERVICES] = services
            metrics.install(app, services)
            yield

    tracing = app[TRACING] = Tracing(settings.otlp_url) if settings.otlp_url else None

    async def traced(app: web.Application) -> AsyncIterator[None]:
        yield
        if tracing:
            await asyncio.to_thread(tracing.close)

    app.cleanup_ctx.extend([traced, live])
    app.on_shutdown.append(close_sockets)
    app.on_response_prepare.append(name_request)
    for route in ROUTES:
        add = app.router.add_get if route.method == "GET" else partial(app.router.add_route, route.method)
        add(route.path, endpoint(route))
    for path, methods in overlapping(ROUTES).items():
        app.router.add_route("*", path, partial(refuse, methods=methods))
    for method in ("GET", "POST", "OPTIONS"):
        app.router.add_route(method, "/socket.io/", socketio)
    app.router.add_get("/healthz", healthz)
    app.router.add_get("/readyz", readyz)
    app.router.add_get("/metrics", metrics.show)
    descriptions.install(app)
    app.router.add_post(operator.PATH, operator.serve)
    pages.install(app)
    return app


def overlapping(routes: Sequence[Route]) -> dict[str, set[str]]:
    """Paths that a pattern of another route matches too, with their methods: others are not meant for the pattern."""
    patterns = [re.compile(re.sub(r"{\w+}", "[^/]+", each.path)) for each in routes if "{" in each.path]
    methods: dict[str, set[str]] = {}
    for each in routes:
        if "{" not in each.path and any(pattern.fullmatch(each.path) for pattern in patterns):
            methods.setdefault(each.path, set()).add(each.method)
    return methods


async def refuse(request: web.Request, methods: set[str]) -> web.Response:
    raise web.HTTPMethodNotAllowed(request.method, sorted(methods))


async def socketio(request: web.Request) -> web.StreamResponse:
    response: web.StreamResponse = await request.app[SERVICES].socketio.eio.handle_request(request)
    return response


# Health


async def healthz(request: web.Request) -> web.Response:
    """The process runs."""
    return write_json({"status": "ok"})


async def readyz(request: web.Request) -> web.Response:
    """Whether requests should come here, and if not, why."""
    reasons = await request.app[SERVICES].readiness.reasons()
    return write_json({"ready": not reasons, "reasons": reasons}, 503 if reasons else 200)


@contextlib.asynccontextmanager
async def serving(settings: Settings, listening: socket.socket | None = None) -> AsyncIterator[Services]:
    """The application, listening at ``services.address``; on a socket that is open already, if one is given."""
    app = create_app(settings)
    options: dict[str, Any] = {
        "access_log": None,
        "logger": library,
        "auto_decompress": False,
        "keepalive_timeout": settings.limits().idle_seconds,
    }
    runner = web.AppRunner(app, shutdown_timeout=FINISH_SECONDS, handle_signals=False, **options)
    await runner.setup()
    try:
        assert runner.server is not None
        listening = listening or listen(settings.host, settings.port)
        services = app[SERVICES]

        async def turn(peer: str, head: bytes) -> Refusal | None:
            return await services.socketio.eio.turn(services.addresses.of_head(peer, head))

        connection = partial(
            HttpConnection, runner.server, loop=asyncio.get_running_loop(), turn=turn, tasks=Tasks(), **options
        )
        listener = Listener(
            listening,
            connection,
            services.connections,
            head=services.limits.head_seconds,
            stall=services.limits.stall_seconds,
        )
        listener.open()
        host, port = listener.socket.getsockname()[:2]
        services.address = f"http://{f'[{host}]' if ':' in host else host}:{port}"
        try:
            yield services
        finally:
            listener.close()
    finally:
        await runner.cleanup()
