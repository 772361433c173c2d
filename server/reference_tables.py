"""Schemas as tables of Markdown."""

import json
from collections.abc import Sequence
from typing import Any


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    lines += ["| " + " | ".join(cell(each) for each in row) + " |" for row in rows]
    return "\n".join(lines)


def cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def fields(schema: dict[str, Any], page: str) -> list[list[str]]:
    """A row for each property: its name, type and text; ``page`` is where schemas are described."""
    required = schema.get("required", ())
    return [
        [f"`{name}`" + (" \\*" if name in required else ""), type_of(each, page), each.get("description", "")]
        for name, each in schema.get("properties", {}).items()
    ]


def type_of(schema: dict[str, Any], page: str) -> str:
    """In words, with links to other schemas."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}]({page}#schema-{name.lower()})"
    for several in ("anyOf", "oneOf"):
        if several in schema:
            return " or ".join(dict.fromkeys(type_of(each, page) for each in schema[several]))
    if "allOf" in schema:
        return " with ".join(type_of(each, page) for each in schema["allOf"])
    if "enum" in schema:
        return ", ".join(f"`{each}`" for each in schema["enum"])
    if "const" in schema:
        return f"`{json.dumps(schema['const'])}`"
    match schema.get("type"):
        case "array":
            return f"list of {type_of(schema.get('items', {}), page)}"
        case "object" if "properties" in schema:
            inner = [type_of(each, page) for each in schema["properties"].values()]
            return "object with " + ", ".join(
                f"`{name}`: {each}" for name, each in zip(schema["properties"], inner, strict=True)
            )
        case "object" if isinstance(schema.get("additionalProperties"), dict):
            return f"object of {type_of(schema['additionalProperties'], page)}"
        case list():
            return " or ".join(schema["type"])
        case str() as plain:
            return plain + bounds(schema)
        case _:
            return "any"


def bounds(schema: dict[str, Any]) -> str:
    """Format and limits, where there are such."""
    said = [schema["format"]] if "format" in schema else []
    lowest = schema.get("minLength", schema.get("minimum"))
    highest = schema.get("maxLength", schema.get("maximum"))
    if lowest is not None and highest is not None:
        said.append(f"{lowest} to {highest}")
    elif highest is not None:
        said.append(f"at most {highest}")
    elif lowest is not None:
        said.append(f"at least {lowest}")
    return f" ({', '.join(said)})" if said else ""
