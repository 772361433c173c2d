"""Streams and Live Activities over REST."""

from typing import Literal

from realtime.schema.bodies import ChangeStream, CreateStream
from realtime.schema.shapes import StreamDocument
from server.call import Answer, Call, Created, NoBody, Page, Paging, paged
from storage.streams import Status

MOVES: dict[str, Status] = {"ready": "ready", "start": "started", "end": "ended", "cancel": "cancelled"}


class StreamQuery(Paging):
    status: Literal["scheduled", "ready", "started", "ended", "cancelled", "expired"] | None = None


async def create(call: Call[CreateStream]) -> Answer[StreamDocument]:
    return Created(await call.services.streams.create(call.caller, call.body))


async def list_all(call: Call[NoBody, StreamQuery]) -> Page[StreamDocument]:
    find, status = call.services.streams.page, call.query.status
    return await paged(
        call,
        lambda before, limit: find(call.caller, status=status, before=before, limit=limit),
        call.services.streams.document,
    )


async def get(call: Call) -> StreamDocument:
    return await call.services.streams.get(call.caller, call.id())


async def change(call: Call[ChangeStream]) -> StreamDocument:
    return await call.services.streams.change(call.caller, call.id(), call.body)


async def move(call: Call) -> StreamDocument:
    """ready, start, end and cancel, by the last word of the path."""
    to = MOVES[call.request.path.rsplit("/", 1)[1]]
    return await call.services.streams.move(call.caller, call.id(), to)


async def follow(call: Call) -> StreamDocument:
    return await call.services.streams.follow(call.caller, call.id())


async def unfollow(call: Call) -> StreamDocument:
    return await call.services.streams.unfollow(call.caller, call.id())
