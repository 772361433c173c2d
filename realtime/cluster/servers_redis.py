"""Where Redis is: one server, the master that sentinels name, or the nodes of a cluster."""

import asyncio
import re
from typing import Any, Protocol
from urllib.parse import parse_qsl, urlencode, urlsplit

from redis.asyncio.connection import AbstractConnection, Connection, parse_url
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel
from redis.backoff import NoBackoff
from redis.crc import key_slot
from redis.maint_notifications import MaintNotificationsConfig

from realtime.cluster.link_redis import CONNECT_SECONDS, UNREACHABLE, Link

COMMON: dict[str, Any] = {
    "protocol": 3,
    "retry": Retry(NoBackoff(), 0),
    "socket_connect_timeout": CONNECT_SECONDS,
    "maint_notifications_config": MaintNotificationsConfig(enabled=False),
}


PORT = re.compile(r"[^:]*(:[0-9]{1,5})?|\[[0-9A-Fa-f:.]+\](:[0-9]{1,5})?")


class Servers(Protocol):
    """Where Redis is. A server is named by ``host:port``; the only one, or whichever is master now, by an empty name."""

    sharded: bool

    async def find(self) -> None:
        """Look again who has what. Raises one of UNREACHABLE."""

    @property
    def names(self) -> set[str]:
        """All of them, as far as they were found."""
        ...

    def of_channel(self, channel: bytes) -> str:
        """The server through which a channel is published and subscribed to."""
        ...

    def of_key(self, key: bytes) -> str:
        """The server that has a key."""
        ...

    async def connection(self, server: str) -> AbstractConnection:
        """A connection that is yet to be opened. Raises one of UNREACHABLE."""
        ...

    async def close(self) -> None:
        """Nothing is looked for any more."""


class Several:
    """The parts of a URL that names several hosts."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        login, at, hosts = parts.netloc.rpartition("@")
        self.scheme = parts.scheme.split("+")[0]
        self.login = login + at
        self.hosts = [(host, int(port)) for host, _, port in (each.rpartition(":") for each in hosts.split(","))]
        self.path = parts.path.strip("/")
        self.parameters = parse_qsl(parts.query, keep_blank_values=True)

    def pop(self, name: str) -> str | None:
        """A parameter that is not for the server itself."""
        found = dict(self.parameters).get(name)
        self.parameters = [each for each in self.parameters if each[0] != name]
        return found

    @property
    def query(self) -> str:
        return f"?{urlencode(self.parameters)}" if self.parameters else ""


def servers_of(url: str) -> "Servers":
    """Raises ValueError for a URL that can't be one of Redis."""
    scheme, separator, _ = url.partition("://")
    if not separator:
        raise ValueError("a Redis URL begins with redis://, rediss://, unix://, redis+sentinel:// or redis+cluster://")
    hosts = urlsplit(url).netloc.rpartition("@")[2].split(",")
    if scheme != "unix" and not all(PORT.fullmatch(each) for each in hosts):
        # The parsers' own words would quote what they took for the port, which may be a part of the password.
        raise ValueError("a host is not host or host:port; in user and password write / @ : and % percent-encoded")
    kinds = {"sentinel": SentinelServer, "cluster": ClusterServers}
    return kinds.get(scheme.rpartition("+")[2], OneServer)(url)


class OneServer:
    """``redis://``, ``rediss://``, ``unix://`` as redis-py reads them."""

    sharded = False

    def __init__(self, url: str) -> None:
        options = parse_url(url)
        self.kind: type[AbstractConnection] = options.pop("connection_class", Connection)
        self.options = {**options, **COMMON}
        try:
            self.kind(**self.options)
        except TypeError as error:
            raise ValueError(str(error)) from None

    async def find(self) -> None:
        """There is nothing to be found."""

    @property
    def names(self) -> set[str]:
        return {""}

    def of_channel(self, channel: bytes) -> str:
        return ""

    def of_key(self, key: bytes) -> str:
        return ""

    async def connection(self, server: str) -> AbstractConnection:
        return self.kind(**self.options)

    async def close(self) -> None:
        """There is nothing to be closed."""


class SentinelServer(OneServer):
    """``redis+sentinel://[user:password@]host:port,host:port/db/name``: the master that the sentinels name.

    ``?sentinel_username=&sentinel_password=`` are those of the sentinels, which need not be those of the master.
    """

    def __init__(self, url: str) -> None:
        parts = Several(url)
        database, _, self.name = parts.path.rpartition("/")
        if not self.name:
            raise ValueError("a Sentinel URL ends with the name of the master: redis+sentinel://host:26379/0/NAME")
        login = {name: parts.pop(f"sentinel_{name}") for name in ("username", "password")}
        super().__init__(f"{parts.scheme}://{parts.login}{parts.hosts[0][0]}:0/{database or 0}{parts.query}")
        times = {"socket_timeout": 1.0, "socket_connect_timeout": 1.0, "retry": Retry(NoBackoff(), 0)}
        self.sentinel = Sentinel(parts.hosts, sentinel_kwargs={**times, **login})  # type: ignore[no-untyped-call]

    async def connection(self, server: str) -> AbstractConnection:
        host, port = await self.sentinel.discover_master(self.name)
        return self.kind(**{**self.options, "host": host, "port": port})

    async def close(self) -> None:
        for each in self.sentinel.sentinels:
            await each.aclose()


class ClusterServers(OneServer):
    """``redis+cluster://[user:password@]host:port,host:port``: keys by slot, and channels too from Redis 7 on."""

    def __init__(self, url: str) -> None:
        parts = Several(url)
        super().__init__(f"{parts.scheme}://{parts.login}{parts.hosts[0][0]}:{parts.hosts[0][1]}{parts.query}")
        self.seeds = parts.hosts
        self.slots: list[str] = [""] * 16384

    async def find(self) -> None:
        problem: Exception = ConnectionError("no node of the cluster answers")
        known = [
            (host, int(port)) for host, port in (each.rsplit(":", 1) for each in dict.fromkeys(self.slots) if each)
        ]
        for host, port in [*known, *self.seeds]:
            connection = self.kind(**{**self.options, "host": host, "port": port})
            try:
                link = Link(lambda push: None)
                await link.open(connection)
                try:
                    async with asyncio.timeout(CONNECT_SECONDS):
                        ranges, commands = await asyncio.gather(
                            link.call("CLUSTER", "SLOTS"), link.call("COMMAND", "INFO", "SPUBLISH")
                        )
                finally:
                    link.close()
            except UNREACHABLE as error:
                problem = error
                continue
            for first, last, (node, at, *_), *_ in ranges:
                address = f"{(node or host.encode()).decode()}:{at}"
                self.slots[first : last + 1] = [address] * (last + 1 - first)
            self.sharded = bool(commands) and commands[0] is not None
            return
        raise problem

    @property
    def names(self) -> set[str]:
        servers = {each for each in self.slots if each}
        return servers if self.sharded else servers | {""}

    def of_channel(self, channel: bytes) -> str:
        return self.of_key(channel) if self.sharded else ""

    def of_key(self, key: bytes) -> str:
        return self.slots[key_slot(key)]

    async def connection(self, server: str) -> AbstractConnection:
        if not server:
            await self.find()
            if self.sharded:
                raise ConnectionError("the cluster was just discovered")
            server = next((each for each in self.slots if each), "")
            if not server:
                raise ConnectionError("no node of the cluster has any slot")
        host, _, port = server.rpartition(":")
        return self.kind(**{**self.options, "host": host, "port": int(port)})
