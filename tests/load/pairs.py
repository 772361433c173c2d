"""Pairs of people who write to each other: each sends the next message when the last one is acknowledged."""

import asyncio
import time
from typing import Any

import aiohttp
import orjson

from tests.load.figures import Order, Usage, percentile
from tests.load.wire import Wire, dial

AT_ONCE = 20


async def make_users(session: aiohttp.ClientSession, url: str, token: str, count: int) -> list[dict[str, Any]]:
    """Users made through the API, each with a token of an hour; ``token`` must have ``users.manage``."""
    gate = asyncio.Semaphore(AT_ONCE)
    headers = {"Authorization": f"Bearer {token}"}

    async def post(path: str, body: Any) -> Any:
        async with gate, session.post(url + path, json=body, headers=headers) as response:
            answer = await response.json()
            if response.status != 201:
                raise SystemExit(f"POST {path}: {response.status} {answer}")
            return answer["data"]

    async def make(number: int) -> dict[str, Any]:
        user = await post("/api/v1/users", {"name": f"load {number}"})
        return {"id": user["id"], **await post(f"/api/v1/users/{user['id']}/tokens", {"ttl": 3600})}

    return list(await asyncio.gather(*(make(number) for number in range(count))))


async def make_chats(session: aiohttp.ClientSession, url: str, users: list[dict[str, Any]]) -> list[str]:
    """A direct chat for each two users in a row."""

    async def make(first: dict[str, Any], second: dict[str, Any]) -> str:
        headers = {"Authorization": f"Bearer {first['token']}"}
        body = {"type": "direct", "memberIds": [second["id"]]}
        async with session.post(f"{url}/api/v2/chats", json=body, headers=headers) as response:
            return str((await response.json())["_id"])

    return list(await asyncio.gather(*(make(*pair) for pair in zip(users[::2], users[1::2], strict=True))))


class Sender:
    """One client: sends, waits for the ack, sends again."""

    def __init__(self, name: int, wire: Wire, chat_id: str, messages: int, order: Order) -> None:
        self.name = name
        self.wire = wire
        self.chat_id = chat_id
        self.left = messages
        self.order = order
        self.sent = 0
        self.at = 0.0
        self.latency: list[float] = []
        self.errors: list[bytes] = []
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        wire.heard = self.heard

    def heard(self, packet: bytes) -> None:
        if packet.startswith(b"43"):
            self.latency.append(time.perf_counter() - self.at)
            if b'"isSuccess":true' not in packet[:60]:
                self.errors.append(packet)
            self.send()
        elif packet.startswith(b'42/chat,["message:new"'):
            place = orjson.loads(packet[packet.rindex(b'{"channel"') : -1])
            self.order.saw(self.name, place["channel"], place["seq"])

    def send(self) -> None:
        if not self.left:
            self.done.set_result(None)
            return
        self.left -= 1
        self.sent += 1
        self.at = time.perf_counter()
        body = {
            "type": "text",
            "chatId": self.chat_id,
            "content": "x" * 120,
            "clientMessageId": f"{self.name}-{self.sent}",
        }
        self.wire.emit(self.sent, "message:send", body)


async def run(url: str, token: str, *, clients: int, messages: int, pid: int | None = None) -> dict[str, Any]:
    """Figures of ``clients`` senders (an even number), ``messages`` each."""
    order = Order()
    async with aiohttp.ClientSession() as session:
        users = await make_users(session, url, token, clients)
        chats = await make_chats(session, url, users)
    wires = [await dial(url, {"token": user["token"], "v": 1}) for user in users]
    senders = [Sender(index, wire, chats[index // 2], messages, order) for index, wire in enumerate(wires)]
    usage, start = Usage(pid), time.perf_counter()
    for sender in senders:
        sender.send()
    await asyncio.wait_for(asyncio.gather(*(sender.done for sender in senders)), 600)
    seconds = time.perf_counter() - start
    await asyncio.sleep(0.5)
    cpu = usage.seconds()
    for wire in wires:
        wire.transport.close()
    latency = [each for sender in senders for each in sender.latency]
    acked = len(latency) - sum(len(sender.errors) for sender in senders)
    seen = sum(order.last.values())
    return {
        "scenario": "pairs",
        "clients": clients,
        "acked": acked,
        "refused": len(latency) - acked,
        "acked_per_second": round(acked / seconds),
        "server_cpu_us_per_message": None if cpu is None else round(cpu / acked * 1e6),
        "p50_ms": round(percentile(latency, 0.5) * 1e3, 2),
        "p99_ms": round(percentile(latency, 0.99) * 1e3, 2),
        "p999_ms": round(percentile(latency, 0.999) * 1e3, 2),
        "lost": order.lost + 2 * acked - seen,
        "doubled": order.doubled,
        "disordered": order.disordered,
    }
