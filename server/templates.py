"""Templates of notifications over REST."""

from operator import itemgetter
from typing import Any

from realtime.schema.fields import TEMPLATE_KEY
from server.call import Call, Created, paged
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
    find = call.services.templates.page
    return await paged(
        call, lambda after, limit: find(call.caller, after=after or 0, limit=limit), itemgetter(1), itemgetter(0)
    )


async def get(call: Call) -> Any:
    return await call.services.templates.get(call.caller, key(call))


async def change(call: Call) -> Any:
    return await call.services.templates.change(call.caller, key(call), call.body)


async def remove(call: Call) -> Any:
    return await call.services.templates.remove(call.caller, key(call))


async def preview(call: Call) -> Any:
    return await call.services.templates.preview(call.caller, key(call), call.body)
