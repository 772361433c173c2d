"""Chats: who is in them, in which role, and what each sees. A change of members is an event of the chat, with its seq."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from sqlalchemy import Connection

from realtime.chat_list import ListedChat, seen, seen_by
from realtime.fanout.delivery_budget import DeliveryBudget
from realtime.messages import ChatNumbers, announce, open_direct
from realtime.schema import documents, shapes
from realtime.schema.bodies import ChangeChat, CreateChat
from realtime.schema.caller import Caller
from realtime.schema.limits import Limits
from storage import accounts, chat, chat_list, erasure, log, outbox, streams, unread
from storage.chat import Access, Member
from storage.database import Database
from storage.errors import Conflict, Forbidden, Invalid, NotFound, Unauthenticated
from storage.statements import Read
from storage.tasks import Tasks
from storage.transaction import Command, Tx

MANAGERS = ("owner", "admin")
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
            if chat.access(connection, pk, caller.pk) is None:
                raise NotFound
            return chat.members_of(connection, pk, after=after, limit=limit)

        return await self.database.read(look)

    # Making

    async def create(self, caller: Caller, body: CreateChat) -> tuple[shapes.ChatDocument, bool]:
        """The chat, and whether it is new: a direct chat is there once a pair.

        Raises Invalid for too many members, NotFound for an unknown one, Forbidden for one who blocks the caller,
        Conflict for an id that is taken.
        """
        wanted = list(dict.fromkeys(each for each in body.memberIds if each != caller.user.id))
        if len(wanted) > self.limits.members_per_call:
            raise Invalid.field("memberIds", f"must name at most {self.limits.members_per_call} users")
        if body.type == "direct" and not wanted:
            raise Invalid.field("memberIds", "You cannot chat with yourself")
        others = await self._people(caller, wanted)
        if len(others) < len(wanted):
            raise NotFound
        if len(wanted) >= self.limits.chat_members:
            raise Conflict(f"A chat can have at most {self.limits.chat_members} members")
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
            caller.fresh(tx)
            require_open(tx, caller, others)
            if body.id and chat.id_taken(tx.connection(), caller.user.tenant_pk, body.id):
                raise Conflict("A chat with this id already exists")
            pk = chat.add(
                tx,
                caller.user.tenant_pk,
                type="group",
                name=body.name,
                history_visible=body.historyVisible,
                id=body.id,
            )
            roles = [(caller.pk, "owner"), *((each.pk, "member") for each in others)]
            chat.add_members(tx, pk, sorted(roles), 0, maker_pk=caller.pk)
            announce(tx, pk, sorted(user_pk for user_pk, _ in roles), 0)
            return seen_by(tx.connection(), pk, caller.pk), True

        return apply

    # Changing

    async def change(self, caller: Caller, chat_id: str, body: ChangeChat) -> shapes.ChatDocument:
        """Rename, or change who sees what was before them.

        Raises NotFound, Forbidden, Conflict for a direct chat, TooMany while the chat gets too much.
        """
        changes = body.model_dump(exclude_none=True)

        def apply(tx: Tx, pk: int, access: Access) -> shapes.ChatDocument:
            manage_group(access)
            self.delivery_budget.admit(pk)
            item = chat.get(tx.connection(), pk)
            now_is = {"name": item.name, "historyVisible": item.history_visible}
            news = {name: value for name, value in changes.items() if value != now_is[name]}
            if news:
                columns = {"history_visible" if name == "historyVisible" else name: news[name] for name in news}
                chat.change(tx, pk, **columns)
                append_updated(tx, pk, access.chat_id, changes=news)
            return seen_by(tx.connection(), pk, caller.pk)

        return await self._change(caller, chat_id, apply)

    async def add_members(
        self, caller: Caller, chat_id: str, user_ids: Sequence[str], role: str
    ) -> tuple[shapes.ChatDocument, bool]:
        """The chat, and whether anybody is new; who is in stays as they are. Raises NotFound, Forbidden, Conflict."""
        wanted = list(dict.fromkeys(user_ids))
        if len(wanted) > self.limits.members_per_call:
            raise Invalid.field("userIds", f"must name at most {self.limits.members_per_call} users")
        others = await self._people(caller, wanted)

        def apply(tx: Tx, pk: int, access: Access) -> tuple[shapes.ChatDocument, bool]:
            manage_group(access)
            if role in MANAGERS and access.role != "owner":
                raise Forbidden
            if len(others) < len(wanted):
                raise NotFound
            require_open(tx, caller, others)
            inside = chat.known_members(tx.connection(), pk, [each.pk for each in others])
            new = [each for each in others if each.pk not in inside]
            if inside:
                chat.keep_members(tx, pk, inside)
            if access.member_count + len(new) > self.limits.chat_members:
                raise Conflict(f"A chat can have at most {self.limits.chat_members} members")
            if new:
                streams.readmit(tx, pk, [each.pk for each in new])
                admit(tx, pk, access.chat_id, new, role)
            return seen_by(tx.connection(), pk, caller.pk), bool(new)

        return await self._change(caller, chat_id, apply, also=[each.pk for each in others])

    async def set_role(self, caller: Caller, chat_id: str, user_id: str, role: str) -> shapes.MemberDocument:
        """Only an owner makes or unmakes owners and admins. Raises NotFound, Forbidden, Conflict for the last owner."""
        others = await self._people(caller, [user_id])

        def apply(tx: Tx, pk: int, access: Access) -> shapes.MemberDocument:
            manage_group(access)
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

        return await self._change(caller, chat_id, apply)

    async def remove_member(self, caller: Caller, chat_id: str, user_id: str) -> shapes.ChatDocument:
        """Raises NotFound, Forbidden, Conflict for a direct chat or the last owner."""
        others = await self._people(caller, [user_id])

        def apply(tx: Tx, pk: int, access: Access) -> shapes.ChatDocument:
            require_group(access) if user_id == caller.user.id else manage_group(access)
            other = only(others)
            member = chat.member(tx.connection(), pk, other.pk)
            if member is None:
                raise NotFound
            if access.role != "owner" and member.role in MANAGERS and other.pk != caller.pk:
                raise Forbidden
            document = seen_by(tx.connection(), pk, caller.pk)
            leave(tx, pk, access.chat_id, other)
            if other.pk != caller.pk and streams.of_chat(tx.connection(), pk) is not None:
                streams.exclude(tx, pk, other.pk)
            return document if other.pk == caller.pk else seen_by(tx.connection(), pk, caller.pk)

        return await self._change(caller, chat_id, apply, also=[each.pk for each in others])

    async def leave(self, caller: Caller, chat_id: str) -> None:
        """Raises NotFound, Conflict for a direct chat or the last owner."""

        def apply(tx: Tx, pk: int, access: Access) -> None:
            require_group(access)
            leave(tx, pk, access.chat_id, caller.user)

        await self._change(caller, chat_id, apply, also=[caller.pk])

    async def mute(self, caller: Caller, chat_id: str, until: int | None) -> shapes.ChatDocument:
        """No pushes of this chat until then (microseconds); None unmutes. Raises NotFound."""

        def apply(tx: Tx, pk: int, access: Access) -> shapes.ChatDocument:
            chat.set_member(tx, pk, caller.pk, muted_until=until)
            if unread.in_chat(tx.connection(), caller.pk, pk):
                outbox.promise_badge(tx, caller.pk, exclude_device=caller.device)
            return seen_by(tx.connection(), pk, caller.pk)

        return await self._change(caller, chat_id, apply, also=[caller.pk])

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

        document = await self._change(caller, chat_id, apply)
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

    async def _people(self, caller: Caller, ids: Sequence[str]) -> list[accounts.User]:
        """Those of these users that the tenant has."""
        return await self.database.read(lambda connection: accounts.by_ids(connection, caller.user.tenant_pk, ids))

    async def _change(
        self, caller: Caller, chat_id: str, change: Callable[[Tx, int, Access], T], *, also: Sequence[int] = ()
    ) -> T:
        """Run ``change`` in a chat the caller is in, with its channel locked."""
        pk = await self.numbers.find(caller.user.tenant_pk, chat_id)

        def apply(tx: Tx) -> T:
            access = chat.access(tx.connection(), pk, caller.pk)
            if access is None:
                raise NotFound
            if access.status != "active":
                raise Unauthenticated
            return change(tx, pk, access)

        return await self.database.write(Command(apply, channels=[pk, *also]))


def only(users: Sequence[accounts.User]) -> accounts.User:
    """Raises NotFound if there is none."""
    if not users:
        raise NotFound
    return users[0]


def require_open(tx: Tx, caller: Caller, others: Sequence[accounts.User]) -> None:
    """Raises NotFound if one of them has been deleted since they were looked up, Forbidden if one blocks the caller."""
    if len(accounts.by_ids(tx.connection(), caller.user.tenant_pk, [each.id for each in others])) < len(others):
        raise NotFound
    if accounts.any_blocks(tx.connection(), [each.pk for each in others], caller.pk):
        raise Forbidden


def require_group(access: Access) -> None:
    if access.type == "direct":
        raise Conflict("A direct chat has exactly two members and no name")


def manage_group(access: Access) -> None:
    """Raises Forbidden for who is neither owner nor admin, Conflict for a direct chat."""
    require_group(access)
    if access.role not in MANAGERS:
        raise Forbidden


def keep_an_owner(tx: Tx, chat_pk: int, role: str) -> None:
    if role == "owner" and chat.owners(tx.connection(), chat_pk) == 1:
        raise Conflict("A chat must keep at least one owner")


def admit(tx: Tx, chat_pk: int, chat_id: str, users: Sequence[accounts.User], role: str) -> None:
    """Add users to a chat they are not in, at the seq of the event that announces it."""
    seq = append_updated(tx, chat_pk, chat_id, added=[each.id for each in users])
    chat.add_members(tx, chat_pk, sorted((each.pk, role) for each in users), seq)
    announce(tx, chat_pk, sorted(each.pk for each in users), seq)


def pass_on(tx: Tx, chat_pk: int, chat_id: str, user_pk: int) -> bool:
    """Make another member owner if the user is the last owner; False if there is no other member."""
    member = chat.member(tx.connection(), chat_pk, user_pk)
    if member is None or member.role != "owner" or chat.owners(tx.connection(), chat_pk) > 1:
        return True
    heir = erasure.heir(tx.connection(), chat_pk, user_pk)
    if heir is None:
        return False
    chat.set_member(tx, chat_pk, heir.user_pk, role="owner")
    append_updated(tx, chat_pk, chat_id, changes={"members": [{"userId": heir.user_id, "role": "owner"}]})
    return True


def leave(tx: Tx, chat_pk: int, chat_id: str, user: accounts.User) -> None:
    """A member who may only read may not do more after joining again."""
    member = chat.member(tx.connection(), chat_pk, user.pk)
    assert member is not None
    keep_an_owner(tx, chat_pk, member.role)
    behind = unread.in_chat(tx.connection(), user.pk, chat_pk)
    chat.remove_member(tx, chat_pk, user.pk)
    if member.role == "readonly":
        streams.exclude(tx, chat_pk, user.pk, role=member.role)
    append_updated(tx, chat_pk, chat_id, removed=[user.id])
    log.append(tx, user.pk, "chat:removed", {"chatId": chat_id})
    if behind:
        outbox.promise_badge(tx, user.pk)


def append_updated(
    tx: Tx,
    chat_pk: int,
    chat_id: str,
    *,
    changes: dict[str, Any] | None = None,
    added: Sequence[str] = (),
    removed: Sequence[str] = (),
) -> int:
    """Append ``chat:updated``; returns its seq."""
    document = {"chatId": chat_id, "changes": changes or {}, "added": list(added), "removed": list(removed)}
    return log.append(tx, chat_pk, "chat:updated", document).seq
