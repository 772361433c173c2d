"""Credits: granted by admins, moved by messages, reversed by admins. Every change is an event for the users concerned."""

from sqlalchemy import Connection

from realtime import idempotency
from realtime.schema import message_documents, shapes
from realtime.schema.bodies import Grant
from realtime.schema.caller import Caller
from realtime.schema.message_bodies import SendMessage
from storage import accounts, audit, chat, credits, log, messages, outbox, unread
from storage.access import find_access
from storage.accounts import User
from storage.credits import Kind, LedgerEntry, NotEnough, Transaction
from storage.database import Database
from storage.errors import Conflict, Invalid, NotFound
from storage.messages import Message
from storage.transaction import Command, Tx
from storage.types import new_id

GRANT = "credits.grant"


class Credits:
    def __init__(self, database: Database) -> None:
        self.database = database

    async def balance(self, caller: Caller) -> int:
        return await self.database.read(lambda connection: credits.balance(connection, caller.pk))

    async def history(self, caller: Caller, *, before: int | None, limit: int) -> list[LedgerEntry]:
        """What went in and out of the caller's account, newest first."""
        return await self.database.read(lambda it: credits.history(it, caller.pk, before=before, limit=limit))

    async def grant(self, caller: Caller, body: Grant) -> int:
        """Out of the tenant's issuing account; the user's new balance. The same key again changes nothing.

        Raises Forbidden, NotFound, Conflict for another grant under the same key.
        """
        tenant_pk = caller.user.tenant_pk
        found = await self.database.read(lambda connection: accounts.need(connection, tenant_pk, body.userId))
        command = (body.userId, body.amount, body.reason)
        fingerprint = idempotency.fingerprint(command)

        def apply(tx: Tx) -> int:
            actor = caller.fresh(tx)
            actor.require(GRANT)
            first = credits.by_key(tx.connection(), caller.pk, body.clientMessageId) if body.clientMessageId else None
            if first:
                idempotency.require_same(first.transaction.fingerprint, fingerprint)
                return first.balance
            require_able(tx, found.pk)
            id = credits.move(
                tx,
                tenant_pk,
                kind="grant",
                amount=body.amount,
                giver=None,
                taker=found.pk,
                creator_pk=caller.pk,
                reason=body.reason,
                client_key=body.clientMessageId,
                fingerprint=fingerprint,
            )
            audit.add(tx, actor.user, "credits.grant", found.id, amount=body.amount)
            return append_balance(tx, found.pk, id)

        return await self.database.write(Command(apply, channels=[found.pk], keys=[f"issuing:{tenant_pk}"]))

    async def reverse(self, caller: Caller, id: str) -> str:
        """Give back what a grant or a transfer moved, once, with a message of its own in the transfer's chat.

        Raises NotFound, Conflict for what was reversed already, for a reversal, and where it is not there any more.
        """
        tenant_pk = caller.user.tenant_pk

        def look(connection: Connection) -> tuple[Transaction, tuple[int, int] | None]:
            found = credits.find(connection, tenant_pk, id)
            if found is None:
                raise NotFound
            place = messages.where_is(connection, tenant_pk, found.message_id) if found.message_id else None
            return found, (place.chat_pk, place.seq) if place else None

        found, place = await self.database.read(look)

        def apply(tx: Tx) -> str:
            actor = caller.fresh(tx)
            actor.require("admin")
            if found.kind == "reversal" or credits.is_reversed(tx.connection(), found.pk):
                raise Conflict("The transaction is already reversed")
            assert found.to_user_pk is not None
            taker = accounts.get(tx.connection(), found.to_user_pk)
            giver = None if found.from_user_pk is None else accounts.get(tx.connection(), found.from_user_pk)
            audit.add(tx, actor.user, "credits.reverse", id)
            return self._give_back(tx, caller, found, giver, taker, place[0] if place else None)

        named = [found.from_user_pk, found.to_user_pk, place[0] if place else None]
        channels = [pk for pk in named if pk is not None]
        return await self.database.write(Command(apply, channels=channels, keys=[f"issuing:{tenant_pk}"]))

    def _give_back(
        self, tx: Tx, caller: Caller, found: Transaction, giver: User | None, taker: User, chat_pk: int | None
    ) -> str:
        message_id = new_id() if chat_pk is not None else None
        id = pay(
            tx,
            taker,
            giver,
            found.amount,
            kind="reversal",
            message_id=message_id,
            creator_pk=caller.pk,
            reverses_pk=found.pk,
        )
        if chat_pk is not None:
            assert message_id is not None
            assert giver is not None
            say(tx, chat_pk, message_id, taker, giver, found.amount)
        return id


def pay(
    tx: Tx,
    giver: User,
    taker: User | None,
    amount: int,
    *,
    creator_pk: int,
    kind: Kind = "transfer",
    message_id: str | None = None,
    reverses_pk: int | None = None,
) -> str:
    """Move credits between locked users (None: the issuing account), and append the events of both; the transaction's id.

    Raises Conflict if the giver has not enough.
    """
    try:
        id = credits.move(
            tx,
            giver.tenant_pk,
            kind=kind,
            amount=amount,
            giver=giver.pk,
            taker=taker.pk if taker else None,
            creator_pk=creator_pk,
            message_id=message_id,
            reverses_pk=reverses_pk,
        )
    except NotEnough:
        raise Conflict("Insufficient balance", code="insufficient_credits") from None
    for user in (giver, taker):
        if user is not None:
            append_balance(tx, user.pk, id)
    return id


def require_recipient(
    tx: Tx, caller: Caller, body: SendMessage, chat_pk: int, recipient: accounts.User | None
) -> accounts.User:
    """Who gets the credits: another member of the chat. Raises NotFound, Invalid, Conflict for a banned one."""
    if recipient is None and body.targetUserId is None:
        raise Invalid.field("targetUserId", "targetUserId is required unless the chat has exactly two members")
    if recipient is None or not chat.known_members(tx.connection(), chat_pk, [recipient.pk]):
        raise NotFound
    if recipient.pk == caller.pk:
        raise Invalid.field("targetUserId", "You cannot send credits to yourself")
    if body.targetUserId is None and find_access(tx, chat_pk, caller.pk).member_count != 2:  # type: ignore[union-attr]
        raise Invalid.field("targetUserId", "targetUserId is required unless the chat has exactly two members")
    require_able(tx, recipient.pk)
    return recipient


def require_able(tx: Tx, user_pk: int) -> None:
    """Whether a user who is locked may get credits. Raises NotFound for one who is deleted, Conflict for a banned one."""
    status = accounts.get(tx.connection(), user_pk).status
    if status == "deleted":
        raise NotFound
    if status != "active":
        raise Conflict(f"The recipient is {status}", code="recipient_inactive")


def append_balance(tx: Tx, user_pk: int, transaction_id: str) -> int:
    """Append ``credit:balance``; the balance."""
    balance = credits.balance(tx.connection(), user_pk)
    document: shapes.BalanceEvent = {"balance": balance, "transactionId": transaction_id}
    log.append(tx, user_pk, "credit:balance", document)
    return balance


def say(tx: Tx, chat_pk: int, message_id: str, giver: User, taker: User, amount: int) -> None:
    """The message of a reversal."""
    seq, channel = tx.next_seq(chat_pk)
    message = Message(
        chat_pk=chat_pk,
        chat_id=channel.removeprefix("chat:"),
        seq=seq,
        id=message_id,
        sender_pk=giver.pk,
        sender_id=giver.id,
        type="creditTransfer",
        content=None,
        reply_to=None,
        metadata=None,
        created_at=tx.now,
        updated_at=tx.now,
        deleted_at=None,
        transfer={"amount": amount, "recipientId": taker.id, "senderId": giver.id, "reversal": True},
    )
    log.write(tx, chat_pk, channel, seq, "message:new", message_documents.message(message))
    messages.add(tx, message, client_key=None, fingerprint=None)
    access = find_access(tx, chat_pk, giver.pk)
    if access is not None and access.is_member:
        unread.add_own(tx, chat_pk, giver.pk, access.read, wrote=False)
    outbox.promise(tx, "message", chat_pk, seq)
