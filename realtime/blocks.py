"""Whom a user blocks: they write to the user no more, and leave the user's streams at once."""

from collections.abc import Collection
from functools import partial

from sqlalchemy import Connection

from realtime.membership import append_updated, leave, pass_on
from realtime.schema.caller import Caller
from storage import accounts, blocks, chat, log, rooms, streams
from storage.accounts import User
from storage.database import Database
from storage.errors import Invalid, NotFound, Unavailable
from storage.rooms import OwnedRoom
from storage.streams import StreamChat
from storage.transaction import Command, Tx

TRIES = 5


class Blocks:
    def __init__(self, database: Database) -> None:
        self.database = database

    async def add(self, caller: Caller, user_id: str) -> tuple[User, bool]:
        """Block a user; return them and whether the block is new. Raises NotFound, and Invalid for the caller's own id."""

        def look(connection: Connection) -> tuple[User, set[int]]:
            other = accounts.need(connection, caller.user.tenant_pk, user_id)
            if other.pk == caller.pk:
                raise Invalid.field("userId", "You can't block yourself.")
            together = streams.rooms_with(connection, caller.pk, other.pk)
            return other, {each.chat_pk for each in together} | {each.pk for each in rooms.owned(connection, caller.pk)}

        for _ in range(TRIES):
            other, named = await self.database.read(look)
            apply = partial(self._block, caller=caller, other=other, named=named)
            new = await self.database.write(Command(apply, channels=[caller.pk, other.pk, *named]))
            if new is not None:
                return other, new
        raise Unavailable

    def _block(self, tx: Tx, caller: Caller, other: User, named: Collection[int]) -> bool | None:
        """Whether it is new; None where there is another chat by now, which is not locked."""
        caller.fresh(tx)
        together = streams.rooms_with(tx.connection(), caller.pk, other.pk)
        owned = rooms.owned(tx.connection(), caller.pk)
        owned_pks = {each.pk for each in owned}
        chat_pks = owned_pks.union(each.chat_pk for each in together)
        if not chat_pks.issubset(named):
            return None
        joined = chat.joined_among(tx.connection(), other.pk, chat_pks)
        new = blocks.add(tx, caller.pk, other.pk)
        for room in owned if new else ():
            self._put_out(tx, room, other, room.pk in joined)
        watchable = None if together else streams.living_of(tx.connection(), caller.pk)
        if new and watchable:
            # Sockets that only watch check their stream subscriptions when they get this event.
            log.append(tx, other.pk, "chat:removed", {"chatId": watchable.chat_id})
        for each in together:
            streams.unfollow(tx, each.pk, other.pk)
            if each.chat_pk not in owned_pks:
                self._send_away(tx, each, other, each.chat_pk in joined)
        return new

    def _put_out(self, tx: Tx, room: OwnedRoom, other: User, joined: bool) -> None:
        """Members and viewers of a room stop reading it at a seq."""
        if not joined:
            append_updated(tx, room.pk, room.id, removed=[other.id])
        elif pass_on(tx, room.pk, room.id, other.pk):
            leave(tx, room.pk, room.id, other)

    def _send_away(self, tx: Tx, room: StreamChat, other: User, joined: bool) -> None:
        """Publish on the removed user's own channel, so that their sockets check their stream subscriptions again."""
        if joined and pass_on(tx, room.chat_pk, room.chat_id, other.pk):
            leave(tx, room.chat_pk, room.chat_id, other)
            return
        if joined:
            chat.remove_member(tx, room.chat_pk, other.pk)
        log.append(tx, other.pk, "chat:removed", {"chatId": room.chat_id})

    async def remove(self, caller: Caller, user_id: str) -> None:
        """Raises NotFound if there is no such block."""

        def apply(tx: Tx) -> None:
            other = accounts.need(tx.connection(), caller.user.tenant_pk, user_id)
            if not blocks.remove(tx, caller.pk, other.pk):
                raise NotFound

        await self.database.write(Command(apply, channels=[caller.pk]))
