"""The OpenAPI 3.1 document, made of the route table and the models that the handlers use."""

import re
from typing import Any

from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema

from realtime.envelope import TEXTS, Envelope
from realtime.limits import Limits
from server.call import NoBody, NoQuery, Route

REF = "#/components/schemas/{model}"
VERSION = "0.1.0"


def document(routes: list[Route], limits: Limits, url: str) -> dict[str, Any]:
    """The whole document. ``limits`` are shown beside it, as ``x-limits``."""
    inputs: dict[Any, TypeAdapter[Any]] = {
        model: TypeAdapter(model)
        for route in routes
        for model in (route.body, route.query)
        if model not in (NoBody, NoQuery)
    }
    outputs: dict[Any, TypeAdapter[Any]] = {str(route.answer): TypeAdapter(route.answer) for route in routes}
    outputs["error"] = TypeAdapter(Envelope)
    wanted = [(model, "validation", adapter) for model, adapter in inputs.items()]
    wanted += [(name, "serialization", adapter) for name, adapter in outputs.items()]
    schemas, definitions = TypeAdapter.json_schemas(wanted, ref_template=REF, schema_generator=GenerateJsonSchema)  # type: ignore[arg-type]
    components = definitions.get("$defs", {})
    paths: dict[str, Any] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = operation(route, schemas)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Bellwire",
            "version": VERSION,
            "summary": "Chat, notifications and push over one durable event log",
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": url}],
        "security": [{"bearer": []}],
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}},
        },
        "x-limits": limits.shown(),
    }


def operation(route: Route, schemas: dict[Any, Any]) -> dict[str, Any]:
    answer = schemas[str(route.answer), "serialization"]
    error = {"application/json": {"schema": schemas["error", "serialization"]}}
    described: dict[str, Any] = {
        "summary": route.summary,
        "operationId": operation_id(route),
        "tags": [route.path.split("/")[3]],
        "responses": {
            str(route.status): {
                "description": "Done",
                "content": {"application/json": {"schema": wrapped(answer) if route.envelope else answer}},
            }
        },
    }
    if route.also_200:
        described["responses"]["200"] = described["responses"][str(route.status)] | {"description": "It was so already"}
    parameters: list[dict[str, Any]] = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string", "pattern": "^[0-9a-f]{24}$"}}
        for name in re.findall(r"{(\w+)}", route.path)
    ]
    if route.query is not NoQuery:
        parameters += query_parameters(route)
    if route.keyed:
        schema = {"type": "string", "minLength": 1, "maxLength": 255}
        parameters.append({"name": "Idempotency-Key", "in": "header", "required": False, "schema": schema})
    if parameters:
        described["parameters"] = parameters
    if route.body is not NoBody:
        schema = schemas[route.body, "validation"]
        content = {"application/json": {"schema": schema}}
        if route.multipart:
            content["multipart/form-data"] = {"schema": schema}
        described["requestBody"] = {"required": not route.bodiless, "content": content}
    statuses = {500, 503, *route.errors}
    if route.body is not NoBody or route.query is not NoQuery:
        statuses |= {400}
    if route.body is not NoBody:
        statuses |= {413, 415}
    if not route.public or route.path.endswith(("/login", "/refresh", "/logout")):
        statuses |= {401}
    for status in sorted(statuses):
        described["responses"][str(status)] = {"description": TEXTS[status], "content": error}
    if route.public:
        described["security"] = []
    return described


def query_parameters(route: Route) -> list[dict[str, Any]]:
    schema = route.query.model_json_schema()
    required = schema.get("required", [])
    return [
        {"name": name, "in": "query", "required": name in required, "schema": simple(each)}
        for name, each in schema["properties"].items()
    ]


def simple(schema: dict[str, Any]) -> dict[str, Any]:
    """A query value is there or not, it is never null."""
    choices = [each for each in schema.get("anyOf", []) if each.get("type") != "null"]
    kept = choices[0] if choices else schema
    return {name: value for name, value in kept.items() if name not in ("title", "default")}


def wrapped(answer: dict[str, Any]) -> dict[str, Any]:
    """The envelope around a document."""
    return {
        "type": "object",
        "required": ["isSuccess", "statusCode", "data", "errors", "timestamp"],
        "properties": {
            "isSuccess": {"const": True},
            "statusCode": {"type": "integer"},
            "data": answer,
            "errors": {"type": "array", "items": {"type": "string"}, "maxItems": 0},
            "timestamp": {"type": "string", "format": "date-time"},
        },
    }


def operation_id(route: Route) -> str:
    words = re.findall(r"[a-zA-Z]+", route.path.removeprefix("/api").replace("{", "by_").replace("}", ""))
    return "_".join([route.method.lower(), *words[1:]]) if words[0] == "v" else "_".join([route.method.lower(), *words])
