"""A recorded request and answer of every route and event: ``samples.json``.

``tests/samples`` makes the file, and compares it with what the server answers now.
"""

import re
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import orjson

FILE = Path(__file__).with_name("samples.json")


@lru_cache(maxsize=1)
def everything() -> dict[str, Any]:
    """``rest``: samples by ``METHOD /path/{id}``; ``inbound``, ``outbound``, ``webhooks``: by event; ``session``: lines."""
    found: dict[str, Any] = orjson.loads(FILE.read_bytes())
    return found


def of_route(method: str, path: str) -> list[dict[str, Any]]:
    """Each with ``path``, ``status``, and where there are such, ``name``, ``body``, ``form`` and ``answer``."""
    found: list[dict[str, Any]] = everything()["rest"].get(f"{method} {path}", [])
    return found


def parameters(template: str, path: str) -> dict[str, str]:
    """The values of a path and its query."""
    parts = urlsplit(path)
    named = re.fullmatch(re.sub(r"{(\w+)}", r"(?P<\1>[^/]+)", template), parts.path)
    return {**(named.groupdict() if named else {}), **dict(parse_qsl(parts.query))}


def described(samples: list[dict[str, Any]], field: str) -> dict[str, Any]:
    """``example`` of a media type, or ``examples`` where samples differ by name."""
    values = {each.get("name", ""): each[field] for each in samples if field in each}
    if not values:
        return {}
    if len(values) == 1:
        return {"example": next(iter(values.values()))}
    return {"examples": {name: {"value": value} for name, value in values.items()}}
