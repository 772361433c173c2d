"""Every viewer of a room has every event once, in order, over cuts and kills: ``python -m tests.faults.rooms``.

Viewers are no members: they name the room in their offsets and go on from what they had. The server is killed and started
again while its owner writes.
"""

import argparse
import asyncio
import json
import random
import resource
import tempfile
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import orjson

from tests.load.wire import Wire
from tests.support.guard import HANG_SECONDS
from tests.support.process import ProcessUser, ServerProcess

READY = b'42/chat,["session:ready"'
AT_ONCE = 100
RETRY_SECONDS = 0.2


class Viewer:
    """One user, over as many connections as it takes; what arrives is compared with what is to come."""

    def __init__(self, user: ProcessUser, channel: str) -> None:
        self.user = user
        self.channel = channel
        self.last = 0
        # Events that were not the next one, and resumes that were not whole.
        self.faults: list[str] = []
        self.connections = 0
        self.wire: ViewerWire | None = None

    def on_packet(self, packet: bytes) -> None:
        place = packet.rfind(b'{"channel":"%b","seq":' % self.channel.encode())
        if place < 0:
            return
        seq = int(packet[packet.rfind(b":") + 1 : -2])
        if seq != self.last + 1:
            self.faults.append(f"{seq} after {self.last}")
        self.last = max(self.last, seq)

    async def connect(self, epoch: str) -> None:
        """Raises OSError where the server can't be reached."""
        parts = urlsplit(self.user.url)
        assert parts.hostname and parts.port
        auth = {"token": self.user.token, "v": 1, "offsets": {self.channel: self.last}, "epoch": epoch}
        place, loop = (parts.hostname, parts.port), asyncio.get_running_loop()
        _, wire = await loop.create_connection(lambda: ViewerWire(self, f"{place[0]}:{place[1]}", auth), *place)
        self.connections += 1
        ready = orjson.loads((await asyncio.wait_for(asyncio.shield(wire.ready), HANG_SECONDS))[8:])[1]
        if not ready["recovered"][self.channel]:
            self.faults.append(f"not resumed from {self.last}")
        self.wire = wire

    def cut(self) -> None:
        if self.wire:
            self.wire.transport.abort()


class ViewerWire(Wire):
    """Hands everything to its viewer, also what comes before the server is ready."""

    def __init__(self, viewer: Viewer, host: str, auth: Any) -> None:
        super().__init__(host, "/chat", auth, READY)
        self.viewer = viewer
        self.heard = viewer.on_packet

    def _packet(self, packet: bytes) -> None:
        if not self.ready.done() and packet.startswith(b"42") and not packet.startswith(READY):
            self.viewer.on_packet(packet)
        else:
            super()._packet(packet)


async def stay(viewer: Viewer, epoch: str, gate: asyncio.Semaphore, over: asyncio.Event) -> None:
    while not over.is_set():
        try:
            async with gate:
                await viewer.connect(epoch)
        except (OSError, TimeoutError):
            await asyncio.sleep(RETRY_SECONDS)
            continue
        assert viewer.wire
        if over.is_set():
            viewer.cut()
        await viewer.wire.closed


async def write(owner: ProcessUser, chat_id: str, messages: int, rate: float) -> None:
    """Messages at fixed times; what is not acknowledged is sent again under its key."""
    began = time.monotonic()
    for number in range(messages):
        await asyncio.sleep(max(0.0, began + number / rate - time.monotonic()))
        body = {"type": "text", "chatId": chat_id, "content": f"message {number}", "clientMessageId": f"room-{number}"}
        while True:
            try:
                answer = await owner.post("/api/v2/messages", body)
            except (aiohttp.ClientError, OSError):
                await asyncio.sleep(RETRY_SECONDS)
                continue
            if answer.status == 201:
                break
            await asyncio.sleep(RETRY_SECONDS)


async def run(*, viewers: int, messages: int, rate: float, kills: int, seed: int = 1) -> dict[str, Any]:
    dice = random.Random(seed)
    with tempfile.TemporaryDirectory(prefix="bellwire-rooms-") as name:
        async with ServerProcess(Path(name) / "data") as server, aiohttp.ClientSession() as session:
            permissions = "--permission", "users.manage", "--permission", "streams.manage"
            owner = await server.user(session, "owner@example.org", *permissions)
            body = {"title": "Live", "startsAt": "2999-01-01T00:00:00Z", "audience": "open"}
            stream = (await owner.post("/api/v1/streams", body)).json["data"]
            channel = f"chat:{stream['chatId']}"
            socket = await owner.socket()
            epoch = socket.named("session:ready")[0][0]["epoch"]
            await socket.close()
            crowd = [Viewer(each, channel) for each in await owner.others(viewers)]
            over, gate = asyncio.Event(), asyncio.Semaphore(AT_ONCE)
            staying = [asyncio.create_task(stay(each, epoch, gate, over)) for each in crowd]
            writing = asyncio.create_task(write(owner, stream["chatId"], messages, rate))

            async def cuts() -> None:
                while not writing.done():
                    await asyncio.sleep(dice.uniform(0.05, 0.2))
                    for viewer in dice.sample(crowd, max(1, viewers // 100)):
                        viewer.cut()

            cutting = asyncio.create_task(cuts())
            for _ in range(kills):
                await asyncio.sleep(messages / rate / (kills + 1))
                await server.kill()
                await server.start()
            await writing
            await cutting
            head = (await owner.get(f"/api/v2/chats/{stream['chatId']}")).json["seq"]
            async with asyncio.timeout(HANG_SECONDS):
                while any(each.last < head for each in crowd):
                    await asyncio.sleep(0.1)
            over.set()
            for each in crowd:
                each.cut()
            await asyncio.gather(*staying)
    return {
        "viewers": viewers, "messages": messages, "kills": kills, "connections": sum(each.connections for each in crowd),
        "events": head, "behind": sum(each.last != head for each in crowd),
        "faults": sum(len(each.faults) for each in crowd), "first": [each.faults[0] for each in crowd if each.faults][:3],
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.rooms", description=__doc__)
    parser.add_argument("--viewers", type=int, default=2000)
    parser.add_argument("--messages", type=int, default=600)
    parser.add_argument("--rate", type=float, default=10, help="messages a second")
    parser.add_argument("--kills", type=int, default=3)
    asked = parser.parse_args()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    print(json.dumps(asyncio.run(run(**vars(asked))), indent=2))


if __name__ == "__main__":
    main()
