"""One connection of a user, from its CONNECT on: what it reads, how it resumes, when it ends."""

import asyncio
import logging
from collections import deque
from collections.abc import Iterable, Mapping
from typing import Any

import orjson
from sqlalchemy import Connection

from realtime import documents, frames
from realtime.accounts import Accounts
from realtime.caller import Caller
from realtime.hub import Hub, Subscription
from realtime.limits import Limits
from realtime.tokens import Claims
from realtime.transport import Socket
from storage import accounts, chat, log
from storage.database import Database
from storage.errors import Unauthenticated
from storage.transaction import Event
from storage.types import SECOND, now

logger = logging.getLogger("bellwire.session")

WARNING = 60
REVOCATIONS_SECONDS = 10


class Session:
    """The hub's reader. ``offsets`` and ``epoch`` are what the client says it has."""

    def __init__(self, socket: Socket, caller: Caller, offsets: Mapping[str, int], epoch: str | None) -> None:
        self.socket = socket
        self.caller = caller
        self.offsets = offsets
        self.epoch = epoch
        self.active = True
        self.ended = False
        self.subscriptions: dict[int, Subscription] = {}
        self.watched: set[int] = set()
        self.timers: list[asyncio.TimerHandle] = []
        self.control: deque[Event] = deque()
        self.task: asyncio.Task[None] | None = None
        self.on_control: Any = None
        self.tasks = socket.engine.tasks

    @property
    def user_id(self) -> str:
        return self.caller.user.id

    def write(self, data: bytes) -> None:
        self.socket.write(data)

    def murmur(self, data: bytes) -> None:
        if self.socket.buffered < self.socket.engine.limits.outbound // 2:
            self.socket.write(data)

    async def taken(self, below: int) -> bool:
        return await self.socket.taken(below)

    def told(self, event: Event) -> None:
        if event.name in ("chat:new", "chat:removed"):
            self.control.append(event)
            if self.task is None and self.on_control:
                self.task = self.tasks.spawn(self.on_control(self))

    def emit(self, name: str, document: object) -> None:
        """Send what is not durable, to this connection alone."""
        self.socket.write(frames.passing(name, document))

    def close(self, reason: str) -> None:
        """For good: say why, then DISCONNECT, so that official clients stay away, then the transport."""
        self.emit("session:closed", {"reason": reason})
        self.socket.write(frames.text_frame(frames.DISCONNECT))
        self.socket.close_now(1000)


class Sessions:
    """The sessions of this node: how they begin, resume and end."""

    def __init__(self, database: Database, hub: Hub, accounts: Accounts, limits: Limits) -> None:
        self.database = database
        self.hub = hub
        self.accounts = accounts
        self.limits = limits
        self.of_user: dict[int, set[Session]] = {}
        self.revocations_seen: dict[int, None] = {}
        self.count = 0
        self.resumed = 0

    def add(self, session: Session) -> None:
        """From here on a revocation reaches it."""
        self.of_user.setdefault(session.caller.pk, set()).add(session)
        self.count += 1
        session.on_control = self._follow
        self.time(session)

    def remove(self, session: Session) -> None:
        if session.ended:
            return
        session.ended = True
        self.count -= 1
        sessions = self.of_user.get(session.caller.pk, set())
        sessions.discard(session)
        if not sessions:
            self.of_user.pop(session.caller.pk, None)
        self.hub.leave(session)
        for timer in session.timers:
            timer.cancel()
        session.timers.clear()
        session.on_control = None
        session.control.clear()

    def time(self, session: Session) -> None:
        """The token's expiry holds during the connection: a warning a minute before, then the end."""
        loop = asyncio.get_running_loop()
        for timer in session.timers:
            timer.cancel()
        left = (session.caller.expires_at - now()) / SECOND
        expiring = {"expiresAt": documents.time(session.caller.expires_at)}
        # A timer can't be set for longer than a day; one that comes early is set again.
        if left > 24 * 3600:
            session.timers = [loop.call_later(12 * 3600, self.time, session)]
            return
        session.timers = [loop.call_later(max(left, 0), self._expire, session)]
        if left > WARNING:
            session.timers.append(loop.call_later(left - WARNING, session.emit, "session:expiring", expiring))

    def _expire(self, session: Session) -> None:
        if session.caller.expires_at > now():
            self.time(session)
        else:
            session.close("expired")

    # Beginning

    async def begin(self, session: Session, claims: Claims) -> None:
        """Subscribe to all that the user may read, replay what they missed, then say ``session:ready``."""
        try:
            plan = await self.database.read(lambda connection: self._plan(connection, session, claims), snapshot=True)
        except Unauthenticated:
            return session.close("logout")
        subscriptions = []
        for pk, name, cursor in plan.channels:
            subscription = None if session.ended else self.hub.add(session, pk, name, cursor)
            if subscription:
                subscriptions.append(subscription)
        await self.hub.start(subscriptions)
        self.resumed += any(plan.recovered.values())
        heads = {each.channel.name: each.channel.position for each in session.subscriptions.values()}
        session.emit(
            "session:ready",
            {
                "userId": session.user_id,
                "v": 1,
                "epoch": self.database.epoch,
                "serverTime": documents.time(now()),
                "limits": self.limits.shown(),
                "recovered": plan.recovered,
                "heads": heads,
                "expiresAt": documents.time(session.caller.expires_at),
            },
        )
        return None

    def _plan(self, connection: Connection, session: Session, claims: Claims) -> "Plan":
        """What to read from where; the user's state, their head and their chats in one snapshot."""
        caller = self.accounts.recognise(connection, claims)
        if caller is None or caller.pk != session.caller.pk:
            raise Unauthenticated
        own = log.heads(connection, [caller.pk])[caller.pk]
        readable = [(caller.pk, f"user:{caller.user.id}", own, 0)]
        readable += [tuple(row) for row in chat.channels_of(connection, caller.pk)]
        same_history = session.epoch == self.database.epoch
        plan = Plan(dict.fromkeys(session.offsets, False))
        events, size = self.limits.replay_events, self.limits.replay_bytes
        for pk, name, head, joined in readable:
            cursor = head
            offset = session.offsets.get(name)
            if offset is not None and same_history and joined <= offset <= head and head - offset <= events:
                span = log.span(connection, pk, offset, head)
                if span.whole and span.size <= size:
                    events, size = events - span.events, size - span.size
                    cursor = offset
                    plan.recovered[name] = True
            plan.channels.append((pk, name, cursor))
        return plan

    # Following what happens to the user

    async def _follow(self, session: Session) -> None:
        """Join and leave chats as the user's own channel tells, one after the other."""
        try:
            while session.control and not session.ended:
                event = session.control.popleft()
                document = orjson.loads(event.payload)
                if event.name == "chat:new":
                    await self._join(session, document["_id"], document["at"])
                else:
                    await self._left(session, document["chatId"])
        except Exception:
            logger.exception("could not follow a change of chats; the client shall come back")
            session.socket.close_now()
        finally:
            session.task = None

    async def _join(self, session: Session, chat_id: str, at: int) -> None:
        """Read a chat from the seq of joining on, unless the user left it since or joined it again later."""

        def look(connection: Connection) -> tuple[int, str] | None:
            pk = chat.find(connection, session.caller.user.tenant_pk, chat_id)
            gate = chat.gate(connection, pk, session.caller.pk) if pk is not None else None
            return (pk, f"chat:{chat_id}") if pk is not None and gate and gate.joined_seq == at else None

        found = await self.database.read(look)
        if found is None or session.ended:
            return
        pk, name = found
        if pk in session.subscriptions:
            # An earlier membership may not have ended here yet: bring the hub up to where this one began.
            await self.hub.look([pk])
        subscription = None if session.ended else self.hub.add(session, pk, name, at)
        if subscription:
            await self.hub.start([subscription])

    async def _left(self, session: Session, chat_id: str) -> None:
        """The chat's own channel ends a removed member's subscription at its seq; a deleted chat's channel is silent."""
        name = f"chat:{chat_id}"
        held = next((each for each in session.subscriptions.values() if each.channel.name == name), None)
        if held is None:
            return
        await self.hub.look([held.channel.pk])
        gone = (
            await self.database.read(lambda connection: chat.gate(connection, held.channel.pk, session.caller.pk))
            is None
        )
        if gone and held.held:
            self.hub.remove(session, held.channel.pk)

    # Ending

    def revoke(self, user_pk: int, login: str | None, reason: str) -> None:
        """Close a user's sockets, or those of one login."""
        for session in list(self.of_user.get(user_pk, ())):
            if login is None or session.caller.login == login:
                session.close(reason)

    async def look_at_revocations(self) -> None:
        """Act on what other nodes and commands revoked lately."""

        def look(connection: Connection) -> list[Any]:
            return accounts.revoked(connection, REVOCATIONS_SECONDS)

        rows = await self.database.read(look)
        fresh = [row for row in rows if row.pk not in self.revocations_seen]
        if fresh:
            self.accounts.cache.clear()
        for row in fresh:
            self.revoke(row.user_pk, row.login_id, row.reason)
        self.revocations_seen = {row.pk: None for row in rows}

    def all(self) -> Iterable[Session]:
        return [session for sessions in self.of_user.values() for session in sessions]


class Plan:
    """``(number, name, cursor)`` of each channel to read, and what could be recovered."""

    def __init__(self, recovered: dict[str, bool]) -> None:
        self.channels: list[tuple[int, str, int]] = []
        self.recovered = recovered
