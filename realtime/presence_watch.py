"""Whether users are online, shown to those who watch them."""

import asyncio
import itertools
from collections.abc import Sequence
from functools import partial

from sqlalchemy import Connection

from realtime.cluster.presence import Presence
from realtime.fanout.hub import Hub
from realtime.fanout.session import Session
from realtime.schema import documents, shapes
from realtime.schema.limits import Limits
from storage import accounts
from storage.accounts import User
from storage.database import Database
from storage.errors import Invalid, Unavailable
from storage.tasks import Tasks
from storage.transaction import Command
from storage.types import now

USERS_WRITTEN_AT_ONCE = 100


class PresenceWatch:
    """``presence`` knows who is connected to any node; the hub carries what changes to the watchers."""

    def __init__(self, database: Database, hub: Hub, presence: Presence, limits: Limits) -> None:
        self.database = database
        self.hub = hub
        self.presence = presence
        self.limits = limits
        # Users whose last connection closed, by number, until that is written.
        self.leaving: dict[int, User] = {}
        # Writes them; None while there are none.
        self.writing: asyncio.Task[None] | None = None
        self.tasks = Tasks()

    async def enter(self, user: User) -> None:
        """One more connection of a user."""
        if await self.presence.enter(user.pk) and user.presence is None:
            self._publish(user, True, None)

    def leave(self, user: User) -> None:
        """One connection less."""
        self.tasks.spawn(self._leave(user))

    async def _leave(self, user: User) -> None:
        if await self.presence.leave(user.pk):
            self.leaving[user.pk] = user
            if self.writing is None:
                self.writing = self.tasks.spawn(self._write_seen())

    async def _write_seen(self) -> None:
        """When users were online last, many in one write: when a network fails, all leave at once."""
        try:
            while self.leaving:
                some = dict(itertools.islice(self.leaving.items(), USERS_WRITTEN_AT_ONCE))
                for pk in some:
                    del self.leaving[pk]
                try:
                    at = await self.database.write(Command(partial(accounts.seen, pks=list(some))))
                except Unavailable:
                    at = now()
                try:
                    hidden = await self.database.read(partial(accounts.hidden, pks=list(some)))
                except Unavailable:
                    continue
                # Last, so that a connection opened meanwhile is not followed by an older "offline".
                online = await self.presence.online(list(some))
                for pk, user in some.items():
                    if pk not in hidden:
                        self._publish(user, pk in online, at)
        finally:
            self.writing = None

    async def show(self, user: User) -> None:
        """Publish the presence of a user again, after a change of who may see it."""
        online = user.presence is None and user.pk in await self.presence.online([user.pk])
        seen_at = user.last_seen_at if user.presence is None else None
        self.hub.topics.publish(topic_of(user.pk), "presence", documents.presence(user.id, online, seen_at))

    def _publish(self, user: User, online: bool, at: int | None) -> None:
        seen_at = at if at is not None else user.last_seen_at
        self.hub.topics.publish(topic_of(user.pk), "presence", documents.presence(user.id, online, seen_at))

    async def watch(self, session: Session, user_ids: Sequence[str]) -> list[shapes.PresenceDocument]:
        """Have changes sent to a session from now on; how the users are now, in the order of ``user_ids``.

        Users that show the caller nothing are shown offline, and not watched. Raises Invalid above the limit.
        """
        limit = self.limits.presence_watch
        if len(user_ids) > limit:
            raise Invalid.field("userIds", f"You can watch at most {limit} users")
        user = session.caller.user

        def look(connection: Connection) -> list[User]:
            found = accounts.by_ids(connection, user.tenant_pk, user_ids)
            shared = accounts.sharing(connection, user.pk, [each.pk for each in found])
            return [each for each in found if each.pk in shared]

        known = await self.database.read(look)
        if len(session.watched | {each.pk for each in known}) > limit:
            raise Invalid.field("userIds", f"You can watch at most {limit} users")
        for each in known:
            if not session.ended:
                session.watched |= {each.pk}
                self.hub.topics.watch(topic_of(each.pk), session)
        online = await self.presence.online([each.pk for each in known])
        shown = {each.id: documents.presence(each.id, each.pk in online, each.last_seen_at) for each in known}
        return [shown.get(id) or documents.presence(id, False, None) for id in user_ids]

    def unwatch(self, session: Session) -> None:
        """The session is over."""
        for pk in session.watched:
            self.hub.topics.unwatch(topic_of(pk), session)

    async def stop(self) -> None:
        """After the last session has ended."""
        await self.tasks.finish()


def topic_of(user_pk: int) -> str:
    return f"presence:{user_pk}"
