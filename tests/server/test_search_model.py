"""Random steps with searches between them, compared with a model: nobody finds what they may not read, what is deleted or
edited away, and nothing that was acknowledged is missed.

``BELLWIRE_TEST_SEARCH_STEPS`` makes it as long as a proof.
"""

import os
import random
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from storage import log, search
from storage.search_index_sqlite import SqliteSearchIndex
from storage.transaction import Command
from tests.conftest import Served, ServerFactory
from tests.server.test_search import found
from tests.server.test_threads import MESSAGES
from tests.storage.test_search_index import DAMAGES
from tests.support import corpus
from tests.support.people import Person

STEPS = int(os.environ.get("BELLWIRE_TEST_SEARCH_STEPS", "150"))
WORDS = (
    "plum",
    "Plumber",
    "öl",
    "ÖLÇÜ",
    "今日",
    "今日は晴れ",
    "ılık",
    "ILIK su",
    "👍",
    "red plum tree",
    "tree red",
    "x9",
)
QUERIES = (
    *(each for each in WORDS if len(each) > 1),
    "pl",
    "plu",
    '"plum tree"',
    '"red plum',
    "日は",
    "olc",
    "tree plum",
    "ili",
    "👍 pl",
    "nothing",
)


@dataclass
class Sent:
    id: str
    seq: int
    sender: str
    content: str | None


@dataclass
class Room:
    """A chat of the model: for each member the first seq that they see."""

    id: str
    visible: str
    first: dict[str, int]
    sent: list[Sent] = field(default_factory=list)


class Model:
    def __init__(self, server: Served, source: random.Random, people: list[Person], rooms: list[Room]) -> None:
        self.server = server
        self.source = source
        self.owner, *self.others = people
        self.rooms = rooms
        self.alive = {each.id: each for each in people}

    def text(self) -> str:
        return " ".join(self.source.sample(WORDS, self.source.randrange(1, 3)))

    def room(self) -> Room:
        return self.source.choice(self.rooms)

    def member(self, room: Room) -> Person:
        return self.alive[self.source.choice(sorted(room.first))]

    async def send(self) -> None:
        room = self.room()
        person, content = self.member(room), self.text()
        message = await person.send(room.id, content)
        room.sent.append(Sent(message["_id"], message["seq"], person.id, content))

    async def change(self) -> None:
        """An edit or a deletion of somebody's own message, or a deletion by the owner."""
        room = self.room()
        some = [each for each in room.sent if each.content is not None]
        if not some:
            return
        sent = self.source.choice(some)
        author = self.alive.get(sent.sender) if room.first.get(sent.sender, sent.seq + 1) <= sent.seq else None
        if author and self.source.random() < 0.5:
            content = self.text()
            assert (await author.patch(f"{MESSAGES}/{sent.id}", {"content": content})).status == 200
            sent.content = content
        else:
            assert (await self.owner.delete(f"{MESSAGES}/{sent.id}")).status == 200
            sent.content = None

    async def join(self) -> None:
        room = self.room()
        absent = [each for each in self.others if each.id in self.alive and each.id not in room.first]
        if absent:
            person = self.source.choice(absent)
            answer = await self.owner.post(f"/api/v2/chats/{room.id}/members", {"userIds": [person.id]})
            assert answer.status == 201, answer
            (member,) = [each for each in answer.json["members"] if each["userId"] == person.id]
            room.first[person.id] = 1 if room.visible == "all" else member["joinedSeq"] + 1

    async def leave(self) -> None:
        """By oneself, removed, or banned."""
        room = self.room()
        present = [each for each in room.first if each != self.owner.id]
        if not present:
            return
        person = self.alive[self.source.choice(sorted(present))]
        path = f"/api/v2/chats/{room.id}"
        kind = self.source.randrange(3)
        if kind == 0:
            answer = await person.post(f"{path}/leave")
        elif kind == 1:
            answer = await self.owner.delete(f"{path}/members/{person.id}")
        else:
            answer = await self.owner.post(f"{path}/members/{person.id}/ban", {})
        assert answer.status == 200, answer
        del room.first[person.id]

    async def erase(self) -> None:
        person = self.source.choice([each for each in self.others if each.id in self.alive])
        if len(self.alive) < 4:
            return
        assert (await self.owner.delete(f"/api/v1/admin/users/{person.id}")).status == 200
        await self.server.services.erasure.work()
        del self.alive[person.id]
        for room in self.rooms:
            room.first.pop(person.id, None)
            for sent in room.sent:
                if sent.sender == person.id:
                    sent.content = None

    async def retain(self) -> None:
        """The log is cut, at its end or somewhere before."""
        database, room = self.server.services.database, self.room()
        pk = await self.server.services.chats.numbers.find(self.owner.user.tenant_pk, room.id)
        upto = self.source.randrange((await database.read(search.heads))[pk] + 1)
        await database.write(Command(lambda tx: log.trim(tx, {pk: upto}), channels=[pk]))

    async def index(self) -> None:
        await self.server.services.indexer.work()

    async def damage(self) -> None:
        """The index's file, of a process that runs or between two; PostgreSQL has none."""
        index = self.server.services.indexer.index
        if isinstance(index, SqliteSearchIndex) and index.path.exists():
            if self.source.random() < 0.5:
                await index.close()
            if index.path.stat().st_size > 0:
                self.source.choice(DAMAGES)(index.path)

    async def search(self) -> None:
        person = self.source.choice(list(self.alive.values()))
        query = self.source.choice(QUERIES)
        room = self.room() if self.source.random() < 0.5 else None
        if room is not None and person.id not in room.first:
            answer = await person.get(f"{MESSAGES}/search", params={"query": query, "chatId": room.id})
            assert answer.status == 404, answer
            return
        rooms = [room] if room else [each for each in self.rooms if person.id in each.first]
        wanted = corpus.parts(query)
        expected = {
            each.id: [
                sent.id
                for sent in reversed(each.sent)
                if sent.seq >= each.first[person.id]
                and sent.content is not None
                and corpus.holds(corpus.scan(sent.content), wanted)
            ]
            for each in rooms
        }
        options = {"limit": str(self.source.choice((1, 5, 50)))} | ({"chatId": room.id} if room else {})
        ids = await found(person, query, **options)
        assert set(ids) == {id for each in expected.values() for id in each}, query
        for of_room in expected.values():
            assert [id for id in ids if id in set(of_room)] == of_room, "the newest first"


async def build(server: Served, source: random.Random) -> Model:
    owner = await server.people.make(grant=["admin"])
    others = await server.people.many(6)
    rooms = []
    for visible in ("joined", "all", "joined"):
        members = source.sample(others, 3)
        chat = await owner.group(*members, historyVisible=visible)
        rooms.append(Room(chat, visible, dict.fromkeys([owner.id, *(each.id for each in members)], 1)))
    return Model(server, source, [owner, *others], rooms)


@pytest.mark.parametrize("seed", [1, 2])
async def test_searches_are_those_of_a_model(database_url: str, serve: ServerFactory, seed: int) -> None:
    server = await serve(deleted_messages="remove", database_url=database_url, max_search_candidates=40)
    source = random.Random(seed)
    model = await build(server, source)
    kinds: list[Callable[[], object]] = [model.send, model.change, model.join, model.leave, model.retain, model.index]
    weights = [30, 12, 5, 4, 2, 4]
    for _ in range(STEPS):
        (step,) = source.choices([*kinds, model.erase, model.damage], [*weights, 0.3, 2])
        await step()  # type: ignore[misc]
        await model.search()
    assert any(room.sent for room in model.rooms)
