"""What a connection costs the server: coming for the first time, and coming back with offsets that are behind."""

import asyncio
import contextlib
import resource
import shutil
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import aiohttp
import orjson

from tests.load.figures import Usage
from tests.load.pairs import make_chats, make_users
from tests.load.wire import Wire, dial
from tests.redis_server import free_port

AT_ONCE = 200


async def crowd(dials: Sequence[Callable[[], Awaitable[Wire]]], pid: int | None) -> tuple[list[Wire], dict[str, float]]:
    """Connect all, so many at a time; the server's CPU for each in µs, and how long it took."""
    gate = asyncio.Semaphore(AT_ONCE)

    async def one(dial: Callable[[], Awaitable[Wire]]) -> Wire:
        async with gate:
            return await dial()

    usage, start = Usage(pid), time.perf_counter()
    wires = list(await asyncio.gather(*(one(each) for each in dials)))
    took = time.perf_counter() - start
    await asyncio.sleep(0.5)
    cpu = usage.seconds()
    return wires, {"cpu_us": round((cpu or 0) / len(dials) * 1e6), "seconds": round(took, 2)}


async def part(wires: Sequence[Wire]) -> None:
    for wire in wires:
        wire.transport.abort()
    await asyncio.gather(*(wire.closed for wire in wires))
    await asyncio.sleep(1)


@contextlib.asynccontextmanager
async def peer() -> AsyncIterator[tuple[str, int]]:
    """The Node peer; its URL and process."""
    node = shutil.which("node") or str(Path(".venv/bin/node").absolute())
    port = free_port()
    process = await asyncio.create_subprocess_exec(
        node, "tests/load/peer.mjs", str(port), stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout
    await process.stdout.readline()
    try:
        yield f"http://127.0.0.1:{port}", process.pid
    finally:
        process.kill()
        await process.wait()


async def of_peer(clients: int) -> dict[str, float]:
    """Node's figure for a connect: the mean of three crowds, of which the first finds it cold."""
    async with peer() as (url, pid):
        figures = []
        for _ in range(3):
            wires, told = await crowd([lambda: dial(url, namespace="/", until=b"40")] * clients, pid)
            figures.append(told)
            await part(wires)
    return {"node_connect_cpu_us": round(sum(each["cpu_us"] for each in figures) / 3)}


async def run(url: str, token: str, *, clients: int, messages: int, pid: int | None = None) -> dict[str, Any]:
    """Figures of ``clients`` users, two in a chat; each comes back ``messages`` behind."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    node = await of_peer(clients)
    async with aiohttp.ClientSession() as session:
        users = await make_users(session, url, token, clients)
        chats = await make_chats(session, url, users)
        first = [{"token": each["token"], "v": 1} for each in users]
        wires, came = await crowd([lambda auth=auth: dial(url, auth) for auth in first], pid)  # type: ignore[misc]
        again = []
        for auth, wire in zip(first, wires, strict=True):
            ready = orjson.loads((await wire.ready)[8:])[1]
            again.append({**auth, "offsets": ready["heads"], "epoch": ready["epoch"]})
        await part(wires)
        for _ in range(messages):
            await asyncio.gather(*(say(session, url, user, chat) for user, chat in zip(users[::2], chats, strict=True)))
    wires, back = await crowd([lambda auth=auth: dial(url, auth) for auth in again], pid)  # type: ignore[misc]
    whole = [orjson.loads((await wire.ready)[8:])[1]["recovered"] for wire in wires]
    await part(wires)
    return {
        "scenario": "connect", "clients": clients, **node, "connect": came, "resume": back,
        "recovered": all(all(each.values()) for each in whole),
        "resume_to_node": round(back["cpu_us"] / node["node_connect_cpu_us"], 2),
        "connect_to_node": round(came["cpu_us"] / node["node_connect_cpu_us"], 2),
    }  # fmt: skip


async def say(session: aiohttp.ClientSession, url: str, user: dict[str, Any], chat: str) -> None:
    body = {"type": "text", "chatId": chat, "content": "x" * 120}
    headers = {"Authorization": f"Bearer {user['token']}"}
    async with session.post(f"{url}/api/v2/messages", json=body, headers=headers) as answer:
        assert answer.status == 201, await answer.text()
