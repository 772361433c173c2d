"""Credits over REST."""

from typing import Any

from realtime import documents
from server.call import Call, Created, page, read_cursor, write_cursor


async def balance(call: Call) -> Any:
    return {"balance": await call.services.credits.balance(call.caller)}


async def transactions(call: Call) -> Any:
    limit = call.query.limit
    (before,) = read_cursor(call.query.cursor, 1) or (None,)
    found = await call.services.credits.history(call.caller, before=before, limit=limit + 1)
    cursor = write_cursor(found[limit - 1].transaction_pk) if len(found) > limit else None
    return page([documents.entry(each) for each in found[:limit]], cursor)


async def grant(call: Call) -> Any:
    return Created({"balance": await call.services.credits.grant(call.caller, call.body)})


async def reverse(call: Call) -> Any:
    return Created({"transactionId": await call.services.credits.reverse(call.caller, call.id())})
