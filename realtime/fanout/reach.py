"""Whether an event was seen: an open socket is not enough, because a sleeping phone keeps it open without reading.

A user was reached by an event when one of their active sockets sent something after the event was written to it. Where
nothing came, the socket is asked with a ping; an answer covers everything written before.
"""

import asyncio
import secrets
import time
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from push.reach import UserEvent
from realtime.cluster.presence import Presence
from realtime.fanout.hub import Hub
from realtime.fanout.session import Session, Sessions
from storage.tasks import Tasks

PING_SECONDS = 5.0
ANSWER_SECONDS = 3.0
CHECK_SECONDS = 0.05
LONGEST_WAIT_SECONDS = 9.0


@dataclass(slots=True)
class Question:
    """What other nodes were asked, and have not answered."""

    nodes: set[str]
    seen: set[UserEvent]
    done: asyncio.Future[None]


class Reach:
    """Asks this node's sockets, and the other nodes for theirs: ``node`` names this one."""

    def __init__(self, sessions: Sessions, hub: Hub, presence: Presence, node: str) -> None:
        self.sessions = sessions
        self.hub = hub
        self.presence = presence
        self.node = node
        self.questions: dict[str, Question] = {}
        # Questions of other nodes that are being answered.
        self.tasks = Tasks()
        # No sockets are asked any more.
        self.stopping = False
        hub.topics.handle(topic_of(node), self._on_node_message)

    async def stop(self) -> None:
        self.stopping = True
        await self.tasks.finish()

    async def connected(self, user_pks: Collection[int]) -> set[int]:
        return await self.presence.online(user_pks)

    def seen(self, places: Iterable[UserEvent]) -> set[UserEvent]:
        """Those that are known to have been seen by now, by a socket of this node, without asking."""
        sessions = self.sessions.of_user
        return {each for each in places if each.user_pk in sessions and Watch(each).seen(sessions[each.user_pk])}

    async def reached(self, places: Collection[UserEvent]) -> set[UserEvent]:
        """Those places that were seen. A node that says nothing for 9 seconds has seen nothing."""
        elsewhere = await self.presence.elsewhere({each.user_pk for each in places})
        asked: dict[str, list[UserEvent]] = {}
        for each in places:
            for node in elsewhere.get(each.user_pk, ()):
                asked.setdefault(node, []).append(each)
        if not asked:
            return await self._reached_here(places)
        here, there = await asyncio.gather(self._reached_here(places), self._reached_there(asked))
        return here | there

    async def _reached_there(self, asked: Mapping[str, Collection[UserEvent]]) -> set[UserEvent]:
        id = secrets.token_hex(8)
        question = self.questions[id] = Question(set(asked), set(), asyncio.get_running_loop().create_future())
        for node, places in asked.items():
            self.hub.topics.publish(
                topic_of(node), "asked", {"id": id, "node": self.node, "places": [[*each] for each in places]}
            )
        await asyncio.wait([question.done], timeout=LONGEST_WAIT_SECONDS)
        del self.questions[id]
        return question.seen

    def _on_node_message(self, name: str, document: Any) -> None:
        if name == "asked":
            if self.stopping:
                # The sessions are gone.
                self._send_answer(document, ())
            else:
                self.tasks.spawn(self._answer(document))
            return
        question = self.questions.get(document["id"])
        if question:
            question.seen.update(UserEvent(*each) for each in document["seen"])
            question.nodes.discard(document["node"])
            if not question.nodes and not question.done.done():
                question.done.set_result(None)

    async def _answer(self, asked: Any) -> None:
        self._send_answer(asked, await self._reached_here([UserEvent(*each) for each in asked["places"]]))

    def _send_answer(self, asked: Any, seen: Collection[UserEvent]) -> None:
        answer = {"id": asked["id"], "node": self.node, "seen": [[*each] for each in seen]}
        self.hub.topics.publish(topic_of(asked["node"]), "answered", answer)

    async def _reached_here(self, places: Collection[UserEvent]) -> set[UserEvent]:
        """Takes 9 seconds at most: a socket is asked every 5, and has 3 to answer."""
        waiting = {each: Watch(each) for each in places if each.user_pk in self.sessions.of_user}
        seen: set[UserEvent] = set()
        while waiting:
            for each, watch in list(waiting.items()):
                verdict = watch.judge(self.sessions.of_user.get(each.user_pk, ()))
                if verdict is not None:
                    del waiting[each]
                    if verdict:
                        seen.add(each)
            if waiting:
                await asyncio.sleep(CHECK_SECONDS)
        return seen


def topic_of(node: str) -> str:
    return f"node:{node}"


class Watch:
    """One event on its way to one user."""

    def __init__(self, place: UserEvent) -> None:
        self.place = place
        self.began_at = time.monotonic()
        self.written: dict[Session, float] = {}

    def seen(self, sessions: Collection[Session]) -> bool:
        now = time.monotonic()
        written = ((each, self._written_at(each, now)) for each in sessions if each.active and not each.ended)
        return any(at is not None and each.socket.confirmed_at > at for each, at in written)

    def judge(self, sessions: Collection[Session]) -> bool | None:
        """Whether it was seen; None while that is not known yet."""
        now = time.monotonic()
        undecided = False
        for session in sessions:
            if not session.active or session.ended:
                continue
            written = self.written.get(session) or self._written_at(session, now)
            if written is None:
                undecided = undecided or now < self.began_at + ANSWER_SECONDS
                continue
            self.written[session] = written
            if session.socket.confirmed_at > written:
                return True
            undecided = self._ask(session, written, now) or undecided
        return None if undecided and now < self.began_at + LONGEST_WAIT_SECONDS else False

    def _written_at(self, session: Session, now: float) -> float | None:
        """When the event had been written to a socket at the latest; None if it was not."""
        channel = session.subscriptions.get(self.place.channel_pk)
        if channel is None or session not in channel.live:
            return None
        if channel.crowd and session in channel.crowd.unwritten:
            return None
        if channel.position is None or channel.position < self.place.seq:
            return None
        return min(now, max(channel.delivered_at, session.live_at))

    def _ask(self, session: Session, written: float, now: float) -> bool:
        """Whether an answer may come still."""
        socket = session.socket
        if socket.ping_requested_at < written and now >= socket.ping_requested_at + PING_SECONDS:
            socket.ping_now()
        return socket.ping_requested_at < written or now < socket.ping_requested_at + ANSWER_SECONDS
