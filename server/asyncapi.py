"""The AsyncAPI 3.0 document of the socket, made of the tables of events and the models that their handlers use.

https://www.asyncapi.com/docs/reference/specification/v3.0.0
"""

from typing import Any, Literal

from pydantic import TypeAdapter

from realtime.namespace import INBOUND, Auth
from realtime.schema.envelope import Envelope
from realtime.schema.events import OUTBOUND, Place
from realtime.schema.limits import Limits
from realtime.transport.frames import NAMESPACE
from server import field_texts, samples
from server.openapi import REF, VERSION, units

Mode = Literal["validation", "serialization"]
INTRODUCTION = f"""Socket.IO v5 over Engine.IO v4, at the path `/socket.io/`, namespace `{NAMESPACE}`.

CONNECT carries the payload of the message `connect`. What is refused comes as CONNECT_ERROR: `authentication required`,
`token expired`, `unsupported version`, `forbidden origin`, `malformed auth`. Every event of a client is answered, if it asks
for an ack, with the envelope that REST answers in. Durable events come with two arguments: the document and its place."""


def document(limits: Limits, url: str) -> dict[str, Any]:
    """The whole document; ``url`` is how clients reach the server."""
    outputs: list[Any] = [Envelope, Place, *(each.document for each in OUTBOUND.values())]
    outputs += [each.answer for each in INBOUND.values()]
    bodies: list[Any] = [Auth, *(each.body for each in INBOUND.values())]
    wanted: dict[tuple[Any, Mode], TypeAdapter[Any]] = {(each, "serialization"): TypeAdapter(each) for each in outputs}
    wanted |= {(each, "validation"): TypeAdapter(each) for each in bodies}
    inputs = [(key, key[1], adapter) for key, adapter in wanted.items()]
    schemas, definitions = TypeAdapter.json_schemas(inputs, ref_template=REF)
    found = {key: schema for (key, _), schema in schemas.items()}
    messages = {"connect": message("connect", "The payload of CONNECT", found[Auth, "validation"])}
    operations: dict[str, Any] = {"connect": operation("receive", "connect", "Connect")}
    for name, inbound in INBOUND.items():
        key, sample = key_of(name), samples.everything()["inbound"][name]
        messages[key] = message(name, inbound.summary, found[inbound.body, "validation"], sample["payload"])
        answer = acknowledged(found[Envelope, "serialization"], found[inbound.answer, "serialization"])
        messages[f"{key}_ack"] = message(name, "Acknowledgement", answer, sample["ack"])
        operations[key] = {
            **operation("receive", key, inbound.summary), "reply": reply(f"{key}_ack"), **units(inbound),
        }  # fmt: skip
    for name, outbound in OUTBOUND.items():
        key = f"on_{key_of(name)}"
        payload = found[outbound.document, "serialization"]
        sample = samples.everything()["outbound"][name]
        if outbound.durable:
            payload = {
                "type": "array", "items": [payload, found[Place, "serialization"]], "minItems": 2, "maxItems": 2,
            }  # fmt: skip
        messages[key] = message(
            name, outbound.summary, payload, sample if outbound.durable else next(iter(sample), None)
        )
        operations[key] = operation("send", key, outbound.summary)
    components = definitions.get("$defs", {})
    field_texts.describe(components, [])
    scheme, _, rest = url.partition("://")
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Bellwire", "version": VERSION, "description": INTRODUCTION,
            "license": {"name": "MIT", "url": "https://opensource.org/license/mit"},
            "contact": {"name": "Bellwire", "url": url},
            "tags": [{"name": "chat", "description": "Messages, typing, read receipts, presence and notifications"}],
        },
        "defaultContentType": "application/json",
        "servers": {
            "here": {
                "host": rest.partition("/")[0], "pathname": "/socket.io/", "protocol": "wss" if scheme == "https" else "ws",
            }
        },
        "channels": {
            "chat": {
                "address": NAMESPACE,
                "messages": {key: {"$ref": f"#/components/messages/{key}"} for key in messages},
            }
        },
        "operations": operations,
        "components": {"messages": messages, "schemas": components},
        "x-limits": limits.shown(),
    }  # fmt: skip


def key_of(name: str) -> str:
    return name.replace(":", "_")


def message(name: str, summary: str, payload: dict[str, Any], sample: Any = None) -> dict[str, Any]:
    described = {"name": name, "title": name, "summary": summary, "payload": payload}
    return described | ({"examples": [{"payload": sample}]} if sample is not None else {})


def operation(action: str, key: str, summary: str) -> dict[str, Any]:
    return {
        "action": action, "summary": summary, "description": f"{summary}.", "channel": {"$ref": "#/channels/chat"},
        "messages": [{"$ref": f"#/channels/chat/messages/{key}"}],
    }  # fmt: skip


def reply(key: str) -> dict[str, Any]:
    return {"channel": {"$ref": "#/channels/chat"}, "messages": [{"$ref": f"#/channels/chat/messages/{key}"}]}


def acknowledged(envelope: dict[str, Any], answer: dict[str, Any]) -> dict[str, Any]:
    """The envelope, its data what REST would answer, null where ``isSuccess`` is false."""
    data = {"anyOf": [answer, {"type": "null"}]}
    return {"allOf": [envelope, {"type": "object", "properties": {"data": data}}]}
