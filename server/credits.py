"""Credits over REST."""

from operator import attrgetter

from typing_extensions import TypedDict

from realtime.schema import documents
from realtime.schema.bodies import Grant
from realtime.schema.shapes import BalanceDocument, CreditDocument
from server.call import Answer, Call, Created, NoBody, Page, Paging, paged


class Reversal(TypedDict):
    transactionId: str


async def balance(call: Call) -> BalanceDocument:
    return {"balance": await call.services.credits.balance(call.caller)}


async def transactions(call: Call[NoBody, Paging]) -> Page[CreditDocument]:
    find = call.services.credits.history
    return await paged(
        call,
        lambda before, limit: find(call.caller, before=before, limit=limit),
        documents.entry,
        attrgetter("transaction_pk"),
    )


async def grant(call: Call[Grant]) -> Answer[BalanceDocument]:
    return Created({"balance": await call.services.credits.grant(call.caller, call.body)})


async def reverse(call: Call) -> Answer[Reversal]:
    return Created({"transactionId": await call.services.credits.reverse(call.caller, call.id())})
