"""That a user is typing: an ephemeral event to the others of the chat."""

import time
from collections.abc import Awaitable

from realtime.chat_numbers import ChatNumbers
from realtime.fanout.hub import Hub
from realtime.schema.caller import Caller
from realtime.schema.events import TypingEvent
from realtime.speaking import may_speak
from realtime.support.ttl_cache import TtlCache
from storage.access import need_access
from storage.database import Database

INTERVAL_SECONDS = 1.0


class TypingStatus:
    """Each user is shown to a chat at most once in ``INTERVAL_SECONDS``."""

    def __init__(self, database: Database, numbers: ChatNumbers, hub: Hub) -> None:
        self.database = database
        self.numbers = numbers
        self.hub = hub
        # The number of a chat in which a user could write a moment ago, by the user's number and the chat's id.
        self.writable: TtlCache[tuple[int, str], int] = TtlCache()
        # (user, chat) by number, of those that were published a moment ago.
        self.published: TtlCache[tuple[int, int], bool] = TtlCache(INTERVAL_SECONDS)

    def report(self, caller: Caller, chat_id: str) -> TypingEvent | Awaitable[TypingEvent]:
        """At once where it is known that the caller may write in the chat. Raises NotFound, Forbidden."""
        pk = self.writable.get((caller.pk, chat_id))
        return self._publish(caller, chat_id, pk) if pk is not None else self._check(caller, chat_id)

    async def _check(self, caller: Caller, chat_id: str) -> TypingEvent:
        pk = await self.numbers.find(caller.user.tenant_pk, chat_id)
        asked_at = time.monotonic()
        may_speak(await self.database.read(lambda connection: need_access(connection, pk, caller.pk)))
        self.writable.put((caller.pk, chat_id), pk, asked_at)
        return self._publish(caller, chat_id, pk)

    def _publish(self, caller: Caller, chat_id: str, pk: int) -> TypingEvent:
        document: TypingEvent = {"chatId": chat_id, "userId": caller.user.id}
        if self.published.get((caller.pk, pk)) is None:
            self.published.put((caller.pk, pk), True)
            self.hub.publish_ephemeral(pk, "typing", document, exclude=caller.user.id)
        return document
