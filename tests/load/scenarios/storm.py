"""All clients are cut off and come back with their offsets, while others write: how soon they are whole, who is disturbed.

The others are a process of their own: so many connections at once keep the load tester itself busy.
"""

import asyncio
import os
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any

import orjson
import uvloop

from tests.load.figures import Meter, Order, Usage, percentile
from tests.load.scenarios import Options
from tests.load.scenarios.pairs import Paced
from tests.load.target import Target, User, gathered, parted

BYSTANDERS = 100
RATE = 200
AT_ONCE = 2000


def others(url: str, users: list[User], chats: list[str], rate: float, seconds: float, name: str) -> dict[str, Any]:
    """Write at a steady rate; what it looked like."""
    return uvloop.run(write(url, users, chats, rate, seconds, name))


async def write(
    url: str, users: list[User], chats: list[str], rate: float, seconds: float, name: str
) -> dict[str, Any]:
    target, order = Target(url), Order()
    wires = await target.connect_all(users)
    messages = int(rate * seconds / len(users))
    async with parted(wires):
        with Meter("messages", shown=False, warm=1) as meter:
            senders = [
                Paced(target, index, wire, chats[index // 2], messages, order, meter, prefix=name)
                for index, wire in enumerate(wires)
            ]
            interval, began = len(users) / rate, time.perf_counter()
            await asyncio.gather(*(each.run(interval, began, each.name / len(users)) for each in senders))
            await asyncio.wait_for(asyncio.gather(*(each.done for each in senders)), 600)
    return {"p99_ms": round(percentile(meter.latency, 0.99) * 1e3, 2), "timeline": meter.figures()["timeline"],
            **order.figures()}  # fmt: skip


async def run(target: Target, options: Options) -> dict[str, Any]:
    """``rate`` messages a second of the bystanders (default 200), for ``seconds`` before and during the storm."""
    rate = options.rate or RATE
    users = await target.users(options.clients + BYSTANDERS)
    few, crowd = users[:BYSTANDERS], users[BYSTANDERS:]
    chats = await target.chats([few[start : start + 2] for start in range(0, len(few), 2)])
    await target.chats([crowd[start : start + 10] for start in range(0, len(crowd), 10)])
    comers = await target.connect_all(crowd)
    had = {user.id: orjson.loads((await wire.ready)[8:])[1] for user, wire in zip(crowd, comers, strict=True)}

    async def back(user: User) -> Any:
        for _ in range(20):
            try:
                return await target.connect(user, offsets=had[user.id]["heads"], epoch=had[user.id]["epoch"])
            except (OSError, TimeoutError):
                await asyncio.sleep(0.5)
        raise SystemExit("a client could not come back")

    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        loop = asyncio.get_running_loop()
        asked = (target.url, few, chats, rate, options.seconds)
        before = await loop.run_in_executor(pool, others, *asked, "before")
        writing = loop.run_in_executor(pool, others, *asked, "during")
        await asyncio.sleep(2)
        # Those who come back are many machines: they take no core from the server and the others.
        os.nice(19)
        for wire in comers:
            wire.transport.abort()
        await asyncio.gather(*(wire.closed for wire in comers))
        usage, began = Usage(target.pid), time.perf_counter()
        returned = await gathered((back(user) for user in crowd), AT_ONCE)
        seconds = time.perf_counter() - began
        cpu = usage.each(len(crowd))
        told = [orjson.loads((await wire.ready)[8:])[1]["recovered"] for wire in returned]
        during = await writing
    async with parted(returned):
        await asyncio.sleep(0)
    return {
        "clients": len(crowd), "all_back_in_seconds": round(seconds, 2), "server_cpu_us_per_return": cpu,
        "recovered": all(all(each.values()) for each in told),
        "others_p99_ms_before": before["p99_ms"], "others_p99_ms_during": during["p99_ms"],
        **{name: during[name] for name in ("lost", "doubled", "disordered", "timeline")},
    }  # fmt: skip
