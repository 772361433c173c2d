"""Android devices over Firebase Cloud Messaging: registered, pushed beside iPhones, forgotten when Google says so."""

from pathlib import Path
from typing import Any

import pytest

from push import dead_guard
from push import sender as push_sender
from push import worker as push_worker
from push.doubles.apns import Apple
from push.doubles.fcm import FcmFault, Google
from tests.conftest import Served, ServerFactory, eventually
from tests.support.people import Person
from tests.support.pushing import due_now, pair, phone, quiet

PACKAGE = "org.example.app"


@pytest.fixture
async def server(start: ServerFactory, google: Google, tmp_path: Path) -> Served:
    return await start(**google.write_files(tmp_path / "google"))


async def android(person: Person, token: str, **more: Any) -> dict[str, Any]:
    body = {"deviceId": f"android-{token}", "platform": "android", "pushToken": token, "bundleId": PACKAGE, **more}
    answer = await person.post("/api/v1/devices", body)
    assert answer.status == 201, answer.json
    document: dict[str, Any] = answer.json["data"]
    return document


async def test_a_registration_says_what_the_app_can_do(server: Served) -> None:
    ann = await server.people.make()
    document = await android(ann, "t:1", tokenKind="fid", features=["live.ongoing", "from.tomorrow", "quiet"])
    assert document["pushable"] is True and document["tokenKind"] == "fid"
    assert document["features"] == ["live.ongoing", "quiet"], "those that this server does not know are ignored"
    answer = await ann.post(
        "/api/v1/devices", {"deviceId": "d", "platform": "android", "pushToken": "t", "tokenKind": "apns"}
    )
    assert answer.status == 400 and "tokenKind" in str(answer.json)


async def test_each_device_of_a_user_is_pushed_once(apple: Apple, google: Google, server: Served) -> None:
    ann, bob, chat = await pair(server)
    await phone(bob, "iphone")
    await android(bob, "t:bob")
    message = await ann.send(chat, "hello")
    await google.until(lambda: google.device("t:bob").shown)
    await quiet(server)
    ((shown,),) = google.device("t:bob").shown.values()
    assert shown["body"] == "hello" and shown["messageId"] == shown["tag"] == message["_id"]
    assert shown["badge"] == "1" and shown["chatId"] == chat
    assert google.messages[0].android["restricted_package_name"] == PACKAGE
    assert [each.payload["messageId"] for each in apple.of("iphone")] == [message["_id"]]


async def test_what_was_read_meanwhile_or_is_muted_is_not_pushed(google: Google, server: Served) -> None:
    ann, bob, chat = await pair(server)
    await android(bob, "t:bob")
    sender = server.services.worker.senders["fcm"]
    limit, sender.limit = sender.limit, 0
    read = await ann.send(chat, "read")
    assert (await bob.post(f"/api/v2/messages/{read['_id']}/read")).status == 200
    sender.limit = limit
    server.services.worker.wake()
    await quiet(server)
    assert not google.device("t:bob").shown
    muted = await bob.post(f"/api/v2/chats/{chat}/mute", {"until": "2999-01-01T00:00:00Z"})
    assert muted.status == 200, muted.json
    await ann.send(chat, "muted")
    await quiet(server)
    assert not google.device("t:bob").shown


async def test_a_provider_that_is_silent_keeps_no_other_waiting(apple: Apple, google: Google, server: Served) -> None:
    ann, bob, chat = await pair(server)
    await phone(bob, "iphone")
    await android(bob, "t:bob")
    worker = server.services.worker
    worker.senders["fcm"].limit = 2
    google.plan = lambda message: FcmFault("silence")
    for number in range(10):
        await ann.send(chat, str(number))
    await eventually(lambda: len(apple.of("iphone")) == 10)
    assert len(worker.senders["fcm"].sending) == 2, "all of its share hangs"
    google.plan = lambda message: None
    await google.stop()


async def test_a_token_that_google_calls_dead_is_forgotten(google: Google, server: Served) -> None:
    ann, bob, chat = await pair(server)
    await android(bob, "t:bob")
    google.unregistered.add("t:bob")
    await ann.send(chat)
    await eventually(lambda: server.services.worker.settled["dropped"])
    await quiet(server)
    assert [each["deviceId"] for each in (await bob.get("/api/v1/devices")).json["data"]["items"]] == ["phone-b1"]


async def test_where_all_tokens_are_called_dead_none_is_forgotten(
    google: Google, server: Served, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """An outage, or the key of another project."""
    monkeypatch.setattr(push_worker, "VERDICT_SECONDS", 0.0)
    monkeypatch.setattr(dead_guard, "USERS", 0)
    ann, bob, chat = await pair(server)
    tokens = [f"t:{number}" for number in range(10)]
    for token in tokens:
        await android(bob, token)
    google.unregistered.update(tokens)
    await ann.send(chat)
    worker = server.services.worker
    sender = worker.senders["fcm"]
    await eventually(lambda: sender.disbelieved and not sender.sending)
    assert sender.is_busy and "none is forgotten" in caplog.text
    assert len((await bob.get("/api/v1/devices")).json["data"]["items"]) == 11
    google.unregistered.clear()
    sender.busy_until = 0.0
    monkeypatch.setattr(push_sender, "BUSY_SECONDS", 0.0)
    await due_now(server)
    await eventually(lambda: all(google.device(token).shown for token in tokens))
    await quiet(server)
    assert not worker.settled["dropped"]
    caplog.clear()


async def test_without_a_key_an_android_device_is_kept_and_not_pushed(start: ServerFactory) -> None:
    server = await start()
    ann, bob, chat = await pair(server)
    assert (await android(bob, "t:bob"))["pushable"] is False
    await ann.send(chat)
    await quiet(server)
    pushes = (await bob.get("/api/v1/devices")).json["data"]["items"]
    assert {each["deviceId"] for each in pushes} == {"phone-b1", "android-t:bob"}
