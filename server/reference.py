"""The reference as pages of text: ``python -m server.reference`` writes them into ``docs``.

REST is made of the OpenAPI document, with the request and answer of ``server/samples.json``; the socket and webhooks of the
AsyncAPI document and the same file; limits of their table.
"""

import dataclasses
import json
import re
import shlex
import sys
from pathlib import Path
from typing import Any

from realtime.schema.limits import Limits
from server import asyncapi, field_texts, openapi, samples, socket_reference
from server.dialects import HEADER
from server.reference_tables import fields, table, type_of
from server.route import Route
from server.routes import ROUTES
from server.settings import LIMIT_PREFIX, PREFIX, Settings
from storage.types import camel

HERE = "http://127.0.0.1:8080"
FOLDER = Path("docs")
MADE = "<!-- Made by: python -m server.reference -->\n"
# Of long lists in answers, so many items are shown.
SHOWN_ITEMS = 1
INTRODUCTION = """# REST

Every route, with a request and its answer, as a test made and got them. The same is at `/openapi.json` for programs, and at
`/docs` to try; what travels over the socket is in [socket events](socket.md).

```sh
TOKEN=$(.venv/bin/python run.py token --user ann@example.org)
curl http://127.0.0.1:8080/api/v1/users/me -H "Authorization: Bearer $TOKEN"
```

A body is JSON, at most 256 KiB. `/api/v1` answers in an envelope, `/api/v2` with the document alone; notifications are
answered in the caller's [dialect](dialects.md). Where an `Idempotency-Key` is accepted, the same key again does nothing
twice. Errors say what was wrong in `errors` and `details`, and their reason in `X-Error-Code`: see [errors](errors.md). `429`
has `Retry-After`. The `X-Request-ID` of an answer is the one in the server's log. A page of a list has `nextCursor`, to be
sent as `cursor` for the next page; null where there is none.

Ids, tokens and times in the samples are made up.
"""
LIMITS = """# Limits

As `session:ready` and `x-limits` of `/openapi.json` name them. What exceeds a limit is refused with an error that says so:
`400` for a value (`422` in the dialect `laravel`), `409` for too many of one kind, `413` for a body or a file, `429` with
`Retry-After` for a rate, `503` where too many wait. [Errors](errors.md) has their codes.

"""


def pages() -> dict[str, str]:
    """Every page, by its path in ``docs``."""
    document = openapi.document(ROUTES, Limits(), HERE)
    by_tag: dict[str, list[Route]] = {}
    for route in ROUTES:
        by_tag.setdefault(openapi.tag(route), []).append(route)
    assert by_tag.keys() == field_texts.TAGS.keys()
    made = {f"rest/{tag}.md": tag_page(document, tag, routes) for tag, routes in by_tag.items()}
    of_socket = asyncapi.document(Limits(), HERE)["components"]["schemas"]
    made["rest/schemas.md"] = schemas_page(of_socket | document["components"]["schemas"])
    made["rest.md"] = index_page(document, by_tag)
    made["socket.md"] = MADE + socket_reference.socket_page(HERE)
    made["webhook-calls.md"] = MADE + socket_reference.webhook_page()
    made["limits.md"] = MADE + limits_page()
    return made


def index_page(document: dict[str, Any], by_tag: dict[str, list[Route]]) -> str:
    lines = [MADE + INTRODUCTION]
    for tag, routes in by_tag.items():
        rows = [
            [f"[`{each.method} {each.path}`](rest/{tag}.md#{anchor(each)})", described(document, each)["summary"]]
            for each in routes
        ]
        lines.append(f"## {title(tag)}\n\n{field_texts.TAGS[tag]}.\n\n{table(['route', ''], rows)}\n")
    toctree = "\n".join([*(f"rest/{tag}" for tag in by_tag), "rest/schemas"])
    lines.append(f"```{{toctree}}\n:hidden:\n\n{toctree}\n```\n")
    return "\n".join(lines)


def tag_page(document: dict[str, Any], tag: str, routes: list[Route]) -> str:
    parts = [f"{MADE}# {title(tag)}\n\n{field_texts.TAGS[tag]}.\n"]
    for route in routes:
        parts.append(
            f"({anchor(route)})=\n\n## `{route.method} {route.path}`\n\n{notes(route, described(document, route))}\n"
        )
        parts += [part for part in (parameters(document, route), body(document, route)) if part]
        parts.append(calls(document, route))
    return "\n".join(parts)


def schemas_page(schemas: dict[str, Any]) -> str:
    parts = [f"{MADE}# Schemas\n\nThe objects of requests, answers and events. A field with \\* is always there.\n"]
    for name, schema in sorted(schemas.items()):
        if rows := fields(schema, ""):
            text = schema.get("description", "").split("\n\n")[0].replace("\n", " ")
            parts.append(f"(schema-{name.lower()})=\n\n## {name}\n\n{text}\n\n{table(['field', 'type', ''], rows)}\n")
    return "\n".join(parts)


def limits_page() -> str:
    rows = []
    for each in dataclasses.fields(Limits):
        setting = f"{PREFIX}{LIMIT_PREFIX}{each.name}".upper()
        is_setting = f"{LIMIT_PREFIX}{each.name}" in Settings.model_fields
        meaning = each.metadata.get("description", "")
        rows.append([f"`{camel(each.name)}`", str(each.default), meaning, f"`{setting}`" if is_setting else ""])
    return LIMITS + table(["limit", "default", "what it limits", "setting"], rows) + "\n"


def described(document: dict[str, Any], route: Route) -> dict[str, Any]:
    found: dict[str, Any] = document["paths"][route.path][route.method.lower()]
    return found


def title(tag: str) -> str:
    return tag.capitalize()


def anchor(route: Route) -> str:
    return re.sub(r"[^a-z0-9]+", "-", f"{route.method} {route.path}".lower()).strip("-")


def notes(route: Route, operation: dict[str, Any]) -> str:
    said = [f"{operation['summary']}."]
    if route.answer is bytes and route.public:
        said.append("Needs a token, or a link that was made for the file.")
    elif route.public:
        said.append("Needs no token.")
    if route.permission:
        said.append(f"Needs the permission `{route.permission}`.")
    if route.keyed:
        said.append("Accepts an `Idempotency-Key`.")
    if route.units_per_item:
        said.append(f"Costs {route.units:g} units, and {route.units_per_item:g} an item.")
    else:
        said.append(f"Costs {route.units:g} units.")
    return " ".join(said)


def parameters(document: dict[str, Any], route: Route) -> str:
    rows = []
    for each in described(document, route).get("parameters", ()):
        schema = each["schema"]
        text = each.get("description") or schema.get("description", "")
        required = "" if each["required"] else "optional"
        rows.append([f"`{each['name']}`", each["in"], type_of(schema, "schemas.md"), required, text])
    return table(["parameter", "in", "type", "", ""], rows) + "\n" if rows else ""


def body(document: dict[str, Any], route: Route) -> str:
    """The fields of a body; of each dialect, where they differ."""
    content = described(document, route).get("requestBody", {}).get("content", {})
    if not content:
        return ""
    schema = (content.get("application/json") or content["multipart/form-data"])["schema"]
    parts = []
    for each in schema.get("oneOf", [schema]):
        name = each["$ref"].rpartition("/")[2]
        rows = fields(document["components"]["schemas"][name], "schemas.md")
        parts.append(f"Body [{name}](schemas.md#schema-{name.lower()}):\n\n{table(['field', 'type', ''], rows)}\n")
    return "\n".join(parts)


def request(route: Route, sample: dict[str, Any]) -> str:
    """What a sample sent, in shell."""
    words = ["curl"] + ([] if route.method == "GET" or "body" in sample else ["-X", route.method])
    if route.method not in ("GET", "POST") and "body" in sample:
        words += ["-X", route.method]
    parts = [" ".join([*words, shlex.quote(HERE + sample["path"])])]
    if not route.public or route.answer is bytes:
        parts.append('-H "Authorization: Bearer $TOKEN"')
    if sample.get("dialect"):
        parts.append(f'-H "{HEADER}: {sample["dialect"]}"')
    if sample.get("form"):
        parts += [f"-F {shlex.quote(f'{name}={value}')}" for name, value in sample.get("body", {}).items()]
        parts.append("-F file=@picture.png")
    elif "body" in sample:
        parts += [
            '-H "Content-Type: application/json"',
            f"-d {shlex.quote(json.dumps(sample['body'], ensure_ascii=False))}",
        ]
    if route.answer is bytes:
        parts.append("-o picture.png")
    return " \\\n  ".join(parts)


def calls(document: dict[str, Any], route: Route) -> str:
    """A request with its answer, in each dialect, and the errors that the route has."""
    operation, found = described(document, route), samples.of_route(route.method, route.path)
    by_dialect = {each.get("dialect", ""): each for each in reversed(found)}
    parts = []
    for name, sample in reversed(by_dialect.items()):
        if len(by_dialect) > 1:
            parts.append(f"In the dialect `{name}`:\n")
        parts += [f"```sh\n{request(route, sample)}\n```\n", answer(route, operation, sample)]
    errors = ", ".join(f"`{status}`" for status in sorted(operation["responses"]) if status >= "400")
    return "\n".join([*parts, f"Errors: {errors}.\n"])


def answer(route: Route, operation: dict[str, Any], sample: dict[str, Any]) -> str:
    status = sample["status"]
    if "answer" not in sample:
        return f"`{status}` with the file.\n"
    schema = operation["responses"][str(status)].get("content", {}).get("application/json", {}).get("schema")
    of_type = f", {type_of(schema, 'schemas.md')}" if schema and "oneOf" not in schema else ""
    lines = sample["answer"] if route.answer not in openapi.PLAIN else sample["answer"][:SHOWN_ITEMS]
    return f"`{status}`{of_type}:\n\n```json\n{shown(lines)}\n```\n"


def shown(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False)


def write(folder: Path) -> None:
    """Write all pages, and remove those of routes that are there no more."""
    made = pages()
    for old in (folder / "rest").glob("*.md"):
        if f"rest/{old.name}" not in made:
            old.unlink()
    for name, text in made.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


if __name__ == "__main__":
    write(Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER)
