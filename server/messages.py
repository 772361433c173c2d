"""Messages over REST."""

from typing import Annotated, Literal, cast

from pydantic import Field

from realtime.schema.bodies import Body
from realtime.schema.fields import HexId, Seq
from realtime.schema.message_bodies import EditMessage, ReportMessage, SendMessage
from realtime.schema.message_shapes import HistoryDocument, MessageDocument, ReadDocument
from server.call import Answer, Call, Created, NoBody, Succeeded
from storage.errors import Invalid


class HistoryQuery(Body):
    """The newest page, the one before or after a seq, or the one around a message: of what the chat shows, with
    ``threads=include`` also of the replies that it does not show, or of the replies in a thread.
    """

    chatId: HexId
    before: Seq | None = None
    after: Seq | None = None
    around: Annotated[HexId | None, Field(description="The id of a message")] = None
    threadId: HexId | None = None
    threads: Literal["include"] | None = None
    limit: Annotated[int, Field(ge=1, le=200)] = 50


async def post(call: Call[SendMessage]) -> Answer[MessageDocument]:
    messages = call.services.messages
    if call.upload is None:
        document = await messages.post(call.caller, call.body)
    else:
        document = await messages.post_with_file(call.caller, call.body, call.upload)
    # The answer of a key may come as it was stored: the same document, as JSON.
    return Created(cast(MessageDocument, document))


async def history(call: Call[NoBody, HistoryQuery]) -> HistoryDocument:
    query: HistoryQuery = call.query
    if query.around is not None and (query.before is not None or query.after is not None):
        raise Invalid.field("around", "cannot be combined with before or after")
    return await call.services.history.page(
        call.caller,
        query.chatId,
        before=query.before,
        after=query.after,
        around=query.around,
        limit=query.limit,
        thread_id=query.threadId,
        with_replies=query.threads is not None,
    )


async def get(call: Call) -> MessageDocument:
    return await call.services.messages.get(call.caller, call.id())


async def edit(call: Call[EditMessage]) -> MessageDocument:
    return await call.services.messages.edit(call.caller, call.id(), call.body)


async def delete(call: Call) -> MessageDocument:
    return await call.services.messages.delete(call.caller, call.id())


async def mark_read(call: Call) -> ReadDocument:
    return await call.services.messages.read(call.caller, call.id())


async def report(call: Call[ReportMessage]) -> Answer[Succeeded]:
    await call.services.reports.add(call.caller, call.id(), call.body.reason)
    return Created({"success": True})
