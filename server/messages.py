"""Messages over REST."""

from typing import Annotated, Any

from aiohttp import BodyPartReader, web
from aiohttp.http_exceptions import HttpProcessingError
from pydantic import Field

from realtime import bodies
from realtime.bodies import Body
from realtime.fields import HexId
from server.call import WHOLE, Call, Created, read_json, require_plain
from storage.errors import Invalid, Malformed, TooLarge

Seq = Annotated[int, Field(ge=0, lt=2**63)]


class History(Body):
    """The newest page, or the one before or after a seq."""

    chatId: HexId
    before: Seq | None = None
    after: Seq | None = None
    limit: Annotated[int, Field(ge=1, le=200)] = 50


async def read_message(request: web.Request, limits: Any) -> Any:
    """The body of a message: JSON, or the parts of a form."""
    if request.content_type == "multipart/form-data":
        require_plain(request)
        return await read_form(request, limits)
    return await read_json(request, limits)


async def read_form(request: web.Request, limits: Any) -> dict[str, Any]:
    """Text parts by name; ``metadata`` and ``creditTransfer`` are JSON. A file part belongs to a media message."""
    values: dict[str, Any] = {}
    file = False
    try:
        size = 0
        async for part in await request.multipart():
            if not isinstance(part, BodyPartReader) or part.name is None:
                raise Malformed("Each part of the form needs a name")
            if part.filename is not None:
                file = True
                await part.release()
                continue
            chunk = await part.read()
            size += len(chunk)
            if size > limits.body:
                raise TooLarge(f"The fields may have {limits.body} bytes")
            values[part.name] = chunk.decode()
    except (ValueError, AssertionError, LookupError, RuntimeError, web.RequestPayloadError, HttpProcessingError):
        raise Malformed("The form can't be read") from None
    for name in ("metadata", "creditTransfer"):
        if name in values:
            values[name] = bodies.parse_json(values[name], limits)
    if isinstance(values.get("amount"), str) and WHOLE.fullmatch(values["amount"]):
        values["amount"] = int(values["amount"])
    if file and values.get("type") != "media":
        raise Invalid.field("file", "A file belongs to a message of type media")
    return values


async def post(call: Call) -> Any:
    return Created(await call.services.messages.post(call.caller, call.body))


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
