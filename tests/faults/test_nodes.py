"""Two nodes on PostgreSQL and Redis under load, and what goes wrong between them: no reader notices."""

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from pathlib import Path

import pytest
from pydantic import ValidationError

from server.settings import Settings
from tests.conftest import eventually
from tests.faults.installation import UNREACHABLE, Balancer, Installation, Load
from tests.support.guard import HANG_SECONDS
from tests.support.node_client import NodeClient
from tests.support.process import ProcessUser, ServerProcess

# What is waited for while the fault lasts.
Meanwhile = Callable[[], Awaitable[None]]
Fault = Callable[[Installation, Meanwhile], Awaitable[None]]
NOTHING = {"acked_never_seen": 0, "acked_twice": 0, "wrong_order": 0, "missed": 0, "different": 0, "unrecovered": 0,
           "tracebacks": 0}  # fmt: skip


@pytest.fixture
async def two(tmp_path: Path, postgres_database: str) -> AsyncIterator[Installation]:
    async with Installation(tmp_path, postgres_database) as installation:
        yield installation


async def killed(two: Installation, meanwhile: Meanwhile) -> None:
    await two.redis.kill()
    await meanwhile()
    await two.redis.start()


async def stopped(two: Installation, meanwhile: Meanwhile) -> None:
    two.redis.pause()
    await meanwhile()
    two.redis.resume()


async def swallowed(two: Installation, meanwhile: Meanwhile) -> None:
    two.links[1].swallow(True)
    await meanwhile()
    two.links[1].swallow(False)


async def clients_killed(two: Installation, meanwhile: Meanwhile) -> None:
    for node in two.nodes:
        await hints_flow(two, node.url)
    assert await two.redis.call("CLIENT", "KILL", "TYPE", "pubsub") == 2
    await meanwhile()


async def flushed(two: Installation, meanwhile: Meanwhile) -> None:
    await two.redis.call("FLUSHALL")
    await meanwhile()


async def briefly(two: Installation, meanwhile: Meanwhile) -> None:
    """What is over at once, one after the other."""
    await killed(two, meanwhile)
    await clients_killed(two, meanwhile)
    await flushed(two, meanwhile)


async def hints_flow(two: Installation, url: str) -> None:
    """There is a connection to Redis again, and not only the look at the log's tail."""
    async with asyncio.timeout(HANG_SECONDS):
        while True:
            async with two.session.get(f"{url}/metrics") as answer:
                if "bellwire_redis_connected 1.0" in await answer.text():
                    return
            await asyncio.sleep(0.1)


@pytest.mark.parametrize(
    ("fault", "seconds"),
    [(briefly, 0.5), (killed, 4), (stopped, 5), (swallowed, 6)],
    ids=["briefly", "killed", "stopped", "swallowed"],
)  # fmt: skip
async def test_no_reader_notices(two: Installation, fault: Fault, seconds: float) -> None:
    async with Load(two) as load:
        await eventually(lambda: load.acked)
        await fault(two, partial(load.go_on, seconds))
        await load.whole()
        for node in two.nodes:
            await hints_flow(two, node.url)
        await load.finish()
        await load.whole()
        figures = await load.check()
        assert figures.items() >= NOTHING.items(), figures
        assert figures["reconnects"] == 0 and sum(each.failed for each in load.writers) == 0


async def test_one_order_for_all(two: Installation) -> None:
    """Both nodes write into the same chat at once."""
    async with Load(two, chats=1, people=8, writers=8, pause=0) as load:
        await eventually(lambda: load.acked > 100)
        await load.finish()
        await load.whole()
        figures = await load.check()
        assert figures.items() >= NOTHING.items(), figures


async def test_nodes_are_killed_and_nothing_is_lost(two: Installation) -> None:
    async with Load(two) as load:
        for number in range(3):
            await asyncio.sleep(1)
            node = two.nodes[number % 2]
            await node.kill()
            await asyncio.sleep(0.3)
            await node.start()
        await load.finish()
        await load.whole()
        figures = await load.check()
        assert figures.items() >= NOTHING.items() and figures["reconnects"] >= 3, figures


async def test_javascript_clients_come_back_to_the_other_node(two: Installation, node: str) -> None:
    """Behind a balancer, with the official client's own way of coming back."""
    async with Balancer(two) as balancer:
        looking = asyncio.create_task(balancer.look())
        people = await two.people(4)
        chat = await two.chat(people)
        clients = [await NodeClient.start(node) for _ in people]
        url = f"http://127.0.0.1:{balancer.port}"
        for client, person in zip(clients, people, strict=True):
            auth, options = {"token": person.token, "v": 1}, {"transports": ["websocket"]}
            client.do("connect", url=url, auth=auth, options=options, follow=True)
            await client.until("event", name="session:ready")
        sent = 0

        async def say(count: int) -> None:
            nonlocal sent
            for _ in range(count):
                body = {"type": "text", "chatId": chat, "content": "x", "clientMessageId": f"say {sent}"}
                while True:
                    with contextlib.suppress(*UNREACHABLE):
                        person = ProcessUser(two.session, url, people[0].token or "", people[0].id)
                        if (await person.post("/api/v2/messages", body)).status == 201:
                            break
                    await asyncio.sleep(0.05)
                sent += 1

        await say(20)
        for dead in two.nodes:
            talking = asyncio.create_task(say(40))
            await dead.kill()
            await talking
            await dead.start()
            await asyncio.sleep(1)
        for client in clients:
            await client.until("event", sent, name="message:new")
            assert [line["place"]["seq"] for line in client.seen("event", name="message:new")] == list(
                range(1, sent + 1)
            )
        assert sum(len(client.seen("event", name="session:ready")) for client in clients) >= 2 * len(clients)
        for client in clients:
            await client.close()
        looking.cancel()


async def test_refusals_at_start(tmp_path: Path, postgres_database: str) -> None:
    """Each with a sentence that says what to do."""
    shared = {"database_url": postgres_database, "jwt_secret": "s" * 40}
    for settings, words in (
        ({"workers": 2}, "BELLWIRE_REDIS_URL=redis://"),
        ({"workers": 2, "redis_url": "redis://127.0.0.1:1"}, "BELLWIRE_DATABASE_URL=postgresql://"),
        ({"redis_url": "http://127.0.0.1:1", "database_url": postgres_database}, "BELLWIRE_REDIS_URL"),
        ({"redis_url": "redis://127.0.0.1:1?what=1", "database_url": postgres_database}, "BELLWIRE_REDIS_URL"),
        ({"redis_url": "redis+sentinel://127.0.0.1:1", "database_url": postgres_database}, "name of the master"),
        ({"workers": 2, "sticky": True, "redis_url": "redis://127.0.0.1:1", **shared}, "BELLWIRE_STICKY"),
    ):
        with pytest.raises(ValidationError, match=re.escape(words)):
            Settings(_env_file=None, **settings)
    process = ServerProcess(tmp_path / "refused", workers=2)
    with pytest.raises(AssertionError) as caught:
        await process.start()
    assert "BELLWIRE_REDIS_URL=redis://" in str(caught.value) and "Traceback" not in str(caught.value), caught.value
    assert await process.process.wait() == 2
    async with ServerProcess(tmp_path / "first", **shared):
        second = ServerProcess(tmp_path / "second", **shared)
        with pytest.raises(AssertionError) as caught:
            await second.start()
        assert "has no Redis: set BELLWIRE_REDIS_URL" in str(caught.value)
    again = ServerProcess(tmp_path / "again", **shared)
    await again.start()
    await again.kill()
    # One that was killed does not keep its successor from starting.
    await again.start()
    await again.kill()
