"""Deleting users, and giving out what is kept of them.

The account is cleared at once: name, e-mail, tokens and devices. Memberships and content follow in slices, in any
process, also after a crash.
"""

import asyncio
import base64
import logging
from collections.abc import AsyncIterator
from functools import partial
from typing import Any, Literal

from sqlalchemy import Connection

from realtime.administration import Administration, admins_of, keep_an_admin
from realtime.due import GRACE_MICROSECONDS
from realtime.membership import leave, pass_on
from realtime.reactions import DUE
from realtime.schema import documents, message_documents
from realtime.schema.caller import Caller
from realtime.tombstones import make_tombstone, reads_of_tombstone
from storage import (
    accounts,
    avatars,
    chat,
    credits,
    due,
    erasure,
    log,
    logins,
    messages,
    notifications,
    reactions,
    streams,
)
from storage.accounts import User
from storage.erasure import Membership
from storage.errors import FOREVER, NotFound, Unavailable
from storage.messages import MessagePlace
from storage.notifications import Filter
from storage.transaction import Command, Tx
from storage.types import camel, iso_time

logger = logging.getLogger("bellwire")

NAME = "Deleted user"
PAGE = 200


class Erasure:
    """``keep``: messages stay, as a deleted user's; ``remove``: they become tombstones. ``await work()`` now and then."""

    def __init__(self, administration: Administration, *, policy: Literal["keep", "remove"]) -> None:
        self.administration = administration
        self.accounts = administration.accounts
        self.database = administration.database
        self.policy = policy

    async def delete_me(self, caller: Caller) -> None:
        """Raises Conflict for the tenant's last admin."""

        def apply(tx: Tx) -> None:
            user = caller.fresh(tx).user
            keep_an_admin(tx, user)
            self._forget(tx, user)

        keys = [admins_of(caller.user.tenant_pk)]
        await self.database.write(Command(apply, channels=[caller.pk], keys=keys))
        self.accounts.ended(caller.pk, None, "deleted")

    async def delete(self, caller: Caller, user_id: str, *, own: bool = False) -> None:
        """Raises NotFound, Forbidden for a user with more permissions, Conflict as ``Administration.administer`` says."""

        def apply(tx: Tx, user: User) -> User:
            if user.status == "deleted":
                raise NotFound
            self._forget(tx, user)
            return user

        user = await self.administration.administer(caller, user_id, "user.delete", apply, closes=True, own=own)
        self.accounts.ended(user.pk, None, "deleted")

    def _forget(self, tx: Tx, user: User) -> None:
        logins.end_all(tx, user.pk, "deleted")
        erasure.forget(tx, user.pk, NAME)

    # What follows

    async def work(self) -> None:
        failed: set[int] = set()
        while pks := [pk for pk in await self.database.read(erasure.unfinished) if pk not in failed]:
            for pk in pks:
                try:
                    await self._erase(pk)
                except Unavailable:
                    return
                except Exception:
                    logger.exception("erasing a deleted user failed; retrying later")
                    failed.add(pk)

    async def _erase(self, user_pk: int) -> None:
        read, write = self.database.read, self.database.write
        while places := await read(lambda it: erasure.groups(it, user_pk)):
            for place in places:
                leaving = partial(self._leave, user_pk=user_pk, place=place)
                await write(Command(leaving, channels=[place.chat_pk, user_pk]))
        if self.policy == "remove":
            last = (0, 0)
            while found := await read(lambda it, after=last: erasure.said(it, user_pk, after)):  # type: ignore[misc]
                await asyncio.gather(*(write(self._unsaying(place)) for place in found))
                last = found[-1][:2]
        while places_of := await read(lambda it: reactions.of_user(it, user_pk, limit=PAGE)):
            await asyncio.gather(*(write(self._unreacting(user_pk, *place)) for place in places_of))
        while await write(Command(partial(erasure.empty_notifications, user_pk=user_pk), channels=[user_pk])):
            pass
        wanted = await read(lambda it: log.heads(it, [user_pk]))
        while wanted:
            cuts, wanted = await read(partial(log.next_cuts, wanted=wanted))
            if cuts:
                await write(Command(partial(log.trim, cuts=cuts), channels=[user_pk]))
        await write(Command(partial(erasure.finish, user_pk=user_pk), channels=[user_pk]))

    def _leave(self, tx: Tx, user_pk: int, place: Membership) -> None:
        """A group keeps an owner; one without members is deleted."""
        if chat.member(tx.connection(), place.chat_pk, user_pk) is None:
            return
        if not pass_on(tx, place.chat_pk, place.chat_id, user_pk):
            self._abandon(tx, user_pk, place)
            return
        leave(tx, place.chat_pk, place.chat_id, accounts.get(tx.connection(), user_pk))

    def _abandon(self, tx: Tx, user_pk: int, place: Membership) -> None:
        """No member is left: the group is deleted, except that of a stream, which others still join."""
        if streams.of_chat(tx.connection(), place.chat_pk) is None:
            chat.change(tx, place.chat_pk, deleted_at=tx.now)
        else:
            chat.remove_member(tx, place.chat_pk, user_pk)

    def _unsaying(self, place: MessagePlace) -> Command[None]:
        def apply(tx: Tx) -> None:
            item = messages.get(tx, place.chat_pk, place.seq)
            if item is not None and item.deleted_at is None and not (item.transfer or {}).get("reversal"):
                make_tombstone(tx, item)

        reads = [*messages.reads_of_get(place), *reads_of_tombstone(place)]
        return Command(apply, channels=[place.chat_pk], reads=lambda: reads)

    def _unreacting(self, user_pk: int, chat_pk: int, seq: int) -> Command[None]:
        """What a message shows changes with the next event of reactions of its chat."""

        def apply(tx: Tx) -> None:
            item = messages.get(tx, chat_pk, seq, with_readers=False)
            user = accounts.get(tx.connection(), user_pk)
            if item is None:
                reactions.remove_all(tx, chat_pk, seq, user_pk)
                return
            for key in reactions.keys_of(tx, chat_pk, seq, user_pk):
                item = reactions.change(tx, item, user_pk, user.id, key, add=False)
            if due.find(tx, DUE, chat_pk) is None:
                # Past its time, so that a process shows it at its next look.
                due.schedule(tx, DUE, chat_pk, tx.now - GRACE_MICROSECONDS)

        return Command(apply, channels=[chat_pk])

    # Giving it out

    async def export(self, caller: Caller, user_id: str) -> tuple[User, AsyncIterator[dict[str, Any]]]:
        """All data of a user, document by document. Raises NotFound, and Forbidden for a user with more permissions."""
        user = await self.administration.administer(caller, user_id, "user.export", lambda tx, user: user)
        return user, self._kept(user)

    async def export_mine(self, caller: Caller) -> tuple[User, AsyncIterator[dict[str, Any]]]:
        """All data of the caller."""
        user = await self.database.read(partial(accounts.get, pk=caller.pk))
        return user, self._kept(user)

    async def _kept(self, user: User) -> AsyncIterator[dict[str, Any]]:
        read = self.database.read
        yield {"kind": "user", **documents.user(user, private=True)}
        if avatar := await read(partial(avatars.find, tenant_pk=user.tenant_pk, user_id=user.id)):
            yield {"kind": "avatar", "type": "image/webp", "data": base64.b64encode(avatar.data).decode()}
        for kind, values in await read(lambda it: list(erasure.rows(it, user.pk))):
            yield {"kind": kind, **{camel(name): shown(name, value) for name, value in values.items()}}
        last = (0, 0)
        while found := await read(lambda it, after=last: erasure.said(it, user.pk, after)):  # type: ignore[misc]
            last = found[-1][:2]
            for item in await read(partial(messages.at_places, places=[each[:2] for each in found])):
                yield {"kind": "message", **message_documents.message(item)}
        last = (0, 0)
        while given := await read(lambda it, after=last: reactions.given_by(it, user.pk, after, limit=PAGE)):  # type: ignore[misc]
            last = given[-1][:2]
            for reaction in given:
                yield {"kind": "reaction", **message_documents.own_reaction(reaction)}
        for kind in erasure.AT_MESSAGES:
            last = (0, 0)
            while some_rows := await read(partial(erasure.at_messages, kind=kind, user_pk=user.pk, after=last)):
                last = some_rows[-1][0]
                for _, values in some_rows:
                    yield {"kind": kind, **{camel(name): shown(name, value) for name, value in values.items()}}
        before: int | None = None
        for sent in (False, True):
            before = None
            while some := await read(partial(self._box, user_pk=user.pk, sent=sent, before=before)):
                for each in some:
                    yield {"kind": "notification", **documents.notification(each)}
                before = some[-1].pk
        before = None
        while moved := await read(partial(credits.history, user_pk=user.pk, before=before, limit=PAGE)):
            for entry in moved:
                yield {"kind": "transaction", **documents.entry(entry)}
            before = moved[-1].transaction_pk

    def _box(
        self, connection: Connection, user_pk: int, sent: bool, before: int | None
    ) -> list[notifications.Notification]:
        return notifications.box(connection, user_pk, Filter(sent=sent), before=before, limit=PAGE)


def shown(name: str, value: Any) -> Any:
    if name == "until" and value is not None and value >= FOREVER:
        return None
    return iso_time(value) if name.endswith(("_at", "until")) and value is not None else value
