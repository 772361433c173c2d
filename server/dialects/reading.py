"""What the dialects share when they read a body."""

from typing import Literal, NamedTuple

from storage.types import Ref


class UserRef(NamedTuple):
    """A user whom a body names: in which role, in which field, by which of its names."""

    role: Literal["recipient", "sender"]
    field: str
    ref: Ref
