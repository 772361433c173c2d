"""Faults of Google's service and of browsers' push services, 100 messages each: all shown, none twice, no device lost."""

import random
from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from push import post, signed
from push import sender as push_sender
from push.doubles.fcm import FcmFault, Google
from push.doubles.webpush import FLAVOURS, PushService, WebPushFault
from tests.conftest import Served, ServerFactory
from tests.support.people import Person
from tests.support.pushing import quiet

MESSAGES, DEVICES = 100, 10
DEADLINE = 2.0


def sometimes(fault: Any, share: float) -> Callable[[Any], Any]:
    """The fault strikes each push with this chance, with a seed of its own."""
    dice = random.Random(1)
    return lambda push: fault if dice.random() < share else None


def first(count: int, fault: Any) -> Callable[..., Any]:
    """The fault strikes so many pushes, then none."""
    left = [fault] * count
    return lambda *push: left.pop() if left else None


# What is rejected for good, and so never shown, is excused.
def of_google() -> dict[str, Callable[[Any], Any]]:
    """Faults of Google's service, each from its beginning."""
    return {
        "200 after the deadline": sometimes(FcmFault("late", seconds=3 * DEADLINE, accepted=True), 0.02),
        "silence": sometimes(FcmFault("silence"), 0.02),
        "cut body": sometimes(FcmFault("cut", accepted=True), 0.1),
        "connection closed": sometimes(FcmFault("close"), 0.1),
        "500": sometimes(FcmFault(status=500, code="INTERNAL"), 0.3),
        "503 with Retry-After": sometimes(FcmFault(status=503, retry_after="1"), 0.1),
        "429 for all": first(3, FcmFault(status=429, code="QUOTA_EXCEEDED", retry_after="1")),
        "429 for one device": sometimes(FcmFault(status=429, code="QUOTA_EXCEEDED", device_quota=True), 0.1),
        "bare 404": first(2, FcmFault(status=404, code="")),
        "401 once": first(1, FcmFault(status=401, code="")),
        "403 for all": first(2, FcmFault(status=403, code="PERMISSION_DENIED")),
        "400 of a payload": sometimes(FcmFault(status=400, code="INVALID_ARGUMENT", text="too big"), 0.1),
        "HTML": sometimes(FcmFault("html"), 0.1),
        "empty": sometimes(FcmFault("empty", status=200), 0.1),
    }


def of_browsers() -> dict[str, Callable[[Any], Any]]:
    """Faults of browsers' push services, each from its beginning."""
    return {
        "201 after the deadline": sometimes(WebPushFault("late", seconds=3 * DEADLINE, accepted=True), 0.02),
        "silence": sometimes(WebPushFault("silence"), 0.02),
        "connection closed": sometimes(WebPushFault("close"), 0.1),
        "410 in the first minute": sometimes(WebPushFault(status=410), 0.1),
        "401": first(2, WebPushFault(status=401)),
        "429 with Retry-After": sometimes(WebPushFault(status=429, retry_after="1"), 0.1),
        "406": sometimes(WebPushFault(status=406), 0.1),
        "500": sometimes(WebPushFault(status=500), 0.3),
        "413": sometimes(WebPushFault(status=413), 0.1),
        "redirect": sometimes(WebPushFault("redirect"), 0.1),
    }


REJECTED = ("400 of a payload", "413", "redirect")
# Faults that only a deadline ends.
UNTIL_DEADLINE = ("200 after the deadline", "201 after the deadline", "silence")


@pytest.fixture
async def google() -> AsyncIterator[Google]:
    async with Google(delay=0.01) as made:
        yield made


@pytest.fixture
async def service() -> AsyncIterator[PushService]:
    async with PushService(delay=0.01) as made:
        yield made


@pytest.fixture
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that trying again does not take minutes."""
    for module, name in (
        ("push.circuit_breaker", "PAUSE_SECONDS"), ("push.signed", "MINT_PAUSE_SECONDS"),
        ("push.sender", "BUSY_SECONDS"), ("push.webpush", "YOUNG_RETRY_SECONDS"),
    ):  # fmt: skip
        monkeypatch.setattr(f"{module}.{name}", 0.5)
    assert push_sender.BUSY_SECONDS == signed.MINT_PAUSE_SECONDS == 0.5


async def write(server: Served, provider: str, bobs: list[Person]) -> set[str]:
    """A hundred messages to people with a device each; their ids, when no push waits any more."""
    worker = server.services.worker
    worker.senders[provider].provider.retry_base = 0.05
    worker.policy = replace(worker.policy, retry_base=0.05, slow_down=0.05)
    ann = await server.people.make("Ann")
    chats = [await ann.group(bob) for bob in bobs]
    sent = {(await ann.send(chats[each % DEVICES], f"message {each}"))["_id"] for each in range(MESSAGES)}
    await quiet(server)
    return sent


def check(server: Served, provider: str, name: str, sent: set[str], copies: Counter[str]) -> None:
    settled = server.services.worker.senders[provider].settled
    excused = settled["dead"] if name in REJECTED else 0
    assert settled["dropped"] == 0 and settled["sent"] + excused == MESSAGES, settled
    assert set(copies) <= sent and len(copies) == MESSAGES - excused
    assert set(copies.values()) == {1}, "shown once, however often it came"
    assert (excused > 0) == (name in REJECTED)


@pytest.mark.parametrize("name", of_google())
async def test_fault_of_google(
    google: Google,
    start: ServerFactory,
    name: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    short_pauses: None,
    caplog: pytest.LogCaptureFixture,
) -> None:
    if name in UNTIL_DEADLINE:
        monkeypatch.setattr(post, "ANSWER_SECONDS", DEADLINE)
    server = await start(**google.write_files(tmp_path / "google"))
    bobs = await server.people.many(DEVICES)
    for number, bob in enumerate(bobs):
        body = {"deviceId": "d", "platform": "android", "pushToken": f"t:{number}"}
        assert (await bob.post("/api/v1/devices", body)).status == 201
    google.plan = of_google()[name]
    sent = await write(server, "fcm", bobs)
    devices = google.devices.values()
    copies = Counter({tag: len(each) for device in devices for tag, each in device.shown.items()})
    check(server, "fcm", name, sent, copies)
    assert google.most_minting == 1
    caplog.clear()


@pytest.mark.parametrize("name", of_browsers())
async def test_fault_of_a_browsers_push_service(
    service: PushService,
    start: ServerFactory,
    name: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    short_pauses: None,
    caplog: pytest.LogCaptureFixture,
) -> None:
    if name in UNTIL_DEADLINE:
        monkeypatch.setattr(post, "ANSWER_SECONDS", DEADLINE)
    server = await start(**service.write_files(tmp_path / "browsers"))
    bobs = await server.people.many(DEVICES)
    key = (await bobs[0].get("/api/v1/push/config")).json["data"]["vapidPublicKey"]
    for number, bob in enumerate(bobs):
        subscription = service.subscribe(FLAVOURS[number % len(FLAVOURS)], key)
        assert (await bob.post("/api/v1/devices", {"deviceId": "d", **subscription.body})).status == 201
    service.plan = of_browsers()[name]
    sent = await write(server, "webpush", bobs)
    shown = [each.shown for each in service.subscriptions.values()]
    # Safari ignores the tag.
    many = [each.shown for each in service.subscriptions.values() if each.flavour != "apple"]
    assert all(len(each) == 1 for one in many for each in one.values())
    check(server, "webpush", name, sent, Counter({tag: 1 for one in shown for tag in one}))
    bodies = [each.body for each in service.received]
    assert len(set(bodies)) == len(bodies), "no body is encrypted as another"
    assert {len(tokens) for tokens in service.tokens.values()} == {1}
    caplog.clear()
