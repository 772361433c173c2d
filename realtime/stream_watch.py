"""Who watches streams now: sockets that get a stream's events, and those of its chat.

Whose stream is open watches as they are. In any other stream a watcher is in the chat meanwhile.
"""

import asyncio
import contextlib
from collections.abc import Sequence

from realtime.cluster.presence import Presence
from realtime.fanout.hub import Hub
from realtime.fanout.plan import ResumedRoom
from realtime.fanout.session import Session
from realtime.schema import shapes
from realtime.schema.caller import Caller
from realtime.schema.limits import Limits
from realtime.streams import Streams
from realtime.viewers import Viewers
from storage import rooms
from storage.batcher import Batcher
from storage.errors import Conflict, Problem
from storage.rooms import WatchedStream
from storage.tasks import Tasks

UNWATCH_AFTER_SECONDS = 30.0
GATHER_SECONDS = 0.02


class StreamWatch:
    """Call ``leave`` when a session ends; set ``closing`` once the server closes, so that no user leaves a chat for that."""

    def __init__(self, streams: Streams, viewers: Viewers, hub: Hub, presence: Presence, limits: Limits) -> None:
        self.streams = streams
        self.viewers = viewers
        self.hub = hub
        self.presence = presence
        self.limits = limits
        # What many watch is looked up together, each as of one moment with the heads of its channels.
        self.found: Batcher[tuple[int, str], WatchedStream] = Batcher(
            streams.database, rooms.watchable, most=500, snapshot=True, gather_seconds=GATHER_SECONDS
        )
        # The server closes its sockets: their users come back to it, or to another.
        self.closing = False
        self.tasks = Tasks()

    async def watch(self, session: Session, id: str) -> shapes.StreamDocument | shapes.WatchedDocument:
        """A stream's events go live from now on, and those of an open one's chat; both may be resumed by offset.

        Raises NotFound, Forbidden, TooMany, and Conflict above the limits of a socket.
        """
        limit = self.limits.streams_watched
        if len(session.streams) >= limit and id not in session.streams.values():
            raise Conflict(f"A socket can watch at most {limit} streams", code="limit_reached")
        found = await self.found.get((session.caller.pk, id))
        if found.stream.audience == "open":
            return await self._watch_open(session, found)
        stream = await self.streams.watch(session.caller, id)
        if not session.ended and stream.pk not in session.streams:
            session.streams[stream.pk] = id
            self.streams.began(stream.pk, session.caller)
        await self._read(session, (stream.pk, stream.channel, stream.head))
        return stream.document

    async def _watch_open(self, session: Session, found: WatchedStream) -> shapes.WatchedDocument:
        stream = found.stream
        if len(session.rooms) >= self.limits.rooms_watched and stream.chat_pk not in session.rooms:
            raise Conflict(f"A socket can watch at most {self.limits.rooms_watched} open streams", code="limit_reached")
        if not session.ended:
            self._count(session, stream.chat_pk, stream.pk, stream.id, stream.peak)
        try:
            await self._read(
                session,
                (stream.pk, f"stream:{stream.id}", stream.head),
                (stream.chat_pk, f"chat:{stream.chat_id}", found.chat_head),
            )
        except BaseException:
            self._end(session, stream.chat_pk)
            raise
        return {
            "stream": self.streams.document(stream),
            "chatId": stream.chat_id,
            "head": found.chat_head,
            "viewers": self.viewers.count(stream.pk),
        }

    async def _read(self, session: Session, *channels: tuple[int, str, int]) -> None:
        """Read channels from a seq on: ``(number, name, seq)``."""
        added = [] if session.ended else [self.hub.add(session, *each) for each in channels]
        replays = [each for each in added if each]
        try:
            await self.hub.start(replays)
        except BaseException:
            # A retry begins again.
            for each in replays:
                self.hub.remove(session, each.channel.pk)
            raise

    def _count(self, session: Session, chat_pk: int, pk: int, id: str, peak: int) -> None:
        session.rooms[chat_pk] = pk
        session.streams[pk] = id
        self.viewers.add(session, pk, id, peak)

    def resume(self, session: Session, resumed: Sequence[ResumedRoom]) -> None:
        """A session has begun that watches these rooms."""
        for room in () if session.ended else resumed:
            if room.stream and room.pk in session.rooms:
                self._count(session, room.pk, *room.stream)

    def react(self, session: Session, id: str, key: str, count: int) -> None:
        """Count reactions to an open stream. Raises Conflict for who does not watch it, TooMany."""
        pk = next((pk for pk in session.rooms.values() if pk is not None and session.streams.get(pk) == id), None)
        if pk is None:
            raise Conflict("Watch the open stream before you react to it")
        self.viewers.react(session, pk, key, count)

    async def unwatch(self, session: Session, id: str) -> shapes.StreamDocument:
        """Raises NotFound."""
        stream = await self.streams.find(session.caller, id)
        if stream.audience == "open":
            self._end(session, stream.chat_pk)
            return self.streams.document(stream)
        for pk in [pk for pk, each in session.streams.items() if each == id]:
            del session.streams[pk]
            self.streams.stopped(pk, session.caller)
            self.hub.remove(session, pk)
        return await self.streams.unwatch(session.caller, id)

    def on_removed(self, session: Session, pk: int) -> None:
        """The user was banned from a chat, or blocked by its owner."""
        if pk in session.rooms:
            self._end(session, pk)

    def _end(self, session: Session, chat_pk: int) -> None:
        pk = session.rooms.pop(chat_pk, None)
        self.hub.remove(session, chat_pk)
        if pk is not None:
            session.streams.pop(pk, None)
            self.viewers.remove(session, pk)
            self.hub.remove(session, pk)

    def leave(self, session: Session) -> None:
        """The session is over: a user who does not come back in time leaves the chats of streams that are not open."""
        opened = {pk for pk in session.rooms.values() if pk is not None}
        for pk, id in session.streams.items():
            if pk in opened:
                self.viewers.remove(session, pk)
            elif self.streams.stopped(pk, session.caller):
                asyncio.get_running_loop().call_later(UNWATCH_AFTER_SECONDS, self._on_timeout, session.caller, id)
        session.streams.clear()
        session.rooms.clear()

    def _on_timeout(self, caller: Caller, id: str) -> None:
        if not self.closing:
            self.tasks.spawn(self._leave(caller, id))

    async def _leave(self, caller: Caller, id: str) -> None:
        with contextlib.suppress(Problem):
            # A user who came back to another node watches there.
            if not await self.presence.elsewhere([caller.pk]):
                await self.streams.unwatch(caller, id)

    async def stop(self) -> None:
        self.closing = True
        await self.tasks.finish()
