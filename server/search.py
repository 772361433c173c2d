"""Searching messages over REST."""

from typing import Annotated, Literal

from pydantic import Field

from realtime.schema.fields import HexId, Moment, Text, microseconds
from realtime.schema.message_shapes import SearchDocument
from realtime.search import SearchFilter, SearchPlace
from server.call import Call, NoBody, Paging, read_cursor, write_cursor


class SearchQuery(Paging):
    """Words that must all match, the last one also as a beginning, and phrases in quotes.

    Without ``chatId``, all chats of the user are searched.
    """

    query: Text
    chatId: HexId | None = None
    from_: Annotated[HexId | None, Field(alias="from", description="The id of the sender")] = None
    type: Literal["text", "media", "creditTransfer"] | None = None
    since: Moment | None = None
    until: Moment | None = None
    limit: Annotated[int, Field(ge=1, le=50)] = 50


async def find(call: Call[NoBody, SearchQuery]) -> SearchDocument:
    query = call.query
    place = read_cursor(query.cursor, 4)
    page = await call.services.search.find(
        call.caller,
        query.query,
        chat_id=query.chatId,
        wanted=SearchFilter(query.from_, query.type, microseconds(query.since), microseconds(query.until)),
        place=None if place is None else SearchPlace(*place),
        limit=query.limit,
    )
    cursor = None if page.following is None else write_cursor(*page.following)
    return {"items": page.items, "nextCursor": cursor, "complete": page.is_complete}
