"""Who may have seen an event already: what the worker asks, and the live layer answers."""

from collections.abc import Collection, Iterable
from typing import NamedTuple, Protocol

from storage.outbox import Delivery


class UserEvent(NamedTuple):
    """What a user is to have been reached by: an event of a channel."""

    user_pk: int
    channel_pk: int
    seq: int


class ReachLookup(Protocol):
    async def connected(self, user_pks: Collection[int]) -> set[int]:
        """Those of these users who have a connection at all, as far as can be told."""
        ...

    def seen(self, positions: Iterable[UserEvent]) -> set[UserEvent]:
        """Those that are known to have been seen by now."""
        ...

    async def reached(self, positions: Collection[UserEvent]) -> set[UserEvent]:
        """Those that were seen, as far as can be told. May take seconds."""
        ...


def position_of(delivery: Delivery) -> UserEvent:
    return UserEvent(delivery.user_pk, delivery.channel_pk, delivery.seq)
