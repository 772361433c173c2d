"""Chats: who is in them, in which role, and what each sees. A change of members is an event of the chat, with its seq."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Literal, TypeVar

from sqlalchemy import Connection

from realtime.chat_list import ListedChat, seen, seen_by
from realtime.chat_numbers import ChatNumbers
from realtime.chat_requirements import is_joinable, only, require_group, require_manager, require_open, require_space
from realtime.fanout.delivery_budget import DeliveryBudget
from realtime.membership import (
    MANAGERS,
    admit,
    announce,
    append_updated,
    keep_an_owner,
    leave,
    open_direct,
    require_member,
)
from realtime.schema import documents, shapes
from realtime.schema.bodies import ChangeChat, CreateChat
from realtime.schema.caller import Caller
from realtime.schema.fields import LATEST
from realtime.schema.limits import Limits
from realtime.streams import MANAGE_STREAMS
from storage import (
    accounts,
    chat,
    chat_list,
    last_posts,
    log,
    outbox,
    sanctions,
    streams,
    threads,
    unread,
)
from storage.access import Access, need_access
from storage.chat import Member
from storage.database import Database
from storage.errors import Conflict, Forbidden, Invalid, NotFound, Unauthenticated
from storage.statements import Read
from storage.tasks import Tasks
from storage.transaction import Command, Tx
from storage.types import SECOND

# Of a mute; shown as a date in the year 9987.
NO_END_MICROSECONDS = LATEST - SECOND
# What may be changed of a chat, with its column.
CHANGEABLE = {
    "name": "name",
    "historyVisible": "history_visible",
    "reactions": "reactions",
    "frozen": "frozen",
    "slowMode": "slow_mode",
    "links": "links",
}
T = TypeVar("T")


class Chats:
    def __init__(
        self, database: Database, numbers: ChatNumbers, limits: Limits, delivery_budget: DeliveryBudget
    ) -> None:
        self.database = database
        self.numbers = numbers
        self.limits = limits
        self.delivery_budget = delivery_budget
        # Deleted chats that are being swept.
        self.tasks = Tasks()

    async def stop(self) -> None:
        await self.tasks.finish()

    # Looking

    async def get(self, caller: Caller, chat_id: str) -> shapes.ChatDocument:
        """Raises NotFound."""
        pk = await self.numbers.find(caller.user.tenant_pk, chat_id)
        return await self.database.read(lambda connection: seen_by(connection, pk, caller.pk), snapshot=True)

    async def of_user(self, caller: Caller, *, before: tuple[int, int] | None, limit: int) -> list[ListedChat]:
        """The caller's chats, the most recently active first."""

        def look(connection: Connection) -> list[ListedChat]:
            found = chat_list.of_user(connection, caller.pk, before=before, limit=limit)
            shown = seen(connection, found, caller.pk)
            return [
                ListedChat(document, each.active_at, each.chat.pk) for document, each in zip(shown, found, strict=True)
            ]

        return await self.database.read(look, snapshot=True)

    async def search(self, caller: Caller, query: str, *, before: int | None, limit: int) -> list[chat.Chat]:
        """All of the tenant's chats, for an admin."""
        caller.require("admin")
        tenant_pk = caller.user.tenant_pk
        return await self.database.read(lambda it: chat.search(it, tenant_pk, query, before=before, limit=limit))

    async def members(self, caller: Caller, chat_id: str, *, after: int, limit: int) -> Sequence[Member]:
        """Members in the order of their accounts; raises NotFound."""
        pk = await self.numbers.find(caller.user.tenant_pk, chat_id)

        def look(connection: Connection) -> Sequence[Member]:
            need_access(connection, pk, caller.pk)
            return chat.members_of(connection, pk, after=after, limit=limit)

        return await self.database.read(look)

    # Making

    async def create(self, caller: Caller, body: CreateChat) -> tuple[shapes.ChatDocument, bool]:
        """The chat, and whether it is new: a direct chat is there once a pair.

        Raises Invalid for too many members, NotFound for an unknown one, Forbidden for one who blocks the caller and for
        who may not make rooms, Conflict for an id that is taken.
        """
        wanted = list(dict.fromkeys(each for each in body.memberIds if each != caller.user.id))
        if len(wanted) > self.limits.members_per_call:
            raise Invalid.field("memberIds", f"must name at most {self.limits.members_per_call} users")
        if body.type == "direct" and not wanted:
            raise Invalid.field("memberIds", "You cannot chat with yourself")
        others = await self.people(caller, wanted)
        if len(others) < len(wanted):
            raise NotFound
        require_space(len(wanted) + 1, self.limits)
        apply = self._direct(caller, others[0]) if body.type == "direct" else self._group(caller, body, others)
        return await self.database.write(Command(apply, channels=[caller.pk, *(each.pk for each in others)]))

    def _direct(self, caller: Caller, other: accounts.User) -> Callable[[Tx], tuple[shapes.ChatDocument, bool]]:
        def apply(tx: Tx) -> tuple[shapes.ChatDocument, bool]:
            caller.fresh(tx)
            pk = chat.find_direct(tx.connection(), caller.pk, other.pk)
            if pk is not None:
                return seen_by(tx.connection(), pk, caller.pk), False
            require_open(tx, caller, [other])
            return seen_by(tx.connection(), open_direct(tx, caller.user, other), caller.pk), True

        return apply

    def _group(
        self, caller: Caller, body: CreateChat, others: Sequence[accounts.User]
    ) -> Callable[[Tx], tuple[shapes.ChatDocument, bool]]:
        def apply(tx: Tx) -> tuple[shapes.ChatDocument, bool]:
            actor = caller.fresh(tx)
            if body.type == "room":
                actor.require(MANAGE_STREAMS)
            require_open(tx, caller, others)
            if body.id and chat.id_taken(tx.connection(), caller.user.tenant_pk, body.id):
                raise Conflict("A chat with this id already exists", code="id_taken")
            pk = chat.add(
                tx,
                caller.user.tenant_pk,
                type=body.type,
                name=body.name,
                history_visible="all" if body.type == "room" else body.historyVisible,
                id=body.id,
            )
            roles = [(caller.pk, "owner"), *((each.pk, "member") for each in others)]
            chat.add_members(tx, pk, sorted(roles), 0, maker_pk=caller.pk)
            announce(tx, pk, sorted(user_pk for user_pk, _ in roles), 0)
            return seen_by(tx.connection(), pk, caller.pk), True

        return apply

    # Changing

    async def change(self, caller: Caller, chat_id: str, body: ChangeChat) -> shapes.ChatDocument:
        """Rename, or change who sees what was before them, who may react, and who may post what and how often.

        Raises NotFound, Forbidden, Conflict for a direct chat, TooMany while the chat gets too much.
        """
        changes = body.model_dump(exclude_none=True)

        def apply(tx: Tx, pk: int, access: Access) -> shapes.ChatDocument:
            require_manager(access)
            if access.type == "room" and body.historyVisible not in (None, "all"):
                raise Conflict("All of a room is visible to everybody")
            self.delivery_budget.admit(pk)
            item = chat.get(tx.connection(), pk)
            now_is = {name: getattr(item, column) for name, column in CHANGEABLE.items()}
            news = {name: value for name, value in changes.items() if value != now_is[name]}
            if news:
                chat.change(tx, pk, **{CHANGEABLE[name]: value for name, value in news.items()})
                if news.get("slowMode") == 0:
                    last_posts.forget(tx, pk)
                append_updated(tx, pk, access.chat_id, changes=news)
            return seen_by(tx.connection(), pk, caller.pk)

        return await self.change_in(caller, chat_id, apply)

    async def add_members(
        self, caller: Caller, chat_id: str, user_ids: Sequence[str], role: str
    ) -> tuple[shapes.ChatDocument, bool]:
        """The chat, and whether anybody is new; who is in stays as they are. Raises NotFound, Forbidden, Conflict."""
        wanted = list(dict.fromkeys(user_ids))
        if len(wanted) > self.limits.members_per_call:
            raise Invalid.field("userIds", f"must name at most {self.limits.members_per_call} users")
        others = await self.people(caller, wanted)

        def apply(tx: Tx, pk: int, access: Access) -> tuple[shapes.ChatDocument, bool]:
            require_manager(access)
            if role in MANAGERS and access.role != "owner":
                raise Forbidden
            if len(others) < len(wanted):
                raise NotFound
            require_open(tx, caller, others)
            inside = chat.known_members(tx.connection(), pk, [each.pk for each in others])
            new = [each for each in others if each.pk not in inside]
            if inside:
                chat.keep_members(tx, pk, inside)
            require_space(access.member_count + len(new), self.limits)
            if new:
                sanctions.lift(tx, pk, [each.pk for each in new], "ban", "silence")
                admit(tx, pk, access.chat_id, new, role)
            return seen_by(tx.connection(), pk, caller.pk), bool(new)

        return await self.change_in(caller, chat_id, apply, also=[each.pk for each in others])

    async def set_role(self, caller: Caller, chat_id: str, user_id: str, role: str) -> shapes.MemberDocument:
        """Only an owner makes or unmakes owners and admins. Raises NotFound, Forbidden, Conflict for the last owner."""
        others = await self.people(caller, [user_id])

        def apply(tx: Tx, pk: int, access: Access) -> shapes.MemberDocument:
            require_manager(access)
            other = only(others)
            member = chat.member(tx.connection(), pk, other.pk)
            if member is None:
                raise NotFound
            if access.role != "owner" and (role in MANAGERS or member.role in MANAGERS):
                raise Forbidden
            if member.role != role:
                keep_an_owner(tx, pk, member.role)
                chat.set_member(tx, pk, other.pk, role=role, leaves_at=None)
                append_updated(tx, pk, access.chat_id, changes={"members": [{"userId": user_id, "role": role}]})
                member = chat.member(tx.connection(), pk, other.pk)
            assert member is not None
            return documents.member(member)

        return await self.change_in(caller, chat_id, apply)

    async def remove_member(self, caller: Caller, chat_id: str, user_id: str) -> shapes.ChatDocument:
        """Ban them, too, where they could come back by themselves.

        Raises NotFound, Forbidden, Conflict for a direct chat or the last owner.
        """
        others = await self.people(caller, [user_id])

        def apply(tx: Tx, pk: int, access: Access) -> shapes.ChatDocument:
            require_group(access) if user_id == caller.user.id else require_manager(access)
            other = only(others)
            member = chat.member(tx.connection(), pk, other.pk)
            if member is None:
                raise NotFound
            if access.role != "owner" and member.role in MANAGERS and other.pk != caller.pk:
                raise Forbidden
            document = seen_by(tx.connection(), pk, caller.pk)
            leave(tx, pk, access.chat_id, other, voluntary=other.pk == caller.pk)
            if other.pk != caller.pk and is_joinable(tx, pk, access):
                sanctions.put(tx, pk, other.pk, "ban")
            return document if other.pk == caller.pk else seen_by(tx.connection(), pk, caller.pk)

        return await self.change_in(caller, chat_id, apply, also=[each.pk for each in others])

    async def leave(self, caller: Caller, chat_id: str) -> None:
        """Raises NotFound, Conflict for a direct chat or the last owner."""

        def apply(tx: Tx, pk: int, access: Access) -> None:
            require_group(access)
            if not access.is_member:
                raise NotFound
            leave(tx, pk, access.chat_id, caller.user, voluntary=True)

        await self.change_in(caller, chat_id, apply, also=[caller.pk])

    async def mute(
        self,
        caller: Caller,
        chat_id: str,
        until: int | None,
        level: Literal["all", "mentions", "none"] | None = None,
    ) -> shapes.ChatDocument:
        """Mute until a time (microseconds), pushing only mentions, or nothing for ``none``; ``all`` unmutes.

        Without ``until`` a level has no end; without both, the chat is unmuted. Raises NotFound, Forbidden for a viewer.
        """
        end = until
        if level is not None and until is None:
            end = NO_END_MICROSECONDS
        if level == "all":
            end = None

        def apply(tx: Tx, pk: int, access: Access) -> shapes.ChatDocument:
            require_member(access)
            mute_level = "none" if level == "none" else None
            chat.set_member(tx, pk, caller.pk, muted_until=end, mute_level=mute_level)
            if unread.in_chat(tx.connection(), caller.pk, pk) or threads.in_chat(tx.connection(), caller.pk, pk):
                outbox.promise_badge(tx, caller.pk, exclude_device=caller.device)
            return seen_by(tx.connection(), pk, caller.pk)

        return await self.change_in(caller, chat_id, apply, also=[caller.pk])

    async def delete(self, caller: Caller, chat_id: str) -> shapes.ChatDocument:
        """Gone at once for everybody; its rows go in slices. Raises NotFound, Forbidden, Conflict for a stream's."""

        def apply(tx: Tx, pk: int, access: Access) -> shapes.ChatDocument:
            if access.role != "owner":
                raise Forbidden
            if streams.of_chat(tx.connection(), pk) is not None:
                raise Conflict("The chat belongs to a stream")
            document = seen_by(tx.connection(), pk, caller.pk)
            chat.change(tx, pk, deleted_at=tx.now)
            return document

        document = await self.change_in(caller, chat_id, apply)
        self.tasks.spawn(self.sweep_all())
        return document

    async def sweep_all(self) -> None:
        while await self.sweep():
            await asyncio.sleep(0)

    async def sweep(self) -> bool:
        """Take one slice of what deleted chats left; whether there is more."""
        slice_of = await self.database.read(chat.deleted_slice)
        if slice_of is None:
            return False

        def apply(tx: Tx) -> None:
            gone = chat.drop_members(tx, slice_of.pk, slice_of.user_pks)
            for user_pk in gone:
                log.append(tx, user_pk, "chat:removed", {"chatId": slice_of.chat_id})
                outbox.promise_badge(tx, user_pk)
            if not slice_of.user_pks:
                chat.drop_slice(tx, slice_of.pk)

        def reads() -> list[Read]:
            return [each for user_pk in slice_of.user_pks for each in outbox.reads_of_badge(user_pk)]

        await self.database.write(Command(apply, channels=[slice_of.pk, *slice_of.user_pks], reads=reads))
        return True

    async def people(self, caller: Caller, ids: Sequence[str]) -> list[accounts.User]:
        """Those of these users that the tenant has."""
        return await self.database.read(lambda connection: accounts.by_ids(connection, caller.user.tenant_pk, ids))

    async def change_in(
        self, caller: Caller, chat_id: str, change: Callable[[Tx, int, Access], T], *, also: Sequence[int] = ()
    ) -> T:
        """Run ``change`` in a chat the caller is in, with its channel locked."""
        pk = await self.numbers.find(caller.user.tenant_pk, chat_id)

        def apply(tx: Tx) -> T:
            access = need_access(tx.connection(), pk, caller.pk)
            if access.status != "active":
                raise Unauthenticated
            return change(tx, pk, access)

        return await self.database.write(Command(apply, channels=[pk, *also]))
