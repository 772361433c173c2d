"""Streams and Live Activities over REST."""

from typing import Any, Literal

from realtime.schema import documents
from server.call import Call, Created, Paging, paged
from storage.streams import Status

MOVES: dict[str, Status] = {"ready": "ready", "start": "started", "end": "ended", "cancel": "cancelled"}


class StreamQuery(Paging):
    status: Literal["scheduled", "ready", "started", "ended", "cancelled", "expired"] | None = None


async def create(call: Call) -> Any:
    return Created(await call.services.streams.create(call.caller, call.body))


async def list_all(call: Call) -> Any:
    find, status = call.services.streams.page, call.query.status
    return await paged(
        call, lambda before, limit: find(call.caller, status=status, before=before, limit=limit), documents.stream
    )


async def get(call: Call) -> Any:
    return await call.services.streams.get(call.caller, call.id())


async def change(call: Call) -> Any:
    return await call.services.streams.change(call.caller, call.id(), call.body)


async def move(call: Call) -> Any:
    """ready, start, end and cancel, by the last word of the path."""
    to = MOVES[call.request.path.rsplit("/", 1)[1]]
    return await call.services.streams.move(call.caller, call.id(), to)


async def follow(call: Call) -> Any:
    return await call.services.streams.follow(call.caller, call.id())


async def unfollow(call: Call) -> Any:
    return await call.services.streams.unfollow(call.caller, call.id())


async def register_activity(call: Call) -> Any:
    await call.services.streams.register(call.caller, call.body)
    return Created({"success": True})
