"""Several processes on one port, and how a server stops."""

import asyncio
import os
import signal
from pathlib import Path

import aiohttp
import pytest

from tests.conftest import eventually
from tests.support.guard import HANG_SECONDS
from tests.support.people import RawSocket
from tests.support.process import ServerProcess
from tests.support.redis_server import RedisServer


def children(pid: int) -> list[int]:
    return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


async def ready(session: aiohttp.ClientSession, url: str) -> int:
    async with session.get(f"{url}/readyz") as answer:
        return answer.status


async def test_workers_on_one_port(tmp_path: Path, postgres_database: str) -> None:
    settings = {"database_url": postgres_database, "workers": 3}
    async with RedisServer(tmp_path / "redis") as redis, aiohttp.ClientSession() as session:
        server = ServerProcess(tmp_path / "data", redis_url=redis.url, **settings)
        await server.start()
        ann = await server.user(session, "ann@example.org", "--permission", "users.manage")
        bobs = await ann.others(11)
        body = {"type": "group", "name": "Chat", "memberIds": [each.id for each in bobs]}
        chat = (await ann.post("/api/v2/chats", body)).json["_id"]
        sockets = [await each.socket() for each in bobs]
        at_work = children(server.process.pid)
        assert len(at_work) == 3
        for number in range(20):
            assert (
                await ann.post("/api/v2/messages", {"type": "text", "chatId": chat, "content": str(number)})
            ).status == 201
        for each in sockets:
            await each.until(lambda each=each: each.seqs(f"chat:{chat}") == list(range(1, 21)))
        os.kill(at_work[0], signal.SIGKILL)
        await eventually(lambda: len(set(children(server.process.pid)) - {at_work[0]}) == 3)
        for _ in range(20):
            assert (await ann.get("/api/v1/users/me")).status == 200
        assert await server.stop() == 0
        assert all(not Path(f"/proc/{pid}").exists() for pid in at_work)
        again = ServerProcess(tmp_path / "data", redis_url=redis.url, **settings)
        await again.start()
        at_work = children(again.process.pid)
        await again.kill()
        await eventually(lambda: not any(Path(f"/proc/{pid}").exists() for pid in at_work))


async def test_draining(tmp_path: Path) -> None:
    """Not ready, but still there; sockets go one after the other, without DISCONNECT, so that clients come back."""
    async with ServerProcess(tmp_path / "data", drain_seconds=20) as server, aiohttp.ClientSession() as session:
        ann = await server.user(session, "ann@example.org")
        sockets = [await ann.socket() for _ in range(10)]
        assert await ready(session, server.url) == 200
        server.process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(HANG_SECONDS):
            while await ready(session, server.url) != 503:
                await asyncio.sleep(0.02)
        answer = await ann.get("/api/v1/users/me")
        assert answer.status == 200 and answer.headers["Connection"] == "close"
        with pytest.raises(aiohttp.WSServerHandshakeError, match="503"):
            await RawSocket.open(session, server.url)
        gone = await eventually(lambda: [each for each in sockets if each.reading.done()])
        assert len(gone) < len(sockets), "one after the other"
        # The second signal ends the draining.
        assert await server.stop() == 0 and "second signal received" in server.log.read_text()
        await asyncio.gather(*(each.reading for each in sockets))
        assert {each.ws.close_code for each in sockets} == {1012}
        assert not any(packet.startswith("41") for each in sockets for packet in each.packets)
