"""What stands around every handler: errors become the dialect's answer, browsers get their headers."""

import logging
import math
import re
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from aiohttp import web

from realtime.fanout.budget import units_of
from realtime.schema import bodies
from realtime.schema.bodies import Body, items_of
from realtime.schema.caller import Caller
from server import dialects
from server.call import (
    SERVICES,
    Call,
    Created,
    NoBody,
    NoQuery,
    read_json,
    read_json_or_form,
    read_query,
    token_of,
    with_key,
    write_json,
)
from server.dialects import Dialect
from server.form import FORM, UPLOAD, UPLOADER
from server.logs import REQUEST_INFO
from server.route import Route
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
DIALECT: web.RequestKey[Dialect] = web.RequestKey("dialect", object)  # type: ignore[arg-type]
T = TypeVar("T")
Next = Callable[[web.Request], Awaitable[web.StreamResponse]]


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
# Of what a list may cost, so much is taken before it is known what it does: a few tabs of one user may load at once.
MOST_PREPAID = 1_000
# A request without a good token costs its address the same wherever it goes.
UNITS_OF_REFUSAL = 5
# RFC 6797; browsers look at it over TLS alone.
HSTS = "max-age=31536000"


def write_problem(problem: Problem, dialect: Dialect) -> web.Response:
    headers = {"X-Error-Code": problem.code}
    if isinstance(problem, TooMany):
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


def chosen(request: web.Request, caller: Caller | None, values: object) -> tuple[Dialect, Problem | None]:
    return dialects.choose(
        header=request.headers.get(dialects.HEADER),
        path=request.path,
        values=values,
        claim=caller.dialect if caller else None,
        default=request.app[SERVICES].settings.default_dialect,
    )


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
            response.headers["Access-Control-Allow-Methods"] = "GET, POST, PATCH, DELETE"
            response.headers["Access-Control-Allow-Headers"] = (
                "Authorization, Content-Type, Idempotency-Key, X-API-Dialect, X-Request-ID, Range, If-Range, If-Match, "
                "If-None-Match, traceparent, tracestate"
            )
            response.headers["Access-Control-Max-Age"] = "600"
    else:
        response = await handler(request)
    if services.draining or request.content.exception() is not None:
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


def endpoint(route: Route) -> Next:
    """A route as aiohttp calls it.

    Checks in the contract's order: 401, dialect, malformed, 403, fields, then the handler. Where a dialect is spoken,
    the body is read before anything is answered, for it may say in which.
    """

    async def answer(request: web.Request) -> web.StreamResponse:
        services = request.app[SERVICES]
        request[DIALECT] = dialects.envelope
        # A signed link needs no token; every other request for a file does.
        named = not route.public or (route.answer is bytes and "signature" not in request.query)
        caller, refused = await attempt(authenticate(request)) if named else (None, None)
        refused = over_budget(request, caller, UNITS_OF_REFUSAL if refused else route.units) or refused
        if refused and not route.negotiated:
            raise refused
        if caller and route.multipart and request.content_type == FORM:
            await services.uploads.begin(caller)
            request[UPLOADER] = caller
        values, unreadable = await attempt(read_values(route, request, caller))
        unclear = None
        if route.negotiated:
            request[DIALECT], unclear = chosen(request, caller, values)
        if caller and UPLOADER not in request:
            # Files have limits of their own.
            services.budget.users.charge(caller.pk, units_of(request.content.total_bytes))
        for problem in (refused, unclear, unreadable):
            if problem:
                raise problem
        if route.permission and caller:
            caller.require(route.permission)
        if route.keyed and not route.negotiated:
            values = with_key(request, values)
        model = route.body
        if isinstance(model, str) or model is NoBody:
            # There is none, or the dialect reads it.
            body: Body = NoBody()
        else:
            body = bodies.read(model, values, services.limits)
        query = NoQuery() if route.query is NoQuery else read_query(request, route.query, services.limits)
        items = max(items_of(body), items_of(query))
        prepaid = min(route.units_per_item * items, MOST_PREPAID)
        if caller and prepaid:
            services.budget.users.acquire(caller.pk, prepaid)
        call = Call(request, services, request[DIALECT], values, body, query, caller)
        made = await route.handler(call)
        if caller and prepaid:
            given = len(made["items"]) if isinstance(made, dict) and "items" in made else items
            services.budget.users.charge(caller.pk, route.units_per_item * given - prepaid)
        if isinstance(made, web.Response):
            return made
        return write_answer(route, call.dialect, made if isinstance(made, Created) else Created(made, 200))

    async def serve(request: web.Request) -> web.StreamResponse:
        try:
            return await answer(request)
        finally:
            if UPLOAD in request:
                request[UPLOAD].discard()
            if UPLOADER in request:
                request.app[SERVICES].uploads.end(request[UPLOADER])

    return serve


async def attempt(work: Awaitable[T]) -> tuple[T | None, Problem | None]:
    try:
        return await work, None
    except Problem as problem:
        return None, problem


def over_budget(request: web.Request, caller: Caller | None, units: float) -> Problem | None:
    """Take what a call costs from the budget of its user, or of its address; TooMany where less is left."""
    services = request.app[SERVICES]
    try:
        if caller:
            services.budget.users.acquire(caller.pk, units)
        elif (address := services.addresses.of(request)) is not None:
            services.budget.addresses.acquire(address, units)
    except TooMany as problem:
        return problem
    return None


async def authenticate(request: web.Request) -> Caller:
    caller = await request.app[SERVICES].accounts.authenticate(await token_of(request))
    request[REQUEST_INFO].user, request[REQUEST_INFO].user_pk = caller.user.id, caller.pk
    return caller


async def read_values(route: Route, request: web.Request, caller: Caller | None) -> Any:
    """The body as it came, None where the route takes none."""
    limits = request.app[SERVICES].limits
    if route.body is NoBody:
        return None
    if route.multipart:
        return await read_json_or_form(request, request.app[SERVICES], caller)
    if route.bodiless and not request.can_read_body:
        return {}
    values = await read_json(request, limits, caller)
    if not isinstance(values, dict):
        raise Malformed("The body must be a JSON object")
    return values


def write_answer(route: Route, dialect: Dialect, answer: Created[Any]) -> web.Response:
    """In the dialect where one is spoken, else ``v1`` in the envelope and ``v2`` bare."""
    if route.negotiated or route.envelope:
        return write_json(dialect.success(answer.status, answer.document, answer.at), answer.status)
    return write_json(answer.document, answer.status)
