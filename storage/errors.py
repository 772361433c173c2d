"""What can go wrong, as values with a code.

A ``Problem`` is raised or returned by the layers below and rendered once per dialect by the layers above; the first line of
its docstring is the default message. ``details`` name the fields, where there are any.

    Problem
    ├── Malformed           the body or packet can't be read
    ├── Invalid             fields are wrong
    │   └── ListedWord
    ├── Unauthenticated
    ├── Forbidden
    │   ├── RegistrationClosed
    │   └── Restricted      banned from the chat, silenced in it, a frozen chat, or a link where there may be none
    ├── NotFound            absent, or not the caller's to see
    ├── Conflict
    ├── TooLarge
    ├── Unsupported
    ├── TooMany
    │   └── SlowMode
    └── Unavailable         try again; with the same idempotency key nothing happens twice
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple


class FieldError(NamedTuple):
    """One wrong field: its name as the wire spells it, and a sentence that says what would be right.

    ``code`` says the same to dialects with sentences of their own: required, string, integer, boolean, object, choice,
    too_long (for ``limit`` characters), unknown (nothing has this name), or invalid.
    """

    field: str
    message: str
    code: str = "invalid"
    limit: int | None = None


class Problem(Exception):
    """Something went wrong"""

    code = "internal"

    def __init__(
        self, message: str | None = None, details: Sequence[FieldError] = (), *, code: str | None = None
    ) -> None:
        """``code`` names the reason, where the class has none of its own for it; as in ``realtime/schema/statuses.py``."""
        self.message = message or (type(self).__doc__ or self.code).split("\n")[0]
        self.code = code or self.code
        self.details = tuple(details)
        super().__init__(self.message)


class Malformed(Problem):
    """The body cannot be read"""

    code = "malformed"


class Invalid(Problem):
    """Validation failed"""

    code = "invalid"

    @classmethod
    def field(cls, name: str, message: str) -> "Invalid":
        return cls(details=[FieldError(name, message)])


class ListedWord(Invalid):
    """The text has a word that is not allowed"""

    code = "listed_word"

    def __init__(self, word: str = "", field: str = "content") -> None:
        super().__init__(details=[FieldError(field, f"contains a word that is not allowed: {word}")])


class Unauthenticated(Problem):
    """Authentication required"""

    code = "unauthenticated"


class Forbidden(Problem):
    """Insufficient permissions"""

    code = "forbidden"

    def __init__(self, message: str | None = None, *, permission: str | None = None, code: str | None = None) -> None:
        """``permission`` is the one that would be needed, where a permission is what is missing."""
        super().__init__(message, code=code)
        self.permission = permission


class RegistrationClosed(Forbidden):
    """This tenant takes new accounts by invitation alone, or not at all"""

    code = "registration_closed"


# The end of what has none, in microseconds; later than any time on the wire.
FOREVER = 2**62


Restriction = Literal["banned", "silenced", "frozen", "links"]
RESTRICTIONS: dict[Restriction, str] = {
    "banned": "You are banned from this chat",
    "silenced": "You are silenced in this chat",
    "frozen": "The chat is frozen: only owners, admins and moderators may post",
    "links": "Only owners, admins and moderators may post links in this chat",
}


class Restricted(Forbidden):
    """You may not do this here"""

    def __init__(self, restriction: Restriction = "banned", until: int = FOREVER) -> None:
        """``until`` in microseconds; FOREVER for no end."""
        super().__init__(RESTRICTIONS[restriction])
        self.code = restriction
        self.until = until


class NotFound(Problem):
    """Resource not found"""

    code = "not_found"


class Conflict(Problem):
    """Resource already exists or cannot be changed in its current state"""

    code = "conflict"


class TooLarge(Problem):
    """Payload too large"""

    code = "too_large"


class Unsupported(Problem):
    """Unsupported media type"""

    code = "unsupported"


class TooMany(Problem):
    """Too many requests"""

    code = "too_many"

    def __init__(self, message: str | None = None, *, retry_after: float = 1) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class SlowMode(TooMany):
    """The chat is in slow mode"""

    code = "slow_mode"

    def __init__(self, seconds: int = 0, retry_after: float = 1) -> None:
        super().__init__(f"The chat is in slow mode: one message every {seconds} s", retry_after=retry_after)


class Unavailable(Problem):
    """Service unavailable"""

    code = "unavailable"

    def __init__(self, message: str | None = None, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        # Seconds, where it is known when it will be over.
        self.retry_after = retry_after
