"""Invite links of groups: who may make and revoke them, and who joins by them."""

from collections.abc import Callable
from typing import NamedTuple

from realtime.chat import Chats
from realtime.chat_list import seen_by
from realtime.chat_requirements import require_manager, require_space
from realtime.membership import admit
from realtime.schema import shapes
from realtime.schema.caller import Caller
from realtime.signing import Signer
from storage import chat, invites, sanctions, streams
from storage.access import Access
from storage.errors import Conflict, NotFound, Restricted
from storage.transaction import Command, Tx
from storage.types import SECOND, now

INVITE_SECONDS = 7 * 24 * 3600
# Of the key at the beginning of a token; the rest is its signature.
KEY_CHARACTERS = 24


class InviteLink(NamedTuple):
    """``expires_at`` in microseconds."""

    token: str
    url: str
    expires_at: int


class Invites:
    """Tokens are signed keys, so that a key read from the database is not enough to join.

    ``public_url`` answers the address of the page that opens links.
    """

    def __init__(self, chats: Chats, signer: Signer, public_url: Callable[[], str]) -> None:
        self.chats = chats
        self.signer = signer
        self.public_url = public_url

    async def create(self, caller: Caller, chat_id: str) -> InviteLink:
        """The link of a group, valid for a week from now. Raises NotFound, Forbidden, Conflict for any other chat."""

        def apply(tx: Tx, pk: int, access: Access) -> tuple[str, int]:
            require_manager(access)
            if access.type == "room" or streams.of_chat(tx.connection(), pk) is not None:
                raise Conflict(
                    "Only groups have invite links; anyone may watch a stream or open a room", code="no_invites"
                )
            expires_at = tx.now + INVITE_SECONDS * SECOND
            return invites.put(tx, pk, expires_at=expires_at), expires_at

        key, expires_at = await self.chats.change_in(caller, chat_id, apply)
        token = key + self.signer.sign(key)
        return InviteLink(token, f"{self.public_url()}/#invite={token}", expires_at)

    async def revoke(self, caller: Caller, chat_id: str) -> None:
        """End the link of a group, if there is one. Raises NotFound, Forbidden, Conflict for a direct chat."""

        def apply(tx: Tx, pk: int, access: Access) -> None:
            require_manager(access)
            invites.remove(tx, pk)

        await self.chats.change_in(caller, chat_id, apply)

    async def join(self, caller: Caller, token: str) -> tuple[shapes.ChatDocument, bool]:
        """The chat of a link, and whether the caller is new in it.

        Raises NotFound for a link that is unknown, revoked or expired, Restricted for who is banned from the chat, Conflict
        for a chat that is full, TooMany while the chat gets too much.
        """
        key = token[:KEY_CHARACTERS]
        if not self.signer.is_signed(key, token[KEY_CHARACTERS:]):
            raise invalid()
        tenant_pk = caller.user.tenant_pk
        found = await self.chats.database.read(lambda connection: invites.find(connection, tenant_pk, key, at=now()))
        if found is None:
            raise invalid()
        pk = found.chat_pk

        def apply(tx: Tx) -> tuple[shapes.ChatDocument, bool]:
            user = caller.fresh(tx).user
            if invites.find(tx.connection(), tenant_pk, key, at=tx.now) is None:
                raise invalid()
            if chat.member(tx.connection(), pk, user.pk) is not None:
                return seen_by(tx.connection(), pk, user.pk), False
            banned_until = sanctions.of_user(tx.connection(), pk, user.pk, tx.now).get("ban")
            if banned_until is not None:
                raise Restricted("banned", banned_until)
            require_space(chat.member_count(tx.connection(), pk) + 1, self.chats.limits)
            self.chats.delivery_budget.admit(pk)
            admit(tx, pk, found.chat_id, [user], "member")
            return seen_by(tx.connection(), pk, user.pk), True

        return await self.chats.database.write(Command(apply, channels=[pk, caller.pk]))


def invalid() -> NotFound:
    return NotFound("The invite link is unknown, revoked or expired", code="invite_invalid")
