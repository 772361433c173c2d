"""The index of searches, on both databases: what it lacks, what it finds, what is left in its file, and a damaged file."""

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from server.bootstrap import index_of
from storage import log, search
from storage.database import Database
from storage.search import IndexPosition
from storage.search_index import SLICE_MESSAGES, SearchIndex, SearchRange
from storage.search_index_sqlite import SqliteSearchIndex
from storage.transaction import Command
from storage.types import now
from storage.words import keys_of_terms, read_query
from tests.conftest import Served
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
    assert await find(index, pk, "plum") == []
    await fill(index)
    assert len(await find(index, pk, "plum")) == 1


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
