"""Messages over REST."""

from typing import Annotated, Any

from pydantic import Field

from realtime.schema.bodies import Body
from realtime.schema.fields import HexId
from server.call import Call, Created
from storage.errors import Conflict, Invalid

Seq = Annotated[int, Field(ge=0, lt=2**63)]


class History(Body):
    """The newest page, or the one before or after a seq."""

    chatId: HexId
    before: Seq | None = None
    after: Seq | None = None
    limit: Annotated[int, Field(ge=1, le=200)] = 50


async def post(call: Call) -> Any:
    """A file that comes with a message is stored first; if the message does not take it, it goes again."""
    messages, upload = call.services.messages, call.upload
    if upload is None:
        return Created(await messages.post(call.caller, call.body))
    if call.body.type != "media":
        raise Invalid.field("file", "A file is only allowed in a message of type media")
    async with messages.one_at_a_time(call.caller, call.body):
        answered = await messages.prepare(call.caller, call.body, upload.hash)
        if answered is not None:
            return Created(answered)
        try:
            await call.services.media.keep(call.caller, upload)
            return Created(await messages.post(call.caller, call.body))
        except Conflict:
            # Another process may have had the same command, and taken the room for it.
            answered = await messages.prepare(call.caller, call.body, upload.hash)
            if answered is None:
                raise
            return Created(answered)
        finally:
            await call.services.media.drop(upload.id)


async def history(call: Call) -> Any:
    query: History = call.query
    return await call.services.messages.history(
        call.caller, query.chatId, before=query.before, after=query.after, limit=query.limit
    )


async def get(call: Call) -> Any:
    return await call.services.messages.get(call.caller, call.id())


async def edit(call: Call) -> Any:
    return await call.services.messages.edit(call.caller, call.id(), call.body.content)


async def delete(call: Call) -> Any:
    return await call.services.messages.delete(call.caller, call.id())


async def mark_read(call: Call) -> Any:
    return await call.services.messages.read(call.caller, call.id())


async def report(call: Call) -> Any:
    await call.services.messages.report(call.caller, call.id(), call.body.reason)
    return Created({"success": True})
