"""Whose work is being done: what the log says beside each line."""

from contextvars import ContextVar
from typing import Protocol


class Subject(Protocol):
    """A request or a connection."""

    def described(self) -> dict[str, str]:
        """Ids by what they are of; no secrets, for they go into the log."""
        ...


CURRENT: ContextVar[Subject | None] = ContextVar("current", default=None)
