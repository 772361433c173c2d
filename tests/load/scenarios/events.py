"""Events that are answered and not stored: what the way in and out costs by itself."""

import asyncio
import time
from typing import Any

from tests.load.figures import Meter, Usage
from tests.load.scenarios import Options
from tests.load.target import Target, parted
from tests.load.wire import Wire


class Asker:
    def __init__(self, wire: Wire, quiet: tuple[str, Any], messages: int, meter: Meter) -> None:
        self.wire = wire
        self.quiet = quiet
        self.left = messages
        self.under_way = self.sent = 0
        self.meter = meter
        self.at = 0.0
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        wire.heard = self.heard

    def send(self, count: int) -> None:
        self.at = time.perf_counter()
        for _ in range(min(count, self.left)):
            self.left -= 1
            self.under_way += 1
            self.sent += 1
            self.wire.emit(self.sent, *self.quiet)

    def heard(self, packet: bytes) -> None:
        if packet.startswith(b"43"):
            self.under_way -= 1
            self.meter.add(time.perf_counter() - self.at)
            if self.left:
                self.send(1)
            elif not self.under_way:
                self.done.set_result(None)


async def run(target: Target, options: Options) -> dict[str, Any]:
    users = await target.users(options.clients)
    wires = await target.connect_all(users)
    total = len(wires) * options.messages
    async with parted(wires):
        usage = Usage(target.pid)
        with Meter("events answered", total, shown=options.shown) as meter:
            askers = [Asker(wire, target.quiet, options.messages, meter) for wire in wires]
            for each in askers:
                each.send(options.under_way)
            await asyncio.wait_for(asyncio.gather(*(each.done for each in askers)), 600)
        cpu = usage.each(total)
    return {"clients": len(wires), "under_way": options.under_way, "events": total,
            "server_cpu_us_per_event": cpu, **meter.figures()}  # fmt: skip
