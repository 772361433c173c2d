"""One connection of a user, from its CONNECT on: what it reads, how it resumes, when it ends."""

import asyncio
import logging
import time
from collections.abc import Callable, Collection, Coroutine, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import orjson
from sqlalchemy import Connection

from realtime.fanout.budget import Budget
from realtime.fanout.hub import Hub
from realtime.fanout.plan import Plans, ResumedRoom
from realtime.fanout.subscription import Channel
from realtime.fanout.wheel import Wheel
from realtime.schema.caller import Caller
from realtime.schema.limits import Limits
from realtime.schema.revocation import still_valid
from realtime.support.ttl_cache import TtlCache
from realtime.transport import frames
from realtime.transport.socket import Socket, discard
from realtime.transport.states import Ending
from storage import accounts, chat, epoch, log, logins, streams
from storage.access import find_access
from storage.database import Database
from storage.transaction import Command, Event
from storage.types import SECOND, iso_time, now

logger = logging.getLogger("bellwire.session")

WARNING_SECONDS = 60
NO_USERS: frozenset[int] = frozenset()
NOTHING: Mapping[str, int] = {}
REVOCATIONS_SECONDS = 10
# Of the channels that a connection subscribes to, and of the events that it is replayed.
UNITS_PER_ITEM = 0.05


class Session:
    """The hub's reader: one connection of a user, from CONNECT on.

    ``follow`` applies what was put into ``control``, as long as there is something; one at a time for a session.
    """

    __slots__ = (
        "active", "begun", "caller", "control", "due", "ended", "epoch", "follow", "following", "live_at", "offsets",
        "pending", "refreshing", "rooms", "socket", "streams", "subscriptions", "watched", "write",
    )  # fmt: skip

    def __init__(
        self,
        socket: Socket,
        caller: Caller,
        offsets: Mapping[str, int],
        epoch: str | None,
        follow: "Callable[[Session], Coroutine[Any, Any, None]]",
    ) -> None:
        self.socket = socket
        # The socket's own method, or one that drops the data after the end of the session: a fan-out calls it directly.
        self.write = socket.write
        # As its newest token says; replaced by ``session:refresh``.
        self.caller = caller
        # The last seq that the client has of each channel, by the channel's name; dropped once they were used.
        self.offsets = offsets
        # Of the history that the client has read; None if it has read none.
        self.epoch = epoch
        # Whether the app is in the foreground, as the client says.
        self.active = True
        # Whether ``begin`` was called; whether it is over.
        self.begun = False
        self.ended = False
        # Whether a ``session:refresh`` is being handled.
        self.refreshing = False
        # Events that have been submitted and are not acknowledged yet.
        self.pending = 0
        # By the channel's number; the hub's.
        self.subscriptions: dict[int, Channel] = {}
        # When it last turned live on a channel, of time.monotonic(); the hub's.
        self.live_at = 0.0
        # The users whose presence it watches.
        self.watched: frozenset[int] = NO_USERS
        # The ids of the streams that it watches, by their channel's number.
        self.streams: dict[int, str] = {}
        # The rooms that it watches, by their channel's number; with the number of the stream whose chat it is, if any.
        self.rooms: dict[int, int | None] = {}
        # The second at which ``Sessions.expiries`` returns it next.
        self.due = 0
        # Changes of what the user may read, not yet applied, and the task that applies them.
        self.control: list[Control] = []
        self.following: asyncio.Task[None] | None = None
        self.follow = follow

    @property
    def user_id(self) -> str:
        return self.caller.user.id

    def write_ephemeral(self, data: bytes) -> None:
        if self.socket.buffered < self.socket.host.limits.outbound // 2:
            self.write(data)

    async def drained(self, below: int) -> bool:
        return await self.socket.drained(below)

    def on_removed(self, pk: int) -> None:
        """The user was removed from a channel, and the subscription has ended."""

    def on_user_event(self, event: Event) -> None:
        if event.name == "chat:new":
            document = orjson.loads(event.payload)
            if document["type"] == "room":
                return
            self._control(Joined(document["_id"], document["at"]))
        elif event.name == "chat:removed":
            document = orjson.loads(event.payload)
            self._control(Left(document["chatId"], document.get("at")))

    def on_member_removed(self) -> None:
        if self.watched:
            self._control(MemberRemoved())

    def on_gap(self, pk: int, name: str) -> None:
        self._control(Gap(pk, name))

    def _control(self, what: "Control") -> None:
        self.control.append(what)
        if self.following is None and not self.ended:
            self.following = self.socket.host.tasks.spawn(self.follow(self))

    def emit(self, name: str, document: object) -> None:
        """Send what is not durable, to this connection alone."""
        self.write(frames.ephemeral(name, document))

    def close(self, reason: str) -> None:
        """Say why, then DISCONNECT, so that official clients do not reconnect, then close the transport."""
        if not self.ended:
            self.emit("session:closed", {"reason": reason})
            self.write(frames.text_frame(frames.DISCONNECT))
            self.socket.close_now(Ending.SESSION_CLOSED)


class Joined(NamedTuple):
    chat_id: str
    at: int


class Left(NamedTuple):
    """``at`` is the seq of the chat's channel at which the user left, where that channel has no event of it."""

    chat_id: str
    at: int | None


class Gap(NamedTuple):
    pk: int
    name: str


class MemberRemoved(NamedTuple):
    """Who was watched may be a stranger now."""


Control = Joined | Left | Gap | MemberRemoved


class Sessions:
    """The sessions of this node: how they begin, resume and end."""

    def __init__(
        self, database: Database, hub: Hub, callers: TtlCache[str, Caller], limits: Limits, budget: Budget
    ) -> None:
        self.database = database
        self.budget = budget
        self.hub = hub
        # What is remembered of tokens: dropped when one of them may have ended.
        self.callers = callers
        self.limits = limits
        # The limits as ``session:ready`` shows them, as JSON.
        self.shown = orjson.Fragment(orjson.dumps(limits.shown()))
        self.plans = Plans(database, limits)
        # All that have not ended, by the user's number.
        self.of_user: dict[int, set[Session]] = {}
        # The revocations of the last seconds that were acted upon, and when they were read, of time.monotonic().
        self.revocations_seen: set[int] = set()
        self.checked_at = time.monotonic()
        # Sessions by the second at which they are warned, or closed, because their token expires.
        self.expiries: Wheel[Session] = Wheel(now() // SECOND)
        # Open sessions.
        self.count = 0
        # Sessions that had a channel replayed without a gap; only grows.
        self.resumed = 0

    def add(self, session: Session) -> None:
        """From here on a revocation reaches it."""
        self.of_user.setdefault(session.caller.pk, set()).add(session)
        self.count += 1
        self.time(session)

    def remove(self, session: Session) -> None:
        if session.ended:
            return
        session.ended, session.write = True, discard
        self.count -= 1
        sessions = self.of_user.get(session.caller.pk, set())
        sessions.discard(session)
        if not sessions:
            self.of_user.pop(session.caller.pk, None)
        self.hub.leave(session)
        self.expiries.discard(session.due, session)
        session.control.clear()

    def time(self, session: Session) -> None:
        """The token's expiry holds during the connection: a warning a minute before, then the end."""
        expiry = -(-session.caller.expires_at // SECOND)
        self.expiries.discard(session.due, session)
        session.due = self.expiries.add(
            expiry - WARNING_SECONDS if expiry - WARNING_SECONDS > now() // SECOND else expiry, session
        )

    async def tick(self) -> None:
        """Every second: warn those whose tokens expire, and close those whose tokens have."""
        moment = now()
        for session in self.expiries.turn(moment // SECOND):
            if session.caller.expires_at <= moment:
                session.close("expired")
            else:
                session.emit("session:expiring", {"expiresAt": iso_time(session.caller.expires_at)})
                self.time(session)

    # Beginning

    async def begin(self, session: Session) -> Sequence[ResumedRoom]:
        """Subscribe to all that the user may read, replay what they missed, then say ``session:ready``; the rooms watched.

        What that costs is known now, and taken from the user's budget; their next calls wait for it.
        """
        plan = await self.plans.of(session.caller, session.offsets, session.epoch)
        session.offsets = NOTHING
        if plan is None:
            session.close("logout")
            return []
        self.budget.users.charge(session.caller.pk, UNITS_PER_ITEM * (len(plan.channels) + plan.events))
        replays = []
        session.rooms = {each.pk: each.stream[0] if each.stream else None for each in plan.rooms}
        for pk, name, cursor, joined_seq in plan.channels:
            replay = None if session.ended else self.hub.add(session, pk, name, cursor, joined_seq)
            if replay:
                replays.append(replay)
        await self.hub.start(replays)
        self.resumed += any(plan.recovered.values())
        live = [channel for channel in session.subscriptions.values() if session in channel.live]
        heads = {channel.name: channel.position for channel in live}
        recovered = {name: whole and name in heads for name, whole in plan.recovered.items()}
        session.emit(
            "session:ready",
            {
                "userId": session.user_id,
                "v": 1,
                "epoch": plan.epoch,
                "serverTime": iso_time(now()),
                "limits": self.shown,
                "recovered": recovered,
                "heads": heads,
                "expiresAt": iso_time(session.caller.expires_at),
            },
        )
        return [each for each in plan.rooms if each.pk in session.subscriptions]

    # Following what happens to the user

    async def follow(self, session: Session) -> None:
        """Join, leave and find again chats, one after the other."""
        try:
            while session.control and not session.ended:
                match session.control.pop(0):
                    case Joined(chat_id, at):
                        await self._join(session, chat_id, at)
                    case Left(chat_id, _):
                        await self._leave(session, chat_id)
                        await self._leave_streams(session)
                        await self._watch_fewer(session)
                    case MemberRemoved():
                        await self._watch_fewer(session)
                    case Gap(pk, name):
                        await self._find_again(session, pk, name)
        except Exception:
            logger.exception(
                "could not follow a membership change; closing the connection so that the client reconnects"
            )
            session.socket.close_now(Ending.RESUME)
        finally:
            session.following = None

    async def _join(self, session: Session, chat_id: str, at: int) -> None:
        """Read a chat from the seq of joining on, unless the user left it since or joined it again later."""

        def look(connection: Connection) -> int | None:
            pk = chat.find(connection, session.caller.user.tenant_pk, chat_id)
            access = find_access(connection, pk, session.caller.pk) if pk is not None else None
            return pk if access and access.joined_seq == at else None

        pk = await self.database.read(look)
        if pk is None:
            return
        earlier = session.subscriptions.get(pk)
        if earlier:
            # It may be of an earlier membership that has not ended here yet: bring it up to where this one began.
            await self.hub.check_heads([pk])
            await self.hub.settle(session, earlier)
        name = f"chat:{chat_id}"
        replay = None if session.ended else self.hub.add(session, pk, name, at, at)
        for each in session.control:
            if isinstance(each, Left) and each.chat_id == chat_id and each.at is not None:
                # Left again before it was subscribed to.
                self.hub.end_at(session, name, each.at)
        if replay:
            await self.hub.start([replay])

    async def _read(self, session: Session, pk: int, name: str, cursor: int, joined_seq: int) -> None:
        replay = None if session.ended else self.hub.add(session, pk, name, cursor, joined_seq)
        if replay:
            await self.hub.start([replay])

    async def _leave_streams(self, session: Session) -> None:
        """End subscriptions to streams whose owner blocks the user."""
        names = {pk: each.name for pk, each in session.subscriptions.items() if each.name.startswith("stream:")}
        ids = {name.removeprefix("stream:"): pk for pk, name in names.items()}
        if ids:
            readable = await self.database.read(lambda it: streams.named(it, [(session.caller.pk, id) for id in ids]))
            for pk in names.keys() - {pk for _, pk, *_ in readable}:
                self.hub.remove(session, pk)

    async def _leave(self, session: Session, chat_id: str) -> None:
        """The chat's own channel ends a removed member's subscription at its seq; a deleted chat's channel is silent."""
        name = f"chat:{chat_id}"
        active = next((each for each in session.subscriptions.values() if each.name == name), None)
        if active is None:
            return
        pk = active.pk
        await self.hub.check_heads([pk])
        await self.hub.settle(session, active)
        gone = await self.database.read(lambda connection: find_access(connection, pk, session.caller.pk)) is None
        if gone and session.subscriptions.get(pk) is active:
            self.hub.remove(session, pk)

    async def _watch_fewer(self, session: Session) -> None:
        """Presence is shown only of users one shares a chat with."""
        if session.watched:
            me, watched = session.caller.user, frozenset(session.watched)
            shared = await self.database.read(lambda connection: accounts.sharing(connection, me.pk, watched))
            for pk in watched - shared:
                session.watched -= {pk}
                self.hub.topics.unwatch(f"presence:{pk}", session)

    async def _find_again(self, session: Session, pk: int, name: str) -> None:
        """Go on from the head of a channel that had a gap, if the user may read it still."""

        def look(connection: Connection) -> tuple[int, int] | None:
            joined_seq = 0
            if pk != session.caller.pk and not name.startswith("stream:"):
                access = find_access(connection, pk, session.caller.pk)
                if access is None or (access.type == "room" and pk not in session.rooms):
                    return None
                joined_seq = access.joined_seq
            return log.heads(connection, [pk])[pk], joined_seq

        found = await self.database.read(look, snapshot=True)
        if found is None:
            return session.on_removed(pk)
        head, joined_seq = found
        session.emit("channel:reset", {"channel": name, "head": head})
        await self._read(session, pk, name, head, joined_seq)
        return None

    # Ending

    def revoke(self, user_pk: int, login: str | None, reason: str) -> None:
        """Close a user's sockets, or those of one login."""
        for session in list(self.of_user.get(user_pk, ())):
            if login is None or session.caller.login == login:
                session.close(reason)

    async def renew_epoch(self) -> str:
        """Begin a new history, and have every client resume, which reloads it; the history's name."""
        self.database.epoch = await self.database.write(Command(epoch.renew))
        for session in self.all():
            session.socket.close_now(Ending.RESUME)
        return self.database.epoch

    def _made_by(self, user_pks: Collection[int]) -> Iterable[Session]:
        """Sessions whose tokens one of these users made."""
        return [each for each in self.all() if any(maker.pk in user_pks for maker in each.caller.makers)]

    async def look_at_revocations(self) -> None:
        """Act on what other nodes and commands revoked, or on a new epoch, since the last look."""
        moment = time.monotonic()
        seconds = REVOCATIONS_SECONDS + int(moment - self.checked_at)

        def look(connection: Connection) -> tuple[str, list[Any]]:
            return epoch.current(connection), logins.revoked(connection, seconds)

        name, rows = await self.database.read(look)
        self.checked_at = moment
        fresh = [row for row in rows if row.pk not in self.revocations_seen]
        reasons = {row.user_pk: row.reason for row in fresh}
        if reasons:
            self.callers.clear()
        if makers := {row.user_pk for row in fresh if row.login_id is None}:
            reasons |= {each.caller.pk: "logout" for each in self._made_by(makers) if each.caller.pk not in reasons}
        unsettled = {pk for pk, reason in reasons.items() if not await self._judge(pk, reason)}
        self.revocations_seen = {row.pk for row in rows if row.user_pk not in unsettled}
        if name != self.database.epoch:
            self.database.epoch = name
            for session in self.all():
                session.socket.close_now(Ending.RESUME)

    async def _judge(self, user_pk: int, reason: str) -> bool:
        """Close those of a user's sockets whose tokens count no more; False if one came with another token meanwhile."""
        judged = [(each, each.caller) for each in self.of_user.get(user_pk, ())]
        callers = [caller for _, caller in judged]
        valid = await self.database.read(lambda connection: still_valid(connection, callers))
        for session, caller in judged:
            if session.caller == caller and caller not in valid:
                session.close(reason)
        return all(session.caller == caller for session, caller in judged)

    def all(self) -> Iterable[Session]:
        return [session for sessions in self.of_user.values() for session in sessions]
