"""Broadcasts over REST."""

from typing import Any

from realtime import documents
from server.call import Call, Created, page, read_cursor, write_cursor


async def send(call: Call) -> Any:
    """With ``preview`` nothing is sent: it says how many would be told."""
    if call.body.preview:
        return documents.broadcast_preview(call.body, await call.services.broadcasts.audience(call.caller))
    return Created(documents.broadcast(await call.services.broadcasts.send(call.caller, call.body)))


async def list_all(call: Call) -> Any:
    limit = call.query.limit
    (before,) = read_cursor(call.query.cursor, 1) or (None,)
    found = await call.services.broadcasts.page(call.caller, before=before, limit=limit + 1)
    cursor = write_cursor(found[limit - 1].pk) if len(found) > limit else None
    return page([documents.broadcast(each) for each in found[:limit]], cursor)
