"""Who may have seen an event already: what the worker asks, and the live layer answers."""

from collections.abc import Collection, Iterable
from typing import NamedTuple, Protocol

from storage.outbox import Delivery


class Place(NamedTuple):
    """What a user is to have been reached by: an event of a channel."""

    user_pk: int
    channel_pk: int
    seq: int


class Reach(Protocol):
    async def connected(self, user_pks: Collection[int]) -> set[int]:
        """Those of these users who have a connection at all, as far as can be told."""
        ...

    def seen(self, places: Iterable[Place]) -> set[Place]:
        """Those that are known to have been seen by now."""
        ...

    async def reached(self, places: Collection[Place]) -> set[Place]:
        """Those that were seen, as far as can be told. May take seconds."""
        ...


def place(delivery: Delivery) -> Place:
    return Place(delivery.user_pk, delivery.channel_pk, delivery.seq)
