"""What stands around every handler: errors become the dialect's answer, browsers get their headers."""

import logging
from collections.abc import Awaitable, Callable

from aiohttp import web

from realtime import bodies, envelope
from server import metrics
from server.call import SERVICES, Call, Created, NoBody, NoQuery, Route, read_json, read_query, token_of, write_json
from server.messages import read_message
from storage.errors import (
    Malformed,
    MethodNotAllowed,
    NotFound,
    Problem,
    TooLarge,
    TooMany,
    Unavailable,
    Unsupported,
)

logger = logging.getLogger("bellwire.http")
Next = Callable[[web.Request], Awaitable[web.StreamResponse]]

HTTP_PROBLEMS: dict[int, type[Problem]] = {
    400: Malformed,
    404: NotFound,
    405: MethodNotAllowed,
    413: TooLarge,
    415: Unsupported,
    503: Unavailable,
}
SECURITY = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}


def write_problem(problem: Problem) -> web.Response:
    headers = {}
    if isinstance(problem, TooMany):
        headers["Retry-After"] = str(max(1, round(problem.retry_after)))
    if problem.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return write_json(envelope.failure(problem), problem.status, headers)


@web.middleware
async def errors(request: web.Request, handler: Next) -> web.StreamResponse:
    """Whatever goes wrong is answered in the dialect; what nobody foresaw is logged, and tells nothing."""
    try:
        response = await handler(request)
    except web.HTTPException as error:
        if error.status < 400:
            raise
        response = write_problem(HTTP_PROBLEMS.get(error.status, Problem)())
        if "Allow" in error.headers:
            response.headers["Allow"] = error.headers["Allow"]
    except Problem as problem:
        response = write_problem(problem)
    except ConnectionResetError:
        raise
    except Exception:
        logger.exception("%s %s failed", request.method, request.rel_url.raw_path)
        response = write_problem(Problem())
    metrics.count_request(request, response.status)
    return response


@web.middleware
async def browsers(request: web.Request, handler: Next) -> web.StreamResponse:
    """CORS for the origins of the settings, and the headers that keep a browser from guessing."""
    origin = request.headers.get("Origin")
    services = request.app[SERVICES]
    allowed = origin is not None and services.origins.allowed(origin, {"HTTP_HOST": request.headers.get("Host")})
    api = request.path.startswith(("/api/", "/v1/", "/notification/"))
    if request.method == "OPTIONS" and api and "Access-Control-Request-Method" in request.headers:
        response: web.StreamResponse = web.Response()
        if allowed:
            response.headers["Access-Control-Allow-Methods"] = "GET, POST, PATCH, DELETE"
            response.headers["Access-Control-Allow-Headers"] = (
                "Authorization, Content-Type, Idempotency-Key, X-API-Dialect"
            )
            response.headers["Access-Control-Max-Age"] = "600"
    else:
        response = await handler(request)
    if not response.prepared:
        response.headers.update(SECURITY)
        if allowed and api and origin:
            response.headers["Access-Control-Allow-Origin"] = origin
            response.headers["Vary"] = "Origin"
    return response


def endpoint(route: Route) -> Next:
    """A route as aiohttp calls it. Checks in the contract's order: 401, malformed, 403, fields, then the handler."""

    async def serve(request: web.Request) -> web.StreamResponse:
        services = request.app[SERVICES]
        caller = None if route.public else await services.accounts.authenticate(await token_of(request))
        values = None
        if route.multipart:
            values = await read_message(request, services.limits)
        elif route.bodiless and not request.can_read_body:
            values = {}
        elif route.body is not NoBody:
            values = await read_json(request, services.limits)
        if route.permission and caller:
            caller.require(route.permission)
        body = None if values is None and route.body is NoBody else bodies.read(route.body, values, services.limits)
        query = None if route.query is NoQuery else read_query(request, route.query, services.limits)
        answer = await route.handler(Call(request, services, body, query, caller))
        status, document = (answer.status, answer.document) if isinstance(answer, Created) else (200, answer)
        return write_json(envelope.success(status, document) if route.envelope else document, status)

    return serve
