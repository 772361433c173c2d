"""A clock that is set forward and back under a running server: nothing is late by more than two seconds, nothing is lost."""

import asyncio
import importlib.util
import time
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.support.guard import HANG_SECONDS
from tests.support.people import RawSocket
from tests.support.process import ProcessUser, ServerProcess

HOUR = 3600
# The clocks of Berlin go back at 01:00 UTC.
WINTER_TIME = 1792890000


class Clock:
    """The wall clock of one process; what counts seconds since the boot goes on."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "clock"
        self.set(0)

    def set(self, seconds: float) -> None:
        """So much ahead of ours, or behind it."""
        draft = self.file.with_suffix(".new")
        draft.write_text(f"{seconds:+f}")
        draft.replace(self.file)
        self.ahead = seconds

    @property
    def environment(self) -> dict[str, str]:
        found = importlib.util.find_spec("libfaketime")
        assert found and found.submodule_search_locations
        library = Path(found.submodule_search_locations[0]) / "vendor" / "libfaketime" / "src" / "libfaketime.so.1"
        return {
            "LD_PRELOAD": str(library),
            "FAKETIME_TIMESTAMP_FILE": str(self.file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }


class World:
    """Ann and Bob in a chat, by sockets; Bob's token is for half an hour."""

    def __init__(self, server: ServerProcess, clock: Clock) -> None:
        self.server, self.clock = server, clock

    async def begin(self, session: aiohttp.ClientSession) -> None:
        self.ann = await self.server.user(session, "ann@example.org", "--permission=admin")
        (self.bob,) = await self.ann.others(1)
        short = await self.ann.post(f"/api/v1/users/{self.bob.id}/tokens", {"ttl": HOUR // 2})
        self.short = ProcessUser(session, self.server.url, short.json["data"]["token"], self.bob.id)
        self.chat = (await self.ann.post("/api/v2/chats", {"type": "direct", "memberIds": [self.bob.id]})).json["_id"]
        self.hers, self.his = await self.ann.socket(), await self.short.socket()

    async def say(self, content: str) -> dict[str, Any]:
        sent = await self.ann.post("/api/v2/messages", {"type": "text", "chatId": self.chat, "content": content})
        assert sent.status == 201, sent
        return dict(sent.json)


@pytest.fixture
async def world(tmp_path: Path) -> Any:
    clock = Clock(tmp_path)
    server = ServerProcess(tmp_path / "data", ping_interval=2, max_failed_logins=2)
    server.environment |= {**clock.environment, "TZ": "Europe/Berlin"}
    async with server, aiohttp.ClientSession() as session:
        made = World(server, clock)
        await made.begin(session)
        yield made
        assert "Traceback" not in server.log.read_text()


async def closed(raw: RawSocket) -> None:
    """Wait until it was told of its end."""
    assert (await raw.event("session:closed"))[0] == {"reason": "expired"}


async def pinged(*sockets: RawSocket) -> None:
    """Pings go on by the other clock."""
    for raw in sockets:
        before = raw.packets.count("2")
        await raw.until(lambda raw=raw, before=before: raw.packets.count("2") >= before + 2)


async def heard(raw: RawSocket, content: str) -> dict[str, Any]:
    def found() -> Any:
        return [body for name, (body, *_) in raw.events if name == "message:new" and body["content"] == content]

    return dict((await raw.until(found))[0])


async def test_an_hour_forward(world: World) -> None:
    await world.say("before")
    await heard(world.his, "before")
    planned = time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(time.time() + HOUR // 2))
    stream = (await world.ann.post("/api/v1/streams", {"title": "soon", "startsAt": planned})).json["data"]["id"]
    world.clock.set(HOUR)
    await closed(world.his)
    async with asyncio.timeout(HANG_SECONDS):
        while (await world.ann.get(f"/api/v1/streams/{stream}")).json["data"]["status"] != "expired":
            await asyncio.sleep(0.1)
    after = await world.say("after")
    assert (await heard(world.hers, "after"))["seq"] == after["seq"] == 2
    assert (await world.short.get("/api/v1/users/me")).status == 401
    await pinged(world.hers)
    assert not world.hers.closed


async def test_an_hour_back(world: World) -> None:
    before = await world.say("before")
    wrong = {"email": "ann@example.org", "password": "not hers at all"}
    assert [(await world.bob.post("/api/v1/auth/login", wrong)).status for _ in range(3)] == [401, 401, 429]
    world.clock.set(-HOUR)
    assert (await world.bob.post("/api/v1/auth/login", wrong)).status == 401, "a limit does not last longer"
    after = await world.say("after")
    assert [before["seq"], after["seq"]] == [1, 2] and after["createdAt"] < before["createdAt"]
    assert await heard(world.his, "after") and await heard(world.hers, "after")
    history = (await world.short.get(f"/api/v2/messages?chatId={world.chat}")).json["items"]
    assert [each["content"] for each in history] == ["before", "after"]
    again = await world.bob.socket()
    assert await again.call("message:send", {"type": "text", "chatId": world.chat, "content": "a new socket"})
    await heard(world.hers, "a new socket")
    await pinged(world.hers, world.his, again)
    assert not world.hers.closed and not world.his.closed and not again.closed


async def test_a_token_that_ends_as_winter_time_begins(world: World) -> None:
    world.clock.set(WINTER_TIME - time.time() - HOUR - 1)
    world.ann.token = await world.server.command("token", "--user", world.ann.id)
    made = await world.ann.post(f"/api/v1/users/{world.bob.id}/tokens", {"ttl": HOUR})
    brief = ProcessUser(world.ann.session, world.server.url, made.json["data"]["token"], world.bob.id)
    raw = await brief.socket()
    before = await world.say("summer")
    assert not raw.closed
    world.clock.set(WINTER_TIME - time.time())
    await closed(raw)
    after = await world.say("winter")
    assert before["createdAt"] < after["createdAt"] and after["createdAt"] < "2026-10-25T01:05"
    assert not world.hers.closed
