"""The pages about the socket's events and about the calls of webhooks."""

import json
from typing import Any

from realtime.namespace import INBOUND
from realtime.schema.events import OUTBOUND
from realtime.schema.limits import Limits
from server import asyncapi, samples
from server.reference_tables import fields, table

SOCKET = """# Socket events

Socket.IO v5 over Engine.IO v4 at `/socket.io/`, namespace `/chat`. The same is at `/asyncapi.json` for programs. How a
client connects, keeps offsets and resumes is in [writing a client](clients.md).

CONNECT carries `{"token": …, "v": 1}`, and to resume `offsets` and `epoch`. A refusal is a CONNECT_ERROR: `authentication
required`, `token expired`, `unsupported version`, `forbidden origin` or `malformed auth`. Every event of a client that asks
for an acknowledgement gets the envelope in which REST answers. A durable event has two arguments: the document and its
place, `{"channel": …, "seq": …}`.
"""
SESSION = """## A whole session

As text: `>` is what the client sends, `<` what the server sends. The client connects, sends a message, reads it; then the
connection is lost, a message is missed, and the client resumes. `limits` of `session:ready` is shortened.
"""
WEBHOOK = """# Webhook calls

One call of each event, as an endpoint got it; [webhooks](webhooks.md) says how to register one, and how to verify a call.
"""


def socket_page(url: str) -> str:
    document = asyncapi.document(Limits(), url)
    found = samples.everything()
    parts = [SOCKET, SESSION, "```text", *found["session"], "```\n", "## What a client sends\n"]
    for name, inbound in INBOUND.items():
        sample = found["inbound"][name]
        cost = f"Costs {inbound.units:g} units" + (
            f", and {inbound.units_per_item:g} an item." if inbound.units_per_item else "."
        )
        parts += [f"### `{name}`\n", f"{inbound.summary}. {cost}\n", payload(document, asyncapi.key_of(name))]
        parts += [block(sample["payload"]), "Acknowledgement:\n", block(sample["ack"])]
    parts.append("## What the server sends\n")
    for name, outbound in OUTBOUND.items():
        kind = (
            "Durable: it has a place, and is sent again to a client that resumes."
            if outbound.durable
            else "Not durable."
        )
        parts += [f"### `{name}`\n", f"{outbound.summary}. {kind}\n", payload(document, f"on_{asyncapi.key_of(name)}")]
        parts += [block(each) for each in found["outbound"][name]]
    return "\n".join(parts)


def payload(document: dict[str, Any], key: str) -> str:
    """The fields of a message's payload, those of the document alone."""
    schema = document["components"]["messages"][key]["payload"]
    if schema.get("type") == "array":
        schema = schema["items"][0]
    if "$ref" in schema:
        schema = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    rows = fields(schema, "rest/schemas.md")
    return table(["field", "type", ""], rows) + "\n" if rows else ""


def webhook_page() -> str:
    parts = [WEBHOOK]
    for name, call in samples.everything()["webhooks"].items():
        parts += [f"## `{name}`\n", block(call)]
    return "\n".join(parts)


def block(value: Any) -> str:
    return f"```json\n{json.dumps(value, indent=2, ensure_ascii=False)}\n```\n"
