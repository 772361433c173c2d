"""Credits under attack: each key sent several times at once, the server killed again and again, and all of it counted.

python -m tests.faults.credits --keys 5000 --kills 50 [--database-url postgresql+asyncpg://…]
"""

import argparse
import asyncio
import json
import random
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
from sqlalchemy import Connection, text
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from storage import credits
from tests.process import ProcessUser, ServerProcess

# 16 keys at a time, each sent one to eight times at once: some 70 requests under way.
ACCOUNTS, GRANTED, KEYS_AT_ONCE = 20, 1_000, 16
PATH = "/api/v2/messages"


@dataclass
class Attack:
    """One transfer under one key, and what was answered: a status and bytes, each time anything was."""

    giver: ProcessUser
    taker: ProcessUser
    amount: int
    key: str
    copies: int
    answers: list[tuple[int, bytes]] = field(default_factory=list)

    async def send(self, up: asyncio.Event) -> None:
        """Until there is an answer; what the network took is unknown, and sent again."""
        body = {"type": "creditTransfer", "targetUserId": self.taker.id, "creditTransfer": {"amount": self.amount}}
        while True:
            await up.wait()
            try:
                answer = await self.giver.post(PATH, body, headers={"Idempotency-Key": self.key})
            except (aiohttp.ClientError, OSError, TimeoutError):
                await asyncio.sleep(0.05)
                continue
            if answer.status != 503:
                self.answers.append((answer.status, answer.body))
                return
            await asyncio.sleep(0.05)


def ledger_and_messages(connection: Connection) -> dict[str, int]:
    """Entries without a message, and messages without their entries."""
    entries = "SELECT count(*) FROM credit_transactions t WHERE kind = 'transfer' AND NOT EXISTS "
    rows = "SELECT count(*) FROM messages m WHERE type = 'creditTransfer' AND NOT EXISTS "
    return {
        "entries_without_message": connection.execute(
            text(entries + "(SELECT 1 FROM messages m WHERE m.id = t.message_id)")
        ).scalar_one(),
        "messages_without_entry": connection.execute(
            text(rows + "(SELECT 1 FROM credit_transactions t WHERE t.message_id = m.id)")
        ).scalar_one(),
        "transfers": connection.execute(
            text("SELECT count(*) FROM credit_transactions WHERE kind = 'transfer'")
        ).scalar_one(),
    }


async def watch(engine: AsyncEngine, wrong: list[Any], seen: list[int]) -> None:
    """Look at the ledger from outside, all the time: every snapshot must add up."""
    while True:
        async with engine.connect() as connection:
            if engine.dialect.name == "postgresql":
                await connection.execution_options(isolation_level="REPEATABLE READ")
            else:
                await connection.exec_driver_sql("BEGIN")
            audit = await connection.run_sync(credits.audit)
            seen.append(1)
            if any(audit):
                wrong.append(audit)
        await asyncio.sleep(0.2)


async def run(folder: Path, *, keys: int, kills: int, database_url: str = "", seed: int = 5) -> dict[str, Any]:
    dice = random.Random(seed)
    settings = {"database_url": database_url} if database_url else {}
    async with ServerProcess(folder / "data", **settings) as server, aiohttp.ClientSession() as session:
        admin = await server.user(session, "admin@example.org", "--permission", "admin")
        people = await admin.others(ACCOUNTS)
        for each in people:
            answer = await admin.post("/api/v1/credits/grants", {"userId": each.id, "amount": GRANTED})
            assert answer.status == 201, answer
        file = f"sqlite+aiosqlite:///file:{folder / 'data/bellwire.db'}?mode=ro&uri=true"
        engine = create_async_engine(database_url or file)
        wrong: list[Any] = []
        seen: list[int] = []
        watching = asyncio.create_task(watch(engine, wrong, seen))
        attacks = [
            Attack(*dice.sample(people, 2), dice.randint(1, 400), f"key-{number}", dice.randint(1, 8))
            for number in range(keys)
        ]
        up = asyncio.Event()
        up.set()
        waiting = iter(attacks)

        async def work() -> None:
            for attack in waiting:
                await asyncio.gather(*(attack.send(up) for _ in range(attack.copies)))

        workers = [asyncio.create_task(work()) for _ in range(KEYS_AT_ONCE)]
        done = asyncio.gather(*workers)
        killed = 0
        while killed < kills and not done.done():
            await asyncio.sleep(dice.uniform(0.1, 0.6))
            up.clear()
            await server.kill()
            killed += 1
            await server.start()
            up.set()
        await done
        watching.cancel()
        async with engine.connect() as connection:
            audit = await connection.run_sync(credits.audit)
            counted = await connection.run_sync(ledger_and_messages)
        await engine.dispose()
        balances = [(await each.get("/api/v1/credits")).json["data"]["balance"] for each in people]
        log = server.log.read_text()
    accepted = [each for each in attacks if any(status == 201 for status, _ in each.answers)]
    return {
        "keys": keys,
        "sent": sum(each.copies for each in attacks),
        "kills": killed,
        "accepted": len(accepted),
        "refused": len(attacks) - len(accepted),
        "snapshots": len(seen),
        "snapshots_that_do_not_add_up": len(wrong),
        "audit": list(audit),
        "total": sum(balances),
        "negative": sum(each < 0 for each in balances),
        "keys_with_two_effects": counted["transfers"] - len(accepted),
        "keys_with_two_answers": sum(len({body for s, body in each.answers if s == 201}) > 1 for each in attacks),
        "other_statuses": sorted({status for each in attacks for status, _ in each.answers} - {201, 409}),
        "entries_without_message": counted["entries_without_message"],
        "messages_without_entry": counted["messages_without_entry"],
        "tracebacks": log.count("Traceback"),
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.credits", description=__doc__)
    parser.add_argument("--keys", type=int, default=5000)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--database-url", default="", help="an empty, migrated PostgreSQL database")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bellwire-credits-") as name:
        work = run(Path(name), keys=asked.keys, kills=asked.kills, database_url=asked.database_url)
        print(json.dumps(asyncio.run(work), indent=2))


if __name__ == "__main__":
    main()
