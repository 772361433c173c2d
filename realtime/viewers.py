"""How many watch each open stream, over all nodes, and their reactions. Only the most that ever watched is stored.

Every node publishes its share; the share of a node that publishes none any more expires. While Redis is unreachable the
others' last shares count on.
"""

import math
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from realtime.fanout.hub import Hub
from realtime.fanout.session import Session
from realtime.fanout.topics import write_to
from realtime.schema.events import ReactionsEvent, ViewersEvent
from realtime.schema.limits import Limits
from realtime.support.buckets import Buckets
from storage import streams
from storage.database import Database
from storage.transaction import Command

TOPIC = "viewers"
# How often a node publishes its share, and for how long that counts.
SHARE_SECONDS = 0.5
EXPIRY_SECONDS = 1.5
# After a pause of this node's own its view of the others is not younger.
LATE_SECONDS = 1.0
# How often the viewers of a stream are sent their number at most.
VIEWERS_SECONDS = 2.0
PEAKS_SECONDS = 10.0
# Different reactions to a stream that a node counts between two shares; it drops others.
KEYS_COUNTED = 1000
# Of these it publishes the most frequent.
KEYS_PUBLISHED = 20


class Share(NamedTuple):
    """How many users watch each stream on another node, by the stream's number; ``at`` of time.monotonic()."""

    at: float
    viewers: Mapping[int, int]


@dataclass(slots=True)
class LocalViewers:
    """An open stream that sockets of this node watch."""

    id: str
    # Those sockets, in the order in which they came.
    sessions: dict[Session, None] = field(default_factory=dict)
    # How many of them each user has.
    users: Counter[int] = field(default_factory=Counter)
    # Reactions of this node's users that are not published yet, and those of all nodes that are not sent yet.
    given: Counter[str] = field(default_factory=Counter)
    counts: Counter[str] = field(default_factory=Counter)
    # What the sockets were sent last, ``(viewers, peak)``, and when, of time.monotonic().
    sent: tuple[int, int] = (0, 0)
    sent_at: float = 0.0


class Viewers:
    """``node`` names this one. Call ``tick`` every ``SHARE_SECONDS``, ``write_peaks`` every ``PEAKS_SECONDS``."""

    def __init__(self, database: Database, hub: Hub, limits: Limits, node: str) -> None:
        self.database = database
        self.hub = hub
        self.node = node
        # By the stream's number.
        self.watched: dict[int, LocalViewers] = {}
        # By the node's name.
        self.shares: dict[str, Share] = {}
        # The most viewers that this node knows of, and the streams where that is not stored yet.
        self.peaks: dict[int, int] = {}
        self.raised: set[int] = set()
        # When ``tick`` was called last, of time.monotonic().
        self.ticked_at = time.monotonic()
        # Whether the last share that was published names a stream.
        self.shared = False
        rate = limits.stream_reactions_per_second
        self.reacting = Buckets(rate, rate, "reactions")
        hub.topics.handle(TOPIC, self._on_share)

    def add(self, session: Session, pk: int, id: str, peak: int) -> None:
        """A socket watches a stream, which ``peak`` users watched at most, as far as it is stored."""
        self.peaks[pk] = max(peak, self.peaks.get(pk, 0))
        watched = self.watched.get(pk)
        if watched is None:
            watched = self.watched[pk] = LocalViewers(id)
        if session not in watched.sessions:
            watched.sessions[session] = None
            watched.users[session.caller.pk] += 1

    def remove(self, session: Session, pk: int) -> None:
        """It watches it no more, or is gone."""
        watched = self.watched.get(pk)
        if watched and session in watched.sessions:
            del watched.sessions[session]
            watched.users[session.caller.pk] -= 1
            if not watched.users[session.caller.pk]:
                del watched.users[session.caller.pk]
            if not watched.sessions:
                del self.watched[pk]

    def count(self, pk: int) -> int:
        """How many users watch a stream; who does on two nodes counts twice."""
        watched = self.watched.get(pk)
        return (len(watched.users) if watched else 0) + sum(each.viewers.get(pk, 0) for each in self.shares.values())

    @property
    def here(self) -> int:
        """How many users watch on this node, one who watches two streams twice."""
        return sum(len(each.users) for each in self.watched.values())

    def peak(self, pk: int, stored: int) -> int:
        """How many there were at most, of which the database knows ``stored``."""
        return max(stored, self.peaks.get(pk, 0), self.count(pk))

    def react(self, session: Session, pk: int, key: str, count: int) -> None:
        """Raises TooMany."""
        self.reacting.acquire(session.caller.pk)
        given = self.watched[pk].given
        if key in given or len(given) < KEYS_COUNTED:
            given[key] += count

    # What nodes tell each other, and their sockets

    async def tick(self) -> None:
        """Publish this node's share, and send what has changed."""
        moment = time.monotonic()
        if self.watched or self.shared:
            self._publish()
        self._expire(moment)
        self.ticked_at = moment
        for pk, watched in self.watched.items():
            self._send(pk, watched, moment)

    def _publish(self) -> None:
        self.shared = bool(self.watched)
        document = {
            "node": self.node,
            "viewers": [(pk, len(each.users)) for pk, each in self.watched.items()],
            "peaks": [(pk, self.peaks[pk]) for pk in self.watched],
            "reactions": [
                (pk, dict(each.given.most_common(KEYS_PUBLISHED))) for pk, each in self.watched.items() if each.given
            ],
        }
        for each in self.watched.values():
            each.given = Counter()
        self.hub.topics.publish(TOPIC, "share", document)

    def _on_share(self, name: str, document: Any) -> None:
        if document["node"] != self.node:
            self.shares[document["node"]] = Share(time.monotonic(), dict(document["viewers"]))
            for pk, peak in document["peaks"]:
                if pk in self.watched:
                    self._raise(pk, peak)
        for pk, given in document["reactions"]:
            watched = self.watched.get(pk)
            if watched:
                watched.counts.update(given)

    def _expire(self, moment: float) -> None:
        if not self.hub.broker.connected or moment - self.ticked_at > LATE_SECONDS:
            self.shares = {node: Share(moment, each.viewers) for node, each in self.shares.items()}
        fresh = {node: each for node, each in self.shares.items() if moment - each.at < EXPIRY_SECONDS}
        if len(fresh) < len(self.shares):
            # A node is gone: what has changed is sent at once.
            for watched in self.watched.values():
                watched.sent_at = -math.inf
        self.shares = fresh

    def _raise(self, pk: int, peak: int) -> None:
        if peak > self.peaks.get(pk, 0):
            self.peaks[pk] = peak
            self.raised.add(pk)

    def _send(self, pk: int, watched: LocalViewers, moment: float) -> None:
        viewers = self.count(pk)
        self._raise(pk, viewers)
        now = viewers, self.peaks[pk]
        if now != watched.sent and moment - watched.sent_at >= VIEWERS_SECONDS:
            watched.sent, watched.sent_at = now, moment
            event: ViewersEvent = {"streamId": watched.id, "viewers": viewers, "peak": self.peaks[pk]}
            write_to(watched.sessions, "stream:viewers", event)
        if watched.counts:
            reactions: ReactionsEvent = {"streamId": watched.id, "counts": dict(watched.counts)}
            watched.counts.clear()
            write_to(watched.sessions, "stream:reactions", reactions)

    async def write_peaks(self) -> None:
        """Store the peaks that have risen, and forget those of streams that no socket of this node watches."""
        raised, self.raised = self.raised, set()
        peaks = {pk: self.peaks[pk] for pk in raised}
        if peaks:
            try:
                await self.database.write(Command(lambda tx: streams.raise_peaks(tx, peaks)))
            except BaseException:
                self.raised |= raised
                raise
        self.peaks = {pk: peak for pk, peak in self.peaks.items() if pk in self.watched or pk in self.raised}
