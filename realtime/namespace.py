"""The ``/chat`` namespace: who may connect, and the table of what a client may send. No rules of its own."""

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Annotated, Any, Generic, TypeVar

from pydantic import AfterValidator, Field, ValidationInfo

from realtime.accounts import Accounts
from realtime.fanout.budget import Budget, units_of
from realtime.fanout.session import Session, Sessions
from realtime.messages import Messages
from realtime.notifications import Notifications
from realtime.presence_watch import PresenceWatch
from realtime.reactions import Reactions
from realtime.schema import bodies, documents, envelope, events, message_bodies, message_shapes, shapes
from realtime.schema.bodies import Body, items_of
from realtime.schema.caller import Caller
from realtime.schema.fields import Text, limits_of
from realtime.schema.limits import Limits
from realtime.schema.parsing import parse_json
from realtime.stream_watch import StreamWatch
from realtime.tokens import TokenExpired
from realtime.transport import frames
from realtime.transport.frames import Packet
from realtime.transport.protocol import ConnectRefused, Overload
from realtime.transport.socket import Socket
from realtime.typing_status import TypingStatus
from storage.errors import Invalid, Malformed, Problem, TooMany, Unauthenticated
from storage.types import iso_time, now

logger = logging.getLogger("bellwire.socket")
access = logging.getLogger("bellwire.access")
B = TypeVar("B", bound=Body)
Answer = tuple[int, Any]
# What will be there when it is committed.
Posted = asyncio.Future[Any]
VERSION = 1
# Whatever is in it: it is read before it is known what it is.
UNITS_OF_PACKET = 1
# A socket is not read meanwhile, and its ping must be answered.
LONGEST_REFUSAL_SECONDS = 2.0
# Its channels and what it missed come on top.
UNITS_OF_CONNECT = 6
# Of an address, for a CONNECT without a good token. Who has one is not refused for what their neighbours do.
UNITS_OF_ATTEMPT = 2


def few_offsets(value: dict[str, int], info: ValidationInfo) -> dict[str, int]:
    limit = limits_of(info).offsets
    if len(value) > limit:
        raise ValueError(f"must name at most {limit} channels")
    return value


class Auth(Body):
    """What CONNECT carries."""

    token: Text
    v: int
    deviceId: Annotated[Text, Field(max_length=255)] | None = None
    client: Annotated[Text, Field(max_length=255)] | None = None
    offsets: Annotated[dict[Text, Annotated[int, Field(ge=0)]], AfterValidator(few_offsets)] = Field(
        default_factory=dict
    )
    epoch: Text | None = None


@dataclass(frozen=True, slots=True)
class Inbound(Generic[B]):
    """One event that clients may send: how its payload is read, and what it does, at once where it can.

    It costs ``units`` of the user's budget, and ``units_per_item`` for each item that it names.
    """

    body: type[B]
    answer: Any
    handle: Callable[["ChatNamespace", Session, B], Answer | Posted | Awaitable[Answer]]
    summary: str
    units: float
    units_per_item: float = 0


class ChatSession(Session):
    """A session of this namespace."""

    __slots__ = ("namespace",)

    def __init__(self, namespace: "ChatNamespace", socket: Socket, caller: Caller, auth: Auth) -> None:
        super().__init__(socket, caller, auth.offsets, auth.epoch, namespace.sessions.follow)
        self.namespace = namespace

    async def begin(self) -> None:
        await self.namespace.begin(self)

    def on_event(self, packet: Packet) -> Awaitable[None] | None:
        return self.namespace.on_event(self, packet)

    def on_removed(self, pk: int) -> None:
        self.namespace.streams.on_removed(self, pk)

    def end(self) -> None:
        self.namespace.end(self)


class ChatNamespace:
    """Every call of a client costs units of ``budget``. ``connects`` and ``received`` only grow."""

    def __init__(
        self,
        *,
        sessions: Sessions,
        accounts: Accounts,
        messages: Messages,
        reactions: Reactions,
        notifications: Notifications,
        typing: TypingStatus,
        presence: PresenceWatch,
        streams: StreamWatch,
        limits: Limits,
        budget: Budget,
    ) -> None:
        self.sessions = sessions
        self.accounts = accounts
        self.messages = messages
        self.reactions = reactions
        self.notifications = notifications
        self.typing_status = typing
        self.presence = presence
        self.streams = streams
        self.limits = limits
        self.budget = budget
        # CONNECTs by outcome: "accepted", or why they were refused.
        self.connects: Counter[str] = Counter()
        # Events by name; "unknown" for all others.
        self.received: Counter[str] = Counter()

    # Connecting

    async def admit(self, socket: Socket, auth: object) -> ChatSession:
        """The session of a CONNECT. Raises ConnectRefused, and Overload, Unavailable, TooMany."""
        try:
            session = await self._admit(socket, auth)
        except ConnectRefused as refused:
            access.info("refused: %s", refused)
            self.connects[str(refused)] += 1
            raise
        self.connects["accepted"] += 1
        return session

    async def _admit(self, socket: Socket, auth: object) -> ChatSession:
        if not socket.origin_allowed:
            raise ConnectRefused("forbidden origin")
        said = self._read_auth(auth)
        if socket.closing:
            raise Overload("the connection is gone")
        try:
            caller = await self.accounts.authenticate(said.token)
            if caller.expires_at <= now():
                raise TokenExpired
        except TokenExpired:
            self.charge(socket)
            raise ConnectRefused("token expired") from None
        except Unauthenticated:
            self.charge(socket)
            raise ConnectRefused("authentication required") from None
        self.budget.users.acquire(caller.pk, UNITS_OF_CONNECT)
        if len(self.sessions.of_user.get(caller.pk, ())) >= self.limits.sockets_per_user:
            raise Overload(f"{self.limits.sockets_per_user} sockets of one user are open")
        if socket.closing:
            raise Overload("the connection is gone")
        session = ChatSession(self, socket, replace(caller, device=said.deviceId), said)
        self.sessions.add(session)
        return session

    def _read_auth(self, auth: object) -> Auth:
        if not isinstance(auth, dict):
            raise ConnectRefused("authentication required" if auth is None else "malformed auth")
        if auth.get("token") in (None, ""):
            raise ConnectRefused("authentication required")
        if auth.get("v") not in (VERSION, str(VERSION)) or isinstance(auth.get("v"), bool):
            raise ConnectRefused("unsupported version")
        try:
            # The official Java client can say nothing but texts here.
            offsets = auth.get("offsets")
            read = parse_json(offsets, self.limits) if isinstance(offsets, str) else offsets
            return bodies.read(Auth, {**auth, "v": VERSION, "offsets": read}, self.limits)
        except Problem:
            raise ConnectRefused("malformed auth") from None

    def charge(self, socket: Socket) -> None:
        if socket.session:
            self.budget.users.acquire(socket.session.caller.pk, UNITS_OF_CONNECT)
        elif socket.address is not None:
            self.budget.addresses.acquire(socket.address, UNITS_OF_ATTEMPT)

    async def begin(self, session: Session) -> None:
        if session.begun or session.ended:
            return
        session.begun = True
        await self.presence.enter(session.caller.user)
        self.streams.resume(session, await self.sessions.begin(session))

    def end(self, session: Session) -> None:
        self.sessions.remove(session)
        self.presence.unwatch(session)
        self.streams.leave(session)
        if session.begun:
            self.presence.leave(session.caller.user)

    # Events

    def on_event(self, session: Session, packet: Packet) -> Awaitable[None] | None:
        """Read, handle, ack; what is left to wait for. Every error is an ack in the envelope."""
        answer: Answer | Posted | Awaitable[Answer] | Exception
        try:
            self.budget.users.acquire(session.caller.pk, UNITS_OF_PACKET + units_of(len(packet.data)))
            name, payload = read_event(packet, self.limits)
            inbound = INBOUND.get(name)
            self.received[name if inbound else "unknown"] += 1
            if inbound is None:
                raise Invalid.field("event", f"Unknown event {name[:64]!r}")
            body = bodies.read(inbound.body, payload, self.limits)
            units = inbound.units - UNITS_OF_PACKET
            if inbound.units_per_item:
                units += inbound.units_per_item * items_of(body)
            if units:
                self.budget.users.acquire(session.caller.pk, units)
            answer = inbound.handle(self, session, body)
        except Exception as error:
            answer = error
        if isinstance(answer, TooMany):
            return self._finish(session, packet, self._refuse(session, answer))
        if isinstance(answer, asyncio.Future):
            return self._finish_later(session, packet, answer)
        if isinstance(answer, Awaitable):
            return self._finish(session, packet, answer)
        acknowledge(session, packet, answer)
        return None

    async def _refuse(self, session: Session, problem: TooMany) -> Answer:
        """After a pause, in which little more is read of this socket."""
        await self.budget.refusals.pause(session.caller.pk, most=LONGEST_REFUSAL_SECONDS)
        raise problem

    def _finish_later(self, session: Session, packet: Packet, work: Posted) -> Awaitable[None] | None:
        """What has its place in the order of writes already need not hold up what comes after it."""
        if session.pending >= self.limits.inbox:
            return self._finish(session, packet, created(work))
        session.pending += 1
        work.add_done_callback(partial(self._finished, session, packet))
        return None

    def _finished(self, session: Session, packet: Packet, work: Posted) -> None:
        session.pending -= 1
        if not work.cancelled():
            error = work.exception()
            acknowledge(session, packet, (201, work.result()) if error is None else error)

    async def _finish(self, session: Session, packet: Packet, work: Awaitable[Answer]) -> None:
        try:
            answer: Answer | Exception = await work
        except Exception as error:
            answer = error
        acknowledge(session, packet, answer)

    def send(self, session: Session, body: message_bodies.SendMessage) -> Posted | Awaitable[Answer]:
        return self.messages.submit(session.caller, body) or self._send(session, body)

    async def _send(self, session: Session, body: message_bodies.SendMessage) -> Answer:
        return 201, await self.messages.post(session.caller, body)

    async def edit(self, session: Session, body: message_bodies.SocketEditMessage) -> Answer:
        return 200, await self.messages.edit(session.caller, body.messageId, body)

    async def delete(self, session: Session, body: message_bodies.MessageRef) -> Answer:
        return 200, await self.messages.delete(session.caller, body.messageId)

    async def add_reaction(self, session: Session, body: message_bodies.ReactToMessage) -> Answer:
        return 200, await self.reactions.add(session.caller, body.messageId, body.key)

    async def remove_reaction(self, session: Session, body: message_bodies.ReactToMessage) -> Answer:
        return 200, await self.reactions.remove(session.caller, body.messageId, body.key)

    async def read(self, session: Session, body: message_bodies.ReadMessage) -> Answer:
        return 200, await self.messages.read(session.caller, body.messageId, body.chatId)

    def typing(self, session: Session, body: bodies.ChatRef) -> Answer | Awaitable[Answer]:
        document = self.typing_status.report(session.caller, body.chatId)
        return ok(document) if isinstance(document, Awaitable) else (200, document)

    async def watch_presence(self, session: Session, body: bodies.WatchPresence) -> Answer:
        return 200, {"items": await self.presence.watch(session, body.userIds)}

    async def read_notification(self, session: Session, body: bodies.NotificationRef) -> Answer:
        return 200, documents.notification(await self.notifications.read(session.caller, body.id))

    async def watch_stream(self, session: Session, body: bodies.StreamRef) -> Answer:
        return 200, await self.streams.watch(session, body.streamId)

    async def unwatch_stream(self, session: Session, body: bodies.StreamRef) -> Answer:
        return 200, await self.streams.unwatch(session, body.streamId)

    def react_to_stream(self, session: Session, body: bodies.ReactToStream) -> Answer:
        self.streams.react(session, body.streamId, body.key, body.count)
        return 200, {"streamId": body.streamId, "key": body.key, "count": body.count}

    async def refresh(self, session: Session, body: bodies.RefreshSession) -> Answer:
        """A newer token of the same user prolongs the connection."""
        caller = await self.accounts.authenticate(body.token)
        if caller.pk != session.caller.pk:
            raise Unauthenticated("The token belongs to another user")
        session.caller = replace(caller, device=session.caller.device)
        self.sessions.time(session)
        return 200, {"expiresAt": iso_time(caller.expires_at)}

    def state(self, session: Session, body: bodies.AppState) -> Answer:
        session.active = body.active
        return 200, {"active": body.active}


INBOUND: dict[str, Inbound[Any]] = {
    "message:send": Inbound(
        message_bodies.SendMessage, message_shapes.MessageDocument, ChatNamespace.send, "Send a message", 6
    ),
    "message:edit": Inbound(
        message_bodies.SocketEditMessage, message_shapes.MessageDocument, ChatNamespace.edit, "Edit a message", 28
    ),
    "message:delete": Inbound(
        message_bodies.MessageRef, message_shapes.MessageDocument, ChatNamespace.delete, "Delete a message", 26
    ),
    "message:read": Inbound(
        message_bodies.ReadMessage, message_shapes.ReadDocument, ChatNamespace.read, "Mark as read up to a message", 15
    ),
    "reaction:add": Inbound(
        message_bodies.ReactToMessage, message_shapes.ReactedDocument, ChatNamespace.add_reaction, "React to a message", 12
    ),
    "reaction:remove": Inbound(
        message_bodies.ReactToMessage, message_shapes.ReactedDocument, ChatNamespace.remove_reaction,
        "Take a reaction back", 12,
    ),
    "typing": Inbound(bodies.ChatRef, events.TypingEvent, ChatNamespace.typing, "Report that the user is typing", 1),
    "stream:watch": Inbound(
        bodies.StreamRef, shapes.StreamDocument | shapes.WatchedDocument, ChatNamespace.watch_stream,
        "Subscribe to a stream, and to the chat of an open one", 22
    ),
    "stream:unwatch": Inbound(
        bodies.StreamRef, shapes.StreamDocument, ChatNamespace.unwatch_stream, "Unsubscribe from a stream", 16
    ),
    "stream:react": Inbound(
        bodies.ReactToStream, events.ReactionEvent, ChatNamespace.react_to_stream, "React to an open stream", 1
    ),
    "presence:watch": Inbound(
        bodies.WatchPresence, shapes.PresencesDocument, ChatNamespace.watch_presence,
        "Watch the presence of users", 10, units_per_item=1.5,
    ),
    "notification:read": Inbound(
        bodies.NotificationRef, shapes.NotificationDocument, ChatNamespace.read_notification,
        "Mark a notification as read", 18,
    ),
    "session:refresh": Inbound(
        bodies.RefreshSession, events.ExpiringEvent, ChatNamespace.refresh, "Refresh the token of the connection", 1
    ),
    "app:state": Inbound(
        bodies.AppState, shapes.StateDocument, ChatNamespace.state, "Report whether the app is in the foreground", 1
    ),
}  # fmt: skip


async def created(work: Posted) -> Answer:
    return 201, await work


async def ok(work: Awaitable[Any]) -> Answer:
    return 200, await work


def acknowledge(session: Session, packet: Packet, answer: Answer | BaseException) -> None:
    """Without an id no acknowledgement was requested."""
    document: Any
    if isinstance(answer, BaseException):
        if not isinstance(answer, Problem):
            logger.error("handling an event failed", exc_info=answer)
        problem = answer if isinstance(answer, Problem) else Problem()
        document = {**envelope.failure(problem), "code": problem.code}
    else:
        document = envelope.success(*answer)
    if packet.id is not None:
        session.write(frames.ack(packet.id, document))


def read_event(packet: Packet, limits: Limits) -> tuple[str, object]:
    """The name and the payload of an EVENT packet. Raises Malformed."""
    if packet.kind != "2":
        raise Malformed("Binary packets are not supported; upload media over REST")
    arguments = parse_json(packet.data, limits)
    if not isinstance(arguments, list) or not arguments or not isinstance(arguments[0], str):
        raise Malformed("An event must be a JSON array that begins with the event name")
    return arguments[0], arguments[1] if len(arguments) > 1 else {}
