"""Webhooks over REST."""

from realtime.schema import documents
from realtime.schema.bodies import ChangeWebhook, CreateWebhook
from realtime.schema.shapes import NewWebhookDocument, WebhookCallDocument, WebhookDocument
from server.call import Answer, Call, Created, NoBody, Page, Paging, Succeeded, paged


async def create(call: Call[CreateWebhook]) -> Answer[NewWebhookDocument]:
    """The secret is shown this once."""
    made = await call.services.webhooks.create(call.caller, call.body)
    return Created({**documents.webhook(made), "secret": made.secret})


async def list_all(call: Call[NoBody, Paging]) -> Page[WebhookDocument]:
    find = call.services.webhooks.page
    return await paged(call, lambda before, limit: find(call.caller, before=before, limit=limit), documents.webhook)


async def change(call: Call[ChangeWebhook]) -> WebhookDocument:
    return documents.webhook(await call.services.webhooks.change(call.caller, call.id(), call.body))


async def remove(call: Call) -> Succeeded:
    await call.services.webhooks.remove(call.caller, call.id())
    return {"success": True}


async def calls(call: Call[NoBody, Paging]) -> Page[WebhookCallDocument]:
    find, id = call.services.webhooks.calls, call.id()
    return await paged(
        call, lambda before, limit: find(call.caller, id, before=before, limit=limit), documents.webhook_call
    )


async def retry(call: Call) -> Succeeded:
    await call.services.webhooks.retry(call.caller, call.id(), call.number())
    return {"success": True}
