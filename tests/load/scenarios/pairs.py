"""Clients in pairs who write to each other: each sends the next message when the last one is acknowledged."""

import asyncio
import contextlib
import time
from typing import Any

from tests.load.figures import Meter, Order, Usage
from tests.load.scenarios import Options
from tests.load.target import Target, parted
from tests.load.wire import Wire
from tests.support.guard import HANG_SECONDS


class Sender:
    """One client; ``prefix`` keeps its keys apart from those of other runs."""

    def __init__(
        self,
        target: Target,
        name: int,
        wire: Wire,
        chat: str,
        messages: int,
        order: Order,
        meter: Meter,
        prefix: str = "pairs",
    ) -> None:
        self.target = target
        self.name = name
        self.prefix = prefix
        self.wire = wire
        self.chat = chat
        self.left = messages
        self.order = order
        self.meter = meter
        self.sent = 0
        self.at: dict[int, float] = {}
        self.refused: list[bytes] = []
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.ack = b"43" + wire.prefix
        wire.heard = self.heard

    def heard(self, packet: bytes) -> None:
        if packet.startswith(b"43"):
            number = int(packet[len(self.ack) : packet.index(b"[")])
            self.meter.add(time.perf_counter() - self.at.pop(number))
            if b'"isSuccess":false' in packet[:80]:
                self.refused.append(packet)
            self.acked()
        elif self.target.is_message(packet):
            self.order.read(self.name, packet)

    def acked(self) -> None:
        if self.left:
            self.send()
        elif not self.at and not self.done.done():
            self.done.set_result(None)

    def send(self, at: float | None = None) -> None:
        self.left -= 1
        self.sent += 1
        self.at[self.sent] = time.perf_counter() if at is None else at
        self.wire.emit(self.sent, *self.target.message(self.chat, f"{self.prefix}-{self.name}-{self.sent}"))


class Paced(Sender):
    """Sends when its time has come, whether or not the last one was acknowledged; latency counts from that time."""

    def acked(self) -> None:
        if not self.left and not self.at and not self.done.done():
            self.done.set_result(None)

    async def run(self, interval: float, began: float, phase: float) -> None:
        """``phase`` from 0 to 1 is this one's place in each interval of so many seconds."""
        while self.left:
            due = began + (self.sent + phase) * interval
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            self.send(due)


async def run(target: Target, options: Options) -> dict[str, Any]:
    """``rate`` messages a second of all clients together; 0 is as fast as acks come."""
    order = Order()
    users = await target.users(options.clients - options.clients % 2)
    pairs = [users[start : start + 2] for start in range(0, len(users), 2)]
    chats = await target.chats(pairs)
    wires = await target.connect_all(users, [chat for chat in chats for _ in range(2)])
    total = len(users) * options.messages
    async with parted(wires):
        usage = Usage(target.pid)
        with Meter("messages acknowledged", total, shown=options.shown, warm=bool(options.rate)) as meter:
            kind = Paced if options.rate else Sender
            senders = [
                kind(target, index, wire, chats[index // 2], options.messages, order, meter)
                for index, wire in enumerate(wires)
            ]
            if options.rate:
                interval, began = len(users) / options.rate, time.perf_counter()
                paced = [each for each in senders if isinstance(each, Paced)]
                await asyncio.gather(*(each.run(interval, began, each.name / len(users)) for each in paced))
            else:
                for each in senders:
                    each.send()
            await asyncio.wait_for(asyncio.gather(*(each.done for each in senders)), 600)
        refused = sum(len(each.refused) for each in senders)
        counted = target.name == "bellwire"
        if counted:
            # Both of a pair see each message.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(HANG_SECONDS):
                    while order.events < 2 * (total - refused):
                        await asyncio.sleep(0.01)
        cpu = usage.each(total)
    return {
        "clients": len(users), "acked": total - refused, "refused": refused, "server_cpu_us_per_message": cpu,
        **meter.figures(), **order.figures(), **({"unseen": 2 * (total - refused) - order.events} if counted else {}),
    }  # fmt: skip
