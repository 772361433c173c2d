"""The lock screen never lies: each activity hears of its end, once, whatever came between, over a double of Apple."""

import asyncio
import contextlib
import sqlite3
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from push.doubles.apns import TOPIC, Apple
from push.doubles.apple_connection import ApnsFault, ApnsPush
from storage import outbox, streams
from storage.types import now
from tests.conftest import ServerFactory, eventually
from tests.support.guard import HANG_SECONDS
from tests.support.people import Person
from tests.support.process import ServerProcess
from tests.support.pushing import phone, quiet

SESSIONS = "/api/v1/notifications/live-activity-sessions"
STREAMS = "/api/v1/streams"
MOMENTS = {"cancelled": ["cancel"], "ready": ["ready"], "started": ["ready", "start"], "expired": []}


def in_seconds(seconds: float) -> str:
    return f"{datetime.now(UTC) + timedelta(seconds=seconds):%Y-%m-%dT%H:%M:%SZ}"


async def stream_of(owner: Person, starts: str = "2999-01-01T00:00:00Z") -> str:
    answer = await owner.post(STREAMS, {"title": "Match", "startsAt": starts})
    assert answer.status == 201, answer
    return str(answer.json["data"]["id"])


async def register(person: Person, stream: str, token: str, activity: str = "activity", status: int = 201) -> None:
    body = {"streamId": stream, "deviceId": f"phone-{person.id}", "liveActivityToken": token, "activityId": activity}
    answer = await person.post(SESSIONS, body)
    assert answer.status == status, answer


async def reach(moment: str, owner: Person, stream: str) -> None:
    """Bring a scheduled stream to one of the four moments."""
    for verb in MOMENTS[moment]:
        assert (await owner.post(f"{STREAMS}/{stream}/{verb}")).status == 200
    if moment == "expired":
        await owner.patch(f"{STREAMS}/{stream}", {"startsAt": "2020-01-01T00:00:00Z"})


def ends(apple: Apple) -> list[ApnsPush]:
    return [push for push in apple.good if push.payload["aps"].get("event") == "end"]


@pytest.mark.parametrize("moment", MOMENTS)
async def test_each_moment_ends_each_activity_once(moment: str, apple: Apple, start: ServerFactory) -> None:
    server = await start(stream_grace=0.0, live_dismiss_over=120, live_dismiss_begun=0)
    owner = await server.people.make(grant=["streams.manage"])
    before, rotated, late, lost = await server.people.many(4)
    stream = await stream_of(owner)
    await phone(before, "device", deviceId=f"phone-{before.id}", bundleId=f"{TOPIC}.beta")
    await register(before, stream, "before")
    await register(rotated, stream, "old")
    await register(rotated, stream, "new")
    await register(lost, stream, "lost")
    apple.plan = lambda push: (
        ApnsFault("status", 410, "Unregistered", int(time.time() * 1000)) if push.token == "lost" else None
    )
    began = int(time.time())
    await reach(moment, owner, stream)
    await apple.until(lambda: {push.token for push in ends(apple)} >= {"before", "new"} and apple.of("lost"))
    await register(late, stream, "late", status=409)
    await register(late, stream, "late", status=409)
    await apple.until(lambda: "late" in {push.token for push in ends(apple)})
    await register(rotated, stream, "newest", status=409)
    await apple.until(lambda: "newest" in {push.token for push in ends(apple)})
    await quiet(server)
    assert sorted(push.token for push in ends(apple)) == ["before", "late", "new", "newest"]
    assert len(apple.of("lost")) == 1 and apple.of("old") == []
    for push in ends(apple):
        aps, headers = push.payload["aps"], push.headers
        assert aps["content-state"]["status"] == moment and aps["content-state"]["title"] == "Match"
        assert began <= aps["timestamp"] <= time.time() + 2
        assert aps["dismissal-date"] - aps["timestamp"] == (120 if moment in ("cancelled", "expired") else 0)
        bundle = f"{TOPIC}.beta" if push.token == "before" else TOPIC
        assert headers["apns-topic"] == f"{bundle}.push-type.liveactivity" and headers["apns-priority"] == "10"
        assert headers["apns-push-type"] == "liveactivity" and "apns-collapse-id" not in headers
        assert time.time() + 3600 < int(headers["apns-expiration"]) < time.time() + 5 * 3600


async def test_an_end_that_failed_is_tried_at_the_next_moment(
    apple: Apple, start: ServerFactory, caplog: pytest.LogCaptureFixture
) -> None:
    server = await start()
    owner, ann = await server.people.make(grant=["streams.manage"]), await server.people.make()
    stream = await stream_of(owner)
    await register(ann, stream, "token")
    apple.plan = lambda push: ApnsFault("status", 400, "BadTopic")
    await owner.post(f"{STREAMS}/{stream}/ready")
    await apple.until(lambda: apple.pushes)
    await quiet(server)
    apple.plan = lambda push: None
    await owner.post(f"{STREAMS}/{stream}/start")
    await apple.until(lambda: ends(apple))
    await owner.post(f"{STREAMS}/{stream}/end")
    await quiet(server)
    stamps = [push.payload["aps"]["timestamp"] for push in apple.pushes]
    assert len(apple.pushes) == 2 and stamps[1] > stamps[0]
    assert [push.payload["aps"]["content-state"]["status"] for push in apple.pushes] == ["ready", "started"]
    caplog.clear()


async def test_updates_and_an_end_within_one_second_keep_their_order(apple: Apple, start: ServerFactory) -> None:
    server = await start()
    owner, ann = await server.people.make(grant=["streams.manage"]), await server.people.make()
    stream = await stream_of(owner)
    await register(ann, stream, "token")
    for number in range(3):
        await owner.patch(f"{STREAMS}/{stream}", {"title": f"Title {number}"})
        await apple.until(lambda number=number: len(apple.good) == number + 1)  # type: ignore[misc]
    await owner.post(f"{STREAMS}/{stream}/cancel")
    await apple.until(lambda: ends(apple))
    await quiet(server)
    events = [push.payload["aps"] for push in apple.good]
    assert [aps["event"] for aps in events] == ["update", "update", "update", "end"]
    stamps = [aps["timestamp"] for aps in events]
    assert stamps == sorted(set(stamps)), "a phone ignores what is not newer"
    assert all(aps["stale-date"] > time.time() for aps in events[:3])
    assert events[2]["content-state"]["title"] == "Title 2"


async def test_a_device_that_is_registered_later_sets_it_right(apple: Apple, start: ServerFactory) -> None:
    server = await start()
    owner, ann = await server.people.make(grant=["streams.manage"]), await server.people.make()
    stream = await stream_of(owner)
    await register(ann, stream, "token")
    await phone(ann, "d", deviceId=f"phone-{ann.id}", bundleId=f"{TOPIC}.beta")
    await register(ann, stream, "token")
    await owner.post(f"{STREAMS}/{stream}/ready")
    await apple.until(lambda: ends(apple))
    assert ends(apple)[0].headers["apns-topic"] == f"{TOPIC}.beta.push-type.liveactivity"


async def test_an_activity_registered_after_a_change_gets_it(apple: Apple, start: ServerFactory) -> None:
    server = await start()
    owner, ann = await server.people.make(grant=["streams.manage"]), await server.people.make()
    stream = await stream_of(owner)
    await owner.patch(f"{STREAMS}/{stream}", {"title": "Final"})
    await register(ann, stream, "token")
    await apple.until(lambda: apple.good)
    assert apple.good[0].payload["aps"]["event"] == "update"
    assert apple.good[0].payload["aps"]["content-state"]["title"] == "Final"


async def test_rotating_while_an_end_is_on_its_way(apple: Apple, start: ServerFactory) -> None:
    server = await start()
    owner, ann = await server.people.make(grant=["streams.manage"]), await server.people.make()
    stream = await stream_of(owner)
    await register(ann, stream, "old")
    apple.withhold()
    await owner.post(f"{STREAMS}/{stream}/cancel")
    await eventually(lambda: apple.held)
    await register(ann, stream, "new", status=409)
    apple.release()
    await apple.until(lambda: {push.token for push in ends(apple)} == {"old", "new"})
    await quiet(server)
    assert [push.token for push in apple.pushes] == ["old", "new"]
    stamps = [push.payload["aps"]["timestamp"] for push in apple.pushes]
    assert stamps[1] > stamps[0]


async def test_a_dead_end_is_promised_anew_only_where_it_is_needed(
    apple: Apple, start: ServerFactory, caplog: pytest.LogCaptureFixture
) -> None:
    server = await start()
    owner, ann = await server.people.make(grant=["streams.manage"]), await server.people.make()
    admin = await server.people.make(grant=["admin"])
    stream = await stream_of(owner)
    await register(ann, stream, "token")
    apple.plan = lambda push: ApnsFault("status", 400, "BadTopic")
    await owner.post(f"{STREAMS}/{stream}/ready")
    await apple.until(lambda: apple.pushes)
    await quiet(server)
    apple.plan = lambda push: None
    await owner.patch(f"{STREAMS}/{stream}", {"title": "Final"})
    await apple.until(lambda: apple.good)
    letters = "/api/v1/admin/push/dead-letters"
    (letter,) = (await admin.get(letters)).json["data"]["items"]
    assert letter["deviceId"] == f"phone-{ann.id}" and letter["kind"] == "live_end"
    assert (await admin.post(f"{letters}/{letter['id']}/retry")).status == 200
    await apple.until(lambda: ends(apple))
    stamps = [push.payload["aps"]["timestamp"] for push in apple.pushes]
    assert stamps == sorted(set(stamps)) and len(stamps) == 3
    assert (await admin.post(f"{letters}/{letter['id']}/retry")).status == 404
    caplog.clear()


async def test_postponed_and_followed_late(apple: Apple, start: ServerFactory) -> None:
    server = await start(live_lead=900.0)
    owner, admin = await server.people.make(grant=["streams.manage"]), await server.people.make(grant=["admin"])
    await admin.patch("/api/v1/admin/tenant", {"liveActivity": {"attributesType": "MatchAttributes"}})
    ann, bob, cat = await server.people.many(3)
    for person, token in ((ann, "start-a"), (bob, "start-b"), (cat, "start-c")):
        await phone(person, f"d-{person.id}", pushToStartToken=token)
    stream = await stream_of(owner, in_seconds(3600))
    for person in (ann, cat):
        await person.post(f"{STREAMS}/{stream}/follow")
    await owner.post("/api/v1/users/me/blocks", {"userId": cat.id})
    await owner.patch(f"{STREAMS}/{stream}", {"startsAt": in_seconds(600)})
    await apple.until(lambda: apple.good)
    await bob.post(f"{STREAMS}/{stream}/follow")
    await apple.until(lambda: len(apple.good) == 2)
    await quiet(server)
    starts = [push.token for push in apple.pushes if push.payload["aps"].get("event") == "start"]
    assert sorted(starts) == ["start-a", "start-b"]
    assert (await cat.post(f"{STREAMS}/{stream}/unfollow")).status == 200, "who is blocked may go"
    row = await server.services.database.read(lambda it: streams.find(it, owner.user.tenant_pk, stream))
    assert row and row.announced
    await owner.patch(f"{STREAMS}/{stream}", {"startsAt": "2999-01-01T00:00:00Z"})
    row = await server.services.database.read(lambda it: streams.find(it, owner.user.tenant_pk, stream))
    assert row and not row.announced, "it is told again when its time comes"


async def test_a_process_that_lost_its_lease_leaves_the_end_to_the_next(serve: ServerFactory) -> None:
    from push.worker import LEASE_MICROSECONDS, Worker

    server = await serve()
    services = server.services
    await services.worker.stop()
    owner, ann = await server.people.make(grant=["streams.manage"]), await server.people.make()
    stream = await stream_of(owner)
    await register(ann, stream, "token")
    await owner.post(f"{STREAMS}/{stream}/ready")
    worker = services.worker
    providers = {"apns": worker.senders["apns"].provider}
    first, second = (Worker(services.database, providers, worker.reach, worker.policy) for _ in range(2))
    held = await first._write(lambda tx: outbox.claim_causes(tx, first.lease, ttl=0, limit=10, at=now()))
    again = await second._write(
        lambda tx: outbox.claim_causes(tx, second.lease, ttl=LEASE_MICROSECONDS, limit=10, at=now())
    )
    assert held == again and held
    await first.expander._expand(held)
    assert not first.in_flight
    await second.expander._expand(again)
    await eventually(lambda: not second.tasks)
    assert second.settled["sent"] == 1 and not first.settled


async def test_phones_of_followers_start_an_activity(apple: Apple, start: ServerFactory) -> None:
    server = await start(live_lead=900.0)
    owner, admin = await server.people.make(grant=["streams.manage"]), await server.people.make(grant=["admin"])
    attributes = {"attributesType": "MatchAttributes", "attributes": {"league": "first"}}
    await admin.patch("/api/v1/admin/tenant", {"liveActivity": attributes})
    ann, bob, cat = await server.people.many(3)
    for person, token in ((ann, "start-a"), (bob, None), (cat, "start-c")):
        await phone(person, f"d-{person.id}", pushToStartToken=token, locale="tr")
    stream = await stream_of(owner)
    for person in (ann, bob):
        await person.post(f"{STREAMS}/{stream}/follow")
    await server.services.streams.tick()
    await quiet(server)
    assert apple.pushes == [], "it is too early"
    await owner.patch(f"{STREAMS}/{stream}", {"startsAt": in_seconds(600)})
    await apple.until(lambda: apple.good)
    await server.services.streams.tick()
    await quiet(server)
    (push,) = apple.pushes
    aps = push.payload["aps"]
    assert push.token == "start-a" and aps["event"] == "start" and aps["attributes-type"] == "MatchAttributes"
    assert aps["attributes"] == {"league": "first", "streamId": stream}
    assert (
        aps["alert"] == {"title": "Match", "body": "Birazdan başlıyor"}
        and aps["content-state"]["status"] == "scheduled"
    )
    assert push.headers["apns-topic"] == f"{TOPIC}.push-type.liveactivity"
    # No more than five an hour: iOS has a budget, and says nothing beyond it.
    for _ in range(6):
        another = await stream_of(owner, in_seconds(600))
        await ann.post(f"{STREAMS}/{another}/follow")
    await server.services.streams.tick()
    await quiet(server)
    assert len(apple.pushes) == 5


async def test_a_thousand_ends_through_goaways_and_a_kill(apple: Apple, tmp_path: Path) -> None:
    count = 1000
    struck: set[int] = set()
    halfway = asyncio.Event()

    def goaway(push: ApnsPush) -> ApnsFault | None:
        """The connection goes away at every 200th push; after half of them none is answered until the server is killed."""
        number = len(apple.pushes)
        if number >= count // 2 and not halfway.is_set():
            halfway.set()
            apple.withhold()
        if number % 200 == 0 and number not in struck:
            struck.add(number)
            return ApnsFault("goaway")
        return None

    apple.plan, apple.delay = goaway, 0.02
    async with (
        ServerProcess(tmp_path / "data", **apple.write_files(tmp_path / "apple")) as server,
        aiohttp.ClientSession() as http,
    ):
        owner = await server.user(http, "owner@example.org", "--permission", "admin")
        made = await owner.post(STREAMS, {"title": "Match", "startsAt": "2999-01-01T00:00:00Z"})
        stream = made.json["data"]["id"]
        phones = await owner.others(25)
        for start in range(0, count, 50):
            bodies = [
                {"streamId": stream, "deviceId": f"phone-{n}", "liveActivityToken": f"token-{n}", "activityId": "a"}
                for n in range(start, start + 50)
            ]
            answers = await asyncio.gather(*(phones[n % 25].post(SESSIONS, body) for n, body in enumerate(bodies)))
            assert {each.status for each in answers} == {201}
        assert (await owner.post(f"{STREAMS}/{stream}/cancel")).status == 200
        await asyncio.wait_for(halfway.wait(), HANG_SECONDS)
        await server.kill()
        apple.release()
        await server.start()
        await apple.until(lambda: len({push.token for push in ends(apple)}) == count)
        assert await server.stop() == 0
        assert "Traceback" not in server.log.read_text()
    by_token: dict[str, set[Any]] = {}
    for push in apple.pushes:
        by_token.setdefault(push.token, set()).add((push.id, push.payload["aps"]["timestamp"]))
    assert len(by_token) == count and all(len(each) == 1 for each in by_token.values()), "logically once"


async def test_what_expired_while_the_server_was_down(apple: Apple, tmp_path: Path) -> None:
    settings = apple.write_files(tmp_path / "apple")
    async with ServerProcess(tmp_path / "data", stream_grace=0, **settings) as server, aiohttp.ClientSession() as http:
        owner = await server.user(http, "owner@example.org", "--permission", "admin")
        made = await owner.post(STREAMS, {"title": "Match", "startsAt": "2999-01-01T00:00:00Z"})
        stream = made.json["data"]["id"]
        body = {"streamId": stream, "deviceId": "phone", "liveActivityToken": "token", "activityId": "a"}
        assert (await owner.post(SESSIONS, body)).status == 201
        await server.kill()
        with contextlib.closing(sqlite3.connect(tmp_path / "data" / "bellwire.db")) as database, database:
            # As if its time had come and gone.
            database.execute("UPDATE streams SET starts_at = 1")
        assert apple.pushes == []
        await server.start()
        await apple.until(lambda: ends(apple))
        assert ends(apple)[0].payload["aps"]["content-state"]["status"] == "expired"
        assert (await owner.get(f"{STREAMS}/{stream}")).json["data"]["status"] == "expired"
