"""What can go wrong, as values with a code.

A ``Problem`` is raised or returned by the rooms below and rendered once per dialect by the rooms above. Its ``status``
is the HTTP status that every dialect uses unless it says otherwise; ``details`` name the fields, where there are any.

    Problem
    ├── Malformed        400  the body or packet can't be read
    ├── Invalid          400  fields are wrong
    ├── Unauthenticated  401
    ├── Forbidden        403
    ├── NotFound         404  absent, or not the caller's to see
    ├── MethodNotAllowed 405
    ├── Conflict         409
    ├── TooLarge         413
    ├── Unsupported      415
    ├── TooMany          429
    └── Unavailable      503  try again; with the same idempotency key nothing happens twice
"""

from collections.abc import Sequence
from typing import NamedTuple


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

    status = 500
    code = "internal"

    def __init__(self, message: str | None = None, details: Sequence[FieldError] = ()) -> None:
        self.message = message or (type(self).__doc__ or self.code).split("\n")[0]
        self.details = tuple(details)
        super().__init__(self.message)


class Malformed(Problem):
    """The body cannot be read"""

    status, code = 400, "malformed"


class Invalid(Problem):
    """Validation failed"""

    status, code = 400, "invalid"

    @classmethod
    def field(cls, name: str, message: str) -> "Invalid":
        return cls(details=[FieldError(name, message)])


class Unauthenticated(Problem):
    """Authentication required"""

    status, code = 401, "unauthenticated"


class Forbidden(Problem):
    """Insufficient permissions"""

    status, code = 403, "forbidden"

    def __init__(self, message: str | None = None, *, permission: str | None = None) -> None:
        """``permission`` is the one that would be needed, where a permission is what is missing."""
        super().__init__(message)
        self.permission = permission


class RegistrationClosed(Forbidden):
    """This tenant takes new accounts by invitation alone, or not at all"""

    code = "registration_closed"


class NotFound(Problem):
    """Resource not found"""

    status, code = 404, "not_found"


class MethodNotAllowed(Problem):
    """Method not allowed"""

    status, code = 405, "method_not_allowed"


class Conflict(Problem):
    """Resource already exists or cannot be changed in its current state"""

    status, code = 409, "conflict"


class TooLarge(Problem):
    """Payload too large"""

    status, code = 413, "too_large"


class Unsupported(Problem):
    """Unsupported media type"""

    status, code = 415, "unsupported"


class TooMany(Problem):
    """Too many requests"""

    status, code = 429, "too_many"

    def __init__(self, message: str | None = None, *, retry_after: float = 1) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class Unavailable(Problem):
    """Service unavailable"""

    status, code = 503, "unavailable"
