"""The index of searches, on both databases: what it lacks, what it finds, what is left in its file, and a damaged file."""

import asyncio
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from realtime.indexing import Indexer
from server.bootstrap import index_of
from storage import log, search
from storage.database import Database
from storage.search import TEXT_AT_ONCE, IndexPosition
from storage.search_index import SLICE_MESSAGES, SearchIndex, SearchRange
from storage.search_index_sqlite import SqliteSearchIndex
from storage.transaction import Command
from storage.types import now
from storage.words import keys_of_terms, read_query
from tests.conftest import Served, ServerFactory
from tests.server.test_threads import MESSAGES, pair

FAR = 10**6


async def fill(index: SearchIndex) -> None:
    left = await index.unindexed_chats()
    while left:
        left = await index.update(left)


async def find(index: SearchIndex, chat_pk: int, query: str, *, before: int = FAR, most: int = 100) -> list[int]:
    (found,) = await index.find([SearchRange(chat_pk, before)], keys_of_terms(read_query(query)), most=most)
    return list(found.seqs)


async def chat_number(server: Served, chat: str) -> int:
    return await server.services.chats.numbers.find(server.services.accounts.default_tenant.pk, chat)


@pytest.fixture
async def alone(either: Served) -> Served:
    """A server that indexes nothing by itself."""
    either.services.indexer.stopping = True
    return either


async def test_it_follows_the_messages(alone: Served) -> None:
    index = alone.services.indexer.index
    ann, _, chat = await pair(alone)
    pk = await chat_number(alone, chat)
    sent = [await ann.send(chat, f"plum {number}") for number in range(SLICE_MESSAGES + 30)]
    assert pk in await index.unindexed_chats()
    await fill(index)
    assert await index.unindexed_chats() == set()
    seqs = [each["seq"] for each in sent]
    assert await find(index, pk, "plum", most=FAR) == seqs[::-1]
    assert await find(index, pk, "plum", before=seqs[5], most=3) == [seqs[4], seqs[3], seqs[2]]
    assert await find(index, pk, "plum 7") == [seqs[number] for number in sorted([7, *range(70, 80)], reverse=True)]
    await ann.patch(f"{MESSAGES}/{sent[3]['_id']}", {"content": "pear"})
    await ann.delete(f"{MESSAGES}/{sent[4]['_id']}")
    changes = await alone.services.database.read(
        lambda it: search.unindexed(it, {pk: IndexPosition(seqs[-1], seqs[-1])}, limit=10)
    )
    assert [(each.texts, each.is_complete) for each in changes] == [({seqs[3]: "pear", seqs[4]: None}, True)]
    await fill(index)
    assert await find(index, pk, "pear") == [seqs[3]]
    assert not {seqs[3], seqs[4]} & set(await find(index, pk, "plum", most=FAR))


async def test_a_chat_whose_log_is_gone_is_indexed_again(alone: Served) -> None:
    index, database = alone.services.indexer.index, alone.services.database
    ann, _, chat = await pair(alone)
    pk = await chat_number(alone, chat)
    sent = [await ann.send(chat, f"plum {number}") for number in range(5)]
    await fill(index)
    await ann.patch(f"{MESSAGES}/{sent[0]['_id']}", {"content": "pear"})
    head = (await database.read(search.heads))[pk]
    await database.write(Command(lambda tx: log.trim(tx, {pk: head}), channels=[pk]))
    assert await index.unindexed_chats() == {pk}
    await fill(index)
    assert await find(index, pk, "pear") == [sent[0]["seq"]]
    assert await find(index, pk, "plum") == [each["seq"] for each in sent[:0:-1]]


async def test_a_deleted_chat_leaves_nothing(alone: Served) -> None:
    index = alone.services.indexer.index
    ann, _, chat = await pair(alone)
    pk = await chat_number(alone, chat)
    for number in range(SLICE_MESSAGES + 5):
        await ann.send(chat, f"plum {number}")
    await fill(index)
    assert (await ann.delete(f"/api/v2/chats/{chat}")).status == 200
    await fill(index)
    assert await find(index, pk, "plum") == []
    (found,) = await index.find([SearchRange(pk, FAR)], keys_of_terms(read_query("plum")), most=1)
    assert found.position == IndexPosition()


async def test_rebuilding(alone: Served) -> None:
    index = alone.services.indexer.index
    ann, _, chat = await pair(alone)
    pk = await chat_number(alone, chat)
    await ann.send(chat, "plum")
    await fill(index)
    before = index.generation
    await alone.services.indexer.rebuild()
    assert index.generation == before + 1
    (found,) = await index.find([SearchRange(pk, FAR)], keys_of_terms(read_query("plum")), most=1)
    assert found.position == IndexPosition()
    await fill(index)
    assert len(await find(index, pk, "plum")) == 1


async def test_searches_during_a_rebuild(either: Served) -> None:
    """Each finds what is there, whenever the index is built again."""
    ann, _, chat = await pair(either)
    sent = [(await ann.send(chat, f"plum {number}"))["_id"] for number in range(20)]
    indexer = either.services.indexer

    async def rebuild() -> None:
        for _ in range(10):
            await indexer.rebuild()
            await indexer.work()

    async def search() -> None:
        for _ in range(15):
            page = (await ann.get(f"{MESSAGES}/search?query=plum")).json
            assert [each["message"]["_id"] for each in page["items"]] == sent[::-1], page

    await asyncio.gather(rebuild(), *(search() for _ in range(4)))


async def test_an_update_that_is_cancelled_leaves_the_index_usable(alone: Served) -> None:
    index = alone.services.indexer.index
    ann, _, chat = await pair(alone)
    pk = await chat_number(alone, chat)
    for number in range(50):
        await ann.send(chat, f"plum {number}")
    for wait in (0, 0.001, 0.002, 0.004, 0.008, 0.016):
        task = asyncio.create_task(index.update([pk]))
        await asyncio.sleep(wait)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await index.update([pk])
        await alone.services.indexer.rebuild()
    await fill(index)
    assert len(await find(index, pk, "plum")) == 50


async def test_a_slice_has_so_much_text(alone: Served) -> None:
    """Of many chats with long messages some wait for the next slice."""
    index, database = alone.services.indexer.index, alone.services.database
    ann, _, chat = await pair(alone)
    chats = [chat, *[await ann.group() for _ in range(3)]]
    for each in chats:
        for _ in range(5):
            await ann.send(each, "plum " * 3000)
    positions = {await chat_number(alone, each): IndexPosition() for each in chats}
    changes = await database.read(lambda it: search.unindexed(it, positions, limit=200))
    size = sum(len(text or "") for each in changes for text in each.texts.values())
    assert TEXT_AT_ONCE <= size < TEXT_AT_ONCE + 16_384
    assert [each.is_complete for each in changes] == [True, False, False, False]
    await fill(index)
    for pk in positions:
        assert len(await find(index, pk, "plum")) == 5


async def test_a_process_finds_what_another_left(alone: Served) -> None:
    """At its start, and where the index is shared every minute; deleted chats every hour."""
    services = alone.services
    ann, _, chat = await pair(alone)
    pk = await chat_number(alone, chat)
    await ann.send(chat, "plum")
    indexer = Indexer(services.indexer.index)
    await indexer.work()
    assert await find(indexer.index, pk, "plum") != []
    await ann.send(chat, "plum")
    await indexer.work()
    assert len(await find(indexer.index, pk, "plum")) == 1, "it has just looked"
    indexer.scanned_at -= 1000
    await indexer.work()
    assert len(await find(indexer.index, pk, "plum")) == (2 if indexer.index.is_shared else 1)
    await ann.delete(f"/api/v2/chats/{chat}")
    await indexer.compact()
    await indexer.work()
    assert await find(indexer.index, pk, "plum") == []


async def test_two_processes_index_at_once(postgres_database: str, serve: ServerFactory) -> None:
    """Each takes the chats that the other has not, and nothing is missed."""
    nodes = [await serve(database_url=postgres_database, jwt_secret="s" * 40) for _ in range(2)]
    for node in nodes:
        node.services.indexer.stopping = True
    ann = await nodes[0].people.make()
    chats = [await ann.group() for _ in range(8)]
    for number in range(6):
        for chat in chats:
            await ann.send(chat, f"plum {number}")
    pks = [await chat_number(nodes[0], chat) for chat in chats]

    async def work(node: Served) -> None:
        left = set(pks)
        while left:
            left = await node.services.indexer.index.update(left)

    await asyncio.gather(*(work(node) for node in nodes for _ in range(2)))
    for node in nodes:
        assert await node.services.indexer.index.unindexed_chats() == set()
        for pk in pks:
            assert len(await find(node.services.indexer.index, pk, "plum")) == 6


# The file of SQLite


async def filled(server: Served, count: int = 300) -> tuple[SqliteSearchIndex, str]:
    ann, _, chat = await pair(server)
    source = random.Random(1)
    for number in range(count):
        await ann.send(chat, f"plum {number} {source.random()}")
    index = server.services.indexer.index
    assert isinstance(index, SqliteSearchIndex)
    await fill(index)
    return index, chat


def bytes_of(path: Path) -> bytes:
    return b"".join(each.read_bytes() for each in sorted(path.parent.glob(f"{path.name}*")))


async def test_deleted_text_leaves_the_file(server: Served) -> None:
    server.services.indexer.stopping = True
    index, _ = await filled(server)
    ann = await server.people.make()
    secret = await ann.send(await ann.group(), "zebrastripes quaggahide")
    edited = await ann.send(secret["chatId"], "okapineck")
    await fill(index)
    assert all(word in bytes_of(index.path) for word in (b"zebrastripes", b"okapineck"))
    await ann.delete(f"{MESSAGES}/{secret['_id']}")
    await ann.patch(f"{MESSAGES}/{edited['_id']}", {"content": "giraffe"})
    await fill(index)
    assert not await index.compact(before=now() - 10**9), "it is done later, for many at once"
    assert await index.compact(before=now() + 1)
    left = bytes_of(index.path)
    # FTS5 writes the beginning of a word that it shares with the one before only once.
    assert not [word for word in (b"zebra", b"stripes", b"quagga", b"hide", b"okapi", b"neck") if word in left]
    assert b"giraffe" in left
    assert not await index.compact(before=now() + 1)


def half(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def gone(path: Path) -> None:
    path.unlink()


def noise(path: Path) -> None:
    size = path.stat().st_size
    path.write_bytes(path.read_bytes()[:4096] + random.Random(2).randbytes(size - 4096))


def empty(path: Path) -> None:
    path.write_bytes(b"")


DAMAGES = [half, gone, noise, empty]


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
@pytest.mark.parametrize("while_open", [True, False], ids=["open", "closed"])
async def test_a_damaged_file_is_built_again(server: Served, damage: Callable[[Path], None], while_open: bool) -> None:
    server.services.indexer.stopping = True
    index, chat = await filled(server)
    pk = await chat_number(server, chat)
    before = await find(index, pk, "plum", most=FAR)
    assert len(before) == 300
    if not while_open:
        await index.close()
    damage(index.path)
    if while_open:
        # What was read before may be answered from memory.
        assert await find(index, pk, "plum", most=FAR) in (before, [])
        await index.close()
    assert await find(index, pk, "plum", most=FAR) == [], "as of a position that says so"
    await fill(index)
    assert await find(index, pk, "plum", most=FAR) == before


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
async def test_a_file_that_is_damaged_when_it_is_closed(server: Served, damage: Callable[[Path], None]) -> None:
    server.services.indexer.stopping = True
    index, chat = await filled(server)
    pk = await chat_number(server, chat)
    damage(index.path)
    assert index.file
    # Nothing is answered from memory.
    index.file.writer.execute("PRAGMA shrink_memory")
    await index.close()
    assert await find(index, pk, "plum", most=FAR) == []
    await fill(index)
    assert len(await find(index, pk, "plum", most=FAR)) == 300


@pytest.mark.parametrize("part", ["log", "file"])
async def test_a_process_that_was_killed(server: Served, tmp_path: Path, part: str) -> None:
    """What it left behind is checked; without its log it is not used."""
    server.services.indexer.stopping = True
    index, chat = await filled(server)
    pk = await chat_number(server, chat)
    before = await find(index, pk, "plum", most=FAR)
    copy = tmp_path / "killed.search"
    for suffix in ("", "-wal"):
        Path(f"{copy}{suffix}").write_bytes(Path(f"{index.path}{suffix}").read_bytes())
    if part == "log":
        Path(f"{copy}-wal").unlink()
    other = SqliteSearchIndex(server.services.database, copy)
    (found,) = await other.find([SearchRange(pk, FAR)], keys_of_terms(read_query("plum")), most=FAR)
    assert other.generation == (1 if part == "log" else 0)
    assert list(found.seqs) == ([] if part == "log" else before)
    await other.close()


async def test_a_file_of_another_database_is_not_used(server: Served, tmp_path: Path) -> None:
    server.services.indexer.stopping = True
    index, _ = await filled(server, 3)
    database = Database(f"sqlite:///{tmp_path / 'other.db'}")
    await database.start()
    await index.close()
    copy = tmp_path / "other.search"
    copy.write_bytes(index.path.read_bytes())
    other = index_of(database)
    assert isinstance(other, SqliteSearchIndex) and other.path == copy
    assert await other.unindexed_chats() == set()
    assert other.generation == 1
    await other.close()
    await database.close()
