"""Readers that mean ill, among good ones: what they cost, how soon they are gone, and whether anybody else notices.

``python -m tests.faults.readers --bad 20 --good 100 --rate 200 --seconds 90`` starts a server of its own. Of each kind
there are so many bad ones: who never read, who read a byte a second, who only answer pings, who stop in the middle of a
packet, who never say CONNECT.
"""

import argparse
import asyncio
import contextlib
import re
import socket
import statistics
import tempfile
import time
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import orjson

from realtime.schema.limits import MIB, Limits
from tests.fuzz.frames import HANDSHAKE, frame
from tests.load.figures import memory_bytes
from tests.load.wire import Wire, dial
from tests.support.guard import HANG_SECONDS
from tests.support.process import ProcessUser, ServerProcess

LIMITS = Limits()
KINDS = ("never reads", "a byte a second", "only pongs", "half a packet", "no CONNECT")
# Of each kind, what the limit is that they reach, in seconds; those who are cut off for their bytes have none.
PING = {"ping_interval": 5, "ping_timeout": 15}
LEAVE_WITHIN = {
    "only pongs": LIMITS.unconnected,
    "half a packet": PING["ping_interval"] + PING["ping_timeout"],
    "no CONNECT": LIMITS.unconnected,
}
LENGTH = 1024
SENDERS = 4
# States of a connection in Linux.
CLOSED, CLOSE_WAIT = 7, 8
SAMPLE = 0.1


class Bad:
    """One connection of a kind. ``gone`` is how long it lived, when it is over."""

    def __init__(self, kind: str, url: str, auth: dict[str, Any]) -> None:
        self.kind, self.auth, self.parts = kind, auth, urlsplit(url)
        self.gone: float | None = None

    async def live(self) -> None:
        loop = asyncio.get_running_loop()
        here = socket.socket()
        here.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        here.setblocking(False)
        began = time.monotonic()
        with contextlib.closing(here), contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            await loop.sock_connect(here, (self.parts.hostname, self.parts.port))
            await loop.sock_sendall(here, HANDSHAKE.format(host=self.parts.netloc).encode())
            if self.kind not in ("only pongs", "no CONNECT"):
                await loop.sock_sendall(here, frame(b"40/chat," + orjson.dumps(self.auth)))
                said = b""
                while b"session:ready" not in said:
                    said += await loop.sock_recv(here, 4096)
            await self.misbehave(loop, here)
        self.gone = time.monotonic() - began

    async def misbehave(self, loop: asyncio.AbstractEventLoop, here: socket.socket) -> None:
        """Until the server ends it. Who doesn't read finds out by writing: after the end that fails."""
        if self.kind == "half a packet":
            await loop.sock_sendall(here, frame(b"42/chat,", length=1000))
        while True:
            if self.kind in ("never reads", "a byte a second"):
                await asyncio.sleep(1)
                if over(here):
                    raise ConnectionResetError
                await loop.sock_sendall(here, frame(b"3"))
                if self.kind == "a byte a second":
                    await loop.sock_recv(here, 1)
            elif not (said := await loop.sock_recv(here, 65536)):
                raise ConnectionResetError
            elif self.kind == "only pongs" and b"\x81\x012" in said:
                await loop.sock_sendall(here, frame(b"3"))


def over(here: socket.socket) -> bool:
    """Whether the other side has ended the connection; looked up, for reading is what is not done here."""
    return here.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] in (CLOSED, CLOSE_WAIT)


@dataclass
class Watch:
    """The server's own figures, sampled."""

    api: ProcessUser
    pid: int
    most_memory: int = 0
    longest_over: float = 0
    over_since: float | None = None
    stopping: asyncio.Event = field(default_factory=asyncio.Event)

    async def figures(self) -> dict[str, float]:
        text = (await self.api.get("/metrics")).body.decode()
        return {name: float(value) for name, value in re.findall(r"^(bellwire_\w+) (\S+)$", text, re.MULTILINE)}

    async def state(self) -> dict[str, float]:
        """What must come back to where it was."""
        figures = await self.figures()
        descriptors = len(list(Path(f"/proc/{self.pid}/fd").iterdir()))
        return {
            "tasks": figures["bellwire_tasks"], "sockets": figures["bellwire_sockets"], "descriptors": descriptors,
            "memory": memory_bytes(self.pid),
        }  # fmt: skip

    async def settled(self, before: dict[str, float]) -> dict[str, float]:
        """The state when all but the memory is back to where it was, or when that takes too long."""
        began = time.monotonic()
        while True:
            after = await self.state()
            back = all(after[name] <= before[name] for name in after if name != "memory")
            if back or time.monotonic() - began > HANG_SECONDS:
                return after
            await asyncio.sleep(0.2)

    async def run(self) -> None:
        while not self.stopping.is_set():
            most = (await self.figures())["bellwire_outbound_most_bytes"]
            moment = time.monotonic()
            if most <= LIMITS.outbound:
                self.over_since = None
            else:
                self.over_since = self.over_since or moment
                self.longest_over = max(self.longest_over, moment - self.over_since)
            self.most_memory = max(self.most_memory, memory_bytes(self.pid))
            await asyncio.sleep(SAMPLE)


class Load:
    """``SENDERS`` who send together ``rate`` messages a second to one chat, at fixed times, and all who hear them."""

    def __init__(self, senders: list[Wire], readers: list[Wire], chat: str) -> None:
        self.senders, self.readers, self.chat = senders, readers, chat
        self.began = 0.0
        self.delays: dict[int, list[float]] = {}
        self.sent = 0
        self.ids = count(1)
        for each in readers:
            each.heard = self._hear

    def _hear(self, packet: bytes) -> None:
        if b'"message:new"' in packet[:40]:
            at = packet.index(b'"content":"') + 11
            due = float(packet[at : packet.index(b" ", at)])
            self.delays.setdefault(int(due - self.began), []).append(time.perf_counter() - due)

    async def run(self, rate: float, seconds: float) -> dict[int, list[float]]:
        """The delays of what was sent in each second, from the moment it should have been sent."""
        self.delays = {}
        self.began = began = time.perf_counter()
        for number in range(int(rate * seconds)):
            due = began + number / rate
            if (wait := due - time.perf_counter()) > 0:
                await asyncio.sleep(wait)
            content = f"{due:.6f} ".ljust(LENGTH, "x")
            sender = self.senders[number % SENDERS]
            sender.emit(next(self.ids), "message:send", {"type": "text", "chatId": self.chat, "content": content})
            self.sent += 1
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(HANG_SECONDS):
                while len(every(self.delays)) < int(rate * seconds) * len(self.readers):
                    await asyncio.sleep(0.05)
        return self.delays


def p99(delays: list[float]) -> float:
    return statistics.quantiles(delays, n=100)[98]


def usual(delays: dict[int, list[float]], upto: float) -> float:
    """The p99 of a second, as it is in half of the seconds before ``upto``: machines that others use stall now and then."""
    return statistics.median(p99(each) for second, each in delays.items() if second < upto)


def every(delays: dict[int, list[float]]) -> list[float]:
    return [delay for each in delays.values() for delay in each]


async def run(*, bad: int, good: int, rate: float, seconds: float) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        server = ServerProcess(Path(folder) / "data", max_unconnected=LIMITS.unconnected, **PING)
        async with server, aiohttp.ClientSession() as session:
            ann = await server.user(session, "ann@example.org", "--permission=admin")
            people = await ann.others(SENDERS + good + 3 * bad)
            body = {"type": "group", "name": "x", "memberIds": [each.id for each in people]}
            chat = (await ann.post("/api/v2/chats", body)).json["_id"]
            wires = [await dial(server.url, each.auth()) for each in people[: SENDERS + good]]
            load = Load(wires[:SENDERS], wires[SENDERS:], chat)
            watch = Watch(ann, server.process.pid)
            await load.run(rate, 5)
            before = await watch.state()
            alone = await load.run(rate, seconds / 3)
            sampling = asyncio.create_task(watch.run())
            connected = iter(people[SENDERS + good :])
            fiends = [
                Bad(
                    kind,
                    server.url,
                    next(connected).auth() if "read" in kind or "byte" in kind or "half" in kind else {},
                )
                for kind in KINDS
                for _ in range(bad)
            ]
            lives = [asyncio.create_task(each.live()) for each in fiends]
            among = await load.run(rate, seconds)
            watch.stopping.set()
            await sampling
            await asyncio.wait(lives, timeout=HANG_SECONDS)
            left = sum(each.gone is None for each in fiends)
            for life in lives:
                life.cancel()
            await asyncio.gather(*lives, return_exceptions=True)
            after = await watch.settled(before)
            figures = await watch.figures()
            for each in wires:
                each.transport.abort()
            lived = {kind: [each.gone for each in fiends if each.kind == kind and each.gone] for kind in KINDS}
            late = [gone - LEAVE_WITHIN[kind] for kind in LEAVE_WITHIN for gone in lived[kind]]
            return {
                "sent": load.sent, "heard_alone": len(every(alone)), "heard_among": len(every(among)), "bad": len(fiends),
                "bad_left": left, "cut": int(figures["bellwire_slow_readers_cut_total"]),
                "lived": {kind: f"{min(each):.1f} to {max(each):.1f} s" for kind, each in lived.items() if each},
                "longest_over_limit": round(watch.longest_over, 2), "latest_after_deadline": round(max(late), 2),
                "memory_grown_mib": round((watch.most_memory - before["memory"]) / MIB, 1),
                "p99_alone_ms": round(1000 * p99(every(alone)), 2), "p99_among_ms": round(1000 * p99(every(among)), 2),
                "usual_p99_alone_ms": round(1000 * usual(alone, seconds), 2),
                "usual_p99_among_ms": round(1000 * usual(among, max(each.gone or 0 for each in fiends)), 2),
                "p99_ratio": round(usual(among, max(each.gone or 0 for each in fiends)) / usual(alone, seconds), 2),
                **{f"{name}_more": after[name] - before[name] for name in ("tasks", "sockets", "descriptors")},
                "leaked": sum(max(0.0, after[name] - before[name]) for name in ("tasks", "sockets", "descriptors")),
                "unheard": good * int(rate * seconds) - len(every(among)), "late": sum(each > 5 for each in late),
                "memory_over": int(watch.most_memory - before["memory"] > (1.5 * len(fiends) + 32) * MIB),
                "slower_than_twice": int(usual(among, max(each.gone or 0 for each in fiends)) > 2 * usual(alone, seconds)),
                "tracebacks": server.log.read_text().count("Traceback"),
            }  # fmt: skip


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bad", type=int, default=20, help="of each kind")
    parser.add_argument("--good", type=int, default=100)
    parser.add_argument("--rate", type=float, default=200, help="messages a second")
    parser.add_argument("--seconds", type=float, default=90)
    for name, figure in asyncio.run(run(**vars(parser.parse_args()))).items():
        print(f"{name:24}{figure}")
