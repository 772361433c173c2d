"""Reports of messages, for administrators."""

from operator import itemgetter

from realtime.schema.bodies import ResolveReport
from realtime.schema.fields import microseconds
from realtime.schema.shapes import ReportDocument, ReportWithContext
from server.call import Call, NoBody, Page, Paging, paged
from storage.reports import State


class ReportQuery(Paging):
    state: State | None = None


async def list_all(call: Call[NoBody, ReportQuery]) -> Page[ReportDocument]:
    find, state = call.services.reports.of_tenant, call.query.state
    return await paged(
        call,
        lambda before, limit: find(call.caller, state=state, before=before, limit=limit),
        lambda each: each,
        itemgetter("id"),
    )


async def get(call: Call) -> ReportWithContext:
    return await call.services.reports.get(call.caller, call.number())


async def resolve(call: Call[ResolveReport]) -> ReportDocument:
    body = call.body
    until = microseconds(body.until)
    return await call.services.reports.resolve(call.caller, call.number(), body.state, body.action, until)
