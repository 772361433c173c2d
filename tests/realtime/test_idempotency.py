"""Idempotency keys."""

import pytest

from realtime.idempotency import fingerprint, require_same
from storage.errors import Conflict


def test_the_same_command_has_the_same_fingerprint() -> None:
    first = fingerprint(("text", {"a": 1, "b": 2}, None))
    assert first == fingerprint(["text", {"b": 2, "a": 1}, None])
    assert first != fingerprint(("text", {"a": 1, "b": 2}))
    assert len(first) == 64


def test_another_command_under_a_key_is_a_conflict() -> None:
    first = fingerprint("a")
    require_same(first, fingerprint("a"))
    for other in (fingerprint("b"), ""):
        with pytest.raises(Conflict, match="Idempotency key reused with a different body"):
            require_same(first, other)
    with pytest.raises(Conflict):
        require_same(None, first)
