"""What happens on one node and shows on the other: sockets, presence, pushes, log-outs, removals."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from push.doubles.apns import Apple
from realtime.cluster.presence_redis import RedisPresence
from tests.conftest import Served, ServerFactory, eventually
from tests.support.people import Api, Person, RawSocket
from tests.support.pushing import phone
from tests.support.redis_server import RedisServer

Two = tuple[Served, Served]


@pytest.fixture
async def redis(tmp_path: Path) -> AsyncIterator[RedisServer]:
    async with RedisServer(tmp_path / "redis") as server:
        yield server


@pytest.fixture
async def two(redis: RedisServer, postgres_database: str, apple: Apple, serve: ServerFactory, tmp_path: Path) -> Two:
    """Two nodes in this process; people of the first also speak to the second."""
    settings = {
        "database_url": postgres_database, "redis_url": redis.url, "jwt_secret": "s" * 40,
        **apple.write_files(tmp_path / "apple"),
    }  # fmt: skip
    nodes = [await serve(data_dir=tmp_path / f"data{n}", **settings) for n in range(2)]
    for node in nodes:
        worker = node.services.worker
        worker.policy = replace(worker.policy, retry_base=0.05)
        client = node.services.cluster.redis
        assert client
        await eventually(lambda client=client: client.connected)  # type: ignore[misc]
    return nodes[0], nodes[1]


def there(person: Person, node: Served) -> Api:
    """The same person at another node."""
    return Api(person.session, node.url, person.token)


async def test_everything_shows_on_the_other_node(two: Two) -> None:
    here, other = two
    ann, bob = await here.people.many(2)
    chat = await ann.group(bob)
    far = await there(bob, other).socket()
    near = await ann.socket()
    sent = await ann.send(chat, "hello")
    assert (await far.event("message:new"))[0] == sent
    large = await ann.send(chat, "x" * 12_000)
    assert (await far.event("message:new", 2))[0] == large, "too large for a hint"
    await far.call("message:send", {"type": "text", "chatId": chat, "content": "back"})
    assert (await near.event("message:new", 3))[0]["content"] == "back"
    await far.call("typing", {"chatId": chat})
    assert (await near.event("typing"))[0] == {"chatId": chat, "userId": bob.id}
    second = await ann.group(bob)
    assert (await far.event("chat:new", 1))[0]["_id"] == second
    await ann.send(second, "joined")
    await far.until(lambda: any(each[0]["content"] == "joined" for each in far.named("message:new")))
    assert far.seqs(f"chat:{chat}") == near.seqs(f"chat:{chat}") == [1, 2, 3]


async def test_one_reaction_added_and_removed_on_both_nodes_is_one_state(two: Two) -> None:
    """However they race; readers of both nodes end with what the database has, each event once."""
    here, other = two
    ann, bob = await here.people.many(2)
    chat = await ann.group(bob)
    far, near = await there(ann, other).socket(), await ann.socket()
    sent = [await ann.send(chat, str(number)) for number in range(20)]

    async def race(message: Any) -> None:
        path = f"/api/v2/messages/{message['_id']}/reactions/:x:"
        verbs = [verb for at in (bob, there(bob, other)) for verb in (at.put, at.delete, at.put)]
        answers = await asyncio.gather(*(verb(path) for verb in verbs))
        assert {each.status for each in answers} <= {200, 429}

    for message in sent:
        await race(message)
    stored = {}
    for message in sent:
        stored[message["_id"]] = (await ann.get(f"/api/v2/messages/{message['_id']}")).json.get("reactions", [])
        assert stored[message["_id"]] in ([], [{"key": ":x:", "count": 1, "userIds": [bob.id]}])
        who = (await ann.get(f"/api/v2/messages/{message['_id']}/reactions?key=:x:")).json["items"]
        assert [each["userId"] for each in who] == [bob.id] * len(stored[message["_id"]])

    def states(socket: RawSocket) -> dict[str, Any]:
        found: dict[str, Any] = {each["_id"]: [] for each in sent}
        for payload, _ in socket.named("message:reactions"):
            found |= {item["messageId"]: item["reactions"] for item in payload["items"]}
        return found

    await eventually(lambda: states(near) == stored)
    await eventually(lambda: states(far) == stored)
    await near.until(lambda: near.seqs(f"chat:{chat}") == far.seqs(f"chat:{chat}"))
    seqs = near.seqs(f"chat:{chat}")
    assert seqs == list(range(1, len(seqs) + 1))
    await near.close()
    await far.close()


async def test_presence_of_the_other_node(two: Two) -> None:
    here, other = two
    ann, bob = await here.people.many(2)
    await bob.send(await ann.group(bob))
    near = await ann.socket()
    assert (await near.call("presence:watch", {"userIds": [bob.id]}))["data"]["items"][0]["online"] is False
    far = await there(bob, other).socket()
    assert (await near.event("presence"))[0]["online"] is True
    also = await bob.socket()
    await far.close()
    presence = other.services.cluster.presence
    assert isinstance(presence, RedisPresence)
    await eventually(lambda: not presence.connections and not other.services.presence_watch.writing)
    assert len(near.named("presence")) == 1, "one of the two is open still"
    await also.close()
    assert (await near.event("presence", 2))[0]["online"] is False
    assert len(near.named("presence")) == 2


@pytest.mark.parametrize("redis_is", ["up", "down"])
async def test_log_outs_bans_and_removals_act_on_the_other_node(two: Two, redis: RedisServer, redis_is: str) -> None:
    here, other = two
    ann, bob, cat = await here.people.many(3)
    admin = await here.people.make(grant=["admin"])
    chat = await ann.group(bob, cat)
    out, banned, removed = [await there(each, other).socket() for each in (ann, bob, cat)]
    if redis_is == "down":
        await redis.kill()
    assert (await ann.post("/api/v1/auth/logout")).status == 200
    await out.gone()
    assert (await admin.post(f"/api/v1/admin/users/{bob.id}/ban")).status == 200
    await banned.gone()
    assert out.named("session:closed")[0][0] == {"reason": "logout"}
    assert banned.named("session:closed")[0][0] == {"reason": "banned"}
    dan = await here.people.make()
    group = await dan.group(cat)
    await removed.until(lambda: any(each[0]["_id"] == group for each in removed.named("chat:new")))
    assert (await dan.delete(f"/api/v2/chats/{group}/members/{cat.id}")).status == 200
    after = (await dan.send(group, "not for cat"))["seq"]
    await removed.until(lambda: removed.named("chat:removed"))
    channels = other.services.hub.channels
    await eventually(lambda: f"chat:{group}" not in {each.name for each in channels.values()})
    assert max(removed.seqs(f"chat:{group}"), default=0) < after
    assert chat


async def test_a_banned_user_can_not_refresh_past_the_ban(two: Two) -> None:
    here, other = two
    bob = await here.people.make()
    admin = await here.people.make(grant=["admin"])
    far = await there(bob, other).socket()

    async def refresh() -> None:
        with contextlib.suppress(ConnectionError, TimeoutError):
            while True:
                await far.call("session:refresh", {"token": bob.token})

    refreshing = [asyncio.create_task(refresh()) for _ in range(3)]
    await far.until(lambda: far.acks)
    assert (await admin.post(f"/api/v1/admin/users/{bob.id}/ban")).status == 200
    await far.gone()
    await asyncio.gather(*refreshing)


async def test_who_is_reached_on_the_other_node_is_not_pushed(two: Two, apple: Apple) -> None:
    here, other = two
    ann, bob, cat = await here.people.many(3)
    chat = await ann.group(bob, cat)
    await phone(bob, "b1")
    await phone(cat, "c1")
    far = await there(bob, other).socket()
    asleep = await there(cat, other).socket()
    asleep.pongs = False
    sent = await ann.send(chat, "hello")
    await far.event("message:new")
    await apple.until(lambda: apple.good)
    assert [push.token for push in apple.good] == ["c1"], "a socket that says nothing is no proof"
    assert apple.good[0].payload["messageId"] == sent["_id"]


async def test_without_redis_who_can_not_be_asked_is_pushed(two: Two, redis: RedisServer, apple: Apple) -> None:
    here, other = two
    ann, bob = await here.people.many(2)
    chat = await ann.group(bob)
    await phone(bob, "b1")
    far = await there(bob, other).socket()
    await redis.kill()
    worker = other.services.worker
    await worker.stop()
    await ann.send(chat, "hello")
    await far.event("message:new")
    await apple.until(lambda: apple.good)


async def test_polling_is_refused_with_a_sentence(two: Two) -> None:
    here, _ = two
    answer = await here.people.anonymous.get("/socket.io/?EIO=4&transport=polling")
    assert answer.status == 400 and b"websocket" in answer.body and b"sticky" in answer.body


async def test_a_new_history_on_one_node_is_one_on_the_other(two: Two) -> None:
    here, other = two
    ann = await here.people.make()
    far = await there(ann, other).socket()
    epoch = (await far.event("session:ready"))[0]["epoch"]
    await here.services.sessions.renew_epoch()
    await far.gone()
    again = await there(ann, other).socket(offsets={f"user:{ann.id}": 0}, epoch=epoch)
    ready = (await again.event("session:ready"))[0]
    assert ready["epoch"] != epoch and ready["recovered"] == {f"user:{ann.id}": False}
