"""The fields of bodies, one by one: what is accepted, as what, and the sentence for what is not."""

from dataclasses import replace
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from realtime.schema import fields
from realtime.schema.limits import Limits

LIMITS = replace(Limits(), content=10, title=5, metadata=20, placeholders=2, placeholder_bytes=60, key=8, transfer=9)


def read(field: Any, value: object) -> Any:
    return TypeAdapter(field).validate_python(value, context=LIMITS)


ACCEPTED = [
    (fields.Text, "a\u200db", "a\u200db"),
    (fields.Content, "é" * 5, "é" * 5),
    (fields.Title, "é" * 5, "é" * 5),
    (fields.HexId, "0123456789abcdef01234567", "0123456789abcdef01234567"),
    (fields.Uuid, "0190C2D4-7A5B-4E1F-8A6B-1C2D3E4F5A6B", "0190c2d4-7a5b-4e1f-8a6b-1c2d3e4f5a6b"),
    (fields.Metadata, {"a": [1, None, True]}, {"a": [1, None, True]}),
    (fields.Placeholders, {"a": "x", "b": None}, {"a": "x"}),
    (fields.Placeholders, {"a": 1, "b": True}, {"a": 1, "b": True}),
    (fields.Moment, "1970-01-01T00:00:01Z", 1_000_000),
    (fields.Moment, "1970-01-01t02:00:00.5+02:00", 500_000),
    (fields.ActionUrl, "myapp://orders/7", "myapp://orders/7"),
    (fields.ActionUrl, "/orders/7", "/orders/7"),
    (fields.PictureUrl, "HTTPS://example.org/a.png", "HTTPS://example.org/a.png"),
    (fields.Amount, 9, 9),
    (fields.Opaque, "a.b_c~d+e=f:g-h", "a.b_c~d+e=f:g-h"),
    (fields.AppleToken, "AB" * 32, "ab" * 32),
    (fields.AppleToken, "AB:cd", "AB:cd"),
    (fields.TemplateKey, "order.1", "order.1"),
    (fields.AnyName, "12", ("number", 12)),
    (fields.AnyName, "0123456789abcdef01234567", ("id", "0123456789abcdef01234567")),
]
REFUSED = [
    (fields.Text, "a\0b", "NUL"),
    (fields.Content, "é" * 6, "must be at most 10 bytes"),
    (fields.FilledContent, " \u200b ", "blank"),
    (fields.Title, "x" * 6, "must have at most 5 characters"),
    (fields.HexId, "0123456789ABCDEF01234567", "must be 24 hex digits"),
    (fields.HexId, "0" * 23, "must be 24 hex digits"),
    (fields.Uuid, "0190c2d4", "pattern"),
    (fields.Metadata, {"a": "x" * 20}, "must be at most 20 bytes as JSON"),
    (fields.Metadata, {"a\0": 1}, "NUL"),
    (fields.Placeholders, {"a": [1]}, "values must be text, numbers or booleans; 'a' is not"),
    (fields.Placeholders, {"a": 1, "b": 2, "c": 3}, "must have at most 2 values"),
    (fields.Placeholders, {"n" * 9: 1}, "names must be at most 8 characters long"),
    (fields.Moment, "1969-12-31T23:59:59Z", "must be a time with a UTC offset"),
    (fields.Moment, "2026-01-15T10:30:00", "must be a time with a UTC offset"),
    (fields.Moment, "2026-02-30T10:30:00Z", "must be a time with a UTC offset"),
    (fields.Moment, "9999-01-01T00:00:00Z", "must be a time with a UTC offset"),
    (fields.ActionUrl, "java\nscript:alert(1)", "must not be a javascript: URL"),
    (fields.ActionUrl, " \x01DATA:text/html,x", "must not be a data: URL"),
    (fields.PictureUrl, "/a.png", "must be a URL such as"),
    (fields.PictureUrl, "ftp://example.org/a.png", "must be a URL such as"),
    (fields.Amount, 10, "must be at most 9"),
    (fields.Amount, 0, "greater than or equal to 1"),
    (fields.Opaque, "a/b", "must be 1 to 255 characters"),
    (fields.Opaque, "a" * 256, "must be 1 to 255 characters"),
    (fields.Token, "", "must be 1 to 512 characters"),
    (fields.TemplateKey, ".a", "must consist of letters, digits"),
    (fields.AnyName, "x", "must be 24 hex digits, a uuid or a number"),
    (fields.AnyName, True, "must be 24 hex digits, a uuid or a number"),
]


@pytest.mark.parametrize(("field", "value", "expected"), ACCEPTED)
def test_a_value_that_is_accepted(field: Any, value: object, expected: object) -> None:
    assert read(field, value) == expected


@pytest.mark.parametrize(("field", "value", "sentence"), REFUSED)
def test_a_value_that_is_refused(field: Any, value: object, sentence: str) -> None:
    with pytest.raises(ValidationError) as caught:
        read(field, value)
    assert sentence.lower() in str(caught.value).lower()
