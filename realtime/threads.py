"""Threads as members have them: follow one, list those that one follows."""

from collections.abc import Callable
from typing import NamedTuple

from sqlalchemy import Connection

from realtime import replies
from realtime.membership import require_member
from realtime.message_places import MessagePlaces
from realtime.schema import message_documents, message_shapes
from realtime.schema.caller import Caller
from storage import messages, outbox, thread_list, threads
from storage.access import ACCESS, need_access
from storage.database import Database
from storage.errors import Conflict, NotFound, Unauthenticated
from storage.messages import Message
from storage.statements import Read
from storage.thread_list import FollowedThread, ThreadState
from storage.transaction import Command, Tx


class ListedThread(NamedTuple):
    document: message_shapes.ThreadDocument
    item: FollowedThread


class Threads:
    def __init__(self, database: Database, places: MessagePlaces) -> None:
        self.database = database
        self.places = places

    async def of_user(
        self, caller: Caller, *, unread: bool, before: tuple[int, int, int] | None, limit: int
    ) -> list[ListedThread]:
        """Those that the caller follows, the latest active first; ``before`` is the last one's (time, chat, root)."""

        def look(connection: Connection) -> list[ListedThread]:
            found = thread_list.followed(connection, caller.pk, unread=unread, before=before, limit=limit)
            roots = messages.at_places(connection, [(each.chat_pk, each.root_seq) for each in found])
            by_place = {(each.chat_pk, each.seq): each for each in messages.with_readers(connection, roots)}
            return [listed(by_place[each.chat_pk, each.root_seq], each) for each in found]

        return await self.database.read(look, snapshot=True)

    async def follow(self, caller: Caller, message_id: str) -> message_shapes.ThreadDocument:
        """From now on: what is there counts as read. Raises NotFound, Forbidden for a viewer, Conflict for a deleted root."""

        def change(tx: Tx, root: Message) -> None:
            if root.deleted_at is not None:
                raise Conflict("The message that began the thread was deleted", code="message_deleted")
            threads.follow(tx, root, caller.pk)

        return await self._change(caller, message_id, change)

    async def unfollow(self, caller: Caller, message_id: str) -> message_shapes.ThreadDocument:
        """Raises NotFound, Forbidden for a viewer."""

        def change(tx: Tx, root: Message) -> None:
            known = threads.member(tx, root.chat_pk, root.seq, caller.pk)
            if known is not None and known.follows:
                threads.keep_member(tx, root.chat_pk, root.seq, caller.pk, known._replace(follows=False))
                outbox.promise_badge(tx, caller.pk, exclude_device=caller.device)

        return await self._change(caller, message_id, change)

    async def _change(
        self, caller: Caller, message_id: str, change: Callable[[Tx, Message], None]
    ) -> message_shapes.ThreadDocument:
        """Run ``change`` on the root of a thread of which the caller sees something, with its chat locked."""
        place = await self.places.find(caller.user.tenant_pk, message_id)
        if place is None or place.thread_seq is not None:
            raise NotFound
        chat_pk, seq = place.chat_pk, place.seq

        def apply(tx: Tx) -> message_shapes.ThreadDocument:
            access = need_access(tx, chat_pk, caller.pk)
            if access.status != "active":
                raise Unauthenticated
            root = messages.get(tx, chat_pk, seq)
            if root is None or not replies.is_visible(root, access):
                raise NotFound
            require_member(access)
            change(tx, root)
            state = thread_list.state(tx.connection(), chat_pk, seq, caller.pk)
            return message_documents.followed_thread(root, state, visible=seq >= access.first_seq)

        def reads() -> list[Read]:
            return [
                (ACCESS, {"chat": chat_pk, "user": caller.pk}),
                *messages.reads_of_get(place),
                *threads.reads_of_member(chat_pk, seq, [caller.pk]),
                *outbox.reads_of_badge(caller.pk, exclude_device=caller.device),
            ]

        return await self.database.write(Command(apply, channels=[chat_pk, caller.pk], reads=reads))


def listed(root: Message, item: FollowedThread) -> ListedThread:
    state = ThreadState(True, item.read_seq, item.unread)
    return ListedThread(message_documents.followed_thread(root, state, visible=root.seq >= item.first_seq), item)
