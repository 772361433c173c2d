"""The gateway against a double of Apple: every fault is a result, and harms no other push."""

import asyncio
import time
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from push import apns
from push.apns import ApnsGateway
from push.gateway import Outcome, PushRequest, PushResult
from push.provider import Provider, ProviderToken
from tests.conftest import eventually
from tests.support.apns import KEY_ID, TEAM, TOPIC, Apple, Fault, Push
from tests.support.guard import HANG_SECONDS


@pytest.fixture
async def apple() -> AsyncIterator[Apple]:
    async with Apple() as made:
        yield made


class Shelf:
    """What the nodes share."""

    def __init__(self) -> None:
        self.token: ProviderToken | None = None
        self.made = 0

    async def share(self, keep: Any) -> ProviderToken:
        await asyncio.sleep(0)
        before, self.token = self.token, keep(self.token)
        self.made += self.token is not before
        assert self.token is not None
        return self.token


def gateway_to(apple: Apple, folder: Path, shelf: Shelf | None = None, **options: Any) -> ApnsGateway:
    files = apple.write_files(folder)
    provider = Provider(apple.private_key, KEY_ID, TEAM, (shelf or Shelf()).share)
    return ApnsGateway(provider, host="localhost", port=apple.port, ca=files["apns_ca"], **options)


@pytest.fixture
async def gateway(apple: Apple, tmp_path: Path) -> AsyncIterator[ApnsGateway]:
    made = gateway_to(apple, tmp_path)
    yield made
    await made.close()


def request(token: str = "a1b2", **options: Any) -> PushRequest:
    values: dict[str, Any] = {
        "token": token, "topic": TOPIC, "push_type": "alert", "environment": "production", "push_id": str(uuid.uuid4()),
        "payload": {"aps": {"alert": "hi"}}, "collapse_id": "c", "expires_at": int(time.time()) + 3600, **options,
    }  # fmt: skip
    return PushRequest(**values)


def table(gateway: ApnsGateway) -> int:
    """Exchanges that the gateway still remembers."""
    lanes = gateway.lanes.values()
    return sum(len(lane.waiting) + sum(len(each.exchanges) for each in lane.connections) for lane in lanes)


async def test_a_push_as_apple_wants_it(apple: Apple, gateway: ApnsGateway) -> None:
    wanted = request("cafe01", priority=5)
    assert await gateway.send(wanted) == PushResult(Outcome.DELIVERED, 200)
    (push,) = apple.pushes
    headers = push.headers
    assert push.token == "cafe01" and push.payload == {"aps": {"alert": "hi"}}
    assert headers["apns-topic"] == TOPIC and headers["apns-push-type"] == "alert" and headers["apns-priority"] == "5"
    assert headers["apns-collapse-id"] == "c" and headers["apns-expiration"] == str(wanted.expires_at)
    assert headers["apns-id"] == wanted.push_id and headers[":method"] == "POST"
    live = request(topic=f"{TOPIC}.push-type.liveactivity", push_type="liveactivity")
    assert (await gateway.send(live)).outcome is Outcome.DELIVERED


async def test_the_first_push_goes_alone_and_none_is_refused(apple: Apple, gateway: ApnsGateway) -> None:
    apple.delay = 0.02
    results = await asyncio.gather(*(gateway.send(request(f"t{n}")) for n in range(500)))
    assert {each.outcome for each in results} == {Outcome.DELIVERED}
    assert apple.connections <= 2 and len(apple.providers) == 1 and len(apple.pushes) == 500
    assert table(gateway) == 0


REACTIONS = [
    (Fault("status", 400, "BadDeviceToken"), Outcome.TOKEN_DEAD),
    (Fault("status", 400, "BadTopic"), Outcome.INVALID),
    (Fault("status", 400, "DeviceTokenNotForTopic"), Outcome.INVALID),
    (Fault("status", 400, "IdleTimeout"), Outcome.RETRY),
    (Fault("status", 403, "InvalidProviderToken"), Outcome.UNAUTHORIZED),
    (Fault("status", 403, "UnrelatedKeyIdInToken"), Outcome.UNAUTHORIZED),
    (Fault("status", 404, "BadPath"), Outcome.INVALID),
    (Fault("status", 405, "MethodNotAllowed"), Outcome.INVALID),
    (Fault("status", 410, "Unregistered", 1_700_000_000_000), Outcome.TOKEN_DEAD),
    (Fault("status", 410, "ExpiredToken", 1_700_000_000_000), Outcome.TOKEN_DEAD),
    (Fault("status", 413, "PayloadTooLarge"), Outcome.INVALID),
    (Fault("status", 429, "TooManyRequests"), Outcome.SLOW_DOWN),
    (Fault("status", 429, "TooManyProviderTokenUpdates"), Outcome.UNAUTHORIZED),
    (Fault("status", 500, "InternalServerError"), Outcome.RETRY),
    (Fault("status", 503, "ServiceUnavailable"), Outcome.RETRY),
    (Fault("reset"), Outcome.RETRY),
    (Fault("goaway"), Outcome.RETRY),
    (Fault("abort"), Outcome.RETRY),
    (Fault("silence"), Outcome.RETRY),
    (Fault("late", seconds=1.0), Outcome.RETRY),
    (Fault("bodiless", 503), Outcome.RETRY),
    (Fault("bodiless", 400), Outcome.INVALID),
    (Fault("garbage", 500), Outcome.RETRY),
    (Fault("empty"), Outcome.DELIVERED),
]


@pytest.mark.parametrize(("fault", "outcome"), REACTIONS, ids=lambda it: getattr(it, "kind", ""))
async def test_each_fault_is_a_result_and_the_next_push_goes(
    apple: Apple, gateway: ApnsGateway, fault: Fault, outcome: Outcome, monkeypatch: pytest.MonkeyPatch
) -> None:
    await gateway.send(request("first"))
    apple.plan = lambda push: fault if push.token == "bad" else None
    with monkeypatch.context() as patch:
        if fault.kind in ("silence", "late", "bodiless"):
            patch.setattr(apns, "ANSWER_SECONDS", 0.5)
        result = await gateway.send(request("bad"))
    assert result.outcome is outcome, result
    if fault.timestamp:
        assert result.dead_at == fault.timestamp * 1000
    assert len(apple.of("bad")) == 1, "the gateway sends nothing twice"
    assert (await gateway.send(request("next"))).outcome is Outcome.DELIVERED
    if fault.kind == "late":
        await asyncio.sleep(0.8)
        assert (await gateway.send(request("after"))).outcome is Outcome.DELIVERED
    assert table(gateway) == 0
    assert len(apple.providers) == 1


@pytest.mark.parametrize("kind", ["reset", "silence", "late", "bodiless", "garbage", "empty", "status"])
async def test_one_fault_harms_no_neighbour(
    apple: Apple, tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway = gateway_to(apple, tmp_path, connections=1)
    await gateway.send(request("first"))
    apple.delay = 0.05
    apple.plan = lambda push: Fault(kind, seconds=5) if push.token == "bad" else None
    neighbours = [asyncio.create_task(gateway.send(request(f"n{n}"))) for n in range(100)]
    await asyncio.sleep(0)
    monkeypatch.setattr(apns, "ANSWER_SECONDS", 1.0)
    bad = asyncio.create_task(gateway.send(request("bad")))
    await asyncio.sleep(0)
    monkeypatch.setattr(apns, "ANSWER_SECONDS", HANG_SECONDS)
    later = [asyncio.create_task(gateway.send(request(f"m{n}"))) for n in range(100)]
    results = await asyncio.gather(*neighbours, *later)
    assert {each.outcome for each in results} == {Outcome.DELIVERED}
    await bad
    assert apple.connections == 1 and len(apple.pushes) == 202 and table(gateway) == 0
    await gateway.close()


@pytest.mark.parametrize("kind", ["goaway", "abort"])
async def test_what_was_in_flight_when_a_connection_ended_is_unknown_once(
    apple: Apple, gateway: ApnsGateway, kind: str
) -> None:
    await gateway.send(request("first"))
    apple.delay = 0.05
    apple.plan = lambda push: Fault(kind) if push.token == "n50" else None
    results = await asyncio.gather(*(gateway.send(request(f"n{n}")) for n in range(100)))
    assert {each.outcome for each in results} == {Outcome.DELIVERED, Outcome.RETRY}
    assert all(len(apple.of(f"n{n}")) <= 1 for n in range(100)), "no push is sent again by the gateway"
    apple.plan = lambda push: None
    again = await asyncio.gather(*(gateway.send(request(f"n{n}")) for n in range(100)))
    assert {each.outcome for each in again} == {Outcome.DELIVERED} and table(gateway) == 0


async def test_silence_of_a_whole_connection_ends_it(
    apple: Apple, gateway: ApnsGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    await gateway.send(request("first"))
    apple.plan = lambda push: Fault("silence") if push.token.startswith("bad") else None
    with monkeypatch.context() as patch:
        patch.setattr(apns, "ANSWER_SECONDS", 0.3)
        results = await asyncio.gather(*(gateway.send(request(f"bad{n}")) for n in range(20)))
    assert {each.outcome for each in results} == {Outcome.RETRY}
    assert (await gateway.send(request("next"))).outcome is Outcome.DELIVERED
    assert apple.connections == 2 and table(gateway) == 0


async def until_sent(gateway: ApnsGateway) -> None:
    """Try again as the outbox would, until a push is taken."""
    async with asyncio.timeout(HANG_SECONDS):
        while (await gateway.send(request())).outcome is not Outcome.DELIVERED:
            await asyncio.sleep(0.05)


async def test_nobody_listens_and_then_somebody_does(apple: Apple, gateway: ApnsGateway) -> None:
    port = apple.port
    await apple.stop()
    results = await asyncio.gather(*(gateway.send(request(f"n{n}")) for n in range(50)))
    assert {each.outcome for each in results} == {Outcome.RETRY}
    await apple.start(port)
    await until_sent(gateway)
    await apple.stop()
    await asyncio.sleep(0.05)
    await apple.start(port)
    await until_sent(gateway)


async def test_connections_that_fail_are_opened_ever_more_rarely(apple: Apple, gateway: ApnsGateway) -> None:
    apple.plan = lambda push: Fault("goaway")
    until = time.monotonic() + 2
    while time.monotonic() < until:
        assert (await gateway.send(request())).outcome is Outcome.RETRY
        await asyncio.sleep(0.005)
    assert apple.connections < 10


async def test_a_connection_that_ended_before_it_was_known_takes_no_place(
    apple: Apple, gateway: ApnsGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = apns.ApnsConnection.connection_made

    def ends_at_once(self: apns.ApnsConnection, transport: Any) -> None:
        made(self, transport)
        self.end("ended on purpose")

    monkeypatch.setattr(apns.ApnsConnection, "connection_made", ends_at_once)
    for _ in range(3):
        assert (await gateway.send(request())).outcome is Outcome.RETRY
        gateway.lanes["production"].open_after = 0.0
    monkeypatch.undo()
    await until_sent(gateway)


async def test_waiting_for_a_place_is_no_silence(apple: Apple, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gateway = gateway_to(apple, tmp_path, connections=1)
    await gateway.send(request("first"))
    gateway.lanes["production"].connections[0].limit = 5
    apple.hold()
    going = [asyncio.create_task(gateway.send(request(f"n{n}"))) for n in range(5)]
    await eventually(lambda: apple.held and len(apple.held) == 5)
    monkeypatch.setattr(apns, "ANSWER_SECONDS", 0.3)
    waiting = await asyncio.gather(*(gateway.send(request(f"m{n}")) for n in range(40)))
    assert {each.outcome for each in waiting} == {Outcome.RETRY}
    apple.release()
    assert {(await each).outcome for each in going} == {Outcome.DELIVERED}
    assert apple.connections == 1, "it answered all the time"
    await gateway.close()


async def test_a_wrong_certificate_is_a_result(apple: Apple, tmp_path: Path) -> None:
    async with Apple() as other:
        gateway = gateway_to(apple, tmp_path)
        gateway.lanes["production"].port = other.port
        result = await gateway.send(request())
        assert result.outcome is Outcome.RETRY and "connect" in result.reason
        await gateway.close()


async def test_a_cancelled_send_leaves_nothing_behind(apple: Apple, gateway: ApnsGateway) -> None:
    await gateway.send(request("first"))
    apple.hold()
    sends = [asyncio.create_task(gateway.send(request(f"n{n}"))) for n in range(300)]
    await eventually(lambda: apple.held)
    for each in sends[::2]:
        each.cancel()
    apple.release()
    results = await asyncio.gather(*sends, return_exceptions=True)
    assert sum(isinstance(each, PushResult) and each.outcome is Outcome.DELIVERED for each in results) == 150
    assert table(gateway) == 0


async def test_what_apple_would_refuse_is_not_sent(apple: Apple, gateway: ApnsGateway) -> None:
    wrong = [
        request(payload={"aps": {"alert": "x" * 5000}}), request(collapse_id="x" * 65), request(collapse_id="ü" * 33),
        request("../../x"), request("a b"), request(""), request("x\r\ny: z"),
        request(topic="a\r\nb"), request(topic=""), request(collapse_id="a b"),
    ]  # fmt: skip
    for each in wrong:
        result = await gateway.send(each)
        assert result.outcome is Outcome.INVALID and result.status == 0 and result.reason
    assert apple.pushes == [] and apple.connections == 0


async def test_one_provider_token_for_all_nodes_until_it_is_old(
    apple: Apple, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shelf = Shelf()
    nodes = [gateway_to(apple, tmp_path, shelf) for _ in range(3)]
    results = await asyncio.gather(*(node.send(request(f"n{n}")) for n in range(20) for node in nodes))
    assert {each.outcome for each in results} == {Outcome.DELIVERED}
    assert shelf.made == 1 and len(apple.providers) == 1
    for seconds, made in ((49 * 60, 1), (51 * 60, 2)):
        at = time.time() + seconds
        monkeypatch.setattr(time, "time", lambda at=at: at)
        apple.providers[0] = (apple.providers[0][0], at - 3600)
        for node in nodes:
            assert (await node.send(request(expires_at=int(at) + 3600))).outcome is Outcome.DELIVERED
        assert shelf.made == made
    monkeypatch.undo()
    for node in nodes:
        await node.close()


async def test_a_clock_ahead_makes_no_second_token(apple: Apple, tmp_path: Path) -> None:
    shelf = Shelf()
    ahead = gateway_to(apple, tmp_path, shelf)
    await ahead.send(request())
    assert shelf.token
    shelf.token = ProviderToken(shelf.token.text, int(time.time()) + 60)
    behind = gateway_to(apple, tmp_path, shelf)
    assert (await behind.send(request())).outcome is Outcome.DELIVERED and shelf.made == 1
    for each in (ahead, behind):
        await each.close()


async def test_an_expired_token_is_renewed_once_and_only_when_old_enough(apple: Apple, tmp_path: Path) -> None:
    shelf = Shelf()
    gateway = gateway_to(apple, tmp_path, shelf)
    await gateway.send(request())

    def expired(push: Push) -> Fault | None:
        return Fault("status", 403, "ExpiredProviderToken")

    apple.plan = expired
    assert (await gateway.send(request())).outcome is Outcome.UNAUTHORIZED, "too young to be renewed"
    assert shelf.token is not None
    old = ProviderToken(shelf.token.text, int(time.time()) - 30 * 60)
    gateway.provider.token = shelf.token = old
    assert (await gateway.send(request())).outcome is Outcome.RETRY
    apple.plan = lambda push: None
    apple.providers.clear()
    assert (await gateway.send(request())).outcome is Outcome.DELIVERED
    assert shelf.made == 2 and len(apple.providers) == 1
    assert gateway.provider.expire(old.text) is True, "an answer to the old one, late: the new one is tried"
    assert shelf.made == 2
    await gateway.close()
