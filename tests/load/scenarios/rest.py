"""Messages over HTTP: clients in pairs, each with a connection of its own, posting one after the other."""

import asyncio
import time
from typing import Any

from tests.load.figures import Meter, Usage
from tests.load.scenarios import Options
from tests.load.target import Target


async def run(target: Target, options: Options) -> dict[str, Any]:
    users = await target.users(options.clients)
    chats = await target.chats([users[start : start + 2] for start in range(0, len(users), 2)])
    total, refused = len(users) * options.messages, 0
    async with target.http() as http:

        async def post(number: int) -> None:
            nonlocal refused
            for message in range(options.messages):
                path, body = target.post(chats[number // 2], f"{number}-{message}")
                began = time.perf_counter()
                async with http.post(target.url + path, json=body, headers=users[number].headers) as answer:
                    await answer.read()
                    refused += answer.status != 201
                meter.add(time.perf_counter() - began)

        usage = Usage(target.pid)
        with Meter("messages posted", total, shown=options.shown) as meter:
            await asyncio.gather(*(post(number) for number in range(len(users))))
        cpu = usage.each(total)
    return {"clients": len(users), "posted": total - refused, "refused": refused,
            "server_cpu_us_per_message": cpu, **meter.figures()}  # fmt: skip
