"""Credits over REST."""

from operator import attrgetter
from typing import Any

from realtime.schema import documents
from server.call import Call, Created, paged


async def balance(call: Call) -> Any:
    return {"balance": await call.services.credits.balance(call.caller)}


async def transactions(call: Call) -> Any:
    find = call.services.credits.history
    return await paged(
        call,
        lambda before, limit: find(call.caller, before=before, limit=limit),
        documents.entry,
        attrgetter("transaction_pk"),
    )


async def grant(call: Call) -> Any:
    return Created({"balance": await call.services.credits.grant(call.caller, call.body)})


async def reverse(call: Call) -> Any:
    return Created({"transactionId": await call.services.credits.reverse(call.caller, call.id())})
