"""Presence of one process: a counter for each user."""

from collections import Counter
from collections.abc import Collection


class MemoryPresence:
    def __init__(self) -> None:
        self.connections: Counter[int] = Counter()

    async def enter(self, user_pk: int) -> bool:
        self.connections[user_pk] += 1
        return self.connections[user_pk] == 1

    async def leave(self, user_pk: int) -> bool:
        self.connections[user_pk] -= 1
        if self.connections[user_pk] > 0:
            return False
        del self.connections[user_pk]
        return True

    async def refresh(self) -> None:
        """Nothing expires."""

    async def elsewhere(self, user_pks: Collection[int]) -> dict[int, list[str]]:
        return {}

    async def online(self, user_pks: Collection[int]) -> set[int]:
        return {pk for pk in user_pks if self.connections[pk] > 0}
