"""Broadcasts over REST."""

from typing import Any

from realtime.schema import documents
from server.call import Call, Created, paged


async def send(call: Call) -> Any:
    """With ``preview`` nothing is sent: it says how many would be told."""
    if call.body.preview:
        return documents.broadcast_preview(call.body, await call.services.broadcasts.audience(call.caller))
    return Created(documents.broadcast(await call.services.broadcasts.send(call.caller, call.body)))


async def list_all(call: Call) -> Any:
    find = call.services.broadcasts.page
    return await paged(call, lambda before, limit: find(call.caller, before=before, limit=limit), documents.broadcast)
