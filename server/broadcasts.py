"""Broadcasts over REST."""

from realtime.schema import documents
from realtime.schema.bodies import SendBroadcast
from realtime.schema.shapes import BroadcastDocument
from server.call import Answer, Call, Created, NoBody, Page, Paging, paged


async def send(call: Call[SendBroadcast]) -> Answer[BroadcastDocument]:
    """With ``preview`` nothing is sent: the answer says how many users would be notified."""
    if call.body.preview:
        return documents.broadcast_preview(call.body, await call.services.broadcasts.audience(call.caller))
    return Created(documents.broadcast(await call.services.broadcasts.send(call.caller, call.body)))


async def list_all(call: Call[NoBody, Paging]) -> Page[BroadcastDocument]:
    find = call.services.broadcasts.page
    return await paged(call, lambda before, limit: find(call.caller, before=before, limit=limit), documents.broadcast)
