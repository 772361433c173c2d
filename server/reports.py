"""Reports of messages, for administrators."""

from typing import Literal

from realtime.schema.bodies import ResolveReport
from realtime.schema.fields import microseconds
from realtime.schema.shapes import ReportDocument, ReportWithContext
from server.call import Call, NoBody, Page, Paging, page, read_cursor, write_cursor


class ReportQuery(Paging):
    state: Literal["open", "actioned", "dismissed"] | None = None


async def list_all(call: Call[NoBody, ReportQuery]) -> Page[ReportDocument]:
    limit, place = call.query.limit, read_cursor(call.query.cursor, 1)
    found = await call.services.reports.of_tenant(
        call.caller, state=call.query.state, before=place[0] if place else None, limit=limit + 1
    )
    shown = found[:limit]
    return page(shown, write_cursor(shown[-1]["id"]) if len(found) > limit else None)


async def get(call: Call) -> ReportWithContext:
    return await call.services.reports.get(call.caller, call.number())


async def resolve(call: Call[ResolveReport]) -> ReportDocument:
    body = call.body
    until = microseconds(body.until)
    return await call.services.reports.resolve(call.caller, call.number(), body.state, body.action, until)
