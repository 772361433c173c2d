"""What a connection costs the server: coming for the first time, and coming back ``messages`` behind."""

import asyncio
from collections.abc import Callable
from typing import Any

import orjson

from tests.load.figures import Meter, Usage
from tests.load.scenarios import Options
from tests.load.target import TEXT, Target, User, gathered, parted
from tests.load.wire import Wire

AT_ONCE = 200


async def crowd(
    target: Target, users: list[User], connect: Callable[[User], Any], shown: bool
) -> tuple[list[Wire], Any]:
    usage = Usage(target.pid)
    with Meter("connected", len(users), shown=shown) as meter:
        wires = await gathered((connect(user) for user in users), AT_ONCE)
    await asyncio.sleep(0.5)
    return wires, {"server_cpu_us": usage.each(len(users)), "seconds": round(meter.seconds, 2)}


async def say(target: Target, user: User, chat: str) -> None:
    async with target.http(user) as http:
        body = {"type": "text", "chatId": chat, "content": TEXT}
        async with http.post(f"{target.url}/api/v2/messages", json=body) as answer:
            assert answer.status == 201, await answer.text()


async def run(target: Target, options: Options) -> dict[str, Any]:
    users = await target.users(options.clients)
    chats = await target.chats([users[start : start + 2] for start in range(0, len(users), 2)])
    figures: dict[str, Any] = {"clients": len(users)}
    place = dict(zip((each.id for each in users), (chat for chat in chats for _ in range(2)), strict=False))
    for name in ("cold", "connect"):
        wires, figures[name] = await crowd(
            target, users, lambda user: target.connect(user, place[user.id]), options.shown
        )
        async with parted(wires):
            readies = [await wire.ready for wire in wires]
        await asyncio.sleep(1)
    if target.name != "bellwire":
        return figures
    had = {user.id: orjson.loads(ready[8:])[1] for user, ready in zip(users, readies, strict=True)}
    for _ in range(options.messages):
        await gathered(say(target, user, chat) for user, chat in zip(users[::2], chats, strict=True))

    def back(user: User) -> Any:
        return target.connect(user, offsets=had[user.id]["heads"], epoch=had[user.id]["epoch"])

    wires, figures["resume"] = await crowd(target, users, back, options.shown)
    async with parted(wires):
        told = [orjson.loads((await wire.ready)[8:])[1]["recovered"] for wire in wires]
    return figures | {"behind": options.messages, "recovered": all(all(each.values()) for each in told)}
