"""Reports of messages to the tenant's admins, and what admins do about them."""

from functools import partial
from typing import Any

from sqlalchemy import Connection

from realtime.history import page_around
from realtime.message_change import change_message
from realtime.message_places import MessagePlaces
from realtime.reporting import report, shown
from realtime.sanctions import Sanctions
from realtime.schema import message_documents, shapes
from realtime.schema.caller import Caller
from realtime.schema.limits import Limits
from realtime.tombstones import make_tombstone
from storage import accounts, audit, chat, messages, reports
from storage.access import Access
from storage.errors import Conflict, NotFound
from storage.messages import Message, MessagePlace
from storage.reports import Action, Report, State
from storage.transaction import Command, Tx


class Reports:
    def __init__(self, places: MessagePlaces, sanctions: Sanctions, limits: Limits) -> None:
        self.places = places
        self.sanctions = sanctions
        self.limits = limits

    async def add(self, caller: Caller, message_id: str, reason: str) -> None:
        """For the tenant's admins. Raises NotFound, Conflict for a second report of the same message."""

        def change(tx: Tx, place: MessagePlace, access: Access) -> None:
            if not report(tx, caller.user.tenant_pk, message_id, reason, reporter_pk=caller.pk):
                raise Conflict("You have already reported this message", code="already_reported")

        await change_message(self.places, caller, message_id, change)

    async def of_tenant(
        self, caller: Caller, *, state: State | None, before: int | None, limit: int
    ) -> list[shapes.ReportDocument]:
        """The tenant's reports, newest first."""
        caller.require("admin")

        def look(connection: Connection) -> list[shapes.ReportDocument]:
            found = reports.of_tenant(connection, caller.user.tenant_pk, state=state, before=before, limit=limit)
            return shown(connection, found)

        return await self.places.database.read(look, snapshot=True)

    async def get(self, caller: Caller, pk: int) -> shapes.ReportWithContext:
        """With the messages around the reported one. Raises NotFound."""
        caller.require("admin")

        def look(connection: Connection) -> shapes.ReportWithContext:
            (document,) = shown(connection, [need(connection, caller, pk)])
            place = reports.places(connection, [document["messageId"]]).get(document["messageId"])
            around: list[Message] = []
            if place is not None:
                chat_pk, seq = place
                read = partial(messages.history, connection, chat_pk, first=1, with_replies=True)
                around = page_around(read, seq, limit=2 * self.limits.report_context + 1).items
            return {**document, "context": [message_documents.message(each) for each in around]}

        return await self.places.database.read(look, snapshot=True)

    async def resolve(
        self, caller: Caller, pk: int, state: State, action: Action, until: int | None
    ) -> shapes.ReportDocument:
        """Close a report, and the others of the same message, and act on the message or its sender, in one transaction.

        Raises NotFound, Conflict for one that is closed already, for a message that is gone, and where the sender can't be
        sanctioned; Invalid for a time that has passed.
        """
        caller.require("admin")
        database = self.places.database
        found = await database.read(lambda it: need(it, caller, pk))
        place = await self.places.find(caller.user.tenant_pk, found.message_id)
        if place is None and action != "none":
            raise Conflict("The message is gone", code="message_deleted")

        def apply(tx: Tx) -> shapes.ReportDocument:
            actor = caller.fresh(tx)
            actor.require("admin")
            if need(tx.connection(), caller, pk).state != "open":
                raise Conflict("The report is closed already")
            details: dict[str, Any] = {"message": found.message_id, "state": state}
            if place is not None and action != "none":
                details |= {"action": action, "user": self._act(tx, caller, place, action, until)}
            reports.resolve(tx, found.message_id, state, action)
            audit.add(tx, actor.user, "report.resolve", str(pk), **details)
            (document,) = shown(tx.connection(), [need(tx.connection(), caller, pk)])
            return document

        channels = [] if place is None or action == "none" else [place.chat_pk, place.sender_pk]
        return await database.write(Command(apply, channels=channels, keys=[f"report:{found.message_id}"]))

    def _act(self, tx: Tx, caller: Caller, place: MessagePlace, action: Action, until: int | None) -> str:
        """The id of the message's sender."""
        item = messages.get(tx, place.chat_pk, place.seq)
        if item is None:
            raise NotFound
        if action not in ("silence", "ban"):
            if item.transfer is not None and item.transfer.get("reversal"):
                raise Conflict("A reversal cannot be deleted", code="transfer_final")
            if item.deleted_at is None:
                make_tombstone(tx, item)
        elif chat.get(tx.connection(), place.chat_pk).type == "direct":
            raise Conflict("A direct chat has no silences and no bans", code="direct_chat")
        else:
            user = accounts.get(tx.connection(), place.sender_pk)
            self.sanctions.impose(
                tx, place.chat_pk, item.chat_id, user, action, until=until, reason=None, actor=caller.user
            )
        return item.sender_id


def need(connection: Connection, caller: Caller, pk: int) -> Report:
    """Raises NotFound."""
    found = reports.find(connection, caller.user.tenant_pk, pk)
    if found is None:
        raise NotFound
    return found
