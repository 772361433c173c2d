"""How a request reaches its handler: who asks, what it costs, in which dialect; the order of the checks."""

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
    Malformed,
    Problem,
    TooMany,
)

DIALECT: web.RequestKey[Dialect] = web.RequestKey("dialect", object)  # type: ignore[arg-type]
T = TypeVar("T")
Next = Callable[[web.Request], Awaitable[web.StreamResponse]]

# Of what a list may cost, so much is taken before it is known what it does: a few tabs of one user may load at once.
MOST_PREPAID = 1_000
# A request without a good token costs its address the same wherever it goes.
UNITS_OF_REFUSAL = 5


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


def chosen(request: web.Request, caller: Caller | None, values: object) -> tuple[Dialect, Problem | None]:
    return dialects.choose(
        header=request.headers.get(dialects.HEADER),
        path=request.path,
        values=values,
        claim=caller.dialect if caller else None,
        default=request.app[SERVICES].settings.default_dialect,
    )
