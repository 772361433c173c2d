"""Whom a user blocks: they write to the user no more, and leave the user's streams at once."""

from collections.abc import Sequence

from sqlalchemy import Connection

from realtime.caller import Caller
from realtime.chat import leave
from storage import accounts, chat, log, streams
from storage.accounts import User
from storage.database import Database
from storage.errors import Invalid, NotFound
from storage.streams import Room
from storage.transaction import Command, Tx


class Blocks:
    def __init__(self, database: Database) -> None:
        self.database = database

    async def add(self, caller: Caller, user_id: str) -> tuple[User, bool]:
        """The user, and whether the block is new. Raises NotFound, Invalid for oneself."""

        def look(connection: Connection) -> tuple[User, list[Room]]:
            other = accounts.need(connection, caller.user.tenant_pk, user_id)
            if other.pk == caller.pk:
                raise Invalid.field("userId", "You can't block yourself.")
            return other, streams.rooms_with(connection, caller.pk, other.pk)

        other, rooms = await self.database.read(look)

        def apply(tx: Tx) -> bool:
            caller.fresh(tx)
            if not accounts.block(tx, caller.pk, other.pk):
                return False
            self._send_away(tx, other, rooms)
            return True

        channels = [caller.pk, other.pk, *(each.chat_pk for each in rooms)]
        return other, await self.database.write(Command(apply, channels=channels))

    def _send_away(self, tx: Tx, other: User, rooms: Sequence[Room]) -> None:
        """What is told on the user's own channel lets their sockets look which streams they may still hear of."""
        for each in rooms:
            streams.unfollow(tx, each.pk, other.pk)
            if chat.member(tx.connection, each.chat_pk, other.pk):
                leave(tx, each.chat_pk, each.chat_id, other)
            else:
                log.append(tx, other.pk, "chat:removed", {"chatId": each.chat_id})

    async def remove(self, caller: Caller, user_id: str) -> None:
        """Raises NotFound if there is no such block."""

        def apply(tx: Tx) -> None:
            other = accounts.need(tx.connection, caller.user.tenant_pk, user_id)
            if not accounts.unblock(tx, caller.pk, other.pk):
                raise NotFound

        await self.database.write(Command(apply, channels=[caller.pk]))
