"""The product beside what one would use instead, in one run: ``make bench``. Writes ``docs/performance.md``.

Absolute figures mean little from one machine to the next, so each line is a ratio to a peer of the same minutes. CPU is the
server process's own, user and system.
"""

import argparse
import asyncio
import contextlib
import datetime
import os
import platform
import random
import resource
import statistics
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import uvloop
from rich.console import Console

from tests.load import app_start, servers
from tests.load.figures import children, cpu_seconds
from tests.load.scenarios import Options, Scenario, connect, crowd, events, fanout, idle, pairs, rest, storm
from tests.load.target import Target

Server = Callable[[], AbstractAsyncContextManager[Any]]
console = Console()


@dataclass
class Line:
    """A figure beside a peer's; ``goal`` is what the ratio is to be, ``at_most`` or at least."""

    what: str
    unit: str
    ours: float
    peer: str
    theirs: float
    goal: float
    at_most: bool = True

    @property
    def ratio(self) -> float:
        return self.ours / self.theirs if self.theirs else 0.0

    @property
    def met(self) -> bool:
        return self.ratio <= self.goal if self.at_most else self.ratio >= self.goal

    def row(self) -> str:
        sign = "≤" if self.at_most else "≥"
        return (
            f"| {self.what} | {self.unit} | {self.ours:g} | {self.peer} {self.theirs:g} "
            f"| {self.ratio:.2f} | {sign} {self.goal:g} | {'yes' if self.met else '**no**'} |"
        )


async def measure(server: Server, scenario: Scenario, options: Options) -> dict[str, Any]:
    async with server() as target:
        figures = await scenario(target, options)
    shown = {name: value for name, value in figures.items() if name != "timeline"}
    console.print(f"[bold]{scenario.__module__.rpartition('.')[2]}[/] {target.name}: {shown}")
    return figures


async def fan_out(quick: int) -> AsyncIterator[Line]:
    options = Options(clients=500, messages=200 // quick)
    bare = await asyncio.to_thread(servers.floor, 500, 100, 420)
    key, what, unit = "server_cpu_us_per_delivery", "fan-out to 500", "µs of CPU a delivery"
    native = await can_serve(native_node)
    four = replace(options, under_way=4, messages=2 * options.messages)
    for name, load, goals in (("one", options, (0.75, 1.25)), ("four", four, (0.3, 1.0))):
        peers = {"node": servers.node, **({"node on uWebSockets": native_node} if native else {})}
        ours: list[float] = []
        theirs: dict[str, list[float]] = {peer: [] for peer in peers}
        for _ in range(3):
            ours.append((await measure(servers.product, fanout.run, load))[key])
            for peer, server in peers.items():
                theirs[peer].append((await measure(server, fanout.run, load))[key])
        for (peer, some), goal in zip(theirs.items(), goals, strict=False):
            here, there = statistics.median(ours), statistics.median(some)
            yield Line(f"{what}, {name} under way", unit, here, peer, there, goal)
        if name == "one":
            python = (await measure(servers.documented, fanout.run, options))[key]
            yield Line(f"{what}, one under way", unit, statistics.median(ours), "python", python, 0.2)
            yield Line(f"{what}, one under way", unit, statistics.median(ours), "send(2)", bare, 1.5)


def whole_node() -> AbstractAsyncContextManager[Any]:
    return servers.node("whole")


def native_node() -> AbstractAsyncContextManager[Any]:
    return servers.node("uws")


async def can_serve(server: Server) -> bool:
    """Whether a peer starts: a build of it may need a newer C library than the machine has."""
    try:
        async with server():
            return True
    except SystemExit as error:
        console.print(f"left out: {error}")
        return False


async def durable(quick: int) -> AsyncIterator[Line]:
    options = Options(clients=200, messages=100 // quick)
    ours = await measure(servers.product, pairs.run, options)
    whole = await measure(whole_node, pairs.run, options)
    node = await measure(servers.node, pairs.run, options)
    python = await measure(servers.documented, pairs.run, replace(options, messages=max(5, options.messages // 10)))
    for peer, theirs, speed in (("node, the same work", whole, 2), ("node", node, 1.2), ("python", python, 15)):
        yield Line(
            "durable sends of 200 in pairs",
            "acks a second",
            ours["per_second"],
            peer,
            theirs["per_second"],
            speed,
            False,
        )
    cpu = "server_cpu_us_per_message"
    for peer, theirs, most in (("node, the same work", whole, 0.7), ("node", node, 1.0)):
        yield Line("durable sends of 200 in pairs", "µs of CPU a message", ours[cpu], peer, theirs[cpu], most)
    half = replace(options, rate=ours["per_second"] / 2)
    slow = await measure(servers.product, pairs.run, half)
    yield Line("the same at half of that rate", "p99, ms", slow["p99_ms"], "the goal", 20, 1)


async def over_http(quick: int) -> AsyncIterator[Line]:
    options = Options(clients=50, messages=200 // quick)
    ours = (await measure(servers.product, rest.run, options))["per_second"]
    theirs = (await measure(servers.documented, rest.run, replace(options, messages=40 // quick)))["per_second"]
    yield Line("POST /api/v2/messages", "a second", ours, "python", theirs, 4, at_most=False)


async def inbound(quick: int) -> AsyncIterator[Line]:
    for under_way in (1, 8):
        options = Options(clients=100, messages=400 // quick, under_way=under_way)
        key = "server_cpu_us_per_event"
        ours = (await measure(servers.product, events.run, options))[key]
        theirs = (await measure(servers.node, events.run, options))[key]
        yield Line(f"an event and its ack, {under_way} under way", "µs of CPU", ours, "node", theirs, 0.7)


async def coming(quick: int) -> AsyncIterator[Line]:
    options = Options(clients=1500 // quick, messages=3)
    ours = await measure(servers.product, connect.run, options)
    for peer, server, goals in (("node, the same work", whole_node, (1.0, 1.3)), ("node", servers.node, (1.5, 2.0))):
        node = (await measure(server, connect.run, options))["connect"]["server_cpu_us"]
        yield Line("a connect", "µs of CPU", ours["connect"]["server_cpu_us"], peer, node, goals[0])
        back = ours["resume"]["server_cpu_us"]
        yield Line("a return, 3 behind", "µs of CPU", back, f"{peer}: a connect", node, goals[1])


async def doing_nothing(quick: int) -> AsyncIterator[Line]:
    options = Options(clients=2000 // quick, seconds=0)
    ten = (await measure(servers.product, idle.run, options))["bytes_each"]
    node = (await measure(servers.node, idle.run, options))["bytes_each"]
    yield Line("an idle connection in 10 chats", "bytes", ten, "the goal", 10 * 1024, 1)
    yield Line("an idle connection in 10 chats", "bytes", ten, "node", node, 1)
    sixty = (await measure(servers.product, idle.run, replace(options, chats=60)))["bytes_each"]
    yield Line("each further chat", "bytes", round((sixty - ten) / 50), "the goal", 120, 1)


async def many_come_back(quick: int) -> AsyncIterator[Line]:
    told = await measure(servers.product, storm.run, Options(clients=2000 // quick, seconds=10))
    yield Line(
        "others, while 2,000 come back",
        "p99, ms",
        told["others_p99_ms_during"],
        "before",
        told["others_p99_ms_before"],
        3,
    )


async def a_crowd(quick: int) -> AsyncIterator[Line]:
    options = Options(clients=10_000 // quick, seconds=15, rate=400, messages=10)
    product = partial(servers.product, "users.manage", "streams.manage")
    found = await measure(product, crowd.run, options)
    arrivals = found["arrivals"]
    what = f"an open stream of {options.clients:,} viewers"
    yield Line(f"{what}, stream:watch", "µs of CPU", found["server_cpu_us_per_watch"], "the goal", 120, 1)
    first, last = (
        arrivals[0]["connect_us"] + arrivals[0]["watch_us"],
        arrivals[-1]["connect_us"] + arrivals[-1]["watch_us"],
    )
    yield Line(f"{what}, the last tenth arrives", "µs of CPU", last, "the first tenth", first, 1.2)
    yield Line(f"{what}, 10 messages a second", "p99, ms", found["p99_ms"], "the goal", 1000, 1)
    yield Line(f"{what}, memory of each", "bytes", found["bytes_each"], "the goal", 12 * 1024, 1)


async def growth(quick: int) -> AsyncIterator[Line]:
    costs = {}
    for members, messages in ((10, 2000), (100, 500), (1000, 60), (5000, 20)):
        options = Options(clients=members, messages=max(10, messages // quick))
        costs[members] = (await measure(servers.product, fanout.run, options))["server_cpu_us_per_delivery"]
    yield Line("a delivery to 5,000", "µs of CPU", costs[5000], "to 100:", costs[100], 1.2)
    async with servers.product() as target:
        costs = {}
        for stored, messages in ((0, 50), (20_000, 450), (100_000, 50)):
            figures = await pairs.run(target, Options(clients=200, messages=messages // quick))
            costs[stored] = figures["server_cpu_us_per_message"]
            console.print(f"[bold]pairs[/] after about {stored} messages: {costs[stored]} µs")
        people = await target.users(200)
        await target.chats([random.sample(people, 3) for _ in range(10_000 // quick)])
        among_many = (await pairs.run(target, Options(clients=200, messages=50 // quick)))["server_cpu_us_per_message"]
    yield Line("a message after 100,000", "µs of CPU", costs[100_000], "after none:", costs[0], 1.2)
    yield Line("a message among 10,000 chats", "µs of CPU", among_many, "among 100:", costs[0], 1.2)


async def on_postgres(quick: int) -> AsyncIterator[Line]:
    """At a distance: round trips as measured, half of them on each way."""
    options, times = Options(clients=100, messages=200 // quick), 3 if quick == 1 else 1
    here: dict[float, float] = {}
    async with servers.postgres() as (server, _):
        for distance, goal in ((0, 1.5), (0.5, 1.5), (1, 2)):
            async with servers.database(server, distance) as url:
                trip = await servers.round_trip(url)
                product = partial(servers.product, BELLWIRE_DATABASE_URL=url)
                ours = [(await measure(product, pairs.run, options))["per_second"] for _ in range(times)]
                node = {
                    size: statistics.median(
                        [
                            (await measure(partial(servers.node_on_postgres, url, size), pairs.run, options))[
                                "per_second"
                            ]
                            for _ in range(times)
                        ]
                    )
                    for size in (10, 20, 50)
                }
                best = max(node, key=lambda size: node[size])
                here[distance] = statistics.median(ours)
                what = f"100 in pairs, PostgreSQL at {trip:g} ms"
                peer = f"node, pool of {best}"
                yield Line(what, "acks a second", here[distance], peer, node[best], goal, at_most=False)
                if distance != 1:
                    continue
                yield Line(what, "acks a second", here[1], "without distance", here[0], 0.8, at_most=False)
                half = await measure(product, pairs.run, replace(options, rate=here[1] / 2))
                yield Line(f"{what}, at half of that rate", "p99, ms", half["p99_ms"], "the goal", 40, 1)
                alone = await measure(product, pairs.run, Options(clients=2, messages=100 // quick, rate=20))
                yield Line(f"one sender, PostgreSQL at {trip:g} ms", "p50, ms", alone["p50_ms"], "the goal", 6, 1)
                async with product() as target:
                    figures = await app_start.run(target, url)
                console.print(f"[bold]app start[/] {target.name}: {figures}")
                yield Line("50 chats with 1,000 unread each, listed", "ms", figures["list_ms"], "the goal", 12, 1)
                yield Line("app start: connect and four reads", "ms", figures["start_ms"], "the goal", 40, 1)


async def several_nodes(quick: int) -> AsyncIterator[Line]:
    """On one PostgreSQL and one Redis, all on this machine: what they do together, and how much of its cores that takes."""
    options, alone = Options(clients=200, messages=100 // quick), 0.0
    for count in (1, 2, 4, 8):
        async with servers.postgres() as (server, postgres), servers.database(server, 0) as url:
            settings = {"BELLWIRE_DATABASE_URL": url, "BELLWIRE_JWT_SECRET": "s" * 40}
            async with servers.redis() as redis, contextlib.AsyncExitStack() as stack:
                product = partial(servers.product, BELLWIRE_REDIS_URL=redis, **settings)
                nodes = [await stack.enter_async_context(product()) for _ in range(count)]
                share = replace(options, clients=options.clients // count, shown=False)

                def spent(nodes: Sequence[Target] = nodes, postgres: int = postgres) -> dict[str, float]:
                    """Seconds of CPU."""
                    pids = {
                        "nodes": [each.pid for each in nodes if each.pid],
                        "PostgreSQL": [postgres, *children(postgres)],
                        "clients": [os.getpid()],
                    }
                    return {name: sum(map(cpu_seconds, some)) for name, some in pids.items()}

                before, began = spent(), time.perf_counter()
                figures = await asyncio.gather(*(pairs.run(each, share) for each in nodes))
                took = time.perf_counter() - began
                cores = {name: round((now - before[name]) / took, 2) for name, now in spent().items()}
        together, p99 = sum(each["per_second"] for each in figures), max(each["p99_ms"] for each in figures)
        console.print(f"[bold]nodes[/] {count}: {together} acks/s, p99 {p99} ms, cores used {cores}")
        alone = alone or together
        if count > 1:
            yield Line(
                f"{count} nodes on one PostgreSQL", "acks a second", together, "one node", alone, 0.8, at_most=False
            )


PARTS = {
    "fanout": fan_out, "durable": durable, "rest": over_http, "inbound": inbound, "connect": coming,
    "idle": doing_nothing, "storm": many_come_back, "crowd": a_crowd, "growth": growth, "postgres": on_postgres,
    "nodes": several_nodes,
}  # fmt: skip

HEAD = """# Performance

Measured {date} by `make bench` on {cpus} cores ({machine}, Python {python}), commit `{commit}`, default settings but for
higher limits on what one user sends, SQLite, every message durable before its ack. Each line compares with a peer in the
same run: absolute figures mean little from one machine to the next.

*node* is Socket.IO 4.8 with better-sqlite3, written by hand; *node, the same work* does in its transaction what this server
does (membership, client's key, event log, outbox), and at a connect verifies the token and reads user and memberships; *node
on uWebSockets* has a native websocket server, where its build can be loaded; *python* is aiohttp and python-socketio as
their documentation shows them, with a SQLAlchemy session a message; *send(2)* is the kernel's price of writing to a
connection, from C. Their code is in `tests/load/peers`. On PostgreSQL *node* has a pool of `pg`, the best of three sizes, and
does the same work in a transaction of eight statements; a proxy puts the distance before both. At fan-outs the peers pass
messages on without storing them.

| what | figure | here | there | ratio | goal | met |
|---|---|---|---|---|---|---|
{rows}
"""


def said(command: list[str]) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def page(lines: list[Line]) -> str:
    machine = next((line.partition(":")[2].strip() for line in Path("/proc/cpuinfo").read_text().splitlines()
                    if line.startswith("model name")), platform.machine())  # fmt: skip
    return HEAD.format(
        date=datetime.date.today().isoformat(), cpus=len(os.sched_getaffinity(0)), machine=machine,
        python=platform.python_version(), commit=said(["git", "rev-parse", "--short", "HEAD"]),
        rows="\n".join(line.row() for line in lines),
    )  # fmt: skip


async def run(parts: list[str], quick: int) -> list[Line]:
    lines = []
    for part in parts:
        async for line in PARTS[part](quick):
            console.print(line.row(), markup=False)
            lines.append(line)
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.load.bench", description=__doc__)
    parser.add_argument("part", nargs="*", choices=[*PARTS, []], help="all, if none is named")
    parser.add_argument("--quick", type=int, default=1, metavar="N", help="with an Nth of the load")
    parser.add_argument("--write", type=Path, metavar="FILE", help="write the table there")
    asked = parser.parse_args()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        lines = runner.run(run(asked.part or list(PARTS), asked.quick))
    if asked.write:
        asked.write.write_text(page(lines))


if __name__ == "__main__":
    main()
