"""Ids and times, the same everywhere: 24 hex digits, and microseconds since 1970 in UTC."""

import itertools
import os
import re
import time

SECOND = 1_000_000
HEX_ID = re.compile(r"[0-9a-f]{24}")
UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
NUMBER = re.compile(r"[0-9]{1,18}")
Name = tuple[str, str | int]


def now() -> int:
    """The clock of this process, in microseconds since 1970."""
    return time.time_ns() // 1000


PROCESS = os.urandom(5).hex()
NUMBERS = itertools.count(int.from_bytes(os.urandom(2), "big"))


def new_id() -> str:
    """24 hex digits: the second, the process, a counter; those of one process sort in the order they were made."""
    return f"{int(time.time()) & 0xFFFFFFFF:08x}{PROCESS}{next(NUMBERS) & 0xFFFFFF:06x}"


def is_id(text: object) -> bool:
    return isinstance(text, str) and HEX_ID.fullmatch(text) is not None


def read_name(value: object) -> Name:
    """Which of three names this is, and its value: 24 hex digits are an id, 36 characters a uuid, else a number.

    Raises ValueError for what is none of them.
    """
    if is_id(value):
        return "id", str(value)
    if isinstance(value, str) and UUID.fullmatch(value):
        return "uuid", value.lower()
    if isinstance(value, str | int) and not isinstance(value, bool) and NUMBER.fullmatch(str(value)):
        return "number", int(value)
    raise ValueError("must be 24 hex digits, a uuid or a number")


def camel(name: str) -> str:
    """A name as it goes over the wire: ``created_at`` is ``createdAt``."""
    first, *rest = name.split("_")
    return first + "".join(word.title() for word in rest)
