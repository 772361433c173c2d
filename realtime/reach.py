"""Whether an event was seen: an open socket is no proof, for a phone that sleeps keeps it open and says nothing.

A user was reached by an event when one of their active sockets was heard of after the event was written to it. Where nothing
came, the socket is asked with a ping; an answer covers everything written before.
"""

import asyncio
import time
from collections.abc import Collection, Iterable

from push.reach import Place
from realtime.session import Session, Sessions

ASK_EVERY = 5.0
PATIENCE = 3.0
LOOK_EVERY = 0.05
LONGEST = 9.0


class Reach:
    def __init__(self, sessions: Sessions) -> None:
        self.sessions = sessions

    def connected(self, user_pk: int) -> bool:
        return user_pk in self.sessions.of_user

    def seen(self, places: Iterable[Place]) -> set[Place]:
        """Those that are known to have been seen by now, without asking."""
        near = (each for each in places if self.connected(each.user_pk))
        return {each for each in near if Watch(each).seen(self.sessions.of_user.get(each.user_pk, ()))}

    async def reached(self, places: Collection[Place]) -> set[Place]:
        """Those places that were seen. Takes 9 seconds at most: a socket is asked every 5, and has 3 to answer."""
        waiting = {each: Watch(each) for each in places if self.connected(each.user_pk)}
        seen: set[Place] = set()
        while waiting:
            for each, watch in list(waiting.items()):
                verdict = watch.look(self.sessions.of_user.get(each.user_pk, ()))
                if verdict is not None:
                    del waiting[each]
                    if verdict:
                        seen.add(each)
            if waiting:
                await asyncio.sleep(LOOK_EVERY)
        return seen


class Watch:
    """One event on its way to one user."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.began = time.monotonic()
        self.written: dict[Session, float] = {}

    def seen(self, sessions: Collection[Session]) -> bool:
        now = time.monotonic()
        written = ((each, self._written_at(each, now)) for each in sessions if each.active and not each.ended)
        return any(at is not None and each.socket.confirmed_at > at for each, at in written)

    def look(self, sessions: Collection[Session]) -> bool | None:
        """Whether it was seen; None while that can't be told yet."""
        now = time.monotonic()
        hopeful = False
        for session in sessions:
            if not session.active or session.ended:
                continue
            written = self.written.get(session) or self._written_at(session, now)
            if written is None:
                hopeful = hopeful or now < self.began + PATIENCE
                continue
            self.written[session] = written
            if session.socket.confirmed_at > written:
                return True
            hopeful = self._ask(session, written, now) or hopeful
        return None if hopeful and now < self.began + LONGEST else False

    def _written_at(self, session: Session, now: float) -> float | None:
        """When the event had been written to a socket at the latest; None if it was not."""
        subscription = session.subscriptions.get(self.place.channel_pk)
        if subscription is None or subscription not in subscription.channel.live:
            return None
        channel = subscription.channel
        if channel.position is None or channel.position < self.place.seq:
            return None
        return min(now, max(channel.delivered_at, subscription.live_at))

    def _ask(self, session: Session, written: float, now: float) -> bool:
        """Whether an answer may come still."""
        socket = session.socket
        if socket.probed_at < written and now >= socket.probed_at + ASK_EVERY:
            socket.probe()
        return socket.probed_at < written or now < socket.probed_at + PATIENCE
