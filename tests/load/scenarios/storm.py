"""All clients are cut off and come back with their offsets, while others write: how soon they are whole, who is disturbed."""

import asyncio
import time
from typing import Any

import orjson

from tests.load.figures import Meter, Order, Usage, percentile
from tests.load.scenarios import Options
from tests.load.scenarios.pairs import Paced
from tests.load.target import Target, gathered, parted

BYSTANDERS = 100
AT_ONCE = 2000


async def run(target: Target, options: Options) -> dict[str, Any]:
    """``rate`` messages a second of the bystanders (default 200), for ``seconds`` before and during the storm."""
    rate = options.rate or 200
    users = await target.users(options.clients + BYSTANDERS)
    others, crowd = users[:BYSTANDERS], users[BYSTANDERS:]
    chats = await target.chats([others[start : start + 2] for start in range(0, len(others), 2)])
    await target.chats([crowd[start : start + 10] for start in range(0, len(crowd), 10)])
    wires = await target.connect_all(others)
    comers = await target.connect_all(crowd)
    had = {user.id: orjson.loads((await wire.ready)[8:])[1] for user, wire in zip(crowd, comers, strict=True)}
    figures: dict[str, Any] = {"clients": len(crowd)}

    async def write(name: str, order: Order, meter: Meter) -> None:
        messages = int(rate * options.seconds / len(others))
        senders = [
            Paced(target, index, wire, chats[index // 2], messages, order, meter, prefix=name)
            for index, wire in enumerate(wires)
        ]
        interval, began = len(others) / rate, time.perf_counter()
        await asyncio.gather(*(each.run(interval, began, each.name / len(others)) for each in senders))
        await asyncio.wait_for(asyncio.gather(*(each.done for each in senders)), 600)

    async def back(user: Any) -> Any:
        for _ in range(20):
            try:
                return await target.connect(user, offsets=had[user.id]["heads"], epoch=had[user.id]["epoch"])
            except (OSError, TimeoutError):
                await asyncio.sleep(0.5)
        raise SystemExit("a client could not come back")

    order = Order()
    async with parted(wires):
        with Meter("messages before", shown=options.shown, warm=1) as before:
            await write("before", order, before)
        for wire in comers:
            wire.transport.abort()
        await asyncio.gather(*(wire.closed for wire in comers))
        usage = Usage(target.pid)
        with Meter("messages during", shown=options.shown) as during:
            writing = asyncio.create_task(write("during", order, during))
            began = time.perf_counter()
            returned = await gathered((back(user) for user in crowd), AT_ONCE)
            figures["all_back_in_seconds"] = round(time.perf_counter() - began, 2)
            told = [orjson.loads((await wire.ready)[8:])[1]["recovered"] for wire in returned]
            await writing
        async with parted(returned):
            figures["server_cpu_us_per_return"] = usage.each(len(crowd))
    return figures | {
        "recovered": all(all(each.values()) for each in told),
        "others_p99_ms_before": round(percentile(before.latency, 0.99) * 1e3, 2),
        "others_p99_ms_during": round(percentile(during.latency, 0.99) * 1e3, 2),
        **order.figures(), "timeline": during.figures()["timeline"],
    }  # fmt: skip
