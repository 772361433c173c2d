"""Pinned messages over REST."""

from realtime.schema.fields import microseconds
from realtime.schema.message_bodies import PinMessage
from realtime.schema.message_shapes import PinDocument, PinnedDocument
from server.call import Call, Listed, Succeeded


async def of_chat(call: Call) -> Listed[PinDocument]:
    return {"items": await call.services.pins.of_chat(call.caller, call.id())}


async def pin(call: Call[PinMessage]) -> PinnedDocument:
    return await call.services.pins.pin(call.caller, call.id(), microseconds(call.body.until))


async def unpin(call: Call) -> Succeeded:
    await call.services.pins.unpin(call.caller, call.id())
    return {"success": True}
