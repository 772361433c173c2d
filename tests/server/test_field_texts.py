"""Every property and parameter of the API has a description, and no text describes what is not there."""

from typing import Any

from realtime.schema.limits import Limits
from server import asyncapi, field_texts, openapi
from server.routes import ROUTES

DOCUMENT: dict[str, Any] = openapi.document(ROUTES, Limits(), "http://127.0.0.1:8080")
SCHEMAS: dict[str, Any] = {
    **asyncapi.document(Limits(), "http://127.0.0.1:8080")["components"]["schemas"],
    **DOCUMENT["components"]["schemas"],
}
PARAMETERS = [
    parameter
    for methods in DOCUMENT["paths"].values()
    for each in methods.values()
    for parameter in each.get("parameters", ())
]


def test_every_property_has_a_description() -> None:
    missing = [
        f"{name}.{field}"
        for name, schema in SCHEMAS.items()
        for field, of_field in schema.get("properties", {}).items()
        if not of_field.get("description") or of_field["description"].startswith("Default: ")
    ]
    assert missing == []


def test_every_parameter_has_a_description() -> None:
    without = [
        each["name"]
        for each in PARAMETERS
        if not (text := each.get("description") or each["schema"].get("description")) or text.startswith("Default: ")
    ]
    assert without == []


def test_every_text_describes_something() -> None:
    fields = {
        known
        for name, schema in SCHEMAS.items()
        for field in schema.get("properties", {})
        for known in (field, f"{name}.{field}")
    }
    assert set(field_texts.FIELDS) - fields == set()
    assert set(field_texts.PARAMETERS) - {each["name"] for each in PARAMETERS} == set()


def test_names_of_schemas_are_plain() -> None:
    assert [name for name in SCHEMAS if not name.isalnum()] == []
