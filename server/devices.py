"""Devices over REST, and for admins what became of their pushes."""

from functools import partial
from operator import itemgetter
from typing import Any, Self

from pydantic import model_validator

from realtime.schema import documents
from realtime.schema.fields import OPAQUE, HexId, Uuid
from server.call import Call, Created, Paging, paged
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


async def register(call: Call) -> Any:
    document, new = await call.services.devices.register(call.caller, call.body)
    return Created(document) if new else document


async def list_mine(call: Call) -> Any:
    find = call.services.devices.page
    return await paged(call, lambda after, limit: find(call.caller, after=after or 0, limit=limit), documents.device)


async def remove(call: Call) -> Any:
    id = call.request.match_info["deviceId"]
    if not OPAQUE.fullmatch(id):
        raise NotFound
    return await call.services.devices.remove(call.caller, id)


async def deliveries(call: Call) -> Any:
    return await pushes(call, user_id=call.query.userId, push_id=call.query.pushId)


async def dead_letters(call: Call) -> Any:
    return await pushes(call)


async def pushes(call: Call, *, user_id: str | None = None, push_id: str | None = None) -> Any:
    find = partial(call.services.devices.pushes, call.caller, user_id=user_id, push_id=push_id)
    return await paged(call, lambda before, limit: find(before=before, limit=limit), dict, itemgetter("id"))


async def retry(call: Call) -> Any:
    await call.services.devices.retry(call.caller, call.number())
    call.services.worker.wake()
    return {"success": True}
