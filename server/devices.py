"""Devices over REST, and for admins what became of their pushes."""

from typing import Any, Self

from pydantic import model_validator

from realtime import documents
from realtime.fields import HexId, Uuid
from server.call import Call, Created, Paging, page, read_cursor, write_cursor
from storage.errors import NotFound


class Deliveries(Paging):
    """A user's, or the one of this id."""

    userId: HexId | None = None
    pushId: Uuid | None = None

    @model_validator(mode="after")
    def one_of_both(self) -> Self:
        if (self.userId is None) == (self.pushId is None):
            raise ValueError("userId or pushId is required")
        return self


async def register(call: Call) -> Any:
    document, new = await call.services.devices.register(call.caller, call.body)
    return Created(document) if new else document


async def list_mine(call: Call) -> Any:
    limit = call.query.limit
    (after,) = read_cursor(call.query.cursor, 1) or (0,)
    found = await call.services.devices.page(call.caller, after=after, limit=limit + 1)
    cursor = write_cursor(found[limit - 1].pk) if len(found) > limit else None
    return page([documents.device(each) for each in found[:limit]], cursor)


async def remove(call: Call) -> Any:
    return await call.services.devices.remove(call.caller, call.request.match_info["deviceId"])


async def deliveries(call: Call) -> Any:
    return await pushes(call, user_id=call.query.userId, push_id=call.query.pushId)


async def dead_letters(call: Call) -> Any:
    return await pushes(call)


async def pushes(call: Call, *, user_id: str | None = None, push_id: str | None = None) -> Any:
    limit = call.query.limit
    (before,) = read_cursor(call.query.cursor, 1) or (None,)
    service = call.services.devices
    found = await service.pushes(call.caller, user_id=user_id, push_id=push_id, before=before, limit=limit + 1)
    return page(found[:limit], write_cursor(found[limit - 1]["id"]) if len(found) > limit else None)


async def retry(call: Call) -> Any:
    id = call.request.match_info["number"]
    if not (id.isascii() and id.isdecimal()) or len(id) > 18:
        raise NotFound
    await call.services.devices.retry(call.caller, int(id))
    call.services.worker.wake()
    return {"success": True}
