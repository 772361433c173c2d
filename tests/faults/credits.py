"""Credits under attack: each key sent several times at once, the server killed again and again, and all of it counted.

python -m tests.faults.credits --keys 5000 --kills 50 [--database-url postgresql://…]
"""

import argparse
import asyncio
import contextlib
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
from tests.support.guard import HANG_SECONDS
from tests.support.process import ProcessUser, ServerProcess

ACCOUNTS, GRANTED, WORKERS = 20, 1_000, 64
# The ledger is looked at so many times, at least.
SNAPSHOTS = 4
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


def effects(connection: Connection) -> dict[str, int]:
    """How many transfers there are under each key."""
    rows = connection.execute(
        text(
            "SELECT m.client_key, count(*) FROM credit_transactions t JOIN messages m ON m.id = t.message_id "
            "WHERE t.kind = 'transfer' GROUP BY m.client_key"
        )
    )
    return {row[0]: row[1] for row in rows}


def alone(connection: Connection) -> int:
    """Transfers without a message."""
    statement = (
        "SELECT count(*) FROM credit_transactions t WHERE kind = 'transfer' AND NOT EXISTS "
        "(SELECT 1 FROM messages m WHERE m.id = t.message_id)"
    )
    return int(connection.execute(text(statement)).scalar_one())


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
        attacks: list[Attack] = []
        killed = 0
        up = asyncio.Event()
        up.set()

        async def work() -> None:
            # There are attacks as long as there are kills.
            while len(attacks) < keys or killed < kills:
                number, copies = len(attacks), dice.randint(1, 8)
                giver, taker = dice.sample(people, 2)
                attack = Attack(giver, taker, dice.randint(1, 400), f"key-{number}", copies)
                attacks.append(attack)
                await asyncio.gather(*(attack.send(up) for _ in range(copies)))

        workers = [asyncio.create_task(work()) for _ in range(WORKERS)]
        while killed < kills:
            await asyncio.sleep(dice.uniform(0.1, 0.6))
            up.clear()
            await server.kill()
            killed += 1
            await server.start()
            up.set()
        await asyncio.gather(*workers)
        async with asyncio.timeout(HANG_SECONDS):
            while len(seen) < SNAPSHOTS:
                await asyncio.sleep(0.05)
        watching.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await watching
        async with engine.connect() as connection:
            audit = await connection.run_sync(credits.audit)
            by_key = await connection.run_sync(effects)
            without_message = await connection.run_sync(alone)
        await engine.dispose()
        balances = [(await each.get("/api/v1/credits")).json["data"]["balance"] for each in people]
        log = server.log.read_text()
    accepted = [each for each in attacks if any(status == 201 for status, _ in each.answers)]
    expected = {each.id: GRANTED for each in people}
    for attack in accepted:
        expected[attack.giver.id] -= attack.amount
        expected[attack.taker.id] += attack.amount
    return {
        "keys": len(attacks),
        "sent": sum(each.copies for each in attacks),
        "kills": killed,
        "accepted": len(accepted),
        "refused": len(attacks) - len(accepted),
        "snapshots": len(seen),
        "snapshots_that_do_not_add_up": len(wrong),
        "audit": sum(audit),
        "total": sum(balances),
        "balances_not_as_answered": sum(
            balance != expected[each.id] for each, balance in zip(people, balances, strict=True)
        ),
        "keys_with_two_effects": sum(count != 1 for count in by_key.values()),
        "keys_with_another_effect_than_answered": len({each.key for each in accepted} ^ {*by_key}),
        "keys_with_two_answers": sum(len({body for s, body in each.answers if s == 201}) > 1 for each in attacks),
        "other_statuses": sorted({status for each in attacks for status, _ in each.answers} - {201, 409}),
        "transfers_without_message": without_message,
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
