"""The people, the tenant and the template of the published notification examples, and how each dialect speaks."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from tests.conftest import Served
from tests.support.people import Answer, Person

SEEDS = {
    name: orjson.loads(Path(f"tests/seeds/{name}.json").read_bytes()) for name in ("envelope", "laravel", "template")
}
TENANT = SEEDS["template"]["request"]["tenantId"]
MILLIS = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
MICROS = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")
SECONDS = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
ID = re.compile(r"[0-9a-f]{24}")
UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
TEMPLATE = {
    "tenantId": TENANT,
    "key": "DELEGATION_ISSUED",
    "category": "Delegations",
    "title": "Delegation Issued",
    "message": "Delegation {{ delegation_id }} was issued to you. Click to review.",
    "isActionable": True,
}
TEXTS = {
    "envelope": {
        400: "Validation failed",
        401: "Authentication required",
        403: "Insufficient permissions",
        404: "Resource not found",
        405: "Method not allowed",
        409: "Resource already exists or cannot be changed in its current state",
        413: "Payload too large",
        415: "Unsupported media type",
        500: "Internal server error",
    },
    "laravel": {
        400: "Bad Request",
        401: "Unauthenticated.",
        403: "Forbidden",
        404: "Not Found",
        405: "Method Not Allowed",
        409: "Conflict",
        413: "Payload Too Large",
        415: "Unsupported Media Type",
        422: "Validation failed",
        500: "Server Error",
    },
}
TEXTS["template"] = TEXTS["laravel"] | {401: "Unauthorized"}


@dataclass
class World:
    """The recipient of the examples, who may send, and one who may not."""

    server: Served
    recipient: Person
    sender: Person
    tenant_pk: int

    async def person(self, **options: Any) -> Person:
        return await self.server.people.make(tenant=self.tenant_pk, **options)


async def world(server: Served) -> World:
    tenant_pk = await server.people.tenant(TENANT)
    recipient = await server.people.make(
        tenant=tenant_pk,
        id=SEEDS["envelope"]["request"]["userId"],
        number=SEEDS["laravel"]["request"]["user_id"],
        uuid=SEEDS["template"]["request"]["userId"],
        email="user@example.com",
    )
    sender = await server.people.make(
        tenant=tenant_pk, number=2, email="sender@example.com", grant=["notifications.send", "templates.manage"]
    )
    answer = await sender.post("/v1/templates", TEMPLATE)
    assert answer.status == 201, answer
    return World(server, recipient, sender, tenant_pk)


def speak(name: str) -> dict[str, str]:
    return {"X-API-Dialect": name}


def send(who: Any, name: str, **changes: Any) -> Any:
    """The example of a dialect, with changes, as sent."""
    seed = SEEDS[name]
    return who.post(seed["path"], {**seed["request"], **changes})


def document(name: str, answer: Answer) -> Any:
    """What a dialect's answer carries."""
    return answer.json if name == "laravel" else answer.json["data"]


def is_error(name: str, answer: Answer, status: int) -> bool:
    """Exactly the dialect's error: status, texts and keys."""
    if answer.status != status:
        return False
    body = answer.json
    text = TEXTS[name][status]
    if name == "laravel":
        return {*body} == ({"message", "errors"} if status == 422 else {"message"}) and body["message"] == text
    if not MILLIS.fullmatch(body.pop("timestamp")):
        return False
    if name == "envelope":
        body.pop("details", None)
        return bool(body == {"isSuccess": False, "statusCode": status, "data": None, "errors": [text]})
    errors = body.pop("errors")
    return isinstance(errors, list) and body == {"statusCode": status, "message": text, "data": None}
