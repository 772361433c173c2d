"""Redis as the broker and the presence use it: a connection to each server, kept open, with the subscriptions wanted.

A connection that receives nothing for seconds is replaced, within 0.1 to 1 s as long as the server can be reached. Nothing
here waits for Redis longer than a second, and nothing raises because it is unreachable.
"""

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any

from realtime.cluster.link_redis import UNREACHABLE, Command, Link, Push
from realtime.cluster.servers_redis import Servers
from storage.tasks import Tasks

logger = logging.getLogger("bellwire.redis")

PING_SECONDS = 1.0
SILENCE_SECONDS = 3.0
RETRY_SECONDS, LONGEST_RETRY_SECONDS = 0.1, 1.0
CHANNELS_AT_ONCE = 1000
OnMessages = Callable[[list[tuple[bytes, bytes]]], None]


class RedisClient:
    """``await start()`` before use, ``await stop()`` after."""

    def __init__(self, servers: Servers) -> None:
        self.servers = servers
        self.on_messages: list[OnMessages] = []
        self.on_open: list[Callable[[], None]] = []
        # Channels to be subscribed to, whether there is a connection or not.
        self.wanted: set[bytes] = set()
        # By the server's name; "" for the one that is not part of a cluster.
        self.links: dict[str, ServerConnection] = {}
        self.tasks = Tasks()
        # Connections made, and messages dropped for want of one; both only grow.
        self.connections = 0
        self.dropped = 0

    def listen(self, *, on_messages: OnMessages | None = None, on_open: Callable[[], None]) -> None:
        """``on_messages`` gets the messages of a read, as (channel, message); ``on_open`` is called when a connection is
        established and its subscriptions are confirmed.
        """
        if on_messages:
            self.on_messages.append(on_messages)
        self.on_open.append(on_open)

    async def start(self) -> None:
        """Redis may be unreachable: connecting is tried as long as it takes."""
        with contextlib.suppress(*UNREACHABLE):
            await self.servers.find()
        for server in self.servers.names:
            self.connection_to(server)

    async def stop(self) -> None:
        for connection in self.links.values():
            connection.stop()
        await self.tasks.finish()
        await self.servers.close()

    @property
    def connected(self) -> bool:
        return all(connection.link for connection in self.links.values())

    def connection_to(self, server: str) -> "ServerConnection":
        connection = self.links.get(server)
        if connection is None:
            connection = self.links[server] = ServerConnection(self, server)
            connection.task = self.tasks.spawn(connection.run())
        return connection

    def _by_server(self, channels: Collection[bytes]) -> Iterable[tuple["ServerConnection", list[bytes]]]:
        if not self.servers.sharded:
            return [(self.connection_to(""), list(channels))]
        found: dict[str, list[bytes]] = {}
        for channel in channels:
            found.setdefault(self.servers.of_channel(channel), []).append(channel)
        return [(self.connection_to(server), some) for server, some in found.items()]

    def subscribe(self, channels: Collection[bytes]) -> "list[asyncio.Future[None]]":
        """Each is done when what is published from then on is received, or ``on_open`` will be called."""
        self.wanted.update(channels)
        return [connection.change(some, True) for connection, some in self._by_server(channels)]

    def unsubscribe(self, channels: Collection[bytes]) -> None:
        self.wanted.difference_update(channels)
        for connection, some in self._by_server(channels):
            connection.change(some, False)

    def publish(self, messages: Collection[tuple[bytes, bytes]]) -> None:
        """As far as there is a connection that keeps up."""
        word = b"SPUBLISH" if self.servers.sharded else b"PUBLISH"
        links: dict[ServerConnection, list[Command]] = {}
        for channel, message in messages:
            connection = self.connection_to(self.servers.of_channel(channel) if self.servers.sharded else "")
            links.setdefault(connection, []).append((word, channel, message))
        for connection, commands in links.items():
            if connection.link and connection.link.writable:
                connection.link.write(commands)
            else:
                self.dropped += len(commands)

    def send(self, key: bytes, commands: Collection[Command]) -> None:
        """Commands on a key, without waiting for the answers."""
        link = self.connection_to(self.servers.of_key(key)).link
        if link and link.writable:
            link.write(commands)

    async def atomic(self, key: bytes, commands: Collection[Command]) -> Any:
        """The answers of commands on a key that run without others in between. Raises one of UNREACHABLE."""
        link = self.connection_to(self.servers.of_key(key)).link
        if link is None or not link.writable:
            raise ConnectionError("there is no connection to Redis")
        link.write([(b"MULTI",), *commands])
        return await link.call(b"EXEC")

    async def call(self, key: bytes, *command: bytes | str | int) -> Any:
        """The answer to a command on a key. Raises one of UNREACHABLE."""
        link = self.connection_to(self.servers.of_key(key)).link
        if link is None:
            raise ConnectionError("there is no connection to Redis")
        return await link.call(command[0], key, *command[1:])

    def reroute(self) -> None:
        """There may be other servers now, and another may have a channel."""
        for server in self.servers.names:
            self.connection_to(server)
        if not self.servers.sharded:
            return
        for connection, channels in self._by_server(self.wanted):
            fresh = [each for each in channels if each not in connection.wanted]
            connection.change(fresh, True)
            for other in self.links.values():
                if other is not connection:
                    other.wanted.difference_update(channels)


class ServerConnection:
    """A connection to one server, made again whenever it is lost."""

    def __init__(self, client: RedisClient, server: str) -> None:
        self.client = client
        self.server = server
        self.wanted: set[bytes] = set()
        self.changes: dict[bytes, bool] = {}
        self.flushed: asyncio.Future[None] | None = None
        self.link: Link | None = None
        self.task: asyncio.Task[None] | None = None
        self.stopped = False
        self.failed = False
        self.pause = RETRY_SECONDS

    def stop(self) -> None:
        self.stopped = True
        if self.task:
            self.task.cancel()

    def change(self, channels: Collection[bytes], wanted: bool) -> "asyncio.Future[None]":
        """Subscribe or unsubscribe; those of one moment go in one command."""
        for channel in channels:
            (self.wanted.add if wanted else self.wanted.discard)(channel)
            self.changes[channel] = wanted
        if self.flushed is None:
            loop = asyncio.get_running_loop()
            self.flushed = loop.create_future()
            loop.call_soon(self._flush)
        return self.flushed

    def _flush(self) -> None:
        changes, self.changes = self.changes, {}
        done, self.flushed = self.flushed, None
        assert done is not None
        if self.link is None or not changes:
            # Whatever is wanted is subscribed to when there is a connection, and is suspect then.
            done.set_result(None)
            return
        self._subscribe(self.link, [each for each, wanted in changes.items() if wanted])
        self._subscribe(self.link, [each for each, wanted in changes.items() if not wanted], b"UNSUBSCRIBE")
        self.link.call(b"PING").add_done_callback(lambda answer: settle(answer, done))

    def _subscribe(self, link: Link, channels: Collection[bytes], word: bytes = b"SUBSCRIBE") -> None:
        if self.client.servers.sharded:
            link.write([(b"S" + word, each) for each in channels], answered=False)
            return
        every = list(channels)
        for start in range(0, len(every), CHANNELS_AT_ONCE):
            link.write([(word, *every[start : start + CHANNELS_AT_ONCE])], answered=False)

    async def run(self) -> None:
        while not self.stopped and self.server in self.client.servers.names:
            link = Link(self._on_push)
            try:
                await link.open(await self.client.servers.connection(self.server))
                await self._keep_open(link)
            except UNREACHABLE as error:
                if not self.failed:
                    logger.warning("Redis connection lost: %s", str(error) or type(error).__name__)
                self.failed = True
            except Exception:
                logger.exception("the Redis connection failed; reconnecting")
            finally:
                self.link = None
                if hasattr(link, "transport"):
                    link.close()
            await asyncio.sleep(self.pause * random.uniform(0.5, 1))
            self.pause = min(2 * self.pause, LONGEST_RETRY_SECONDS)
            with contextlib.suppress(*UNREACHABLE):
                await self.client.servers.find()
                self.client.reroute()
        del self.client.links[self.server]

    async def _keep_open(self, link: Link) -> None:
        """Subscribe to all that is wanted, and watch the connection until it is lost. Raises one of UNREACHABLE."""
        subscribed: set[bytes] = set()
        async with asyncio.timeout(SILENCE_SECONDS):
            await link.require_primary()
            while missing := self.wanted - subscribed:
                self._subscribe(link, missing)
                subscribed |= missing
                await link.call(b"PING")
        self._subscribe(link, subscribed - self.wanted, b"UNSUBSCRIBE")
        self.link = link
        self.client.connections += 1
        if self.failed:
            logger.warning("Redis connection restored")
        self.failed = False
        self.pause = RETRY_SECONDS
        for on_open in self.client.on_open:
            on_open()
        while True:
            await asyncio.wait([link.lost], timeout=PING_SECONDS)
            silence = time.monotonic() - link.received_at
            if link.lost.done() or silence > SILENCE_SECONDS:
                raise ConnectionError("the connection was lost" if link.lost.done() else "the server does not answer")
            if silence >= PING_SECONDS / 2:
                link.call(b"PING").add_done_callback(lambda answer: answer.cancelled() or answer.exception())

    def _on_push(self, pushes: Sequence[Push]) -> None:
        messages = [(push[1], push[2]) for push in pushes if push[0] in (b"message", b"smessage")]
        if messages:
            for on_messages in self.client.on_messages:
                on_messages(messages)
        if self.link and any(push[0] == b"sunsubscribe" and push[1] in self.wanted for push in pushes):
            # The channel moves to another node of the cluster.
            self.link.close()


def settle(answer: "asyncio.Future[Any]", done: "asyncio.Future[None]") -> None:
    """The connection may be lost meanwhile: then another one comes, and all channels are suspect."""
    if not answer.cancelled():
        answer.exception()
    if not done.done():
        done.set_result(None)
