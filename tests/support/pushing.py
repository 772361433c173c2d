"""What tests of push share: a phone, and the moment when all is settled."""

import asyncio
from pathlib import Path
from typing import Any

from sqlalchemy import update

from push.doubles.apns import TOPIC
from push.doubles.https_double import HttpsDouble
from storage import deliveries as deliveries_of
from storage.models import deliveries, outbox
from storage.transaction import Command, Tx
from tests.conftest import Served
from tests.support.guard import HANG_SECONDS
from tests.support.people import Api, Person


async def phone(person: Api, token: str, **options: Any) -> Any:
    """Register a phone of the sandbox under this token; its document."""
    body = {
        "deviceId": f"phone-{token}", "platform": "ios", "pushToken": token, "environment": "sandbox",
        "bundleId": TOPIC, **options,
    }  # fmt: skip
    answer = await person.post("/api/v1/devices", body)
    assert answer.status in (200, 201), answer
    return answer.json["data"]


async def pair(server: Served, *tokens: str) -> tuple[Person, Person, str]:
    """Ann, who writes, and Bob, who has these devices; their chat."""
    ann, bob = await server.people.make("Ann"), await server.people.make("Bob")
    for token in tokens or ("b1",):
        await phone(bob, token)
    return ann, bob, await ann.group(bob)


def settings_of(folder: Path, *doubles: HttpsDouble) -> dict[str, str]:
    """Those that point a server to these doubles, whose certificates are in one file."""
    settings: dict[str, str] = {}
    for double in doubles:
        settings |= double.write_files(folder / type(double).__name__)
    both = folder / "certificates.pem"
    both.write_text("".join((folder / type(each).__name__ / "ca.pem").read_text() for each in doubles))
    return settings | {"push_ca": str(both)}


async def due_now(server: Served) -> None:
    """What waits for its time need wait no longer."""

    def apply(tx: Tx) -> None:
        tx.execute(update(deliveries).where(deliveries.c.state == "waiting").values(due_at=0))
        tx.execute(update(outbox).values(due_at=0))

    await server.services.database.write(Command(apply))
    server.services.worker.wake()


async def quiet(server: Served, seconds: float = HANG_SECONDS) -> None:
    """Wait until the outbox has nothing left, and nothing is under way."""
    worker, database = server.services.worker, server.services.database
    async with asyncio.timeout(seconds):
        while True:
            # Not the worker's own figure: another measurement that began earlier may end later.
            depth = await database.read(deliveries_of.depth)
            if depth[:2] == (0, 0) and not worker.in_flight:
                return
            await asyncio.sleep(0.05)
