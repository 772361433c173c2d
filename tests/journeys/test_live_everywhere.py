"""One stream on iPhones, Android phones and browsers: the same last state, and one end, on every screen."""

import asyncio
from collections.abc import AsyncIterator, Awaitable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, func, select

from push.doubles.apns import Apple
from push.doubles.apple_device import AppleDevice, ShownActivity
from push.doubles.fcm import FcmFault, Google
from push.doubles.webpush import PushService
from push.provider import LogProvider
from push.worker import LEASE_MICROSECONDS, Worker
from storage import audience, outbox, streams
from storage.database import Database
from storage.models import activities, deliveries
from storage.transaction import Command
from storage.types import now
from tests.conftest import Served, ServerFactory, eventually
from tests.journeys.test_live_activities import MOMENTS, SESSIONS, STREAMS, in_seconds, reach, stream_of
from tests.support.people import Person
from tests.support.pushing import phone, quiet, settings_of

LEAD = {"live_lead": 900.0, "stream_grace": 0.0}


@pytest.fixture
async def server(start: ServerFactory, google: Google, service: PushService, tmp_path: Path) -> Served:
    return await start(**settings_of(tmp_path, google, service) | LEAD)


async def owner_of(server: Served) -> Person:
    """With a tenant whose iPhones can show its streams."""
    owner = await server.people.make(grant=["streams.manage", "admin"])
    await owner.patch("/api/v1/admin/tenant", {"liveActivity": {"attributesType": "MatchAttributes"}})
    return owner


class AppOnIPhones:
    """The app on iPhones: it registers the token of an activity as soon as it has it."""

    def __init__(self, apple: Apple) -> None:
        self.apple = apple
        self.people: dict[str, Person] = {}
        self.tasks: list[Awaitable[Any]] = []

    async def iphone(self, person: Person, ios: int = 17, **more: Any) -> AppleDevice:
        token = f"start-{person.id}"
        self.people[token] = person
        await phone(person, person.id, pushToStartToken=token, **more)
        return self.apple.device(token, ios, on_token=self.on_token)

    async def registered(self) -> None:
        await asyncio.gather(*self.tasks)

    def on_token(self, device: AppleDevice, activity: ShownActivity) -> None:
        token = f"live-{device.start_token}-{activity.stream}"
        self.apple.activities[token] = activity
        body = {
            "streamId": activity.stream, "deviceId": f"phone-{self.people[device.start_token].id}",
            "liveActivityToken": token, "activityId": activity.stream,
        }  # fmt: skip
        self.tasks.append(asyncio.ensure_future(self.people[device.start_token].post(SESSIONS, body)))


async def compared(server: Served) -> None:
    """Channels are opened in an app once those that are there are known."""
    channels = server.services.push_channels
    assert channels
    await channels.work()
    await server.services.streams.tick()
    await channels.work()
    await server.services.streams.tick()


async def android(person: Person, token: str, *features: str) -> None:
    body = {"deviceId": "droid", "platform": "android", "pushToken": token, "features": features}
    assert (await person.post("/api/v1/devices", body)).status == 201


async def shown_on_android(server: Served, google: Google, token: str = "t:bob") -> tuple[Person, Person, str]:
    """An owner, Bob who follows, and the stream that his phone shows."""
    owner = await owner_of(server)
    bob = await server.people.make()
    await android(bob, token, "live.ongoing")
    stream = await stream_of(owner, in_seconds(600))
    await bob.post(f"{STREAMS}/{stream}/follow")
    await eventually(lambda: google.device(token).live)
    await quiet(server)
    return owner, bob, stream


@pytest.mark.parametrize("moment", MOMENTS)
async def test_each_moment_ends_on_every_screen_with_the_same_state(
    moment: str, apple: Apple, google: Google, service: PushService, server: Served
) -> None:
    owner, app = await owner_of(server), AppOnIPhones(apple)
    ann, bob, cat, dan, eve = await server.people.many(5)
    iphone = await app.iphone(ann)
    new = await app.iphone(eve, ios=18, features=["live.channel"])
    await android(bob, "t:bob", "live.ongoing")
    await android(dan, "t:dan")
    key = (await cat.get("/api/v1/push/config")).json["data"]["vapidPublicKey"]
    browser = service.subscribe("mozilla", key)
    registered = await cat.post(
        "/api/v1/devices", {"deviceId": "browser", **browser.body, "features": ["live.ongoing"]}
    )
    assert registered.status == 201, registered
    stream = await stream_of(owner, in_seconds(600))
    for person in (ann, bob, cat, dan, eve):
        assert (await person.post(f"{STREAMS}/{stream}/follow")).status == 200
    tag = f"live:{stream}"
    await compared(server)
    await eventually(lambda: iphone.activities and new.activities and google.device("t:bob").live and browser.shown)
    await app.registered()
    await owner.patch(f"{STREAMS}/{stream}", {"title": "Final"})
    await quiet(server)
    on_iphone, on_android, on_new = (
        iphone.activities[stream], google.device("t:bob").live[tag], new.activities[stream]
    )  # fmt: skip
    assert on_new.channel in apple.channels.ids and on_iphone.channel is None
    assert on_iphone.state == on_android.state == on_new.state and on_android.state["title"] == "Final"
    assert on_android.shown and not on_iphone.ended and not on_new.ended
    await reach(moment, owner, stream)
    await eventually(lambda: on_iphone.ended and on_android.ends and on_new.ended)
    await quiet(server)
    assert on_iphone.state == on_android.state == on_new.state and on_android.state["status"] == moment
    assert (on_android.starts, on_android.ends, iphone.starts[stream], new.starts[stream]) == (1, 1, 1, 1)
    assert not google.device("t:dan").live, "its app shows no live updates"
    texts = [each["body"] for each in browser.shown[tag]]
    assert texts == ["It begins soon", *(["Cancelled"] if moment == "cancelled" else [])]
    assert browser.shown[tag][0]["title"] == "Match" and "/#/chat/" in browser.shown[tag][0]["navigate"]


async def test_a_start_reaches_a_new_token_of_the_device(google: Google, server: Served) -> None:
    """The token that the row of the activity does not have is looked up when something is sent."""
    owner, bob, stream = await shown_on_android(server, google, "t:old")
    assert (await bob.post("/api/v1/devices", {
        "deviceId": "droid", "platform": "android", "pushToken": "t:new", "features": ["live.ongoing"]
    })).status == 200  # fmt: skip
    await owner.post(f"{STREAMS}/{stream}/ready")
    await eventually(lambda: google.device("t:new").live)
    await quiet(server)
    assert google.device("t:new").live[f"live:{stream}"].ends == 1
    assert google.device("t:old").live[f"live:{stream}"].ends == 0


async def test_with_a_dead_token_what_it_shows_is_over(google: Google, server: Served) -> None:
    owner, bob, stream = await shown_on_android(server, google)
    google.unregistered.add("t:bob")
    await owner.post(f"{STREAMS}/{stream}/ready")
    await eventually(lambda: server.services.worker.settled["dropped"])
    await quiet(server)
    assert (await bob.get("/api/v1/devices")).json["data"]["items"] == []
    sent = len(google.messages)
    await owner.post(f"{STREAMS}/{stream}/start")
    await quiet(server)
    assert len(google.messages) == sent


async def test_an_end_that_failed_is_tried_again_at_the_next_moment(
    google: Google, server: Served, caplog: pytest.LogCaptureFixture
) -> None:
    owner, _, stream = await shown_on_android(server, google)
    google.plan = lambda message: FcmFault(status=400, code="INVALID_ARGUMENT", text="bad", field="message.data")
    await owner.post(f"{STREAMS}/{stream}/ready")
    await quiet(server)
    google.plan = lambda message: None
    live = google.device("t:bob").live[f"live:{stream}"]
    assert live.shown
    await owner.post(f"{STREAMS}/{stream}/start")
    await eventually(lambda: live.ends)
    await quiet(server)
    assert live.state["status"] == "started"
    caplog.clear()


@pytest.mark.parametrize("leaves", [False, True])
async def test_a_browser_shows_a_cancellation_to_who_follows(
    leaves: bool, service: PushService, server: Served
) -> None:
    """Also of a stream that was ready already."""
    owner = await owner_of(server)
    cat = await server.people.make()
    key = (await cat.get("/api/v1/push/config")).json["data"]["vapidPublicKey"]
    browser = service.subscribe("apple", key)
    await cat.post("/api/v1/devices", {"deviceId": "browser", **browser.body, "features": ["live.ongoing"]})
    stream = await stream_of(owner, in_seconds(600))
    await cat.post(f"{STREAMS}/{stream}/follow")
    await eventually(lambda: browser.shown)
    await owner.post(f"{STREAMS}/{stream}/ready")
    await quiet(server)
    if leaves:
        await cat.post(f"{STREAMS}/{stream}/unfollow")
    await owner.post(f"{STREAMS}/{stream}/cancel")
    await quiet(server)
    shown = browser.shown[f"live:{stream}"]
    assert [each["body"] for each in shown] == ["It begins soon", *([] if leaves else ["Cancelled"])]
    assert [each["renotify"] for each in shown] == [False, *([] if leaves else [True])]


async def test_quiet_hours_hold_for_live_updates(google: Google, server: Served) -> None:
    owner = await owner_of(server)
    bob = await server.people.make()
    await android(bob, "t:bob", "live.ongoing")
    hours = {"from": "00:00", "to": "23:59"}
    assert (await bob.patch("/api/v1/users/me", {"quietHours": hours, "timeZone": "UTC"})).status == 200
    stream = await stream_of(owner, in_seconds(600))
    await bob.post(f"{STREAMS}/{stream}/follow")
    await eventually(lambda: google.messages)
    await quiet(server)
    assert google.messages[0].data["quiet"] == "true"


@pytest.fixture
async def two(either: Served) -> AsyncIterator[list[Database]]:
    """The databases of two nodes; SQLite has one node alone."""
    own = either.services.database
    if own.path:
        yield [own, own]
        return
    other = Database(either.services.settings.database, on_commit=lambda events: None, on_unknown=lambda pks: None)
    await other.start()
    yield [own, other]
    await other.close()


async def test_a_device_that_two_causes_mean_is_started_once(
    either: Served, two: list[Database], monkeypatch: pytest.MonkeyPatch
) -> None:
    """On two nodes, which both looked before either wrote: the start for all, and for who follows at this moment."""
    services = either.services
    await services.worker.stop()
    owner = await owner_of(either)
    bob = await either.people.make()
    await android(bob, "t:bob", "live.ongoing")
    id = await stream_of(owner, "2999-01-01T00:00:00Z")
    await bob.post(f"{STREAMS}/{id}/follow")
    stream = await services.database.read(lambda it: streams.find(it, owner.user.tenant_pk, id))
    assert stream
    nodes = [Worker(each, {"fcm": LogProvider("FCM")}, services.worker.reach, services.worker.policy) for each in two]
    causes = []
    for node, only in zip(nodes, (None, bob.user.pk), strict=True):
        promise = partial(outbox.promise_live, kind="live_start", stream_pk=stream.pk, seq=0, only=only)
        await services.database.write(Command(promise))
        at = now()
        claim = partial(outbox.claim_causes, lease=node.lease, ttl=LEASE_MICROSECONDS, limit=10, at=at)
        causes.append(await services.database.write(Command(claim, reads=partial(outbox.reads_of_causes, 10, at))))
    assert [len(each) for each in causes] == [1, 1]
    looked = asyncio.Barrier(2)
    for each in {*two}:
        monkeypatch.setattr(each, "read", after_both(each.read, looked))
    await asyncio.gather(*(node.expander._expand(each) for node, each in zip(nodes, causes, strict=True)))
    monkeypatch.undo()
    for table in (deliveries, activities):
        count = select(func.count()).select_from(table)
        assert await services.database.read(partial(scalar, statement=count)) == 1, table


def scalar(connection: Connection, statement: Any) -> Any:
    return connection.execute(statement).scalar()


def after_both(read: Any, looked: asyncio.Barrier) -> Any:
    """Pages of an audience are given out when both nodes have them."""

    async def wait(work: Any) -> Any:
        found = await read(work)
        if isinstance(work, partial) and work.func is audience.next_pages:
            await looked.wait()
        return found

    return wait
