"""From a message or a notification to the phone, over a double of Apple: once for who is away, not at all for who saw it."""

import asyncio
import json
import time
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import aiohttp
import pytest

from push import circuit_breaker
from push.doubles.apns import TOPIC, Apple
from push.doubles.apple_connection import ApnsFault, ApnsPush
from push.provider import LogProvider
from push.worker import LEASE_MICROSECONDS, Worker
from realtime.fanout import reach
from storage import outbox
from storage.outbox import Delivery
from storage.types import SECOND, now
from tests.conftest import Served, ServerFactory, eventually
from tests.support.files import encoded
from tests.support.guard import HANG_SECONDS, NEVER
from tests.support.people import Person
from tests.support.pushing import due_now, pair, phone, quiet


def alerts(pushes: list[ApnsPush]) -> list[ApnsPush]:
    return [push for push in pushes if "alert" in push.payload["aps"]]


async def test_who_is_away_gets_one_push_a_device(database_url: str, apple: Apple, start: ServerFactory) -> None:
    server = await start(database_url=database_url)
    ann, bob, chat = await pair(server, "b1", "b2")
    message = await ann.send(chat, "Hello Bob")
    await apple.until(lambda: len(apple.good) == 2)
    sender = await server.people.make(grant=["notifications.send"])
    body = {"userId": bob.id, "type": "system", "category": "live", "title": "Soon", "message": "It begins"}
    sent = (await sender.post("/api/v1/notifications", body)).json["data"]
    await apple.until(lambda: len(apple.good) == 4)
    await quiet(server)
    assert len(apple.pushes) == 4 and sorted(push.token for push in apple.pushes) == ["b1", "b1", "b2", "b2"]
    for push in apple.pushes[:2]:
        aps = push.payload["aps"]
        assert aps["alert"] == {"title": "Group", "subtitle": "Ann", "body": "Hello Bob"}
        assert (
            aps["thread-id"] == chat and aps["badge"] == 1 and aps["mutable-content"] == 1 and aps["sound"] == "default"
        )
        assert push.collapse_id == message["_id"] and push.headers["apns-topic"] == TOPIC
        assert push.headers["apns-push-type"] == "alert" and push.headers["apns-priority"] == "10"
        assert push.payload["chatId"] == chat and push.payload["messageId"] == message["_id"]
        assert time.time() + 23 * 3600 < int(push.headers["apns-expiration"]) < time.time() + 25 * 3600
    for push in apple.pushes[2:]:
        assert push.payload["aps"]["alert"] == {"title": "Soon", "body": "It begins"}
        assert push.payload["aps"]["badge"] == 2 and push.collapse_id == sent["id"] == push.payload["notificationId"]


async def test_a_transfer_and_its_reversal_are_pushed(apple: Apple, start: ServerFactory) -> None:
    server = await start()
    admin = await server.people.make(grant=["admin", "credits.grant"])
    ann, bob = await server.people.make("Ann"), await server.people.make("Bob")
    await phone(ann, "a1")
    await phone(bob, "b1")
    assert (await admin.post("/api/v1/credits/grants", {"userId": ann.id, "amount": 5})).status == 201
    body = {"type": "creditTransfer", "targetUserId": bob.id, "creditTransfer": {"amount": 5}}
    sent = (await ann.post("/api/v2/messages", body)).json
    await apple.until(lambda: apple.good)
    assert [(push.token, push.payload["messageId"]) for push in apple.good] == [("b1", sent["_id"])]
    moved = (await ann.get("/api/v1/credits/transactions?limit=1")).json["data"]["items"][0]
    assert (await admin.post(f"/api/v1/admin/credits/transactions/{moved['id']}/reverse")).status == 201
    await apple.until(lambda: len(apple.good) == 2)
    back = (await ann.get(f"/api/v2/messages?chatId={sent['chatId']}")).json["items"][-1]
    assert (apple.good[1].token, apple.good[1].payload["messageId"]) == ("a1", back["_id"])


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client may take as long as it likes to say that it has received an event."""
    monkeypatch.setattr(reach, "ANSWER_SECONDS", NEVER)
    monkeypatch.setattr(reach, "LONGEST_WAIT_SECONDS", NEVER)


@pytest.mark.usefixtures("patient")
async def test_who_saw_it_gets_none(apple: Apple, start: ServerFactory) -> None:
    server = await start()
    ann, bob, chat = await pair(server)
    socket = await bob.socket()
    client = await bob.client(["polling"])
    await ann.send(chat)
    await socket.event("message:new")
    await quiet(server)
    await socket.close()
    await eventually(lambda: server.services.sessions.count == 1)
    await ann.send(chat)
    await quiet(server)
    await client.close()
    assert apple.pushes == []
    await eventually(lambda: server.services.sessions.count == 0)
    await ann.send(chat)
    await apple.until(lambda: len(apple.good) == 1)


async def test_a_phone_that_sleeps_keeps_its_socket_open_and_is_pushed(apple: Apple, start: ServerFactory) -> None:
    server = await start()
    ann, bob, chat = await pair(server)
    socket = await bob.socket()
    socket.pongs = False
    await ann.send(chat)
    await apple.until(lambda: len(apple.good) == 1)
    assert not socket.closed
    await ann.send(chat)
    await apple.until(lambda: len(apple.good) == 2)
    await quiet(server)
    assert len(apple.pushes) == 2
    await socket.close()


async def polled(server: Served, poll: "asyncio.Task[str]") -> None:
    """Until a poll waits for what comes, or is answered already."""
    sockets = server.services.socketio.eio.sockets
    await eventually(lambda: poll.done() or any(each.polling and each.polling.waiter for each in sockets.values()))


async def test_the_same_while_polling(apple: Apple, start: ServerFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    server = await start()
    ann, bob, chat = await pair(server)
    url = f"{server.url}/socket.io/?EIO=4&transport=polling"
    async with aiohttp.ClientSession() as session:

        async def get() -> str:
            async with session.get(f"{url}&sid={sid}") as response:
                return await response.text()

        async with session.get(url) as response:
            sid = json.loads((await response.text())[1:])["sid"]
        await session.post(f"{url}&sid={sid}", data='40/chat,{"token":"%s","v":1}' % bob.token)  # noqa: UP031
        while "session:ready" not in await get():
            pass
        poll = asyncio.create_task(get())
        await polled(server, poll)
        await ann.send(chat)
        assert "message:new" in await poll, "it took the event, and says nothing more"
        await apple.until(lambda: len(apple.good) == 1)
        monkeypatch.setattr(reach, "ANSWER_SECONDS", NEVER)
        monkeypatch.setattr(reach, "LONGEST_WAIT_SECONDS", NEVER)
        poll = asyncio.create_task(get())
        await polled(server, poll)
        await ann.send(chat)
        first = await poll
        while "message:new" not in first:
            first = await get()
        again = asyncio.create_task(get())
        await quiet(server)
        assert len(apple.good) == 1, "the next poll says that the last was taken"
        again.cancel()


async def test_who_sleeps_keeps_nobody_waiting(
    apple: Apple, start: ServerFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    for patience in ("ANSWER_SECONDS", "LONGEST_WAIT_SECONDS"):
        monkeypatch.setattr(reach, patience, HANG_SECONDS)
    server = await start()
    ann = await server.people.make("Ann")
    bobs = await server.people.many(30)
    for number, bob in enumerate(bobs):
        await phone(bob, f"b{number}")
    chat = await ann.group(*bobs)
    sleepers = [await bob.socket() for bob in bobs[:3]]
    for each in sleepers:
        each.pongs = False
    for _ in range(5):
        await ann.send(chat)
    await apple.until(lambda: len(apple.good) == 27 * 5)
    assert not {"b0", "b1", "b2"} & {push.token for push in apple.pushes}, "they are waited for still"
    await asyncio.gather(*(each.close() for each in sleepers))
    await apple.until(lambda: len(apple.good) == 30 * 5)
    await quiet(server)
    assert len(apple.pushes) == 150


async def test_no_more_is_held_than_is_under_way(apple: Apple, start: ServerFactory) -> None:
    server = await start(push_in_flight=5)
    apple.delay = 0.05
    ann, _, chat = await pair(server, *(f"t{n}" for n in range(10)))
    most = 0
    for _ in range(5):
        await ann.send(chat)
        most = max(most, server.services.worker.in_flight)
    while len(apple.good) < 50:
        most = max(most, server.services.worker.in_flight)
        await asyncio.sleep(0.01)
    await quiet(server)
    assert most <= 5 and len(apple.pushes) == 50


async def test_claims_at_the_same_time_share_the_places(apple: Apple, start: ServerFactory) -> None:
    server = await start(push_in_flight=5)
    ann, _, chat = await pair(server, *(f"t{n}" for n in range(10)))
    services = server.services
    await services.worker.stop()
    policy = services.worker.policy
    providers = {"apns": LogProvider("APNs")}
    first, second = (Worker(services.database, providers, services.worker.reach, policy) for _ in range(2))
    await ann.send(chat)
    causes = await first._write(
        lambda tx: outbox.claim_causes(tx, first.lease, ttl=LEASE_MICROSECONDS, limit=10, at=now())
    )
    # Ten deliveries that nobody holds, and a cause that becomes ten more.
    first.senders["apns"].limit = 0
    await first.expander._expand(causes)
    await ann.send(chat)
    causes = await second._write(
        lambda tx: outbox.claim_causes(tx, second.lease, ttl=LEASE_MICROSECONDS, limit=10, at=now())
    )

    # They stay in flight.
    def dispatch(claimed: Sequence[Delivery], since: float) -> None:
        second.senders["apns"].sending.update({each.pk: since for each in claimed})

    second._dispatch = dispatch  # type: ignore[method-assign]
    await asyncio.gather(second.expander._expand(causes), second._send_due())
    assert second.in_flight == 5 and second.senders["apns"].reserved == 0


async def test_one_app_that_is_refused_keeps_no_other_waiting(
    apple: Apple, start: ServerFactory, caplog: pytest.LogCaptureFixture
) -> None:
    server = await start()
    ann, bob, chat = await pair(server)
    await phone(bob, "other", bundleId=f"{TOPIC}.other")
    apple.plan = lambda push: ApnsFault("status", 403, "UnrelatedKeyIdInToken") if push.token == "other" else None
    for _ in range(3):
        await ann.send(chat)
    await apple.until(lambda: len(apple.good) == 3 and apple.of("other"))
    await eventually(lambda: server.services.worker.senders["apns"].breakers.breaker(f"sandbox {TOPIC}.other").is_open)
    assert len(apple.of("other")) <= 3 and "for sandbox org.example.app.other" in caplog.text
    caplog.clear()


async def test_a_token_registered_again_while_its_410_was_on_the_way(apple: Apple, start: ServerFactory) -> None:
    server = await start()
    ann, bob, chat = await pair(server)
    apple.withhold()
    apple.plan = lambda push: (
        ApnsFault("status", 410, "Unregistered", int(time.time() * 1000)) if not apple.good else None
    )
    await ann.send(chat)
    await eventually(lambda: apple.held)
    apple.plan = lambda push: None
    await phone(bob, "b1", locale="tr")
    apple.release()
    await apple.until(lambda: len(apple.good) == 1)
    await ann.send(chat)
    await apple.until(lambda: len(apple.good) == 2)
    assert len((await bob.get("/api/v1/devices")).json["data"]["items"]) == 1


async def test_both_devices_hear_of_what_was_read_on_both(apple: Apple, start: ServerFactory) -> None:
    server = await start()
    ann, bob, chat = await pair(server, "b1", "b2")
    messages = [await ann.send(chat) for _ in range(2)]
    await apple.until(lambda: len(apple.good) == 4)
    sockets = [await bob.socket(deviceId=f"phone-{token}") for token in ("b1", "b2")]
    for socket, message in zip(sockets, messages, strict=True):
        await socket.call("message:read", {"chatId": chat, "messageId": message["_id"]})
    await apple.until(lambda: len(apple.good) == 6)
    await quiet(server)
    assert sorted(push.token for push in apple.pushes[4:]) == ["b1", "b2"]
    await asyncio.gather(*(each.close() for each in sockets))


async def test_an_app_in_the_background_is_pushed(apple: Apple, start: ServerFactory) -> None:
    server = await start()
    ann, bob, chat = await pair(server)
    socket = await bob.socket()
    assert (await socket.call("app:state", {"active": False}))["isSuccess"]
    await ann.send(chat)
    await apple.until(lambda: len(apple.good) == 1)
    await socket.call("app:state", {"active": True})
    await ann.send(chat)
    await quiet(server)
    assert len(apple.pushes) == 1
    await socket.close()


async def test_presence_not_to_be_had_counts_as_away(
    apple: Apple, start: ServerFactory, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    server = await start()
    ann, bob, chat = await pair(server)
    socket = await bob.socket()

    async def broken(places: object) -> Any:
        raise RuntimeError("nobody can be asked")

    monkeypatch.setattr(server.services.worker.reach, "reached", broken)
    await ann.send(chat)
    await apple.until(lambda: len(apple.good) == 1)
    await quiet(server)
    assert len(apple.pushes) == 1
    caplog.clear()
    await socket.close()


async def test_reached_users_too_if_the_setting_says_so(apple: Apple, start: ServerFactory) -> None:
    server = await start(push_reached=True)
    ann, bob, chat = await pair(server)
    socket = await bob.socket()
    await ann.send(chat)
    await apple.until(lambda: len(apple.good) == 1)
    await socket.close()


async def test_what_was_read_or_deleted_meanwhile_is_not_pushed(apple: Apple, start: ServerFactory) -> None:
    server = await start()
    worker = server.services.worker
    sender = worker.senders["apns"]
    # Nothing is claimed, and so nothing is read, until all is done.
    limit, sender.limit = sender.limit, 0
    ann, bob, chat = await pair(server)
    read, deleted, kept = [await ann.send(chat, text) for text in ("read", "deleted", "kept")]
    assert (await bob.post(f"/api/v2/messages/{read['_id']}/read")).status == 200
    assert (await ann.delete(f"/api/v2/messages/{deleted['_id']}")).status == 200
    assert (await ann.patch(f"/api/v2/messages/{kept['_id']}", {"content": "edited"})).status == 200
    sender.limit = limit
    worker.wake()
    await apple.until(lambda: alerts(apple.good))
    await quiet(server)
    (push,) = alerts(apple.pushes)
    assert push.payload["aps"]["alert"]["body"] == "edited" and push.payload["aps"]["badge"] == 1


async def test_reading_updates_the_badge_of_the_other_devices(
    apple: Apple, start: ServerFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox, "BADGE_DELAY", 3600 * SECOND)
    server = await start()
    ann, bob, chat = await pair(server, "b1", "b2")
    first = await ann.send(chat)
    second = await ann.send(chat)
    await apple.until(lambda: len(apple.good) == 4)
    assert sorted(push.payload["aps"]["badge"] for push in apple.good) in ([1, 1, 2, 2], [1, 2, 2, 2], [2, 2, 2, 2])
    socket = await bob.socket(deviceId="phone-b1")
    for message in (first, second):
        await socket.call("message:read", {"chatId": chat, "messageId": message["_id"]})
    await due_now(server)
    await apple.until(lambda: len(apple.good) == 5)
    await quiet(server)
    (badge,) = apple.pushes[4:]
    assert badge.token == "b2" and badge.payload == {"aps": {"badge": 0}} and badge.collapse_id == "badge"
    await socket.close()


async def test_muted_chats_blocked_senders_and_other_members(apple: Apple, start: ServerFactory) -> None:
    server = await start()
    ann, bob, cat = [await server.people.make(name) for name in ("Ann", "Bob", "Cat")]
    for person, token in ((ann, "a1"), (bob, "b1"), (cat, "c1")):
        await phone(person, token)
    chat = await ann.group(bob, cat)
    await bob.post(f"/api/v2/chats/{chat}/mute", {"until": "2999-01-01T00:00:00Z"})
    await ann.send(chat)
    await apple.until(lambda: apple.good)
    await cat.post("/api/v1/users/me/blocks", {"userId": ann.id})
    await ann.send(chat)
    await quiet(server)
    assert [push.token for push in apple.pushes] == ["c1"]
    await bob.post(f"/api/v2/chats/{chat}/mute", {"until": None})
    await bob.send(chat)
    await apple.until(lambda: len(apple.good) == 4)
    alerts = [push for push in apple.pushes[1:] if "alert" in push.payload["aps"]]
    assert sorted(push.token for push in alerts) == ["a1", "c1"]
    assert {push.token: push.payload["aps"]["badge"] for push in alerts} == {"a1": 1, "c1": 3}


async def test_without_content_and_in_the_devices_language(apple: Apple, start: ServerFactory) -> None:
    server = await start(push_content=False)
    ann, bob, chat = await pair(server)
    await phone(bob, "b2", locale="tr-TR")
    await ann.send(chat, "secret words")
    await apple.until(lambda: len(apple.good) == 2)
    titles = {push.token: push.payload["aps"]["alert"] for push in apple.good}
    assert titles == {"b1": {"title": "New message"}, "b2": {"title": "Yeni mesaj"}}
    assert "secret" not in str([push.payload for push in apple.pushes]) and "Ann" not in str(apple.pushes[0].payload)


async def test_a_transfer_shows_its_amount(apple: Apple, start: ServerFactory) -> None:
    server = await start()
    ann, bob, _ = await pair(server, "b1")
    await phone(bob, "b2", locale="tr")
    admin = await server.people.make(grant=["credits.grant"])
    assert (await admin.post("/api/v1/credits/grants", {"userId": ann.id, "amount": 50})).status == 201
    transfer = {"type": "creditTransfer", "targetUserId": bob.id, "amount": 7}
    assert (await ann.post("/api/v2/messages", transfer)).status == 201
    await apple.until(lambda: len(apple.good) == 2)
    bodies = {push.token: push.payload["aps"]["alert"] for push in apple.good}
    assert bodies["b1"] == {"title": "Ann", "body": "7 credits"} and bodies["b2"]["body"] == "7 kredi"
    assert (await ann.post("/api/v2/messages", {**transfer, "content": "for lunch"})).status == 201
    await apple.until(lambda: len(apple.good) == 4)
    assert {push.payload["aps"]["alert"]["body"] for push in apple.good[2:]} == {
        "7 credits: for lunch",
        "7 kredi: for lunch",
    }


async def test_the_type_of_a_file_is_found_in_its_bytes(apple: Apple, start: ServerFactory) -> None:
    server = await start()
    ann, bob, chat = await pair(server, "b1")
    await phone(bob, "b2", locale="tr")
    for content in ("", "at the sea"):
        form = aiohttp.FormData({"type": "media", "chatId": chat, "content": content})
        form.add_field("file", encoded("PNG"), filename="a.png")
        assert (await ann.post("/api/v2/messages", data=form)).status == 201
    await apple.until(lambda: len(apple.good) == 4)
    bodies = {(push.token, push.payload["aps"]["alert"]["body"]) for push in apple.good}
    assert bodies == {("b1", "Photo"), ("b1", "Photo: at the sea"), ("b2", "Fotoğraf"), ("b2", "Fotoğraf: at the sea")}


async def test_direct_chats_and_quiet_hours(apple: Apple, start: ServerFactory) -> None:
    server = await start()
    ann, bob = await server.people.make("Ann"), await server.people.make("Bob")
    await phone(bob, "b1")
    body = {"type": "text", "targetUserId": bob.id, "content": "x" * 16000}
    assert (await ann.post("/api/v2/messages", body)).status == 201
    await apple.until(lambda: apple.good)
    push = apple.good[0]
    assert push.payload["aps"]["alert"]["title"] == "Ann" and push.payload["aps"]["alert"]["body"].endswith("x…")
    assert 4000 < push.size <= 4096 and push.payload["aps"]["sound"]
    at = datetime.now(ZoneInfo("Europe/Istanbul"))
    hours = {"from": f"{at - timedelta(hours=1):%H:%M}", "to": f"{at + timedelta(hours=3):%H:%M}"}
    await bob.patch("/api/v1/users/me", {"quietHours": hours, "timeZone": "Europe/Istanbul"})
    await ann.post("/api/v2/messages", {**body, "content": "later"})
    await apple.until(lambda: len(apple.good) == 2)
    aps = apple.good[1].payload["aps"]
    assert aps["interruption-level"] == "passive" and "sound" not in aps


async def test_dead_tokens_are_dropped_unless_registered_since(apple: Apple, start: ServerFactory) -> None:
    server = await start()
    ann, bob, chat = await pair(server, "gone", "again", "wrong")
    later, before = int(time.time() * 1000) + 60_000, int(time.time() * 1000) - 3_600_000
    faults = {
        "gone": ApnsFault("status", 410, "Unregistered", later),
        "again": ApnsFault("status", 410, "Unregistered", before),
        "wrong": ApnsFault("status", 400, "BadDeviceToken"),
    }
    apple.plan = lambda push: faults.pop(push.token, None)
    await ann.send(chat)
    await apple.until(lambda: len(apple.pushes) >= 3)
    await apple.until(lambda: apple.good)
    await ann.send(chat)
    await apple.until(lambda: len(apple.good) == 2)
    await quiet(server)
    assert [push.token for push in apple.good] == ["again", "again"]
    devices = (await bob.get("/api/v1/devices")).json["data"]["items"]
    assert [each["pushToken"] for each in devices] == ["again"]
    await phone(bob, "gone")
    await ann.send(chat)
    await apple.until(lambda: len(apple.good) == 4)


async def test_what_is_refused_is_a_dead_letter_that_an_admin_retries(apple: Apple, start: ServerFactory) -> None:
    server = await start()
    ann, bob, chat = await pair(server)
    admin = await server.people.make(grant=["admin"])
    outsider = await server.people.make(grant=["admin"], tenant=await server.people.tenant())
    apple.plan = lambda push: ApnsFault("status", 400, "BadTopic")
    await ann.send(chat)
    await quiet(server)
    letters = "/api/v1/admin/push/dead-letters"
    (letter,) = (await admin.get(letters)).json["data"]["items"]
    assert (letter["state"], letter["status"], letter["reason"], letter["userId"]) == ("dead", 400, "BadTopic", bob.id)
    assert letter["deviceId"] == "phone-b1" and letter["attempts"] == 1 and letter["kind"] == "message"
    assert (await outsider.get(letters)).json["data"]["items"] == []
    retry = f"{letters}/{letter['id']}/retry"
    assert [each.status for each in (await outsider.post(retry), await bob.post(retry), await ann.get(letters))] == [
        404,
        403,
        403,
    ]
    apple.plan = lambda push: None
    assert (await admin.post(retry)).status == 200
    await apple.until(lambda: apple.good)
    await quiet(server)
    (sent,) = (await admin.get(f"/api/v1/admin/push/deliveries?userId={bob.id}")).json["data"]["items"]
    assert sent["state"] == "sent" and sent["id"] == letter["id"] and sent["settledAt"]
    assert apple.pushes[0].id == apple.pushes[1].id == sent["pushId"]
    assert (await admin.post(retry)).status == (await admin.post(f"{letters}/²/retry")).status == 404
    assert (await admin.get("/api/v1/admin/push/deliveries?userId=" + "f" * 24)).status == 404
    text = (await admin.get("/metrics")).body.decode()
    assert 'bellwire_pushes_total{outcome="sent",provider="apns"} 1.0' in text
    assert 'bellwire_pushes_total{outcome="dead",provider="apns"} 1.0' in text


async def test_a_closed_door_pauses_all_and_alarms_once(
    apple: Apple, start: ServerFactory, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(circuit_breaker, "PAUSE_SECONDS", HANG_SECONDS)
    server = await start()
    ann, _, chat = await pair(server)
    apple.plan = lambda push: ApnsFault("status", 403, "InvalidProviderToken")
    for _ in range(20):
        await ann.send(chat)
    worker = server.services.worker
    await eventually(lambda: worker.senders["apns"].breakers.all.is_open and not worker.in_flight)
    assert len([each for each in caplog.records if "refuses our credentials" in each.getMessage()]) == 1
    assert len(apple.pushes) <= 20
    apple.plan = lambda push: None
    server.services.worker.senders["apns"].breakers.all.open_until = 0.0
    await due_now(server)
    await apple.until(lambda: len({push.collapse_id for push in apple.good}) == 20)
    await quiet(server)
    assert len(apple.good) == 20
    caplog.clear()


async def test_a_device_moves_with_its_token_and_goes_with_its_login(server: Served) -> None:
    ann, bob = await server.people.many(2)
    first = await phone(ann, "token", locale="tr")
    assert first["pushable"] is True and first["locale"] == "tr" and first["deviceId"] == "phone-token"
    answer = await bob.post(
        "/api/v1/devices",
        {"deviceId": "other", "platform": "ios", "pushToken": "token", "environment": "sandbox", "bundleId": TOPIC},
    )
    assert answer.status == 201
    assert (await ann.get("/api/v1/devices")).json["data"]["items"] == []
    again = await bob.post(
        "/api/v1/devices",
        {"deviceId": "other", "platform": "ios", "pushToken": "new", "environment": "sandbox", "bundleId": TOPIC},
    )
    assert again.status == 200
    android = await bob.post("/api/v1/devices", {"deviceId": "droid", "platform": "android", "pushToken": "fcm:x_y-z"})
    assert android.status == 201 and android.json["data"]["pushable"] is False
    listed = (await bob.get("/api/v1/devices")).json["data"]["items"]
    assert [(each["deviceId"], each["pushToken"]) for each in listed] == [("other", "new"), ("droid", "fcm:x_y-z")]
    assert (await ann.delete("/api/v1/devices/other")).status == 404
    assert (await bob.delete("/api/v1/devices/other")).status == 200
    wrong: list[dict[str, Any]] = [
        {"deviceId": ""}, {"deviceId": "a/b"}, {"deviceId": "x" * 256}, {"platform": "palm"}, {"pushToken": "a b"},
        {"pushToken": None}, {"environment": "test"}, {"environment": None}, {"bundleId": None}, {"bundleId": "a\r\nb"},
        {"locale": "x" * 36}, {"pushToStartToken": "../x"},
    ]  # fmt: skip
    good = {"deviceId": "d", "platform": "ios", "pushToken": "t", "environment": "production", "bundleId": "a.b"}
    for changes in wrong:
        assert (await bob.post("/api/v1/devices", {**good, **changes})).status == 400, changes
    account = {"email": "cat@example.org", "password": "long enough"}
    anonymous = server.people.anonymous
    assert (await anonymous.post("/api/v1/auth/register", account)).status == 201
    logins = [(await anonymous.post("/api/v1/auth/login", account)).json["data"]["accessToken"] for _ in range(2)]
    mobile, tablet = (Person(ann.session, ann.url, token, ann.user) for token in logins)
    await phone(mobile, "p1")
    await phone(tablet, "t1")
    assert (await mobile.post("/api/v1/auth/logout")).status == 200
    left = (await tablet.get("/api/v1/devices")).json["data"]["items"]
    assert [each["pushToken"] for each in left] == ["t1"]


async def test_more_devices_than_the_limit(serve: ServerFactory) -> None:
    server = await serve(max_devices=2)
    ann = await server.people.make()
    for token in ("a", "b"):
        await phone(ann, token)
    body = {"deviceId": "c", "platform": "web", "pushToken": "c"}
    assert (await ann.post("/api/v1/devices", body)).status == 409
    await phone(ann, "b", locale="tr")


async def test_without_a_key_pushes_are_logged_and_tokens_masked(
    serve: ServerFactory, caplog: pytest.LogCaptureFixture
) -> None:
    import logging

    server = await serve(log_level="INFO")
    caplog.set_level(logging.INFO)
    ann, _, chat = await pair(server, "cafe" * 16)
    await ann.send(chat, "private")
    await quiet(server)
    (line,) = [each.getMessage() for each in caplog.records if "no APNs key" in each.getMessage()]
    assert "cafe…" in line and "cafe" * 16 not in caplog.text and "private" not in caplog.text
