"""Windows that all nodes count together; where Redis can't be asked, each node counts for itself."""

import asyncio
import logging
import time
from typing import Any

from limits.aio.storage import MemoryStorage, Storage

from realtime.cluster.client_redis import RedisClient
from realtime.cluster.link_redis import UNREACHABLE

logger = logging.getLogger("bellwire.rates")

ANSWER_SECONDS = 0.5


class RedisRates(Storage):
    """A counter a window in Redis, which expires with it."""

    STORAGE_SCHEME = None

    def __init__(self, redis: RedisClient, prefix: str) -> None:
        super().__init__()
        self.redis = redis
        self.prefix = prefix
        self.own = MemoryStorage()

    @property
    def base_exceptions(self) -> tuple[type[Exception], ...]:
        return UNREACHABLE

    async def incr(self, key: str, expiry: int, amount: int = 1) -> int:
        name = self._key(key)
        begin, count = (b"SET", name, b"0", b"EX", str(expiry), b"NX"), (b"INCRBY", name, str(amount))
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                return int((await self.redis.atomic(name, [begin, count]))[1])
        except UNREACHABLE as error:
            logger.debug("rates can't be counted together: %s", error)
            return await self.own.incr(key, expiry, amount)

    async def get(self, key: str) -> int:
        return int(await self._ask(b"GET", key) or 0) or await self.own.get(key)

    async def get_expiry(self, key: str) -> float:
        left = await self._ask(b"PTTL", key)
        return time.time() + left / 1000 if left and left > 0 else await self.own.get_expiry(key)

    async def _ask(self, word: bytes, key: str) -> Any:
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                return await self.redis.call(self._key(key), word)
        except UNREACHABLE as error:
            logger.debug("rates can't be asked: %s", error)
            return None

    async def check(self) -> bool:
        return self.redis.connected

    async def reset(self) -> int | None:
        raise NotImplementedError

    async def clear(self, key: str) -> None:
        await self.redis.call(self._key(key), b"DEL")

    def _key(self, key: str) -> bytes:
        return f"{self.prefix}:r:{key}".encode()
