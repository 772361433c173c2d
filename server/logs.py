"""The log: a record a line, for people or as JSON, with the request or the connection that it belongs to.

What is logged names people, requests and connections by their ids. Tokens, the ids of Engine.IO sessions (who knows one
may speak in its name), paths with their ids, and texts are in no line.
"""

import contextlib
import logging
import re
import secrets
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Literal, TextIO

import orjson
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from realtime.transport.context import current_subject, set_subject
from server import metrics
from server.tracing import Tracing

Format = Literal["human", "json"]

REQUEST_ID = "X-Request-ID"
GIVEN_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
REQUEST_INFO: web.RequestKey["RequestInfo"] = web.RequestKey("asked", object)  # type: ignore[arg-type]
TRACING: web.AppKey[Tracing | None] = web.AppKey("tracing", object)  # type: ignore[arg-type]
# Requested all the time by monitoring, or covered by the lines of their connection.
QUIET = {"/healthz", "/readyz", "/metrics", "/socket.io/"}

access = logging.getLogger("bellwire.access")
library = logging.getLogger("bellwire.library.http")


class ClientMistakes(logging.Filter):
    """Leaves out requests that are none: aiohttp would show what was sent, tokens and all, with a traceback each."""

    def filter(self, record: logging.LogRecord) -> bool:
        return not (record.exc_info and isinstance(record.exc_info[1], HttpProcessingError))


library.addFilter(ClientMistakes())


def configure(level: str, format: Format, stream: TextIO) -> None:
    """Everything that anybody logs in this process goes to ``stream``."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(Json() if format == "json" else Human())
    logging.basicConfig(level=level, handlers=[handler], force=True)
    logging.getLogger("alembic").setLevel(logging.WARNING)


def fields(record: logging.LogRecord) -> dict[str, object]:
    """What the record says beside its message: its own ``fields``, and whose work it was."""
    subject = current_subject()
    own: dict[str, object] = getattr(record, "fields", {})
    return {**(subject.described() if subject else {}), **own}


class Json(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            **fields(record),
        }
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return orjson.dumps(line, default=str).decode()


class Human(logging.Formatter):
    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s %(message)s%(beside)s")

    def formatMessage(self, record: logging.LogRecord) -> str:
        record.beside = "".join(f" {name}={value}" for name, value in fields(record).items())
        return super().formatMessage(record)


class RequestInfo:
    """One request, as the log names it. ``user`` and their number are filled in when it is known who asks."""

    __slots__ = ("__weakref__", "id", "user", "user_pk")

    def __init__(self, given: str | None) -> None:
        self.id = given if given and GIVEN_ID.fullmatch(given) else secrets.token_hex(8)
        self.user: str | None = None
        self.user_pk: int | None = None

    def described(self) -> dict[str, str]:
        return {"request": self.id, **({"user": self.user} if self.user else {})}


@web.middleware
async def observed(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Counts each request and writes its line, with the route's pattern for a path."""
    asked = request[REQUEST_INFO] = RequestInfo(request.headers.get(REQUEST_ID))
    set_subject(asked)
    resource = request.match_info.route.resource
    route = resource.canonical if resource else "unknown"
    tracing = request.app[TRACING]
    began, status = time.perf_counter(), 500
    with tracing.request(request, route, asked.id) if tracing else contextlib.nullcontext() as span:
        try:
            response = await handler(request)
            status = response.status
            return response
        except web.HTTPException as error:
            status = error.status
            raise
        finally:
            if tracing:
                tracing.end(span, status, asked.user)
            log_request(request, route, status, time.perf_counter() - began)


def log_request(request: web.Request, route: str, status: int, seconds: float) -> None:
    metrics.count_request(request, route, status, seconds)
    access.log(
        logging.DEBUG if route in QUIET else logging.INFO,
        "%s %s %d",
        request.method,
        route,
        status,
        extra={"fields": {"ms": round(seconds * 1000, 1)}},
    )


async def name_request(request: web.Request, response: web.StreamResponse) -> None:
    """The answer says which line of the log is its own."""
    asked = request.get(REQUEST_INFO)
    if asked:
        response.headers[REQUEST_ID] = asked.id
