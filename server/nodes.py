"""The nodes, for the monitor: each writes its figures every few seconds; those of the one that is asked are of now."""

from realtime.cluster.nodes import here_now
from realtime.schema import documents
from realtime.schema.shapes import NodeDocument
from server.call import Call, Page, page
from server.metrics import figures
from storage.accounts import PLATFORM
from storage.nodes import Seen
from storage.types import now


async def list_all(call: Call) -> Page[NodeDocument]:
    services = call.services
    if call.caller.user.tenant_pk != services.accounts.default_tenant.pk:
        # The figures are of all tenants together.
        call.caller.require(PLATFORM)
    mine = Seen(services.cluster.node, here_now(), services.started_at, now(), figures(services))
    others = await services.cluster.nodes.seen() if services.cluster.nodes else []
    return page([documents.node(each) for each in (mine, *(each for each in others if each.id != mine.id))], None)
