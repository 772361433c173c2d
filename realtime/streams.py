"""Streams: what is to begin, and what stands on lock screens for it.

A stream is ``scheduled → ready → started → ended``; ``cancelled`` and ``expired`` come from the first two. Every change is
one transaction: the state, the event, and the promise of an end to each Live Activity.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

from sqlalchemy import Connection

from realtime.fanout.delivery_budget import DeliveryBudget
from realtime.membership import admit, announce, append_updated, leave
from realtime.schema import documents, shapes
from realtime.schema.bodies import ChangeStream, CreateStream
from realtime.schema.caller import Caller
from realtime.schema.limits import Limits
from realtime.support.buckets import Buckets
from realtime.viewers import Viewers
from storage import accounts, audit, blocks, chat, log, outbox, push_channels, sanctions, streams
from storage.database import Database
from storage.errors import FOREVER, Conflict, Forbidden, NotFound
from storage.streams import Status, Stream
from storage.transaction import Command, Tx
from storage.types import SECOND, now

logger = logging.getLogger("bellwire")

MANAGE_STREAMS = "streams.manage"
# A user who follows again within this time is still in the chat, and nothing was announced.
STAY_SECONDS = 60
# So long before the start on devices the push channels of a stream are opened.
CHANNEL_MICROSECONDS = 120 * SECOND
# Closer to its beginning a stream does not wait for them.
LATEST_MICROSECONDS = 30 * SECOND
# Roles of those who do not leave the chat with the stream.
STAYING = ("owner", "admin", "moderator", "readonly")
BEFORE: dict[Status, tuple[Status, ...]] = {
    "ready": ("scheduled",),
    "started": ("ready",),
    "ended": ("started",),
    "cancelled": ("scheduled", "ready"),
    "expired": ("scheduled", "ready"),
}


class Timing(NamedTuple):
    """Seconds: a stream expires ``grace`` after its planned start; devices show it ``lead`` before it."""

    grace: float
    lead: float


class Watched(NamedTuple):
    """A stream whose channel may be read from ``head`` on."""

    pk: int
    channel: str
    head: int
    document: shapes.StreamDocument


class Streams:
    def __init__(
        self, database: Database, limits: Limits, timing: Timing, delivery_budget: DeliveryBudget, viewers: Viewers
    ) -> None:
        self.database = database
        self.limits = limits
        self.delivery_budget = delivery_budget
        self.attending = Buckets(limits.follows_per_minute, limits.follows_per_minute, "changes", period="minute")
        self.timing = timing
        self.viewers = viewers
        self.watching: Counter[tuple[int, int]] = Counter()

    # Looking

    async def get(self, caller: Caller, id: str) -> shapes.StreamDocument:
        """Raises NotFound."""
        return self.document(await self.find(caller, id))

    def document(self, stream: Stream) -> shapes.StreamDocument:
        """With how many watch it now, where it is open."""
        if stream.audience != "open":
            return documents.stream(stream)
        return documents.stream(stream, self.viewers.count(stream.pk), self.viewers.peak(stream.pk, stream.peak))

    async def page(self, caller: Caller, *, status: str | None, before: int | None, limit: int) -> list[Stream]:
        """The tenant's, newest first."""
        tenant_pk = caller.user.tenant_pk
        return await self.database.read(
            lambda it: streams.page(it, tenant_pk, status=status, before=before, limit=limit)
        )

    async def find(self, caller: Caller, id: str) -> Stream:
        """Raises NotFound."""
        return await self.database.read(lambda connection: existing(connection, caller, id))

    # Making and changing

    async def create(self, caller: Caller, body: CreateStream) -> shapes.StreamDocument:
        """With a chat of its own. Raises Forbidden, Conflict for an id that is taken."""
        tenant_pk = caller.user.tenant_pk

        def apply(tx: Tx) -> Stream:
            actor = caller.fresh(tx)
            actor.require(MANAGE_STREAMS)
            if body.id and streams.find(tx.connection(), tenant_pk, body.id):
                raise Conflict("A stream with this id already exists", code="id_taken")
            chat_pk = chat.add(
                tx,
                tenant_pk,
                type="room" if body.audience == "open" else "group",
                name=body.title,
                history_visible="all" if body.audience == "open" else "joined",
            )
            chat.add_members(tx, chat_pk, [(caller.pk, "owner")], 0, maker_pk=caller.pk)
            announce(tx, chat_pk, [caller.pk], 0)
            pk = streams.add(
                tx,
                tenant_pk,
                id=body.id,
                title=body.title,
                starts_at=int(body.startsAt),
                owner_pk=caller.pk,
                chat_pk=chat_pk,
            )
            made = streams.get(tx.connection(), pk)
            audit.add(tx, actor.user, "stream.create", made.id)
            return made

        keys = [f"stream:{tenant_pk}:{body.id}"] if body.id else []
        return self.document(await self.database.write(Command(apply, channels=[caller.pk], keys=keys)))

    async def change(self, caller: Caller, id: str, body: ChangeStream) -> shapes.StreamDocument:
        """Change the title or time of a stream that has not begun, and update its Live Activities.

        Raises NotFound, Forbidden, Conflict, TooMany while its watchers or its chat get too much.
        """

        def apply(tx: Tx, stream: Stream) -> Stream:
            if stream.status not in ("scheduled", "ready"):
                raise Conflict(f"The stream is {stream.status}", code="stream_state")
            wanted: dict[str, Any] = {"title": body.title, "starts_at": body.startsAt}
            news = {
                name: value for name, value in wanted.items() if value is not None and value != getattr(stream, name)
            }
            if not news:
                return stream
            self.delivery_budget.admit(stream.pk)
            if "title" in news:
                self.delivery_budget.admit(stream.chat_pk)
            if news.get("starts_at", 0) > tx.now + int(self.timing.lead * SECOND):
                # Another event follows when its time comes.
                news["announced"] = False
            changed = streams.change(tx, stream.pk, **news)
            if "title" in news:
                chat.change(tx, stream.chat_pk, name=changed.title)
                append_updated(tx, stream.chat_pk, stream.chat_id, changes={"name": changed.title})
            event = log.append(tx, stream.pk, "stream:status", documents.stream(changed))
            outbox.promise_live(tx, "live_update", stream.pk, event.seq)
            return changed

        return self.document(await self._manage(caller, id, apply))

    async def move(self, caller: Caller, id: str, to: Status) -> shapes.StreamDocument:
        """Raises NotFound, Forbidden, Conflict for a change that its state does not allow."""
        return self.document(await self._manage(caller, id, partial(move, to=to)))

    async def _manage(self, caller: Caller, id: str, change: Callable[[Tx, Stream], Stream]) -> Stream:
        """Run ``change`` on a stream of the caller's, or of the tenant for who manages streams; it is locked."""
        found = await self.find(caller, id)

        def apply(tx: Tx) -> Stream:
            stream = streams.get(tx.connection(), found.pk)
            actor = caller.fresh(tx)
            if actor.pk != stream.owner_pk:
                actor.require(MANAGE_STREAMS)
                audit.add(tx, actor.user, "stream.change", stream.id)
            return change(tx, stream)

        return await self.database.write(Command(apply, channels=[found.pk, found.chat_pk]))

    # Followers and watchers

    async def follow(self, caller: Caller, id: str) -> shapes.StreamDocument:
        """Also joins its chat. Raises NotFound, Forbidden if its owner blocks the caller, Conflict, TooMany."""

        def apply(tx: Tx, stream: Stream) -> None:
            refuse_blocked(tx.connection(), caller, stream)
            if streams.follow(tx, stream.pk, caller.pk):
                if streams.following(tx.connection(), caller.pk) > self.limits.streams_followed:
                    raise Conflict(
                        f"You can follow at most {self.limits.streams_followed} streams", code="limit_reached"
                    )
                self.attending.acquire((stream.pk, caller.pk))
                if stream.announced and stream.status == "scheduled":
                    outbox.promise_live(tx, "live_start", stream.pk, stream.head, only=caller.pk)
            self._join(tx, stream, caller)

        return self.document(await self._attend(caller, id, apply))

    async def unfollow(self, caller: Caller, id: str) -> shapes.StreamDocument:
        """Also leaves its chat, unless one watches it. Raises NotFound, TooMany."""

        def apply(tx: Tx, stream: Stream) -> None:
            if streams.unfollow(tx, stream.pk, caller.pk):
                self.attending.acquire((stream.pk, caller.pk))
                if not self.watching[stream.pk, caller.pk]:
                    part(tx, stream, caller)

        return self.document(await self._attend(caller, id, apply))

    async def watch(self, caller: Caller, id: str) -> Watched:
        """Joins its chat; its events may be read from the head of the answer on.

        Raises NotFound, Forbidden, TooMany for who joined it too often.
        """

        def apply(tx: Tx, stream: Stream) -> None:
            refuse_blocked(tx.connection(), caller, stream)
            if self._join(tx, stream, caller):
                self.attending.acquire((stream.pk, caller.pk))

        stream = await self._attend(caller, id, apply)
        return Watched(stream.pk, f"stream:{stream.id}", stream.head, documents.stream(stream))

    async def unwatch(self, caller: Caller, id: str) -> shapes.StreamDocument:
        """Leaves its chat, unless one follows it, or watches it on another socket."""

        def apply(tx: Tx, stream: Stream) -> None:
            watched = self.watching[stream.pk, caller.pk]
            if not watched and not streams.follows(tx.connection(), stream.pk, caller.pk):
                part(tx, stream, caller)

        return self.document(await self._attend(caller, id, apply))

    def began(self, pk: int, caller: Caller) -> None:
        """One of the user's sockets watches a stream."""
        self.watching[pk, caller.pk] += 1

    def stopped(self, pk: int, caller: Caller) -> bool:
        """One of them watches it no more; whether none is left."""
        self.watching[pk, caller.pk] -= 1
        if self.watching[pk, caller.pk] > 0:
            return False
        del self.watching[pk, caller.pk]
        return True

    async def _attend(self, caller: Caller, id: str, change: Callable[[Tx, Stream], None]) -> Stream:
        found = await self.find(caller, id)

        def apply(tx: Tx) -> Stream:
            caller.fresh(tx)
            stream = streams.get(tx.connection(), found.pk)
            change(tx, stream)
            return stream

        return await self.database.write(Command(apply, channels=[found.pk, found.chat_pk, caller.pk]))

    def _join(self, tx: Tx, stream: Stream, caller: Caller) -> bool:
        """Whether the caller is new; who comes when the chat is full, or was removed from it, stays outside."""
        inside = chat.member(tx.connection(), stream.chat_pk, caller.pk)
        if inside is not None:
            if inside.leaves_at is not None:
                chat.set_member(tx, stream.chat_pk, caller.pk, leaves_at=None)
            return False
        room = chat.get(tx.connection(), stream.chat_pk)
        sanctioned = sanctions.of_user(tx.connection(), stream.chat_pk, caller.pk, tx.now)
        if "ban" in sanctioned or room.member_count >= self.limits.chat_members:
            return False
        role = "readonly" if sanctioned.get("silence") == FOREVER else "member"
        if role == "readonly":
            sanctions.lift(tx, stream.chat_pk, [caller.pk], "silence")
        admit(tx, stream.chat_pk, stream.chat_id, [caller.user], role)
        return True

    # The server's own clock

    async def tick(self) -> None:
        """Expire streams that have not begun in time, also while no server ran; start Live Activities of the next ones."""
        grace, lead = int(self.timing.grace * SECOND), int(self.timing.lead * SECOND)

        def look(connection: Connection) -> tuple[list[int], list[int], list[int]]:
            at = now()
            return (
                streams.late(connection, before=at - grace),
                push_channels.to_want(connection, after=at, before=at + lead + CHANNEL_MICROSECONDS),
                streams.soon(connection, after=at, before=at + lead),
            )

        late, to_want, soon = await self.database.read(look)
        for pk in late:
            await self.database.write(Command(partial(expire, pk=pk, grace=grace), channels=[pk]))
        for pk in to_want:
            await self.database.write(Command(partial(push_channels.want, stream_pk=pk), channels=[pk]))
        for pk in soon:
            await self.database.write(Command(partial(announce_start, pk=pk), channels=[pk]))

    async def finish_leaving(self) -> None:
        """Who left the chat of a stream right after joining it leaves it now; many in one commit."""
        leaving = await self.database.read(lambda connection: chat.leaving(connection, before=now()))
        ended = await asyncio.gather(
            *(
                self.database.write(
                    Command(partial(finish_parting, chat_pk=chat_pk, user_pk=user_pk), channels=[chat_pk, user_pk])
                )
                for chat_pk, user_pk in leaving
            ),
            return_exceptions=True,
        )
        for error in ended:
            if isinstance(error, Exception):
                logger.warning("a member could not leave the chat of a stream; retrying: %r", error)


def move(tx: Tx, stream: Stream, to: Status) -> Stream:
    """Change the state of a stream whose channel is locked. Raises Conflict."""
    if stream.status not in BEFORE[to]:
        raise Conflict(f"The stream is {stream.status}", code="stream_state")
    changed = streams.change(tx, stream.pk, status=to)
    event = log.append(tx, stream.pk, "stream:status", documents.stream(changed))
    outbox.promise_live(tx, "live_end", stream.pk, event.seq)
    return changed


def expire(tx: Tx, pk: int, grace: int) -> None:
    stream = streams.get(tx.connection(), pk)
    if stream.status in BEFORE["expired"] and stream.starts_at + grace < tx.now:
        move(tx, stream, "expired")


def announce_start(tx: Tx, pk: int) -> None:
    """Promise the start on the followers' devices, once a stream, and as soon as its push channels are open."""
    stream = streams.get(tx.connection(), pk)
    if stream.status == "scheduled" and not stream.announced:
        if stream.starts_at > tx.now + LATEST_MICROSECONDS and push_channels.are_opening(tx, pk):
            return
        streams.change(tx, pk, announced=True)
        outbox.promise_live(tx, "live_start", pk, stream.head)


def existing(connection: Connection, caller: Caller, id: str) -> Stream:
    """Raises NotFound."""
    found = streams.find(connection, caller.user.tenant_pk, id)
    if found is None:
        raise NotFound
    return found


def refuse_blocked(connection: Connection, caller: Caller, stream: Stream) -> None:
    """Raises Forbidden."""
    if blocks.is_blocked(connection, stream.owner_pk, caller.pk):
        raise Forbidden


def part(tx: Tx, stream: Stream, caller: Caller) -> None:
    """Out of the stream's chat, a minute after joining it at the earliest.

    Its owner stays, and who may only read does, or they would come back as others.
    """
    member = chat.member(tx.connection(), stream.chat_pk, caller.pk)
    if member is None or member.role in STAYING:
        return
    earliest = member.joined_at + STAY_SECONDS * SECOND
    if tx.now < earliest:
        chat.set_member(tx, stream.chat_pk, caller.pk, leaves_at=earliest)
    else:
        leave(tx, stream.chat_pk, stream.chat_id, caller.user, voluntary=True)


def finish_parting(tx: Tx, chat_pk: int, user_pk: int) -> None:
    """Unless the member came back, or has got a role that stays."""
    member = chat.member(tx.connection(), chat_pk, user_pk)
    if member is None or member.leaves_at is None or member.leaves_at > tx.now:
        return
    if member.role in STAYING:
        chat.set_member(tx, chat_pk, user_pk, leaves_at=None)
        return
    user = accounts.get(tx.connection(), user_pk)
    leave(tx, chat_pk, chat.get(tx.connection(), chat_pk).id, user, voluntary=True)
