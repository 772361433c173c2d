"""Threads: who sees and follows them, and that reading a thread and reading a chat never move each other."""

import asyncio
import random
import sqlite3
from collections import defaultdict
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert, select, update

from storage import contexts, mentions, thread_list, threads
from storage.messages import PAGES
from storage.models import channels, messages, thread_members
from storage.transaction import Command, Tx
from storage.types import now
from tests.conftest import Served, eventually
from tests.support.people import Person

MESSAGES = "/api/v2/messages"


async def pair(server: Served, **options: Any) -> tuple[Person, Person, str]:
    ann, bob = await server.people.many(2)
    return ann, bob, await ann.group(bob, **options)


async def reply(person: Person, root: Any, content: str = "reply", **options: Any) -> Any:
    return await person.send(root["chatId"], content, threadId=root["_id"], **options)


async def read(person: Person, message: Any) -> Any:
    answer = await person.post(f"{MESSAGES}/{message['_id']}/read")
    assert answer.status == 200, answer
    return answer.json


async def ids(person: Person, chat: str, query: str = "") -> list[str]:
    return [each["_id"] for each in (await person.get(f"{MESSAGES}?chatId={chat}{query}")).json["items"]]


async def threads_of(person: Person, query: str = "") -> list[Any]:
    items: list[Any] = (await person.get(f"/api/v2/threads{query}")).json["items"]
    return items


async def test_a_reply_is_a_message_of_its_thread(either: Served) -> None:
    ann, bob, chat = await pair(either)
    root = await ann.send(chat, "root")
    socket = await ann.socket()
    first = await reply(bob, root)
    assert first["threadId"] == root["_id"]
    assert first["seq"] == root["seq"] + 1
    assert "alsoInChat" not in first
    payload, _ = await socket.event("message:new")
    assert payload == first
    summary = {"replyCount": 1, "lastSeq": first["seq"], "lastAt": first["createdAt"], "participants": [bob.id]}
    payload, place = await socket.event("message:thread")
    assert payload == {"chatId": chat, "threadId": root["_id"], "thread": summary}
    assert place == {"channel": f"chat:{chat}", "seq": first["seq"] + 1}
    both = await reply(ann, root, alsoInChat=True)
    assert both["alsoInChat"] is True
    assert await ids(ann, chat) == [root["_id"], both["_id"]]
    assert await ids(ann, chat, "&threads=include") == [root["_id"], first["_id"], both["_id"]]
    assert await ids(ann, chat, f"&threadId={root['_id']}") == [first["_id"], both["_id"]]
    assert await ids(ann, chat, f"&threadId={root['_id']}&limit=1") == [both["_id"]]
    assert await ids(ann, chat, f"&threadId={root['_id']}&after={root['seq']}&limit=1") == [first["_id"]]
    shown = (await ann.get(f"{MESSAGES}/{root['_id']}")).json
    assert shown["thread"]["replyCount"] == 2
    assert shown["thread"]["participants"] == [bob.id, ann.id]
    assert shown["updatedAt"] == root["updatedAt"]
    edited = await ann.patch(f"{MESSAGES}/{root['_id']}", {"content": "edited"})
    assert edited.json["thread"]["replyCount"] == 2
    payload, _ = await socket.event("message:updated")
    assert "thread" not in payload
    await socket.close()


async def test_what_takes_no_reply(either: Served) -> None:
    ann, bob, chat = await pair(either)
    root = await ann.send(chat, "root")
    first = await reply(bob, root)
    elsewhere = await bob.group(ann)

    async def status(person: Person, chat_id: str, thread: str, **options: Any) -> int:
        body = {"type": "text", "chatId": chat_id, "content": "x", "threadId": thread, **options}
        return (await person.post(MESSAGES, body)).status

    assert await status(bob, chat, first["_id"]) == 400, "no thread in a thread"
    assert await status(bob, elsewhere, root["_id"]) == 404
    assert await status(bob, chat, "f" * 24) == 404
    assert (
        await bob.post(MESSAGES, {"type": "text", "chatId": chat, "content": "x", "alsoInChat": True})
    ).status == 400
    stranger = await either.people.make()
    assert await status(stranger, chat, root["_id"]) == 404
    assert (await stranger.get(f"{MESSAGES}?chatId={elsewhere}&threadId={root['_id']}")).status == 404
    assert (await bob.get(f"{MESSAGES}?chatId={elsewhere}&threadId={root['_id']}")).status == 404
    assert (await bob.get(f"{MESSAGES}?chatId={chat}&threadId={first['_id']}")).status == 404
    assert (await ann.delete(f"{MESSAGES}/{root['_id']}")).json["thread"]["replyCount"] == 1
    assert await status(bob, chat, root["_id"]) == 409
    assert (await bob.post(f"{MESSAGES}/{root['_id']}/thread/follow")).status == 409
    assert await ids(bob, chat, f"&threadId={root['_id']}") == [first["_id"]], "replies stay"


async def test_the_same_key_is_the_same_reply(either: Served) -> None:
    ann, _, chat = await pair(either)
    root = await ann.send(chat, "root")
    first = await reply(ann, root, clientMessageId="k")
    assert await reply(ann, root, clientMessageId="k") == first
    body = {"type": "text", "chatId": chat, "content": "reply", "clientMessageId": "k"}
    assert (await ann.post(MESSAGES, body)).status == 409
    assert (await ann.post(MESSAGES, {**body, "threadId": root["_id"], "alsoInChat": True})).status == 409


async def test_who_follows(either: Served) -> None:
    """The author and who replies; from the thread's last reply on. Others by asking for it."""
    ann, bob, chat = await pair(either)
    cat = await either.people.make()
    await ann.post(f"/api/v2/chats/{chat}/members", {"userIds": [cat.id]})
    root = await ann.send(chat, "root")
    first = await reply(bob, root)
    (mine,) = await threads_of(ann)
    assert mine["unreadCount"] == 1
    assert mine["root"]["_id"] == mine["threadId"] == root["_id"]
    (his,) = await threads_of(bob)
    assert (his["unreadCount"], his["following"]) == (0, True)
    assert await threads_of(cat) == []
    followed = await cat.post(f"{MESSAGES}/{root['_id']}/thread/follow")
    assert followed.status == 200
    assert (followed.json["following"], followed.json["readSeq"], followed.json["unreadCount"]) == (
        True,
        first["seq"],
        0,
    )
    await reply(bob, root)
    assert [each["unreadCount"] for each in await threads_of(cat)] == [1]
    assert (await cat.get(f"/api/v2/chats/{chat}")).json["unreadCount"] == 2, "the root and the reply"
    left = await cat.post(f"{MESSAGES}/{root['_id']}/thread/unfollow")
    assert (left.json["following"], left.json["unreadCount"]) == (False, 0)
    assert (await cat.get(f"/api/v2/chats/{chat}")).json["unreadCount"] == 1
    assert await threads_of(cat) == []
    await cat.post(f"{MESSAGES}/{root['_id']}/thread/follow")
    assert (await cat.post(f"/api/v2/chats/{chat}/leave")).status == 200
    await ann.post(f"/api/v2/chats/{chat}/members", {"userIds": [cat.id]})
    assert await threads_of(cat) == [], "who leaves follows no more"


async def test_reading_a_reply_moves_the_thread_alone(either: Served) -> None:
    ann, bob, chat = await pair(either)
    root = await ann.send(chat, "root")
    first, second = await reply(bob, root), await reply(bob, root)
    socket, other = await ann.socket(), await bob.socket()
    document = await read(ann, first)
    assert document == {
        "chatId": chat, "userId": ann.id, "messageId": first["_id"], "threadId": root["_id"], "readSeq": first["seq"],
    }  # fmt: skip
    payload, place = await socket.event("thread:read")
    assert payload == {"chatId": chat, "threadId": root["_id"], "readSeq": first["seq"]}
    assert place["channel"] == f"user:{ann.id}"
    assert [each["unreadCount"] for each in await threads_of(ann, "?unread=true")] == [1]
    assert (await bob.get(f"{MESSAGES}/{first['_id']}")).json["readBy"] == [ann.id]
    assert (await bob.get(f"{MESSAGES}/{second['_id']}")).json["readBy"] == []
    page = (await bob.get(f"{MESSAGES}?chatId={chat}&threads=include")).json["items"]
    assert [each["readBy"] for each in page] == [[], [ann.id], []]
    assert (await read(ann, second))["readSeq"] == second["seq"]
    assert (await read(ann, first))["readSeq"] == second["seq"], "a position only grows"
    assert await threads_of(ann, "?unread=true") == []
    members = (await ann.get(f"/api/v2/chats/{chat}")).json["members"]
    assert {each["userId"]: each["readSeq"] for each in members} == {ann.id: 0, bob.id: 0}
    both = await reply(bob, root, alsoInChat=True)
    assert "threadId" not in await read(ann, both), "what the chat shows is read there"
    assert [each["readSeq"] for each in await threads_of(ann)] == [second["seq"]]
    await eventually(lambda: len(other.named("message:read")) == 1)
    assert not other.named("thread:read")
    await socket.close()
    await other.close()


async def test_following_is_not_reading(either: Served) -> None:
    """Who follows counts what was there before as read, and is no reader of it."""
    ann, bob, chat = await pair(either)
    cat = await either.people.make()
    await ann.post(f"/api/v2/chats/{chat}/members", {"userIds": [cat.id]})
    root = await ann.send(chat, "root")
    first = await reply(bob, root)
    second = await reply(bob, root, mentions=[cat.id])
    assert (await ann.get(f"{MESSAGES}/{first['_id']}")).json["readBy"] == []
    await read(cat, second)
    assert (await ann.get(f"{MESSAGES}/{first['_id']}")).json["readBy"] == []
    assert (await ann.get(f"{MESSAGES}/{second['_id']}")).json["readBy"] == [cat.id]
    await read(ann, second)
    page = (await bob.get(f"{MESSAGES}?chatId={chat}&threadId={root['_id']}")).json["items"]
    assert [each["readBy"] for each in page] == [[ann.id], [ann.id, cat.id]]
    dan = await either.people.make()
    await ann.post(f"/api/v2/chats/{chat}/members", {"userIds": [dan.id]})
    third, fourth, last = [await reply(bob, root) for _ in range(3)]
    await read(dan, third)
    await dan.post(f"{MESSAGES}/{root['_id']}/thread/follow")
    page = (await bob.get(f"{MESSAGES}?chatId={chat}&threadId={root['_id']}")).json["items"]
    assert [dan.id in each["readBy"] for each in page[2:]] == [True, False, False], "what was read before stays read"
    for message, by_dan in ((third, True), (fourth, False), (last, False)):
        assert (dan.id in (await bob.get(f"{MESSAGES}/{message['_id']}")).json["readBy"]) is by_dan


async def test_no_more_than_a_thousand_are_counted(either: Served) -> None:
    ann, bob, chat = await pair(either)
    root = await ann.send(chat, "root")
    first = await reply(bob, root)

    def fill(tx: Tx) -> None:
        """As if there were many more, in the thread and in the chat."""
        row = tx.execute(select(messages).where(messages.c.id == first["_id"])).mappings().one()
        nothing = dict.fromkeys(("thread_seq", "thread_id", "previous_seq"))
        for base, more in ((2000, {}), (4000, nothing)):
            rows = [
                {**row, **more, "seq": base + number, "id": f"{base + number:024d}", "ordinal": number + 2}
                for number in range(1100)
            ]
            tx.execute(insert(messages), rows)
        tx.execute(update(channels).where(channels.c.pk == row["chat_pk"]).values(head=9000, ordinal=1200))

    await either.services.database.write(Command(fill))
    assert (await ann.get(f"/api/v2/chats/{chat}")).json["unreadCount"] == 1000
    assert [each["unreadCount"] for each in await threads_of(ann)] == [1000]
    found = await ids(ann, chat, "&limit=200")
    assert len(found) == 200
    assert await ids(ann, chat, "&before=4000&limit=5") == [root["_id"]], "past all replies"


def test_a_page_of_a_chat_costs_what_it_shows(migrated_file: Path) -> None:
    """And not what the chat has."""
    connection = sqlite3.connect(migrated_file)
    _, back = PAGES["chat"]
    values = back.defaults | dict.fromkeys(back.names, 1)
    plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {back.sql}", values)]
    assert [line for line in plan if line.startswith("SEARCH m ")] == [
        "SEARCH m USING PRIMARY KEY (chat_pk=? AND seq=?)"
    ]
    connection.close()


def test_sqlite_looks_only_at_what_is_asked_for(migrated_file: Path) -> None:
    """It keeps no statistics: without a hint it would go through all of a chat."""
    connection = sqlite3.connect(migrated_file)
    queries = [
        threads.IN_CHATS, threads.UNMUTED, threads.NEWEST_REPLY, *thread_list.LISTED.values(), thread_list.COUNTED,
        thread_list.ONE, *PAGES["thread"], mentions.IN_CHATS, mentions.LISTED, mentions.LISTED_BEFORE,
    ]  # fmt: skip
    for query in queries:
        values = query.defaults | dict.fromkeys(query.names, "[]")
        plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {query.sql}", values)]
        looks = [line for line in plan if line.startswith(("SEARCH r ", "SEARCH a ", "SEARCH m ", "SEARCH t "))]
        for line in looks:
            assert "ix_messages" in line or "PRIMARY KEY (chat_pk=? AND root_seq=? AND user_pk=?)" in line, (
                query.sql,
                line,
            )
    connection.close()


async def test_deleted_replies_do_not_count(either: Served) -> None:
    ann, bob, chat = await pair(either)
    root = await ann.send(chat, "root")
    first, second = await reply(bob, root), await reply(ann, root)
    socket = await bob.socket()
    await ann.delete(f"{MESSAGES}/{second['_id']}")
    payload, _ = await socket.event("message:thread")
    expected = {"replyCount": 1, "lastSeq": first["seq"], "lastAt": first["createdAt"], "participants": [bob.id]}
    assert payload["thread"] == expected
    await bob.delete(f"{MESSAGES}/{first['_id']}")
    nothing: dict[str, Any] = {"replyCount": 0, "lastSeq": 0, "lastAt": None, "participants": []}
    assert (await ann.get(f"{MESSAGES}/{root['_id']}")).json["thread"] == nothing
    assert [each["unreadCount"] for each in await threads_of(ann)] == [0]
    tombstone = (await ann.get(f"{MESSAGES}/{first['_id']}")).json
    assert tombstone["threadId"] == root["_id"]
    assert tombstone["content"] is None
    await socket.close()


async def test_a_chat_is_as_active_as_what_it_shows(either: Served) -> None:
    ann, bob, chat = await pair(either)
    root = await ann.send(chat, "root")
    quiet = await bob.group(ann)
    last = await bob.send(quiet, "later")
    await reply(bob, root)
    chats = (await ann.get("/api/v2/chats")).json["items"]
    assert [each["_id"] for each in chats] == [quiet, chat]
    assert [each["lastMessage"]["_id"] for each in chats] == [last["_id"], root["_id"]]


async def test_who_came_later_sees_the_replies_alone(either: Served) -> None:
    ann, bob, chat = await pair(either)
    root = await ann.send(chat, "root")
    hidden = await reply(bob, root)
    cat = await either.people.make()
    await ann.post(f"/api/v2/chats/{chat}/members", {"userIds": [cat.id]})
    assert (await cat.post(f"{MESSAGES}/{root['_id']}/thread/follow")).status == 404, "nothing of it is visible yet"
    socket = await cat.socket()
    visible = await reply(bob, root)
    payload, _ = await socket.event("message:new")
    assert payload["threadId"] == root["_id"]
    await eventually(lambda: socket.named("channel:skip"))
    assert not socket.named("message:thread")
    assert (await cat.get(f"{MESSAGES}/{root['_id']}")).status == 404
    assert await ids(cat, chat, f"&threadId={root['_id']}") == [visible["_id"]]
    followed = (await cat.post(f"{MESSAGES}/{root['_id']}/thread/follow")).json
    assert followed["root"] is None
    assert followed["threadId"] == root["_id"]
    await reply(ann, root)
    (item,) = await threads_of(cat)
    assert (item["root"], item["unreadCount"]) == (None, 1)
    assert (await reply(cat, root))["threadId"] == root["_id"]
    assert hidden["_id"] not in str(socket.events)
    await socket.close()


async def test_pages_of_threads(either: Served) -> None:
    ann, bob, chat = await pair(either)
    roots = [await ann.send(chat, str(number)) for number in range(5)]
    for root in (*roots, roots[0]):
        await reply(bob, root)
    found: list[str] = []
    cursor = ""
    while True:
        page = (await ann.get(f"/api/v2/threads?limit=2{cursor}")).json
        found += [each["threadId"] for each in page["items"]]
        if page["nextCursor"] is None:
            break
        cursor = f"&cursor={page['nextCursor']}"
    assert found == [each["_id"] for each in (roots[0], *reversed(roots[1:]))]


async def test_who_is_erased_leaves_no_row(either: Served) -> None:
    ann, bob, chat = await pair(either)
    root = await ann.send(chat, "root")
    await reply(bob, root)
    assert (await bob.delete("/api/v1/users/me?confirm=self")).status == 200
    await either.services.erasure.work()
    rows = select(thread_members.c.user_pk)
    assert await either.services.database.read(lambda it: it.execute(rows).scalars().all()) == [ann.user.pk]


# Against a model


@dataclass
class Kept:
    """A message of the model."""

    seq: int
    sender: str
    root: str | None
    in_chat: bool
    deleted: bool = False


@dataclass
class Model:
    """What each user is to see, by the rules alone."""

    messages: dict[str, Kept] = field(default_factory=dict)
    chat_read: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    thread_read: dict[tuple[str, str], int] = field(default_factory=lambda: defaultdict(int))
    following: set[tuple[str, str]] = field(default_factory=set)

    def last(self, root: str) -> int:
        return max((each.seq for each in self.messages.values() if each.root == root and not each.deleted), default=0)

    def follow(self, user: str, root: str) -> None:
        if (user, root) not in self.following:
            start = max(self.last(root), self.messages[root].seq)
            self.thread_read[user, root] = max(self.thread_read[user, root], start)
            self.following.add((user, root))

    def send(self, document: Any) -> None:
        root, sender = document.get("threadId"), document["senderId"]
        if root is not None:
            author = self.messages[root].sender
            if not any(each.root == root for each in self.messages.values()):
                self.follow(author, root)
            for user in (*document.get("mentions", []), sender):
                self.follow(user, root)
        in_chat = root is None or document.get("alsoInChat", False)
        self.messages[document["_id"]] = Kept(document["seq"], sender, root, in_chat)

    def read(self, user: str, id: str) -> None:
        item = self.messages[id]
        place, positions = (user, self.chat_read) if item.in_chat else ((user, item.root), self.thread_read)
        positions[place] = max(positions[place], item.seq)  # type: ignore[index]

    def unread(self, user: str) -> tuple[int, dict[str, int]]:
        others = [each for each in self.messages.values() if each.sender != user and not each.deleted]
        in_chat = sum(each.in_chat and each.seq > self.chat_read[user] for each in others)
        roots = {root for who, root in self.following if who == user}
        return in_chat, {
            root: sum(
                each.root == root and not each.in_chat and each.seq > self.thread_read[user, root] for each in others
            )
            for root in roots
        }


@pytest.mark.parametrize("seed", range(2))
async def test_positions_and_counts_are_those_of_a_model(either: Served, seed: int) -> None:
    dice = random.Random(seed)
    people = await either.people.many(3)
    chat = await people[0].group(*people[1:])
    model = Model()

    def some(*, roots: bool = False) -> str | None:
        found = [id for id, each in model.messages.items() if not each.deleted and not (roots and each.root)]
        return dice.choice(found) if found else None

    async def step() -> None:
        person, target, root = dice.choice(people), some(), some(roots=True)
        verb = dice.choice(["send", "reply", "reply", "also", "read", "read", "read", "delete", "follow", "unfollow"])
        if verb == "send" or target is None or root is None:
            model.send(await person.send(chat))
        elif verb in ("reply", "also"):
            model.send(await person.send(chat, threadId=root, alsoInChat=verb == "also"))
        elif verb == "read":
            assert (await person.post(f"{MESSAGES}/{target}/read")).status == 200
            model.read(person.id, target)
        elif verb == "delete":
            owner = next(each for each in people if each.id == model.messages[target].sender)
            assert (await owner.delete(f"{MESSAGES}/{target}")).status == 200
            model.messages[target].deleted = True
        else:
            assert (await person.post(f"{MESSAGES}/{root}/thread/{verb}")).status == 200
            model.follow(person.id, root) if verb == "follow" else model.following.discard((person.id, root))

    async def check(person: Person) -> None:
        in_chat, in_threads = model.unread(person.id)
        total = in_chat + sum(in_threads.values())
        document = (await person.get(f"/api/v2/chats/{chat}")).json
        assert document["unreadCount"] == total
        assert (
            next(each for each in document["members"] if each["userId"] == person.id)["readSeq"]
            == model.chat_read[person.id]
        )
        listed = await threads_of(person, "?limit=200")
        assert {each["threadId"]: each["unreadCount"] for each in listed} == in_threads
        for each in listed:
            assert each["readSeq"] == model.thread_read[person.id, each["threadId"]]
            replies = [one for one in model.messages.values() if one.root == each["threadId"] and not one.deleted]
            assert each["thread"]["replyCount"] == len(replies)
            assert each["thread"]["lastSeq"] == model.last(each["threadId"])
            assert set(each["thread"]["participants"]) == {one.sender for one in replies}
        badges = partial(contexts.badges_of, user_pks=[person.user.pk], at=now())
        assert (await either.services.database.read(badges))[person.user.pk] == total

    for _ in range(25):
        for _ in range(dice.randint(1, 6)):
            await step()
        await asyncio.gather(*(check(each) for each in people))
