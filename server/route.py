"""A line of the route table, typed: a handler that does not fit the models in its line is an error of mypy."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeVar, overload

from aiohttp import web
from typing_extensions import TypedDict, Unpack

from realtime.schema.bodies import Body
from server.call import Answer, Call, NoBody, NoQuery

B = TypeVar("B", bound=Body)
Q = TypeVar("Q", bound=Body)
# The document of an answer.
A = TypeVar("A")
Handler = Callable[[Call[B, Q]], Awaitable[Answer[A]]]
Responder = Callable[[Call[NoBody, Q]], Awaitable[web.StreamResponse]]


class Lines:
    """The response is a document per line"""


@dataclass(frozen=True, slots=True)
class Route:
    """A line of the route table.

    ``answer`` is the type of the document; ``public`` routes need no token. Where ``negotiated``, the request's dialect
    counts, and ``body`` and ``answer`` may be names of the dialect's own types. A call costs ``units`` of the caller's
    budget, and ``units_per_item`` for each item that it asks for or names.
    """

    method: str
    path: str
    handler: Callable[[Call[Any, Any]], Awaitable[Any]]
    answer: Any
    summary: str
    units: float
    body: type[Body] | str = NoBody
    query: type[Body] = NoQuery
    status: int = 200
    permission: str | None = None
    public: bool = False
    negotiated: bool = False
    bare: bool = False
    multipart: Literal["", "too", "only"] = ""
    keyed: bool = False
    bodiless: bool = False
    also_200: bool = False
    errors: tuple[int, ...] = ()
    units_per_item: float = 0

    @property
    def envelope(self) -> bool:
        """``v1`` routes answer in the envelope, ``v2`` and the ``bare`` ones with the document alone."""
        return "/v1/" in self.path and not self.negotiated and not self.bare


class Options(TypedDict, total=False):
    """The rest of ``Route``."""

    units: float
    units_per_item: float
    status: int
    permission: str
    public: bool
    negotiated: bool
    bare: bool
    multipart: Literal["", "too", "only"]
    keyed: bool
    bodiless: bool
    also_200: bool
    errors: tuple[int, ...]


@overload
def route(
    method: str,
    path: str,
    handler: Handler[NoBody, NoQuery, A],
    answer: type[A],
    summary: str,
    **options: Unpack[Options],
) -> Route: ...
@overload
def route(
    method: str,
    path: str,
    handler: Handler[B, NoQuery, A],
    answer: type[A],
    summary: str,
    *,
    body: type[B],
    **options: Unpack[Options],
) -> Route: ...
@overload
def route(
    method: str,
    path: str,
    handler: Handler[NoBody, Q, A],
    answer: type[A],
    summary: str,
    *,
    query: type[Q],
    **options: Unpack[Options],
) -> Route: ...
@overload
def route(
    method: str,
    path: str,
    handler: Handler[B, Q, A],
    answer: type[A],
    summary: str,
    *,
    body: type[B],
    query: type[Q],
    **options: Unpack[Options],
) -> Route: ...
def route(method: str, path: str, handler: Any, answer: Any, summary: str, **options: Any) -> Route:
    """A route whose handler takes the models of the line, and returns its document."""
    return Route(method, path, handler, answer, summary, **options)


@overload
def in_dialect(
    method: str,
    path: str,
    handler: Handler[NoBody, NoQuery, Any],
    answer: str,
    summary: str,
    *,
    body: str = ...,
    **options: Unpack[Options],
) -> Route: ...
@overload
def in_dialect(
    method: str,
    path: str,
    handler: Handler[NoBody, Q, Any],
    answer: str,
    summary: str,
    *,
    query: type[Q],
    **options: Unpack[Options],
) -> Route: ...
def in_dialect(method: str, path: str, handler: Any, answer: str, summary: str, **options: Any) -> Route:
    """A route whose body and answer are each dialect's own types of these names; its handler gets the body as it came."""
    return Route(method, path, handler, answer, summary, negotiated=True, **options)


@overload
def streamed(
    method: str,
    path: str,
    handler: Responder[NoQuery],
    answer: type[Lines] | type[bytes],
    summary: str,
    **options: Unpack[Options],
) -> Route: ...
@overload
def streamed(
    method: str,
    path: str,
    handler: Responder[Q],
    answer: type[bytes],
    summary: str,
    *,
    query: type[Q],
    **options: Unpack[Options],
) -> Route: ...
def streamed(method: str, path: str, handler: Any, answer: Any, summary: str, **options: Any) -> Route:
    """A route whose handler makes the response itself."""
    return Route(method, path, handler, answer, summary, **options)
