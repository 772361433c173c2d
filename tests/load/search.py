"""Searching at a size: ``python -m tests.load.search`` fills both databases with one corpus, and compares and measures.

Both must answer what a plain scan of the corpus finds. It prints the CPU that indexing takes of the server's process a
message, and how long searches take over HTTP.
"""

import argparse
import asyncio
import json
import random
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from realtime.indexing import CHATS_AT_ONCE
from server.app import serving
from server.settings import Settings
from storage.database import Database
from storage.text import fold
from storage.transaction import Command
from tests.conftest import new_database, on_server
from tests.load.servers import postgres
from tests.support import corpus
from tests.support.guard import UNHURRIED
from tests.support.people import People, Person

SEARCH = "/api/v2/messages/search"
LIMIT = 50


def expected(texts: Sequence[Sequence[str]], queries: Sequence[str]) -> list[list[tuple[int, int]]]:
    """By query, the chats and places of the messages that a scan finds."""
    scanned = [[(corpus.scan(each), fold(each)) for each in chat] for chat in texts]
    found = []
    for query in queries:
        wanted = corpus.parts(query)
        needle = max((words[0][0] for words, _ in wanted), key=len)
        found.append(
            [
                (chat, place)
                for chat, of_chat in enumerate(scanned)
                for place, (words, folded) in enumerate(of_chat)
                if needle in folded.replace("\u0640", "") and corpus.holds(words, wanted)
            ]
        )
    return found


async def first_page(person: Person, query: str, chat: str | None) -> tuple[list[str], float, bool]:
    options = {"query": query, "limit": str(LIMIT)} | ({"chatId": chat} if chat else {})
    began = time.perf_counter()
    answer = await person.get(SEARCH, params=options)
    took = time.perf_counter() - began
    assert answer.status == 200, (query, answer)
    document = answer.json
    return [each["message"]["_id"] for each in document["items"]], took, document["nextCursor"] is None


async def measure(settings: Settings, texts: list[list[str]], queries: list[str], wanted: Any) -> dict[str, Any]:
    async with serving(settings) as services, People(services) as people:
        services.indexer.stopping = True
        ann = await people.make()
        ids = await services.database.write(
            Command(lambda tx: corpus.store(tx.connection(), ann.user.pk, ann.user.tenant_pk, texts))
        )
        places = {id: (chat, place) for chat, of_chat in enumerate(ids) for place, id in enumerate(of_chat)}
        listed = (await ann.get("/api/v2/chats?limit=1")).json["items"][0]["_id"]
        services.indexer.stopping = False
        cpu, began = time.process_time(), time.perf_counter()
        left = await services.indexer.index.unindexed_chats()
        while left:
            some = set(list(left)[:CHATS_AT_ONCE])
            left = (left - some) | await services.indexer.index.update(some)
        count = len(places)
        figures: dict[str, Any] = {
            "indexing, µs of CPU a message": round((time.process_time() - cpu) / count * 1e6, 1),
            "indexing, seconds": round(time.perf_counter() - began, 1),
        }
        if services.database.path:
            figures["index, MB"] = round(services.database.path.with_suffix(".search").stat().st_size / 1e6, 1)
        chats = (await ann.get("/api/v2/chats?limit=200")).json["items"]
        assert listed == chats[0]["_id"]
        times_all, times_one, wrong, hits = [], [], [], 0
        # The latest active first: the last one that was made; in each the newest first.
        order = [sorted(each, key=lambda at: (at[0], at[1]), reverse=True) for each in wanted]
        for query, right in zip(queries, order, strict=True):
            found, took, _ = await first_page(ann, query, None)
            times_all.append(took)
            hits += len(found)
            if [places[id] for id in found] != right[: len(found)] or len(found) < min(LIMIT, len(right)):
                wrong.append(query)
            chat = chats[len(times_all) % len(chats)]
            found, took, is_last = await first_page(ann, query, chat["_id"])
            times_one.append(took)
            number = int(chat["name"].removeprefix("Chat "))
            here = [each for each in right if each[0] == number]
            if [places[id] for id in found] != here[: len(found)] or (is_last and len(found) != len(here)):
                wrong.append(f"{query} in {chat['name']}")
        for name, times in (("all chats", times_all), ("one chat", times_one)):
            cuts = statistics.quantiles(times, n=100)
            figures |= {f"{name}, ms p50": round(cuts[49] * 1e3, 1), f"{name}, ms p95": round(cuts[94] * 1e3, 1)}
        return figures | {"hits": hits, "wrong answers": len(wrong), "wrong": wrong[:5]}


async def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.load.search", description=__doc__)
    parser.add_argument("--messages", type=int, default=200_000)
    parser.add_argument("--chats", type=int, default=500)
    parser.add_argument("--queries", type=int, default=1000)
    parser.add_argument("--only", choices=["sqlite", "postgresql"])
    asked = parser.parse_args()
    source = random.Random(25)
    texts = [[corpus.text(source) for _ in range(asked.messages // asked.chats)] for _ in range(asked.chats)]
    queries = [each for each in (corpus.query(source) for _ in range(asked.queries * 2)) if len(fold(each)) > 2]
    queries = [each for each in queries if sum(len(word) for words, _ in corpus.parts(each) for word, _ in words) > 1]
    queries = queries[: asked.queries]
    wanted = expected(texts, queries)
    with tempfile.TemporaryDirectory() as folder:
        values: dict[str, Any] = {**UNHURRIED, "port": 0, "log_level": "WARNING", "max_search_chats": 10**6}
        if asked.only != "postgresql":
            settings = Settings(_env_file=None, data_dir=Path(folder) / "sqlite", **values)
            print("SQLite", json.dumps(await measure(settings, texts, queries, wanted), indent=1, ensure_ascii=False))
        if asked.only != "sqlite":
            async with postgres() as (server, _), new_database(server) as name:
                url = on_server(server, name).replace("postgresql://", "postgresql+psycopg://")
                await Database(url).migrate()
                settings = Settings(_env_file=None, data_dir=Path(folder) / "pg", database_url=url, **values)
                print(
                    "PostgreSQL",
                    json.dumps(await measure(settings, texts, queries, wanted), indent=1, ensure_ascii=False),
                )


if __name__ == "__main__":
    asyncio.run(main())
