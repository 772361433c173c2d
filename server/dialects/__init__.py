"""Dialects: ways to say the same notifications over REST. Which ones there are, and which one a request speaks.

A dialect is a module with the names of ``Dialect``, and pure: it reads a body into the domain's ``Draft``, and writes a
notification, a page, an answer or an error. To add one, write the module and name it in ``DIALECTS``; docs/dialects.md
shows how.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from realtime.notifications import Draft
from realtime.schema.bodies import Body
from realtime.schema.caller import Caller
from realtime.schema.limits import Limits
from server.dialects import envelope, laravel, template
from server.dialects.reading import UserRef
from storage.errors import Malformed, Problem
from storage.notifications import Filter, Notification

HEADER = "X-API-Dialect"
NOTIFICATIONS = "/api/v1/notifications"


class Dialect(Protocol):
    @property
    def NAME(self) -> str:
        """As the header, the token and the setting name it."""

    @property
    def PATHS(self) -> Sequence[str]:
        """Beginnings of paths that are its own; ``/x/`` makes the routes of notifications under ``/x/notifications``."""

    @property
    def KEYS(self) -> frozenset[str]:
        """Keys of a JSON body that only this dialect has."""

    @property
    def Create(self) -> type[Body]:
        """The body that makes a notification."""

    @property
    def Document(self) -> Any:
        """The type of a notification's document."""

    @property
    def Page(self) -> Any:
        """The type of a page of them."""

    @property
    def Error(self) -> Any:
        """The type of an error."""

    @property
    def STATUSES(self) -> Mapping[int, str]:
        """Its errors' texts."""

    def read(self, values: object, limits: Limits) -> Draft:
        """Raises Malformed, or Invalid with every wrong field."""

    def user_refs(self, values: object) -> Sequence[UserRef]:
        """Users that must exist for a body to be valid, if the dialect reports that with the other errors."""

    def type_filter(self, types: str | None) -> Filter:
        """The filter for ``?type=``."""

    def notification(self, item: Notification, viewer: Caller, at: int) -> Any:
        """Its document as ``viewer`` sees it at a moment in microseconds."""

    def page(self, items: Sequence[Any], cursor: str | None) -> Any: ...

    def success(self, status: int, data: Any, at: int | None = None) -> Any:
        """The body of an answer."""

    def schema(self, data: dict[str, Any]) -> dict[str, Any]:
        """The JSON schema of ``success`` around that of its data."""

    def problem(self, problem: Problem) -> tuple[int, Any]:
        """Status and body of an error."""


DIALECTS: dict[str, Dialect] = {each.NAME: each for each in (envelope, laravel, template)}


def paths() -> list[str]:
    """Of all dialects."""
    return [path for dialect in DIALECTS.values() for path in dialect.PATHS]


def spoken_at(path: str) -> bool:
    """Whether the dialect of a request counts here; everywhere else answers are the envelope's."""
    return path == NOTIFICATIONS or path.startswith((f"{NOTIFICATIONS}/", *paths()))


def choose(
    *, header: str | None, path: str, values: object, claim: str | None, default: str
) -> tuple[Dialect, Problem | None]:
    """Header, path, keys of the body, claim of the token, default: the first that says something.

    If it is ambiguous, also the problem, to be rendered in the default dialect.
    """
    if header is not None:
        if header in DIALECTS:
            return DIALECTS[header], None
        without, _ = choose(header=None, path=path, values=values, claim=claim, default=default)
        return without, Malformed(f"{HEADER} must be one of: {', '.join(DIALECTS)}")
    fallback = DIALECTS.get(claim or "", DIALECTS[default])
    by_path = next((each for each in DIALECTS.values() if path.startswith(tuple(each.PATHS))), None)
    if by_path:
        return by_path, None
    keys = {name for name, value in values.items() if value is not None} if isinstance(values, dict) else set()
    said = [each for each in DIALECTS.values() if each.KEYS & keys]
    if len(said) > 1:
        names = " and ".join(each.NAME for each in said)
        return fallback, Malformed(
            f"The body has keys of several dialects, {names}; choose one, or name it in {HEADER}"
        )
    return (said[0] if said else fallback), None
