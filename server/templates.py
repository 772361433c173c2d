"""Templates of notifications over REST."""

from operator import itemgetter
from typing import Any

from realtime.schema.bodies import ChangeTemplate, CreateTemplate, PreviewTemplate
from realtime.schema.fields import TEMPLATE_KEY
from realtime.schema.shapes import PreviewDocument, TemplateDocument
from server.call import Answer, Call, Created, NoBody, Page, Paging, paged
from storage.errors import NotFound


def key(call: Call[Any, Any]) -> str:
    """Raises NotFound for what can't be one."""
    value = call.request.match_info["key"]
    if not TEMPLATE_KEY.fullmatch(value):
        raise NotFound
    return value


async def create(call: Call[CreateTemplate]) -> Answer[TemplateDocument]:
    return Created(await call.services.templates.add(call.caller, call.body))


async def list_all(call: Call[NoBody, Paging]) -> Page[TemplateDocument]:
    find = call.services.templates.page
    return await paged(
        call, lambda after, limit: find(call.caller, after=after or 0, limit=limit), itemgetter(1), itemgetter(0)
    )


async def get(call: Call) -> TemplateDocument:
    return await call.services.templates.get(call.caller, key(call))


async def change(call: Call[ChangeTemplate]) -> TemplateDocument:
    return await call.services.templates.change(call.caller, key(call), call.body)


async def remove(call: Call) -> TemplateDocument:
    return await call.services.templates.remove(call.caller, key(call))


async def preview(call: Call[PreviewTemplate]) -> PreviewDocument:
    return await call.services.templates.preview(call.caller, key(call), call.body)
