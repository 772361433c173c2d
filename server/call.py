"""One request on its way through a handler: who asks, what they sent, and how the answer is written."""

import asyncio
import base64
import binascii
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Annotated, Any, Generic, TypeAlias, get_args

import orjson
from aiohttp import web
from pydantic import Field
from typing_extensions import TypedDict, TypeVar

from realtime.logins import Peer
from realtime.media import Upload
from realtime.schema import bodies
from realtime.schema.bodies import Body
from realtime.schema.caller import Caller
from realtime.schema.fields import Text, documented
from realtime.schema.limits import Limits
from realtime.schema.parsing import parse_json
from server.dialects import Dialect
from server.form import FORM, UPLOAD, WHOLE, read_form
from server.services import Services
from storage.errors import Invalid, Malformed, NotFound, TooLarge, Unauthenticated, Unsupported
from storage.types import UUID, Ref, is_id, read_ref

SERVICES = web.AppKey("services", Services)
CURSOR = re.compile("[A-Za-z0-9_-]+={0,2}")
T = TypeVar("T")
# A document.
D = TypeVar("D")


class NoBody(Body):
    """Nothing is read"""


class NoQuery(Body):
    """Nothing is asked for"""


B = TypeVar("B", bound=Body, default=NoBody)
Q = TypeVar("Q", bound=Body, default=NoQuery)


class Paging(Body):
    """Lists take these; ``cursor`` is the ``nextCursor`` of the page before."""

    limit: Annotated[int, Field(ge=1, le=200)] = 50
    cursor: Annotated[Text, documented(pattern=f"^{CURSOR.pattern}$")] | None = None


PageQuery = TypeVar("PageQuery", bound=Paging)


@dataclass(frozen=True, slots=True)
class Call(Generic[B, Q]):
    """A request to a route: ``body`` and ``query`` are read as the route's models, ``values`` is the body as it came."""

    request: web.Request
    services: Services
    dialect: Dialect
    values: Any
    body: B
    query: Q
    _caller: Caller | None

    @property
    def caller(self) -> Caller:
        if self._caller is None:
            raise Unauthenticated
        return self._caller

    @property
    def address(self) -> str | None:
        """Whose limits count, None where none do."""
        return self.services.addresses.of(self.request)

    @property
    def peer(self) -> Peer:
        agent = self.request.headers.get("User-Agent", "")
        clean = "".join(each for each in agent if each.isprintable())[:255]
        return Peer(self.address, self.services.addresses.shown(self.request), clean or None)

    @property
    def upload(self) -> Upload | None:
        """The file that came with the body."""
        return self.request.get(UPLOAD)

    def ref(self) -> Ref:
        """Any of a notification's three names, in the path. Raises NotFound for what can't be one."""
        try:
            return read_ref(self.request.match_info["id"])
        except ValueError:
            raise NotFound from None

    def uuid(self) -> str:
        """A uuid of the path. Raises NotFound for what can't be one."""
        value = self.request.match_info["id"].lower()
        if not UUID.fullmatch(value):
            raise NotFound
        return value

    def number(self) -> int:
        """The number of the path. Raises NotFound for what can't be one."""
        value = self.request.match_info["number"]
        if not (value.isascii() and value.isdecimal()) or len(value) > 18:
            raise NotFound
        return int(value)

    def id(self, name: str = "id") -> str:
        """An id of the path. Raises NotFound for what can't be one."""
        value = self.request.match_info[name]
        if not is_id(value):
            raise NotFound
        return value


@dataclass(frozen=True, slots=True)
class Created(Generic[D]):
    """An answer with a status of its own. ``at`` is its moment, where that must be the same each time it is given."""

    document: D
    status: int = 201
    at: int | None = None


# What a handler returns: the document, with 200 or the status of ``Created``.
Answer: TypeAlias = D | Created[D]


class Page(TypedDict, Generic[D]):
    items: list[D]
    nextCursor: str | None


class Listed(TypedDict, Generic[D]):
    """All of them: there are few"""

    items: list[D]


class Succeeded(TypedDict):
    success: bool


async def token_of(request: web.Request) -> str:
    """The bearer token. Raises Unauthenticated."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise Unauthenticated
    return token.strip()


async def read_json(request: web.Request, limits: Limits, caller: Caller | None) -> Any:
    """The body as JSON, of whose size anybody without a token may send little. Raises Unsupported, TooLarge, Malformed."""
    if request.content_type != "application/json":
        raise Unsupported("Send the body as application/json")
    require_plain(request)
    largest = limits.body_without_token if caller is None else limits.body
    return parse_json(await read_bytes(request, min(largest, limits.body), limits.body_seconds), limits)


async def read_json_or_form(request: web.Request, services: Services, caller: Caller | None) -> Any:
    if request.content_type != FORM:
        return await read_json(request, services.limits, caller)
    require_plain(request)
    return await read_form(request, services.limits, services.media.temporary)


def with_key(request: web.Request, values: Any) -> Any:
    """The body, its idempotency key taken from the header if it stands there. Raises Invalid where they differ."""
    header = request.headers.get("Idempotency-Key")
    if header is None or not isinstance(values, dict):
        return values
    if values.get("clientMessageId") not in (None, header):
        raise Invalid.field("clientMessageId", "differs from the Idempotency-Key header")
    return {**values, "clientMessageId": header}


def require_plain(request: web.Request) -> None:
    """Nothing is unpacked: what was sent is what counts against the limits."""
    if request.headers.get("Content-Encoding", "identity") != "identity":
        raise Unsupported("Send the body without a Content-Encoding")


async def read_bytes(request: web.Request, limit: int, seconds: float) -> bytes:
    if request.content_length is not None and request.content_length > limit:
        raise TooLarge(f"The body must be at most {limit} bytes")
    body = bytearray()
    try:
        async with asyncio.timeout(seconds):
            async for chunk in request.content.iter_any():
                body += chunk
                if len(body) > limit:
                    raise TooLarge(f"The body must be at most {limit} bytes")
    except web.RequestPayloadError:
        raise Malformed("The body cannot be read") from None
    except TimeoutError:
        raise Malformed(f"The body was not received within {seconds:g} seconds") from None
    return bytes(body)


def read_query(request: web.Request, model: type[Q], limits: Limits) -> Q:
    """The query string as ``model``; whole numbers are read where it wants them."""
    values: dict[str, Any] = {}
    for name, text in request.query.items():
        wanted = model.model_fields.get(name)
        number = wanted is not None and takes_integers(wanted.annotation)
        if number and not WHOLE.fullmatch(text):
            raise Invalid.field(name, "must be an integer")
        values[name] = int(text) if number else text
    return bodies.read(model, values, limits)


def takes_integers(annotation: Any) -> bool:
    return annotation is int or any(map(takes_integers, get_args(annotation)))


def write_json(document: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    return web.Response(body=orjson.dumps(document), status=status, content_type="application/json", headers=headers)


def write_cursor(*values: int) -> str:
    return base64.urlsafe_b64encode(orjson.dumps(values)).decode().rstrip("=")


def read_cursor(cursor: str | None, length: int) -> tuple[int, ...] | None:
    """The values of a cursor, None for the first page. Raises Invalid for what is none of ours."""
    if cursor is None:
        return None
    try:
        values = orjson.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    except (binascii.Error, ValueError):
        values = None
    if not isinstance(values, list) or len(values) != length or not all(type(each) is int for each in values):
        raise Invalid.field("cursor", "must be the nextCursor of the previous page")
    if any(abs(each) >= 2**63 for each in values):
        raise Invalid.field("cursor", "must be the nextCursor of the previous page")
    return tuple(values)


async def paged(
    call: Call[Any, PageQuery],
    find: Callable[[int | None, int], Awaitable[Sequence[T]]],
    shown: Callable[[T], D],
    place: Callable[[T], int] = attrgetter("pk"),
) -> Page[D]:
    """A page of what ``find`` gives for a place to go on from, None for the first page, and a number of items.

    ``place`` is an item's own, from which the next page goes on.
    """
    limit = call.query.limit
    (last,) = read_cursor(call.query.cursor, 1) or (None,)
    found = await find(last, limit + 1)
    cursor = write_cursor(place(found[limit - 1])) if len(found) > limit else None
    return page([shown(each) for each in found[:limit]], cursor)


def page(items: list[D], cursor: str | None) -> Page[D]:
    return {"items": items, "nextCursor": cursor}
