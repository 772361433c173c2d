"""Who is connected, anywhere. What it knows expires; what it can't say counts as not connected."""

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
        """Tell again who is here, for what is known of others expires."""

    async def elsewhere(self, user_pks: Collection[int]) -> dict[int, list[str]]:
        """The other nodes that have a connection of each of these users."""
        ...

    async def online(self, user_pks: Collection[int]) -> set[int]:
        """Those of these users who are connected."""
        ...
