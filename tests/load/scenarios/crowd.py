"""An open stream with a crowd: viewers arrive at a rate, watch, read a chat, react, and leave.

Of a sample of viewers each event is checked. The others answer pings and decode nothing, so that many fit beside the server.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import orjson

from tests.load.figures import Meter, Order, Usage
from tests.load.scenarios import Options
from tests.load.target import Target, User, parted
from tests.load.wire import Wire
from tests.support.guard import HANG_SECONDS

ARRIVALS = 200.0
MESSAGES = 10.0
SAMPLE = 100
SLICES = 10
BURST_SECONDS = 0.1
# Pings and the number of viewers, which is sent every two seconds, are in it.
IDLE_SECONDS = 2.0
SETTLE_SECONDS = 3.0
REACTIONS = b'42/chat,["stream:reactions"'


async def paced(users: list[User], rate: float, do: Callable[[User], Awaitable[Any]]) -> list[Any]:
    """Do something for each of these, so many a second: those of each tenth of a second at once, as crowds come."""
    began, tasks, some = time.perf_counter(), [], max(1, int(rate * BURST_SECONDS))
    for start in range(0, len(users), some):
        await asyncio.sleep(max(0.0, began + start / rate - time.perf_counter()))
        tasks += [asyncio.ensure_future(do(user)) for user in users[start : start + some]]
    return list(await asyncio.gather(*tasks))


class Audience:
    """Those who watch, each with a wire; some of them read what they get."""

    def __init__(self, target: Target, stream: str) -> None:
        self.target = target
        self.stream = stream
        self.wires: dict[User, Wire] = {}
        self.order = Order()
        # When each message was sent, by its text.
        self.sent_at: dict[str, float] = {}
        self.reactions = 0

    async def connect(self, user: User) -> None:
        self.wires[user] = await self.target.connect(user)

    async def watch(self, user: User) -> Any:
        wire = self.wires[user]
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

        def heard(packet: bytes) -> None:
            if packet.startswith(b"43") and not answer.done():
                answer.set_result(orjson.loads(packet[packet.index(b"[") :])[0])

        wire.heard = heard
        wire.emit(1, "stream:watch", {"streamId": self.stream})
        ack = await asyncio.wait_for(answer, HANG_SECONDS)
        assert ack["isSuccess"], ack
        return ack["data"]

    def listen(self, user: User, meter: Meter) -> None:
        """Check each event from now on."""

        def heard(packet: bytes) -> None:
            if self.target.is_message(packet):
                document = orjson.loads(packet[packet.index(b"[") :])[1]
                meter.add(time.perf_counter() - self.sent_at[document["content"]])
                self.order.read(user.id, packet)
            elif packet.startswith(REACTIONS):
                self.reactions += sum(orjson.loads(packet[packet.index(b"[") :])[1]["counts"].values())

        self.wires[user].heard = heard


class OwnCost:
    """What something costs the server beyond ``idle``, its share of a core for those who are there anyway."""

    def __init__(self, pid: int | None, idle: float | None) -> None:
        self.usage = Usage(pid)
        self.idle = idle
        self.began = time.perf_counter()

    def each(self, count: int) -> float | None:
        """CPU for each of so many, in µs."""
        spent = self.usage.seconds()
        if spent is None or self.idle is None:
            return None
        return round(max(0.0, spent - self.idle * (time.perf_counter() - self.began)) / count * 1e6, 1)


async def idle_share(pid: int | None) -> float | None:
    usage = Usage(pid)
    await asyncio.sleep(IDLE_SECONDS)
    spent = usage.seconds()
    return None if spent is None else spent / IDLE_SECONDS


async def settled(count: Callable[[], Awaitable[int]], wanted: int) -> int:
    """A count once it is what is wanted, or as it is after a long time."""
    deadline = time.perf_counter() + HANG_SECONDS
    while (found := await count()) != wanted and time.perf_counter() < deadline:
        await asyncio.sleep(SETTLE_SECONDS / 10)
    return found


async def chat(audience: Audience, owner: User, chat_id: str, rate: float, seconds: float) -> int:
    """Messages of the owner, so many a second, and a reaction of a viewer beside each; how many."""
    wire, count = await audience.target.connect(owner), int(rate * seconds)
    viewers, began = list(audience.wires.values()), time.perf_counter()
    async with parted([wire]):
        for number in range(count):
            await asyncio.sleep(max(0.0, began + number / rate - time.perf_counter()))
            name, payload = audience.target.message(chat_id, f"crowd-{number}", content=f"message {number}")
            audience.sent_at[f"message {number}"] = time.perf_counter()
            wire.emit(number, name, payload)
            reaction = {"streamId": audience.stream, "key": "❤️", "count": 1}
            viewers[number % len(viewers)].emit(2, "stream:react", reaction)
        await asyncio.sleep(SETTLE_SECONDS)
    return count


async def run(target: Target, options: Options) -> dict[str, Any]:
    """``rate`` arrivals a second (default 200), then ``messages`` a second (default 10) for ``seconds``."""
    rate = options.rate or ARRIVALS
    messages = float(min(options.messages, MESSAGES))
    owner, *users = await target.users(options.clients + 1)
    stream = await target.open_stream(owner)
    audience = Audience(target, stream["id"])
    usage = Usage(target.pid)
    arrivals: list[dict[str, float | None]] = []
    size = -(-len(users) // SLICES)
    for start in range(0, len(users), size):
        some = users[start : start + size]
        own = OwnCost(target.pid, await idle_share(target.pid))
        await paced(some, rate, audience.connect)
        connects = own.each(len(some))
        own = OwnCost(target.pid, await idle_share(target.pid))
        heads = {each["head"] for each in await paced(some, rate, audience.watch)}
        assert heads == {0}, "arriving makes no event"
        arrivals.append({"viewers": start + len(some), "connect_us": connects, "watch_us": own.each(len(some))})
        for user in some:
            if user not in users[:: max(1, len(users) // SAMPLE)]:
                audience.wires[user].count_only()
    memory = usage.memory()
    async with parted(list(audience.wires.values())):
        sampled = users[:: max(1, len(users) // SAMPLE)]
        with Meter("deliveries seen", int(messages * options.seconds) * len(sampled), shown=options.shown) as meter:
            for user in sampled:
                audience.listen(user, meter)
            chatting = Usage(target.pid)
            count = await chat(audience, owner, stream["chatId"], messages, options.seconds)
        delivered = chatting.each(count * len(users))

        async def watching() -> int:
            return int((await target.stream(owner, stream["id"]))["viewers"])

        seen = await settled(watching, len(users))
        leaving = users[len(users) // 2 :]
        for user in leaving:
            audience.wires[user].transport.abort()
        remaining = await settled(watching, len(users) - len(leaving))
    grown = None if memory is None or usage.memory_before is None else (memory - usage.memory_before) / len(users)
    return {
        "clients": len(users), "arrivals": arrivals, "server_cpu_us_per_watch": arrivals[-1]["watch_us"],
        "bytes_each": grown and round(grown), "messages": count, "sampled": len(sampled),
        "unseen": count * len(sampled) - audience.order.events, "server_cpu_us_per_delivery": delivered,
        "reactions_seen": audience.reactions, "viewers": seen, "viewers_after_half_left": remaining,
        **meter.figures(), **audience.order.figures(),
    }  # fmt: skip
