"""What a push goes to: a device, a Live Activity, or a phone that shall start one. What it says, what an answer means.

What is to be kept of an answer is written before the delivery is settled; a crash in between sends the push again, under the
same ids, and finds it settled.
"""

from collections.abc import Collection
from dataclasses import dataclass

from push import notes
from push.notes import LiveNote, Note
from push.provider import Address, Push, PushResult
from storage import activities, devices
from storage.contexts import LiveContext, PushContext
from storage.outbox import Delivery
from storage.statements import Read
from storage.transaction import Tx
from storage.types import SECOND


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """How pushes are sent: ``in_flight`` at most at once, expired after ``ttl``.

    Without ``content`` a push does not show the text; with ``reached_too`` devices of users who were reached are pushed as
    well. A Live Activity goes from the lock screen ``dismiss_over`` after its stream was cancelled or expired, and
    ``dismiss_begun`` after it was ready or begun; its picture is stale ``stale`` after the planned start; ``live_starts`` are
    started on a device in an hour. Failed pushes are retried after ``retry_base``, then twice as long each time up to
    ``retry_most``; ``slow_down`` takes the place of ``retry_base`` where the gateway asks for fewer pushes. Times in seconds.
    """

    in_flight: int
    content: bool
    reached_too: bool
    ttl: float
    live_ttl: float
    live_starts: int
    dismiss_over: float
    dismiss_begun: float
    stale: float
    retry_base: float
    retry_most: float
    slow_down: float


class Target:
    """Where a push goes.

    ``tracked`` says that what becomes of the push must be recorded: ``delivered`` and ``failed`` are called of it.
    """

    tracked = False
    delivery: Delivery
    address: Address

    def push(self, policy: Policy, at: int) -> Push:
        """The push of a moment, in microseconds."""
        delivery = self.delivery
        return Push(self.address, self.note(policy, at), delivery.push_id, delivery.deadline_at // SECOND)

    def note(self, policy: Policy, at: int) -> Note | LiveNote:
        raise NotImplementedError

    def delivered(self, tx: Tx) -> bool:
        """The push of a tracked target was accepted; False if the token is another by now."""
        raise NotImplementedError

    def reads(self) -> Collection[Read]:
        """The queries of ``delivered``, ``token_dead`` and ``failed``."""
        return ()

    def token_dead(self, tx: Tx, result: PushResult) -> bool:
        """Nothing can be pushed under this token any more; False if there is another by now."""
        raise NotImplementedError

    def failed(self, tx: Tx) -> None:
        """The push of a tracked target is a dead letter."""
        raise NotImplementedError


class DeviceTarget(Target):
    def __init__(self, context: PushContext) -> None:
        self.context = context
        self.delivery = context.delivery
        self.device = context.device
        self.address = address_of(context.device, context.device.push_token)

    def note(self, policy: Policy, at: int) -> Note:
        return notes.note_of(self.context, at=at, content=policy.content)

    def token_dead(self, tx: Tx, result: PushResult) -> bool:
        return devices.drop_token(tx, self.device.pk, self.address.token, result.dead_at)

    def reads(self) -> Collection[Read]:
        return devices.reads_of_drop(self.device.pk)


class StartTarget(Target):
    """A device that gets a push to start a Live Activity."""

    def __init__(self, context: LiveContext, device: devices.Device) -> None:
        self.context = context
        self.delivery = context.delivery
        self.device = device
        self.address = address_of(device, device.push_to_start_token or "")

    def note(self, policy: Policy, at: int) -> LiveNote:
        return notes.start_note(self.context, stale=policy.stale)

    def token_dead(self, tx: Tx, result: PushResult) -> bool:
        devices.drop_start_token(tx, self.device.pk, self.address.token)
        return True


class ActivityTarget(Target):
    """A running activity. Of its end it must be known that it came."""

    def __init__(self, context: LiveContext, activity: activities.Activity) -> None:
        self.context = context
        self.delivery = context.delivery
        self.activity = activity
        self.address = Address(
            token=activity.token,
            app=activity.bundle_id,
            environment=activity.environment,
            registered_at=activity.registered_at,
        )
        self.tracked = context.delivery.kind == "live_end"

    def note(self, policy: Policy, at: int) -> LiveNote:
        if not self.tracked:
            return notes.update_note(self.context, stale=policy.stale)
        over = self.context.stream.status in ("cancelled", "expired")
        return notes.end_note(self.context, dismiss=policy.dismiss_over if over else policy.dismiss_begun)

    def delivered(self, tx: Tx) -> bool:
        return activities.settle(tx, self.activity.pk, self.address.token, "ended")

    def reads(self) -> Collection[Read]:
        return activities.reads_of_settle(self.activity.pk)

    def token_dead(self, tx: Tx, result: PushResult) -> bool:
        """Gone already, which is what was wanted; under a bad token nothing can be known."""
        state = "ended" if result.status == 410 else "dead"
        return activities.settle(tx, self.activity.pk, self.address.token, state)

    def failed(self, tx: Tx) -> None:
        """The next moment tries again."""
        activities.settle(tx, self.activity.pk, self.address.token, "active")


def address_of(device: devices.Device, token: str) -> Address:
    return Address(
        token=token,
        app=device.bundle_id,
        environment=device.environment,
        registered_at=device.registered_at,
        kind=device.token_kind,
        quiet="quiet" in device.features.split(),
        p256dh=device.p256dh or "",
        auth=device.auth or "",
    )


def target_of(context: PushContext | LiveContext) -> Target:
    if isinstance(context, PushContext):
        return DeviceTarget(context)
    if context.activity is not None:
        return ActivityTarget(context, context.activity)
    assert context.device is not None
    return StartTarget(context, context.device)
