"""Mutated frames at four layers: websocket, Engine.IO, Socket.IO and the events' arguments.

``python -m tests.fuzz.frames --frames 50000 --seed 1`` starts a server of its own, sends, and counts what must be 0.
"""

import argparse
import asyncio
import contextlib
import random
import re
import struct
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import orjson

from tests.support.people import Api
from tests.support.process import ServerProcess

CONNECTIONS = 20
# Sent on one connection before the next one is opened.
PER_CONNECTION = 25
PING = {"ping_interval": 2, "ping_timeout": 2}
GONE_WITHIN = 60
HANDSHAKE = (
    "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\n"
    "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
ODD: list[Any] = [
    None, True, False, 0, -1, 1.5, 2**53, 2**63, -(2**63), 1e308, "", "\x00", "\ud800", "x" * 300, "🙂" * 50, "../../etc",
    "' OR 1=1 --", "<script>", [], {}, [[]], {"": None}, ["x"] * 50, {"__proto__": {}}, {"$ne": 1}, "f" * 24,
]  # fmt: skip
CHARACTERS = '",:[]{}\\\0\u2028'
# Texts that broke somebody once.
SEEDS = [
    "x", "", "4", "4[[[[" + "[" * 5000, "42[]", "42{}", "42null", '42["connect",{},{}]',
    '42["disconnect"]',
    '42["__class__"]', '459999999999-["a",{"_placeholder":true,"num":-1}]',
    '451-["a",{"_placeholder":true,"num":1000000000}]',
    "42" + "9" * 100 + '["message:send",{}]', "40/" + "n" * 60_000 + ",", "42/chat,1e999", '42/chat,["x",NaN]',
    '42/chat,["typing",{"chatId":9223372036854775808}]', '42/chat,["typing",{"chatId":"\\ud800"}]',
    '42/chat,["typing",{"a":1,"a":2}]', "42/chat," + '["typing",' + "[" * 10_000, "41/chat,", "43/chat,1[]", "44/chat,{}",
    "46/chat,1-[]", "bAAAA", "6", "5", "2probe", "3probe", "1", "0{}", "40", "40/chat", "40/chat,[]", '40/chat,"token"',
]  # fmt: skip


def frame(
    data: bytes, opcode: int = 1, *, fin: bool = True, rsv: int = 0, masked: bool = True, length: int = -1
) -> bytes:
    """A client's frame, RFC 6455; ``length`` is what its head says, if that shall be another."""
    said = len(data) if length < 0 else length
    first = (fin << 7) | (rsv << 4) | opcode
    bit = 0x80 if masked else 0
    if said < 126:
        head = struct.pack("!BB", first, bit | said)
    elif said < 2**16:
        head = struct.pack("!BBH", first, bit | 126, said)
    else:
        head = struct.pack("!BBQ", first, bit | 127, said)
    return head + (b"\0\0\0\0" if masked else b"") + data


class Mutator:
    """Makes bytes to be sent; the same for the same seed. ``examples`` are payloads that are good."""

    def __init__(self, seed: int, examples: dict[str, Any], connect: dict[str, Any]) -> None:
        self.random = random.Random(seed)
        self.examples = examples
        self.connect = connect
        self.layers: list[Callable[[], bytes]] = [self.websocket, self.engine, self.protocol, self.arguments]

    def next(self) -> bytes:
        return self.random.choice(self.layers)()

    def event(self) -> str:
        name = self.random.choice(list(self.examples))
        id = self.random.choice(["", "1", "17"])
        return f"42/chat,{id}{orjson.dumps([name, self.examples[name]]).decode()}"

    def text(self, text: str) -> bytes:
        return frame(text.encode("utf-8", "surrogatepass"))

    def websocket(self) -> bytes:
        pick = self.random
        data = self.event().encode()
        match pick.randrange(8):
            case 0:
                return frame(data, pick.randrange(16))
            case 1:
                return frame(data, rsv=pick.randrange(1, 8))
            case 2:
                return frame(data, masked=False)
            case 3:
                return frame(data, length=pick.choice([2**63 - 1, 2**63, 2**64 - 1, 2**31, len(data) + 7, 1]))
            case 4:
                return frame(data, fin=False) + frame(data, pick.choice([0, 1, 2, 9]), fin=pick.random() < 0.5)
            case 5:
                return frame(pick.randbytes(pick.randrange(200)), pick.choice([1, 2, 8, 9, 10]))
            case 6:
                return frame(b"x" * 200, 9)
            case _:
                whole = bytearray(frame(data))
                for _ in range(pick.randrange(1, 5)):
                    whole[pick.randrange(len(whole))] = pick.randrange(256)
                return bytes(whole)

    def engine(self) -> bytes:
        if self.random.random() < 0.5:
            return self.text(self.random.choice(SEEDS))
        return self.text(self.random.choice("0123456789bx \x00") + self.bent(self.event()))

    def protocol(self) -> bytes:
        kind = self.random.choice("0123456")
        namespace = self.random.choice(["", "/chat,", "/chat", "/,", "/other,", "/chat?x=1,", "/" * 50 + ","])
        id = self.random.choice(["", "1", "-1", "9" * 30, "1.5", "0001"])
        body = self.random.choice([self.event()[8:], "[]", "{}", "null", '"x"', "[1]", "[[]]", '["x"', "", "[{}]"])
        return self.text(f"4{kind}{namespace}{id}{self.bent(body) if self.random.random() < 0.5 else body}")

    def arguments(self) -> bytes:
        name = self.random.choice([*self.examples, "connect", "disconnect", "nothing"])
        payload: Any = dict(self.examples.get(name, {}))
        for _ in range(self.random.randrange(1, 4)):
            key = self.random.choice([*payload, "extra", "file", "clientMessageId", "metadata", "creditTransfer"])
            payload[key] = self.random.choice(ODD)
        if self.random.random() < 0.1:
            payload = self.random.choice(ODD)
        text = orjson.dumps([name, sane(payload), *self.random.choices(["x", 1, None], k=self.random.randrange(3))])
        return self.text(f"42/chat,{self.random.randrange(100)}{text.decode()}")

    def bent(self, text: str) -> str:
        """With some characters changed, lost, doubled or from elsewhere."""
        pick, letters = self.random, list(text)
        for _ in range(pick.randrange(1, 6)):
            at = pick.randrange(len(letters) + 1)
            match pick.randrange(4):
                case 0 if at < len(letters):
                    letters[at] = pick.choice(CHARACTERS + chr(pick.randrange(0x500)))
                case 1:
                    del letters[at : at + pick.randrange(8)]
                case 2:
                    letters[at:at] = letters[: pick.randrange(20)]
                case _:
                    letters[at:at] = self.event()[: pick.randrange(30)]
        return "".join(letters)


def sane(value: Any) -> Any:
    """Without what orjson can't write; half a character comes from the seeds."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, int) and not -(2**63) <= value < 2**64:
        return 0
    if isinstance(value, list):
        return [sane(each) for each in value]
    return {key: sane(each) for key, each in value.items()} if isinstance(value, dict) else value


class Attack:
    def __init__(self, url: str, mutator: Mutator, frames: int) -> None:
        address = urlsplit(url)
        self.place = (address.hostname, address.port)
        self.handshake = HANDSHAKE.format(host=address.netloc).encode()
        self.mutator = mutator
        self.left = self.frames = frames
        self.closed = 0

    async def run(self) -> None:
        await asyncio.gather(*(self._connections() for _ in range(CONNECTIONS)))

    async def _connections(self) -> None:
        while self.left > 0:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                await self._one()

    async def _one(self) -> None:
        reader, writer = await asyncio.open_connection(*self.place)
        drain = None
        try:
            writer.write(self.handshake)
            await reader.readuntil(b"\r\n\r\n")
            drain = asyncio.create_task(self._drain(reader))
            if self.mutator.random.random() < 0.9:
                writer.write(self.mutator.text("40/chat," + orjson.dumps(self.mutator.connect).decode()))
            for _ in range(PER_CONNECTION):
                if self.left <= 0 or drain.done():
                    return
                self.left -= 1
                writer.write(self.mutator.next())
                await writer.drain()
                await asyncio.sleep(0)
            await asyncio.sleep(0.02)
        finally:
            if drain:
                self.closed += drain.done()
                drain.cancel()
            # As clients go: some say goodbye, some are cut off.
            (writer.close if self.mutator.random.random() < 0.5 else writer.transport.abort)()

    async def _drain(self, reader: asyncio.StreamReader) -> None:
        while await reader.read(65536):
            pass


def resident(pid: int) -> float:
    """MiB."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096 / 2**20


async def sockets(api: Api) -> int:
    found = re.search(r"^bellwire_sockets (\d+)", (await api.get("/metrics")).body.decode(), re.MULTILINE)
    assert found
    return int(found[1])


async def run(frames: int, seed: int) -> dict[str, Any]:
    """The figures; ``dead``, ``tracebacks``, ``errors`` and ``sockets_left`` must be 0."""
    with tempfile.TemporaryDirectory() as folder:
        server = ServerProcess(Path(folder) / "data", max_head_seconds=10, max_unconnected=10, **PING)
        async with server, aiohttp.ClientSession() as session:
            ann, bob = await server.user(session, "ann@example.org"), await server.user(session, "bob@example.org")
            bob_id = (await bob.get("/api/v1/users/me")).json["data"]["id"]
            chat = (await ann.post("/api/v2/chats", {"type": "group", "name": "x", "memberIds": [bob_id]})).json["_id"]
            message = (await ann.post("/api/v2/messages", {"type": "text", "chatId": chat, "content": "x"})).json["_id"]
            examples = {
                "message:send": {"type": "text", "chatId": chat, "content": "x", "clientMessageId": "k"},
                "message:edit": {"messageId": message, "content": "x"},
                "message:delete": {"messageId": "f" * 24},
                "message:read": {"chatId": chat, "messageId": message},
                "typing": {"chatId": chat},
                "presence:watch": {"userIds": [bob_id]},
                "stream:watch": {"streamId": "f" * 24},
                "stream:unwatch": {"streamId": "f" * 24},
                "notification:read": {"id": "f" * 24},
                "session:refresh": {"token": "x"},
                "app:state": {"active": True},
            }
            mutator = Mutator(seed, examples, {"token": ann.token, "v": 1})
            warm = Attack(server.url, mutator, min(2000, frames // 4))
            await warm.run()
            before, began = resident(server.process.pid), time.monotonic()
            attack = Attack(server.url, mutator, frames - warm.frames)
            await attack.run()
            seconds = time.monotonic() - began
            grown = resident(server.process.pid) - before
            async with asyncio.timeout(GONE_WITHIN + 5):
                left = await sockets(ann)
                while left and time.monotonic() - began - seconds < GONE_WITHIN:
                    await asyncio.sleep(0.5)
                    left = await sockets(ann)
            alive = (await ann.post("/api/v2/messages", {"type": "text", "chatId": chat, "content": "alive"})).status
            log = server.log.read_text()
            return {
                "frames": frames, "seed": seed, "frames_per_second": round(attack.frames / seconds),
                "closed_by_server": attack.closed + warm.closed,
                "dead": int(alive != 201 or server.process.returncode is not None),
                "tracebacks": log.count("Traceback"), "errors": len(re.findall(r"\bERROR\b|\bCRITICAL\b", log)),
                "sockets_left": left, "grown_mib_per_10000": round(10_000 * grown / max(attack.frames, 1), 2),
                "log_lines": log.count("\n"),
            }  # fmt: skip


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=50_000)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    for name, figure in asyncio.run(run(given.frames, given.seed)).items():
        print(f"{name:24}{figure}")
