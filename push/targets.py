"""What a push goes to: a device, a Live Activity, or a phone that shall start one. How it is asked, what an answer means.

What is to be kept of an answer is written before the delivery is settled; a crash in between sends the push again, under the
same ids, and finds it settled.
"""

from collections.abc import Collection
from dataclasses import dataclass

from push import payloads
from push.gateway import PushRequest, PushResult
from storage import activities, devices
from storage.contexts import LiveContext, PushContext
from storage.statements import Read
from storage.transaction import Tx
from storage.types import SECOND


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """How pushes are sent: ``in_flight`` at most at once, expired after ``ttl``; ``topic`` if a device names no bundle.

    Without ``content`` a push does not show the text; with ``reached_too`` devices of users who were reached are pushed as
    well. A Live Activity goes from the lock screen ``dismiss_over`` after its stream was cancelled or expired, and
    ``dismiss_begun`` after it was ready or begun; its picture is stale ``stale`` after the planned start; ``live_starts`` are
    started on a device in an hour. Failed pushes are retried after ``retry_base``, then twice as long each time up to
    ``retry_most``; ``slow_down`` takes the place of ``retry_base`` where the gateway asks for fewer pushes. Times in seconds.
    """

    topic: str
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
    """Where a push goes. ``registered_at`` is since when the token is known, in microseconds.

    ``tracked`` says that what becomes of the push must be recorded: ``delivered`` and ``failed`` are called of it.
    """

    tracked = False
    token: str
    registered_at: int

    def request(self, policy: Policy, at: int) -> PushRequest:
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
        self.token = context.device.push_token
        self.registered_at = context.device.registered_at

    def request(self, policy: Policy, at: int) -> PushRequest:
        context, device = self.context, self.context.device
        return PushRequest(
            token=self.token,
            topic=device.bundle_id or policy.topic,
            push_type="alert",
            payload=payloads.alert(context, at=at, content=policy.content),
            environment=device.environment,
            push_id=context.delivery.push_id,
            priority=5 if context.about is None else 10,
            collapse_id=payloads.collapse_id(context),
            expires_at=context.delivery.deadline_at // SECOND,
        )

    def token_dead(self, tx: Tx, result: PushResult) -> bool:
        return devices.drop_token(tx, self.context.device.pk, self.token, result.dead_at)

    def reads(self) -> Collection[Read]:
        return devices.reads_of_drop(self.context.device.pk)


class StartTarget(Target):
    """A device that gets a push to start a Live Activity."""

    def __init__(self, context: LiveContext, device: devices.Device) -> None:
        self.context = context
        self.device = device
        self.token = device.push_to_start_token or ""
        self.registered_at = device.registered_at

    def request(self, policy: Policy, at: int) -> PushRequest:
        topic, environment = self.device.bundle_id or policy.topic, self.device.environment
        return live_request(
            self.context, self.token, topic, environment, payloads.start(self.context, stale=policy.stale)
        )

    def token_dead(self, tx: Tx, result: PushResult) -> bool:
        devices.drop_start_token(tx, self.device.pk, self.token)
        return True


class ActivityTarget(Target):
    """A running activity. Of its end it must be known that it came."""

    def __init__(self, context: LiveContext, activity: activities.Activity) -> None:
        self.context = context
        self.activity = activity
        self.token = activity.token
        self.registered_at = activity.registered_at
        self.tracked = context.delivery.kind == "live_end"

    def request(self, policy: Policy, at: int) -> PushRequest:
        if self.tracked:
            over = self.context.stream.status in ("cancelled", "expired")
            payload = payloads.end(self.context, dismiss=policy.dismiss_over if over else policy.dismiss_begun)
        else:
            payload = payloads.update(self.context, stale=policy.stale)
        topic = self.activity.bundle_id or policy.topic
        return live_request(self.context, self.token, topic, self.activity.environment, payload)

    def delivered(self, tx: Tx) -> bool:
        return activities.settle(tx, self.activity.pk, self.token, "ended")

    def reads(self) -> Collection[Read]:
        return activities.reads_of_settle(self.activity.pk)

    def token_dead(self, tx: Tx, result: PushResult) -> bool:
        """Gone already, which is what was wanted; under a bad token nothing can be known."""
        state = "ended" if result.status == 410 else "dead"
        return activities.settle(tx, self.activity.pk, self.token, state)

    def failed(self, tx: Tx) -> None:
        """The next moment tries again."""
        activities.settle(tx, self.activity.pk, self.token, "active")


def live_request(
    context: LiveContext, token: str, bundle: str, environment: str, payload: dict[str, object]
) -> PushRequest:
    """Without a collapse id: the stamps say which push is the newest."""
    return PushRequest(
        token=token,
        topic=f"{bundle}.push-type.liveactivity",
        push_type="liveactivity",
        payload=payload,
        environment=environment,
        push_id=context.delivery.push_id,
        priority=10,
        expires_at=context.delivery.deadline_at // SECOND,
    )


def target_of(context: PushContext | LiveContext) -> Target:
    if isinstance(context, PushContext):
        return DeviceTarget(context)
    if context.activity is not None:
        return ActivityTarget(context, context.activity)
    assert context.device is not None
    return StartTarget(context, context.device)
