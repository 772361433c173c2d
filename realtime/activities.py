"""Live Activities: the tokens under which an activity on a lock screen is updated and ended."""

from typing import NamedTuple

from realtime.schema.bodies import RegisterActivity
from realtime.schema.caller import Caller
from realtime.schema.limits import Limits
from realtime.streams import existing, refuse_blocked
from storage import activities, devices, outbox, streams
from storage.activities import Activity
from storage.database import Database
from storage.errors import Conflict, Problem
from storage.streams import Stream
from storage.transaction import Command, Tx


class Bundle(NamedTuple):
    """Of activities on devices that are not registered."""

    topic: str = ""
    environment: str = "production"


class Activities:
    """``bundle`` is of devices that are not registered."""

    def __init__(self, database: Database, limits: Limits, bundle: Bundle) -> None:
        self.database = database
        self.limits = limits
        self.bundle = bundle

    async def register(self, caller: Caller, body: RegisterActivity) -> None:
        """Keep the token of an activity. The newest wins; one that comes too late gets the end all the same.

        Raises NotFound, Forbidden if the stream's owner blocks the caller, Conflict for a stream that is not scheduled
        any more, and for an activity of another user or stream.
        """
        found = await self.database.read(lambda connection: existing(connection, caller, body.streamId))

        def apply(tx: Tx) -> Problem | None:
            caller.fresh(tx)
            stream = streams.get(tx.connection(), found.pk)
            refuse_blocked(tx.connection(), caller, stream)
            known = activities.find(tx.connection(), stream.tenant_pk, body.deviceId, body.activityId)
            late = stream.status != "scheduled"
            pk, new = self._keep(tx, caller, stream, body, known, late=late)
            if late and (new or (known and known.state == "active")):
                outbox.promise_live(tx, "live_end", stream.pk, stream.head, only=pk)
            elif new and not late and stream.head:
                # It was changed since, and may not look as it did when it was started.
                outbox.promise_live(tx, "live_update", stream.pk, stream.head, only=pk)
            return Conflict(f"The stream is {stream.status}") if late else None

        command = Command(apply, channels=[found.pk], keys=[f"activity:{body.deviceId}:{body.activityId}"])
        problem = await self.database.write(command)
        if problem:
            raise problem

    def _keep(
        self, tx: Tx, caller: Caller, stream: Stream, body: RegisterActivity, known: Activity | None, *, late: bool
    ) -> tuple[int, bool]:
        """The activity's number, and whether there is something new to be pushed under its token. Raises Conflict."""
        device = devices.find(tx.connection(), caller.pk, body.deviceId)
        values = {
            "token": body.liveActivityToken,
            "environment": device.environment if device else self.bundle.environment,
            "bundle_id": device.bundle_id if device and device.bundle_id else self.bundle.topic,
        }
        if known is None:
            if activities.alive(tx.connection(), caller.pk) >= self.limits.activities:
                raise Conflict(
                    f"A user can have at most {self.limits.activities} Live Activities", code="limit_reached"
                )
            own = {"tenant_pk": stream.tenant_pk, "stream_pk": stream.pk, "user_pk": caller.pk}
            return activities.add(
                tx, {**own, "device_id": body.deviceId, "activity_id": body.activityId, **values}
            ), True
        if known.user_pk != caller.pk or known.stream_pk != stream.pk:
            raise Conflict("The activity belongs to another user or stream")
        if tx.now > known.created_at + activities.LIFE_MICROSECONDS:
            raise Conflict("The activity has expired")
        differs = any(getattr(known, name) != value for name, value in values.items())
        revived = known.state == "dead" or (known.state == "ended" and not late)
        if differs or revived:
            activities.rotate(tx, known.pk, **values)
        return known.pk, differs or revived

    async def expire(self) -> None:
        """Activities that iOS has removed by now."""
        await self.database.write(Command(activities.expire))
