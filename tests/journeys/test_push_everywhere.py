"""One user with an iPhone, an Android phone and a browser: each is pushed to once, and in the same way."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from push.doubles.apns import Apple
from push.doubles.fcm import Google
from push.doubles.webpush import PushService, Subscription, WebPushFault
from realtime.schema.caller import Operator
from server.push_setup import url_of
from storage.errors import NotFound
from storage.models import devices
from storage.transaction import Command
from tests.conftest import Served, ServerFactory, eventually
from tests.support.people import Person
from tests.support.pushing import pair, quiet, settings_of

IPHONE, ANDROID = "b1", "t:bob"


@pytest.fixture
async def server(start: ServerFactory, google: Google, service: PushService, tmp_path: Path) -> Served:
    return await start(**settings_of(tmp_path, google, service))


async def browser(person: Person, service: PushService, **more: Any) -> Subscription:
    config = (await person.get("/api/v1/push/config")).json["data"]
    subscription = service.subscribe("google", config["vapidPublicKey"])
    answer = await person.post("/api/v1/devices", {"deviceId": "browser", **subscription.body, **more})
    assert answer.status == 201, answer.json
    return subscription


async def everywhere(server: Served, service: PushService) -> tuple[Person, Person, str, Subscription]:
    """Ann, who writes, Bob with his three devices, their chat and the subscription of his browser."""
    ann, bob, chat = await pair(server)
    body = {"deviceId": "droid", "platform": "android", "pushToken": ANDROID, "bundleId": "org.example.app"}
    assert (await bob.post("/api/v1/devices", body)).status == 201
    return ann, bob, chat, await browser(bob, service)


def shown(apple: Apple, google: Google, subscription: Subscription) -> tuple[list[str], list[str], list[str]]:
    """The titles that each device showed, by the name under which they are shown once."""
    alerts = [each.payload["aps"] for each in apple.of(IPHONE) if "alert" in each.payload["aps"]]
    return (
        [each["alert"]["title"] for each in alerts],
        [data["title"] for copies in google.device(ANDROID).shown.values() for data in copies],
        [each["title"] for copies in subscription.shown.values() for each in copies],
    )


async def test_what_apps_must_know(server: Served) -> None:
    ann = await server.people.make()
    data = (await ann.get("/api/v1/push/config")).json["data"]
    assert len(data["vapidPublicKey"]) == 87 and data["platforms"] == ["ios", "android", "web"]
    assert data == (await ann.get("/api/v1/push/config")).json["data"], "the key is made once"


async def test_without_a_subject_browsers_are_not_pushed_to(start: ServerFactory, service: PushService) -> None:
    server = await start()
    ann = await server.people.make()
    data = (await ann.get("/api/v1/push/config")).json["data"]
    assert data == {"vapidPublicKey": None, "platforms": ["ios"]}
    answer = await ann.post("/api/v1/devices", {"deviceId": "d", **service.subscribe().body})
    assert answer.status == 400 and "does not push to browsers" in str(answer.json)


async def test_a_message_a_notification_and_a_transfer_are_pushed_once_to_each(
    apple: Apple, google: Google, service: PushService, server: Served
) -> None:
    ann, bob, chat, subscription = await everywhere(server, service)
    admin = await server.people.make(grant=["credits.grant", "notifications.send"])
    await ann.send(chat, "hello")
    await quiet(server)
    body = {"userId": bob.id, "type": "system", "category": "news", "title": "News", "message": "It rains"}
    assert (await admin.post("/api/v1/notifications", body)).status == 201
    await quiet(server)
    assert (await admin.post("/api/v1/credits/grants", {"userId": ann.id, "amount": 10})).status == 201
    transfer = {"type": "creditTransfer", "targetUserId": bob.id, "amount": 5}
    assert (await ann.post("/api/v2/messages", transfer)).status == 201
    await quiet(server)
    iphone, android, web = shown(apple, google, subscription)
    assert iphone == android == web and len(iphone) == 3 and iphone[1:] == ["News", "Ann"]
    texts = [data["body"] for copies in google.device(ANDROID).shown.values() for data in copies]
    assert texts == ["hello", "It rains", "5 credits"]
    copies = [each for copies in subscription.shown.values() for each in copies]
    assert [each["body"] for each in copies] == ["Ann: hello", "It rains", "5 credits"]
    assert [each["data"]["badge"] for each in copies] == [1, 2, 3] and google.device(ANDROID).badge == 3
    assert [each["navigate"].partition("#")[2].split("/")[1] for each in copies] == ["chat", "notifications", "chat"]


async def test_quiet_hours_mutes_and_language_hold_for_all_alike(
    apple: Apple, google: Google, service: PushService, server: Served
) -> None:
    ann, bob, chat, subscription = await everywhere(server, service)
    now = datetime.now(UTC)
    hours = {"from": f"{now - timedelta(hours=1):%H:%M}", "to": f"{now + timedelta(hours=1):%H:%M}"}
    changed = await bob.patch("/api/v1/users/me", {"locale": "tr", "quietHours": hours, "timeZone": "UTC"})
    assert changed.status == 200, changed.json
    await ann.send(chat, "hello")
    await quiet(server)
    (push,) = [each for each in apple.of(IPHONE) if "alert" in each.payload["aps"]]
    assert push.payload["aps"]["interruption-level"] == "passive"
    ((data,),) = google.device(ANDROID).shown.values()
    assert data["channelId"] == "quiet"
    ((notification,),) = subscription.shown.values()
    assert notification["silent"] is True
    await bob.post(f"/api/v2/chats/{chat}/mute", {"until": "2999-01-01T00:00:00Z"})
    await ann.send(chat, "muted")
    await quiet(server)
    assert [len(each) for each in shown(apple, google, subscription)] == [1, 1, 1]


async def test_a_browser_gets_no_badge_alone(
    apple: Apple, google: Google, service: PushService, server: Served
) -> None:
    ann, bob, chat, _ = await everywhere(server, service)
    message = await ann.send(chat, "hello")
    await quiet(server)
    assert (await bob.post(f"/api/v2/messages/{message['_id']}/read")).status == 200
    await eventually(lambda: google.device(ANDROID).badge == 0)
    await quiet(server)
    assert len(service.received) == 1, "every push to a browser is shown"


async def test_a_browser_that_is_gone_is_forgotten(service: PushService, server: Served) -> None:
    ann, bob, chat, _ = await everywhere(server, service)
    service.plan = lambda received: WebPushFault(status=410)
    worker = server.services.worker
    web = worker.senders["webpush"]
    await ann.send(chat)
    await eventually(lambda: worker.retried and not web.sending)
    ids = {each["deviceId"] for each in (await bob.get("/api/v1/devices")).json["data"]["items"]}
    assert "browser" in ids, "it was registered a moment ago"


async def test_a_browser_that_is_gone_for_good_is_forgotten(service: PushService, server: Served) -> None:
    ann, bob, chat, _ = await everywhere(server, service)
    old = update(devices).where(devices.c.platform == "web").values(registered_at=1)
    await server.services.database.write(Command(lambda tx: tx.execute(old)))
    service.plan = lambda received: WebPushFault(status=410)
    await ann.send(chat)
    await eventually(lambda: server.services.worker.settled["dropped"])
    await quiet(server)
    ids = {each["deviceId"] for each in (await bob.get("/api/v1/devices")).json["data"]["items"]}
    assert ids == {"phone-b1", "droid"}


@pytest.mark.parametrize("platform", ["android", "web"])
async def test_a_token_is_of_who_registered_it_last(service: PushService, server: Served, platform: str) -> None:
    """Whatever else the two registrations say: somebody else logged in on the same phone."""
    ann, bob = await server.people.many(2)
    body = service.subscribe().body if platform == "web" else {"platform": "android", "pushToken": "t:1"}
    assert (await ann.post("/api/v1/devices", {"deviceId": "a", **body})).status == 201
    other = {"deviceId": "b", "environment": "sandbox", **body} | (
        {"bundleId": "com.example.my_app"} if platform == "android" else {}
    )
    assert (await bob.post("/api/v1/devices", other)).status == 201
    assert (await ann.get("/api/v1/devices")).json["data"]["items"] == []
    assert len((await bob.get("/api/v1/devices")).json["data"]["items"]) == 1


async def test_a_start_token_is_of_iphones_alone(server: Served) -> None:
    ann = await server.people.make()
    body = {"deviceId": "a", "platform": "android", "pushToken": "t:1", "pushToStartToken": "abcd"}
    assert (await ann.post("/api/v1/devices", body)).json["data"]["pushToStartToken"] is None


@pytest.mark.parametrize(
    ("data", "address"),
    [
        ({"chatId": "c"}, "https://chat.example.org/#/chat/c"),
        ({"actionUrl": "https://shop.example.org/1"}, "https://shop.example.org/1"),
        ({"actionUrl": "/orders/5"}, "https://chat.example.org/orders/5"),
        ({"actionUrl": "myapp://orders/5"}, "https://chat.example.org/#/notifications"),
        ({"notificationId": "n"}, "https://chat.example.org/#/notifications"),
    ],
)
def test_a_click_opens_an_absolute_address(data: dict[str, Any], address: str) -> None:
    assert url_of(lambda: "https://chat.example.org", data) == address


async def test_an_operator_tests_a_device(apple: Apple, google: Google, service: PushService, server: Served) -> None:
    _, bob, _, subscription = await everywhere(server, service)
    operator = Operator.of(server.services.accounts.default_tenant)
    service_of = server.services.devices
    for device, provider in (("phone-b1", "apns"), ("droid", "fcm"), ("browser", "webpush")):
        (result,) = await service_of.test(operator, device)
        assert (result["provider"], result["outcome"]) == (provider, "accepted"), result
    assert shown(apple, google, subscription) == (["Bellwire"], ["Bellwire"], ["Bellwire"])
    (result,) = await service_of.test(operator, "droid", dry_run=True)
    assert result["outcome"] == "accepted" and len(google.device(ANDROID).shown) == 1, "nothing is shown"
    (result,) = await service_of.test(operator, "phone-b1", dry_run=True)
    assert result["outcome"] == "no dry run" and len(apple.of(IPHONE)) == 1
    google.unregistered.add(ANDROID)
    (result,) = await service_of.test(operator, "droid")
    assert (result["outcome"], result["status"], result["reason"]) == ("token dead", 404, "UNREGISTERED")
    assert len((await bob.get("/api/v1/devices")).json["data"]["items"]) == 3, "a test forgets nothing"
    with pytest.raises(NotFound):
        await service_of.test(operator, "another")


async def test_registrations_of_browsers_are_checked(service: PushService, server: Served) -> None:
    ann = await server.people.make()
    good = {"deviceId": "d", **service.subscribe().body}
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"endpoint": "https://push.example.org/x"}, "endpoint"),
        ({"endpoint": "http://localhost/x"}, "endpoint"),
        ({"keys": {"p256dh": "x", "auth": good["keys"]["auth"]}}, "p256dh"),
        ({"keys": {"p256dh": good["keys"]["p256dh"], "auth": "x"}}, "auth"),
        ({"keys": None}, "endpoint and keys"),
        ({"platform": "android"}, "platform web"),
    ]
    for change, field in wrong:
        answer = await ann.post("/api/v1/devices", {**good, **change})
        assert answer.status == 400 and field in str(answer.json), answer.json
    answer = await ann.post("/api/v1/devices", good)
    assert answer.status == 201 and answer.json["data"]["pushable"] is True
    assert answer.json["data"]["pushToken"] == good["endpoint"]
    assert "p256dh" not in str(answer.json) and good["keys"]["auth"] not in str(answer.json)
