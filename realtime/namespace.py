"""The ``/chat`` namespace: who may connect, and the table of what a client may send. No rules of its own."""

import asyncio
import contextlib
import itertools
import logging
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Annotated, Any, Generic, TypeVar

import socketio
from pydantic import AfterValidator, Field, ValidationInfo
from socketio.exceptions import ConnectionRefusedError as Refuse
from sqlalchemy import Connection

from realtime.accounts import Accounts
from realtime.chat import Chats
from realtime.cluster.presence import Presence
from realtime.fanout.budget import Budget, units_of
from realtime.fanout.hub import Hub
from realtime.fanout.session import Session, Sessions
from realtime.messages import Messages
from realtime.notifications import Notifications
from realtime.schema import bodies, documents, envelope, events, shapes
from realtime.schema.bodies import Body, items_of
from realtime.schema.caller import Caller
from realtime.schema.fields import Text, limits_of
from realtime.schema.limits import Limits
from realtime.schema.parsing import parse_json
from realtime.streams import Streams
from realtime.support.ttl_cache import TtlCache
from realtime.tokens import TokenExpired
from realtime.transport import frames
from realtime.transport.engine import OriginPolicy
from realtime.transport.frames import NAMESPACE, Packet
from realtime.transport.protocol import Overload, Server
from realtime.transport.socket import Socket
from storage import accounts
from storage.accounts import User
from storage.errors import Conflict, Invalid, Malformed, Problem, TooMany, Unauthenticated, Unavailable
from storage.transaction import Command
from storage.types import now

logger = logging.getLogger("bellwire.socket")
access = logging.getLogger("bellwire.access")
B = TypeVar("B", bound=Body)
Answer = tuple[int, Any]
# What will be there when it is committed.
Posted = asyncio.Future[Any]
VERSION = 1
UNWATCH_AFTER_SECONDS = 30.0
USERS_WRITTEN_AT_ONCE = 100
TYPING_SECONDS = 1.0
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


class ChatNamespace(socketio.AsyncNamespace):
    def __init__(
        self,
        *,
        server: Server,
        sessions: Sessions,
        accounts: Accounts,
        chats: Chats,
        messages: Messages,
        notifications: Notifications,
        streams: Streams,
        hub: Hub,
        presence: Presence,
        limits: Limits,
        budget: Budget,
        origins: OriginPolicy,
    ) -> None:
        super().__init__(NAMESPACE)
        self.sessions = sessions
        self.accounts = accounts
        self.chats = chats
        self.messages = messages
        self.notifications = notifications
        self.streams = streams
        self.hub = hub
        self.presence = presence
        self.limits = limits
        self.origins = origins
        self.budget = budget
        self.typed: TtlCache[tuple[int, int], bool] = TtlCache(TYPING_SECONDS)
        self.connects: Counter[str] = Counter()
        self.received: Counter[str] = Counter()
        self.leaving: dict[int, User] = {}
        self.writing: asyncio.Task[None] | None = None
        self.transport = server
        server.namespace = self
        server.eio.origins = origins
        server.register_namespace(self)

    # Connecting

    async def on_connect(self, sid: str, environ: dict[str, Any], auth: object = None) -> None:
        try:
            await self._admit(sid, environ, auth)
        except Refuse as refused:
            access.info("refused: %s", refused)
            self.connects[str(refused)] += 1
            raise
        self.connects["accepted"] += 1

    async def _admit(self, sid: str, environ: dict[str, Any], auth: object) -> None:
        origin = environ.get("HTTP_ORIGIN")
        if origin and not self.origins.allowed(origin, environ):
            raise Refuse("forbidden origin")
        said = self._read_auth(auth)
        socket = self.transport.eio.sockets.get(self.transport.manager.eio_sid_from_sid(sid, NAMESPACE))
        if socket is None or socket.closing:
            raise Overload("the connection is gone")
        try:
            caller = await self.accounts.authenticate(said.token)
            if caller.expires_at <= now():
                raise TokenExpired
        except TokenExpired:
            self.charge(socket)
            raise Refuse("token expired") from None
        except Unauthenticated:
            self.charge(socket)
            raise Refuse("authentication required") from None
        self.budget.users.acquire(caller.pk, UNITS_OF_CONNECT)
        if len(self.sessions.of_user.get(caller.pk, ())) >= self.limits.sockets_per_user:
            raise Overload(f"{self.limits.sockets_per_user} sockets of one user are open")
        if socket.closing:
            raise Overload("the connection is gone")
        session = Session(socket, replace(caller, device=said.deviceId), said.offsets, said.epoch)
        self.sessions.add(session)
        socket.session = session

    def _read_auth(self, auth: object) -> Auth:
        if not isinstance(auth, dict):
            raise Refuse("authentication required" if auth is None else "malformed auth")
        if auth.get("token") in (None, ""):
            raise Refuse("authentication required")
        if auth.get("v") not in (VERSION, str(VERSION)) or isinstance(auth.get("v"), bool):
            raise Refuse("unsupported version")
        try:
            # The official Java client can say nothing but texts here.
            offsets = auth.get("offsets")
            read = parse_json(offsets, self.limits) if isinstance(offsets, str) else offsets
            return bodies.read(Auth, {**auth, "v": VERSION, "offsets": read}, self.limits)
        except Problem:
            raise Refuse("malformed auth") from None

    def charge(self, socket: Socket) -> None:
        if socket.session:
            self.budget.users.acquire(socket.session.caller.pk, UNITS_OF_CONNECT)
        elif socket.address is not None:
            self.budget.addresses.acquire(socket.address, UNITS_OF_ATTEMPT)

    async def begin(self, session: Session) -> None:
        if session.begun or session.ended:
            return
        session.begun = True
        if await self.presence.enter(session.caller.pk) and session.caller.user.presence is None:
            self._show(session.caller.user, True, None)
        await self.sessions.begin(session)

    def end(self, session: Session) -> None:
        begun = session.begun
        self.sessions.remove(session)
        for pk in session.watched:
            self.hub.unwatch(f"presence:{pk}", session)
        self._leave_streams(session)
        if begun:
            self.transport.tasks.spawn(self._left(session))

    async def _left(self, session: Session) -> None:
        user = session.caller.user
        if await self.presence.leave(user.pk):
            self.leaving[user.pk] = user
            if self.writing is None:
                self.writing = self.transport.tasks.spawn(self._write_seen())

    async def _write_seen(self) -> None:
        """When users were here last, many in one write: when a network fails, all leave at once."""
        try:
            while self.leaving:
                some = dict(itertools.islice(self.leaving.items(), USERS_WRITTEN_AT_ONCE))
                for pk in some:
                    del self.leaving[pk]
                try:
                    at = await self.sessions.database.write(Command(partial(accounts.seen, pks=list(some))))
                except Unavailable:
                    at = now()
                online = await self.presence.online(list(some))
                try:
                    hidden = await self.sessions.database.read(partial(accounts.hidden, pks=list(some)))
                except Unavailable:
                    continue
                for pk, user in some.items():
                    if pk not in hidden:
                        self._show(user, pk in online, at)
        finally:
            self.writing = None

    async def show_presence(self, user: accounts.User) -> None:
        """To those who watch a user that has changed who may see it."""
        online = user.presence is None and user.pk in await self.presence.online([user.pk])
        seen_at = user.last_seen_at if user.presence is None else None
        self.hub.publish_to_topic(f"presence:{user.pk}", "presence", documents.presence(user.id, online, seen_at))

    def _show(self, user: accounts.User, online: bool, at: int | None) -> None:
        seen_at = at if at is not None else user.last_seen_at
        self.hub.publish_to_topic(f"presence:{user.pk}", "presence", documents.presence(user.id, online, seen_at))

    # Events

    def event(self, session: Session, packet: Packet) -> Awaitable[None] | None:
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

    def send(self, session: Session, body: bodies.SendMessage) -> Posted | Awaitable[Answer]:
        return self.messages.submit(session.caller, body) or self._send(session, body)

    async def _send(self, session: Session, body: bodies.SendMessage) -> Answer:
        return 201, await self.messages.post(session.caller, body)

    async def edit(self, session: Session, body: bodies.SocketEditMessage) -> Answer:
        return 200, await self.messages.edit(session.caller, body.messageId, body.content)

    async def delete(self, session: Session, body: bodies.MessageRef) -> Answer:
        return 200, await self.messages.delete(session.caller, body.messageId)

    async def read(self, session: Session, body: bodies.ReadMessage) -> Answer:
        return 200, await self.messages.read(session.caller, body.messageId, body.chatId)

    def typing(self, session: Session, body: bodies.ChatRef) -> Answer | Awaitable[Answer]:
        pk = self.chats.typist(session.caller, body.chatId)
        return self._typed(session, body, pk) if pk is not None else self._may_type(session, body)

    async def _may_type(self, session: Session, body: bodies.ChatRef) -> Answer:
        return self._typed(session, body, await self.chats.typing(session.caller, body.chatId))

    def _typed(self, session: Session, body: bodies.ChatRef, pk: int) -> Answer:
        """Others are told once a second at most, however often it is said."""
        document = {"chatId": body.chatId, "userId": session.user_id}
        if self.typed.get((session.caller.pk, pk)) is None:
            self.typed.put((session.caller.pk, pk), True)
            self.hub.publish_ephemeral(pk, "typing", document, exclude=session.user_id)
        return 200, document

    async def watch_presence(self, session: Session, body: bodies.WatchPresence) -> Answer:
        """Others than those one shares a chat with are shown offline."""
        limit = self.limits.presence_watch
        if len(body.userIds) > limit:
            raise Invalid.field("userIds", f"You can watch at most {limit} users")
        user = session.caller.user

        def look(connection: Connection) -> list[User]:
            found = accounts.by_ids(connection, user.tenant_pk, body.userIds)
            shared = accounts.sharing(connection, user.pk, [each.pk for each in found])
            return [each for each in found if each.pk in shared]

        known = await self.sessions.database.read(look)
        if len(session.watched | {each.pk for each in known}) > limit:
            raise Invalid.field("userIds", f"You can watch at most {limit} users")
        for each in known:
            if not session.ended:
                session.watched |= {each.pk}
                self.hub.watch(f"presence:{each.pk}", session)
        online = await self.presence.online([each.pk for each in known])
        shown = {each.id: documents.presence(each.id, each.pk in online, each.last_seen_at) for each in known}
        return 200, {"items": [shown.get(id) or documents.presence(id, False, None) for id in body.userIds]}

    async def read_notification(self, session: Session, body: bodies.NotificationRef) -> Answer:
        return 200, documents.notification(await self.notifications.read(session.caller, body.id))

    async def watch_stream(self, session: Session, body: bodies.StreamRef) -> Answer:
        """Its events go live from now on; it may be resumed by offset like any channel."""
        limit = self.limits.streams_watched
        if len(session.streams) >= limit and body.streamId not in session.streams.values():
            raise Conflict(f"A socket can watch at most {limit} streams")
        stream = await self.streams.watch(session.caller, body.streamId)
        if not session.ended and stream.pk not in session.streams:
            session.streams[stream.pk] = body.streamId
            self.streams.began(stream.pk, session.caller)
        replay = None if session.ended else self.hub.add(session, stream.pk, stream.channel, stream.head)
        if replay:
            await self.hub.start([replay])
        return 200, stream.document

    async def unwatch_stream(self, session: Session, body: bodies.StreamRef) -> Answer:
        for pk in [pk for pk, id in session.streams.items() if id == body.streamId]:
            del session.streams[pk]
            self.streams.stopped(pk, session.caller)
            self.hub.remove(session, pk)
        return 200, await self.streams.unwatch(session.caller, body.streamId)

    def _leave_streams(self, session: Session) -> None:
        """Who does not come back within a moment watches no more, and leaves the streams' chats."""
        for pk, id in session.streams.items():
            if self.streams.stopped(pk, session.caller):
                asyncio.get_running_loop().call_later(UNWATCH_AFTER_SECONDS, self._unwatch, session.caller, id)
        session.streams.clear()

    def _unwatch(self, caller: Caller, id: str) -> None:
        async def unwatch() -> None:
            with contextlib.suppress(Problem):
                # Who came back to another node watches there.
                if not await self.presence.elsewhere([caller.pk]):
                    await self.streams.unwatch(caller, id)

        if not self.transport.eio.refusing:
            self.transport.tasks.spawn(unwatch())

    async def refresh(self, session: Session, body: bodies.RefreshSession) -> Answer:
        """A newer token of the same user prolongs the connection."""
        caller = await self.accounts.authenticate(body.token)
        if caller.pk != session.caller.pk:
            raise Unauthenticated("The token belongs to another user")
        session.caller = replace(caller, device=session.caller.device)
        self.sessions.time(session)
        return 200, {"expiresAt": documents.time(caller.expires_at)}

    def state(self, session: Session, body: bodies.AppState) -> Answer:
        session.active = body.active
        return 200, {"active": body.active}


INBOUND: dict[str, Inbound[Any]] = {
    "message:send": Inbound(bodies.SendMessage, shapes.MessageDocument, ChatNamespace.send, "Send a message", 6),
    "message:edit": Inbound(
        bodies.SocketEditMessage, shapes.MessageDocument, ChatNamespace.edit, "Edit a message", 28
    ),
    "message:delete": Inbound(bodies.MessageRef, shapes.MessageDocument, ChatNamespace.delete, "Delete a message", 26),
    "message:read": Inbound(bodies.ReadMessage, shapes.ReadDocument, ChatNamespace.read, "Mark as read up to a message", 15),
    "typing": Inbound(bodies.ChatRef, events.TypingEvent, ChatNamespace.typing, "Report that the user is typing", 1),
    "stream:watch": Inbound(
        bodies.StreamRef, shapes.StreamDocument, ChatNamespace.watch_stream, "Subscribe to a stream", 22
    ),
    "stream:unwatch": Inbound(
        bodies.StreamRef, shapes.StreamDocument, ChatNamespace.unwatch_stream, "Unsubscribe from a stream", 16
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


def acknowledge(session: Session, packet: Packet, answer: Answer | BaseException) -> None:
    """Without an id no acknowledgement was requested."""
    if isinstance(answer, Problem):
        document = envelope.failure(answer)
    elif isinstance(answer, BaseException):
        logger.error("handling an event failed", exc_info=answer)
        document = envelope.failure(Problem())
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
