"""The socket's reference: valid, complete, and true to what goes over the wire."""

import re
from pathlib import Path
from typing import Any, get_args

import jsonschema
import orjson
import pytest

from realtime.namespace import INBOUND
from realtime.schema.bodies import WebhookEvent
from realtime.schema.events import OUTBOUND
from server.asyncapi import key_of
from tests.conftest import ServerFactory
from tests.samples.socket import SocketStory

SCHEMA = Path("tests/node_modules/@asyncapi/specs/schemas/3.0.0.json")
# What the code writes as an event's name.
NAMES = re.compile(
    r'"((?:message|chat|notification|credit|stream|thread|session|channel|member):[a-z]+|typing|presence)"'
)


@pytest.fixture
async def document(serve: ServerFactory) -> dict[str, Any]:
    server = await serve()
    return dict((await server.people.anonymous.get("/asyncapi.json")).json)


def test_every_event_of_the_code_is_in_a_table() -> None:
    written = set()
    for path in (*Path("realtime").rglob("*.py"), *Path("storage").glob("*.py")):
        if path.name not in ("events.py", "namespace.py"):
            written |= set(NAMES.findall(path.read_text()))
    written |= {"typing", "presence"}
    # What webhooks alone hear of.
    written -= {*get_args(WebhookEvent)} - OUTBOUND.keys()
    assert written - INBOUND.keys() <= OUTBOUND.keys()
    assert OUTBOUND.keys() - written == set(), "no event is promised that nobody sends"


async def test_the_document_is_valid(document: dict[str, Any]) -> None:
    jsonschema.Draft7Validator(orjson.loads(SCHEMA.read_bytes())).validate(document)
    operations = document["operations"]
    assert {key_of(name) for name in INBOUND} | {"connect"} == {
        k for k, v in operations.items() if v["action"] == "receive"
    }
    assert {f"on_{key_of(name)}" for name in OUTBOUND} == {k for k, v in operations.items() if v["action"] == "send"}
    for each in document["components"]["messages"].values():
        jsonschema.Draft7Validator.check_schema({**each["payload"], "components": document["components"]})


def check(document: dict[str, Any], key: str, value: Any) -> None:
    schema = {**document["components"]["messages"][key]["payload"], "components": document["components"]}
    jsonschema.validate(value, schema, cls=jsonschema.Draft7Validator)


async def test_what_goes_over_the_wire_is_as_it_says(document: dict[str, Any], serve: ServerFactory) -> None:
    story = SocketStory(await serve())
    sockets, acks = await story.run(), story.acks
    heard = {name for raw in sockets for name, _ in raw.events}
    assert heard == OUTBOUND.keys()
    for raw in sockets:
        for name, arguments in raw.events:
            check(document, f"on_{key_of(name)}", arguments if OUTBOUND[name].durable else arguments[0])
    assert acks.keys() == INBOUND.keys()
    for name, ack in acks.items():
        assert ack["isSuccess"], (name, ack)
        check(document, f"{key_of(name)}_ack", ack)
    failed = {**acks["typing"], "isSuccess": False, "data": None}
    check(document, "typing_ack", failed)
    with pytest.raises(jsonschema.ValidationError):
        check(document, "typing_ack", {**failed, "data": {"chatId": 1}})
