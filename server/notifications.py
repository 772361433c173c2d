"""Notifications over REST, in each dialect."""

from dataclasses import replace
from typing import Any, Literal

from typing_extensions import TypedDict

from realtime.notifications import SEND, SEND_OWN
from realtime.schema.fields import Label
from server.call import Call, Created, NoBody, Paging, read_cursor, with_key, write_cursor
from storage.errors import FieldError, Forbidden, Invalid
from storage.notifications import Notification
from storage.types import now


class NotificationQuery(Paging):
    """``box=sent`` lists what the caller sent, inactive ones included."""

    unread: Literal["true", "false"] = "false"
    type: Label | None = None
    category: Label | None = None
    box: Literal["inbox", "sent"] = "inbox"


class Count(TypedDict):
    count: int


def shown(call: Call[Any, Any], item: Notification, at: int | None = None) -> Any:
    return call.dialect.notification(item, call.caller, now() if at is None else at)


async def create(call: Call) -> Any:
    """Answers of one key are the same to the byte: their moment is that of the creation."""
    require_sending(call)
    service, dialect = call.services.notifications, call.dialect
    wrong: list[FieldError] = []
    values = call.values
    try:
        values = with_key(call.request, values)
    except Invalid as problem:
        wrong += problem.details
    try:
        draft = dialect.read(values, call.services.limits)
    except Invalid as problem:
        wrong += problem.details
    user_refs = dialect.user_refs(call.values)
    known = await service.users(call.caller, [each.ref for each in user_refs]) if user_refs else []
    wrong += [
        FieldError(each.field, "names no user", "unknown")
        for each, good in zip(user_refs, known, strict=True)
        if not good
    ]
    if wrong:
        raise Invalid(details=wrong)
    item = await service.send(call.caller, draft)
    return Created(shown(call, item, item.created_at), at=item.created_at)


def require_sending(call: Call) -> None:
    """Raises Forbidden for who may not send, or not as the sender that the body names."""
    if call.caller.may(SEND):
        return
    senders = [each.ref for each in call.dialect.user_refs(call.values) if each.role == "sender"]
    if not call.caller.may(SEND_OWN) or any(ref != ("number", call.caller.user.number) for ref in senders):
        raise Forbidden


async def list_box(call: Call[NoBody, NotificationQuery]) -> Any:
    query: NotificationQuery = call.query
    (before,) = read_cursor(query.cursor, 1) or (None,)
    by_type = call.dialect.type_filter(query.type)
    wanted = replace(by_type, sent=query.box == "sent", unread=query.unread == "true", category=query.category)
    found = await call.services.notifications.box(call.caller, wanted, before=before, limit=query.limit + 1)
    items = found[: query.limit]
    cursor = write_cursor(items[-1].pk) if len(found) > query.limit else None
    return call.dialect.page([shown(call, each) for each in items], cursor)


async def unread_count(call: Call) -> Count:
    return {"count": await call.services.notifications.unread(call.caller)}


async def get(call: Call) -> Any:
    return shown(call, await call.services.notifications.get(call.caller, call.ref()))


async def read(call: Call) -> Any:
    return shown(call, await call.services.notifications.read(call.caller, call.ref()))


async def read_all(call: Call) -> Count:
    """How many were unread."""
    return {"count": await call.services.notifications.read_all(call.caller)}


async def delete(call: Call) -> Any:
    """The notification as it was left: without its texts."""
    return shown(call, await call.services.notifications.delete(call.caller, call.ref()))
