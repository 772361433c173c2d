"""What travels between nodes, in bytes: signed with a key that only this installation has, so that nothing else is accepted.

A hint is an event up to 8 KiB, else its place; that of an event about an older object is its place with the event behind
it. An ephemeral event's signature is of its time too, so that one that was recorded is soon worth nothing
(an event that comes again is known by its seq). Each is ``kind, node, signature, body``.
"""

import hashlib
import secrets
import struct
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import orjson

from realtime.schema.limits import KIB
from storage.transaction import Event

LARGEST_BYTES = 8 * KIB
NODE, SIGNATURE = 8, 16
EVENT, POSITION, EPHEMERAL = b"e", b"p", b"w"
HEAD = 1 + NODE + SIGNATURE
# An ephemeral event counts in the window in which it was signed, and those beside it: clocks may differ by so much.
WINDOW_SECONDS = 30
NUMBERS = struct.Struct(">QQBB")
ABOUT = struct.Struct(">Q")
WINDOW = struct.Struct(">Q")


class LogPosition(NamedTuple):
    """An event that is in the log."""

    channel_pk: int
    seq: int


class Ephemeral(NamedTuple):
    topic: str
    name: str
    exclude: str | None
    document: Any


class Forged(Exception):
    """Nothing that a node of this installation has written"""


class Hints:
    """``key`` is asked each time, for a new epoch has another."""

    def __init__(self, key: Callable[[], bytes]) -> None:
        self.key = key
        self.node = secrets.token_bytes(NODE)

    def of_event(self, event: Event) -> bytes:
        if len(event.payload) > LARGEST_BYTES:
            return self._sealed(POSITION, NUMBERS.pack(event.channel_pk, event.seq, 0, 0))
        channel, name = event.channel.encode(), event.name.encode()
        numbers = NUMBERS.pack(event.channel_pk, event.seq, len(channel), len(name))
        if event.about is None:
            return self._sealed(EVENT, b"".join((numbers, channel, name, event.payload)))
        # A node of an earlier version reads the place alone, and the event from the log.
        return self._sealed(POSITION, b"".join((numbers, ABOUT.pack(event.about), channel, name, event.payload)))

    def of_ephemeral(self, ephemeral: Ephemeral) -> bytes:
        return self._sealed(EPHEMERAL, orjson.dumps([*ephemeral]), window())

    def is_ours(self, data: bytes) -> bool:
        """Whether this very node wrote it."""
        return data[1 : 1 + NODE] == self.node

    def read(self, data: bytes) -> Event | LogPosition | Ephemeral:
        """Raises Forged."""
        kind, node, signature, body = data[:1], data[1 : 1 + NODE], data[1 + NODE : HEAD], data[HEAD:]
        windows = [window() + change for change in (0, -1, 1)] if kind == EPHEMERAL else [0]
        if not any(secrets.compare_digest(self._signature(kind, node, body, each), signature) for each in windows):
            raise Forged
        if kind == EPHEMERAL:
            return Ephemeral(*orjson.loads(body))
        pk, seq, channel, name = NUMBERS.unpack_from(body)
        start, about = NUMBERS.size, None
        if kind == POSITION:
            if len(body) == start:
                return LogPosition(pk, seq)
            (about,) = ABOUT.unpack_from(body, start)
            start += ABOUT.size
        middle, end = start + channel, start + channel + name
        return Event(pk, body[start:middle].decode(), seq, body[middle:end].decode(), body[end:], about)

    def _sealed(self, kind: bytes, body: bytes, window: int = 0) -> bytes:
        return b"".join((kind, self.node, self._signature(kind, self.node, body, window), body))

    def _signature(self, kind: bytes, node: bytes, body: bytes, window: int) -> bytes:
        """A keyed BLAKE2b, https://www.rfc-editor.org/rfc/rfc7693"""
        salt = WINDOW.pack(window)
        return hashlib.blake2b(body, digest_size=SIGNATURE, key=self.key(), salt=salt, person=kind + node).digest()


def is_ephemeral(data: bytes) -> bool:
    """By its kind, which is not verified."""
    return data[:1] == EPHEMERAL


def window() -> int:
    return int(time.time()) // WINDOW_SECONDS
