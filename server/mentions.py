"""Messages that mention the user, over REST."""

from realtime.schema.message_shapes import MessageDocument
from server.call import Call, NoBody, Page, Paging, page, read_cursor, write_cursor


async def list_mine(call: Call[NoBody, Paging]) -> Page[MessageDocument]:
    limit, before = call.query.limit, read_cursor(call.query.cursor, 3)
    found = await call.services.mentions.of_user(call.caller, before=before, limit=limit + 1)  # type: ignore[arg-type]
    shown = found[:limit]
    cursor = write_cursor(*shown[-1].place) if len(found) > limit else None
    return page([each.document for each in shown], cursor)
