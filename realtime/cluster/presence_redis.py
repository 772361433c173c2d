"""Presence of many nodes: for each user the nodes that have a connection of theirs, kept in Redis while it is refreshed.

Without Redis a node knows its own users alone.
"""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Collection, Iterable
from typing import Any

from realtime.cluster.client_redis import RedisClient
from realtime.cluster.link_redis import UNREACHABLE

logger = logging.getLogger("bellwire.presence")

TTL_SECONDS = 30.0
ANSWER_SECONDS = 0.5
USERS_AT_ONCE = 500


class RedisPresence:
    """``node`` names this one. ``await refresh()`` every third of ``TTL_SECONDS``."""

    def __init__(self, redis: RedisClient, prefix: str, node: str) -> None:
        self.redis = redis
        self.prefix = prefix
        self.node = node
        # Of this node, by the user's number.
        self.connections: Counter[int] = Counter()
        redis.listen(on_open=lambda: self._announce(list(self.connections)))

    async def enter(self, user_pk: int) -> bool:
        self.connections[user_pk] += 1
        if self.connections[user_pk] > 1:
            return False
        return await self._alone(user_pk, self._entry_commands(user_pk))

    async def leave(self, user_pk: int) -> bool:
        self.connections[user_pk] -= 1
        if self.connections[user_pk] > 0:
            return False
        del self.connections[user_pk]
        return await self._alone(user_pk, [(b"ZREM", self._key(user_pk), self.node)])

    async def online(self, user_pks: Collection[int]) -> set[int]:
        here = {pk for pk in user_pks if self.connections[pk] > 0}
        return here | set(await self._others([pk for pk in user_pks if pk not in here]))

    async def elsewhere(self, user_pks: Collection[int]) -> dict[int, list[str]]:
        """The other nodes that have a connection of these users, as far as Redis says."""
        return await self._others(user_pks)

    async def refresh(self) -> None:
        """Announce again who is connected here; what is not announced expires."""
        here = list(self.connections)
        for start in range(0, len(here), USERS_AT_ONCE):
            self._announce(here[start : start + USERS_AT_ONCE])
            await asyncio.sleep(0)

    async def forget(self) -> None:
        """This node is closing."""
        here, self.connections = list(self.connections), Counter()
        await self._ask([(self._key(pk), b"ZREM", self.node) for pk in here])

    def _key(self, user_pk: int) -> bytes:
        return f"{self.prefix}:p:{user_pk}".encode()

    def _announce(self, user_pks: Iterable[int]) -> None:
        """Only while connected to Redis; it is refreshed before it expires."""
        for pk in user_pks:
            self.redis.send(self._key(pk), self._entry_commands(pk))

    def _entry_commands(self, user_pk: int) -> list[tuple[Any, ...]]:
        key = self._key(user_pk)
        return [
            (b"ZREMRANGEBYSCORE", key, b"-inf", str(time.time())),
            (b"ZADD", key, str(time.time() + TTL_SECONDS), self.node),
            (b"EXPIRE", key, str(int(2 * TTL_SECONDS))),
        ]

    async def _alone(self, user_pk: int, change: list[tuple[Any, ...]]) -> bool:
        """Make a change and read atomically whether no other node has the user; True if that is unknown."""
        key = self._key(user_pk)
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                look = (b"ZRANGEBYSCORE", key, str(time.time()), "+inf")
                *_, nodes = await self.redis.atomic(key, [*change, look])
        except UNREACHABLE as error:
            logger.debug("presence could not be read from Redis: %s", error)
            return True
        return not [node for node in nodes if node.decode() != self.node]

    async def _others(self, user_pks: Collection[int]) -> dict[int, list[str]]:
        pks = list(user_pks)
        asked = [(self._key(pk), b"ZRANGEBYSCORE", str(time.time()), "+inf") for pk in pks]
        answers = await self._ask(asked)
        found = {
            pk: [node.decode() for node in nodes if node.decode() != self.node]
            for pk, nodes in zip(pks, answers, strict=False)
        }
        return {pk: nodes for pk, nodes in found.items() if nodes}

    async def _ask(self, commands: Collection[tuple[Any, ...]]) -> list[Any]:
        """The answers; none while Redis is unreachable."""
        if not commands:
            return []
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                calls = (self.redis.call(key, word, *rest) for key, word, *rest in commands)
                return await asyncio.gather(*calls)
        except UNREACHABLE as error:
            logger.debug("presence could not be read from Redis: %s", error)
            return []
