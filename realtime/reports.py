"""Reports of messages to the tenant's admins, and what admins do about them."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection

from realtime.message_change import change_message
from realtime.message_places import MessagePlaces
from realtime.sanctions import Sanctions
from realtime.schema import message_documents, shapes
from realtime.schema.caller import Caller
from realtime.tombstones import make_tombstone
from storage import accounts, audit, chat, messages, reports, webhooks
from storage.access import Access
from storage.errors import Conflict, NotFound
from storage.messages import Message, MessagePlace
from storage.reports import Action, Report, State
from storage.transaction import Command, Tx
from storage.types import iso_time

# Messages before and after a reported one that are shown with it.
CONTEXT = 5


class Reports:
    def __init__(self, places: MessagePlaces, sanctions: Sanctions) -> None:
        self.places = places
        self.sanctions = sanctions

    async def add(self, caller: Caller, message_id: str, reason: str) -> None:
        """For the tenant's admins. Raises NotFound, Conflict for a second report of the same message."""

        def change(tx: Tx, place: MessagePlace, access: Access) -> None:
            if not report(tx, caller.user.tenant_pk, message_id, reason, reporter_pk=caller.pk):
                raise Conflict("You have already reported this message")

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
                around = messages.history(connection, chat_pk, first=1, before=seq + 1, after=None, limit=CONTEXT + 1)
                around += messages.history(connection, chat_pk, first=1, before=None, after=seq, limit=CONTEXT)
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
            raise Conflict("The message is gone")

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
            if item.deleted_at is None:
                make_tombstone(tx, item)
        elif chat.get(tx.connection(), place.chat_pk).type == "direct":
            raise Conflict("A direct chat has no silences and no bans")
        else:
            user = accounts.get(tx.connection(), place.sender_pk)
            self.sanctions.impose(
                tx, place.chat_pk, item.chat_id, user, action, until=until, reason=None, actor=caller.user
            )
        return item.sender_id


def report(tx: Tx, tenant_pk: int, message_id: str, reason: str, *, reporter_pk: int | None) -> bool:
    """Make a report, of which webhooks hear without its text; False where it is there already."""
    made = reports.add(tx, tenant_pk=tenant_pk, reporter_pk=reporter_pk, message_id=message_id, reason=reason)
    if made is None:
        return False
    (document,) = shown(tx.connection(), [made])
    item = document["message"]
    event = {**document, "message": None, "chatId": None if item is None else item["chatId"]}
    webhooks.promise_document(tx, "report:new", tenant_pk, event)
    return True


def flag(tx: Tx, tenant_pk: int, item: Message, lists: Sequence[str]) -> None:
    """Report a message that has words of these lists."""
    report(tx, tenant_pk, item.id, f"Has a word of: {', '.join(lists)}", reporter_pk=None)


def need(connection: Connection, caller: Caller, pk: int) -> Report:
    """Raises NotFound."""
    found = reports.find(connection, caller.user.tenant_pk, pk)
    if found is None:
        raise NotFound
    return found


def shown(connection: Connection, some: Sequence[Report]) -> list[shapes.ReportDocument]:
    """With the messages as they are now."""
    ids = {each.message_id for each in some}
    if not ids:
        return []
    places = reports.places(connection, ids)
    items = {each.id: each for each in messages.at_places(connection, places.values())}
    counts = reports.counts(connection, ids)
    return [document(each, items, counts) for each in some]


def document(item: Report, items: Mapping[str, Message], counts: Mapping[str, int]) -> shapes.ReportDocument:
    reporter, message = item.reporter, items.get(item.message_id)
    return {
        "id": item.pk,
        "messageId": item.message_id,
        "reporterId": None if reporter is None else reporter[0],
        "reason": item.reason,
        "createdAt": iso_time(item.created_at),
        "state": item.state,
        "action": item.action,
        "resolvedAt": None if item.resolved_at is None else iso_time(item.resolved_at),
        "reporter": None if reporter is None else {"id": reporter[0], "name": reporter[1]},
        "reportCount": counts.get(item.message_id, 0),
        "message": None if message is None else message_documents.message(message),
    }
