"""Whose work is being done: what the log says beside each line."""

from contextvars import ContextVar
from typing import Protocol
from weakref import ref


class Subject(Protocol):
    """A request or a connection."""

    def described(self) -> dict[str, str]:
        """Ids by what they are of; no secrets, for they go into the log."""
        ...


# Weak: asyncio keeps a cancelled timer, and with it the context it was made in, until its time has come. A task that outlives
# its connection logs without the connection's ids.
CURRENT: ContextVar["ref[Subject] | None"] = ContextVar("current", default=None)


def set_subject(subject: Subject) -> None:
    """From here on this task, and what it starts, works for ``subject``."""
    CURRENT.set(ref(subject))


def current_subject() -> Subject | None:
    found = CURRENT.get()
    return found() if found else None
