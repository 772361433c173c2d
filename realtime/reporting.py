"""Making a report of a message, in a transaction, and how reports are shown."""

from collections.abc import Mapping, Sequence

from sqlalchemy import Connection

from realtime.schema import message_documents, shapes
from storage import messages, reports, webhooks
from storage.messages import Message
from storage.reports import Report
from storage.transaction import Tx
from storage.types import iso_time


def report(tx: Tx, tenant_pk: int, message_id: str, reason: str, *, reporter_pk: int | None) -> bool:
    """Store a report and queue its webhook calls, which do not contain the message; False if there is one already."""
    made = reports.add(tx, tenant_pk=tenant_pk, reporter_pk=reporter_pk, message_id=message_id, reason=reason)
    if made is None:
        return False
    (document,) = shown(tx.connection(), [made])
    item = document["message"]
    event = {**document, "message": None, "chatId": None if item is None else item["chatId"]}
    webhooks.promise_document(tx, "report:new", tenant_pk, event)
    return True


def flag(tx: Tx, tenant_pk: int, item: Message, lists: Sequence[str]) -> None:
    """Report a message that contains words of these lists."""
    report(tx, tenant_pk, item.id, f"Contains words of the lists: {', '.join(lists)}", reporter_pk=None)


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
