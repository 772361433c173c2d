"""Idempotency keys: the same key with the same command gives the first answer; with another command it is a Conflict."""

import hashlib

import orjson

from storage.errors import Conflict


def fingerprint(command: object) -> str:
    """What makes two commands the same, whichever way they came: JSON, the order of keys apart."""
    return hashlib.sha256(orjson.dumps(command, option=orjson.OPT_SORT_KEYS)).hexdigest()


def require_same(first: str | None, now: str) -> None:
    """Raises Conflict where a key stood for another command the first time."""
    if first != now:
        raise Conflict("Idempotency key reused with a different body", code="idempotency_key_reused")
