"""Causes become deliveries: a page of the audience of each, a bounded number in one transaction."""

import contextlib
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import partial

from push.reach import ReachLookup, UserEvent
from push.sender import Sender
from push.targets import Policy
from storage import audience, expansion, outbox
from storage.audience import RecipientPage
from storage.database import Database
from storage.expansion import Recipient
from storage.outbox import Cause, Delivery
from storage.transaction import Command, Tx
from storage.types import SECOND, now

CAUSES_AT_ONCE = 100
ROWS_AT_ONCE = 500
# Announced by an event that the user may see on a socket.
KINDS_ASKED = ("message", "reply", "mention", "notification")


class Expander:
    """``on_made`` gets the deliveries that are held under ``lease`` from the start: as many as can be sent at once. The rest
    waits in the table, for any process.
    """

    def __init__(
        self,
        database: Database,
        senders: Mapping[str, Sender],
        reach: ReachLookup,
        policy: Callable[[], Policy],
        *,
        lease: str,
        lease_microseconds: int,
        on_made: Callable[[Sequence[Delivery], Collection[int]], None],
    ) -> None:
        self.database = database
        self.senders = senders
        self.reach = reach
        self.policy = policy
        self.lease = lease
        self.lease_microseconds = lease_microseconds
        self.on_made = on_made

    async def expand_due(self) -> bool:
        """Whether there may be more."""
        at = await self.database.read(outbox.time_if_causes_due)
        if at is None:
            return False
        claim = partial(outbox.claim_causes, lease=self.lease, ttl=self.lease_microseconds, limit=CAUSES_AT_ONCE, at=at)
        reads = outbox.reads_of_causes(CAUSES_AT_ONCE, at)
        causes = await self.database.write(Command(claim, reads=lambda: reads))
        if causes:
            await self._expand(causes)
        return bool(causes)

    async def _expand(self, causes: Sequence[Cause]) -> None:
        pages = await self.database.read(partial(audience.next_pages, causes=causes, at=now(), providers=self.senders))
        some: list[tuple[Cause, RecipientPage]] = []
        for cause, page in zip(causes, pages, strict=True):
            some.append((cause, page))
            if sum(len(each.recipients) for _, each in some) >= ROWS_AT_ONCE or cause is causes[-1]:
                await self._deliver(some)
                some = []

    async def _deliver(self, found: Sequence[tuple[Cause, RecipientPage]]) -> None:
        wanted = self._without_seen(found)
        cursors = {cause.pk: page.cursor for cause, page in found}
        connected = await self.connected((cause.kind, each.user_pk) for cause, page in wanted for each in page)
        policy = self.policy()
        ttl: dict[str, int] = {cause.kind: int(ttl_of(policy, cause.kind) * SECOND) for cause, _ in found}
        count = Counter(each.provider for _, page in wanted for each in page)
        with contextlib.ExitStack() as stack:
            room = {name: stack.enter_context(self.senders[name].reserving(most)) for name, most in count.items()}
            claim = expansion.Claim(self.lease, self.lease_microseconds, room, connected, policy.live_starts)

            def apply(tx: Tx) -> list[Delivery]:
                made = expansion.add_deliveries(tx, wanted, claim, ttl)
                outbox.advance(tx, cursors, self.lease)
                return made

            # So that a device is not started twice by two causes that are expanded at once.
            started = {cause.channel_pk for cause, _ in wanted if cause.kind == "live_start"}
            made = await self.database.write(Command(apply, channels=sorted(started)))
        self.on_made(made, connected)

    def _without_seen(self, found: Sequence[tuple[Cause, RecipientPage]]) -> list[tuple[Cause, list[Recipient]]]:
        seen: set[UserEvent] = set()
        if not self.policy().reached_too:
            seen = self.reach.seen(
                UserEvent(each.user_pk, cause.channel_pk, cause.seq)
                for cause, page in found
                if cause.kind in KINDS_ASKED
                for each in page.recipients
            )
        return [
            (
                cause,
                [each for each in page.recipients if UserEvent(each.user_pk, cause.channel_pk, cause.seq) not in seen],
            )
            for cause, page in found
        ]

    async def connected(self, wanted: Iterable[tuple[str, int]]) -> set[int]:
        """Users who may see on a socket what these kinds announce, and are asked before they are pushed."""
        users = {user_pk for kind, user_pk in wanted if kind in KINDS_ASKED}
        return await self.reach.connected(users) if users and not self.policy().reached_too else set()


def ttl_of(policy: Policy, kind: str) -> float:
    """For how many seconds a push of a kind makes sense."""
    return policy.live_ttl if kind in outbox.LIVE else policy.ttl
