"""One suite for every broker; those of many nodes are asked on two."""

import asyncio
import contextlib
import itertools
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trustme
from redis.crc import key_slot

from realtime.cluster import broker_redis
from realtime.cluster.broker import MakeBroker
from realtime.cluster.broker_memory import MemoryBroker
from realtime.cluster.broker_redis import RedisBroker
from realtime.cluster.client_redis import RedisClient
from realtime.cluster.hints import WINDOW_SECONDS, Ephemeral, Forged, Hints
from realtime.cluster.link_redis import UNREACHABLE
from realtime.cluster.presence_redis import RedisPresence
from realtime.cluster.servers_redis import servers_of
from storage.transaction import Event
from tests.conftest import eventually
from tests.support.guard import HANG_SECONDS, NEVER
from tests.support.proxy import Proxy
from tests.support.redis_server import RedisServer, cluster, sentinels

KEY = b"k" * 32


class Node:
    """A broker, and what it delivered."""

    def __init__(self, make_broker: MakeBroker) -> None:
        self.events: list[Event] = []
        self.suspect: list[Collection[int] | None] = []
        self.ephemeral: list[tuple[str, str, str | None, Any]] = []
        self.broker = make_broker(self)

    def on_hints(self, events: Sequence[Event]) -> None:
        self.events += events

    def on_suspect(self, channels: Collection[int] | None) -> None:
        self.suspect.append(channels)

    def on_ephemeral(self, topic: str, name: str, exclude: str | None, document: object) -> None:
        self.ephemeral.append((topic, name, exclude, document))


def over(client: RedisClient, key: bytes = KEY, prefix: str = "test") -> MakeBroker:
    return partial(RedisBroker, redis=client, hints=Hints(lambda: key), prefix=prefix)


Join = Callable[..., Awaitable[Node]]


def event(pk: int, seq: int, payload: bytes = b'{"a":1}', about: int | None = None) -> Event:
    return Event(pk, f"chat:{pk}", seq, "message:new", payload, about)


@contextlib.asynccontextmanager
async def joining(url: str) -> AsyncIterator[Join]:
    async with contextlib.AsyncExitStack() as stack:

        async def join(key: bytes = KEY, prefix: str = "test", at: str = url) -> Node:
            client = RedisClient(servers_of(at))
            node = Node(over(client, key, prefix))
            await client.start()
            stack.push_async_callback(client.stop)
            await eventually(lambda: client.connected)
            return node

        yield join


@pytest.fixture
async def redis(tmp_path: Path) -> AsyncIterator[RedisServer]:
    async with RedisServer(tmp_path / "redis") as server:
        yield server


@pytest.fixture
async def join(redis: RedisServer) -> AsyncIterator[Join]:
    async with joining(redis.url) as join:
        yield join


@pytest.fixture(params=["memory", "redis", "cluster"])
async def nodes(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[tuple[Node, Node]]:
    """Where events are published, and where they are delivered."""
    async with contextlib.AsyncExitStack() as stack:
        if request.param == "memory":
            alone = Node(MemoryBroker)
            yield alone, alone
            return
        if request.param == "redis":
            server = await stack.enter_async_context(RedisServer(tmp_path / "redis"))
            url = server.url
        else:
            servers = await stack.enter_async_context(cluster(tmp_path / "cluster"))
            url = f"redis+cluster://127.0.0.1:{servers[1].port},127.0.0.1:{servers[0].port}"
        join = await stack.enter_async_context(joining(url))
        yield await join(), await join()


async def test_what_is_published_is_delivered_to_subscribers(nodes: tuple[Node, Node]) -> None:
    near, far = nodes
    pks = range(1, 41)
    await far.broker.subscribe(pks)
    far.suspect.clear()
    sent = [event(pk, seq, about=1 if seq == 3 else None) for seq in (1, 2, 3) for pk in pks]
    near.broker.publish([*sent, event(99, 1)])
    await eventually(lambda: len(far.events) >= len(sent))
    await asyncio.sleep(0.05)
    assert sorted(far.events, key=lambda each: (each.seq, each.channel_pk)) == sent
    for pk in pks:
        assert [each.seq for each in far.events if each.channel_pk == pk] == [1, 2, 3]
    assert not far.suspect


async def test_an_unsubscribed_channel_is_not_delivered(nodes: tuple[Node, Node]) -> None:
    near, far = nodes
    await far.broker.subscribe([1, 2])
    far.broker.unsubscribe([1])
    await far.broker.subscribe([3])
    near.broker.publish([event(1, 1), event(2, 1), event(3, 1)])
    await eventually(lambda: len(far.events) >= 2)
    await asyncio.sleep(0.05)
    assert {each.channel_pk for each in far.events} == {2, 3}
    far.broker.unsubscribe([2])
    await far.broker.subscribe([1, 2])
    near.broker.publish([event(1, 2), event(2, 2)])
    await eventually(lambda: len(far.events) >= 4)


async def test_each_node_gets_its_own_at_once_and_only_once(nodes: tuple[Node, Node]) -> None:
    near, _ = nodes
    await near.broker.subscribe([1])
    near.broker.publish([event(1, 1)])
    assert near.events == [event(1, 1)]
    await asyncio.sleep(0.05)
    assert near.events == [event(1, 1)]


async def test_ephemeral_events(nodes: tuple[Node, Node]) -> None:
    near, far = nodes
    far.broker.subscribe_topic("presence:7")
    await far.broker.subscribe([1])
    near.broker.publish_ephemeral("presence:7", "presence", {"online": True})
    near.broker.publish_ephemeral("channel:1", "typing", {"é": None}, exclude="me")
    near.broker.publish_ephemeral("presence:8", "presence", {})
    near.broker.publish_ephemeral("channel:2", "typing", {})
    await eventually(lambda: len(far.ephemeral) >= 2)
    far.broker.unsubscribe_topic("presence:7")
    await far.broker.subscribe([2])
    near.broker.publish_ephemeral("presence:7", "presence", {"online": False})
    near.broker.publish_ephemeral("channel:2", "typing", {})
    await eventually(lambda: len(far.ephemeral) >= 3)
    assert sorted(far.ephemeral, key=str) == [
        ("channel:1", "typing", "me", {"é": None}),
        ("channel:2", "typing", None, {}),
        ("presence:7", "presence", None, {"online": True}),
    ]


# What only a broker between nodes can do wrong


async def test_large_events_come_as_a_suspicion(join: Join) -> None:
    near, far = await join(), await join()
    await far.broker.subscribe([1])
    far.suspect.clear()
    near.broker.publish([event(1, 1, b"x" * 8192), event(1, 2, b"x" * 8193)])
    await eventually(lambda: far.events and far.suspect)
    assert [each.seq for each in far.events] == [1] and far.suspect == [[1]]


@pytest.mark.parametrize("how", ["key", "body", "short", "cut", "another's"])
async def test_a_forged_hint_makes_its_channel_suspect(join: Join, redis: RedisServer, how: str) -> None:
    far = await join()
    await far.broker.subscribe([1])
    far.suspect.clear()
    real = Hints(lambda: KEY if how != "key" else b"x" * 32).of_event(event(1, 1))
    forged = {"body": real[:-2] + b"2}", "short": b"e", "cut": real[:-1], "another's": b"*1\r\n"}.get(how, real)
    await redis.call("PUBLISH", "test:c:1", forged)
    await eventually(lambda: far.suspect)
    assert far.events == [] and far.suspect == [[1]]
    assert isinstance(far.broker, RedisBroker) and far.broker.forged == 1
    await redis.call("PUBLISH", "test:t:presence:1", forged)


@pytest.mark.parametrize(("seconds", "counts"), [(-60, False), (-30, True), (0, True), (30, True), (60, False)])
def test_an_ephemeral_event_counts_for_a_minute(monkeypatch: pytest.MonkeyPatch, seconds: int, counts: bool) -> None:
    """Whoever recorded one can't send it again later; an event that comes again is known by its seq."""
    moment = 1_000 * WINDOW_SECONDS
    hints, ephemeral = Hints(lambda: KEY), Ephemeral("channel:1", "typing", None, {})
    monkeypatch.setattr("realtime.cluster.hints.time.time", lambda: moment)
    recorded, durable = hints.of_ephemeral(ephemeral), hints.of_event(event(1, 1))
    moment += seconds
    assert hints.read(durable) == event(1, 1)
    if counts:
        assert hints.read(recorded) == ephemeral
    else:
        with pytest.raises(Forged):
            hints.read(recorded)


async def test_another_installation_on_the_same_redis_is_ignored(join: Join) -> None:
    here, there = await join(), await join(prefix="other")
    await here.broker.subscribe([1])
    there.broker.publish([event(1, 1)])
    await asyncio.sleep(0.1)
    assert here.events == [] and here.suspect in ([], [None])


async def test_after_a_cut_all_is_suspect_and_delivered_again(join: Join, redis: RedisServer) -> None:
    near, far = await join(), await join()
    await far.broker.subscribe([1, 2])
    for how in ("kill", "restart"):
        far.suspect.clear()
        if how == "kill":
            assert await redis.call("CLIENT", "KILL", "TYPE", "pubsub") == 1
        else:
            await redis.kill()
            near.broker.publish([event(1, 1)])
            await far.broker.subscribe([3])
            await redis.start()
        await eventually(lambda: None in far.suspect)
        await eventually(lambda: near.broker.redis.connected)  # type: ignore[attr-defined]
        far.events.clear()
        near.broker.publish([event(1, 7)])
        await eventually(lambda: far.events == [event(1, 7)])
    near.broker.publish([event(3, 1)])
    await eventually(lambda: event(3, 1) in far.events)


@pytest.mark.usefixtures("default_timeouts")
async def test_a_link_that_says_nothing_is_noticed_within_seconds(
    join: Join, redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Proxy(lambda: ("127.0.0.1", redis.port)) as proxy:
        far = await join(at=f"redis://127.0.0.1:{proxy.port}")
        await far.broker.subscribe([1])
        proxy.swallow(True)
        await eventually(lambda: not far.broker.redis.connected)  # type: ignore[attr-defined]
        # Nobody waits for a confirmation that can't come.
        monkeypatch.setattr(broker_redis, "CONFIRM_SECONDS", NEVER)
        async with asyncio.timeout(HANG_SECONDS):
            await far.broker.subscribe([2])
        far.suspect.clear()
        proxy.swallow(False)
        await eventually(lambda: None in far.suspect)


async def test_a_redis_that_refuses_is_asked_again(join: Join, redis: RedisServer) -> None:
    """Without a right to channels, as Redis 7 has it for new users; then with it."""
    await redis.call("ACL", "SETUSER", "ann", "on", ">secret", "~*", "+@all", "resetchannels")
    client = RedisClient(servers_of(f"redis://ann:secret@127.0.0.1:{redis.port}"))
    node, near = Node(over(client)), await join()
    await client.start()
    await node.broker.subscribe([1])
    await asyncio.sleep(1)
    await redis.call("ACL", "SETUSER", "ann", "allchannels")
    await eventually(lambda: client.connected)
    await node.broker.subscribe([2])
    near.broker.publish([event(1, 1), event(2, 1)])
    await eventually(lambda: len(node.events) == 2)
    await client.stop()


async def test_redis_may_come_later_than_we(tmp_path: Path) -> None:
    server = RedisServer(tmp_path / "redis")
    client = RedisClient(servers_of(server.url))
    node = Node(over(client))
    await client.start()
    await node.broker.subscribe([1])
    node.broker.publish([event(1, 1)])
    assert node.events == [event(1, 1)] and client.dropped == 1
    async with server:
        await eventually(lambda: None in node.suspect)
        late = RedisClient(servers_of(server.url))
        other = Node(over(late))
        await late.start()
        await eventually(lambda: late.connected)
        other.broker.publish([event(1, 2)])
        await eventually(lambda: node.events[-1:] == [event(1, 2)])
        await late.stop()
    await client.stop()


async def test_the_sentinels_say_who_is_master(tmp_path: Path) -> None:
    async with sentinels(tmp_path) as (master, _, watch):
        url = f"redis+sentinel://127.0.0.1:1,127.0.0.1:{watch.port}/0/main"
        async with joining(url) as join:
            near, far = await join(), await join()
            await far.broker.subscribe([1])
            near.broker.publish([event(1, 1)])
            await eventually(lambda: far.events)
            far.suspect.clear()
            await master.kill()
            await eventually(lambda: None in far.suspect)
            await eventually(lambda: near.broker.redis.connected)  # type: ignore[attr-defined]
            near.broker.publish([event(1, 2)])
            await eventually(lambda: event(1, 2) in far.events)


async def test_sentinels_with_a_password_of_their_own(tmp_path: Path) -> None:
    async with sentinels(tmp_path, "of-the-sentinels") as (_, _, watch):
        url = f"redis+sentinel://127.0.0.1:{watch.port}/0/main"
        async with joining(f"{url}?sentinel_password=of-the-sentinels&socket_timeout=5") as join:
            near, far = await join(), await join()
            await far.broker.subscribe([1])
            near.broker.publish([event(1, 1)])
            await eventually(lambda: far.events)
        for wrong in (url, f"{url}?sentinel_password=wrong"):
            servers = servers_of(wrong)
            with pytest.raises(UNREACHABLE):
                await servers.connection("")
            await servers.close()


async def test_a_primary_that_became_a_replica_is_left(redis: RedisServer, join: Join) -> None:
    """A failover that leaves the old address: its writes are refused, and the one that takes them is looked for."""
    node = await join()
    client = node.broker.redis  # type: ignore[attr-defined]
    presence = RedisPresence(client, "test", "here")
    await presence.enter(1)
    await redis.call("REPLICAOF", "127.0.0.1", "1")
    assert client.connected, "nothing was written yet"
    await presence.refresh()
    await eventually(lambda: not client.connected)
    tried = client.connections
    node.suspect.clear()
    await redis.call("REPLICAOF", "NO", "ONE")
    await eventually(lambda: client.connected)
    assert client.connections == tried + 1 and None in node.suspect
    await eventually(lambda: redis_has(redis, "test:p:1"))
    await presence.forget()


def redis_has(redis: RedisServer, key: str) -> Any:
    with socket.create_connection(("127.0.0.1", redis.port)) as connection:
        connection.sendall(f"EXISTS {key}\r\n".encode())
        return connection.recv(16) == b":1\r\n"


async def test_a_shard_that_goes_is_followed(tmp_path: Path) -> None:
    """Its slots move to another node: what is published and heard moves with them."""
    async with cluster(tmp_path) as servers, joining(f"redis+cluster://127.0.0.1:{servers[0].port}") as join:
        near, far = await join(), await join()
        pks = range(1, 31)
        await far.broker.subscribe(pks)
        id = (await servers[1].call("CLUSTER", "MYID")).decode()
        slots = [slot for slot in {key_slot(b"test:c:%d" % pk) for pk in pks} if slot < 16384 // 3]
        assert slots
        for slot in slots:
            for server in servers:
                await server.call("CLUSTER", "SETSLOT", slot, "NODE", id)
        async with asyncio.timeout(HANG_SECONDS):
            for seq in itertools.count(1):
                near.broker.publish([event(pk, seq) for pk in pks])
                await asyncio.sleep(0.1)
                if {each.channel_pk for each in far.events if each.seq == seq} == set(pks):
                    break


async def test_tls_and_a_password(tmp_path: Path) -> None:
    """The proxy ends TLS, for not every Redis is built with it."""
    ca = trustme.CA()
    ca.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    ca.issue_cert("127.0.0.1").configure_cert(context)
    async with RedisServer(tmp_path / "redis", "--requirepass", "secret") as server:
        async with Proxy(lambda: ("127.0.0.1", server.port), context) as proxy:
            url = f"rediss://:secret@127.0.0.1:{proxy.port}/1?ssl_ca_certs={tmp_path / 'ca.pem'}"
            async with joining(url) as join:
                near, far = await join(), await join()
                await far.broker.subscribe([1])
                near.broker.publish([event(1, 1)])
                await eventually(lambda: far.events)
        client = RedisClient(servers_of(server.url))
        Node(over(client))
        await client.start()
        await asyncio.sleep(0.3)
        assert not client.connected, "the password is wanted"
        await client.stop()
