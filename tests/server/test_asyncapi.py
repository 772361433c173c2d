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
from tests.conftest import Served, ServerFactory
from tests.support.people import RawSocket

SCHEMA = Path("tests/node_modules/@asyncapi/specs/schemas/3.0.0.json")
# What the code writes as an event's name.
NAMES = re.compile(
    r'"((?:message|chat|notification|credit|stream|thread|session|channel|member):[a-z]+|typing|presence)"'
)
# No single test makes them all: they are shown where they are tested.
ELSEWHERE = {"channel:reset", "session:expiring"}


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


async def everything(server: Served, document: dict[str, Any]) -> tuple[list[RawSocket], dict[str, Any]]:
    """A day in which all events happen; the sockets that heard them, and the acks by event."""
    ann = await server.people.make(grant=["admin", "notifications.send"])
    bob = await server.people.make()
    mine, his = await ann.socket(), await bob.socket()
    chat, shared = await ann.group(bob), await ann.group(bob, name="they go on sharing this one")
    await bob.send(shared)
    await his.event("chat:new", 2)
    acks: dict[str, Any] = {}

    async def call(raw: RawSocket, name: str, payload: dict[str, Any]) -> Any:
        acks[name] = await raw.call(name, payload)
        return acks[name]["data"]

    sent = await call(mine, "message:send", {"type": "text", "chatId": chat, "content": "x"})
    await his.event("message:new")
    await call(his, "message:read", {"chatId": chat, "messageId": sent["_id"]})
    await call(mine, "message:edit", {"messageId": sent["_id"], "content": "y"})
    await call(his, "reaction:add", {"messageId": sent["_id"], "key": "👍"})
    await his.event("message:reactions")
    await call(his, "reaction:remove", {"messageId": sent["_id"], "key": "👍"})
    root = await ann.send(chat)
    reply = await ann.send(chat, threadId=root["_id"])
    await his.event("message:thread")
    await call(his, "message:read", {"chatId": chat, "messageId": reply["_id"]})
    await his.event("thread:read")
    await call(his, "typing", {"chatId": chat})
    older, dan = await ann.send(chat), await server.people.make()
    late = await dan.socket()
    await ann.post(f"/api/v2/chats/{chat}/members", {"userIds": [dan.id]})
    await late.event("chat:new")
    await ann.patch(f"/api/v2/messages/{older['_id']}", {"content": "z"})
    await late.event("channel:skip")
    await call(mine, "message:delete", {"messageId": sent["_id"]})
    await call(mine, "presence:watch", {"userIds": [bob.id]})
    await call(mine, "app:state", {"active": True})
    await call(mine, "session:refresh", {"token": ann.token})
    starts = {"title": "later", "startsAt": "2099-01-01T00:00:00Z"}
    stream = (await ann.post("/api/v1/streams", starts)).json["data"]["id"]
    await call(his, "stream:watch", {"streamId": stream})
    await ann.post(f"/api/v1/streams/{stream}/ready")
    await his.event("stream:status")
    await call(his, "stream:unwatch", {"streamId": stream})
    opened = (await ann.post("/api/v1/streams", {**starts, "audience": "open"})).json["data"]
    watched = await his.call("stream:watch", {"streamId": opened["id"]})
    check(document, "stream_watch_ack", watched)
    await call(his, "stream:react", {"streamId": opened["id"], "key": "👍"})
    await his.event("stream:viewers")
    await his.event("stream:reactions")
    await ann.post(f"/api/v2/chats/{chat}/members/{dan.id}/silence", {})
    await late.event("member:silenced")
    notification = {"userId": bob.id, "type": "info", "category": "c", "title": "t", "message": "m"}
    told = (await ann.post("/api/v1/notifications", notification)).json["data"]
    await his.event("notification:new")
    await call(his, "notification:read", {"id": told["id"]})
    await bob.delete(f"/api/v1/notifications/{told['id']}")
    await ann.post("/api/v1/credits/grants", {"userId": bob.id, "amount": 1})
    await his.event("credit:balance")
    await ann.patch(f"/api/v2/chats/{chat}", {"name": "another"})
    await ann.delete(f"/api/v2/chats/{chat}/members/{bob.id}")
    await his.event("chat:removed")
    for name in ("message:updated", "message:deleted", "chat:updated", "message:read", "typing"):
        await mine.event(name)
    await ann.post(f"/api/v1/admin/users/{bob.id}/sign-out")
    await his.event("session:closed")
    await mine.event("presence")
    return [mine, his, late], acks


async def test_what_goes_over_the_wire_is_as_it_says(document: dict[str, Any], serve: ServerFactory) -> None:
    sockets, acks = await everything(await serve(), document)
    heard = {name for raw in sockets for name, _ in raw.events}
    assert heard == OUTBOUND.keys() - ELSEWHERE
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
