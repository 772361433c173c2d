"""Devices over REST, and for admins what became of their pushes."""

from functools import partial
from operator import itemgetter
from typing import Self

from pydantic import model_validator

from realtime.schema.bodies import RegisterDevice
from realtime.schema.fields import OPAQUE, HexId, Uuid
from realtime.schema.shapes import DeliveryDocument, DeviceDocument, PushConfig
from server.call import Answer, Call, Created, NoBody, Page, PageQuery, Paging, Succeeded, paged
from storage.errors import NotFound


class PushQuery(Paging):
    """A user's, or the one of this id."""

    userId: HexId | None = None
    pushId: Uuid | None = None

    @model_validator(mode="after")
    def one_of_both(self) -> Self:
        if (self.userId is None) == (self.pushId is None):
            raise ValueError("userId or pushId is required")
        return self


async def register(call: Call[RegisterDevice]) -> Answer[DeviceDocument]:
    document, new = await call.services.devices.register(call.caller, call.body)
    return Created(document) if new else document


async def push_config(call: Call) -> PushConfig:
    return call.services.devices.config()


async def list_mine(call: Call[NoBody, Paging]) -> Page[DeviceDocument]:
    mine = call.services.devices
    return await paged(call, lambda after, limit: mine.page(call.caller, after=after or 0, limit=limit), mine.document)


async def remove(call: Call) -> DeviceDocument:
    id = call.request.match_info["deviceId"]
    if not OPAQUE.fullmatch(id):
        raise NotFound
    return await call.services.devices.remove(call.caller, id)


async def deliveries(call: Call[NoBody, PushQuery]) -> Page[DeliveryDocument]:
    return await pushes(call, user_id=call.query.userId, push_id=call.query.pushId)


async def dead_letters(call: Call[NoBody, Paging]) -> Page[DeliveryDocument]:
    return await pushes(call)


async def pushes(
    call: Call[NoBody, PageQuery], *, user_id: str | None = None, push_id: str | None = None
) -> Page[DeliveryDocument]:
    find = partial(call.services.devices.pushes, call.caller, user_id=user_id, push_id=push_id)
    return await paged(
        call, lambda before, limit: find(before=before, limit=limit), lambda each: each, itemgetter("id")
    )


async def retry(call: Call) -> Succeeded:
    await call.services.devices.retry(call.caller, call.number())
    call.services.worker.wake()
    return {"success": True}
