"""A conversation under load, its servers killed: what was acknowledged is there, and every sum is that of a recount.

``python -m tests.faults.conversation --seconds 60 --kills 10 [--postgres]``. People send, reply, mention, forward, edit,
delete, react, read, follow and pin at once; each tries until the server answers. Then rows, sums, read positions, unread
counts and what readers were shown are compared with what was answered.
"""

import argparse
import asyncio
import contextlib
import json
import os
import random
import tempfile
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import orjson
from sqlalchemy import Connection, select
from sqlalchemy.ext.asyncio import create_async_engine

from storage import models
from tests.faults import nodes as of_nodes
from tests.faults.installation import UNREACHABLE, Follower
from tests.support.guard import HANG_SECONDS
from tests.support.people import Answer
from tests.support.process import ProcessUser, ServerProcess

MESSAGES = "/api/v2/messages"
KEYS = ("👍", "❤️", ":x:", ":y:")
PEOPLE, READERS, CHATS = 8, 3, 2
RETRY_SECONDS = 0.1


@dataclass
class Sent:
    """A message that was acknowledged, as its author left it."""

    document: Any
    author: int
    content: str | None
    deleted: bool = False

    @property
    def in_chat(self) -> bool:
        return "threadId" not in self.document or self.document.get("alsoInChat", False)


@dataclass
class Known:
    """What was answered, by chat or by message."""

    sent: dict[str, Sent] = field(default_factory=dict)
    # By message, user and key.
    reactions: dict[tuple[str, int, str], bool] = field(default_factory=dict)
    # By user and chat, or user and root.
    chat_read: dict[tuple[int, str], int] = field(default_factory=lambda: defaultdict(int))
    thread_read: dict[tuple[int, str], int] = field(default_factory=lambda: defaultdict(int))
    pins: set[str] = field(default_factory=set)
    done: int = 0


class Reader(Follower):
    """What the events show: messages by id, their reactions, and the summaries of threads."""

    def __init__(self, *arguments: Any) -> None:
        self.messages: dict[str, Any] = {}
        self.reactions: dict[str, Any] = {}
        self.threads: dict[str, Any] = {}
        super().__init__(*arguments)

    def on_event(self, name: str, payload: Any) -> None:
        if name in ("message:new", "message:updated", "message:deleted"):
            self.messages[payload["_id"]] = payload
            if payload.get("deletedAt"):
                self.reactions.pop(payload["_id"], None)
        elif name == "message:reactions":
            self.reactions |= {each["messageId"]: each["reactions"] for each in payload["items"]}
        elif name == "message:thread":
            self.threads[payload["threadId"]] = payload["thread"]


class Person:
    """One user, who does one thing after the other, each until it is answered."""

    def __init__(
        self, number: int, user: ProcessUser, url: Callable[[], str], known: Known, dice: random.Random
    ) -> None:
        self.number = number
        self.user = user
        self.url = url
        self.known = known
        self.dice = dice

    async def live(self, chats: Sequence[str], everybody: Sequence["Person"], over: asyncio.Event) -> None:
        while not over.is_set():
            verb = self.dice.choice([self.send, self.reply, self.reply, self.edit, self.delete, *[self.react] * 3,
                                     *[self.read] * 3, self.follow, self.pin, self.forward])  # fmt: skip
            await verb(self.dice.choice(chats), [each.user.id for each in everybody])
            self.known.done += 1

    async def ask(self, method: str, path: str, body: Any = None) -> Answer:
        while True:
            self.user.url = self.url()
            with contextlib.suppress(ConnectionError, *UNREACHABLE):
                answer = await self.user.request(method, path, body)
                if answer.status not in (429, 503):
                    return answer
            await asyncio.sleep(RETRY_SECONDS)

    def some(self, chat: str, *, own: bool = False, roots: bool = False) -> Sent | None:
        found = [
            each
            for each in list(self.known.sent.values())[-60:]
            if each.document["chatId"] == chat
            and not each.deleted
            and not (own and each.author != self.number)
            and not (roots and "threadId" in each.document)
        ]
        return self.dice.choice(found) if found else None

    async def post(self, body: dict[str, Any]) -> None:
        key = os.urandom(8).hex()
        answer = await self.ask("POST", MESSAGES, {"type": "text", "clientMessageId": key, **body})
        if answer.status == 201:
            document = answer.json
            self.known.sent.setdefault(document["_id"], Sent(document, self.number, document["content"]))
        else:
            assert answer.status == 409, answer

    async def send(self, chat: str, ids: Sequence[str]) -> None:
        names = self.dice.sample(ids, self.dice.randint(0, 2))
        await self.post({"chatId": chat, "content": os.urandom(8).hex(), "mentions": names})

    async def reply(self, chat: str, ids: Sequence[str]) -> None:
        root = self.some(chat, roots=True)
        if root:
            named = self.dice.sample(ids, self.dice.randint(0, 1))
            also = self.dice.random() < 0.2
            body = {"threadId": root.document["_id"], "alsoInChat": also, "mentions": named}
            await self.post({"chatId": chat, "content": os.urandom(8).hex(), **body})

    async def forward(self, chat: str, ids: Sequence[str]) -> None:
        original = self.some(chat)
        if original:
            await self.post({"chatId": chat, "forwardOf": original.document["_id"]})

    async def edit(self, chat: str, ids: Sequence[str]) -> None:
        mine = self.some(chat, own=True)
        if mine:
            body = {"content": os.urandom(8).hex(), "mentions": self.dice.sample(ids, self.dice.randint(0, 2))}
            answer = await self.ask("PATCH", f"{MESSAGES}/{mine.document['_id']}", body)
            assert answer.status == 200, answer
            mine.content = str(body["content"])

    async def delete(self, chat: str, ids: Sequence[str]) -> None:
        mine = self.some(chat, own=True)
        if mine and self.dice.random() < 0.4:
            answer = await self.ask("DELETE", f"{MESSAGES}/{mine.document['_id']}")
            assert answer.status == 200, answer
            mine.deleted = True

    async def react(self, chat: str, ids: Sequence[str]) -> None:
        target = self.some(chat)
        if target:
            key, id = self.dice.choice(KEYS), target.document["_id"]
            add = self.dice.random() < 0.7
            answer = await self.ask("PUT" if add else "DELETE", f"{MESSAGES}/{id}/reactions/{key}")
            if answer.status == 200:
                self.known.reactions[id, self.number, key] = add
            else:
                assert answer.status == 409, answer

    async def read(self, chat: str, ids: Sequence[str]) -> None:
        target = self.some(chat)
        if target:
            answer = await self.ask("POST", f"{MESSAGES}/{target.document['_id']}/read")
            assert answer.status == 200, answer
            seq = target.document["seq"]
            positions = self.known.chat_read if target.in_chat else self.known.thread_read
            place = self.number, str(chat if target.in_chat else target.document["threadId"])
            positions[place] = max(positions[place], seq)

    async def follow(self, chat: str, ids: Sequence[str]) -> None:
        root = self.some(chat, roots=True)
        if root:
            verb = self.dice.choice(["follow", "unfollow"])
            await self.ask("POST", f"{MESSAGES}/{root.document['_id']}/thread/{verb}")

    async def pin(self, chat: str, ids: Sequence[str]) -> None:
        """The owner alone may."""
        target = self.some(chat)
        if target and self.number == 0:
            add, id = self.dice.random() < 0.6, target.document["_id"]
            answer = await self.ask("PUT" if add else "DELETE", f"{MESSAGES}/{id}/pin")
            if answer.status == 200:
                self.known.pins.add(id) if add else self.known.pins.discard(id)
            else:
                assert answer.status == 409, answer


# What is stored


@dataclass
class Rows:
    """The tables, each row with its columns."""

    messages: list[Any]
    by_id: dict[str, Any]
    reactions: list[Any]
    threads: list[Any]
    mentions: list[Any]
    pins: list[Any]
    members: list[Any]
    channels: list[Any]
    events: dict[int, list[int]]
    users: dict[int, str]
    chats: dict[int, str]


def read(connection: Connection) -> Rows:
    def all_of(name: str) -> list[Any]:
        return list(connection.execute(select(getattr(models, name))))

    messages = all_of("messages")
    events: dict[int, list[int]] = defaultdict(list)
    columns = models.events.c.channel_pk, models.events.c.seq
    for row in connection.execute(select(*columns).order_by(*columns)):
        events[row.channel_pk].append(row.seq)
    return Rows(
        messages=messages,
        by_id={each.id: each for each in messages},
        reactions=all_of("reactions"),
        threads=all_of("thread_members"),
        mentions=all_of("mentions"),
        pins=all_of("pins"),
        members=all_of("members"),
        channels=all_of("channels"),
        events=events,
        users={each.pk: each.id for each in all_of("users")},
        chats={each.pk: each.id for each in all_of("chats")},
    )


def check(rows: Rows, known: Known, people: Sequence[Person]) -> dict[str, int]:
    """How much is not as it was answered, and how many sums are not those of a recount."""
    by_number = {each.number: each.user.id for each in people}
    live = {row.id: row for row in rows.messages if row.deleted_at is None}
    by_place = {(row.chat_pk, row.seq): row for row in rows.messages}
    lost = sum(
        (row := rows.by_id.get(id)) is None
        or (row.seq, row.thread_id) != (each.document["seq"], each.document.get("threadId"))
        for id, each in known.sent.items()
    )
    edits = sum(
        (row := rows.by_id.get(id)) is not None
        and (row.deleted_at is not None, row.content) != (each.deleted, None if each.deleted else each.content)
        for id, each in known.sent.items()
    )
    wanted = {(id, by_number[user], key) for (id, user, key), there in known.reactions.items() if there and id in live}
    stored = {(by_place[row.chat_pk, row.seq].id, rows.users[row.user_pk], row.key) for row in rows.reactions}
    pins = {by_place[row.chat_pk, row.seq].id for row in rows.pins}
    return {
        "lost": lost,
        "edits_lost": edits,
        "reactions_lost": len(wanted - stored),
        "reactions_too_many": len(stored - wanted),
        "pins_wrong": len(pins ^ {id for id in known.pins if id in live}),
        "positions_wrong": positions_wrong(rows, known, by_number),
        "sums_wrong": sums_wrong(rows, stored) + threads_wrong(rows) + mentions_wrong(rows),
        "gaps": sum(rows.events[each.pk] != list(range(1, each.head + 1)) for each in rows.channels),
    }


def positions_wrong(rows: Rows, known: Known, by_number: dict[int, str]) -> int:
    """A chat's position is that of the newest message read there, and a thread's at least that."""
    in_chats = {(rows.users[row.user_pk], rows.chats[row.chat_pk]): row.read_seq for row in rows.members}
    roots = {(row.chat_pk, row.seq): row.id for row in rows.messages}
    in_threads = {(rows.users[row.user_pk], roots[row.chat_pk, row.root_seq]): row.read_seq for row in rows.threads}
    expected = {(by_number[user], chat): seq for (user, chat), seq in known.chat_read.items()}
    wrong = sum(bool(seq != expected.get(place, 0)) for place, seq in in_chats.items())
    return wrong + sum(
        bool(in_threads.get((by_number[user], root), -1) < seq) for (user, root), seq in known.thread_read.items()
    )


def sums_wrong(rows: Rows, stored: set[tuple[str, str, str]]) -> int:
    """Messages whose reactions, or whose numbers, are not those of the rows."""
    counted: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for id, _, key in stored:
        counted[id][key] += 1
    wrong = 0
    ordinals: dict[int, int] = defaultdict(int)
    for row in sorted(rows.messages, key=lambda each: (each.chat_pk, each.seq)):
        shown = {each["key"]: each["count"] for each in orjson.loads(row.reactions or "[]")}
        ordinals[row.chat_pk] += row.previous_seq is None
        wrong += shown != dict(counted[row.id]) or row.ordinal != ordinals[row.chat_pk]
    return wrong


def threads_wrong(rows: Rows) -> int:
    """Roots whose summary is not that of their replies."""
    replies: dict[tuple[int, int], list[Any]] = defaultdict(list)
    for row in rows.messages:
        if row.thread_seq is not None and row.deleted_at is None:
            replies[row.chat_pk, row.thread_seq].append(row)
    wrong = 0
    for row in rows.messages:
        here = replies[row.chat_pk, row.seq]
        if row.thread is None:
            wrong += bool(here)
            continue
        shown = orjson.loads(row.thread)
        wrong += (shown["reply_count"], shown["last_seq"]) != (len(here), max((each.seq for each in here), default=0))
        senders = {rows.users[each.sender_pk] for each in here}
        wrong += not set(shown["participants"]) <= senders or len(shown["participants"]) != min(5, len(senders))
    return wrong


def mentions_wrong(rows: Rows) -> int:
    wanted = {
        (pk, row.chat_pk, row.seq)
        for row in rows.messages
        if row.deleted_at is None and row.mention_all is None
        for pk, _ in orjson.loads(row.mentions or "[]")
    }
    return len(wanted ^ {(row.user_pk, row.chat_pk, row.seq) for row in rows.mentions})


async def unread_wrong(rows: Rows, people: Sequence[Person], chats: Sequence[str]) -> int:
    """Counts of chats, as REST shows them, that are not those of a recount."""
    wrong = 0
    pk_of = {id: pk for pk, id in rows.chats.items()}
    user_of = {id: pk for pk, id in rows.users.items()}
    reads = {(row.user_pk, row.chat_pk): row for row in rows.members}
    threads = {(row.user_pk, row.chat_pk, row.root_seq): row for row in rows.threads}
    for person in people:
        user_pk = user_of[person.user.id]
        for chat in chats:
            chat_pk, unread, mentioned = pk_of[chat], 0, 0
            for row in rows.messages:
                if row.chat_pk != chat_pk or row.deleted_at is not None or row.sender_pk == user_pk:
                    continue
                thread = threads.get((user_pk, chat_pk, row.thread_seq))
                position = reads[user_pk, chat_pk].read_seq
                counts = True
                if row.previous_seq is not None:
                    position, counts = (thread.read_seq, bool(thread.follows)) if thread else (0, False)
                names = {pk for pk, _ in orjson.loads(row.mentions or "[]")}
                unread += counts and row.seq > position
                mentioned += user_pk in names and row.seq > position
            document = (await person.ask("GET", f"/api/v2/chats/{chat}")).json
            wrong += (document["unreadCount"], document.get("mentionCount", 0)) != (unread, mentioned)
    return wrong


def views_wrong(rows: Rows, readers: Sequence[Reader]) -> int:
    """What readers were shown last of a message, and is not what is stored."""
    wrong = 0
    for reader in readers:
        for row in rows.messages:
            shown = reader.messages.get(row.id)
            if shown is None or (shown["content"], "deletedAt" in shown) != (row.content, row.deleted_at is not None):
                wrong += 1
            reactions = orjson.loads(row.reactions or "[]")
            wrong += reader.reactions.get(row.id, []) != reactions
            summary = orjson.loads(row.thread) if row.thread else None
            event = reader.threads.get(row.id)
            wrong += (event is None) != (summary is None) or (
                event is not None
                and summary is not None
                and (event["replyCount"], event["lastSeq"], event["participants"])
                != (summary["reply_count"], summary["last_seq"], summary["participants"])
            )
    return wrong


# The run


@contextlib.asynccontextmanager
async def on_sqlite() -> AsyncIterator[tuple[list[ServerProcess], str]]:
    with tempfile.TemporaryDirectory(prefix="bellwire-conversation-") as name:
        async with ServerProcess(Path(name) / "data") as server:
            yield [server], f"sqlite+aiosqlite:///file:{name}/data/bellwire.db?mode=ro&uri=true"


@contextlib.asynccontextmanager
async def on_postgres() -> AsyncIterator[tuple[list[ServerProcess], str]]:
    async with of_nodes.installation(2) as (here, _):
        yield here.nodes, here.database_url


# The servers, and the URL of their database.
Place = Callable[[], AbstractAsyncContextManager[tuple[list[ServerProcess], str]]]


async def run(*, seconds: float, kills: int, place: Place = on_sqlite, seed: int = 1) -> dict[str, Any]:
    dice, known = random.Random(seed), Known()
    async with place() as (nodes, url), aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        owner = await nodes[0].user(session, "owner@example.org", "--permission", "users.manage")
        users = [owner, *await owner.others(PEOPLE - 1)]
        body = {"type": "group", "name": "x", "memberIds": [each.id for each in users[1:]]}
        chats = [(await owner.post("/api/v2/chats", body)).json["_id"] for _ in range(CHATS)]

        def url_of(number: int) -> Callable[[], str]:
            return lambda: nodes[number % len(nodes)].url

        readers = [Reader(each, url_of(number), session) for number, each in enumerate(users[:READERS])]
        await asyncio.gather(*(each.connected.wait() for each in readers))
        people = [
            Person(number, user, url_of(number), known, random.Random(dice.random()))
            for number, user in enumerate(users)
        ]
        over = asyncio.Event()
        living = [asyncio.create_task(each.live(chats, people, over)) for each in people]
        began = time.monotonic()
        for number in range(kills):
            await asyncio.sleep(max(0.0, began + seconds * (number + dice.random()) / kills - time.monotonic()))
            node = dice.choice(nodes)
            await node.kill()
            await node.start()
        await asyncio.sleep(max(0.0, began + seconds - time.monotonic()))
        over.set()
        await asyncio.gather(*living)
        engine = create_async_engine(url)
        async with asyncio.timeout(HANG_SECONDS):
            # Windows of reactions end, and readers come to the end.
            while True:
                async with engine.connect() as connection:
                    rows = await connection.run_sync(read)
                heads = {each.name: each.head for each in rows.channels if each.name.startswith("chat:")}
                waits = any(row.reactions_due for row in rows.messages)
                if not waits and all(
                    each.offsets.get(name) == head for each in readers for name, head in heads.items()
                ):
                    break
                await asyncio.sleep(0.1)
        found = check(rows, known, people)
        found["unread_wrong"] = await unread_wrong(rows, people, chats)
        found["views_wrong"] = views_wrong(rows, readers)
        found["disorder"] = sum(len(each.wrong) + each.unrecovered for each in readers)
        await engine.dispose()
        await asyncio.gather(*(each.stop() for each in readers))
        found["tracebacks"] = sum(node.log.read_text().count("Traceback") for node in nodes)
    return {"done": known.done, "messages": len(known.sent), "kills": kills, **found}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.conversation", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--postgres", action="store_true", help="two nodes on PostgreSQL instead of one on SQLite")
    parser.add_argument("--seed", type=int, default=1)
    asked = vars(parser.parse_args())
    place = on_postgres if asked.pop("postgres") else on_sqlite
    print(json.dumps(asyncio.run(run(**asked, place=place)), indent=2))


if __name__ == "__main__":
    main()
