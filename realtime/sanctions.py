"""Bans and silences of a chat: for its members, and in a room or the chat of a stream for anybody."""

from collections.abc import Callable, Sequence
from functools import partial

from sqlalchemy import Connection

from realtime.chat import Chats
from realtime.chat_requirements import is_joinable, only, require_moderator
from realtime.membership import MANAGERS, RANKS, append_updated, leave
from realtime.purges import Purges
from realtime.schema import documents, shapes
from realtime.schema.caller import Caller
from storage import audit, chat, log, sanctions, webhooks
from storage.access import Access, need_access
from storage.accounts import User
from storage.errors import FOREVER, Conflict, Forbidden, Invalid, NotFound
from storage.purges import Deletion
from storage.sanctions import Kind, Sanction
from storage.transaction import Tx
from storage.types import now

Change = Callable[[Tx, int, Access, User], shapes.SanctionDocument]


class Sanctions:
    """By moderators of the chat, of those below them; an owner sanctions everybody."""

    def __init__(self, chats: Chats, purges: Purges) -> None:
        self.chats = chats
        self.purges = purges

    async def ban(
        self,
        caller: Caller,
        chat_id: str,
        user_id: str,
        until: int | None,
        reason: str | None,
        delete: Deletion = "none",
    ) -> shapes.SanctionDocument:
        """Remove a user at a seq of the chat; they do not come back by themselves. ``until`` in microseconds.

        ``delete`` says which of their messages are deleted, some at a time after the ban. Raises NotFound, Forbidden,
        Invalid, Conflict for a direct chat, for the caller and for the last owner.
        """
        purge_pk: int | None = None

        def change(tx: Tx, pk: int, access: Access, other: User) -> shapes.SanctionDocument:
            nonlocal purge_pk
            self.impose(tx, pk, access.chat_id, other, "ban", until=until, reason=reason, actor=caller.user)
            purge_pk = self.purges.schedule(tx, pk, other.pk, delete)
            return documents.sanction(only_one(sanctions.page(tx.connection(), pk, "ban", tx.now, of=other.pk)))

        made = await self._change(caller, chat_id, user_id, change)
        if purge_pk is not None:
            self.purges.begin(purge_pk)
        return made

    async def silence(
        self, caller: Caller, chat_id: str, user_id: str, until: int | None, reason: str | None
    ) -> shapes.SanctionDocument:
        """A user may read and not post. Raises NotFound, Forbidden, Invalid, Conflict for a direct chat or the caller."""

        def change(tx: Tx, pk: int, access: Access, other: User) -> shapes.SanctionDocument:
            self.impose(tx, pk, access.chat_id, other, "silence", until=until, reason=reason, actor=caller.user)
            return documents.sanction(only_one(sanctions.page(tx.connection(), pk, "silence", tx.now, of=other.pk)))

        return await self._change(caller, chat_id, user_id, change)

    def impose(
        self,
        tx: Tx,
        chat_pk: int,
        chat_id: str,
        user: User,
        kind: Kind,
        *,
        until: int | None,
        reason: str | None,
        actor: User,
    ) -> None:
        """In a transaction that holds the chat and the user. Raises Invalid, and Conflict for the last owner."""
        end = require_future(tx, until)
        audit.add(tx, actor, f"chat.{kind}", user.id, chat=chat_id, until=documents.end_of(end))
        if kind == "silence":
            silence(tx, chat_pk, chat_id, user, until=end, reason=reason)
            return
        member = chat.member(tx.connection(), chat_pk, user.pk)
        sanctions.put(tx, chat_pk, user.pk, "ban", until=end, reason=reason)
        if member is not None:
            leave(tx, chat_pk, chat_id, user)
        else:
            append_updated(tx, chat_pk, chat_id, removed=[user.id])
        document = {"chatId": chat_id, "userId": user.id, "until": documents.end_of(end), "reason": reason}
        webhooks.promise_document(tx, "member:banned", user.tenant_pk, {**document, "by": actor.id})

    async def lift(self, caller: Caller, chat_id: str, user_id: str, kind: Kind) -> shapes.SanctionDocument:
        """End a sanction, if there is one; a silenced member may post again. Raises NotFound, Forbidden, Conflict."""

        def change(tx: Tx, pk: int, access: Access, other: User) -> shapes.SanctionDocument:
            found = sanctions.page(tx.connection(), pk, kind, tx.now, of=other.pk)
            lifted = sanctions.lift(tx, pk, [other.pk], kind)
            member = chat.member(tx.connection(), pk, other.pk) if kind == "silence" else None
            if member is not None and member.role == "readonly":
                if access.role not in MANAGERS:
                    raise Forbidden("Only owners and admins may change roles")
                chat.set_member(tx, pk, other.pk, role="member", leaves_at=None)
                append_updated(tx, pk, access.chat_id, changes={"members": [{"userId": other.id, "role": "member"}]})
                lifted = True
            if lifted:
                audit.add(tx, caller.user, f"chat.{kind}.end", other.id, chat=access.chat_id)
            if lifted and kind == "silence":
                log.append(tx, other.pk, "member:silenced", documents.silenced(access.chat_id, tx.now))
            ended = found[0] if found else Sanction(other.pk, other.id, other.name, tx.now, None, tx.now)
            return documents.sanction(ended._replace(until=tx.now))

        return await self._change(caller, chat_id, user_id, change, lifts=True)

    async def bans(self, caller: Caller, chat_id: str, *, after: int, limit: int) -> Sequence[Sanction]:
        """Those in force, in the order of their users' accounts. Raises NotFound, Forbidden, Conflict."""
        pk = await self.chats.numbers.find(caller.user.tenant_pk, chat_id)

        def look(connection: Connection) -> Sequence[Sanction]:
            require_moderator(need_access(connection, pk, caller.pk))
            return sanctions.page(connection, pk, "ban", now(), after=after, limit=limit)

        return await self.chats.database.read(look)

    async def _change(
        self, caller: Caller, chat_id: str, user_id: str, change: Change, *, lifts: bool = False
    ) -> shapes.SanctionDocument:
        others = await self.chats.people(caller, [user_id])
        apply = partial(apply_to, others=others, caller=caller, change=change, lifts=lifts)
        return await self.chats.change_in(caller, chat_id, apply, also=[each.pk for each in others])


def apply_to(
    tx: Tx, pk: int, access: Access, *, others: Sequence[User], caller: Caller, change: Change, lifts: bool
) -> shapes.SanctionDocument:
    """Change the sanctions of one user, whom the caller may sanction; ``lifts``: end one, if there is one."""
    require_moderator(access)
    other = only(others)
    if other.pk == caller.pk:
        raise Conflict("You cannot sanction yourself")
    member = chat.member(tx.connection(), pk, other.pk)
    if member is None and not (
        lifts or is_joinable(tx, pk, access) or sanctions.of_user(tx.connection(), pk, other.pk, tx.now)
    ):
        raise NotFound
    if member is not None and access.role != "owner" and RANKS[member.role] >= RANKS[access.role]:
        raise Forbidden
    return change(tx, pk, access, other)


def silence(tx: Tx, chat_pk: int, chat_id: str, user: User, *, until: int, reason: str | None = None) -> None:
    sanctions.put(tx, chat_pk, user.pk, "silence", until=until, reason=reason)
    log.append(tx, user.pk, "member:silenced", documents.silenced(chat_id, until))


def require_future(tx: Tx, until: int | None) -> int:
    """Raises Invalid."""
    if until is not None and until <= tx.now:
        raise Invalid.field("until", "must be a time in the future, or null for no end")
    return FOREVER if until is None else until


def only_one(found: Sequence[Sanction]) -> Sanction:
    (one,) = found
    return one
