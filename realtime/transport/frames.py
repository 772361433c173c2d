"""The bytes of the wire, pure: Socket.IO packets of one namespace, in Engine.IO messages, in websocket text frames.

Server frames carry no mask, so the frame of an event is the same for every reader and is built once.
Protocols: https://github.com/socketio/engine.io-protocol (v4), https://github.com/socketio/socket.io-protocol (v5), RFC 6455.
"""

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import orjson

from storage.errors import Malformed
from storage.transaction import Event

NAMESPACE = "/chat"
EVENT = b'42/chat,["'
ACK = b"43/chat,"
DISCONNECT = b"41/chat,"
ID_DIGITS = 15
DIGITS = re.compile("[0-9]+")
KINDS = frozenset("0123456")


class Packet(NamedTuple):
    """A Socket.IO packet: ``kind`` is its digit, ``data`` what follows namespace and id, not yet parsed."""

    kind: str
    namespace: str
    id: int | None
    data: str


def text_frame(payload: bytes) -> bytes:
    """One unfragmented, unmasked websocket text frame."""
    size = len(payload)
    if size < 126:
        return b"\x81%c%b" % (size, payload)
    if size < 65536:
        return b"\x81\x7e%b%b" % (size.to_bytes(2, "big"), payload)
    return b"\x81\x7f%b%b" % (size.to_bytes(8, "big"), payload)


def close_frame(code: int) -> bytes:
    return b"\x88\x02" + code.to_bytes(2, "big")


def split_frames(data: bytes) -> list[bytes]:
    """The payloads of text frames made by ``text_frame`` and joined."""
    return [data[start:end] for _, start, end in places(data)]


def single_frames(data: bytes) -> list[bytes]:
    """Text frames made by ``text_frame`` and joined, each by itself."""
    return [data[begin:end] for begin, _, end in places(data)]


def places(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Of each frame: where it begins, where its payload begins, where both end."""
    begin = 0
    while begin < len(data):
        size, start = data[begin + 1], begin + 2
        if size == 126:
            size, start = int.from_bytes(data[start : start + 2], "big"), start + 2
        elif size == 127:
            size, start = int.from_bytes(data[start : start + 8], "big"), start + 8
        yield begin, start, start + size
        begin = start + size


def durable(event: Event) -> bytes:
    """The frame of an event: its payload, then ``{channel, seq}``."""
    return text_frame(
        b'%b%b",%b,{"channel":"%b","seq":%d}]'
        % (EVENT, event.name.encode(), event.payload, event.channel.encode(), event.seq)
    )


def of_events(events: Sequence[Event]) -> bytes:
    """The frames of events, to be sent in one write."""
    return durable(events[0]) if len(events) == 1 else b"".join(map(durable, events))


def ephemeral(name: str, document: object) -> bytes:
    """The frame of an event that is not durable: its payload alone."""
    return text_frame(b'%b%b",%b]' % (EVENT, name.encode(), orjson.dumps(document)))


def ack(id: int, document: object) -> bytes:
    return text_frame(b"%b%d[%b]" % (ACK, id, orjson.dumps(document)))


def connected(sid: str) -> bytes:
    """CONNECT accepted; ``sid`` is an id that clients show."""
    return text_frame(b'40/chat,{"sid":"%b"}' % sid.encode())


def connect_error(namespace: str, message: str) -> bytes:
    """CONNECT_ERROR in a namespace as a client named it; its data is an object."""
    of = b"" if namespace == "/" else namespace.encode() + b","
    return text_frame(b"44%b%b" % (of, orjson.dumps({"message": message})))


def parse(text: str) -> Packet:
    """Read an Engine.IO message's text. Raises Malformed."""
    kind, rest = text[:1], text[1:]
    if kind not in KINDS:
        raise Malformed("Not a Socket.IO packet")
    if kind in "56":
        dashed, _, after = rest.partition("-")
        if dashed.isascii() and dashed.isdigit():
            rest = after
    namespace = "/"
    if rest[:1] == "/":
        namespace, _, rest = rest.partition(",")
        namespace = namespace.partition("?")[0]
    id = DIGITS.match(rest)
    if id is None:
        return Packet(kind, namespace, None, rest)
    if id.end() > ID_DIGITS:
        raise Malformed("The packet id is too long")
    return Packet(kind, namespace, int(id[0]), rest[id.end() :])
