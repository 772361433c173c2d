"""An open stream on two nodes: its viewers are counted over both, its chat and its bans reach both, also without Redis."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Served, ServerFactory, eventually
from tests.support.people import Api, Person, RawSocket
from tests.support.redis_server import RedisServer

STREAMS, CHATS = "/api/v1/streams", "/api/v2/chats"


@pytest.fixture
async def redis(tmp_path: Path) -> AsyncIterator[RedisServer]:
    async with RedisServer(tmp_path / "redis") as server:
        yield server


@pytest.fixture
async def two(
    redis: RedisServer, postgres_database: str, serve: ServerFactory, tmp_path: Path
) -> tuple[Served, Served]:
    settings = {"database_url": postgres_database, "redis_url": redis.url, "jwt_secret": "s" * 40}
    nodes = [await serve(data_dir=tmp_path / f"data{n}", **settings) for n in range(2)]
    for node in nodes:
        client = node.services.cluster.redis
        assert client
        await eventually(lambda client=client: client.connected)  # type: ignore[misc]
    return nodes[0], nodes[1]


async def open_stream(server: Served) -> tuple[Person, dict[str, Any]]:
    owner = await server.people.make("owner", grant=["streams.manage"])
    body = {"title": "Live", "startsAt": "2999-01-01T00:00:00Z", "audience": "open"}
    return owner, (await owner.post(STREAMS, body)).json["data"]


async def watching(person: Api, stream: dict[str, Any]) -> RawSocket:
    socket = await person.socket()
    assert (await socket.call("stream:watch", {"streamId": stream["id"]}))["isSuccess"]
    return socket


def shows(socket: RawSocket, viewers: int) -> bool:
    return bool(socket.named("stream:viewers")) and socket.named("stream:viewers")[-1][0]["viewers"] == viewers


async def test_viewers_of_both_nodes(two: tuple[Served, Served], redis: RedisServer) -> None:
    here, other = two
    owner, stream = await open_stream(here)
    people = await here.people.many(5)
    near = [await watching(each, stream) for each in people[:3]]
    far = [await watching(Api(each.session, other.url, each.token), stream) for each in people[3:]]
    for socket in (near[0], far[0]):
        await socket.until(lambda socket=socket: shows(socket, 5))
    assert (await owner.get(f"{STREAMS}/{stream['id']}")).json["data"]["viewers"] == 5
    sent = await owner.send(stream["chatId"], "to both")
    for socket in (*near, *far):
        assert (await socket.event("message:new"))[0] == sent
    await near[1].call("stream:react", {"streamId": stream["id"], "key": "❤️", "count": 3})
    await far[1].call("stream:react", {"streamId": stream["id"], "key": "❤️", "count": 4})
    for socket in (near[0], far[0]):

        def hearts(socket: RawSocket = socket) -> int:
            return sum(event[0]["counts"].get("❤️", 0) for event in socket.named("stream:reactions"))

        await socket.until(lambda hearts=hearts: hearts() == 7)
    await redis.kill()
    await near.pop().close()
    await near[0].until(lambda: shows(near[0], 4))
    await far.pop().close()
    await redis.start()
    for socket in (near[0], far[0]):
        await socket.until(lambda socket=socket: shows(socket, 3))
    assert near[0].named("stream:viewers")[-1][0]["peak"] == 5
    await asyncio.gather(*(socket.close() for socket in (*near, *far)))


@pytest.mark.parametrize("redis_is", ["up", "down"])
async def test_a_ban_reaches_the_other_node_at_its_seq(
    two: tuple[Served, Served], redis: RedisServer, redis_is: str
) -> None:
    here, other = two
    owner, stream = await open_stream(here)
    ann, bob = await here.people.many(2)
    out = await watching(Api(ann.session, other.url, ann.token), stream)
    stays = await watching(Api(bob.session, other.url, bob.token), stream)
    if redis_is == "down":
        await redis.kill()
    await owner.send(stream["chatId"], "for both")
    assert (await owner.post(f"{CHATS}/{stream['chatId']}/members/{ann.id}/ban", {})).status == 200
    await owner.send(stream["chatId"], "without ann")
    await stays.event("message:new", 2)
    assert (await out.event("chat:updated"))[0]["removed"] == [ann.id]
    assert [document["content"] for document, _ in out.named("message:new")] == ["for both"]
    await asyncio.gather(out.close(), stays.close())
