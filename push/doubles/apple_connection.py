"""One HTTP/2 connection to the double of Apple: requests come in, and are answered as the double says."""

import asyncio
import json
import time
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import DataReceived, RequestReceived, StreamEnded, StreamReset, WindowUpdated
from h2.exceptions import ProtocolError
from h2.settings import SettingCodes
from hyperframe.frame import SettingsFrame

from push.doubles.apple_channels import ChannelFault, ChannelRequest

if TYPE_CHECKING:
    from push.doubles.apns import Apple

STREAMS = 1000
# By method and the end of the path.
REQUESTS: dict[tuple[str, str], Any] = {
    ("POST", "channels"): "open",
    ("DELETE", "channels"): "close",
    ("GET", "channels"): "read",
    ("GET", "all-channels"): "list",
}


@dataclass
class ApnsPush:
    """What arrived, and what was answered: a status, or 0 with what was done instead."""

    token: str
    headers: dict[str, str]
    payload: Any
    size: int
    at: float
    connection: int
    status: int = -1
    reason: str = ""

    @property
    def id(self) -> str:
        return self.headers["apns-id"]

    @property
    def collapse_id(self) -> str | None:
        return self.headers.get("apns-collapse-id")


@dataclass
class ApnsFault:
    """``kind``: status, reset, silence, late, goaway, abort, empty (a body of an empty frame), bodiless, garbage.

    With ``forever`` every later push to the token gets the same answer.
    """

    kind: str
    status: int = 503
    reason: str = "ServiceUnavailable"
    timestamp: int | None = None
    seconds: float = 30.0
    forever: bool = False


@dataclass(eq=False)
class AppleRequest:
    headers: dict[str, str]
    body: bytearray = field(default_factory=bytearray)


class AppleConnection(asyncio.Protocol):
    """One stream at a time until the first good push."""

    def __init__(self, apple: "Apple") -> None:
        self.apple = apple
        self.h2 = H2Connection(H2Configuration(client_side=False, header_encoding="utf-8"))
        self.h2.local_settings[SettingCodes.MAX_CONCURRENT_STREAMS] = 100_000
        self.transport: Any = None
        self.streams: dict[int, AppleRequest] = {}
        # What is still to be written of answers, by stream.
        self.bodies: dict[int, bytes] = {}
        self.allowed = 1
        self.number = 0

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.apple.connections += 1
        self.number = self.apple.connections
        self.apple.open.add(self)
        self.h2.initiate_connection()
        self.write()
        self.advertise(1)

    def advertise(self, streams: int) -> None:
        self.allowed = streams
        self.transport.write(SettingsFrame(0, {SettingsFrame.MAX_CONCURRENT_STREAMS: streams}).serialize())

    def connection_lost(self, exc: Exception | None) -> None:
        self.apple.open.discard(self)
        self.transport = None

    def abort(self) -> None:
        if self.transport:
            self.transport.abort()

    def write(self) -> None:
        data = self.h2.data_to_send()
        if self.transport and data:
            self.transport.write(data)

    def data_received(self, data: bytes) -> None:
        try:
            for event in self.h2.receive_data(data):
                if isinstance(event, RequestReceived):
                    self.requested(event.stream_id, dict(event.headers))
                elif isinstance(event, DataReceived):
                    self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                    if event.stream_id in self.streams:
                        self.streams[event.stream_id].body += event.data
                elif isinstance(event, StreamEnded) and event.stream_id in self.streams:
                    self.arrived(event.stream_id, self.streams[event.stream_id])
                elif isinstance(event, StreamReset):
                    self.streams.pop(event.stream_id, None)
                    self.bodies.pop(event.stream_id, None)
                elif isinstance(event, WindowUpdated):
                    self.write_bodies()
        except ProtocolError:
            self.abort()
        self.write()

    def requested(self, stream: int, headers: Any) -> None:
        if len(self.streams) >= self.allowed:
            self.h2.reset_stream(stream, ErrorCodes.REFUSED_STREAM)
            return
        self.streams[stream] = AppleRequest({str(name): str(value) for name, value in headers.items()})

    def arrived(self, stream: int, request: AppleRequest) -> None:
        path = request.headers[":path"]
        try:
            payload = json.loads(request.body) if request.body else None
        except ValueError:
            payload = None
        if path.startswith("/3/device/"):
            return self.pushed(stream, request, path.removeprefix("/3/device/"), payload)
        _, _, kind, app, *rest = path.split("/")
        what: Any = "push" if kind == "broadcasts" else REQUESTS[request.headers[":method"], rest[0]]
        app = rest[0] if kind == "broadcasts" else app
        channel = request.headers.get("apns-channel-id", "")
        asked = ChannelRequest(what, app, channel, payload, request.headers, time.time())
        self.apple.channels.requests.append(asked)
        fault = self.apple.channel_plan(asked)
        if fault and fault.seconds:
            asyncio.get_running_loop().call_later(fault.seconds, self.manage, stream, asked, len(request.body), fault)
        else:
            self.manage(stream, asked, len(request.body), fault)
        return None

    def manage(self, stream: int, asked: ChannelRequest, size: int, fault: ChannelFault | None) -> None:
        """Do what was asked about channels, unless it is wrong or the fault says so, and answer."""
        apple = self.apple
        refused = apple.refuse_token(asked.headers.get("authorization", ""))
        problem = (refused.status, refused.reason) if refused else apple.channels.wrong_with(asked, size)
        name, body, status = "", b"", {"open": 201, "close": 204}.get(asked.kind, 200)
        if problem:
            status, body = problem[0], json.dumps({"reason": problem[1]}).encode()
        elif fault is None or fault.done or fault.nameless or fault.seconds:
            name, body = apple.channels.do(asked, [*apple.devices.values()])
        if not problem and fault and not fault.seconds:
            status, name = (201 if fault.nameless else fault.status), ""
            body = b"" if fault.nameless else json.dumps({"reason": fault.reason}).encode()
        asked.status = status
        apple.changed.set()
        if not status or self.transport is None or self.streams.pop(stream, None) is None:
            return
        headers = [(":status", str(status)), *([("apns-channel-id", name)] if name else [])]
        try:
            self.h2.send_headers(stream, headers, end_stream=not body)
            if body:
                self.bodies[stream] = body
                self.write_bodies()
        except ProtocolError:
            return
        self.write()
        if self.allowed == 1 and status < 300:
            self.advertise(STREAMS)

    def write_bodies(self) -> None:
        """As much as the other side takes now."""
        for stream, body in [*self.bodies.items()]:
            while (
                body and (room := min(self.h2.local_flow_control_window(stream), self.h2.max_outbound_frame_size)) > 0
            ):
                part, body = body[:room], body[room:]
                self.h2.send_data(stream, part, end_stream=not body)
            if body:
                self.bodies[stream] = body
            else:
                del self.bodies[stream]

    def pushed(self, stream: int, request: AppleRequest, token: str, payload: Any) -> None:
        push = ApnsPush(token, request.headers, payload, len(request.body), time.time(), self.number)
        apple = self.apple
        apple.count += 1
        if apple.keep:
            apple.pushes.append(push)
        fault = apple.judge(push) or apple.plan(push) or ApnsFault("status", 200, "")
        if fault.forever and fault.timestamp:
            apple.dead.setdefault(token, fault.timestamp)
        if fault.kind == "silence":
            self.done(push, 0, "silence")
            return
        delay = apple.delay + (fault.seconds if fault.kind == "late" else 0)
        if apple.held is not None:
            apple.held.append(partial(self.answer, stream, push, fault))
        elif delay:
            asyncio.get_running_loop().call_later(delay, self.answer, stream, push, fault)
        else:
            self.answer(stream, push, fault)

    def done(self, push: ApnsPush, status: int, reason: str) -> None:
        push.status, push.reason = status, reason
        self.apple.changed.set()

    def answer(self, stream: int, push: ApnsPush, fault: ApnsFault) -> None:
        if self.transport is None or stream not in self.streams:
            return self.done(push, 0, "the server has stopped")
        try:
            self.act(stream, push, fault)
        except ProtocolError:
            self.done(push, 0, "the server has stopped")
        self.write()
        return None

    def act(self, stream: int, push: ApnsPush, fault: ApnsFault) -> None:
        if fault.kind == "abort":
            self.done(push, 0, "abort")
            return self.abort()
        if fault.kind == "goaway":
            self.done(push, 0, "goaway")
            self.h2.close_connection(last_stream_id=max(stream - 2, 0), additional_data=b'{"reason":"Shutdown"}')
            self.write()
            self.transport.close()
            return None
        self.streams.pop(stream)
        if fault.kind == "reset":
            self.done(push, 0, "reset")
            return self.h2.reset_stream(stream, ErrorCodes.INTERNAL_ERROR)
        good = fault.kind in ("empty", "late") or fault.status == 200
        status = 200 if good else fault.status
        headers = [(":status", str(status)), ("apns-id", push.id)]
        if fault.kind == "empty":
            self.h2.send_headers(stream, headers)
            self.h2.send_data(stream, b"")
            self.h2.send_data(stream, b"", end_stream=True)
        elif good or fault.kind == "bodiless":
            self.h2.send_headers(stream, headers, end_stream=True)
        else:
            asked = {"reason": fault.reason} | ({"timestamp": fault.timestamp} if fault.timestamp else {})
            body = b"<html>" if fault.kind == "garbage" else json.dumps(asked).encode()
            self.h2.send_headers(stream, headers)
            self.h2.send_data(stream, body, end_stream=True)
        self.write()
        if good and self.allowed == 1:
            self.advertise(STREAMS)
        if good:
            self.apple.deliver(push)
        self.done(push, status, "" if good else fault.reason)
        return None
