"""A storm of reactions to one chat, its server killed: ``python -m tests.faults.reactions --users 2000 --kills 5``.

Every acknowledged reaction is there, readers end with what the database has, the chat gets one event a second at most, and a
replay of all of it shows no reaction on a tombstone.
"""

import argparse
import asyncio
import contextlib
import itertools
import json
import random
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import orjson
from sqlalchemy import select
from sqlalchemy.ext.asyncio import create_async_engine

from realtime.reactions import WINDOW_SECONDS
from storage.models import events
from storage.types import SECOND
from tests.faults.conversation import RETRY_SECONDS, Reader, Rows, read
from tests.faults.installation import UNREACHABLE
from tests.support.guard import HANG_SECONDS
from tests.support.process import ProcessUser, ServerProcess

KEYS = ("👍", "❤️", "😂", ":x:", ":y:", ":z:")
READERS = 10
ADDED_AT_ONCE = 400
# A timer may fire a little early, see ``show_changed``.
SHORTEST_SECONDS = 0.9 * WINDOW_SECONDS


@dataclass
class Wish:
    """A reaction, and in the end whether the user wants it there."""

    user: ProcessUser
    message_id: str
    key: str
    at: float
    there: bool
    refused: bool = False
    slowest: float = 0.0


async def fulfil(wish: Wish, server: ServerProcess, began: float) -> None:
    """React at its time, and take back what is not to stay; each until it is answered."""
    await asyncio.sleep(max(0.0, began + wish.at - time.monotonic()))
    path = f"/api/v2/messages/{wish.message_id}/reactions/{wish.key}"
    for method in ("PUT",) if wish.there else ("PUT", "DELETE"):
        asked = time.monotonic()
        while True:
            wish.user.url = server.url
            with contextlib.suppress(ConnectionError, *UNREACHABLE):
                answer = await wish.user.request(method, path)
                if answer.status not in (429, 503):
                    assert answer.status in (200, 409), answer
                    wish.refused = answer.status == 409
                    break
            await asyncio.sleep(RETRY_SECONDS)
        wish.slowest = max(wish.slowest, time.monotonic() - asked)


async def chat_of(owner: ProcessUser, users: list[ProcessUser]) -> str:
    body = {"type": "group", "name": "Storm", "memberIds": [each.id for each in users[:ADDED_AT_ONCE]]}
    chat = str((await owner.post("/api/v2/chats", body)).json["_id"])
    for some in (users[place : place + ADDED_AT_ONCE] for place in range(ADDED_AT_ONCE, len(users), ADDED_AT_ONCE)):
        answer = await owner.post(f"/api/v2/chats/{chat}/members", {"userIds": [each.id for each in some]})
        assert answer.status == 201, answer
    return chat


async def run(*, users: int, messages: int, seconds: float, kills: int, seed: int = 1) -> dict[str, Any]:
    dice = random.Random(seed)
    with tempfile.TemporaryDirectory(prefix="bellwire-reactions-") as name:
        connector = aiohttp.TCPConnector(limit=300)
        async with ServerProcess(Path(name) / "data") as server, aiohttp.ClientSession(connector=connector) as session:
            owner = await server.user(session, "owner@example.org", "--permission", "users.manage")
            people = await owner.others(users)
            chat = await chat_of(owner, people)
            before = (await owner.get(f"/api/v2/chats/{chat}")).json["seq"]
            sent = []
            for number in range(messages):
                body = {"type": "text", "chatId": chat, "content": f"message {number}"}
                sent.append((await owner.post("/api/v2/messages", body)).json["_id"])
            readers = [Reader(each, lambda: server.url, session) for each in people[:READERS]]
            await asyncio.gather(*(each.connected.wait() for each in readers))
            wishes = [
                Wish(user, id, dice.choice(KEYS), dice.uniform(0, seconds), dice.random() < 0.8)
                for user in people
                for id in dice.sample(sent, 2)
            ]
            began = time.monotonic()
            storming = [asyncio.create_task(fulfil(each, server, began)) for each in wishes]
            gone: set[str] = set()
            for number in range(kills):
                await asyncio.sleep(max(0.0, began + seconds * (number + dice.random()) / kills - time.monotonic()))
                await server.kill()
                await server.start()
                owner.url = server.url
                id = dice.choice([each for each in sent if each not in gone])
                assert (await owner.delete(f"/api/v2/messages/{id}")).status == 200
                gone.add(id)
            await asyncio.gather(*storming)
            engine = create_async_engine(f"sqlite+aiosqlite:///file:{name}/data/bellwire.db?mode=ro&uri=true")
            rows, times = await settled(engine, chat, readers)
            epoch = readers[0].epoch
            late = Reader(people[-1], lambda: server.url, session)
            late.offsets, late.epoch = {f"chat:{chat}": before}, epoch
            async with asyncio.timeout(HANG_SECONDS):
                while late.offsets[f"chat:{chat}"] < head_of(rows, chat):
                    await asyncio.sleep(0.05)
            await engine.dispose()
            await asyncio.gather(*(each.stop() for each in (*readers, late)))
            tracebacks = server.log.read_text().count("Traceback")
    wanted = {
        (each.message_id, each.user.id, each.key) for each in wishes if each.there and each.message_id not in gone
    }
    by_place = {(row.chat_pk, row.seq): row.id for row in rows.messages}
    stored = {(by_place[row.chat_pk, row.seq], rows.users[row.user_pk], row.key) for row in rows.reactions}
    states = {row.id: orjson.loads(row.reactions or "[]") for row in rows.messages}
    waits = sorted(each.slowest for each in wishes)
    return {
        "acknowledged": sum(1 if each.there else 2 for each in wishes if not each.refused),
        "messages": messages,
        "kills": kills,
        "events": len(times),
        "p50_ms": round(1000 * waits[len(waits) // 2]),
        "lost": len(wanted - stored),
        "too_many": len(stored - wanted),
        "refused_wrongly": sum(each.refused and each.message_id not in gone for each in wishes),
        "sums_wrong": sum(
            sum(each["count"] for each in state) != sum(id == found for found, _, _ in stored)
            for id, state in states.items()
        ),
        "readers_wrong": sum(
            reader.reactions.get(id, []) != state for reader in (*readers, late) for id, state in states.items()
        ),
        "on_tombstones": sum(id in late.reactions for id in gone),
        "too_often": sum(later - earlier < SHORTEST_SECONDS * SECOND for earlier, later in itertools.pairwise(times)),
        "disorder": sum(len(each.wrong) + each.unrecovered for each in (*readers, late)),
        "tracebacks": tracebacks,
    }  # fmt: skip


def head_of(rows: Rows, chat: str) -> int:
    return next(int(each.head) for each in rows.channels if each.name == f"chat:{chat}")


async def settled(engine: Any, chat: str, readers: list[Reader]) -> tuple[Rows, list[int]]:
    """What is stored when nothing waits to be shown, and when the events were; readers have all of it by then."""
    times = select(events.c.at).where(events.c.name == "message:reactions").order_by(events.c.seq)
    async with asyncio.timeout(HANG_SECONDS):
        while True:
            async with engine.connect() as connection:
                rows = await connection.run_sync(read)
                at = list((await connection.execute(times)).scalars())
            head = head_of(rows, chat)
            if not any(row.reactions_due for row in rows.messages) and all(
                each.offsets.get(f"chat:{chat}") == head for each in readers
            ):
                return rows, at
            await asyncio.sleep(0.1)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.reactions", description=__doc__)
    parser.add_argument("--users", type=int, default=2000)
    parser.add_argument("--messages", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--kills", type=int, default=5)
    print(json.dumps(asyncio.run(run(**vars(parser.parse_args()))), indent=2))


if __name__ == "__main__":
    main()
