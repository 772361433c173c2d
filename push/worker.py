"""The outbox worker: causes become deliveries, deliveries become pushes, and each is settled by its answer.

Retries happen here and nowhere else. No more is claimed than can be sent at once; whether the user was reached and has read
is asked when a push is sent, not when it was promised. After a crash the leases expire, and a push that may have arrived is
sent again under the same ids.
"""

import asyncio
import contextlib
import logging
import random
import secrets
import time
from collections import Counter, OrderedDict
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator, Sequence
from functools import partial
from typing import Any

from push.circuit_breaker import CircuitBreakers
from push.provider import Outcome, Provider, Push, PushResult
from push.reach import ReachLookup, UserEvent, position_of
from push.settler import Settler
from push.targets import Policy, Target, target_of
from storage import audience, contexts, deliveries, outbox
from storage.contexts import LiveContext, PushContext
from storage.database import Database
from storage.deliveries import Depth
from storage.errors import Unavailable
from storage.outbox import Cause, Delivery, Settlement, State
from storage.statements import Read
from storage.transaction import Command, Tx
from storage.types import SECOND, now

logger = logging.getLogger("bellwire.push")

LEASE_SECONDS = 30.0
LEASE_MICROSECONDS = int(LEASE_SECONDS * SECOND)
POLL_SECONDS = 1.0
GATHER_SECONDS = 0.03
CAUSES_AT_ONCE = 100
ROWS_AT_ONCE = 500
CLAIMED_AT_ONCE = 200
ASKED_AT_MOST = 5000
KINDS_ASKED = ("message", "notification")
DEAD_REMEMBERED = 10_000


class Worker:
    """``await start()``, ``wake()`` after commits, ``await stop()``."""

    def __init__(self, database: Database, provider: Provider, reach: ReachLookup, policy: Policy) -> None:
        self.database = database
        self.provider = provider
        self.reach = reach
        self.policy = policy
        # Names this process in the rows that it holds.
        self.lease = secrets.token_hex(12)
        # Deliveries by their final state, and retries; both only grow.
        self.settled: Counter[str] = Counter()
        self.retried = 0
        # Of the outbox, as measured every few seconds.
        self.depth = Depth()
        self.breakers = CircuitBreakers(provider.name)
        # (token, environment) that the provider refused for good, with when it was registered, in microseconds.
        self.dead: OrderedDict[tuple[str, str], int] = OrderedDict()
        # Deliveries being sent, by number, and since when, of time.monotonic().
        self.sending: dict[int, float] = {}
        # Deliveries whose users are being asked for a sign of life, by number.
        self.asking: set[int] = set()
        # Places kept for deliveries that are being claimed.
        self.reserved = 0
        # Nothing more is claimed.
        self.stopping = False
        # Set when there may be something to do.
        self.awake = {name: asyncio.Event() for name in ("causes", "deliveries")}
        self.tasks: set[asyncio.Task[None]] = set()
        # Writes the results, many in one commit.
        self.settler = Settler(database, self.lease, self._written, LEASE_SECONDS / 2)

    @property
    def in_flight(self) -> int:
        return len(self.sending)

    @property
    def room(self) -> int:
        """How many more pushes may be in flight."""
        return max(0, self.policy.in_flight - len(self.sending) - self.reserved)

    @contextlib.contextmanager
    def _reserving(self, most: int) -> Iterator[int]:
        """Keep places for deliveries that are claimed meanwhile; how many."""
        slots = min(self.room, most)
        self.reserved += slots
        try:
            yield slots
        finally:
            self.reserved -= slots

    async def start(self) -> None:
        if self.database.path:
            # No other process can have the file: existing leases were held by a process that has ended.
            await self._write(outbox.release)
        self._spawn(self._watch(self._expand_due, self.awake["causes"]))
        self._spawn(self._watch(self._send_due, self.awake["deliveries"]))

    async def measure(self) -> None:
        """Count what waits in the outbox."""
        self.depth = await self.database.read(deliveries.depth)

    def wake(self) -> None:
        """A push was promised."""
        for event in self.awake.values():
            event.set()

    async def stop(self, seconds: float = 15.0) -> None:
        """Claim no more, wait for what is in flight, release the rest."""
        self.stopping = True
        self.wake()
        deadline = time.monotonic() + seconds
        while self.tasks:
            _, late = await asyncio.wait(self.tasks, timeout=max(0.0, deadline - time.monotonic()))
            for task in late:
                task.cancel()
        await self.settler.finish()
        await self.provider.close()
        with contextlib.suppress(Unavailable):
            await self.database.write(Command(lambda tx: outbox.release(tx, self.lease)))

    def _spawn(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def _watch(self, work: Callable[[], Awaitable[bool]], awake: asyncio.Event) -> None:
        """Do ``work`` again as long as it says there is more, else when woken or once a second; whatever goes wrong."""
        while not self.stopping:
            awake.clear()
            try:
                more = await work()
            except Unavailable:
                more = False
                await asyncio.sleep(POLL_SECONDS)
            except Exception:
                logger.exception("%s failed; retrying in a second", work.__name__)
                more = False
                await asyncio.sleep(POLL_SECONDS)
            if not more and not self.stopping:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(POLL_SECONDS):
                        await awake.wait()
                    await asyncio.sleep(GATHER_SECONDS)

    # Causes

    async def _expand_due(self) -> bool:
        at = await self.database.read(outbox.time_if_causes_due)
        if at is None:
            return False
        claim = partial(outbox.claim_causes, lease=self.lease, ttl=LEASE_MICROSECONDS, limit=CAUSES_AT_ONCE, at=at)
        causes = await self._write(claim, outbox.reads_of_causes(CAUSES_AT_ONCE, at))
        if causes:
            await self._expand(causes)
        return bool(causes)

    async def _expand(self, causes: Sequence[Cause]) -> None:
        """A page of the audience of each cause becomes deliveries, a bounded number in one transaction."""
        pages = await self.database.read(partial(audience.next_pages, causes=causes, at=now()))
        some: list[tuple[Cause, audience.RecipientPage]] = []
        for cause, page in zip(causes, pages, strict=True):
            some.append((cause, page))
            if sum(len(each.devices) for _, each in some) >= ROWS_AT_ONCE or cause is causes[-1]:
                await self._deliver(some)
                some = []

    async def _deliver(self, found: Sequence[tuple[Cause, audience.RecipientPage]]) -> None:
        """What can be sent at once is held by us from the start; the rest waits in the table, for any process."""
        seen: set[UserEvent] = set()
        if not self.policy.reached_too:
            seen = self.reach.seen(
                UserEvent(user_pk, cause.channel_pk, cause.seq)
                for cause, page in found
                if cause.kind in KINDS_ASKED
                for user_pk, _ in page.devices
            )
        wanted = [
            (cause, [each for each in page.devices if UserEvent(each[0], cause.channel_pk, cause.seq) not in seen])
            for cause, page in found
        ]
        cursors = {cause.pk: page.cursor for cause, page in found}
        connected = await self._connected((cause.kind, user_pk) for cause, page in wanted for user_pk, _ in page)
        ttl: dict[str, int] = {cause.kind: int(self._ttl(cause.kind) * SECOND) for cause, _ in found}
        with self._reserving(sum(len(each) for _, each in wanted)) as room:
            claim = outbox.Claim(self.lease, LEASE_MICROSECONDS, room, connected, self.policy.live_starts)

            def apply(tx: Tx) -> list[Delivery]:
                made = outbox.add_deliveries(tx, wanted, claim, ttl)
                outbox.advance(tx, cursors, self.lease)
                return made

            made = await self._write(apply)
        self._begin(made, connected)
        self.awake["deliveries"].set()

    def _ttl(self, kind: str) -> float:
        return self.policy.live_ttl if kind in outbox.LIVE else self.policy.ttl

    async def _connected(self, wanted: Iterable[tuple[str, int]]) -> set[int]:
        """Users who may see on a socket what these kinds announce, and are asked before they are pushed."""
        users = {user_pk for kind, user_pk in wanted if kind in KINDS_ASKED}
        return await self.reach.connected(users) if users and not self.policy.reached_too else set()

    # Deliveries

    async def _send_due(self) -> bool:
        if not self.room or self.breakers.all.is_open:
            return False
        at = await self.database.read(outbox.time_if_deliveries_due)
        if at is None:
            return False
        with self._reserving(CLAIMED_AT_ONCE) as limit:
            claim = partial(outbox.claim_deliveries, lease=self.lease, ttl=LEASE_MICROSECONDS, limit=limit, at=at)
            due = await self._write(claim, outbox.reads_of_deliveries(limit, at)) if limit else []
            claimed = [each for each in due if each.pk not in self.sending and each.pk not in self.asking]
            connected = await self._connected((each.kind, each.user_pk) for each in claimed)
        self._begin(claimed, connected)
        return 0 < len(due) == limit

    def _begin(self, claimed: Sequence[Delivery], users: Collection[int]) -> None:
        """Send to offline users; ask first whether connected ``users`` were reached."""
        since = time.monotonic()
        connected = [each for each in claimed if each.kind in KINDS_ASKED and each.user_pk in users]
        offline = [each for each in claimed if each not in connected]
        if len(self.asking) + len(connected) > ASKED_AT_MOST:
            for each in connected:
                self._retry_in(each, "many are asked already", 1.0, counts=False)
        elif connected:
            self.asking.update(each.pk for each in connected)
            self._spawn(self._ask(connected, since))
        self._dispatch(offline, since)

    async def _ask(self, connected: Sequence[Delivery], since: float) -> None:
        """Who was reached is done; who was not is pushed, as far as there is room."""
        try:
            reached = await self._reached({position_of(each) for each in connected})
        finally:
            self.asking.difference_update(each.pk for each in connected)
        if self.stopping:
            return
        missed = [each for each in connected if position_of(each) not in reached]
        for each in connected:
            if position_of(each) in reached:
                self._settle(each, "skipped", None, "reached")
        room = self.room
        self._dispatch(missed[:room], since)
        for each in missed[room:]:
            self._retry_in(each, "no room", 0.0, counts=False)

    async def _reached(self, asked: Collection[UserEvent]) -> set[UserEvent]:
        """Who can't be asked counts as not reached."""
        try:
            return await self.reach.reached(asked)
        except Exception:
            logger.exception("could not ask who was reached; pushing to all")
            return set()

    def _dispatch(self, claimed: Sequence[Delivery], since: float) -> None:
        """Send what was claimed at ``since``."""
        self.sending.update((each.pk, since) for each in claimed)
        for start in range(0, len(claimed), 100):
            self._spawn(self._send(claimed[start : start + 100]))

    async def _send(self, claimed: Sequence[Delivery]) -> None:
        """Find out what to say to each, or why nothing is to be said any more, and send."""
        for delivery, context in (await self._contexts(claimed)).items():
            self._spawn(self._push(delivery, context))

    async def _contexts(
        self, claimed: Sequence[Delivery]
    ) -> dict[Delivery, PushContext | LiveContext | str | Exception]:
        """One that can't be read harms no other."""
        try:
            found = await self.database.read(lambda connection: contexts.contexts(connection, claimed, now()))
            return {each: found[each.pk] for each in claimed}
        except Exception as error:
            if len(claimed) == 1 or isinstance(error, Unavailable):
                return dict.fromkeys(claimed, error)
            alone = [await self._contexts([each]) for each in claimed]
            return {each: context for one in alone for each, context in one.items()}

    async def _push(self, delivery: Delivery, context: PushContext | LiveContext | str | Exception) -> None:
        """The life of one push, which ends in a settlement, whatever goes wrong."""
        target: Target | None = None
        try:
            if isinstance(context, Exception):
                raise context
            if isinstance(context, str):
                return self._settle(delivery, "skipped", None, context)
            target = target_of(context)
            if delivery.deadline_at <= now():
                return await self._dead_letter(delivery, target, None, "too late")
            await self._try(delivery, target, target.push(self.policy, now()))
        except Unavailable:
            # What came of it can't be read or kept: it is sent again under the same ids.
            self._retry_in(delivery, "the database does not answer", self.policy.retry_base)
        except Exception as error:
            logger.exception("push %s failed", delivery.push_id)
            if delivery.deadline_at <= now():
                if target and target.tracked:
                    with contextlib.suppress(Unavailable):
                        await self._write(target.failed, target.reads())
                self._settle(delivery, "dead", None, type(error).__name__)
            else:
                self._retry_in(delivery, type(error).__name__, self.policy.retry_base * 2**delivery.attempts)
        return None

    async def _try(self, delivery: Delivery, target: Target, push: Push) -> None:
        door, address = self.provider.door(push), push.address
        if time.monotonic() - self.sending[delivery.pk] > LEASE_SECONDS / 2:
            # It waited too long here; when the lease ends it is anybody's.
            self.sending.pop(delivery.pk)
        elif self.dead.get((address.token, address.environment), -1) >= address.registered_at:
            await self._drop_token(delivery, target, PushResult(Outcome.TOKEN_DEAD, 410, "token dead"))
        elif self.stopping or not self.breakers.may_send(door):
            self._retry_in(delivery, "paused", self.breakers.retry_after(door), counts=False)
        else:
            began_at = time.monotonic()
            result = await self._result(push)
            self.breakers.on_result(door, result, began_at=began_at)
            await self._react(delivery, target, push, result)

    async def _result(self, push: Push) -> PushResult:
        try:
            return await self.provider.send(push)
        except Exception as error:
            logger.exception("%s failed", self.provider.name)
            return PushResult(Outcome.RETRY, 0, type(error).__name__)

    # What an answer means

    async def _react(self, delivery: Delivery, target: Target, push: Push, result: PushResult) -> None:
        policy, times = self.policy, 2**delivery.attempts
        match result.outcome:
            case Outcome.ACCEPTED:
                if target.tracked and not await self._write(target.delivered, target.reads()):
                    # The registration of the new token has promised an end of its own.
                    return self._settle(delivery, "skipped", result.status, "the token changed")
                self._settle(delivery, "sent", result.status, result.reason)
            case Outcome.REJECTED:
                await self._dead_letter(delivery, target, result.status, result.reason)
            case Outcome.TOKEN_DEAD:
                await self._drop(delivery, target, push, result)
            case Outcome.REFUSED:
                pause = self.breakers.retry_after(self.provider.door(push))
                self._retry_in(delivery, result.reason, pause, result.status, counts=False)
            case Outcome.SLOW_DOWN:
                await self._retry_or_expire(delivery, target, result, policy.slow_down * times)
            case Outcome.RETRY:
                await self._retry_or_expire(delivery, target, result, policy.retry_base * times)
        return None

    async def _drop(self, delivery: Delivery, target: Target, push: Push, result: PushResult) -> None:
        """Forget the token, unless it was registered after it died: then it lives again."""
        if result.dead_at is not None and push.address.registered_at >= result.dead_at:
            return await self._retry_or_expire(delivery, target, result, self.policy.retry_base * 2**delivery.attempts)
        self.dead[push.address.token, push.address.environment] = push.address.registered_at
        while len(self.dead) > DEAD_REMEMBERED:
            self.dead.popitem(last=False)
        return await self._drop_token(delivery, target, result)

    async def _drop_token(self, delivery: Delivery, target: Target, result: PushResult) -> None:
        if await self._write(lambda tx: target.token_dead(tx, result), target.reads()):
            self._settle(delivery, "dropped", result.status, result.reason)
        elif target.tracked:
            self._settle(delivery, "skipped", result.status, "the token changed")
        else:
            self._retry_in(delivery, "the token changed", 0, result.status)

    async def _dead_letter(self, delivery: Delivery, target: Target, status: int | None, reason: str) -> None:
        """A dead letter."""
        if target.tracked:
            await self._write(target.failed, target.reads())
        logger.error("push %s became a dead letter: %s %s", delivery.push_id, status, reason)
        self._settle(delivery, "dead", status, reason)

    async def _retry_or_expire(self, delivery: Delivery, target: Target, result: PushResult, seconds: float) -> None:
        """Again after about so long, unless it would be too late then."""
        if now() + int(min(seconds, self.policy.retry_most) * 0.5 * SECOND) >= delivery.deadline_at:
            return await self._dead_letter(delivery, target, result.status, f"too late: {result.reason}")
        return self._retry_in(delivery, result.reason, seconds, result.status)

    def _retry_in(
        self, delivery: Delivery, reason: str, seconds: float, status: int | None = None, *, counts: bool = True
    ) -> None:
        """Later, with jitter."""
        pause = min(seconds, self.policy.retry_most) * random.uniform(0.5, 1.5)
        self.retried += 1
        attempts = min(delivery.attempts + counts, 30)
        self.settler.add(Settlement(delivery.pk, "waiting", attempts, status, reason, int(pause * SECOND)))

    def _settle(self, delivery: Delivery, state: State, status: int | None, reason: str) -> None:
        self.settled[state] += 1
        self.settler.add(Settlement(delivery.pk, state, delivery.attempts + 1, status, reason))

    def _written(self, some: Sequence[Settlement]) -> None:
        for each in some:
            self.sending.pop(each.pk, None)
        self.wake()

    async def _write(self, apply: Callable[[Tx], Any], reads: Collection[Read] = ()) -> Any:
        return await self.database.write(Command(apply, reads=lambda: reads))
