"""A connection to Redis: commands in order, and what its subscriptions push.

redis-py opens it (TLS, log-in, RESP3); from then on the transport is ours, because its subscriber reconnects silently and
waits without end on a half-open connection. Relied on of redis-py 8: ``Connection.connect`` leaves nothing unread, and
``_writer`` holds the transport.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import hiredis
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import RedisError

logger = logging.getLogger("bellwire.redis")

CONNECT_SECONDS = 2.0
MOST_WAITING = 1 << 20
UNREACHABLE = (OSError, RedisError, hiredis.HiredisError, TimeoutError)
# Another node of the cluster has the key; a primary that became a replica; one that does not serve yet, or no more.
WRONG_SERVER = ("MOVED", "READONLY", "MASTERDOWN", "LOADING", "CLUSTERDOWN")
NOTHING = object()
Push = list[Any]
Command = Sequence[Any]


class Link(asyncio.Protocol):
    """``on_push`` gets what subscriptions deliver, the messages of one read at a time."""

    transport: asyncio.Transport

    def __init__(self, on_push: Callable[[Sequence[Push]], None]) -> None:
        self.on_push = on_push
        self.reader = hiredis.Reader(notEnoughData=NOTHING)
        # Of commands without an answer yet, in their order; None where the answer is not needed.
        self.replies: deque[asyncio.Future[Any] | None] = deque()
        # Done when the connection is lost.
        self.lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        # Of time.monotonic().
        self.received_at = time.monotonic()
        # An error reply was logged; the next ones of this connection are not.
        self.complained = False
        # Commands sent and answered; up to which number an error may be the refusal of a SUBSCRIBE.
        self.sent = self.done = self.fragile_until = 0
        # redis-py's, kept so that its connection is not closed.
        self.writer: asyncio.StreamWriter | None = None

    async def open(self, connection: AbstractConnection) -> None:
        """Raises one of UNREACHABLE."""
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                await connection.connect()  # type: ignore[no-untyped-call]
        except BaseException:
            await connection.disconnect(nowait=True)
            raise
        self.writer, connection._writer, connection._reader = connection._writer, None, None
        self.transport = self.writer.transport  # type: ignore[union-attr,assignment]
        self.transport.set_protocol(self)
        self.received_at = time.monotonic()

    async def require_primary(self) -> None:
        """Raises ConnectionError for a replica, which takes no writes; one that does not say is taken for a primary."""
        try:
            role = await self.call(b"ROLE")
        except hiredis.ReplyError:
            return
        if role and role[0] == b"slave":
            raise ConnectionError("the server is a read-only replica")

    @property
    def writable(self) -> bool:
        return not self.lost.done() and self.transport.get_write_buffer_size() < MOST_WAITING

    def write(self, commands: Iterable[Command], *, answered: bool = True) -> None:
        """Send commands without waiting for answers; SUBSCRIBE has none."""
        packed = [hiredis.pack_command(tuple(each)) for each in commands]
        self.transport.write(b"".join(packed))
        if answered:
            self.sent += len(packed)
            self.replies.extend([None] * len(packed))
        else:
            # Only a refusal is answered, and would be taken for the answer to what comes next.
            self.fragile_until = self.sent + 1

    def call(self, *command: bytes | str | int) -> "asyncio.Future[Any]":
        """Send a command; its answer. All that was sent before it has been done then. May hold ConnectionError."""
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        if self.writable:
            self.write([command])
            self.replies[-1] = answer
        else:
            answer.set_exception(ConnectionError("Redis does not keep up or is unreachable"))
        return answer

    def data_received(self, data: bytes) -> None:
        self.received_at = time.monotonic()
        try:
            self.reader.feed(data)
            pushes: list[Push] = []
            while not self.transport.is_closing() and (item := self.reader.gets()) is not NOTHING:
                if isinstance(item, hiredis.PushNotification):
                    pushes.append(item)
                else:
                    self._answered(item)
            if pushes:
                self.on_push(pushes)
        except (hiredis.ProtocolError, IndexError) as error:
            logger.error("unexpected answer from Redis: %s", error)
            self.close()

    def _answered(self, item: Any) -> None:
        if isinstance(item, hiredis.ReplyError) and str(item).startswith(WRONG_SERVER):
            # Whatever else is asked here would be refused too: the servers are to be looked for again.
            logger.warning("the Redis server is no longer responsible: %s", str(item).split(" ")[0])
            return self.close()
        fragile, self.done = self.done < self.fragile_until, self.done + 1
        if isinstance(item, hiredis.ReplyError) and not self.complained:
            self.complained = True
            logger.warning("Redis rejected a command: %s", item)
        if isinstance(item, hiredis.ReplyError) and fragile:
            return self.close()
        waiting = self.replies.popleft()
        if isinstance(item, hiredis.ReplyError):
            if waiting is None:
                return None
            if not waiting.done():
                waiting.set_exception(item)
        elif waiting is not None and not waiting.done():
            waiting.set_result(item)
        return None

    def connection_lost(self, error: Exception | None) -> None:
        self.lost.set_result(None)
        for waiting in self.replies:
            if waiting is not None and not waiting.done():
                waiting.set_exception(ConnectionError("the connection to Redis was lost"))
        self.replies.clear()

    def close(self) -> None:
        self.transport.abort()
