"""Threads over REST."""

from typing import Literal

from realtime.schema.message_shapes import ThreadDocument
from server.call import Call, NoBody, Page, Paging, page, read_cursor, write_cursor


class ThreadQuery(Paging):
    """All that the user follows, or those with unread replies."""

    unread: Literal["true", "false"] = "false"


async def list_mine(call: Call[NoBody, ThreadQuery]) -> Page[ThreadDocument]:
    query: ThreadQuery = call.query
    limit, before = query.limit, read_cursor(query.cursor, 3)
    found = await call.services.threads.of_user(
        call.caller,
        unread=query.unread == "true",
        before=before,  # type: ignore[arg-type]
        limit=limit + 1,
    )
    shown = found[:limit]
    cursor = write_cursor(*shown[-1].item.place_in_list) if len(found) > limit else None
    return page([each.document for each in shown], cursor)


async def follow(call: Call) -> ThreadDocument:
    return await call.services.threads.follow(call.caller, call.id())


async def unfollow(call: Call) -> ThreadDocument:
    return await call.services.threads.unfollow(call.caller, call.id())
