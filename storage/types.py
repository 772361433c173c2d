"""Ids and times, the same everywhere: 24 hex digits, and microseconds since 1970 in UTC."""

import re
import secrets
import time
from datetime import UTC, datetime
from functools import lru_cache
from typing import NamedTuple

SECOND = 1_000_000
HEX_ID = re.compile(r"[0-9a-f]{24}")
UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
NUMBER = re.compile(r"[0-9]{1,18}")


class Ref(NamedTuple):
    """One of the three names of a user or a notification: ``kind`` is id, uuid or number."""

    kind: str
    value: str | int


def now() -> int:
    """The clock of this process, in microseconds since 1970."""
    return time.time_ns() // 1000


def iso_time(at: int) -> str:
    """``2026-01-15T10:30:00.000Z``, of microseconds since 1970."""
    seconds, rest = divmod(at, SECOND)
    return f"{iso_second(seconds)}.{rest // 1000:03d}Z"


@lru_cache(maxsize=64)
def iso_second(seconds: int) -> str:
    """``2026-01-15T10:30:00``"""
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}"


def new_id() -> str:
    """24 hex digits: 8 of the second, 16 at random. The next one can't be guessed, and ids have no order."""
    return f"{int(time.time()) & 0xFFFFFFFF:08x}{secrets.token_hex(8)}"


def is_id(text: object) -> bool:
    return isinstance(text, str) and HEX_ID.fullmatch(text) is not None


def read_ref(value: object) -> Ref:
    """Which of three names this is, and its value: 24 hex digits are an id, 36 characters a uuid, else a number.

    Raises ValueError for what is none of them.
    """
    if is_id(value):
        return Ref("id", str(value))
    if isinstance(value, str) and UUID.fullmatch(value):
        return Ref("uuid", value.lower())
    if isinstance(value, str | int) and not isinstance(value, bool) and NUMBER.fullmatch(str(value)):
        return Ref("number", int(value))
    raise ValueError("must be 24 hex digits, a uuid or a number")


def camel(name: str) -> str:
    """A name as it goes over the wire: ``created_at`` is ``createdAt``."""
    first, *rest = name.split("_")
    return first + "".join(word.title() for word in rest)
