"""Ids and times, the same everywhere: 24 hex digits, and microseconds since 1970 in UTC."""

import itertools
import os
import re
import time

SECOND = 1_000_000
HEX_ID = re.compile(r"[0-9a-f]{24}")


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
