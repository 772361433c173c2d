"""Pages of a chat's messages: the newest ones, those before or after a seq, and those around a message; and of its events."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from sqlalchemy import Connection

from realtime import replies
from realtime.chat_numbers import ChatNumbers
from realtime.schema import documents, message_documents, message_shapes, shapes
from realtime.schema.caller import Caller
from storage import log, messages, reactions
from storage.access import need_access
from storage.database import Database
from storage.errors import NotFound
from storage.messages import Message

# ``storage.messages.history`` with all arguments given but those of a page.
ReadMessages = Callable[..., list[Message]]


# Events of the chat's log that one page of them looks through.
EVENTS_LOOKED_THROUGH = 1000


class HistoryPage(NamedTuple):
    """Messages ascending by seq, and whether there are older and newer ones."""

    items: list[Message]
    older: bool
    newer: bool


class History:
    def __init__(self, database: Database, numbers: ChatNumbers) -> None:
        self.database = database
        self.numbers = numbers

    async def page(
        self,
        caller: Caller,
        chat_id: str,
        *,
        before: int | None,
        after: int | None,
        limit: int,
        around: str | None = None,
        thread_id: str | None = None,
        with_replies: bool = False,
    ) -> message_shapes.HistoryDocument:
        """A page ascending by seq: of what the chat shows, of all its messages (``with_replies``), or of the replies in a
        thread. ``around`` is the id of the message in the middle of the page.

        ``before`` and ``after`` of the answer are the seqs to continue from, or null. Raises NotFound.
        """
        chat_pk = await self.numbers.find(caller.user.tenant_pk, chat_id)

        def look(connection: Connection) -> tuple[HistoryPage, dict[str, list[str]]]:
            access = need_access(connection, chat_pk, caller.pk)
            root = None
            if thread_id is not None:
                root = find_root(connection, caller, thread_id)
                if root is None or root.chat_pk != chat_pk or not replies.is_visible(root, access):
                    raise NotFound
            read = partial(
                messages.history,
                connection,
                chat_pk,
                first=access.first_seq,
                root_seq=root.seq if root else None,
                with_replies=with_replies,
            )
            if around is None:
                page = page_of(read, before=before, after=after, limit=limit)
            else:
                place = messages.where_is(connection, caller.user.tenant_pk, around)
                if place is None or place.chat_pk != chat_pk or place.seq < access.first_seq:
                    raise NotFound
                page = page_around(read, place.seq, limit=limit)
            return page, reactions.mine(connection, page.items, caller.pk)

        (items, older, newer), mine = await self.database.read(look, snapshot=around is not None)
        page: message_shapes.HistoryDocument = {
            "items": [message_documents.message(each) for each in items],
            "before": items[0].seq if items and older else None,
            "after": items[-1].seq if items and newer else None,
        }
        own = {each.id: mine[each.id] for each in items if each.id in mine}
        if own:
            page["mine"] = own
        return page

    async def events(
        self, caller: Caller, chat_id: str, *, before: int | None, limit: int
    ) -> shapes.ChatEventsDocument:
        """Joins, leaves and names of a chat before a seq, ascending, as far as the log has them. Raises NotFound.

        A page looks through a part of the log: it may have fewer items than ``limit``, or none, and be followed by another.
        """
        chat_pk = await self.numbers.find(caller.user.tenant_pk, chat_id)

        def look(connection: Connection) -> shapes.ChatEventsDocument:
            access = need_access(connection, chat_pk, caller.pk)
            kept, head = log.bounds(connection, chat_pk)
            first, end = max(access.first_seq, kept), head + 1 if before is None else min(before, head + 1)
            start = max(first, end - EVENTS_LOOKED_THROUGH)
            found = log.named(connection, chat_pk, "chat:updated", first=start, before=end, limit=limit)
            if len(found) == limit:
                start = found[-1].seq
            shown = [documents.chat_event(each) for each in reversed(found)]
            items = [each for each in shown if each["added"] or each["removed"] or "name" in each["changes"]]
            return {"items": items, "before": start if start > first else None}

        return await self.database.read(look, snapshot=True)


def find_root(connection: Connection, caller: Caller, thread_id: str) -> Message | None:
    """A message that may be the root of a thread; None for a reply, and for an id that the tenant does not have."""
    place = messages.where_is(connection, caller.user.tenant_pk, thread_id)
    if place is None or place.thread_seq is not None:
        return None
    return messages.get(connection, place.chat_pk, place.seq, with_readers=False)


def page_of(read: ReadMessages, *, before: int | None, after: int | None, limit: int) -> HistoryPage:
    found = read(before=before, after=after, limit=limit + 1)
    forward = after is not None and before is None
    more = len(found) > limit
    items = (found[:limit] if forward else found[-limit:]) if more else found
    older = (forward and after is not None and after > 0) or (more and not forward)
    return HistoryPage(items, older, (more and forward) or before is not None)


def page_around(read: ReadMessages, seq: int, *, limit: int) -> HistoryPage:
    """Half of the page ends with the message at ``seq``; the rest comes after it."""
    older = page_of(read, before=seq + 1, after=None, limit=(limit + 1) // 2)
    newer = page_of(read, before=None, after=seq, limit=limit - len(older.items))
    return HistoryPage([*older.items, *newer.items], older.older, newer.newer)
