"""The provider against a double of Apple: every fault is a result, and harms no other push."""

import asyncio
import time
import uuid
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from push import apns_connection
from push.apns import ApnsProvider
from push.doubles.apns import KEY_ID, TEAM, TOPIC, Apple
from push.doubles.apple_connection import ApnsFault
from push.doubles.apple_connection import ApnsPush as Arrived
from push.notes import LiveNote, Note
from push.provider import Address, Outcome, Push, PushResult
from push.signed import AppleToken, SignedToken
from tests.conftest import eventually
from tests.support.guard import HANG_SECONDS


@pytest.fixture
async def apple() -> AsyncIterator[Apple]:
    async with Apple() as made:
        yield made


class Shelf:
    """What the nodes share."""

    def __init__(self) -> None:
        self.token: SignedToken | None = None
        self.made = 0

    async def share(self, keep: Any) -> SignedToken:
        await asyncio.sleep(0)
        before, self.token = self.token, keep(self.token)
        self.made += self.token is not before
        assert self.token is not None
        return self.token


def provider_to(apple: Apple, folder: Path, shelf: Shelf | None = None, **options: Any) -> ApnsProvider:
    files = apple.write_files(folder)
    token = AppleToken(apple.private_key, KEY_ID, TEAM, (shelf or Shelf()).share)
    return ApnsProvider(token, topic=TOPIC, host="localhost", port=apple.port, ca=files["apns_ca"], **options)


@pytest.fixture
async def provider(apple: Apple, tmp_path: Path) -> AsyncIterator[ApnsProvider]:
    made = provider_to(apple, tmp_path)
    yield made
    await made.close()


NOTE = Note(once="c", badge=1, title="hi")
LIVE = LiveNote(event="update", stream_id="s", chat_id="c", stamp=1, state={"status": "live"}, stale_at=2)


def push_to(
    token: str = "a1b2", *, note: Note | LiveNote = NOTE, app: str = "", push_id: str = "", expires_at: int = 0
) -> Push:
    address = Address(token=token, app=app, environment="production", registered_at=0)
    return Push(address, note, push_id or str(uuid.uuid4()), expires_at or int(time.time()) + 3600)


def table(provider: ApnsProvider) -> int:
    """Exchanges that the provider still remembers."""
    hosts = provider.hosts.values()
    return sum(len(host.waiting) + sum(len(each.exchanges) for each in host.connections) for host in hosts)


async def test_a_push_as_apple_wants_it(apple: Apple, provider: ApnsProvider) -> None:
    wanted = push_to("cafe01")
    assert await provider.send(wanted) == PushResult(Outcome.ACCEPTED, 200)
    (arrived,) = apple.pushes
    headers = arrived.headers
    assert arrived.token == "cafe01" and arrived.payload["aps"]["alert"] == {"title": "hi"}
    assert headers["apns-topic"] == TOPIC and headers["apns-push-type"] == "alert"
    assert headers["apns-priority"] == "10", "at once"
    assert headers["apns-collapse-id"] == "c" and headers["apns-expiration"] == str(wanted.expires_at)
    assert headers["apns-id"] == wanted.push_id and headers[":method"] == "POST"


async def test_a_badge_comes_when_it_suits_and_a_live_activity_to_its_own_topic(
    apple: Apple, provider: ApnsProvider
) -> None:
    await provider.send(push_to(note=Note(once="badge", badge=3)))
    await provider.send(push_to(note=LIVE, app="org.own"))
    badge, live = apple.pushes
    assert (badge.headers["apns-priority"], badge.collapse_id, badge.payload) == ("5", "badge", {"aps": {"badge": 3}})
    assert live.headers["apns-topic"] == "org.own.push-type.liveactivity"
    assert live.headers["apns-push-type"] == "liveactivity" and live.headers["apns-priority"] == "10"
    assert live.collapse_id is None, "the stamps say which is the newest"


async def test_the_first_push_goes_alone_and_none_is_refused(apple: Apple, provider: ApnsProvider) -> None:
    apple.delay = 0.02
    results = await asyncio.gather(*(provider.send(push_to(f"t{n}")) for n in range(500)))
    assert {each.outcome for each in results} == {Outcome.ACCEPTED}
    assert apple.connections <= 2 and len(apple.providers) == 1 and len(apple.pushes) == 500
    assert table(provider) == 0


REACTIONS = [
    (ApnsFault("status", 400, "BadDeviceToken"), Outcome.TOKEN_DEAD),
    (ApnsFault("status", 400, "BadTopic"), Outcome.REJECTED),
    (ApnsFault("status", 400, "DeviceTokenNotForTopic"), Outcome.REJECTED),
    (ApnsFault("status", 400, "IdleTimeout"), Outcome.RETRY),
    (ApnsFault("status", 403, "InvalidProviderToken"), Outcome.REFUSED),
    (ApnsFault("status", 403, "UnrelatedKeyIdInToken"), Outcome.REFUSED),
    (ApnsFault("status", 404, "BadPath"), Outcome.REJECTED),
    (ApnsFault("status", 405, "MethodNotAllowed"), Outcome.REJECTED),
    (ApnsFault("status", 410, "Unregistered", 1_700_000_000_000), Outcome.TOKEN_DEAD),
    (ApnsFault("status", 410, "ExpiredToken", 1_700_000_000_000), Outcome.TOKEN_DEAD),
    (ApnsFault("status", 413, "PayloadTooLarge"), Outcome.REJECTED),
    (ApnsFault("status", 429, "TooManyRequests"), Outcome.SLOW_DOWN),
    (ApnsFault("status", 429, "TooManyProviderTokenUpdates"), Outcome.REFUSED),
    (ApnsFault("status", 500, "InternalServerError"), Outcome.RETRY),
    (ApnsFault("status", 503, "ServiceUnavailable"), Outcome.RETRY),
    (ApnsFault("reset"), Outcome.RETRY),
    (ApnsFault("goaway"), Outcome.RETRY),
    (ApnsFault("abort"), Outcome.RETRY),
    (ApnsFault("silence"), Outcome.RETRY),
    (ApnsFault("late", seconds=1.0), Outcome.RETRY),
    (ApnsFault("bodiless", 503), Outcome.RETRY),
    (ApnsFault("bodiless", 400), Outcome.REJECTED),
    (ApnsFault("garbage", 500), Outcome.RETRY),
    (ApnsFault("empty"), Outcome.ACCEPTED),
]


@pytest.mark.parametrize(("fault", "outcome"), REACTIONS, ids=lambda it: getattr(it, "kind", ""))
async def test_each_fault_is_a_result_and_the_next_push_goes(
    apple: Apple, provider: ApnsProvider, fault: ApnsFault, outcome: Outcome, monkeypatch: pytest.MonkeyPatch
) -> None:
    await provider.send(push_to("first"))
    apple.plan = lambda push: fault if push.token == "bad" else None
    with monkeypatch.context() as patch:
        if fault.kind in ("silence", "late", "bodiless"):
            patch.setattr(apns_connection, "ANSWER_SECONDS", 0.5)
        result = await provider.send(push_to("bad"))
    assert result.outcome is outcome, result
    if fault.timestamp:
        assert result.dead_at == fault.timestamp * 1000
    assert len(apple.of("bad")) == 1, "the provider sends nothing twice"
    assert (await provider.send(push_to("next"))).outcome is Outcome.ACCEPTED
    if fault.kind == "late":
        await asyncio.sleep(0.8)
        assert (await provider.send(push_to("after"))).outcome is Outcome.ACCEPTED
    assert table(provider) == 0
    assert len(apple.providers) == 1


@pytest.mark.parametrize("kind", ["reset", "silence", "late", "bodiless", "garbage", "empty", "status"])
async def test_one_fault_harms_no_neighbour(
    apple: Apple, tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    provider = provider_to(apple, tmp_path, connections=1)
    await provider.send(push_to("first"))
    apple.delay = 0.05
    apple.plan = lambda push: ApnsFault(kind, seconds=5) if push.token == "bad" else None
    neighbours = [asyncio.create_task(provider.send(push_to(f"n{n}"))) for n in range(100)]
    await asyncio.sleep(0)
    monkeypatch.setattr(apns_connection, "ANSWER_SECONDS", 1.0)
    bad = asyncio.create_task(provider.send(push_to("bad")))
    await asyncio.sleep(0)
    monkeypatch.setattr(apns_connection, "ANSWER_SECONDS", HANG_SECONDS)
    later = [asyncio.create_task(provider.send(push_to(f"m{n}"))) for n in range(100)]
    results = await asyncio.gather(*neighbours, *later)
    assert {each.outcome for each in results} == {Outcome.ACCEPTED}
    await bad
    assert apple.connections == 1 and len(apple.pushes) == 202 and table(provider) == 0
    await provider.close()


@pytest.mark.parametrize("kind", ["goaway", "abort"])
async def test_what_was_in_flight_when_a_connection_ended_is_unknown_once(
    apple: Apple, provider: ApnsProvider, kind: str
) -> None:
    await provider.send(push_to("first"))
    apple.delay = 0.05
    apple.plan = lambda push: ApnsFault(kind) if push.token == "n50" else None
    results = await asyncio.gather(*(provider.send(push_to(f"n{n}")) for n in range(100)))
    assert {each.outcome for each in results} == {Outcome.ACCEPTED, Outcome.RETRY}
    assert all(len(apple.of(f"n{n}")) <= 1 for n in range(100)), "no push is sent again by the provider"
    apple.plan = lambda push: None
    again = await asyncio.gather(*(provider.send(push_to(f"n{n}")) for n in range(100)))
    assert {each.outcome for each in again} == {Outcome.ACCEPTED} and table(provider) == 0


async def test_silence_of_a_whole_connection_ends_it(
    apple: Apple, provider: ApnsProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    await provider.send(push_to("first"))
    apple.plan = lambda push: ApnsFault("silence") if push.token.startswith("bad") else None
    with monkeypatch.context() as patch:
        patch.setattr(apns_connection, "ANSWER_SECONDS", 0.3)
        results = await asyncio.gather(*(provider.send(push_to(f"bad{n}")) for n in range(20)))
    assert {each.outcome for each in results} == {Outcome.RETRY}
    assert (await provider.send(push_to("next"))).outcome is Outcome.ACCEPTED
    assert apple.connections == 2 and table(provider) == 0


async def until_sent(provider: ApnsProvider) -> None:
    """Try again as the outbox would, until a push is taken."""
    async with asyncio.timeout(HANG_SECONDS):
        while (await provider.send(push_to())).outcome is not Outcome.ACCEPTED:
            await asyncio.sleep(0.05)


async def test_nobody_listens_and_then_somebody_does(apple: Apple, provider: ApnsProvider) -> None:
    port = apple.port
    await apple.stop()
    results = await asyncio.gather(*(provider.send(push_to(f"n{n}")) for n in range(50)))
    assert {each.outcome for each in results} == {Outcome.RETRY}
    await apple.start(port)
    await until_sent(provider)
    await apple.stop()
    await asyncio.sleep(0.05)
    await apple.start(port)
    await until_sent(provider)


async def test_connections_that_fail_are_opened_ever_more_rarely(apple: Apple, provider: ApnsProvider) -> None:
    apple.plan = lambda push: ApnsFault("goaway")
    until = time.monotonic() + 2
    while time.monotonic() < until:
        assert (await provider.send(push_to())).outcome is Outcome.RETRY
        await asyncio.sleep(0.005)
    assert apple.connections < 10


async def test_a_connection_that_ended_before_it_was_known_takes_no_place(
    apple: Apple, provider: ApnsProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = apns_connection.ApnsConnection.connection_made

    def ends_at_once(self: apns_connection.ApnsConnection, transport: Any) -> None:
        made(self, transport)
        self.end("ended on purpose")

    monkeypatch.setattr(apns_connection.ApnsConnection, "connection_made", ends_at_once)
    for _ in range(3):
        assert (await provider.send(push_to())).outcome is Outcome.RETRY
        provider.hosts["production"].open_after = 0.0
    monkeypatch.undo()
    await until_sent(provider)


async def test_waiting_for_a_place_is_no_silence(apple: Apple, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    provider = provider_to(apple, tmp_path, connections=1)
    await provider.send(push_to("first"))
    provider.hosts["production"].connections[0].limit = 5
    apple.withhold()
    going = [asyncio.create_task(provider.send(push_to(f"n{n}"))) for n in range(5)]
    await eventually(lambda: apple.held and len(apple.held) == 5)
    monkeypatch.setattr(apns_connection, "ANSWER_SECONDS", 0.3)
    waiting = await asyncio.gather(*(provider.send(push_to(f"m{n}")) for n in range(40)))
    assert {each.outcome for each in waiting} == {Outcome.RETRY}
    apple.release()
    assert {(await each).outcome for each in going} == {Outcome.ACCEPTED}
    assert apple.connections == 1, "it answered all the time"
    await provider.close()


async def test_a_wrong_certificate_is_a_result(apple: Apple, tmp_path: Path) -> None:
    async with Apple() as other:
        provider = provider_to(apple, tmp_path)
        provider.hosts["production"].port = other.port
        result = await provider.send(push_to())
        assert result.outcome is Outcome.RETRY and "connect" in result.reason
        await provider.close()


async def test_a_cancelled_send_leaves_nothing_behind(apple: Apple, provider: ApnsProvider) -> None:
    await provider.send(push_to("first"))
    apple.withhold()
    sends = [asyncio.create_task(provider.send(push_to(f"n{n}"))) for n in range(300)]
    await eventually(lambda: apple.held)
    for each in sends[::2]:
        each.cancel()
    apple.release()
    results = await asyncio.gather(*sends, return_exceptions=True)
    assert sum(isinstance(each, PushResult) and each.outcome is Outcome.ACCEPTED for each in results) == 150
    assert table(provider) == 0


async def test_what_apple_would_refuse_is_not_sent(apple: Apple, provider: ApnsProvider) -> None:
    wrong = [
        push_to(note=replace(LIVE, state={"title": "x" * 5000})), push_to(note=replace(NOTE, once="x" * 65)),
        push_to(note=replace(NOTE, once="ü" * 33)), push_to(note=replace(NOTE, once="a b")),
        push_to("../../x"), push_to("a b"), push_to("\x00"), push_to("x\r\ny: z"), push_to(app="a\r\nb"),
    ]  # fmt: skip
    for each in wrong:
        result = await provider.send(each)
        assert result.outcome is Outcome.REJECTED and result.status == 0 and result.reason
    assert apple.pushes == [] and apple.connections == 0


async def test_one_provider_token_for_all_nodes_until_it_is_old(
    apple: Apple, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shelf = Shelf()
    nodes = [provider_to(apple, tmp_path, shelf) for _ in range(3)]
    results = await asyncio.gather(*(node.send(push_to(f"n{n}")) for n in range(20) for node in nodes))
    assert {each.outcome for each in results} == {Outcome.ACCEPTED}
    assert shelf.made == 1 and len(apple.providers) == 1
    for seconds, made in ((49 * 60, 1), (51 * 60, 2)):
        at = time.time() + seconds
        monkeypatch.setattr(time, "time", lambda at=at: at)
        apple.providers[0] = (apple.providers[0][0], at - 3600)
        for node in nodes:
            assert (await node.send(push_to(expires_at=int(at) + 3600))).outcome is Outcome.ACCEPTED
        assert shelf.made == made
    monkeypatch.undo()
    for node in nodes:
        await node.close()


async def test_a_clock_ahead_makes_no_second_token(apple: Apple, tmp_path: Path) -> None:
    shelf = Shelf()
    ahead = provider_to(apple, tmp_path, shelf)
    await ahead.send(push_to())
    assert shelf.token
    shelf.token = SignedToken(shelf.token.text, int(time.time()) + 60)
    behind = provider_to(apple, tmp_path, shelf)
    assert (await behind.send(push_to())).outcome is Outcome.ACCEPTED and shelf.made == 1
    for each in (ahead, behind):
        await each.close()


async def test_an_expired_token_is_renewed_once_and_only_when_old_enough(apple: Apple, tmp_path: Path) -> None:
    shelf = Shelf()
    provider = provider_to(apple, tmp_path, shelf)
    await provider.send(push_to())

    def expired(push: Arrived) -> ApnsFault | None:
        return ApnsFault("status", 403, "ExpiredProviderToken")

    apple.plan = expired
    assert (await provider.send(push_to())).outcome is Outcome.REFUSED, "too young to be renewed"
    assert shelf.token is not None
    old = SignedToken(shelf.token.text, int(time.time()) - 30 * 60)
    provider.token.token = shelf.token = old
    assert (await provider.send(push_to())).outcome is Outcome.RETRY
    apple.plan = lambda push: None
    apple.providers.clear()
    assert (await provider.send(push_to())).outcome is Outcome.ACCEPTED
    assert shelf.made == 2 and len(apple.providers) == 1
    assert provider.token.expire(old.text) is True, "an answer to the old one, late: the new one is tried"
    assert shelf.made == 2
    await provider.close()
