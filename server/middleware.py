"""What stands around every handler: errors become the dialect's answer, browsers get their headers."""

import logging
import math
import re

from aiohttp import web

from realtime.fanout.budget import units_of
from server import dialects
from server.call import (
    SERVICES,
    read_json,
    write_json,
)
from server.dialects import Dialect
from server.endpoint import DIALECT, UNITS_OF_REFUSAL, Next, attempt, authenticate, chosen, over_budget
from server.logs import REQUEST_INFO
from storage.errors import (
    Forbidden,
    Malformed,
    NotFound,
    Problem,
    TooLarge,
    TooMany,
    Unauthenticated,
    Unavailable,
    Unsupported,
)

logger = logging.getLogger("bellwire.http")


class MethodNotAllowed(Problem):
    """Method not allowed"""

    code = "method_not_allowed"


HTTP_PROBLEMS: dict[int, type[Problem]] = {
    400: Malformed,
    404: NotFound,
    405: MethodNotAllowed,
    413: TooLarge,
    415: Unsupported,
    503: Unavailable,
}
# RFC 9112, section 3.2: a name, or an address in brackets, and a port.
HOST = re.compile(r"([A-Za-z0-9._~!$&'()*+,;=%-]*|\[[0-9A-Fa-f:.]+\])(:[0-9]{0,5})?")
# Health checks may use any host name.
PROBED = ("/healthz", "/readyz")
SECURITY = {
    "Server": "Bellwire",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
}
# For responses that are not pages: they render nothing, run nothing and can't be framed.
NOTHING = "default-src 'none'; frame-ancestors 'none'"
# RFC 6797; browsers look at it over TLS alone.
HSTS = "max-age=31536000"


def write_problem(problem: Problem, dialect: Dialect) -> web.Response:
    headers = {"X-Error-Code": problem.code}
    if isinstance(problem, TooMany | Unavailable) and problem.retry_after is not None:
        headers["Retry-After"] = str(max(1, math.ceil(problem.retry_after)))
    if isinstance(problem, Unauthenticated):
        headers["WWW-Authenticate"] = "Bearer"
    elif isinstance(problem, Forbidden) and problem.permission:
        headers["WWW-Authenticate"] = f'Bearer error="insufficient_scope", scope="{problem.permission}"'
    status, document = dialect.problem(problem)
    return write_json(document, status, headers)


@web.middleware
async def errors(request: web.Request, handler: Next) -> web.StreamResponse:
    """Errors are answered in the dialect; an unexpected exception is logged, and the response does not describe it."""
    headers = {}
    try:
        host = request.headers.get("Host", "")
        if not HOST.fullmatch(host):
            raise Malformed("The Host header is malformed")
        if request.path not in PROBED and not request.app[SERVICES].hosts.allowed(host):
            raise Malformed("Unknown host name: set BELLWIRE_PUBLIC_URL or BELLWIRE_HOSTS")
        return await handler(request)
    except web.HTTPException as error:
        if error.status < 400:
            raise
        problem = HTTP_PROBLEMS.get(error.status, Problem)()
        headers = {name: error.headers[name] for name in ("Allow",) if name in error.headers}
    except TooMany as error:
        services = request.app[SERVICES]
        await services.budget.refusals.pause(request[REQUEST_INFO].user_pk or services.addresses.of(request))
        problem = error
    except Problem as error:
        problem = error
    except ConnectionResetError:
        problem = Malformed("The connection was lost")
    except Exception:
        logger.exception("a request failed")
        problem = Problem()
    if isinstance(problem, Unauthenticated) and "Authorization" in request.headers:
        # RFC 6750, section 3.1.
        headers["WWW-Authenticate"] = 'Bearer error="invalid_token"'
    if isinstance(problem, Unsupported) and "Content-Encoding" in request.headers:
        headers["Accept-Encoding"] = "identity"
    answer = write_problem(problem, await dialect_of(request))
    answer.headers.update(headers)
    return answer


async def dialect_of(request: web.Request) -> Dialect:
    """The dialect of an answer: what the route has found out, or, of a URL that is none, what the request says."""
    known: Dialect | None = request.get(DIALECT)
    if known or not dialects.spoken_at(request.path):
        return known or dialects.envelope
    caller, _ = await attempt(authenticate(request))
    if over_budget(request, caller, UNITS_OF_REFUSAL + units_of(request.content_length or 0)):
        return chosen(request, caller, None)[0]
    values, _ = await attempt(read_json(request, request.app[SERVICES].limits, caller))
    return chosen(request, caller, values)[0]


@web.middleware
async def browsers(request: web.Request, handler: Next) -> web.StreamResponse:
    """CORS for the origins of the settings, and the headers that keep a browser from guessing."""
    origin = request.headers.get("Origin")
    services = request.app[SERVICES]
    host = request.headers.get("Host", "")
    allowed = (
        origin is not None and services.hosts.allowed(host) and services.origins.allowed(origin, {"HTTP_HOST": host})
    )
    api = request.path.startswith(("/api/", *dialects.paths()))
    if request.method == "OPTIONS" and api and "Access-Control-Request-Method" in request.headers:
        response: web.StreamResponse = web.Response()
        if allowed:
            response.headers["Access-Control-Allow-Methods"] = "GET, POST, PUT, PATCH, DELETE"
            response.headers["Access-Control-Allow-Headers"] = (
                "Authorization, Content-Type, Idempotency-Key, X-API-Dialect, X-Request-ID, Range, If-Range, If-Match, "
                "If-None-Match, traceparent, tracestate"
            )
            response.headers["Access-Control-Max-Age"] = "600"
    else:
        response = await handler(request)
    if services.readiness.draining or request.content.exception() is not None:
        # A client or proxy that keeps connections must not find this one closed when it uses it next.
        response.force_close()
    if not response.prepared:
        response.headers.update(SECURITY)
        response.headers.setdefault("Content-Security-Policy", NOTHING)
        if services.public_url.startswith("https:"):
            response.headers["Strict-Transport-Security"] = HSTS
        if api:
            response.headers["Vary"] = "Origin"
            response.headers.setdefault("Cache-Control", "no-store")
        if allowed and api and origin:
            response.headers["Access-Control-Allow-Origin"] = origin
            response.headers["Access-Control-Expose-Headers"] = (
                "Accept-Ranges, Content-Disposition, Content-Range, ETag, Retry-After, X-Error-Code, X-Request-ID"
            )
    return response
