"""What a push goes to: how it is asked, and what an answer means for the token it went to."""

from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import select, update

from push.doubles.apns import Apple
from push.doubles.apple_connection import ApnsFault
from push.notes import Note
from push.targets import ActivityTarget, DeviceTarget, StartTarget, target_of
from server.push_setup import policy_of
from server.settings import Settings
from storage.activities import Activity
from storage.contexts import PushContext
from storage.models import activities, deliveries
from storage.transaction import Command
from storage.types import SECOND
from tests.conftest import Served, ServerFactory, eventually
from tests.journeys.test_live_activities import STREAMS, ends, in_seconds, register, stream_of
from tests.push.test_notes import BRIEF, DELIVERY, DEVICE, LIVE, STREAM
from tests.support.pushing import due_now, pair, phone, quiet

POLICY = replace(
    policy_of(Settings(_env_file=None)),
    dismiss_over=300, dismiss_begun=20, stale=900,
)  # fmt: skip
ACTIVITY = Activity(**dict.fromkeys(Activity.__slots__) | {"token": "live", "bundle_id": "", "environment": "sandbox"})  # type: ignore[arg-type]


def brief(**changes: Any) -> PushContext:
    delivery = replace(DELIVERY, push_id="push", deadline_at=7 * SECOND + 5)
    return replace(BRIEF, delivery=delivery, **changes)


def test_a_push_goes_to_the_devices_token_and_keeps_its_id() -> None:
    push = DeviceTarget(brief()).push(POLICY, 0)
    assert (push.address.token, push.address.app, push.address.environment) == ("aa", "org.example", "sandbox")
    assert (push.push_id, push.expires_at) == ("push", 7)
    assert isinstance(push.note, Note) and push.note.once == "m" * 24


def test_a_start_goes_to_the_start_token() -> None:
    delivery = replace(LIVE.delivery, deadline_at=7 * SECOND + 5)
    push = StartTarget(replace(LIVE, delivery=delivery), replace(DEVICE, push_to_start_token="start")).push(POLICY, 0)
    assert (push.address.token, push.address.app, push.expires_at) == ("start", "org.example", 7)


@pytest.mark.parametrize(("status", "after"), [("cancelled", 300), ("expired", 300), ("ready", 20), ("started", 20)])
def test_an_end_stays_as_long_as_its_moment_says(status: Any, after: int) -> None:
    ending = replace(LIVE, delivery=replace(LIVE.delivery, kind="live_end"), stream=replace(STREAM, status=status))
    target = ActivityTarget(ending, ACTIVITY)
    note = target.note(POLICY, 0)
    assert target.tracked and note.event == "end" and note.dismiss_at == note.stamp + after
    updating = ActivityTarget(replace(ending, delivery=replace(LIVE.delivery, kind="live_update")), ACTIVITY)
    assert not updating.tracked and updating.note(POLICY, 0).event == "update"
    assert not DeviceTarget(brief()).tracked and not StartTarget(ending, DEVICE).tracked


def test_a_running_activity_is_of_the_app_that_registered_it() -> None:
    assert ActivityTarget(LIVE, replace(ACTIVITY, bundle_id="org.own")).address.app == "org.own"


def test_each_brief_has_its_target() -> None:
    assert isinstance(target_of(brief()), DeviceTarget)
    assert isinstance(target_of(replace(LIVE, activity=ACTIVITY, device=None)), ActivityTarget)
    assert isinstance(target_of(LIVE), StartTarget)


def test_the_waits_are_those_that_the_documentation_names() -> None:
    assert (POLICY.retry_base, POLICY.retry_most, POLICY.slow_down) == (1, 300, 30)


# What an answer means


async def states(server: Served) -> list[tuple[str, str]]:
    """Kind and state of all deliveries."""
    statement = select(deliveries.c.kind, deliveries.c.state).order_by(deliveries.c.pk)
    rows = await server.services.database.read(lambda connection: connection.execute(statement).all())
    return [(row.kind, row.state) for row in rows]


async def test_a_dead_start_token_starts_nothing_any_more(apple: Apple, start: ServerFactory) -> None:
    server = await start(live_lead=900.0)
    owner, admin = await server.people.make(grant=["streams.manage"]), await server.people.make(grant=["admin"])
    await admin.patch("/api/v1/admin/tenant", {"liveActivity": {"attributesType": "MatchAttributes"}})
    ann = await server.people.make()
    await phone(ann, "device", pushToStartToken="start")
    apple.plan = lambda push: ApnsFault("status", 410, "Unregistered") if push.token == "start" else None
    stream = await stream_of(owner)
    await ann.post(f"{STREAMS}/{stream}/follow")
    await owner.patch(f"{STREAMS}/{stream}", {"startsAt": in_seconds(600)})
    await apple.until(lambda: apple.pushes)
    await quiet(server)
    assert await states(server) == [("live_start", "dropped")]
    (device,) = (await ann.get("/api/v1/devices")).json["data"]["items"]
    assert device["pushToStartToken"] is None and device["pushToken"] == "device", "the phone itself lives"


@pytest.mark.parametrize(("status", "reason", "again"), [(410, "Unregistered", False), (400, "BadDeviceToken", True)])
async def test_an_end_that_met_a_dead_token(
    apple: Apple, start: ServerFactory, status: int, reason: str, again: bool
) -> None:
    """Gone is what was wanted; of a bad token nothing is known, so that the same one may come again."""
    server = await start()
    owner, ann = await server.people.make(grant=["streams.manage"]), await server.people.make()
    stream = await stream_of(owner)
    await register(ann, stream, "token")
    apple.plan = lambda push: ApnsFault("status", status, reason)
    await owner.post(f"{STREAMS}/{stream}/cancel")
    await apple.until(lambda: apple.pushes)
    await quiet(server)
    known = await server.services.database.read(lambda it: it.execute(select(activities.c.state)).scalars().all())
    assert list(known) == ["dead" if again else "ended"]
    apple.plan = lambda push: None
    await register(ann, stream, "token", status=409)
    await quiet(server)
    assert len(ends(apple)) == again


async def test_a_push_is_not_tried_after_its_deadline(
    apple: Apple, start: ServerFactory, caplog: pytest.LogCaptureFixture
) -> None:
    server = await start()
    ann, _, chat = await pair(server)
    apple.plan = lambda push: ApnsFault("status", 503)
    await ann.send(chat)
    await apple.until(lambda: apple.pushes)
    worker = server.services.worker
    worker.policy = replace(worker.policy, retry_base=3600, retry_most=3600)
    await eventually(lambda: worker.retried and not worker.in_flight)
    late = update(deliveries).where(deliveries.c.state == "waiting").values(deadline_at=1)
    await server.services.database.write(Command(lambda tx: tx.execute(late)))
    apple.plan = lambda push: None
    tried = len(apple.pushes)
    await due_now(server)
    await quiet(server)
    assert await states(server) == [("message", "dead")] and len(apple.pushes) == tried
    assert apple.good == []
    caplog.clear()
