"""Reports of messages to the tenant's admins."""

from realtime.message_change import change_message
from realtime.message_places import MessagePlaces
from realtime.schema import shapes
from realtime.schema.caller import Caller
from storage import reports
from storage.access import Access
from storage.errors import Conflict
from storage.messages import MessagePlace
from storage.transaction import Tx
from storage.types import iso_time


class Reports:
    def __init__(self, places: MessagePlaces) -> None:
        self.places = places

    async def add(self, caller: Caller, message_id: str, reason: str) -> None:
        """For the tenant's admins. Raises NotFound, Conflict for a second report of the same message."""

        def change(tx: Tx, place: MessagePlace, access: Access) -> None:
            tenant_pk = caller.user.tenant_pk
            if not reports.add(tx, tenant_pk=tenant_pk, reporter_pk=caller.pk, message_id=message_id, reason=reason):
                raise Conflict("You have already reported this message")

        await change_message(self.places, caller, message_id, change)

    async def of_tenant(self, caller: Caller, *, before: int | None, limit: int) -> list[shapes.ReportDocument]:
        """The tenant's reports, newest first."""
        caller.require("admin")
        rows = await self.places.database.read(
            lambda connection: reports.of_tenant(connection, caller.user.tenant_pk, before=before, limit=limit)
        )
        return [
            {"id": pk, "messageId": message_id, "reporterId": by, "reason": reason, "createdAt": iso_time(at)}
            for pk, message_id, reason, at, by in rows
        ]
