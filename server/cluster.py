"""What makes this process one of several: the broker, the presence, and the table of those that serve."""

import contextlib
import hashlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial

from realtime.cluster.broker import MakeBroker
from realtime.cluster.broker_memory import MemoryBroker
from realtime.cluster.broker_redis import RedisBroker
from realtime.cluster.client_redis import RedisClient
from realtime.cluster.hints import Hints
from realtime.cluster.nodes import Nodes
from realtime.cluster.presence import Presence
from realtime.cluster.presence_memory import MemoryPresence
from realtime.cluster.presence_redis import RedisPresence
from realtime.cluster.rates_redis import RedisRates
from realtime.cluster.servers_redis import servers_of
from server.settings import Settings
from storage import epoch
from storage.database import Database
from storage.transaction import Command, Tx


@dataclass(frozen=True, slots=True)
class Cluster:
    """``node`` names this process; ``redis`` and ``rates`` are None where there is one process alone, ``nodes`` on SQLite."""

    node: str
    make_broker: MakeBroker
    presence: Presence
    redis: RedisClient | None
    nodes: Nodes | None
    rates: RedisRates | None


@contextlib.asynccontextmanager
async def joined(settings: Settings, database: Database, signing: Sequence[str]) -> AsyncIterator[Cluster]:
    """Redis, if the settings name one, is looked for, and need not be there."""

    def facts(tx: Tx) -> tuple[bytes, str]:
        return bytes.fromhex(epoch.shared(tx, "hint_key")), epoch.shared(tx, "installation", 8)

    key, installation = await database.write(Command(facts, keys=["installation"]))

    @lru_cache(maxsize=2)
    def key_in(history: str) -> bytes:
        return hashlib.blake2b(history.encode(), key=key).digest()

    hints = Hints(lambda: key_in(database.epoch))
    node = hints.node.hex()
    nodes = None if database.path else Nodes(database, node, redis=bool(settings.redis_url), secrets=signing)
    if not settings.redis_url:
        yield Cluster(node, MemoryBroker, MemoryPresence(), None, nodes, None)
        return
    prefix = f"bellwire:{installation}"
    redis = RedisClient(servers_of(settings.redis_url))
    presence = RedisPresence(redis, prefix, node)
    make_broker = partial(RedisBroker, redis=redis, hints=hints, prefix=prefix)
    try:
        yield Cluster(node, make_broker, presence, redis, nodes, RedisRates(redis, prefix))
    finally:
        await presence.forget()
        await redis.stop()
