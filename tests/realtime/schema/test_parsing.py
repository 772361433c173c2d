"""Strict JSON, and how deep it may nest."""

from dataclasses import replace

import pytest

from realtime.schema.limits import Limits
from realtime.schema.parsing import depth, parse_json
from storage.errors import Malformed

LIMITS = replace(Limits(), nesting=3)


def test_what_is_deep_enough() -> None:
    assert depth(1, 0) and depth([[]], 1) and not depth([[1]], 1)
    assert depth({"a": {"b": [1]}}, 3) and not depth({"a": {"b": [[1]]}}, 3)
    assert depth([1, [2], 3], 2) and not depth([1, [2, [3]], 4], 2)


@pytest.mark.parametrize("text", ['{"a":[1,{"b":2}]}', b"[[[1]]]", '"{[{[{["', "[1,[],[],[],[]]"])
def test_json_within_the_limit_is_read(text: str | bytes) -> None:
    assert parse_json(text, LIMITS) is not None


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[[[[1]]]]", "JSON must not be nested more than 3 levels deep"),
        (b'{"a":{"a":{"a":{"a":1}}}}', "JSON must not be nested more than 3 levels deep"),
        ("{'a':1}", "Invalid JSON"),
        ("NaN", "Invalid JSON"),
        ('{"a":1} x', "Invalid JSON"),
        (b"\xff", "Invalid JSON"),
        ("", "Invalid JSON"),
    ],
)
def test_other_json_is_refused(text: str | bytes, sentence: str) -> None:
    with pytest.raises(Malformed, match=sentence):
        parse_json(text, LIMITS)
