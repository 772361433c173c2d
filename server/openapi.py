"""The OpenAPI 3.1 document, made of the route table and the models that the handlers use."""

import json as encoder
import re
from typing import Any, Literal

from pydantic import TypeAdapter

from realtime.namespace import Inbound
from realtime.schema.envelope import Envelope
from realtime.schema.fields import LONGEST_REACTION_KEY
from realtime.schema.limits import Limits
from server import field_texts, samples
from server.call import NoBody, NoQuery
from server.dialects import DIALECTS, HEADER, envelope
from server.route import Lines, Route
from server.word_lists import NAME as LIST_NAME

REF = "#/components/schemas/{model}"
# As pydantic names a generic type: Page_ChatDocument_.
GENERIC = re.compile(r"(Page|Listed)_(\w+)_")
VERSION = "1.0.0"
# Answers that are not JSON documents.
PLAIN = {
    bytes: {"*/*": {"schema": {"type": "string", "format": "binary"}}},
    Lines: {"application/x-ndjson": {"schema": {"type": "string"}}},
}
SUMMARY = "Chat, notifications and push over one durable event log"
DESCRIPTION = (
    "Send the `accessToken` of `/api/v1/auth/register` or `/api/v1/auth/login` as `Authorization: Bearer`. "
    "The header `X-Error-Code` of an error names its reason."
)
# Keywords whose own keys are names, and no keywords.
MEMBERS = ("properties", "patternProperties", "$defs")
Mode = Literal["validation", "serialization"]


def document(routes: list[Route], limits: Limits, url: str) -> dict[str, Any]:
    """The whole document. ``limits`` are shown beside it, as ``x-limits``."""
    wanted: dict[tuple[Any, Mode], TypeAdapter[Any]] = {(Envelope, "serialization"): TypeAdapter(Envelope)}
    for route in routes:
        inputs = types(route, route.body)
        outputs = [] if route.answer in PLAIN else types(route, route.answer)
        outputs = outputs + ([each.Error for each in DIALECTS.values()] if route.negotiated else [])
        wanted |= {(each, "validation"): TypeAdapter(each) for each in inputs if each is not NoBody}
        wanted |= {(each, "serialization"): TypeAdapter(each) for each in outputs}
    schemas, definitions = TypeAdapter.json_schemas(
        [(key, key[1], adapter) for key, adapter in wanted.items()],
        ref_template=REF,
    )
    schemas = {key: schema for (key, _), schema in schemas.items()}
    components = {plain_name(name): schema for name, schema in definitions.get("$defs", {}).items()}
    rename([*components.values(), *schemas.values()])
    for schema in (*components.values(), *schemas.values()):
        simplify(schema)
    for route in routes:
        if route.multipart == "only" and isinstance(route.body, type):
            components[f"{route.body.__name__}Form"] = form_of(components.pop(route.body.__name__))
    paths: dict[str, Any] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = with_samples(route, operation(route, schemas))
    field_texts.describe(components, [each for methods in paths.values() for each in methods.values()])
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Bellwire",
            "version": VERSION,
            "summary": SUMMARY,
            "description": DESCRIPTION,
            "contact": {"name": "Bellwire", "url": url},
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": url}],
        "security": [{"bearer": []}],
        "tags": [{"name": each, "description": field_texts.TAGS[each]} for each in dict.fromkeys(map(tag, routes))],
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}},
        },
        "x-limits": limits.shown(),
    }


def types(route: Route, named: Any) -> list[Any]:
    """The types of a body or an answer: one, or each dialect's own of that name."""
    return [getattr(each, named) for each in DIALECTS.values()] if isinstance(named, str) else [named]


def operation(route: Route, schemas: dict[Any, Any]) -> dict[str, Any]:
    described: dict[str, Any] = {
        "summary": route.summary,
        "description": f"{route.summary}.",
        "operationId": operation_id(route),
        "tags": [tag(route)],
        "responses": {str(route.status): {"description": "Success", "content": answer_content(route, schemas)}},
        **units(route),
    }
    if route.also_200:
        described["responses"]["200"] = described["responses"][str(route.status)] | {"description": "Already existed"}
    parameters: list[dict[str, Any]] = [
        {"name": name, "in": "path", "required": True, "schema": path_schema(route, name)}
        for name in re.findall(r"{(\w+)}", route.path)
    ]
    if route.query is not NoQuery:
        parameters += query_parameters(route)
    if route.keyed:
        parameters.append(header("Idempotency-Key", {"type": "string", "minLength": 1, "maxLength": 255}))
    if route.negotiated:
        parameters.append(header(HEADER, {"type": "string", "enum": list(DIALECTS)}))
    if parameters:
        described["parameters"] = parameters
    if route.body is not NoBody:
        schema = one_of([schemas[each, "validation"] for each in types(route, route.body)])
        content = form(route) if route.multipart == "only" else json(schema)
        if route.multipart == "too":
            # Not a model of its own: generators make none of what only a form uses, where there is JSON too.
            content["multipart/form-data"] = {"schema": schema, "encoding": {"file": {"contentType": "*/*"}}}
        described["requestBody"] = {"required": not route.bodiless, "content": content}
    speakers = list(DIALECTS.values()) if route.negotiated else [envelope]
    for status in sorted(error_statuses(route)):
        texts = [each.STATUSES[status] for each in speakers if status in each.STATUSES]
        errors = [schemas[each.Error, "serialization"] for each in speakers]
        described["responses"][str(status)] = {"description": texts[0], "content": json(any_of(errors))}
    if route.answer is bytes:
        describe_file(described)
    elif route.public:
        described["security"] = []
    return described


def with_samples(route: Route, described: dict[str, Any]) -> dict[str, Any]:
    """The operation with what one call of it sent and got."""
    found = samples.of_route(route.method, route.path)
    if not found:
        return described
    values = samples.parameters(route.path, found[0]["path"])
    for parameter in described.get("parameters", ()):
        if parameter["name"] in values:
            value = values[parameter["name"]]
            parameter["example"] = int(value) if parameter["schema"].get("type") == "integer" else value
    bodies = [each for each in found if not each.get("form")]
    if (content := described.get("requestBody", {}).get("content", {}).get("application/json")) is not None:
        content |= samples.described(bodies, "body")
    for status in {each["status"] for each in found}:
        content = described["responses"][str(status)].get("content", {}).get("application/json")
        if content is not None:
            content |= samples.described([each for each in found if each["status"] == status], "answer")
    return described


def units(priced: Route | Inbound[Any]) -> dict[str, float]:
    """What a call costs of the caller's budget."""
    each = {"x-units-per-item": priced.units_per_item} if priced.units_per_item else {}
    return {"x-units": priced.units, **each}


def describe_file(described: dict[str, Any]) -> None:
    """Whole, in part, or not at all if the client has it; by a token or by a link."""
    described["security"] = [{"bearer": []}, {}]
    described["responses"] |= {
        "206": {"description": "The part that was asked for", "content": PLAIN[bytes]},
        "304": {"description": "The client has it already"},
        "416": {"description": "Range not satisfiable"},
    }
    described["parameters"] += [header(name, {"type": "string"}) for name in ("Range", "If-Range", "If-None-Match")]


def form(route: Route) -> dict[str, Any]:
    assert isinstance(route.body, type)
    return {"multipart/form-data": {"schema": {"$ref": REF.format(model=f"{route.body.__name__}Form")}}}


def form_of(schema: dict[str, Any]) -> dict[str, Any]:
    """A body as the parts of a form: ``file`` is the file itself."""
    return {**schema, "properties": {**schema["properties"], "file": {"type": "string", "format": "binary"}}}


def answer_content(route: Route, schemas: dict[Any, Any]) -> dict[str, Any]:
    return PLAIN.get(route.answer) or json(answer_schema(route, schemas))


def answer_schema(route: Route, schemas: dict[Any, Any]) -> dict[str, Any]:
    answers = [schemas[each, "serialization"] for each in types(route, route.answer)]
    if route.negotiated:
        each_its_own = answers if len(answers) > 1 else answers * len(DIALECTS)
        return one_of([dialect.schema(each) for dialect, each in zip(DIALECTS.values(), each_its_own, strict=True)])
    return envelope.schema(answers[0]) if route.envelope else answers[0]


def error_statuses(route: Route) -> set[int]:
    statuses = {429, 500, 503, *route.errors}
    if route.body is not NoBody or route.query is not NoQuery:
        statuses |= {400}
        statuses |= {422} if route.negotiated else set()
    if route.body is not NoBody:
        statuses |= {413, 415}
    if route.negotiated:
        statuses |= {400}
    if not route.public or route.path.endswith(("/login", "/refresh", "/logout")):
        statuses |= {401}
    return statuses


def json(schema: dict[str, Any]) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}


def any_of(schemas: list[dict[str, Any]]) -> dict[str, Any]:
    return schemas[0] if len(schemas) == 1 else {"anyOf": schemas}


def one_of(schemas: list[dict[str, Any]]) -> dict[str, Any]:
    """Of each dialect its own, in which no other is written."""
    return schemas[0] if len(schemas) == 1 else {"oneOf": schemas}


def plain_name(name: str) -> str:
    """A schema's name without what Python makes of generic types, and of types that differ by direction."""
    if found := GENERIC.fullmatch(name):
        return found[2] + found[1].replace("Listed", "List")
    return name.replace("-Input", "Body").replace("-Output", "")


def rename(schema: Any) -> None:
    """Let references name schemas as ``plain_name`` does."""
    if isinstance(schema, list):
        for each in schema:
            rename(each)
    elif isinstance(schema, dict):
        if isinstance(schema.get("$ref"), str):
            place, _, name = schema["$ref"].rpartition("/")
            schema["$ref"] = f"{place}/{plain_name(name)}"
        rename(list(schema.values()))


def simplify(schema: Any) -> None:
    """Leave out what generators of clients stumble over, and says nothing: titles, which need not be unique, and defaults.

    ``null`` means absent, so that ``default: null`` says nothing; other defaults go into words, for generators make members
    with a default required.
    """
    if isinstance(schema, list):
        for each in schema:
            simplify(each)
    elif isinstance(schema, dict):
        if isinstance(schema.get("title"), str):
            del schema["title"]
        default = schema.pop("default", None)
        if default is not None:
            words = f"Default: {encoder.dumps(default)}."
            schema["description"] = f"{schema['description']} {words}" if "description" in schema else words
        if schema.get("const") is True:
            # openapi-generator's Python compares such a member with a text.
            del schema["const"]
        for name, each in schema.items():
            if name in MEMBERS and isinstance(each, dict):
                for member, part in each.items():
                    simplify(part)
                    if part == {"type": "null"}:
                        each[member] = {"const": None}
            else:
                simplify(each)


def header(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "in": "header", "required": False, "schema": schema}


def path_schema(route: Route, name: str) -> dict[str, Any]:
    if name == "number":
        return {"type": "integer", "minimum": 1}
    if name == "key" and route.path.endswith("/reactions/{key}"):
        return {"type": "string", "minLength": 1, "maxLength": LONGEST_REACTION_KEY}
    if name == "name":
        return {"type": "string", "pattern": f"^{LIST_NAME.pattern}$"}
    if "/sessions/" in route.path:
        return {"type": "string", "format": "uuid"}
    plain = route.negotiated or name in ("deviceId", "token")
    return {"type": "string"} if plain else {"type": "string", "pattern": "^[0-9a-f]{24}$"}


def query_parameters(route: Route) -> list[dict[str, Any]]:
    schema = route.query.model_json_schema()
    simplify(schema)
    required = schema.get("required", [])
    return [
        {"name": name, "in": "query", "required": name in required, "schema": simple(each)}
        for name, each in schema["properties"].items()
    ]


def simple(schema: dict[str, Any]) -> dict[str, Any]:
    """A query value is there or not, it is never null."""
    choices = [each for each in schema.get("anyOf", []) if each.get("type") != "null"]
    kept = choices[0] if choices else schema
    described = {name: schema[name] for name in ("description",) if name in schema}
    return {**kept, **described}


def words(route: Route) -> list[str]:
    """Of the path, without what every path of the API begins with."""
    path = re.sub("^/api/v[0-9]/", "/", route.path)
    return re.findall(r"\w+", path.replace("{", "by_"))


def tag(route: Route) -> str:
    return next(word for word in words(route) if not re.fullmatch("v[0-9]|notification", word))


def operation_id(route: Route) -> str:
    return "_".join([route.method.lower(), *words(route)])
