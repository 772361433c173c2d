"""One chat of all clients; one of them sends, and the next message goes when fewer than ``under_way`` are on their way."""

import asyncio
import time
from typing import Any

from tests.load.figures import Meter, Order, Usage
from tests.load.scenarios import Options
from tests.load.target import Target, parted

SAMPLE = 20
WARM = 5
LOOK_EVERY = 0.0005


class Room:
    def __init__(self, target: Target, chat: str, wires: list[Any], meter: Meter, under_way: int) -> None:
        self.target = target
        self.chat = chat
        self.wires = wires
        self.meter = meter
        self.under_way = under_way
        self.order = Order()
        self.looking = False
        self.sent = self.arrived = 0
        self.goal = 0
        self.at: list[float] = []
        self.missing: list[int] = []
        self.done = asyncio.Event()
        for number, wire in enumerate(wires):
            wire.heard = self.listener(number)

    def listener(self, number: int) -> Any:
        seen, sampled = 0, number % SAMPLE == 0

        def heard(packet: bytes) -> None:
            nonlocal seen
            if not self.target.is_message(packet):
                return
            if sampled:
                self.meter.add(time.perf_counter() - self.at[seen])
                self.order.read(number, packet)
            self.missing[seen] -= 1
            seen += 1
            if self.missing[self.arrived] == 0 and not self.looking:
                self.looking = True
                asyncio.get_running_loop().call_later(LOOK_EVERY, self.go_on)

        return heard

    def go_on(self) -> None:
        """What has reached every member makes room for the next; looked at twice a millisecond."""
        self.looking = False
        while self.arrived < self.sent and self.missing[self.arrived] == 0:
            self.arrived += 1
        while self.sent < self.goal and self.sent < self.arrived + self.under_way:
            self.sent += 1
            self.at.append(time.perf_counter())
            self.missing.append(len(self.wires))
            self.wires[0].emit(self.sent, *self.target.published(self.chat, f"fanout-{self.sent}"))
        if self.arrived == self.goal:
            self.missing.append(-1)
            self.done.set()

    async def send(self, messages: int) -> None:
        self.goal += messages
        self.missing = self.missing[: self.sent]
        self.done.clear()
        self.go_on()
        await asyncio.wait_for(self.done.wait(), 600)


async def run(target: Target, options: Options) -> dict[str, Any]:
    users = await target.users(options.clients)
    chat = await target.chat(users)
    wires = await target.connect_all(users, [chat] * len(users))
    await asyncio.sleep(0.5)
    async with parted(wires):
        with Meter("deliveries seen", options.messages * -(-len(users) // SAMPLE), shown=options.shown) as meter:
            room = Room(target, chat, wires, meter, options.under_way)
            await room.send(WARM)
            usage, began = Usage(target.pid), time.perf_counter()
            await room.send(options.messages)
            seconds = time.perf_counter() - began
            deliveries = options.messages * len(wires)
            cpu = usage.each(deliveries)
    return {
        "clients": options.clients, "under_way": options.under_way, "deliveries": deliveries,
        "server_cpu_us_per_delivery": cpu, **meter.figures(), "per_second": round(deliveries / seconds),
        **room.order.figures(),
    }  # fmt: skip
