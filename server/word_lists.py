"""Word lists of a tenant, for administrators."""

import re
from typing import Any

from realtime.schema.bodies import PutWordList
from realtime.schema.shapes import WordListDocument
from server.call import Call, Listed, Succeeded
from storage.errors import Invalid

NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")


def name_of(call: Call[Any, Any]) -> str:
    """Raises Invalid."""
    name = call.request.match_info["name"]
    if not NAME.fullmatch(name):
        raise Invalid.field("name", "must have 1 to 64 of A-Z a-z 0-9 . _ -")
    return name


async def list_all(call: Call) -> Listed[WordListDocument]:
    return {"items": await call.services.word_lists.of_tenant(call.caller)}


async def get(call: Call) -> WordListDocument:
    return await call.services.word_lists.get(call.caller, name_of(call))


async def put(call: Call[PutWordList]) -> WordListDocument:
    return await call.services.word_lists.put(call.caller, name_of(call), call.body.action, call.body.words)


async def remove(call: Call) -> Succeeded:
    await call.services.word_lists.remove(call.caller, name_of(call))
    return {"success": True}
