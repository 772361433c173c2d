"""Mentions: who counts as mentioned, who may mention all, and that the counts are those of a recount."""

import asyncio
import random
from collections.abc import Iterable
from typing import Any

import orjson
import pytest
from sqlalchemy import select

from realtime.schema.message_bodies import SendMessage
from storage.models import mentions, thread_members
from tests.conftest import Served, ServerFactory
from tests.server.test_threads import MESSAGES, Kept, Model, pair, read, reply
from tests.support.batches import in_one_batch
from tests.support.people import Person


async def count(person: Person, chat: str) -> int:
    return int((await person.get(f"/api/v2/chats/{chat}")).json.get("mentionCount", 0))


async def mentioned(person: Person, query: str = "") -> list[str]:
    return [each["_id"] for each in (await person.get(f"/api/v2/mentions{query}")).json["items"]]


async def test_members_are_mentioned_and_others_left_out(either: Served) -> None:
    ann, bob, chat = await pair(either)
    stranger = await either.people.make()
    socket = await bob.socket()
    sent = await ann.send(chat, mentions=[stranger.id, bob.id, ann.id, bob.id, "f" * 24])
    assert sent["mentions"] == [bob.id]
    payload, _ = await socket.event("message:new")
    assert payload == sent
    plain = await ann.send(chat)
    assert "mentions" not in plain
    assert await count(bob, chat) == 1
    assert await count(ann, chat) == 0
    assert await mentioned(bob) == [sent["_id"]]
    assert await mentioned(stranger) == []
    await read(bob, plain)
    assert await count(bob, chat) == 0
    assert await mentioned(bob) == [sent["_id"]], "the list is of read ones, too"
    await socket.close()


async def test_edits_add_and_take_away(either: Served) -> None:
    ann, bob, chat = await pair(either)
    cat = await either.people.make()
    await ann.post(f"/api/v2/chats/{chat}/members", {"userIds": [cat.id]})
    sent = await ann.send(chat, mentions=[bob.id])
    path = f"{MESSAGES}/{sent['_id']}"
    assert (await ann.patch(path, {"content": "2"})).json["mentions"] == [bob.id], "absent: as before"
    edited = await ann.patch(path, {"content": "2", "mentions": [cat.id]})
    assert edited.json["mentions"] == [cat.id]
    assert [await count(bob, chat), await count(cat, chat)] == [0, 1]
    assert (await ann.patch(path, {"content": "2", "mentionAll": True})).json["mentionAll"] is True
    assert [await count(bob, chat), await count(cat, chat)] == [1, 1]
    edited = await ann.patch(path, {"content": "2", "mentions": [], "mentionAll": False})
    assert not {"mentions", "mentionAll"} & edited.json.keys()
    assert [await count(bob, chat), await count(cat, chat)] == [0, 0]
    await ann.patch(path, {"content": "3", "mentions": [bob.id, cat.id]})
    tombstone = (await ann.delete(path)).json
    assert not {"mentions", "mentionAll"} & tombstone.keys()
    assert [await mentioned(bob), await mentioned(cat)] == [[], []]
    rows = select(mentions.c.user_pk)
    assert await either.services.database.read(lambda it: it.execute(rows).all()) == []


async def test_limits(server: Served) -> None:
    ann, _, chat = await pair(server)
    body = {"type": "text", "chatId": chat, "content": "x"}
    answer = await ann.post(MESSAGES, {**body, "mentions": ["f" * 24] * 51})
    assert answer.status == 400
    assert "at most 50 users" in str(answer.json)
    assert (await ann.post(MESSAGES, {**body, "mentions": ["x"]})).status == 400
    sent = await ann.send(chat, clientMessageId="k", mentions=["f" * 24])
    assert (await ann.send(chat, clientMessageId="k", content="hello", mentions=["f" * 24]))["_id"] == sent["_id"]
    assert (await ann.post(MESSAGES, {**body, "content": "hello", "clientMessageId": "k"})).status == 409


async def test_all_are_mentioned_once_a_minute(either: Served) -> None:
    ann, bob, chat = await pair(either)
    sent = await bob.send(chat, mentionAll=True)
    assert sent["mentionAll"] is True
    assert await count(ann, chat) == 1
    assert await count(bob, chat) == 0
    assert await mentioned(ann) == [sent["_id"]]
    refused = await ann.post(MESSAGES, {"type": "text", "chatId": chat, "content": "x", "mentionAll": True})
    assert refused.status == 429
    assert 0 < int(refused.headers["Retry-After"]) <= 60
    await bob.delete(f"{MESSAGES}/{sent['_id']}")
    refused = await ann.post(MESSAGES, {"type": "text", "chatId": chat, "content": "x", "mentionAll": True})
    assert refused.status == 429, "a deletion does not give it back"
    assert await count(ann, chat) == 0


async def test_in_a_large_chat_owners_and_admins_mention_all(serve: ServerFactory) -> None:
    server = await serve(max_mention_all_members=2, max_mention_all_seconds=0)
    ann, bob, chat = await pair(server)
    await bob.send(chat, mentionAll=True)
    cat = await server.people.make()
    await ann.post(f"/api/v2/chats/{chat}/members", {"userIds": [cat.id]})
    body = {"type": "text", "chatId": chat, "content": "x", "mentionAll": True}
    assert (await bob.post(MESSAGES, body)).status == 403
    own = await bob.send(chat)
    assert (await bob.patch(f"{MESSAGES}/{own['_id']}", {"content": "y", "mentionAll": True})).status == 403
    assert (await ann.post(MESSAGES, body)).status == 201
    assert (await ann.patch(f"/api/v2/chats/{chat}/members/{bob.id}", {"role": "admin"})).status == 200
    assert (await bob.post(MESSAGES, body)).status == 201


async def test_a_mention_in_a_thread_is_read_there_and_makes_one_follow(either: Served) -> None:
    ann, bob, chat = await pair(either)
    cat = await either.people.make()
    await ann.post(f"/api/v2/chats/{chat}/members", {"userIds": [cat.id]})
    root = await ann.send(chat)
    first = await reply(ann, root, mentions=[bob.id])
    last = await ann.send(chat)
    await read(bob, last)
    assert await count(bob, chat) == 1, "reading the chat is not reading the thread"
    assert [each["unreadCount"] for each in (await bob.get("/api/v2/threads")).json["items"]] == [1]
    await read(bob, first)
    assert await count(bob, chat) == 0
    second = await reply(ann, root)
    await ann.patch(f"{MESSAGES}/{second['_id']}", {"content": "y", "mentions": [cat.id]})
    assert [each["unreadCount"] for each in (await cat.get("/api/v2/threads")).json["items"]] == [1]
    assert await count(cat, chat) == 1
    await reply(ann, root, mentionAll=True)
    assert [await count(bob, chat), await count(cat, chat)] == [1, 2]
    await cat.post(f"{MESSAGES}/{root['_id']}/thread/unfollow")
    assert await count(cat, chat) == 1, "all of a thread are those who follow it"


async def test_pages_and_who_left(either: Served) -> None:
    ann, bob, chat = await pair(either)
    other = await bob.group(ann)
    sent = [await ann.send(where, mentions=[bob.id]) for where in (chat, other, chat, other)]
    sent.append(await ann.send(chat, mentionAll=True))
    found: list[str] = []
    cursor = ""
    while True:
        page = (await bob.get(f"/api/v2/mentions?limit=2{cursor}")).json
        found += [each["_id"] for each in page["items"]]
        if page["nextCursor"] is None:
            break
        cursor = f"&cursor={page['nextCursor']}"
    assert found == [each["_id"] for each in reversed(sent)]
    assert (await bob.post(f"/api/v2/chats/{chat}/leave")).status == 200
    assert await mentioned(bob) == [sent[3]["_id"], sent[1]["_id"]]
    await ann.post(f"/api/v2/chats/{chat}/members", {"userIds": [bob.id]})
    assert await mentioned(bob) == [sent[3]["_id"], sent[1]["_id"]]
    assert await count(bob, chat) == 0


async def test_an_edit_mentions_nobody_who_came_after_the_message(either: Served) -> None:
    ann, bob, chat = await pair(either)
    root = await ann.send(chat)
    first = await reply(bob, root)
    cat = await either.people.make()
    await ann.post(f"/api/v2/chats/{chat}/members", {"userIds": [cat.id]})
    edited = await bob.patch(f"{MESSAGES}/{first['_id']}", {"content": "x", "mentions": [cat.id, ann.id]})
    assert edited.json["mentions"] == [ann.id]
    assert (await cat.get("/api/v2/threads")).json["items"] == []
    assert await mentioned(cat) == []


async def test_who_is_erased_is_mentioned_by_nobody(either: Served) -> None:
    """In a direct chat they stay a member."""
    ann, bob = await either.people.many(2)
    first = (await ann.post(MESSAGES, {"type": "text", "targetUserId": bob.id, "content": "x"})).json
    assert (await ann.delete("/api/v1/users/me?confirm=self")).status == 200
    await either.services.erasure.work()
    answered = await reply(bob, first, mentions=[ann.id])
    assert "mentions" not in answered
    rows = select(thread_members.c.user_pk)
    assert await either.services.database.read(lambda it: it.execute(rows).scalars().all()) == [bob.user.pk]


async def test_an_export_has_them(either: Served) -> None:
    ann, bob, chat = await pair(either)
    admin = await either.people.make(grant=["admin", "users.manage"])
    sent = await ann.send(chat, mentions=[bob.id])
    await reply(bob, sent)
    await ann.put(f"{MESSAGES}/{sent['_id']}/pin", {"until": "2099-01-01T00:00:00Z"})
    kinds: dict[str, list[Any]] = {}
    for person in (ann, bob):
        answer = await admin.post(f"/api/v1/admin/users/{person.id}/export")
        for line in answer.body.splitlines():
            document = orjson.loads(line)
            kinds.setdefault(document["kind"], []).append((person.id, document.get("messageId")))
    assert kinds["mention"] == [(bob.id, sent["_id"])]
    assert kinds["pin"] == [(ann.id, sent["_id"])]
    assert kinds["thread"] == [(ann.id, sent["_id"]), (bob.id, sent["_id"])]


async def test_levels_of_a_mute(either: Served) -> None:
    ann, _, chat = await pair(either)

    async def muted(**body: Any) -> tuple[Any, Any]:
        document = (await ann.post(f"/api/v2/chats/{chat}/mute", body)).json
        return document["mutedUntil"], document.get("muteLevel")

    until = "2099-01-01T00:00:00.000Z"
    assert await muted(until=until) == (until, None), "as before there were levels"
    assert await muted(until=until, level="mentions") == (until, None)
    assert await muted(until=until, level="none") == (until, "none")
    assert await muted(until=until, level="all") == (None, None)
    forever, level = await muted(level="none")
    assert forever > "9000"
    assert level == "none"
    assert await muted(until=None) == (None, None)


async def test_a_removal_that_races_with_the_send(either: Served) -> None:
    """Who is removed first is not mentioned, who is mentioned first is: in any order of one batch, and at once over REST."""
    ann, bob, chat = await pair(either)
    services, caller = either.services, either.people.caller(ann)
    body = SendMessage(type="text", chatId=chat, content="x", mentions=[bob.id])

    async def settle(sent: Any) -> str:
        """What took the earlier seq."""
        events = await services.database.read(lambda it: it.exec_driver_sql(LAST_TWO).all())
        newest, before = [each.name for each in events]
        assert {newest, before} == {"message:new", "chat:updated"}
        assert sent.get("mentions", []) == ([bob.id] if before == "message:new" else [])
        await ann.post(f"/api/v2/chats/{chat}/members", {"userIds": [bob.id]})
        return str(before)

    for place, first in enumerate(("message:new", "chat:updated")):
        calls = [services.messages.post(caller, body), services.chats.remove_member(caller, chat, bob.id)]
        answers = await in_one_batch(services.database, calls if place == 0 else calls[::-1])
        sent = answers[place]
        assert await settle(orjson.loads(orjson.dumps(sent))) == first
    for _ in range(198):
        sent, removed = await asyncio.gather(
            ann.send(chat, mentions=[bob.id]), ann.delete(f"/api/v2/chats/{chat}/members/{bob.id}")
        )
        assert removed.status == 200
        await settle(sent)
    assert await count(bob, chat) == 0, "who came back is not mentioned by what was before"


LAST_TWO = """
SELECT seq, name FROM events WHERE name IN ('message:new', 'chat:updated')
ORDER BY channel_pk DESC, seq DESC LIMIT 2"""


class Counted(Model):
    """With mentions: whom each message mentions, and since when each member is one."""

    def __init__(self, users: Iterable[str]) -> None:
        super().__init__()
        self.named: dict[str, tuple[list[str], bool]] = {}
        self.joined = dict.fromkeys(users, 0)

    def name(self, document: Any) -> None:
        self.named[document["_id"]] = document.get("mentions", []), document.get("mentionAll", False)

    def edit(self, document: Any) -> None:
        before, item = self.named[document["_id"]][0], self.messages[document["_id"]]
        self.name(document)
        if item.root is not None and not self.messages[item.root].deleted:
            for user in document.get("mentions", []):
                if user not in before and (user, item.root) not in self.following:
                    self.following.add((user, item.root))
                    self.thread_read[user, item.root] = max(self.thread_read[user, item.root], item.seq - 1)

    def leave_and_join(self, user: str, joined: int) -> None:
        self.following = {each for each in self.following if each[0] != user}
        self.joined[user] = self.chat_read[user] = joined

    def count(self, user: str) -> int:
        return sum(self.mentions(id, item, user) for id, item in self.messages.items())

    def mentions(self, id: str, item: Kept, user: str) -> bool:
        """Whether an unread message mentions a user."""
        if item.deleted or item.sender == user or item.seq <= self.joined[user]:
            return False
        users, everybody = self.named[id]
        if item.in_chat:
            return (everybody or user in users) and item.seq > self.chat_read[user]
        place = (user, str(item.root))
        return (place in self.following if everybody else user in users) and item.seq > self.thread_read[place]


@pytest.mark.parametrize("seed", range(2))
async def test_counts_are_those_of_a_recount(database_url: str, serve: ServerFactory, seed: int) -> None:
    """After random sends, replies, edits, deletions, reads, leaves and joins."""
    server = await serve(database_url=database_url, max_mention_all_seconds=0)
    dice = random.Random(seed)
    people = {each.id: each for each in await server.people.many(4)}
    owner, *others = people.values()
    chat = await owner.group(*others)
    model = Counted(people)

    def some(person: Person, *, roots: bool = False) -> str | None:
        """A message that this user may see."""
        found = [
            id
            for id, each in model.messages.items()
            if not each.deleted and not (roots and each.root) and each.seq > model.joined[person.id]
        ]
        return dice.choice(found) if found else None

    async def step() -> None:
        person = people[dice.choice([*people])]
        target, root = some(person), some(person, roots=True)
        names = dice.sample([*people], dice.randint(0, 2))
        more: dict[str, Any] = {"mentions": names, "mentionAll": dice.random() < 0.15}
        verb = dice.choice(["send", "send", "reply", "also", "edit", "delete", "read", "read", "read", "move"])
        if verb == "move" and person is not owner:
            assert (await person.post(f"/api/v2/chats/{chat}/leave")).status == 200
            sent = await owner.send(chat, **more)
            assert sent.get("mentions", []) == [id for id in names if id not in (owner.id, person.id)]
            model.send(sent)
            model.name(sent)
            answer = await owner.post(f"/api/v2/chats/{chat}/members", {"userIds": [person.id]})
            (joined,) = [each["joinedSeq"] for each in answer.json["members"] if each["userId"] == person.id]
            model.leave_and_join(person.id, joined)
        elif verb == "send" or target is None or root is None or verb == "move":
            sent = await person.send(chat, **more)
            assert sent.get("mentions", []) == [id for id in names if id != person.id]
            model.send(sent)
            model.name(sent)
        elif verb in ("reply", "also"):
            sent = await person.send(chat, **more, threadId=root, alsoInChat=verb == "also")
            model.send(sent)
            model.name(sent)
        elif verb == "read":
            assert (await person.post(f"{MESSAGES}/{target}/read")).status == 200
            model.read(person.id, target)
        elif model.messages[target].sender == person.id and verb == "delete":
            assert (await person.delete(f"{MESSAGES}/{target}")).status == 200
            model.messages[target].deleted = True
        elif model.messages[target].sender == person.id:
            edited = await person.patch(f"{MESSAGES}/{target}", {"content": f"edited {dice.random()}", **more})
            assert edited.status == 200, edited
            model.edit(edited.json)

    for number in range(500):
        await step()
        if number % 10 == 9:
            counts = await asyncio.gather(*(count(each, chat) for each in people.values()))
            assert dict(zip(people, counts, strict=True)) == {id: model.count(id) for id in people}, number
