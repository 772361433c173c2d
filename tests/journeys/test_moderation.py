"""What moderators forbid is refused at once: each act, over REST and the socket, on both nodes, without Redis too."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import pytest
from sqlalchemy import update

from storage.models import messages
from storage.transaction import Command, Tx
from storage.types import SECOND
from tests.conftest import Served, ServerFactory, eventually
from tests.journeys.test_two_nodes import Two, redis, there, two
from tests.support.files import encoded
from tests.support.people import Api, Person, RawSocket
from tests.support.redis_server import RedisServer

__all__ = ["redis", "two"]
MESSAGES, CHATS, LISTS = "/api/v2/messages", "/api/v2/chats", "/api/v1/admin/word-lists"
PLAIN, HOSTILE = "good morning", "look at www.example.org, you muddlehead"
# Acts that say something, those that make a message, and all.
SAYING = {"send", "edit", "reply", "caption", "form", "forward"}
POSTING = SAYING - {"edit"}
ALL = {*SAYING, "react", "type"}


@dataclass
class Scene:
    """A group of a moderator and a member, who has a message to edit."""

    ann: Person
    bob: Person
    chat: str
    own: str
    root: str
    hostile: str
    file: str

    def message(self, act: str, text: str) -> dict[str, Any]:
        body: dict[str, Any] = {"type": "text", "chatId": self.chat, "content": text}
        if act == "reply":
            body["threadId"] = self.root
        if act == "caption":
            body |= {"type": "media", "file": self.file}
        if act == "forward":
            source = self.hostile if text == HOSTILE else self.root
            body = {"type": "text", "chatId": self.chat, "forwardOf": source}
        return body


async def build(node: Served) -> Scene:
    ann, bob = await node.people.make(grant=["admin"]), await node.people.make()
    chat = await ann.group(bob)
    own, root, hostile = await bob.send(chat), await ann.send(chat, PLAIN), await ann.send(chat, HOSTILE)
    form = aiohttp.FormData()
    form.add_field("file", encoded("PNG"), filename="a.png", content_type="image/png")
    upload = await bob.post("/api/v2/media", data=form)
    assert upload.status == 201, upload
    return Scene(ann, bob, chat, own["_id"], root["_id"], hostile["_id"], upload.json["id"])


async def over_rest(scene: Scene, api: Api, act: str, text: str) -> tuple[int, Any, str]:
    """Status, body, and code."""
    if act == "edit":
        answer = await api.patch(f"{MESSAGES}/{scene.own}", {"content": text})
    elif act == "react":
        answer = await api.put(f"{MESSAGES}/{scene.root}/reactions/:{'muddlehead' if text == HOSTILE else 'x'}:")
    elif act == "form":
        form = aiohttp.FormData()
        form.add_field("file", encoded("PNG"), filename="a.png", content_type="image/png")
        for name, value in (("type", "media"), ("chatId", scene.chat), ("content", text)):
            form.add_field(name, value)
        answer = await api.post(MESSAGES, data=form)
    else:
        answer = await api.post(MESSAGES, scene.message(act, text))
    return answer.status, answer.json, answer.headers.get("X-Error-Code", "")


async def over_socket(scene: Scene, socket: RawSocket, act: str, text: str) -> tuple[int, Any, str]:
    if act == "edit":
        ack = await socket.call("message:edit", {"messageId": scene.own, "content": text})
    elif act == "react":
        key = f":{'muddlehead' if text == HOSTILE else 'x'}:"
        ack = await socket.call("reaction:add", {"messageId": scene.root, "key": key})
    elif act == "type":
        ack = await socket.call("typing", {"chatId": scene.chat})
    else:
        ack = await socket.call("message:send", scene.message(act, text))
    return ack["statusCode"], ack, ack.get("code", "")


@dataclass(frozen=True)
class Rule:
    """How a sanction is imposed and lifted, which acts it refuses, and how."""

    name: str
    impose: Callable[[Scene], Awaitable[Any]]
    lift: Callable[[Scene], Awaitable[Any]]
    acts: frozenset[str]
    status: int
    text: str = PLAIN


def change(**changes: Any) -> Callable[[Scene], Awaitable[Any]]:
    return lambda scene: scene.ann.patch(f"{CHATS}/{scene.chat}", changes)


def member(scene: Scene, verb: str) -> str:
    return f"{CHATS}/{scene.chat}/members/{scene.bob.id}/{verb}"


RULES = [
    Rule(
        "silenced",
        lambda scene: scene.ann.post(member(scene, "silence"), {"until": "2999-01-01T00:00:00Z"}),
        lambda scene: scene.ann.delete(member(scene, "silence")),
        frozenset(ALL),
        403,
    ),
    Rule("frozen", change(frozen=True), change(frozen=False), frozenset(ALL), 403),
    Rule("links", change(links="moderators"), change(links="all"), frozenset(SAYING), 403, HOSTILE),
    Rule("slow_mode", change(slowMode=3600), change(slowMode=0), frozenset(POSTING), 429),
    Rule(
        "listed_word",
        lambda scene: scene.ann.put(f"{LISTS}/rude", {"words": ["Muddlehead", "other"], "action": "reject"}),
        lambda scene: scene.ann.delete(f"{LISTS}/rude"),
        frozenset({*SAYING, "react"}),
        400,
        HOSTILE,
    ),
]


@pytest.mark.parametrize("redis_is", ["up", "down"])
@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
async def test_what_is_forbidden_is_refused_everywhere(two: Two, redis: RedisServer, redis_is: str, rule: Rule) -> None:
    here, other = two
    scene = await build(here)
    sockets = [await scene.bob.socket(), await there(scene.bob, other).socket()]
    apis: list[Api] = [scene.bob, there(scene.bob, other)]
    await sockets[1].call("typing", {"chatId": scene.chat})
    if redis_is == "down":
        await redis.kill()
    if rule.name == "slow_mode":
        assert (await rule.impose(scene)).status == 200
        await scene.bob.send(scene.chat, "the one that is allowed")
    else:
        answer = await rule.impose(scene)
        assert answer.status == 200, answer
        # Word lists are kept in memory, and looked at every second.
        words = other.services.word_lists
        await eventually(lambda: words.version == here.services.word_lists.version)

    async def tried(act: str, way: int) -> tuple[int, Any, str]:
        if way < 2:
            return await over_rest(scene, apis[way], act, rule.text)
        return await over_socket(scene, sockets[way - 2], act, rule.text)

    for act in sorted(rule.acts):
        for way in range(4):
            if (act == "type" and way < 2) or (act == "form" and way > 1):
                continue

            async def refused(act: str = act, way: int = way) -> bool:
                status, body, code = await tried(act, way)
                if (status, code) != (rule.status, rule.name):
                    return False
                assert_says_why(rule, body)
                return True

            if act == "type":
                # What a node keeps in memory for up to two seconds.
                await until(refused)
            else:
                assert await refused(), (act, way, await tried(act, way))
    allowed = await scene.ann.post(MESSAGES, scene.message("send", "from a moderator"))
    assert allowed.status == 201, allowed
    answer = await rule.lift(scene)
    assert answer.status == 200, answer
    for way in range(4):
        await until(lambda way=way: works(tried("send", way)))  # type: ignore[misc]
    history = (await scene.ann.get(f"{MESSAGES}?chatId={scene.chat}&threads=include&limit=200")).json["items"]
    mine = [each for each in history if each["senderId"] == scene.bob.id]
    assert len(mine) == 5 + (rule.name == "slow_mode"), "what was refused left nothing"
    assert mine[0]["updatedAt"] == mine[0]["createdAt"]


def assert_says_why(rule: Rule, body: Any) -> None:
    (detail, *_) = body["details"]
    if rule.name == "silenced":
        assert (detail["code"], detail["until"]) == ("silenced", "2999-01-01T00:00:00.000Z")
    elif rule.status == 403:
        assert (detail["code"], detail["until"]) == (rule.name, None)
    elif rule.status == 400:
        assert "Muddlehead" in detail["message"]
    else:
        assert "slow mode" in detail["message"]


async def until(check: Callable[[], Awaitable[bool]]) -> None:
    while not await check():
        await asyncio.sleep(0.05)


async def works(act: Awaitable[tuple[int, Any, str]]) -> bool:
    return (await act)[0] in (200, 201)


async def test_sanctions_end_by_the_clock(either: Served) -> None:
    """To the second: the first message that is taken is not older than the end of the silence."""
    owner = await either.people.make(grant=["streams.manage"])
    bob = await either.people.make()
    room = (await owner.post(CHATS, {"type": "room", "name": "Room"})).json["_id"]
    end = datetime.now(UTC) + timedelta(seconds=1.5)
    body = {"until": end.isoformat()}
    assert (await owner.post(f"{CHATS}/{room}/members/{bob.id}/silence", body)).status == 200
    message = {"type": "text", "chatId": room, "content": "x"}

    async def sent() -> Any:
        answer = await bob.post(MESSAGES, message)
        assert answer.status in (201, 403), answer
        return answer.json if answer.status == 201 else None

    while (first := await sent()) is None:
        await asyncio.sleep(0.02)
    assert first["createdAt"] >= end.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    end = datetime.now(UTC) + timedelta(seconds=1.5)
    assert (await owner.post(f"{CHATS}/{room}/members/{bob.id}/ban", {"until": end.isoformat()})).status == 200
    while (answer := await bob.get(f"{MESSAGES}?chatId={room}")).status == 403:
        await asyncio.sleep(0.02)
    assert answer.status == 200 and datetime.now(UTC) >= end


async def test_a_ban_of_a_group_is_lifted(either: Served) -> None:
    """Of somebody who is no member any more; somebody who never was is not found."""
    ann, bob, stranger = await either.people.many(3)
    chat = await ann.group(bob)
    members = f"{CHATS}/{chat}/members"
    assert (await ann.post(f"{members}/{bob.id}/ban", {"reason": "spam"})).status == 200
    again = await ann.post(f"{members}/{bob.id}/ban", {"until": "2999-01-01T00:00:00Z"})
    assert again.json["until"] == "2999-01-01T00:00:00.000Z"
    assert [each["userId"] for each in (await ann.get(f"{CHATS}/{chat}/bans")).json["items"]] == [bob.id]
    assert (await ann.delete(f"{members}/{bob.id}/ban")).status == 200
    assert (await ann.get(f"{CHATS}/{chat}/bans")).json["items"] == []
    assert (await ann.delete(f"{members}/{bob.id}/ban")).status == 200, "what changes nothing is no error"
    assert (await ann.post(f"{members}/{stranger.id}/ban", {})).status == 404


@pytest.mark.parametrize("deletion", ["none", "hour", "all"])
async def test_a_ban_deletes_what_it_says(either: Served, deletion: str) -> None:
    ann, bob, cat = await either.people.many(3)
    chat = await ann.group(bob, cat)
    others = [await cat.send(chat, f"plum {number}") for number in range(3)]
    mine = [await bob.send(chat, f"plum {number}") for number in range(120)]
    socket = await cat.socket()
    assert (await ann.post(f"{CHATS}/{chat}/members/{bob.id}/ban", {"delete": deletion})).status == 200
    expected = 0 if deletion == "none" else len(mine)
    await socket.event("chat:updated")
    await eventually(lambda: len(socket.named("message:deleted")) >= expected)
    history = (await cat.get(f"{MESSAGES}?chatId={chat}&limit=200")).json["items"]
    assert [each["_id"] for each in history] == [each["_id"] for each in [*others, *mine]]
    assert [each["content"] is None for each in history] == [False] * 3 + [expected > 0] * len(mine)
    found = (await cat.get(f"{MESSAGES}/search?query=plum&limit=50")).json["items"]
    assert len(found) == (3 if expected else 50)
    replay = await cat.socket(offsets={f"chat:{chat}": 0}, epoch=either.services.database.epoch)
    await replay.until(lambda: len(replay.seqs(f"chat:{chat}")) == len(history) + 1 + expected)
    texts = [payload["content"] for payload, _ in replay.named("message:new")]
    assert len([each for each in texts if each]) == 3 + len(mine) - expected
    await socket.close()
    await replay.close()


async def test_a_deletion_that_was_stopped_goes_on(serve: ServerFactory, database_url: str) -> None:
    """In the process that comes after; what the user posts after being let in again stays."""
    node = await serve(database_url=database_url)
    ann, bob = await node.people.many(2)
    chat = await ann.group(bob)
    for number in range(60):
        await bob.send(chat, str(number))
    purges = node.services.sanctions.purges
    purges.due_work.stopping = True
    assert (await ann.post(f"{CHATS}/{chat}/members/{bob.id}/ban", {"delete": "day"})).status == 200
    history = (await ann.get(f"{MESSAGES}?chatId={chat}&limit=200")).json["items"]
    assert all(each["content"] for each in history), "it has not begun"
    assert (await ann.post(f"{CHATS}/{chat}/members", {"userIds": [bob.id]})).status == 201
    later = await bob.send(chat, "after the ban")
    due = node.services.due_work
    purges.due_work.stopping = False
    for pk in (each.ref for each in await waiting(node)):
        await due.handlers["purges"](pk)
    await eventually(lambda: not due.timers and not due.tasks.running)
    history = (await ann.get(f"{MESSAGES}?chatId={chat}&limit=200")).json["items"]
    assert [each["_id"] for each in history if each["content"]] == [later["_id"]]
    assert await waiting(node) == []


async def test_how_old_what_is_deleted_may_be(either: Served) -> None:
    ann, bob = await either.people.many(2)
    for deletion, left in (("hour", 2), ("day", 1), ("all", 0)):
        chat = await ann.group(bob)
        sent = [await bob.send(chat, str(number)) for number in range(3)]
        pk = await either.services.chats.numbers.find(ann.user.tenant_pk, chat)

        def age(tx: Tx, pk: int = pk, sent: list[Any] = sent) -> None:
            for message, hours in zip(sent, (30, 2, 0), strict=True):
                here = messages.c.chat_pk == pk, messages.c.seq == message["seq"]
                at = tx.now - hours * 3600 * SECOND
                tx.execute(update(messages).where(*here).values(created_at=at, updated_at=at))

        await either.services.database.write(Command(age))
        await ann.post(f"{CHATS}/{chat}/members/{bob.id}/ban", {"delete": deletion})
        due = either.services.due_work
        await eventually(lambda due=due: not due.timers and not due.tasks.running)  # type: ignore[misc]
        history = (await ann.get(f"{MESSAGES}?chatId={chat}")).json["items"]
        assert [each["content"] for each in history] == [str(number) if number < left else None for number in range(3)]


async def test_a_long_deletion_holds_up_nothing_else_that_is_due(either: Served) -> None:
    """A process that takes over works on it in slices, between other work."""
    ann, bob = await either.people.many(2)
    chat = await ann.group(bob)
    for number in range(120):
        await bob.send(chat, str(number))
    purges, due = either.services.sanctions.purges, either.services.due_work
    due.stopping = True
    assert (await ann.post(f"{CHATS}/{chat}/members/{bob.id}/ban", {"delete": "all"})).status == 200
    due.stopping = False
    (row,) = await waiting(either)
    await purges.work(row.ref)
    history = (await ann.get(f"{MESSAGES}?chatId={chat}&limit=200")).json["items"]
    deleted = len([each for each in history if each["content"] is None])
    assert 0 < deleted < 120, "one slice"
    assert (await waiting(either))[0].at > row.at, "no other process begins with it"
    await eventually(lambda: not due.timers and not due.tasks.running)
    assert await waiting(either) == []


async def test_what_moderators_can_not_do(either: Served) -> None:
    """Roles are for owners and admins: a silence that a role means is lifted by them; who inherits is the highest in rank."""
    ann, bob, cat, dan = await either.people.many(4)
    chat = await ann.group(cat, bob, dan)
    members = f"{CHATS}/{chat}/members"
    assert (await ann.patch(f"{members}/{bob.id}", {"role": "moderator"})).status == 200
    assert (await ann.patch(f"{members}/{dan.id}", {"role": "readonly"})).status == 200
    for refused in (
        await bob.patch(f"{members}/{cat.id}", {"role": "readonly"}),
        await bob.patch(f"{CHATS}/{chat}", {"frozen": True}),
        await bob.delete(f"{members}/{dan.id}/silence"),
        await bob.post(f"{members}/{ann.id}/silence", {}),
        await bob.post(f"{members}/{ann.id}/ban", {}),
        await bob.delete(f"{members}/{cat.id}"),
        await bob.post(members, {"userIds": [cat.id]}),
    ):
        assert refused.status == 403, refused
    assert (await bob.post(f"{members}/{cat.id}/silence", {})).status == 200
    assert (await bob.delete(f"{members}/{cat.id}/silence")).status == 200
    message = await cat.send(chat)
    assert (await bob.delete(f"{MESSAGES}/{message['_id']}")).status == 200
    assert (await bob.put(f"{MESSAGES}/{(await cat.send(chat))['_id']}/pin")).status == 200
    assert (await ann.delete(members + f"/{dan.id}/silence")).status == 200
    assert (await ann.delete("/api/v1/users/me")).status == 200
    await either.services.erasure.work()
    roles = {each["userId"]: each["role"] for each in (await bob.get(f"{CHATS}/{chat}")).json["members"]}
    assert roles[bob.id] == "owner"


async def waiting(node: Served) -> list[Any]:
    from storage import due

    return await node.services.database.read(lambda it: due.overdue(it, ["purges"], before=2**62))


async def test_a_chat_says_what_is_forbidden_in_it(either: Served) -> None:
    """To the user who is silenced, as long as it lasts; what is as usual is not in the document."""
    ann, bob = await either.people.many(2)
    chat = await ann.group(bob)
    usual = set((await bob.get(f"{CHATS}/{chat}")).json)
    assert not usual & {"silencedUntil", "frozen", "slowMode", "links"}
    await ann.patch(f"{CHATS}/{chat}", {"frozen": True, "slowMode": 10, "links": "moderators"})
    for until in ("2999-01-01T00:00:00.000Z", None):
        assert (await ann.post(f"{CHATS}/{chat}/members/{bob.id}/silence", {"until": until})).status == 200
        for document in ((await bob.get(f"{CHATS}/{chat}")).json, (await bob.get(CHATS)).json["items"][0]):
            assert {name: document[name] for name in document.keys() - usual} == {
                "silencedUntil": until, "frozen": True, "slowMode": 10, "links": "moderators",
            }  # fmt: skip
    assert "silencedUntil" not in (await ann.get(f"{CHATS}/{chat}")).json
    await ann.patch(f"{CHATS}/{chat}", {"frozen": False, "slowMode": 0, "links": "all"})
    await ann.delete(f"{CHATS}/{chat}/members/{bob.id}/silence")
    assert set((await bob.get(f"{CHATS}/{chat}")).json) == usual
    assert (await ann.patch(f"{CHATS}/{chat}", {"slowMode": 3601})).status == 400
