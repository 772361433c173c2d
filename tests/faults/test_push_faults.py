"""Fifteen faults of a push provider, 200 messages each: all settled, none shown twice, none to the dead, none stuck."""

import asyncio
import random
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from push import apns, apns_connection, circuit_breaker
from push.doubles.apns import Apple, Plan
from push.doubles.apple_connection import ApnsFault, ApnsPush
from tests.conftest import Served, ServerFactory
from tests.support.guard import HANG_SECONDS
from tests.support.pushing import phone, quiet

MESSAGES = 200
DEADLINE = 2.0
OLD, NEW = -3_600_000, 60_000


def sometimes(fault: ApnsFault, share: float = 0.1) -> Plan:
    """The fault strikes each push with this chance, with a seed of its own."""
    dice = random.Random(1)
    return lambda push: fault if dice.random() < share else None


def gone(shift: int) -> Plan:
    """410 for half of the devices, dead since a while before or after they were registered."""
    struck: set[str] = set()

    def plan(push: ApnsPush) -> ApnsFault | None:
        if push.token.endswith(("1", "3", "5", "7", "9")) and push.token not in struck:
            struck.add(push.token)
            return ApnsFault("status", 410, "Unregistered", int(time.time() * 1000) + shift, forever=shift > 0)
        return None

    return plan


FAULTS: dict[str, Plan] = {
    "200 after the deadline": sometimes(ApnsFault("late", seconds=3.0), 0.02),
    "silence": sometimes(ApnsFault("silence"), 0.02),
    "stream reset": sometimes(ApnsFault("reset")),
    "goaway in mid-flight": sometimes(ApnsFault("goaway"), 0.02),
    "connection aborted": sometimes(ApnsFault("abort"), 0.02),
    "400": sometimes(ApnsFault("status", 400, "BadTopic")),
    "413": sometimes(ApnsFault("status", 413, "PayloadTooLarge")),
    "403": lambda push: ApnsFault("status", 403, "InvalidProviderToken"),
    "410 newer than the registration": gone(NEW),
    "410 older than the registration": gone(OLD),
    "429": sometimes(ApnsFault("status", 429, "TooManyRequests"), 0.3),
    "500 and 503": sometimes(ApnsFault("status", 503), 0.4),
    "empty and bodiless": sometimes(ApnsFault("bodiless", 500), 0.3),
    "no JSON": sometimes(ApnsFault("garbage", 500), 0.3),
    "nobody listens": lambda push: None,
}
# Faults that only a deadline ends.
TOO_LATE = ("200 after the deadline", "silence")


@pytest.fixture
async def apple() -> AsyncIterator[Apple]:
    async with Apple(delay=0.01) as made:
        yield made


@pytest.fixture
async def server(start: ServerFactory, monkeypatch: pytest.MonkeyPatch) -> Served:
    """A server with short pauses and deadlines, so that trying again does not take minutes."""
    monkeypatch.setattr(apns_connection, "ANSWER_SECONDS", HANG_SECONDS)
    monkeypatch.setattr(circuit_breaker, "PAUSE_SECONDS", 1.0)
    return await start()


@pytest.mark.parametrize("name", FAULTS)
async def test_fault(apple: Apple, server: Served, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if name in TOO_LATE:
        monkeypatch.setattr(apns_connection, "ANSWER_SECONDS", DEADLINE)
    ann = await server.people.make("Ann")
    bobs = await server.people.many(10)
    for number, bob in enumerate(bobs):
        await phone(bob, f"t{number}")
    chats = [await ann.group(bob) for bob in bobs]
    apple.plan = FAULTS[name]
    if name == "nobody listens":
        await apple.stop()
    for number in range(MESSAGES):
        await ann.send(chats[number % 10], f"message {number}")
    await asyncio.sleep(1)
    apple.plan = apple.plan if name.startswith(("400", "413", "410")) else lambda push: None
    if name == "nobody listens":
        await apple.start(apple.port)
    await quiet(server)
    admin = await server.people.make(grant=["admin"])
    states: dict[str, list[Any]] = {}
    for bob in bobs:
        page = await admin.get(f"/api/v1/admin/push/deliveries?userId={bob.id}&limit=200")
        for each in page.json["data"]["items"]:
            states.setdefault(each["state"], []).append(each)
    good = {(push.token, push.payload["messageId"]) for push in apple.good}
    excused = MESSAGES - len(good)
    settled = sum(len(states.get(state, ())) for state in ("dead", "dropped"))
    assert {*states} <= {"sent", "dead", "dropped", "skipped"}, "nothing waits"
    if name in ("400", "413"):
        assert excused == settled > 0 and {each["status"] for each in states["dead"]} == {int(name)}
    elif name.startswith("410 newer"):
        tokens = {token for token, _ in good}
        assert tokens <= {"t0", "t2", "t4", "t6", "t8"}, "the others were dead at their first push"
        assert len(good) == MESSAGES // 2
    else:
        assert excused == 0 and settled == 0, states.get("dead")
    for token, message in good:
        pushes = [push for push in apple.of(token) if push.payload["messageId"] == message]
        assert {push.collapse_id for push in pushes} == {message}, "shown once, however often it came"
        assert len({push.id for push in pushes}) == 1
    provider = server.services.worker.senders["apns"].provider
    assert isinstance(provider, apns.ApnsProvider)
    assert not any(host.waiting for host in provider.hosts.values())
