"""A day in small: chats of all sizes, people who type, write, read, and come and go."""

import asyncio
import random
import time
from typing import Any

import orjson

from tests.load.figures import Meter, Order, Usage
from tests.load.scenarios import Options
from tests.load.target import Target, User, gathered
from tests.load.wire import Wire
from tests.support.guard import HANG_SECONDS

SIZES = [2] * 70 + [5] * 20 + [20] * 8 + [100] * 2
ACTIONS = {"write": 30, "type": 40, "read": 25, "reconnect": 5}
PAUSE = 1.0


class Person:
    def __init__(self, target: Target, user: User, chats: list[str], order: Order, meter: Meter) -> None:
        self.target = target
        self.user = user
        self.chats = chats
        self.order = order
        self.meter = meter
        self.newest: dict[str, str] = {}
        self.offsets: dict[str, int] = {}
        self.epoch = ""
        self.sent = self.refused = self.unrecovered = self.reconnects = 0
        self.waiting: dict[int, asyncio.Future[bytes]] = {}
        self.wire: Wire

    async def connect(self) -> None:
        resume: dict[str, Any] = {"offsets": self.offsets, "epoch": self.epoch} if self.epoch else {}
        self.wire = await self.target.connect(self.user, **resume)
        for packet in self.wire.before:
            if packet.startswith(b"42"):
                self.heard(packet)
        self.wire.heard = self.heard
        ready = orjson.loads((await self.wire.ready)[8:])[1]
        self.epoch = ready["epoch"]
        self.unrecovered += sum(not whole for whole in ready["recovered"].values())
        for channel, head in ready["heads"].items():
            self.offsets[channel] = max(self.offsets.get(channel, 0), head)

    def heard(self, packet: bytes) -> None:
        if packet.startswith(b"43"):
            start = packet.index(b"[")
            waiting = self.waiting.pop(int(packet[8:start]), None)
            if waiting and not waiting.done():
                waiting.set_result(packet)
            return
        name, payload, *place = orjson.loads(packet[8:])
        if place:
            channel, seq = place[0]["channel"], place[0]["seq"]
            self.order.saw(self.user.id, channel, seq)
            self.offsets[channel] = seq
        if name == "message:new":
            self.newest[payload["chatId"]] = payload["_id"]

    async def ask(self, name: str, payload: Any) -> None:
        self.sent += 1
        began = time.perf_counter()
        answer = self.waiting[self.sent] = asyncio.get_running_loop().create_future()
        self.wire.emit(self.sent, name, payload)
        packet = await asyncio.wait_for(answer, HANG_SECONDS)
        self.refused += b'"isSuccess":true' not in packet[:80]
        self.meter.add(time.perf_counter() - began)

    async def act(self) -> None:
        chat = random.choice(self.chats)
        match random.choices(list(ACTIONS), list(ACTIONS.values()))[0]:
            case "write":
                name, payload = self.target.message(chat, f"{self.user.id}-{self.sent}")
                await self.ask(name, payload)
            case "type":
                await self.ask("typing", {"chatId": chat})
            case "read" if chat in self.newest:
                await self.ask("message:read", {"chatId": chat, "messageId": self.newest[chat]})
            case "reconnect":
                self.wire.transport.abort()
                await self.wire.closed
                self.reconnects += 1
                await self.connect()

    async def live(self, until: float) -> None:
        await asyncio.sleep(random.uniform(0, PAUSE))
        while time.perf_counter() < until:
            await self.act()
            await asyncio.sleep(random.expovariate(1 / PAUSE))


async def run(target: Target, options: Options) -> dict[str, Any]:
    users = await target.users(options.clients)
    of: dict[str, list[str]] = {each.id: [] for each in users}
    groups = []
    while min(len(some) for some in of.values()) < 2:
        groups.append(random.sample(users, min(random.choice(SIZES), len(users))))
        for each in groups[-1]:
            of[each.id].append("")
    of = {each.id: [] for each in users}
    for group, chat in zip(groups, await target.chats(groups), strict=True):
        for each in group:
            of[each.id].append(chat)
    order, usage = Order(), None
    with Meter("events answered", shown=options.shown) as meter:
        people = [Person(target, each, of[each.id], order, meter) for each in users]
        await gathered(each.connect() for each in people)
        usage, until = Usage(target.pid), time.perf_counter() + options.seconds
        await asyncio.gather(*(each.live(until) for each in people))
        await asyncio.sleep(0.5)
    cpu = usage.each(meter.done)
    for person in people:
        person.wire.transport.abort()
    return {
        "clients": len(users), "chats": len(groups), "events": order.events,
        "refused": sum(each.refused for each in people), "reconnects": sum(each.reconnects for each in people),
        "unrecovered": sum(each.unrecovered for each in people), "server_cpu_us_per_call": cpu,
        **meter.figures(), **order.figures(),
    }  # fmt: skip
