"""The REST reference as a page of text, with a request of curl's for every route: ``python -m server.reference``.

Made of the OpenAPI document, so of the route table and the models; ``docs/rest.md`` is what it prints.
"""

import json
import re
import shlex
from typing import Any

from realtime.schema.limits import Limits
from server import openapi
from server.route import Route
from server.routes import ROUTES

HERE = "http://127.0.0.1:8080"
ID = "6b0351d9ee38b0f9c600095c"
# What stands in the examples for fields of these names.
VALUES: dict[str, Any] = {
    "email": "ann@example.org", "password": "a long password", "old": "a long password", "new": "another password",
    "startsAt": "2030-01-01T20:00:00Z", "until": "2030-01-01T20:00:00Z", "createdAt": "2030-01-01T20:00:00Z",
    "uuid": "1284ac44-d293-4d14-a97b-58fc04ac51d0", "number": 1000001, "amount": 5, "limit": 50, "locale": "en",
    "timeZone": "Europe/Berlin", "content": "Hello", "deviceId": "my-phone", "platform": "ios", "pushToken": "0a1b2c",
    "environment": "sandbox", "bundleId": "org.example.app", "key": "welcome", "attributesType": "StreamAttributes",
    "permissions": ["users.manage"], "ttl": 3600, "avatarUrl": "https://example.org/ann.png", "reason": "spam",
    "url": "https://example.org/hook", "refreshToken": "$REFRESH", "token": "0a1b2c", "tenantId": "$TENANT",
    "tenant_id": "$TENANT", "query": "ann", "name": "example",
}  # fmt: skip
INTRODUCTION = """# REST

Every route, with a request to try. Made by `python -m server.reference` of the same document that the server shows at
`/openapi.json`, and for reading at `/docs`; what travels over the socket stands at `/docs/socket`.

    TOKEN=$(python run.py token --user ann@example.org)

A body is JSON, at most 256 KiB. `/api/v1` answers in an envelope, `/api/v2` with the document alone; notifications are
answered in the caller's [dialect](dialects.md). What is created takes an `Idempotency-Key` where that is said: the same
key again does nothing twice. Errors say what was wrong in `errors` and `details`; `429` has `Retry-After`. Every answer's
`X-Request-ID` is the one in the server's log.
"""


def page() -> str:
    """The whole reference, in Markdown."""
    document = openapi.document(ROUTES, Limits(), HERE)
    lines, section = [INTRODUCTION], ""
    for route in ROUTES:
        described = document["paths"][route.path][route.method.lower()]
        if described["tags"][0] != section:
            section = described["tags"][0]
            lines.append(f"## {section.capitalize()}\n")
        lines += [f"### `{route.method} {route.path}`\n", f"{notes(route, described)}\n", request(document, route), ""]
    return "\n".join(lines).rstrip() + "\n"


def notes(route: Route, described: dict[str, Any]) -> str:
    said = [f"{described['summary']}."]
    if route.public:
        said.append("Needs no token.")
    if route.permission:
        said.append(f"Needs `{route.permission}`.")
    if route.keyed:
        said.append("Takes an `Idempotency-Key`.")
    statuses = ", ".join(f"`{status}`" for status in sorted(described["responses"]) if status not in ("500", "503"))
    return " ".join([*said, f"Answers {statuses}."])


def request(document: dict[str, Any], route: Route) -> str:
    """A block of shell."""
    described = document["paths"][route.path][route.method.lower()]
    path = re.sub(r"{(\w+)}", lambda found: str(VALUES.get(found[1], ID)), route.path)
    query = "&".join(
        f"{each['name']}={example(document, each['schema'], each['name'])}"
        for each in described.get("parameters", ())
        if each["in"] == "query" and (each["required"] or each["name"] in ASKED.get(route.path, ()))
    )
    words = ["curl"] + ([] if route.method in ("GET", "POST") else ["-X", route.method])
    address = f"{HERE}{path}" + (f"?{query}" if query else "")
    if "/reactions" in route.path:
        # The key of a reaction is not that of a template.
        address = address.replace(VALUES["key"], ":heart:")
    command = " ".join([*words, shlex.quote(address)])
    parts = [command] + ([] if route.public else ['-H "Authorization: Bearer $TOKEN"'])
    content = described.get("requestBody", {}).get("content", {})
    if "application/json" in content:
        schema = content["application/json"]["schema"]
        if route.negotiated and "oneOf" in schema and not route.path.startswith("/api/"):
            # The dialect of these paths is the last of the three.
            schema = schema["oneOf"][-1]
        body = json.dumps(example(document, schema), ensure_ascii=False)
        quoted = '"' + body.replace('"', '\\"') + '"' if "$" in body else shlex.quote(body)
        parts += ['-H "Content-Type: application/json"', f"-d {quoted}"]
    elif content:
        parts.append("-F file=@picture.png")
    elif route.method == "POST":
        parts[0] = parts[0].replace("curl", "curl -X POST", 1)
    return "    " + " \\\n      ".join(parts)


def example(document: dict[str, Any], schema: dict[str, Any], name: str = "", model: str = "") -> Any:
    """Something that the schema, that of a ``model``, allows; no more than it requires."""
    if "$ref" in schema:
        place: Any = document
        for word in schema["$ref"].removeprefix("#/").split("/"):
            place = place[word]
        return example(document, place, name, word)
    if name in VALUES:
        return VALUES[name]
    if "const" in schema or "enum" in schema:
        return schema.get("const", schema.get("enum", [None])[0])
    for several in ("anyOf", "oneOf"):
        if several in schema:
            return example(document, schema[several][0], name)
    match schema.get("type"):
        case "object":
            needed = [*schema.get("required", ()), *OFTEN.get(model, ())]
            needed = needed or list(schema.get("properties", {}))[:1]
            return {each: example(document, schema["properties"][each], each) for each in needed if each != "id"}
        case "array":
            return [example(document, schema.get("items", {}), name.rstrip("s"))]
        case "integer" | "number":
            return max(1, schema.get("minimum", 1))
        case "boolean":
            return True
        case "string" if "-[0-9a-f" in schema.get("pattern", "") or schema.get("format") == "uuid":
            return VALUES["uuid"]
        case "string" if name.endswith(("Id", "Ids", "_id")) or "24" in schema.get("pattern", ""):
            return ID
        case _:
            return (name or "text").capitalize()


# Of bodies that require little: what a request is mostly made of.
OFTEN = {
    "SendMessage": ["chatId", "content"],
    "CreateChat": ["name", "memberIds"],
    "Sanctioning": ["until", "reason"],
    "BanMember": ["until", "reason", "delete"],
    "RegisterDevice": ["pushToken", "environment", "bundleId"],
}
# Of queries that require nothing by themselves.
ASKED = {"/api/v1/users": ["query"], "/api/v1/admin/push/deliveries": ["userId"]}

if __name__ == "__main__":
    print(page(), end="")
