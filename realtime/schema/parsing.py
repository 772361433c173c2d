"""Strict JSON, and how deep it may nest."""

from typing import Any

import orjson

from realtime.schema.limits import Limits
from storage.errors import Malformed


def depth(value: object, limit: int) -> bool:
    """Whether parsed JSON nests at most ``limit`` deep."""
    level = [value]
    for _ in range(limit + 1):
        level = [
            child
            for item in level
            if isinstance(item, dict | list)
            for child in (item.values() if isinstance(item, dict) else item)
        ]
        if not level:
            return True
    return False


def parse_json(data: bytes | str, limits: Limits) -> Any:
    """Strict JSON, nested at most as deep as the limit says. Raises Malformed."""
    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise Malformed(f"Invalid JSON: {str(error)[:200]}") from None
    opening = data.count("{") + data.count("[") if isinstance(data, str) else data.count(b"{") + data.count(b"[")
    if opening > limits.nesting and not depth(value, limits.nesting):
        raise Malformed(f"JSON must not be nested more than {limits.nesting} levels deep")
    return value


# Messages
