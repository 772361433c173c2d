"""Who is connected, to any node. Entries expire; a user of whom nothing is known counts as not connected."""

from collections.abc import Collection
from typing import Protocol


class Presence(Protocol):
    async def enter(self, user_pk: int) -> bool:
        """One more connection of the user; whether it is the first."""
        ...

    async def leave(self, user_pk: int) -> bool:
        """One connection less; whether it was the last."""
        ...

    async def refresh(self) -> None:
        """Announce again who is connected here, because entries expire."""

    async def elsewhere(self, user_pks: Collection[int]) -> dict[int, list[str]]:
        """The other nodes that have a connection of each of these users."""
        ...

    async def online(self, user_pks: Collection[int]) -> set[int]:
        """Those of these users who are connected."""
        ...
