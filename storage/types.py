"""Ids and times, the same everywhere: 24 hex digits, and microseconds since 1970 in UTC."""

import os
import re
import time

SECOND = 1_000_000
HEX_ID = re.compile(r"[0-9a-f]{24}")


def now() -> int:
    """The clock of this process, in microseconds since 1970."""
    return time.time_ns() // 1000


def new_id() -> str:
    """24 hex digits that sort by the second they were made in."""
    return f"{int(time.time()) & 0xFFFFFFFF:08x}{os.urandom(8).hex()}"


def is_id(text: object) -> bool:
    return isinstance(text, str) and HEX_ID.fullmatch(text) is not None
