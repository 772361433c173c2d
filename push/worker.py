"""The outbox at work: causes become deliveries, deliveries become pushes, and each is settled by its answer.

Trying again happens here and nowhere else. Whether the user was reached and has read is asked when a push is sent, not when
it was promised. A crash gives back what was held, and a push that may have arrived goes out again under the same ids.
"""

import asyncio
import contextlib
import logging
import random
import secrets
import time
from collections import Counter, OrderedDict
from collections.abc import Awaitable, Callable, Collection, Sequence
from functools import partial
from typing import Any, NamedTuple, Protocol

from push.gateway import Outcome, PushGateway, PushResult
from push.targets import Policy, Target, target_of
from storage import briefs, outbox
from storage.database import Database
from storage.errors import Unavailable
from storage.outbox import Cause, Delivery, Settlement, State
from storage.transaction import Command, Tx
from storage.types import SECOND, now

logger = logging.getLogger("bellwire.push")

LEASE = 30 * SECOND
LOOK_EVERY = 1.0
GATHER = 0.03
CAUSES_AT_ONCE = 100
BRIEFED_AT_ONCE = 100
FRESH = 5 * SECOND
PAUSE = 60.0
ASKED = ("message", "notification")
DEAD_REMEMBERED = 10_000


class Place(NamedTuple):
    """What a user is to have been reached by: an event of a channel."""

    user_pk: int
    channel_pk: int
    seq: int


class Reach(Protocol):
    """Who may have seen an event on a socket."""

    def connected(self, user_pk: int) -> bool:
        """Whether the user has a connection at all."""
        ...

    async def reached(self, places: Collection[Place]) -> set[Place]:
        """Those that were seen, as far as can be told. May take seconds."""
        ...


class Worker:
    """``await start()``, ``wake()`` after commits, ``await stop()``. ``settled`` counts deliveries by what became of them."""

    def __init__(self, database: Database, gateway: PushGateway, reach: Reach, policy: Policy) -> None:
        self.database = database
        self.gateway = gateway
        self.reach = reach
        self.policy = policy
        self.lease = secrets.token_hex(12)
        self.settled: Counter[str] = Counter()
        self.retried = 0
        self.paused_until = 0.0
        self.dead: OrderedDict[tuple[str, str], int] = OrderedDict()
        self.trusted = True
        self.probing = False
        self.room = asyncio.Semaphore(policy.in_flight)
        self.in_flight = 0
        self.expanding = 0
        self.stopping = False
        self.awake = asyncio.Event()
        self.tasks: set[asyncio.Task[None]] = set()
        self.settlements: list[Settlement] = []
        self.settling: asyncio.Task[None] | None = None

    async def start(self) -> None:
        if self.database.path:
            # Nobody else can have the file: what is held was held by a process that is gone.
            await self._write(outbox.release)
        self._spawn(self._watch(self._expand_due))
        self._spawn(self._watch(self._send_due))

    def wake(self) -> None:
        """Something was promised."""
        self.awake.set()

    async def stop(self, patience: float = 15.0) -> None:
        """Claim no more, let what is in flight end, give the rest back."""
        self.stopping = True
        self.awake.set()
        deadline = time.monotonic() + patience
        while self.tasks:
            _, late = await asyncio.wait(self.tasks, timeout=max(0.0, deadline - time.monotonic()))
            for task in late:
                task.cancel()
        await self.gateway.close()
        with contextlib.suppress(Unavailable):
            await self.database.write(Command(lambda tx: outbox.release(tx, self.lease)))

    def _spawn(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def _watch(self, work: Callable[[], Awaitable[bool]]) -> None:
        """Do ``work`` again as long as it says there is more, else when woken or once a second; whatever goes wrong."""
        while not self.stopping:
            try:
                more = await work()
            except Unavailable:
                more = False
                await asyncio.sleep(LOOK_EVERY)
            except Exception:
                logger.exception("%s failed; again in a second", work.__name__)
                more = False
                await asyncio.sleep(LOOK_EVERY)
            if not more and not self.stopping:
                self.awake.clear()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(LOOK_EVERY):
                        await self.awake.wait()
                    await asyncio.sleep(GATHER)

    # Causes

    async def _expand_due(self) -> bool:
        if self.expanding >= 10 * CAUSES_AT_ONCE or self.in_flight >= self.policy.in_flight:
            return False
        if not await self.database.read(outbox.causes_due):
            return False
        causes = await self._write(lambda tx: outbox.claim_causes(tx, self.lease, LEASE, CAUSES_AT_ONCE))
        if causes:
            self.expanding += len(causes)
            self._spawn(self._expand(causes))
        return len(causes) == CAUSES_AT_ONCE

    async def _expand(self, causes: Sequence[Cause]) -> None:
        """Deliveries for a page of the audience of each: at once for who can't have been reached, then for who was not."""
        try:
            at = now()
            pages = await self.database.read(
                lambda connection: [outbox.audience(connection, each, at) for each in causes]
            )
            asked = {
                Place(user_pk, cause.channel_pk, cause.seq)
                for cause, page in zip(causes, pages, strict=True)
                for user_pk, _ in page.devices
                if cause.kind in ASKED
            }
            doubtful = asyncio.create_task(self._reached(asked))
            await asyncio.wait([doubtful], timeout=0.05)
            if not doubtful.done():
                # Who has no connection at all is not asked; they do not wait for those who are.
                away = {each for each in asked if not self.reach.connected(each.user_pk)}
                await self._deliver(causes, pages, asked - away, finish=False)
            await self._deliver(causes, pages, await doubtful, finish=True)
        except Exception:
            logger.exception("%d causes could not be expanded; their lease will end", len(causes))
        finally:
            self.expanding -= len(causes)
            self.awake.set()

    async def _reached(self, asked: Collection[Place]) -> set[Place]:
        """Who can't be asked counts as not reached."""
        if not asked or self.policy.reached_too:
            return set()
        try:
            return await self.reach.reached(asked)
        except Exception:
            logger.exception("could not ask who was reached; everybody is pushed")
            return set()

    async def _deliver(
        self, causes: Sequence[Cause], pages: Sequence[outbox.Page], but: Collection[Place], *, finish: bool
    ) -> None:
        wanted = [
            (cause, [each for each in page.devices if Place(each[0], cause.channel_pk, cause.seq) not in but])
            for cause, page in zip(causes, pages, strict=True)
        ]
        cursors = {cause.pk: page.cursor for cause, page in zip(causes, pages, strict=True)} if finish else {}

        lasts: dict[str, int] = {
            kind: int((self.policy.live_lasts if kind.startswith("live_") else self.policy.lasts) * SECOND)
            for kind in {cause.kind for cause in causes}
        }

        def apply(tx: Tx) -> list[Delivery]:
            made = outbox.add_deliveries(tx, wanted, self.lease, LEASE, lasts)
            outbox.advance(tx, cursors, self.lease)
            return made

        self._send(await self._write(apply), fresh=True)

    # Deliveries

    async def _send_due(self) -> bool:
        room = self.policy.in_flight - self.in_flight
        if room <= 0 or time.monotonic() < self.paused_until:
            return False
        if not await self.database.read(outbox.deliveries_due):
            return False
        limit = min(room, 200)
        due = await self._write(lambda tx: outbox.claim_deliveries(tx, self.lease, LEASE, limit))
        self._send(due, fresh=False)
        return len(due) == limit

    def _send(self, wanted: Sequence[Delivery], *, fresh: bool) -> None:
        self.in_flight += len(wanted)
        for start in range(0, len(wanted), BRIEFED_AT_ONCE):
            self._spawn(self._brief(wanted[start : start + BRIEFED_AT_ONCE], fresh))

    async def _brief(self, wanted: Sequence[Delivery], fresh: bool) -> None:
        """Find out what to say to each, or why nothing is to be said any more, and send."""
        try:
            reached: set[Place] = set()
            if not fresh:
                reached = await self._reached({place(each) for each in wanted if each.kind in ASKED})
            found = await self.database.read(lambda connection: briefs.briefs(connection, wanted, now()))
        except Exception:
            logger.exception("%d pushes could not be written; their lease will end", len(wanted))
            self.in_flight -= len(wanted)
            return
        for each in wanted:
            brief = found[each.pk]
            if isinstance(brief, str):
                self._settle(each, "skipped", None, brief)
            elif place(each) in reached:
                self._settle(each, "skipped", None, "reached")
            elif each.deadline_at <= now():
                self._spawn(self._bury(each, target_of(brief), None, "too late"))
            else:
                self._spawn(self._push(each, target_of(brief)))

    async def _push(self, delivery: Delivery, target: Target) -> None:
        async with self.room:
            request = target.request(self.policy, now())
            if self.stopping or time.monotonic() < self.paused_until or (not self.trusted and self.probing):
                return self._again(delivery, PushResult(Outcome.REFUSED, 0, "paused"), 1, counts=False)
            if self.dead.get((request.token, request.environment), 0) >= target.registered_at:
                return self._settle(delivery, "dropped", None, "token dead")
            self.probing = True
            try:
                result = await self.gateway.send(request)
            except Exception as error:
                logger.exception("the gateway failed")
                result = PushResult(Outcome.RETRY, 0, type(error).__name__)
            finally:
                self.probing = False
            self.trusted = result.outcome is not Outcome.REFUSED
        try:
            await self._react(delivery, target, request.environment, result)
        except Unavailable:
            # What came of it can't be kept: it is sent again under the same ids.
            self._again(delivery, result, self.policy.retry_base * 2**delivery.attempts)
        return None

    async def _react(self, delivery: Delivery, target: Target, environment: str, result: PushResult) -> None:
        attempt = delivery.attempts
        match result.outcome:
            case Outcome.DELIVERED:
                await self._delivered(delivery, target, result)
            case Outcome.REJECTED:
                await self._bury(delivery, target, result.status, result.reason)
            case Outcome.TOKEN_DEAD:
                await self._drop(delivery, target, environment, result)
            case Outcome.REFUSED:
                self._pause(result)
                self._again(delivery, result, PAUSE, counts=False)
            case Outcome.SLOW_DOWN:
                await self._later(delivery, target, result, self.policy.slow_down * 2**attempt)
            case Outcome.RETRY:
                await self._later(delivery, target, result, self.policy.retry_base * 2**attempt)

    async def _delivered(self, delivery: Delivery, target: Target, result: PushResult) -> None:
        if delivery.kind == "live_end" and not await self._write(target.delivered):
            return self._again(delivery, PushResult(Outcome.RETRY, result.status, "the token changed"), 0)
        return self._settle(delivery, "sent", result.status, result.reason)

    async def _drop(self, delivery: Delivery, target: Target, environment: str, result: PushResult) -> None:
        """Forget the token, unless it was registered after it died: then it lives again."""
        if result.dead_at is not None and target.registered_at >= result.dead_at:
            return await self._later(delivery, target, result, self.policy.retry_base * 2**delivery.attempts)
        self.dead[target.token, environment] = now()
        while len(self.dead) > DEAD_REMEMBERED:
            self.dead.popitem(last=False)
        if await self._write(lambda tx: target.token_dead(tx, result)):
            return self._settle(delivery, "dropped", result.status, result.reason)
        return self._again(delivery, PushResult(Outcome.RETRY, result.status, "the token changed"), 0)

    async def _bury(self, delivery: Delivery, target: Target, status: int | None, reason: str) -> None:
        """A dead letter."""
        if delivery.kind == "live_end":
            await self._write(target.failed)
        logger.error("push %s is a dead letter: %s %s", delivery.push_id, status, reason)
        self._settle(delivery, "dead", status, reason)

    async def _later(self, delivery: Delivery, target: Target, result: PushResult, seconds: float) -> None:
        """Again after about so long, unless it would be too late then."""
        if now() + int(seconds * 0.5 * SECOND) >= delivery.deadline_at:
            return await self._bury(delivery, target, result.status, f"too late: {result.reason}")
        return self._again(delivery, result, seconds)

    def _pause(self, result: PushResult) -> None:
        """Nothing will be let in until somebody has looked: wait, and say so loudly."""
        if time.monotonic() >= self.paused_until:
            self.paused_until = time.monotonic() + PAUSE
            logger.error("APNs lets nothing in (%d %s); pushes wait for %d s", result.status, result.reason, PAUSE)

    def _again(self, delivery: Delivery, result: PushResult, seconds: float, *, counts: bool = True) -> None:
        """Later, with jitter."""
        pause = min(seconds, self.policy.retry_most) * random.uniform(0.5, 1.5)
        self.retried += 1
        attempts = min(delivery.attempts + counts, 30)
        due = now() + int(pause * SECOND)
        self._settled(Settlement(delivery.pk, "waiting", attempts, result.status, result.reason, due))

    def _settle(self, delivery: Delivery, state: State, status: int | None, reason: str) -> None:
        self.settled[state] += 1
        self._settled(Settlement(delivery.pk, state, delivery.attempts + 1, status, reason))

    # Settling, many in one transaction

    def _settled(self, settlement: Settlement) -> None:
        self.settlements.append(settlement)
        if self.settling is None:
            self.settling = asyncio.create_task(self._write_settlements())
            self.tasks.add(self.settling)
            self.settling.add_done_callback(self.tasks.discard)

    async def _write_settlements(self) -> None:
        try:
            while self.settlements:
                some, self.settlements = self.settlements[:100], self.settlements[100:]
                try:
                    await self._write(partial(outbox.settle, lease=self.lease, settlements=some))
                except Exception:
                    # The lease ends, and they are sent again under the same ids.
                    logger.exception("%d pushes could not be settled", len(some))
                self.in_flight -= len(some)
                self.awake.set()
        finally:
            self.settling = None

    async def _write(self, apply: Callable[[Tx], Any]) -> Any:
        return await self.database.write(Command(apply))


def place(delivery: Delivery) -> Place:
    return Place(delivery.user_pk, delivery.channel_pk, delivery.seq)
