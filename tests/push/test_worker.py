"""What becomes of a push that does not arrive at once: when it is tried again, and when nobody tries any more."""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import select, update

from push import sender as push_sender
from push import worker as module
from push.provider import Outcome, Push, PushResult
from push.targets import target_of as push_target_of
from storage import contexts, outbox
from storage.errors import Unavailable
from storage.models import deliveries, devices
from storage.models import outbox as causes
from storage.transaction import Command
from storage.types import SECOND, now
from tests.conftest import Served, ServerFactory, eventually
from tests.support.guard import NEVER
from tests.support.people import Person
from tests.support.pushing import due_now, pair

HOUR = 3600


class Scripted:
    """A provider that answers as it is told, in turn or as a function says; then that all is well."""

    name = "a script"
    retry_base = 0.0

    def __init__(self) -> None:
        self.pushes: list[Push] = []
        self.results: list[PushResult | Exception] = []
        self.plan: Callable[[Push], PushResult | Exception | None] = lambda push: None
        self.hold: asyncio.Event | None = None
        self.closed = False

    async def send(self, push: Push) -> PushResult:
        self.pushes.append(push)
        if self.hold:
            await self.hold.wait()
        result = self.plan(push) or (self.results.pop(0) if self.results else PushResult(Outcome.ACCEPTED, 200))
        if isinstance(result, Exception):
            raise result
        return result

    def scope(self, push: Push) -> str:
        return ""

    async def close(self) -> None:
        self.closed = True


def fails(outcome: Outcome = Outcome.RETRY, status: int = 503, reason: str = "Unavailable", **more: Any) -> PushResult:
    return PushResult(outcome, status, reason, **more)


@pytest.fixture
async def provider() -> Scripted:
    return Scripted()


@pytest.fixture
async def server(serve: ServerFactory, provider: Scripted, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Served]:
    """Nothing is tried again by itself: a test makes it due. Pauses are neither shorter nor longer than they are meant."""
    served = await serve()
    worker = served.services.worker
    worker.senders["apns"].provider = provider
    worker.policy = replace(worker.policy, retry_base=HOUR, retry_most=5 * HOUR, slow_down=2 * HOUR, ttl=1000 * HOUR)
    monkeypatch.setattr(random, "uniform", lambda low, high: (low + high) / 2)
    yield served
    assert not worker.in_flight and not worker.asking and worker.senders["apns"].reserved == 0


COLUMNS = ("state", "attempts", "status", "reason", "due_at", "deadline_at", "lease")


async def rows(server: Served) -> list[Any]:
    statement = select(*(deliveries.c[name] for name in COLUMNS)).order_by(deliveries.c.pk)
    return list(await server.services.database.read(lambda connection: connection.execute(statement).all()))


async def settled(server: Served, count: int) -> list[Any]:
    """The deliveries, when so many settlements have been written in all."""
    worker = server.services.worker
    await eventually(lambda: sum(worker.settled.values()) + worker.retried >= count and not worker.in_flight)
    await eventually(lambda: worker.settler.writing is None)
    return await rows(server)


def is_due_in(row: Any, seconds: float, before: int) -> bool:
    due_at: int = row.due_at
    return before + int(seconds * SECOND) <= due_at <= now() + int(seconds * SECOND)


@pytest.mark.parametrize(
    ("result", "pauses"),
    [
        (fails(), [1, 2, 4, 5, 5]),
        (fails(Outcome.SLOW_DOWN, 429, "TooManyRequests"), [2, 4, 5]),
        (fails(Outcome.TOKEN_DEAD, 410, "Unregistered", dead_at=1), [1, 2, 4]),
    ],
    ids=["retry", "slow down", "registered since"],
)
async def test_each_pause_is_twice_as_long_up_to_the_longest(
    server: Served, provider: Scripted, result: PushResult, pauses: list[int]
) -> None:
    provider.results = [result] * len(pauses)
    ann, _, chat = await pair(server)
    before = now()
    await ann.send(chat)
    for number, hours in enumerate(pauses, 1):
        (row,) = await settled(server, number)
        assert (row.state, row.attempts, row.status, row.reason) == ("waiting", number, result.status, result.reason)
        assert is_due_in(row, hours * HOUR, before), number
        before = now()
        await due_now(server)
    (row,) = await settled(server, len(pauses) + 1)
    assert row.state == "sent" and len({each.push_id for each in provider.pushes}) == 1


async def test_pauses_are_spread(server: Served, provider: Scripted, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that what failed together does not come back together."""
    asked: list[tuple[float, float]] = []

    def longest(low: float, high: float) -> float:
        asked.append((low, high))
        return high

    monkeypatch.setattr(random, "uniform", longest)
    provider.results = [fails()]
    ann, _, chat = await pair(server)
    before = now()
    await ann.send(chat)
    (row,) = await settled(server, 1)
    assert asked == [(0.5, 1.5)] and is_due_in(row, 1.5 * HOUR, before)


@pytest.mark.parametrize(("ttl", "state"), [(0.4, "dead"), (0.6, "waiting")])
async def test_what_would_come_too_late_is_a_dead_letter_at_once(
    server: Served, provider: Scripted, caplog: pytest.LogCaptureFixture, ttl: float, state: str
) -> None:
    """The earliest next try is after half of the pause."""
    worker = server.services.worker
    worker.policy = replace(worker.policy, ttl=ttl * HOUR)
    provider.results = [fails()]
    ann, _, chat = await pair(server)
    await ann.send(chat)
    (row,) = await settled(server, 1)
    assert row.state == state and len(provider.pushes) == 1
    assert row.reason == ("too late: Unavailable" if state == "dead" else "Unavailable")
    caplog.clear()


async def test_a_gateway_that_fails_is_tried_again(
    server: Served, provider: Scripted, caplog: pytest.LogCaptureFixture
) -> None:
    provider.results = [ZeroDivisionError()]
    ann, _, chat = await pair(server)
    before = now()
    await ann.send(chat)
    (row,) = await settled(server, 1)
    assert (row.state, row.attempts, row.status, row.reason) == ("waiting", 1, 0, "ZeroDivisionError")
    assert is_due_in(row, HOUR, before) and "a script failed" in caplog.text
    assert server.services.worker.senders["apns"].breakers.all.proven, "no answer is no refusal"
    caplog.clear()


@pytest.mark.parametrize("late", [False, True])
async def test_a_push_that_can_not_be_written_harms_no_other(
    server: Served, provider: Scripted, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, late: bool
) -> None:
    read = contexts.contexts

    def broken(connection: Any, held: Any, at: int) -> Any:
        if any(each.seq == 2 for each in held):
            raise ZeroDivisionError
        return read(connection, held, at)

    monkeypatch.setattr(contexts, "contexts", broken)
    worker = server.services.worker
    if late:
        worker.policy = replace(worker.policy, ttl=0)
        provider.plan = lambda push: pytest.fail("sent after its deadline")
    ann, _, chat = await pair(server)
    before = now()
    await asyncio.gather(*(ann.send(chat) for _ in range(3)))
    found = await settled(server, 3)
    bad = [row for row in found if row.reason == "ZeroDivisionError"]
    assert len(found) == 3 and len(bad) == 1
    if late:
        assert {row.state for row in found} == {"dead"} and not provider.pushes
    else:
        assert sorted(row.state for row in found) == ["sent", "sent", "waiting"]
        assert (bad[0].attempts, bad[0].status) == (1, None) and is_due_in(bad[0], HOUR, before)
    caplog.clear()


async def test_a_database_that_does_not_answer_costs_no_try(
    server: Served, provider: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> Any:
        raise Unavailable

    monkeypatch.setattr(contexts, "contexts", broken)
    ann, _, chat = await pair(server)
    before = now()
    await asyncio.gather(*(ann.send(chat) for _ in range(2)))
    found = await settled(server, 2)
    assert {(row.state, row.reason) for row in found} == {("waiting", "the database does not answer")}
    assert all(is_due_in(row, HOUR, before) for row in found) and not provider.pushes


async def test_what_is_wrong_with_the_database_once_is_looked_at_again(
    server: Served, provider: Scripted, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "POLL_SECONDS", 0.01)
    claim, faults = outbox.claim_causes, [ZeroDivisionError(), Unavailable()]

    def once(*given: Any, **named: Any) -> Any:
        if faults:
            raise faults.pop(0)
        return claim(*given, **named)

    monkeypatch.setattr(outbox, "claim_causes", once)
    ann, _, chat = await pair(server)
    await ann.send(chat)
    (row,) = await settled(server, 1)
    assert row.state == "sent" and not faults and "expand_due failed" in caplog.text
    caplog.clear()


async def connected(server: Served, count: int) -> tuple[Any, str]:
    """Somebody who writes to so many who have a phone and a socket, of which nobody knows yet what it has seen."""
    worker = server.services.worker
    ann, _, chat = await pair(server, *(f"b{number}" for number in range(count)))
    asked: list[set[Any]] = []

    async def everybody(users: Any) -> set[int]:
        return set(users)

    async def reached(places: Any) -> set[Any]:
        asked.append(set(places))
        return set()

    worker.reach.connected = everybody  # type: ignore[method-assign, assignment]
    worker.reach.reached = reached  # type: ignore[method-assign, assignment]
    return ann, chat


async def test_when_many_are_asked_already_the_rest_wait_a_second(
    server: Served, provider: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "ASKED_AT_MOST", 1)
    ann, chat = await connected(server, 2)
    before = now()
    await ann.send(chat)
    found = await settled(server, 2)
    assert {(row.state, row.attempts, row.reason) for row in found} == {("waiting", 0, "many are asked already")}
    assert all(is_due_in(row, 1, before) for row in found) and not provider.pushes
    monkeypatch.setattr(module, "ASKED_AT_MOST", 2)
    await due_now(server)
    assert {row.state for row in await settled(server, 4)} == {"sent"}


async def test_who_was_asked_and_finds_no_room_waits(server: Served, provider: Scripted) -> None:
    worker = server.services.worker
    worker.senders["apns"].limit = 3
    ann, chat = await connected(server, 3)
    reached = worker.reach.reached

    async def meanwhile(places: Any) -> set[Any]:
        worker.senders["apns"].limit = 1
        worker.reach.reached = reached  # type: ignore[method-assign]
        return await reached(places)

    worker.reach.reached = meanwhile  # type: ignore[method-assign, assignment]
    provider.hold = asyncio.Event()
    await ann.send(chat)
    await eventually(lambda: provider.pushes and worker.retried == 2)
    await eventually(lambda: worker.settler.writing is None)
    waiting = [row for row in await rows(server) if row.reason]
    assert {(row.state, row.attempts, row.reason) for row in waiting} == {("waiting", 0, "no room")}
    worker.senders["apns"].limit = 3
    provider.hold.set()
    await due_now(server)
    assert {row.state for row in await settled(server, 5)} == {"sent"}


async def test_a_refused_key_costs_no_try(server: Served, provider: Scripted, caplog: pytest.LogCaptureFixture) -> None:
    provider.results = [fails(Outcome.REFUSED, 403, "InvalidProviderToken")]
    ann, _, chat = await pair(server)
    before = now()
    await ann.send(chat)
    (row,) = await settled(server, 1)
    assert (row.state, row.attempts, row.status, row.reason) == ("waiting", 0, 403, "InvalidProviderToken")
    assert before + 58 * SECOND <= row.due_at <= now() + 60 * SECOND
    worker = server.services.worker
    assert worker.senders["apns"].breakers.all.is_open
    worker.senders["apns"].breakers.all.open_until = 0.0
    await due_now(server)
    assert (await settled(server, 2))[0].state == "sent" and worker.senders["apns"].breakers.all.proven
    caplog.clear()


async def test_a_provider_that_is_busy_gets_nothing_for_as_long_as_it_asks(server: Served, provider: Scripted) -> None:
    provider.results = [fails(Outcome.BUSY, 429, "QUOTA_EXCEEDED", after=HOUR)]
    ann, _, chat = await pair(server)
    before = now()
    await ann.send(chat)
    (row,) = await settled(server, 1)
    assert (row.state, row.attempts, row.status) == ("waiting", 0, 429) and is_due_in(row, HOUR, before - SECOND)
    sender = server.services.worker.senders["apns"]
    assert sender.is_busy and not sender.can_claim
    await due_now(server)
    await ann.send(chat)
    await asyncio.sleep(0)
    assert len(provider.pushes) == 1
    sender.busy_until = 0.0
    await due_now(server)
    assert {row.state for row in await settled(server, 3)} == {"sent"}


async def test_an_answer_asks_for_a_pause(server: Served, provider: Scripted) -> None:
    provider.results = [fails(after=3 * HOUR)]
    ann, _, chat = await pair(server)
    before = now()
    await ann.send(chat)
    (row,) = await settled(server, 1)
    assert row.attempts == 1 and is_due_in(row, 3 * HOUR, before)


async def test_a_silent_scope_leaves_places_to_the_others(
    server: Served, provider: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    sender = server.services.worker.senders["apns"]
    sender.limit = 8
    provider.hold = asyncio.Event()
    ann, _, chat = await pair(server, "b1", "b2")
    await ann.send(chat)
    await eventually(lambda: len(provider.pushes) == 2)
    monkeypatch.setattr(push_sender, "SILENT_SECONDS", -1.0)
    await ann.send(chat)
    await eventually(lambda: server.services.worker.retried == 2)
    assert len(provider.pushes) == 2 and sender.to_scope[""].count == 2 and not sender.can_claim
    provider.hold.set()
    await eventually(lambda: not sender.sending)
    monkeypatch.undo()
    await due_now(server)
    assert {row.state for row in await settled(server, 6)} == {"sent"} and not sender.to_scope


async def test_what_waits_for_a_provider_that_is_gone_is_settled(server: Served, provider: Scripted) -> None:
    provider.results = [fails()]
    ann, _, chat = await pair(server)
    await ann.send(chat)
    await settled(server, 1)
    gone = update(deliveries).values(provider="fcm", due_at=0)
    await server.services.database.write(Command(lambda tx: tx.execute(gone)))
    await server.services.database.write(Command(lambda tx: outbox.settle_unknown(tx, ["apns"])))
    (row,) = await rows(server)
    assert (row.state, row.reason, row.lease) == ("dead", "the provider is not set up", None)


async def test_a_token_that_is_known_to_be_dead_is_not_tried(server: Served, provider: Scripted) -> None:
    """Not even by what was claimed before its device was forgotten."""
    worker = server.services.worker
    ann, _, chat = await pair(server, "b1", "b2")
    await ann.send(chat)
    await settled(server, 2)
    registered = devices.c.registered_at
    found = await server.services.database.read(
        lambda it: dict(it.execute(select(devices.c.push_token, registered)).all())
    )
    provider.pushes.clear()
    worker.dead["b1", "sandbox"] = found["b1"]
    worker.dead["b2", "sandbox"] = found["b2"] - 1
    await ann.send(chat)
    states = [(row.state, row.status, row.reason) for row in (await settled(server, 4))[2:]]
    assert sorted(states, key=str) == [("dropped", 410, "token dead"), ("sent", 200, "")]
    assert [each.address.token for each in provider.pushes] == ["b2"], "it was registered again since"


async def test_so_many_dead_tokens_are_remembered(
    server: Served, provider: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "DEAD_REMEMBERED", 2)
    provider.plan = lambda push: fails(Outcome.TOKEN_DEAD, 410, "Unregistered")
    worker = server.services.worker
    for token in ("b1", "b2", "b3"):
        ann, _, chat = await pair(server, token)
        await ann.send(chat)
        await eventually(lambda token=token: (token, "sandbox") in worker.dead and not worker.in_flight)  # type: ignore[misc]
    assert [token for token, _ in worker.dead] == ["b2", "b3"], "the oldest goes"


# Stopping


async def push_under_way(server: Served, provider: Scripted) -> tuple[asyncio.Event, Person, str]:
    """Send a message whose push the provider answers only when the event is set; the event, the sender and the chat."""
    provider.hold = hold = asyncio.Event()
    ann, _, chat = await pair(server)
    await ann.send(chat)
    await eventually(lambda: provider.pushes)
    return hold, ann, chat


async def test_stopping_waits_for_what_is_under_way(server: Served, provider: Scripted) -> None:
    worker = server.services.worker
    hold, _, _ = await push_under_way(server, provider)
    stopping = asyncio.create_task(worker.stop())
    for _ in range(50):
        await asyncio.sleep(0)
    assert not stopping.done() and worker.in_flight
    hold.set()
    await stopping
    assert [row.state for row in await rows(server)] == ["sent"] and provider.closed


async def test_stopping_gives_back_what_takes_too_long(server: Served, provider: Scripted) -> None:
    worker = server.services.worker
    _, ann, chat = await push_under_way(server, provider)
    await worker.stop(seconds=0)
    (row,) = await rows(server)
    assert (row.state, row.lease) == ("waiting", None) and provider.closed
    await ann.send(chat)
    held = await server.services.database.read(lambda it: it.execute(select(causes.c.lease)).scalars().all())
    assert held == [None], "nothing more is claimed"
    worker.senders["apns"].sending.clear()


async def test_a_deadline_that_is_now_is_past(
    server: Served, provider: Scripted, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    worker = server.services.worker
    provider.results = [fails()]
    ann, _, chat = await pair(server)
    await ann.send(chat)
    await settled(server, 1)
    moment = now() + 10 * SECOND
    due = update(deliveries).values(deadline_at=moment)
    await server.services.database.write(Command(lambda tx: tx.execute(due)))
    monkeypatch.setattr(module, "now", lambda: moment)
    await due_now(server)
    (row,) = await settled(server, 2)
    assert (row.state, row.reason) == ("dead", "too late") and len(provider.pushes) == 1
    assert worker.settled["dead"] == 1
    caplog.clear()


# What was claimed, and is not sent


async def claimed(server: Served, provider: Scripted) -> tuple[Any, Any]:
    """A delivery and its target, as the worker has them before it sends; the worker does nothing by itself any more."""
    worker = server.services.worker
    sent: list[tuple[Any, Any]] = []

    async def tried(delivery: Any, target: Any, push: Any) -> None:
        sent.append((delivery, target))

    worker._try = tried  # type: ignore[method-assign]
    ann, _, chat = await pair(server)
    await ann.send(chat)
    await eventually(lambda: sent)
    del worker._try
    assert not provider.pushes
    return sent[0]


@pytest.mark.parametrize(
    ("waited", "goes"), [(module.LEASE_SECONDS / 2 - 1, True), (module.LEASE_SECONDS / 2 + 1, False)]
)
async def test_what_waited_for_half_of_its_lease_is_left_to_whoever_claims_it_next(
    server: Served, provider: Scripted, waited: float, goes: bool
) -> None:
    worker = server.services.worker
    delivery, target = await claimed(server, provider)
    worker.senders["apns"].sending[delivery.pk] = time.monotonic() - waited
    await worker._try(delivery, target, target.push(worker.policy, now()))
    assert len(provider.pushes) == goes
    if goes:
        assert (await settled(server, 1))[0].state == "sent"
    else:
        assert delivery.pk not in worker.senders["apns"].sending and not worker.settled and worker.retried == 0


async def test_nothing_new_goes_out_while_it_stops(server: Served, provider: Scripted) -> None:
    worker = server.services.worker
    delivery, target = await claimed(server, provider)
    worker.stopping = True
    before = now()
    await worker._try(delivery, target, target.push(worker.policy, now()))
    worker.stopping = False
    (row,) = await settled(server, 1)
    assert (row.state, row.attempts, row.reason) == ("waiting", 0, "paused") and not provider.pushes
    assert is_due_in(row, 1, before)


async def claims_again_in_vain(server: Served) -> None:
    """The leases have ended; the worker claims what it has already, and begins nothing."""
    worker = server.services.worker
    await server.services.database.write(
        Command(lambda tx: tx.execute(update(deliveries).values(due_at=0, lease=None, lease_until=0)))
    )
    begun: list[Any] = []
    begin = worker._begin

    def recording(held: Any, near: Any) -> None:
        begun.extend(held)
        begin(held, near)

    worker._begin = recording  # type: ignore[method-assign, assignment]
    await worker._send_due()
    assert begun == []


async def test_what_is_claimed_a_second_time_is_sent_once(server: Served, provider: Scripted) -> None:
    """Its lease ended while it was under way here."""
    hold, _, _ = await push_under_way(server, provider)
    await claims_again_in_vain(server)
    hold.set()
    await settled(server, 1)
    assert len(provider.pushes) == 1


async def test_what_is_asked_about_is_not_asked_twice(server: Served, provider: Scripted) -> None:
    worker = server.services.worker
    ann, chat = await connected(server, 1)
    asked: list[Any] = []
    answer = asyncio.Event()

    async def reached(places: Any) -> set[Any]:
        asked.append(places)
        await answer.wait()
        return set()

    worker.reach.reached = reached  # type: ignore[method-assign, assignment]
    await ann.send(chat)
    await eventually(lambda: asked)
    assert len(worker.asking) == 1
    await claims_again_in_vain(server)
    answer.set()
    await settled(server, 1)
    assert len(asked) == 1 and len(provider.pushes) == 1


async def test_a_token_that_changed_meanwhile_is_tried_again_at_once(server: Served, provider: Scripted) -> None:
    """The device was registered anew while the push with its old token was under way."""
    worker = server.services.worker
    again, later = worker._retry_in, []

    def recording(delivery: Any, reason: str, seconds: float, **options: Any) -> None:
        later.append((reason, seconds, options))
        again(delivery, reason, seconds, **options)

    worker._retry_in = recording  # type: ignore[method-assign]
    hold, _, _ = await push_under_way(server, provider)
    provider.results = [fails(Outcome.TOKEN_DEAD, 410, "Unregistered")]
    await server.services.database.write(
        Command(lambda tx: tx.execute(update(devices).values(push_token="new", registered_at=now())))
    )
    hold.set()
    (row,) = await settled(server, 2)
    assert (row.state, row.attempts) == ("sent", 2)
    assert [each.address.token for each in provider.pushes] == ["b1", "new"]
    assert later == [("the token changed", 0, {"status": 410, "counts": True})]


async def test_an_unforeseen_fault_is_tried_again_after_longer_and_longer_pauses(
    server: Served, provider: Scripted, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    target_of, faults = push_target_of, [ZeroDivisionError] * 3

    def broken(brief: Any) -> Any:
        if faults:
            raise faults.pop()
        return target_of(brief)

    monkeypatch.setattr(module, "target_of", broken)
    ann, _, chat = await pair(server)
    before = now()
    await ann.send(chat)
    for number, hours in enumerate([1, 2, 4], 1):
        (row,) = await settled(server, number)
        assert (row.state, row.attempts, row.reason) == ("waiting", number, "ZeroDivisionError")
        assert is_due_in(row, hours * HOUR, before), number
        before = now()
        await due_now(server)
    assert (await settled(server, 4))[0].state == "sent"
    caplog.clear()


async def test_tries_are_counted_up_to_thirty(server: Served, provider: Scripted) -> None:
    """So that the pause, which doubles with each, stays a number."""
    provider.results = [fails(), fails()]
    ann, _, chat = await pair(server)
    await ann.send(chat)
    await settled(server, 1)
    for number, attempts in ((2, 29), (3, 30)):
        await server.services.database.write(
            Command(lambda tx, attempts=attempts: tx.execute(update(deliveries).values(attempts=attempts)))  # type: ignore[misc]
        )
        provider.results = [fails()]
        await due_now(server)
        (row,) = await settled(server, number)
        assert row.attempts == 30


async def test_no_answer_is_no_proof_that_the_provider_lets_in(server: Served, provider: Scripted) -> None:
    worker = server.services.worker
    worker.senders["apns"].breakers.all.proven = False
    provider.results = [PushResult(Outcome.RETRY, 0, "no answer"), PushResult(Outcome.RETRY, 1, "an answer")]
    ann, _, chat = await pair(server)
    await ann.send(chat)
    await settled(server, 1)
    assert not worker.senders["apns"].breakers.all.proven and not worker.senders["apns"].breakers.all.probing
    await due_now(server)
    await settled(server, 2)
    assert worker.senders["apns"].breakers.all.proven


async def test_what_finds_no_room_goes_out_when_something_is_settled(
    server: Served, provider: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not only when the clock looks again."""
    worker = server.services.worker
    worker.senders["apns"].limit = 1
    monkeypatch.setattr(module, "POLL_SECONDS", NEVER)
    ann, _, chat = await pair(server, "b1", "b2", "b3")
    await ann.send(chat)
    assert {row.state for row in await settled(server, 3)} == {"sent"}
    assert sorted(each.address.token for each in provider.pushes) == ["b1", "b2", "b3"]
