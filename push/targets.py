"""What a push goes to: a device, what it shows of a stream, or a push channel. What it says, what an answer means.

What is to be kept of an answer is written before the delivery is settled; a crash in between sends the push again, under the
same ids, and finds it settled.
"""

from collections.abc import Collection
from dataclasses import dataclass

from push import notes
from push.notes import LiveNote, Note
from push.provider import Address, Push, PushResult
from storage import activities, devices, push_channels
from storage.contexts import LiveContext, PushContext
from storage.outbox import Delivery
from storage.push_channels import PushChannel
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
    # Whether the registration of another token promises a push of its own.
    promised_with_token = False
    delivery: Delivery
    address: Address

    @property
    def expires_at(self) -> int:
        """When the push makes no sense any more, in microseconds."""
        return self.delivery.deadline_at

    def push(self, policy: Policy, at: int) -> Push:
        """The push of a moment, in microseconds."""
        return Push(self.address, self.note(policy, at), self.delivery.push_id, self.expires_at // SECOND)

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
    """An iPhone that gets a push to start a Live Activity."""

    def __init__(self, context: LiveContext, device: devices.Device) -> None:
        self.context = context
        self.delivery = context.delivery
        self.device = device
        self.address = address_of(device, device.push_to_start_token or "")

    @property
    def expires_at(self) -> int:
        return start_expires_at(self.context)

    def note(self, policy: Policy, at: int) -> LiveNote:
        return notes.start_note(self.context, at=at, stale=policy.stale)

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
        self.tracked = self.promised_with_token = context.delivery.kind == "live_end"

    def note(self, policy: Policy, at: int) -> LiveNote:
        if not self.tracked:
            return notes.update_note(self.context, stale=policy.stale)
        return notes.end_note(self.context, dismiss=dismissal_of(self.context, policy))

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


class OngoingTarget(Target):
    """A device that shows a stream, or is to show it, without a token for that. ``activity`` is None at the start."""

    def __init__(self, context: LiveContext, device: devices.Device) -> None:
        self.context = context
        self.delivery = context.delivery
        self.device = device
        self.activity = context.activity
        self.address = address_of(device, device.push_token)
        self.tracked = context.delivery.kind == "live_end"

    @property
    def expires_at(self) -> int:
        return start_expires_at(self.context) if self.delivery.kind == "live_start" else self.delivery.deadline_at

    def note(self, policy: Policy, at: int) -> LiveNote:
        if self.delivery.kind == "live_start":
            return notes.start_note(self.context, at=at, stale=policy.stale)
        if self.delivery.kind == "live_update":
            return notes.update_note(self.context, stale=policy.stale)
        dismiss = dismissal_of(self.context, policy)
        if self.context.stream.status == "cancelled":
            return notes.cancelled_note(self.context, at=at, dismiss=dismiss)
        return notes.end_note(self.context, dismiss=dismiss)

    def delivered(self, tx: Tx) -> bool:
        return self._settle(tx, "ended")

    def reads(self) -> Collection[Read]:
        of_activity = activities.reads_of_settle(self.activity.pk) if self.activity else []
        return [*devices.reads_of_drop(self.device.pk), *of_activity]

    def token_dead(self, tx: Tx, result: PushResult) -> bool:
        """With its app all that it shows is gone."""
        dropped = devices.drop_token(tx, self.device.pk, self.address.token, result.dead_at)
        return dropped and (self.activity is None or self._settle(tx, "dead"))

    def failed(self, tx: Tx) -> None:
        """The next moment tries again."""
        self._settle(tx, "active")

    def _settle(self, tx: Tx, state: str) -> bool:
        assert self.activity is not None
        return activities.settle(tx, self.activity.pk, self.activity.token, state)


class ChannelTarget(Target):
    """All iPhones that listen to a channel. Of its end it must be known that it was accepted."""

    def __init__(self, context: LiveContext, channel: PushChannel) -> None:
        self.context = context
        self.delivery = context.delivery
        self.channel = channel
        self.address = Address(
            token=channel.channel_id or "",
            app=channel.bundle_id,
            environment=channel.environment,
            registered_at=channel.created_at,
        )
        self.tracked = context.delivery.kind == "channel_end"

    @property
    def expires_at(self) -> int:
        """An end is kept for phones that are off as long as Apple keeps it."""
        kept = self.delivery.created_at + push_channels.KEPT_MICROSECONDS
        return max(kept, self.delivery.deadline_at) if self.tracked else self.delivery.deadline_at

    def note(self, policy: Policy, at: int) -> LiveNote:
        if not self.tracked:
            return notes.update_note(self.context, stale=policy.stale)
        return notes.end_note(self.context, dismiss=dismissal_of(self.context, policy))

    def delivered(self, tx: Tx) -> bool:
        push_channels.end_accepted(tx, self.channel)
        return True

    def token_dead(self, tx: Tx, result: PushResult) -> bool:
        push_channels.fail(tx, self.channel)
        return True

    def failed(self, tx: Tx) -> None:
        push_channels.end_failed(tx, self.channel)


def start_expires_at(context: LiveContext) -> int:
    """Once the stream has begun there is nothing to start, in microseconds."""
    return min(context.delivery.deadline_at, context.stream.starts_at)


def dismissal_of(context: LiveContext, policy: Policy) -> float:
    """Seconds after which an end leaves the screen."""
    return policy.dismiss_over if context.stream.status in ("cancelled", "expired") else policy.dismiss_begun


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
    if context.device is None and context.activity is not None:
        return ActivityTarget(context, context.activity)
    if context.device is None:
        assert context.channel is not None
        return ChannelTarget(context, context.channel)
    start = StartTarget if context.device.platform == devices.APPLE else OngoingTarget
    return start(context, context.device)
