"""The nodes, for the monitor: each writes its figures every few seconds; those of the one that is asked are of now."""

import asyncio
from functools import partial
from typing import Annotated, Any

from pydantic import Field

from realtime.cluster.nodes import here_now
from realtime.schema import documents
from realtime.schema.bodies import Body
from realtime.schema.shapes import FiguresDocument, NodeDocument
from server.call import Call, NoBody, Page, page
from server.figure_history import KEPT_SECONDS
from server.metrics import figures
from server.services import Services
from storage.accounts import PLATFORM
from storage.nodes import Seen
from storage.types import now


class HistoryRange(Body):
    """How far back."""

    seconds: Annotated[int, Field(ge=60, le=KEPT_SECONDS)] = 900


async def list_all(call: Call) -> Page[NodeDocument]:
    require_platform(call)
    return page([documents.node(each) for each in await nodes_of(call.services)], None)


async def history(call: Call[NoBody, HistoryRange]) -> Page[FiguresDocument]:
    require_platform(call)
    series = partial(call.services.figure_history.series, seconds=call.query.seconds, at=now())
    found = await asyncio.to_thread(series)
    return page([documents.figures(each.id, each.place, each.times, each.figures) for each in found], None)


def require_platform(call: Call[Any, Any]) -> None:
    """The figures are of all tenants together."""
    if call.caller.user.tenant_pk != call.services.accounts.default_tenant.pk:
        call.caller.require(PLATFORM)


async def nodes_of(services: Services) -> list[Seen]:
    """This node, as it is now, and the others, as they were at their last heartbeat."""
    mine = Seen(services.cluster.node, here_now(), services.started_at, now(), figures(services))
    others = await services.cluster.nodes.seen() if services.cluster.nodes else []
    return [mine, *(each for each in others if each.id != mine.id)]
