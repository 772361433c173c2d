"""Faults of Apple's channels: on every phone the last state, one end; none of its channels is left over."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pytest
from sqlalchemy import Connection, Select, func, insert, select, update

from push import apns_connection
from push.doubles.apns import TOPIC, Apple
from push.doubles.apple_channels import ChannelFault, ChannelRequest
from push.doubles.apple_device import AppleDevice
from push.doubles.fcm import Google
from push.push_channels import PushChannels
from storage import deliveries, push_channels
from storage import push_channel_apps as comparison
from storage.models import push_channel_apps
from storage.models import push_channels as rows
from storage.transaction import Command, Tx, clock
from storage.types import SECOND
from tests.conftest import Served, ServerFactory, eventually
from tests.journeys.test_live_activities import MOMENTS, STREAMS, in_seconds, reach, stream_of
from tests.journeys.test_live_everywhere import LEAD, AppOnIPhones, android, owner_of
from tests.support.guard import HANG_SECONDS
from tests.support.people import Person
from tests.support.pushing import due_now, phone, quiet

LOST_SECONDS = 1.0
MINUTE = 60.0


@pytest.fixture
async def server(start: ServerFactory, google: Google, tmp_path: Any) -> Served:
    return await start(**google.write_files(tmp_path / "google") | LEAD)


async def until(check: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(HANG_SECONDS):
        while not await check():
            await asyncio.sleep(0.05)


# Rounds of work that have begun and not ended.
UNDER_WAY: set[object] = set()


@pytest.fixture(autouse=True)
def _counted(monkeypatch: pytest.MonkeyPatch) -> None:
    original = PushChannels.work

    async def work(self: PushChannels) -> None:
        this = object()
        UNDER_WAY.add(this)
        try:
            await original(self)
        finally:
            UNDER_WAY.discard(this)

    monkeypatch.setattr(PushChannels, "work", work)


async def age(server: Served, seconds: float) -> None:
    """As if so much time had passed for channels, between two rounds of work: one under way would write times anew."""
    past = int(seconds * SECOND)
    await eventually(lambda: not UNDER_WAY)

    def apply(tx: Tx) -> None:
        tx.execute(update(rows).values({name: rows.c[name] - past for name in ("created_at", "due_at")}))
        asked = {name: rows.c[name] - past for name in ("first_asked_at", "asked_at")}
        tx.execute(update(rows).where(rows.c.asked_at > 0).values(asked))
        tx.execute(update(push_channel_apps).values(due_at=push_channel_apps.c.due_at - past))

    await server.services.database.write(Command(apply))


async def counts(server: Served) -> dict[str, int]:
    return await server.services.database.read(push_channels.counts)


async def work(server: Served) -> None:
    assert server.services.push_channels
    await server.services.push_channels.work()


@dataclass
class Crowd:
    """A stream, its owner, and those who follow it: two iPhones with channels, one without, and an Android phone."""

    server: Served
    apple: Apple
    google: Google
    owner: Person
    app: AppOnIPhones
    stream: str = ""
    new: list[AppleDevice] = field(default_factory=list)
    old: AppleDevice | None = None

    @classmethod
    async def made(
        cls, server: Served, apple: Apple, google: Google, *, before: Callable[[], Awaitable[None]] | None = None
    ) -> "Crowd":
        """``before`` is done when channels could be opened, and none is wanted yet."""
        crowd = cls(server, apple, google, await owner_of(server), AppOnIPhones(apple))
        people = await server.people.many(4)
        crowd.new = [await crowd.app.iphone(each, 18, features=["live.channel"]) for each in people[:2]]
        crowd.old = await crowd.app.iphone(people[2])
        await android(people[3], "t:1", "live.ongoing")
        # What is at Apple is known before a channel is opened.
        await eventually_compared(server)
        if before:
            await before()
        crowd.stream = await stream_of(crowd.owner, in_seconds(600))
        for person in people:
            assert (await person.post(f"{STREAMS}/{crowd.stream}/follow")).status == 200
        return crowd

    async def start(self) -> None:
        """Until it shows on all."""
        await eventually(lambda: all(self.stream in each.activities for each in self.iphones))
        await eventually(lambda: self.android)
        await self.app.registered()
        await quiet(self.server)

    async def rename(self, title: str) -> None:
        assert (await self.owner.patch(f"{STREAMS}/{self.stream}", {"title": title})).status == 200

    @property
    def iphones(self) -> list[AppleDevice]:
        assert self.old
        return [*self.new, self.old]

    @property
    def android(self) -> Any:
        return self.google.device("t:1").live.get(f"live:{self.stream}")

    @property
    def shown(self) -> list[Any]:
        return [*(each.activities[self.stream] for each in self.iphones), self.android]

    async def all_ended(self, moment: str) -> None:
        """The same last state and one end on every screen."""
        await eventually(lambda: all(each.activities[self.stream].ended for each in self.iphones) and self.android.ends)
        await quiet(self.server)
        states = [each.state for each in self.shown]
        assert states == states[:1] * 4 and states[0]["status"] == moment
        assert self.android.ends == self.android.starts == 1
        assert [each.starts[self.stream] for each in self.iphones] == [1, 1, 1]

    async def nothing_is_left(self) -> None:
        await self.nothing_is_left_but(set())

    async def nothing_is_left_but(self, others: set[str]) -> None:
        """After the ends have been kept for as long as Apple keeps them."""

        async def left() -> bool:
            await age(self.server, 13 * 3600)
            await work(self.server)
            return self.apple.channels.ids == others

        await until(left)
        for _ in range(4):
            await age(self.server, 3601.0)
            await work(self.server)
        assert self.apple.channels.ids == others


async def eventually_compared(server: Served) -> None:
    async def compared() -> bool:
        first = select(func.min(push_channel_apps.c.compared_at))
        found = await server.services.database.read(lambda it: it.execute(first).scalar())
        return bool(found)

    await until(compared)


Plan = Callable[[ChannelRequest], ChannelFault | None]


def first(kind: str, fault: ChannelFault, times: int = 1) -> Plan:
    """The fault strikes the first so many requests of a kind."""
    struck: list[ChannelRequest] = []

    def plan(request: ChannelRequest) -> ChannelFault | None:
        if request.kind == kind and len(struck) < times:
            struck.append(request)
            return fault
        return None

    return plan


OPENING: dict[str, Callable[[], Plan]] = {
    "answered late": lambda: first("open", ChannelFault(seconds=LOST_SECONDS * 3)),
    "opened and never answered": lambda: first("open", ChannelFault(status=0, done=True)),
    "opened twice without an answer": lambda: first("open", ChannelFault(status=0, done=True), 2),
    "answered without a name": lambda: first("open", ChannelFault(nameless=True)),
    "503, and opened": lambda: first("open", ChannelFault(503, done=True)),
    "503": lambda: first("open", ChannelFault(503)),
    "429": lambda: first("open", ChannelFault(429, "TooManyRequests"), 3),
}


@pytest.mark.parametrize("name", OPENING)
async def test_a_channel_that_was_hard_to_open(
    name: str,
    apple: Apple,
    google: Google,
    server: Served,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(apns_connection, "ANSWER_SECONDS", LOST_SECONDS)
    foreign = apple.channels.make(TOPIC)
    crowd = await Crowd.made(server, apple, google)
    apple.channel_plan = OPENING[name]()

    async def opened() -> bool:
        await age(server, 5.0)
        await work(server)
        return bool((await counts(server)).get("open"))

    await until(opened)
    await crowd.start()
    assert {each.activities[crowd.stream].channel for each in crowd.new} <= apple.channels.ids - {foreign}
    await crowd.rename("Final")
    await quiet(server)
    await reach("ready", crowd.owner, crowd.stream)
    await crowd.all_ended("ready")

    async def only_the_foreign_one() -> bool:
        await age(server, 9 * 3600)
        await work(server)
        return apple.channels.ids == {foreign}

    await until(only_the_foreign_one)
    assert not {"wanted", "open", "ending", "ended"} & (await counts(server)).keys()
    caplog.clear()


NEVER: dict[str, Callable[[], Plan]] = {
    "the feature is not enabled": lambda: first("open", ChannelFault(400, "FeatureNotEnabled"), 1000),
    "as many as Apple allows": lambda: first("open", ChannelFault(400, "CannotCreateChannelConfig"), 1000),
    "the manager does not answer": lambda: first("open", ChannelFault(503), 1000),
}


@pytest.mark.parametrize("name", NEVER)
async def test_without_a_channel_iphones_have_tokens(
    name: str, apple: Apple, google: Google, server: Served, caplog: pytest.LogCaptureFixture
) -> None:
    crowd = await Crowd.made(server, apple, google)
    apple.channel_plan = NEVER[name]()

    async def started() -> bool:
        await age(server, 20.0)
        return all(crowd.stream in each.activities for each in crowd.new)

    await until(started)
    await crowd.start()
    assert [each.activities[crowd.stream].channel for each in crowd.new] == [None, None]
    await reach("cancelled", crowd.owner, crowd.stream)
    await crowd.all_ended("cancelled")
    assert not apple.channels.ids
    caplog.clear()


@pytest.mark.parametrize("moment", MOMENTS)
async def test_an_end_is_tried_until_apple_accepts_it(
    moment: str, apple: Apple, google: Google, server: Served
) -> None:
    crowd = await Crowd.made(server, apple, google)
    await crowd.start()
    apple.channel_plan = first("push", ChannelFault(503), 3)
    await reach(moment, crowd.owner, crowd.stream)

    async def all_over() -> bool:
        await due_now(server)
        return all(each.activities[crowd.stream].ended for each in crowd.iphones)

    await until(all_over)
    await crowd.all_ended(moment)
    await crowd.nothing_is_left()


async def test_of_many_changes_the_newest_is_pushed(apple: Apple, google: Google, server: Served) -> None:
    """Where Apple wants fewer pushes, those that are out of date are left out."""
    crowd = await Crowd.made(server, apple, google)
    await crowd.start()
    apple.channel_plan = first("push", ChannelFault(429, "TooManyRequests"), 1000)
    for number in range(10):
        await crowd.rename(f"Title {number}")

    async def all_wait() -> bool:
        """Each was made, and Apple has refused it or a newer one."""
        depth = await server.services.database.read(deliveries.depth)
        return depth.causes == 0 and not server.services.worker.in_flight

    await until(all_wait)
    apple.channel_plan = lambda request: None
    await due_now(server)
    await eventually(lambda: {each.activities[crowd.stream].state["title"] for each in crowd.new} == {"Title 9"})
    await quiet(server)
    assert {each.state["title"] for each in crowd.shown} == {"Title 9"}
    accepted = [each for each in apple.channels.requests if each.kind == "push" and each.status == 200]
    assert len(accepted) == 1


async def test_pushes_that_change_places(apple: Apple, google: Google, server: Served) -> None:
    """Apple may deliver an older push later: the phone keeps what it has."""
    crowd = await Crowd.made(server, apple, google)
    await crowd.start()
    apple.channel_plan = first("push", ChannelFault(seconds=0.5))
    await crowd.rename("Older")
    await eventually(lambda: [each for each in apple.channels.requests if each.kind == "push"])
    await crowd.rename("Newer")
    await eventually(lambda: len([each for each in apple.channels.requests if each.status == 200]) >= 2)
    await quiet(server)
    assert {each.state["title"] for each in crowd.shown} == {"Newer"}


async def test_a_channel_that_apple_forgot(
    apple: Apple, google: Google, server: Served, caplog: pytest.LogCaptureFixture
) -> None:
    """Who listens to it is reached no more; who comes later gets a token."""
    crowd = await Crowd.made(server, apple, google)
    await crowd.start()
    apple.channels.by_app.clear()
    await crowd.rename("Final")
    await quiet(server)
    assert server.services.worker.senders["apns_channels"].settled["dropped"] == 1
    late = await server.people.make()
    device = await crowd.app.iphone(late, 18, features=["live.channel"])
    assert (await late.post(f"{STREAMS}/{crowd.stream}/follow")).status == 200
    await eventually(lambda: device.activities)
    assert device.activities[crowd.stream].channel is None
    await crowd.app.registered()
    await reach("ready", crowd.owner, crowd.stream)
    await eventually(lambda: device.activities[crowd.stream].ended and crowd.android.ends)
    await quiet(server)
    caplog.clear()


async def test_a_phone_that_was_off_gets_the_end(apple: Apple, google: Google, server: Served) -> None:
    crowd = await Crowd.made(server, apple, google)
    await crowd.start()
    crowd.new[0].online = False
    await crowd.rename("Final")
    await quiet(server)
    await reach("ready", crowd.owner, crowd.stream)
    await quiet(server)
    assert not crowd.new[0].activities[crowd.stream].ended
    apple.go_online(crowd.new[0], after=7.9 * 3600)
    await crowd.all_ended("ready")


async def test_a_start_on_its_way_at_the_end_gets_another_end(apple: Apple, google: Google, server: Served) -> None:
    crowd = await Crowd.made(server, apple, google)
    await crowd.start()
    late = await server.people.make()
    device = await crowd.app.iphone(late, 18, features=["live.channel"])
    apple.withhold()
    assert (await late.post(f"{STREAMS}/{crowd.stream}/follow")).status == 200
    await eventually(lambda: apple.of(device.start_token))
    await reach("ready", crowd.owner, crowd.stream)
    await eventually(lambda: all(each.activities[crowd.stream].ended for each in crowd.new))
    apple.release()
    await eventually(lambda: device.activities)
    assert not device.activities[crowd.stream].ended

    async def ended() -> bool:
        await due_now(server)
        return device.activities[crowd.stream].ended

    await until(ended)
    await quiet(server)
    await crowd.nothing_is_left()


async def test_a_stream_that_is_moved_is_not_started_twice(apple: Apple, google: Google, server: Served) -> None:
    """Nothing says whether what was started by channel is still there."""
    crowd = await Crowd.made(server, apple, google)
    await crowd.start()
    later = {"startsAt": "2999-01-01T00:00:00Z"}
    assert (await crowd.owner.patch(f"{STREAMS}/{crowd.stream}", later)).status == 200
    await quiet(server)
    assert (await crowd.owner.patch(f"{STREAMS}/{crowd.stream}", {"startsAt": in_seconds(500)})).status == 200
    await server.services.streams.tick()
    await quiet(server)
    assert [each.starts[crowd.stream] for each in crowd.iphones] == [1, 1, 1]
    assert {each.state["startsAt"] for each in crowd.shown} == {crowd.shown[0].state["startsAt"]}


async def test_a_crash_before_the_answer_is_kept(
    apple: Apple, google: Google, server: Served, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What was opened is found among all channels, and closed; those of others are left alone."""
    lost = 0
    write = PushChannels._write

    async def crash(self: PushChannels, apply: Any, **values: Any) -> Any:
        nonlocal lost
        if apply is push_channels.opened and not lost:
            lost += 1
            return None
        return await write(self, apply, **values)

    monkeypatch.setattr(PushChannels, "_write", crash)
    foreign = apple.channels.make(TOPIC)
    crowd = await Crowd.made(server, apple, google)
    await eventually(lambda: lost)
    another = apple.channels.make(f"{TOPIC}.other")

    async def one_is_left() -> bool:
        await age(server, 31.0)
        await work(server)
        return len(apple.channels.ids) == 3

    await crowd_opened(server)
    await until(one_is_left)
    await crowd.start()
    used = {each.activities[crowd.stream].channel for each in crowd.new}
    assert apple.channels.ids == {foreign, another, *used} and len(used) == 1
    await reach("ready", crowd.owner, crowd.stream)
    await crowd.all_ended("ready")
    caplog.clear()


async def crowd_opened(server: Served) -> None:
    async def opened() -> bool:
        await age(server, 31.0)
        await work(server)
        return bool((await counts(server)).get("open"))

    await until(opened)


async def test_each_environment_has_a_channel_of_its_own(apple: Apple, google: Google, server: Served) -> None:
    owner, app = await owner_of(server), AppOnIPhones(apple)
    ann, bob = await server.people.many(2)
    both = [
        await app.iphone(person, 18, features=["live.channel"], environment=environment)
        for person, environment in ((ann, "sandbox"), (bob, "production"))
    ]
    await eventually_compared(server)
    stream = await stream_of(owner, in_seconds(600))
    for person in (ann, bob):
        await person.post(f"{STREAMS}/{stream}/follow")
    await eventually(lambda: all(stream in each.activities for each in both))
    channels = {each.activities[stream].channel for each in both}
    assert len(channels) == 2 and None not in channels
    await owner.post(f"{STREAMS}/{stream}/ready")
    await eventually(lambda: all(each.activities[stream].ended for each in both))


async def test_without_phones_that_could_use_one_none_is_opened(apple: Apple, server: Served) -> None:
    owner, app = await owner_of(server), AppOnIPhones(apple)
    ann, bob = await server.people.many(2)
    old, _ = await app.iphone(ann), await app.iphone(bob, 18, features=["live.channel"])
    await eventually_compared(server)
    stream = await stream_of(owner, in_seconds(600))
    await ann.post(f"{STREAMS}/{stream}/follow")
    await eventually(lambda: old.activities)
    await app.registered()
    assert not apple.channels.ids and await counts(server) == {}


def look(connection: Connection, statement: Select[Any]) -> list[Any]:
    return [tuple(row) for row in connection.execute(statement)]


async def test_channels_that_apple_closed_are_not_used(apple: Apple, google: Google, server: Served) -> None:
    """Where the feature was switched off and on, Apple has none of them any more: it is seen by comparing."""
    crowd = await Crowd.made(server, apple, google)
    await crowd.start()
    apple.channels.by_app.clear()
    await age(server, 3601.0)

    seen: Any = None

    async def failed() -> bool:
        nonlocal seen
        await work(server)
        tables = (select(rows), select(push_channel_apps))
        seen = [await server.services.database.read(partial(look, statement=each)) for each in tables]
        return (await counts(server)).get("failed") == 1

    try:
        await until(failed)
    except TimeoutError:
        raise AssertionError(seen) from None
    assert not [each for each in apple.channels.requests if each.kind == "push"]


async def test_a_channel_that_cant_be_closed_is_asked_for_every_hour(
    apple: Apple, google: Google, server: Served, caplog: pytest.LogCaptureFixture
) -> None:
    crowd = await Crowd.made(server, apple, google)
    await crowd.start()
    await reach("cancelled", crowd.owner, crowd.stream)
    await crowd.all_ended("cancelled")
    apple.channel_plan = lambda request: ChannelFault(400, "FeatureNotEnabled") if request.kind == "close" else None
    await age(server, 9 * 3600)
    await eventually(lambda: closings(apple) == 1)
    await age(server, 3000.0)
    await work(server)
    assert closings(apple) == 1
    apple.channel_plan = lambda request: None
    await age(server, 601.0)
    await eventually(lambda: not apple.channels.ids)
    caplog.clear()


def closings(apple: Apple) -> int:
    return len([each for each in apple.channels.requests if each.kind == "close" and each.status > 0])


async def test_apps_that_nobody_has_are_forgotten_and_keep_no_other_waiting(apple: Apple, server: Served) -> None:
    ann, bob = await server.people.many(2)
    refused = ChannelFault(403, "TopicMismatch")
    apple.channel_plan = lambda request: refused if request.app.startswith("org.made") else None

    def without_devices(tx: Tx) -> None:
        for number in range(30):
            comparison.add_app(tx, "sandbox", f"org.made.unused{number}")

    await server.services.database.write(Command(without_devices))
    await phone(ann, "a", bundleId="org.made.used", pushToStartToken="start", features=["live.channel"])
    await AppOnIPhones(apple).iphone(bob, 18, features=["live.channel"])
    apps = select(push_channel_apps.c.bundle_id, push_channel_apps.c.compared_at, push_channel_apps.c.due_at)

    async def settled() -> bool:
        found, now = await server.services.database.read(lambda it: (it.execute(apps).all(), clock(it)))
        compared = {row.bundle_id: row.compared_at > 0 for row in found}
        waiting = all(row.due_at > now + 1800 * SECOND for row in found)
        return waiting and compared == {"org.made.used": False, TOPIC: True}

    await until(settled)
    lists = len(apple.channels.requests)
    await age(server, 1800.0)
    await work(server)
    assert len(apple.channels.requests) == lists, "where Apple refuses, it is asked once an hour"


async def test_a_request_under_way_is_not_the_one_of_an_orphan(server: Served) -> None:
    """Of two requests without an answer the older one has opened what was found."""
    common = {
        "environment": "sandbox", "bundle_id": TOPIC, "stamp": 0, "due_at": 0, "created_at": 1, "first_asked_at": 1,
        "asked_at": 1,
    }  # fmt: skip

    def apply(tx: Tx) -> None:
        asked = common | {"state": "failed", "unanswered": 1}
        tx.execute(insert(rows), [asked | {"asked_at": tx.now}, asked])
        tx.execute(insert(rows), common | {"state": "unknown", "channel_id": "x", "unanswered": 0, "created_at": 2})
        found: Any = tx.execute(push_channels.SELECT.where(rows.c.state == "unknown")).one()
        comparison.orphan_closed(tx, push_channels.PushChannel(*found))

    await server.services.database.write(Command(apply))
    left = select(rows.c.asked_at, rows.c.unanswered).order_by(rows.c.pk)
    found = await server.services.database.read(lambda it: it.execute(left).all())
    assert [row.unanswered for row in found] == [1, 0]


async def test_what_was_there_before_is_not_closed(
    apple: Apple, google: Google, server: Served, caplog: pytest.LogCaptureFixture
) -> None:
    """Somebody else opens channels between two comparisons: the app is compared once more before ours are opened."""
    foreign = ""

    async def before() -> None:
        nonlocal foreign
        foreign = apple.channels.make(TOPIC)
        past = {"compared_at": push_channel_apps.c.compared_at - 600 * SECOND}
        await server.services.database.write(Command(lambda tx: tx.execute(update(push_channel_apps).values(**past))))
        apple.channel_plan = first("open", ChannelFault(status=503))

    crowd = await Crowd.made(server, apple, google, before=before)
    await crowd_opened(server)
    await crowd.start()
    await crowd.nothing_is_left_but({foreign})
    caplog.clear()
