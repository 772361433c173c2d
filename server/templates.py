"""Templates of notifications over REST."""

from typing import Any

from realtime.fields import TEMPLATE_KEY
from server.call import Call, Created, page, read_cursor, write_cursor
from storage.errors import NotFound


def key(call: Call) -> str:
    """Raises NotFound for what can't be one."""
    value = call.request.match_info["key"]
    if not TEMPLATE_KEY.fullmatch(value):
        raise NotFound
    return value


async def create(call: Call) -> Any:
    return Created(await call.services.templates.add(call.caller, call.body))


async def list_all(call: Call) -> Any:
    limit = call.query.limit
    (after,) = read_cursor(call.query.cursor, 1) or (0,)
    found = await call.services.templates.page(call.caller, after=after, limit=limit + 1)
    cursor = write_cursor(found[limit - 1][0]) if len(found) > limit else None
    return page([document for _, document in found[:limit]], cursor)


async def get(call: Call) -> Any:
    return await call.services.templates.get(call.caller, key(call))


async def change(call: Call) -> Any:
    return await call.services.templates.change(call.caller, key(call), call.body)


async def remove(call: Call) -> Any:
    return await call.services.templates.remove(call.caller, key(call))


async def preview(call: Call) -> Any:
    return await call.services.templates.preview(call.caller, key(call), call.body)
