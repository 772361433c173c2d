"""HTTP polling: what waits for the next poll, and payloads, many packets in one body.

Protocol: https://github.com/socketio/engine.io-protocol (v4)
"""

import asyncio
import math
import time
from typing import Any

from aiohttp import web
from engineio.exceptions import EngineIOError

from realtime.schema.limits import Limits
from realtime.transport import frames

SEPARATOR = b"\x1e"
KINDS = frozenset(b"%c" % kind for kind in b"123456b")
# python-engineio's client accepts no more packets in one polling payload (Payload.max_decode_packets).
POLL_FRAMES = 16


class Refused(EngineIOError):
    """A polling request that can't be served; the session ends and the client gets a 400"""


class PollQueue:
    """What waits for the client's next poll, and the poll that waits for something to be sent."""

    __slots__ = ("drained_at", "frames", "size", "waiter")

    def __init__(self) -> None:
        # Oldest first, each frame by itself.
        self.frames: list[bytes] = []
        # Of all frames, in bytes.
        self.size = 0
        # When the queue was emptied last, of time.monotonic(): the client's next request shows that it has got it all.
        self.drained_at = -math.inf
        # The poll that waits. Its result is the whole answer; None takes the answer from the queue.
        self.waiter: asyncio.Future[bytes | None] | None = None

    def put(self, data: bytes) -> None:
        """``data`` is frames made by ``realtime.transport.frames`` and joined."""
        self.frames += frames.single_frames(data)
        self.size += len(data)
        self.answer(None)

    def pop(self, most: int | None = None) -> bytes:
        """All frames, or ``most`` of them, joined."""
        data = b"".join(self.frames[:most])
        del self.frames[:most]
        self.size -= len(data)
        if not self.frames:
            self.drained_at = time.monotonic()
        return data

    @property
    def polled(self) -> bool:
        """Whether a poll waits for its answer."""
        return self.waiter is not None and not self.waiter.done()

    def answer(self, data: bytes | None) -> None:
        """Answer the poll that waits, if one does, with ``data``, or with what the queue holds."""
        if self.waiter is not None and not self.waiter.done():
            self.waiter.set_result(data)

    async def wait(self, seconds: float) -> bytes:
        """The answer to a poll. Raises TimeoutError."""
        if not self.frames:
            self.waiter = asyncio.get_running_loop().create_future()
            try:
                async with asyncio.timeout(seconds):
                    data = await self.waiter
            finally:
                self.waiter = None
            if data is not None:
                return data
        # A client handles CLOSE before the events beside it: it goes alone, with a later poll.
        return self.pop(POLL_FRAMES)


def payload(data: bytes) -> dict[str, Any]:
    """The answer to a poll, of frames made by ``realtime.transport.frames`` and joined."""
    return {
        "status": "200 OK",
        "headers": [("Content-Type", "text/plain; charset=UTF-8"), ("Cache-Control", "no-store")],
        "response": SEPARATOR.join(frames.split_frames(data)),
    }


async def read_body(request: web.Request, limits: Limits) -> bytes:
    """Raises Refused for one that is too long, or takes too long to arrive."""
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
    """The packets of a payload, all checked before the first is handled. Raises Refused."""
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
