"""Who watches streams now: sockets that get a stream's events, and whose users are in its chat meanwhile."""

import asyncio
import contextlib

from realtime.cluster.presence import Presence
from realtime.fanout.hub import Hub
from realtime.fanout.session import Session
from realtime.schema import shapes
from realtime.schema.caller import Caller
from realtime.schema.limits import Limits
from realtime.streams import Streams
from storage.errors import Conflict, Problem
from storage.tasks import Tasks

UNWATCH_AFTER_SECONDS = 30.0


class StreamWatch:
    """Call ``leave`` when a session ends; set ``closing`` once the server closes, so that no user leaves a chat for that."""

    def __init__(self, streams: Streams, hub: Hub, presence: Presence, limits: Limits) -> None:
        self.streams = streams
        self.hub = hub
        self.presence = presence
        self.limits = limits
        # The server closes its sockets: their users come back to it, or to another.
        self.closing = False
        self.tasks = Tasks()

    async def watch(self, session: Session, id: str) -> shapes.StreamDocument:
        """A stream's events go live from now on; it may be resumed by offset like any channel.

        Raises NotFound, Forbidden, TooMany, and Conflict above the limit of a socket.
        """
        limit = self.limits.streams_watched
        if len(session.streams) >= limit and id not in session.streams.values():
            raise Conflict(f"A socket can watch at most {limit} streams")
        stream = await self.streams.watch(session.caller, id)
        if not session.ended and stream.pk not in session.streams:
            session.streams[stream.pk] = id
            self.streams.began(stream.pk, session.caller)
        replay = None if session.ended else self.hub.add(session, stream.pk, stream.channel, stream.head)
        if replay:
            await self.hub.start([replay])
        return stream.document

    async def unwatch(self, session: Session, id: str) -> shapes.StreamDocument:
        """Raises NotFound."""
        for pk in [pk for pk, each in session.streams.items() if each == id]:
            del session.streams[pk]
            self.streams.stopped(pk, session.caller)
            self.hub.remove(session, pk)
        return await self.streams.unwatch(session.caller, id)

    def leave(self, session: Session) -> None:
        """The session is over: a user who does not come back in time leaves the streams' chats."""
        for pk, id in session.streams.items():
            if self.streams.stopped(pk, session.caller):
                asyncio.get_running_loop().call_later(UNWATCH_AFTER_SECONDS, self._on_timeout, session.caller, id)
        session.streams.clear()

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
