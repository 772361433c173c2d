"""Invite links of groups over REST."""

from realtime.schema.shapes import ChatDocument, InviteDocument
from server.call import Answer, Call, Created, Succeeded
from storage.types import iso_time


async def create(call: Call) -> Answer[InviteDocument]:
    token, url, expires_at = await call.services.invites.create(call.caller, call.id())
    return Created({"token": token, "url": url, "expiresAt": iso_time(expires_at)})


async def revoke(call: Call) -> Succeeded:
    await call.services.invites.revoke(call.caller, call.id())
    return {"success": True}


async def join(call: Call) -> Answer[ChatDocument]:
    document, new = await call.services.invites.join(call.caller, call.request.match_info["token"])
    return Created(document) if new else document
