"""Chats and their members over REST."""

from typing import Any

from realtime import documents
from realtime.fields import Text
from server.call import Call, Created, Paging, page, read_cursor, write_cursor


async def create(call: Call) -> Any:
    document, new = await call.services.chats.create(call.caller, call.body)
    return Created(document) if new else document


async def list_mine(call: Call) -> Any:
    limit = call.query.limit
    before = read_cursor(call.query.cursor, 2)
    found = await call.services.chats.of_user(call.caller, before=before, limit=limit + 1)  # type: ignore[arg-type]
    shown = found[:limit]
    cursor = write_cursor(*shown[-1][1:]) if len(found) > limit else None
    return page([document for document, _, _ in shown], cursor)


class Search(Paging):
    """An id, or a part of the name."""

    query: Text


async def search(call: Call) -> Any:
    limit = call.query.limit
    (before,) = read_cursor(call.query.cursor, 1) or (None,)
    found = await call.services.chats.search(call.caller, call.query.query, before=before, limit=limit + 1)
    cursor = write_cursor(found[limit - 1].pk) if len(found) > limit else None
    return page([documents.chat_facts(each) for each in found[:limit]], cursor)


async def get(call: Call) -> Any:
    return await call.services.chats.get(call.caller, call.id())


async def change(call: Call) -> Any:
    return await call.services.chats.change(call.caller, call.id(), call.body)


async def delete(call: Call) -> Any:
    return await call.services.chats.delete(call.caller, call.id())


async def members(call: Call) -> Any:
    limit = call.query.limit
    (after,) = read_cursor(call.query.cursor, 1) or (0,)
    found = await call.services.chats.members(call.caller, call.id(), after=after, limit=limit + 1)
    shown = found[:limit]
    cursor = write_cursor(shown[-1].user_pk) if len(found) > limit else None
    return page([documents.member(each) for each in shown], cursor)


async def add_members(call: Call) -> Any:
    document, new = await call.services.chats.add_members(call.caller, call.id(), call.body.userIds, call.body.role)
    return Created(document) if new else document


async def change_member(call: Call) -> Any:
    return await call.services.chats.set_role(call.caller, call.id(), call.id("userId"), call.body.role)


async def remove_member(call: Call) -> Any:
    return await call.services.chats.remove_member(call.caller, call.id(), call.id("userId"))


async def leave(call: Call) -> Any:
    await call.services.chats.leave(call.caller, call.id())
    return {"success": True}


async def mute(call: Call) -> Any:
    return await call.services.chats.mute(call.caller, call.id(), call.body.until)
