"""Connections that do nothing, each in ``chats`` chats of ten: what one costs in memory, and what coming costs in CPU."""

import asyncio
import random
from typing import Any

from tests.load.figures import Meter, Usage
from tests.load.scenarios import Options
from tests.load.target import Target, gathered, parted

MEMBERS = 10


async def run(target: Target, options: Options) -> dict[str, Any]:
    users = await target.users(options.clients)
    groups = []
    for _ in range(options.chats):
        random.shuffle(users)
        groups += [users[start : start + MEMBERS] for start in range(0, len(users), MEMBERS)]
    await target.chats(groups)
    # The first ones pay for what is made once.
    warm = await target.connect_all(users[:100])
    await asyncio.sleep(1)
    usage = Usage(target.pid)
    with Meter("connected", len(users), shown=options.shown) as meter:

        async def connect(user: Any) -> Any:
            wire = await target.connect(user)
            meter.add(0.0)
            return wire

        wires = await gathered(connect(user) for user in users[100:])
    await asyncio.sleep(2)
    cpu, memory = usage.each(len(wires)), usage.memory()
    async with parted([*warm, *wires]):
        await asyncio.sleep(options.seconds)
    each = None if memory is None or usage.memory_before is None else (memory - usage.memory_before) / len(wires)
    return {"clients": len(users), "chats_each": options.chats, "server_cpu_us_per_connect": cpu,
            "bytes_each": each and round(each), "connected_per_second": meter.figures()["per_second"]}  # fmt: skip
