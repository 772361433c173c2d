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
from collections import Counter, OrderedDict, defaultdict
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from functools import partial
from typing import Any

from push import decide
from push.expander import KINDS_ASKED, Expander
from push.provider import Outcome, Provider, Push, PushResult
from push.reach import ReachLookup, UserEvent, position_of
from push.sender import Sender
from push.settler import Settler
from push.targets import Policy, Target, target_of
from storage import contexts, deliveries, outbox
from storage.contexts import LiveContext, PushContext
from storage.database import Database
from storage.deliveries import Depth
from storage.errors import Unavailable
from storage.outbox import Delivery, Settlement
from storage.statements import Read
from storage.transaction import Command, Tx
from storage.types import SECOND, now

logger = logging.getLogger("bellwire.push")

LEASE_SECONDS = 30.0
LEASE_MICROSECONDS = int(LEASE_SECONDS * SECOND)
POLL_SECONDS = 1.0
GATHER_SECONDS = 0.03
CLAIMED_AT_ONCE = 200
ASKED_AT_MOST = 5000
DEAD_REMEMBERED = 10_000
# For so long a token that is called dead is kept, to see whether many are.
VERDICT_SECONDS = 1.0
# By how much a pause is shorter or longer, so that what failed together does not come back together.
JITTER = (0.5, 1.5)


class Worker:
    """``await start()``, ``wake()`` after commits, ``await stop()``."""

    def __init__(
        self, database: Database, providers: Mapping[str, Provider], reach: ReachLookup, policy: Policy
    ) -> None:
        self.database = database
        # By the name under which deliveries are stored.
        self.senders = {name: Sender(provider, policy.in_flight) for name, provider in providers.items()}
        self.reach = reach
        self.policy = policy
        # Names this process in the rows that it holds.
        self.lease = secrets.token_hex(12)
        # Retries; only grows.
        self.retried = 0
        # Of the outbox, as measured every few seconds.
        self.depth = Depth()
        # (token, environment) that a provider called dead, with when it was registered, in microseconds.
        self.dead: OrderedDict[tuple[str, str], int] = OrderedDict()
        # Deliveries whose users are being asked for a sign of life, by number.
        self.asking: set[int] = set()
        # Nothing more is claimed.
        self.stopping = False
        # Set when there may be something to do.
        self.awake = {name: asyncio.Event() for name in ("causes", "deliveries")}
        self.tasks: set[asyncio.Task[None]] = set()
        # Writes the results, many in one commit.
        self.settler = Settler(database, self.lease, self._written, LEASE_SECONDS / 2)
        self.expander = Expander(
            database,
            self.senders,
            reach,
            lambda: self.policy,
            lease=self.lease,
            lease_microseconds=LEASE_MICROSECONDS,
            on_made=self._on_made,
        )

    @property
    def settled(self) -> Counter[str]:
        """Deliveries by their final state, of all providers; only grows."""
        return sum((each.settled for each in self.senders.values()), Counter())

    @property
    def in_flight(self) -> int:
        return sum(len(each.sending) for each in self.senders.values())

    async def start(self) -> None:
        if self.database.path:
            # No other process can have the file: existing leases were held by a process that has ended.
            await self._write(outbox.release)
        await self._write(partial(outbox.settle_unknown, providers=[*self.senders]))
        self._spawn(self._watch(self.expander.expand_due, self.awake["causes"]))
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
        for sender in self.senders.values():
            await sender.provider.close()
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

    def _on_made(self, made: Sequence[Delivery], connected: Collection[int]) -> None:
        self._begin(made, connected)
        self.awake["deliveries"].set()

    # Deliveries

    async def _send_due(self) -> bool:
        able = {name: sender for name, sender in self.senders.items() if sender.can_claim}
        if not able:
            return False
        at = await self.database.read(partial(outbox.time_if_deliveries_due, providers=[*able]))
        if at is None:
            return False
        with contextlib.ExitStack() as stack:
            limits = {name: stack.enter_context(each.reserving(CLAIMED_AT_ONCE)) for name, each in able.items()}
            limits = {name: limit for name, limit in limits.items() if limit}
            claim = partial(outbox.claim_deliveries, lease=self.lease, ttl=LEASE_MICROSECONDS, limits=limits, at=at)
            due = await self._write(claim, outbox.reads_of_deliveries(limits, at)) if limits else []
            claimed = [each for each in due if not self._is_held(each)]
            connected = await self.expander.connected((each.kind, each.user_pk) for each in claimed)
        self._begin(claimed, connected)
        count = Counter(each.provider for each in due)
        return any(count[name] == limit for name, limit in limits.items())

    def _is_held(self, delivery: Delivery) -> bool:
        """Whether it is being sent or asked about here; its lease has ended meanwhile."""
        return delivery.pk in self.senders[delivery.provider].sending or delivery.pk in self.asking

    def _begin(self, claimed: Sequence[Delivery], users: Collection[int]) -> None:
        """Send to offline users; ask first whether connected ``users`` were reached."""
        since = time.monotonic()
        connected = [each for each in claimed if each.kind in KINDS_ASKED and each.user_pk in users]
        offline = [each for each in claimed if each not in connected]
        if len(self.asking) + len(connected) > ASKED_AT_MOST:
            for each in connected:
                self._retry_in(each, "many are asked already", 1.0)
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
        missed: defaultdict[str, list[Delivery]] = defaultdict(list)
        for each in connected:
            if position_of(each) in reached:
                self._settle(each, decide.settled(each, "skipped", None, "reached"))
            else:
                missed[each.provider].append(each)
        for name, some in missed.items():
            room = self.senders[name].room
            self._dispatch(some[:room], since)
            for each in some[room:]:
                self._retry_in(each, "no room", 0.0)

    async def _reached(self, asked: Collection[UserEvent]) -> set[UserEvent]:
        """Who can't be asked counts as not reached."""
        try:
            return await self.reach.reached(asked)
        except Exception:
            logger.exception("could not ask who was reached; pushing to all")
            return set()

    def _dispatch(self, claimed: Sequence[Delivery], since: float) -> None:
        """Send what was claimed at ``since``."""
        for each in claimed:
            self.senders[each.provider].sending[each.pk] = since
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
                return self._settle(delivery, decide.settled(delivery, "skipped", None, context))
            target = target_of(context)
            if delivery.deadline_at <= now():
                return await self._dead_letter(delivery, target, decide.settled(delivery, "dead", None, "too late"))
            await self._try(delivery, target, target.push(self.policy, now()))
        except Unavailable:
            # What came of it can't be read or kept: it is sent again under the same ids.
            self._retry_in(delivery, "the database does not answer", self.policy.retry_base, counts=True)
        except Exception as error:
            logger.exception("push %s failed", delivery.push_id)
            if delivery.deadline_at <= now():
                if target and target.tracked:
                    with contextlib.suppress(Unavailable):
                        await self._write(target.failed, target.reads())
                self._settle(delivery, decide.settled(delivery, "dead", None, type(error).__name__))
            else:
                seconds = self.policy.retry_base * 2**delivery.attempts
                self._retry_in(delivery, type(error).__name__, seconds, counts=True)
        return None

    async def _try(self, delivery: Delivery, target: Target, push: Push) -> None:
        sender, address = self.senders[delivery.provider], push.address
        if time.monotonic() - sender.sending[delivery.pk] > LEASE_SECONDS / 2:
            # It waited too long here; when the lease ends it is anybody's.
            sender.sending.pop(delivery.pk)
        elif self.dead.get((address.token, address.environment), -1) >= address.registered_at:
            await self._react(delivery, target, push, PushResult(Outcome.TOKEN_DEAD, 410, "token dead"))
        elif self.stopping or not sender.may_send(push):
            self._retry_in(delivery, "paused", sender.retry_after(push))
        else:
            await self._react(delivery, target, push, await sender.send(push, delivery.user_pk))

    async def _react(self, delivery: Delivery, target: Target, push: Push, result: PushResult) -> None:
        sender = self.senders[delivery.provider]
        base = max(self.policy.retry_base, sender.provider.retry_base)
        pauses = decide.Pauses(base, sender.retry_after(push), random.uniform(*JITTER))
        settlement = decide.decide(
            delivery, result, self.policy, pauses, registered_at=push.address.registered_at, at=now()
        )
        match settlement.state:
            case "sent" if target.tracked and not await self._write(target.delivered, target.reads()):
                # The registration of the new token has promised an end of its own.
                self._settle(delivery, decide.settled(delivery, "skipped", result.status, "the token changed"))
            case "dead":
                await self._dead_letter(delivery, target, settlement)
            case "dropped":
                await self._drop(delivery, target, push, result, settlement)
            case _:
                self._settle(delivery, settlement)

    async def _drop(
        self, delivery: Delivery, target: Target, push: Push, result: PushResult, settlement: Settlement
    ) -> None:
        """Forget the token, unless too many are called dead in the same moment."""
        sender, token = self.senders[delivery.provider], (push.address.token, push.address.environment)
        self.dead[token] = push.address.registered_at
        while len(self.dead) > DEAD_REMEMBERED:
            self.dead.popitem(last=False)
        await asyncio.sleep(VERDICT_SECONDS)
        if not sender.guard.believes:
            self.dead.pop(token, None)
            sender.disbelieve()
            return self._retry_in(delivery, "too many dead tokens", sender.retry_after(push), status=result.status)
        if await self._write(lambda tx: target.token_dead(tx, result), target.reads()):
            self._settle(delivery, settlement)
        elif target.promised_with_token:
            self._settle(delivery, decide.settled(delivery, "skipped", result.status, "the token changed"))
        else:
            self._retry_in(delivery, "the token changed", 0, status=result.status, counts=True)
        return None

    async def _dead_letter(self, delivery: Delivery, target: Target, settlement: Settlement) -> None:
        if target.tracked:
            await self._write(target.failed, target.reads())
        logger.error("push %s became a dead letter: %s %s", delivery.push_id, settlement.status, settlement.reason)
        self._settle(delivery, settlement)

    def _retry_in(
        self, delivery: Delivery, reason: str, seconds: float, *, status: int | None = None, counts: bool = False
    ) -> None:
        """Later, with jitter; whether this attempt counts."""
        pause = min(seconds, self.policy.retry_most) * random.uniform(*JITTER)
        self._settle(delivery, decide.waiting(delivery, reason, pause, status, counts=counts))

    def _settle(self, delivery: Delivery, settlement: Settlement) -> None:
        if settlement.state == "waiting":
            self.retried += 1
        else:
            self.senders[delivery.provider].settled[settlement.state] += 1
        self.settler.add(settlement)

    def _written(self, some: Sequence[Settlement]) -> None:
        for each in some:
            for sender in self.senders.values():
                sender.sending.pop(each.pk, None)
        self.wake()

    async def _write(self, apply: Callable[[Tx], Any], reads: Collection[Read] = ()) -> Any:
        return await self.database.write(Command(apply, reads=lambda: reads))
