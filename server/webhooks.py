"""Webhooks over REST."""

from typing import Any

from realtime.schema import documents
from server.call import Call, Created, paged


async def create(call: Call) -> Any:
    """The secret is shown this once."""
    made = await call.services.webhooks.create(call.caller, call.body)
    return Created({**documents.webhook(made), "secret": made.secret})


async def list_all(call: Call) -> Any:
    find = call.services.webhooks.page
    return await paged(call, lambda before, limit: find(call.caller, before=before, limit=limit), documents.webhook)


async def change(call: Call) -> Any:
    return documents.webhook(await call.services.webhooks.change(call.caller, call.id(), call.body))


async def remove(call: Call) -> Any:
    await call.services.webhooks.remove(call.caller, call.id())
    return {"success": True}


async def calls(call: Call) -> Any:
    find, id = call.services.webhooks.calls, call.id()
    return await paged(
        call, lambda before, limit: find(call.caller, id, before=before, limit=limit), documents.webhook_call
    )


async def retry(call: Call) -> Any:
    await call.services.webhooks.retry(call.caller, call.id(), call.number())
    return {"success": True}
