"""Payloads of HTTP polling: many packets in one body. https://github.com/socketio/engine.io-protocol (v4)"""

import asyncio
from typing import Any

from aiohttp import web
from engineio.exceptions import EngineIOError

from realtime.schema.limits import Limits
from realtime.transport import frames

SEPARATOR = b"\x1e"
KINDS = frozenset(b"%c" % kind for kind in b"123456b")


class Refused(EngineIOError):
    """A polling request that can't be served; the session ends and the client gets a 400"""


def payload(data: bytes) -> dict[str, Any]:
    """The answer to a poll, of frames made by ``realtime.transport.frames`` and joined."""
    return {
        "status": "200 OK",
        "headers": [("Content-Type", "text/plain; charset=UTF-8"), ("Cache-Control", "no-store")],
        "response": SEPARATOR.join(frames.split_frames(data)),
    }


async def read_body(request: web.Request, limits: Limits) -> bytes:
    """Raises Refused for one that is too long, or too long under way."""
    body = bytearray()
    try:
        async with asyncio.timeout(limits.body_seconds):
            async for chunk in request.content.iter_any():
                body += chunk
                if len(body) > limits.polling_payload:
                    raise Refused(f"A payload must be at most {limits.polling_payload} bytes")
    except TimeoutError:
        raise Refused(f"A payload must arrive within {limits.body_seconds:g} seconds") from None
    return bytes(body)


def packets(body: bytes, limits: Limits) -> list[str]:
    """The packets of a payload, all looked at before the first is handled. Raises Refused."""
    parts = body.split(SEPARATOR)
    if len(parts) > limits.polling_packets:
        raise Refused(f"A payload must have at most {limits.polling_packets} packets")
    if any(len(part) > limits.packet for part in parts):
        raise Refused(f"A packet must be at most {limits.packet} bytes")
    if any(part[:1] not in KINDS for part in parts):
        raise Refused("Not an Engine.IO packet")
    try:
        return [part.decode() for part in parts]
    except UnicodeDecodeError:
        raise Refused("The payload is not UTF-8") from None
