"""Pushes a second to a double of a push service in a process of its own: to Apple's by the provider alone, and to each out
of the outbox.
"""

import argparse
import asyncio
import contextlib
import json
import sys
import tempfile
import time
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from push.apns import ApnsProvider
from push.notes import Note
from push.provider import Address, Outcome, Push
from push.signed import AppleToken, SignedToken
from realtime.schema.caller import Caller
from realtime.schema.message_bodies import SendMessage
from server.app import serving
from server.services import Services
from server.settings import Settings
from storage import accounts, chat, devices
from storage.accounts import NewUser, User
from storage.transaction import Command, Tx
from tests.support.guard import HANG_SECONDS

TOPIC = "org.example.app"
AT_ONCE = 400


@contextlib.asynccontextmanager
async def double(provider: str, folder: Path, delay: float) -> AsyncIterator[tuple[dict[str, str], dict[str, Any]]]:
    """The double, as a process: the settings that point to it, and of browsers the body of a registration."""
    command = [
        sys.executable,
        "-m",
        f"push.doubles.{provider}",
        "--folder",
        str(folder),
        "--delay",
        str(delay),
        "--quiet",
    ]
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    assert process.stdout
    settings: dict[str, str] = {}
    while line := (await process.stdout.readline()).decode().strip():
        name, _, value = line.partition("=")
        settings[name.removeprefix("BELLWIRE_").lower()] = value
    body = json.loads(await process.stdout.readline()) if provider == "webpush" else {}
    drain = asyncio.create_task(process.stdout.read())
    try:
        yield settings, body
    finally:
        process.terminate()
        await process.wait()
        await drain


async def provider_alone(settings: dict[str, str], pushes: int) -> dict[str, Any]:
    async def share(keep: Any) -> SignedToken:
        made: SignedToken = keep(None)
        return made

    key = await asyncio.to_thread(Path(settings["apns_key"]).read_text)
    token = AppleToken(key, settings["apns_key_id"], settings["apns_team_id"], share)
    provider = ApnsProvider(
        token, topic=TOPIC, host="localhost", port=int(settings["apns_port"]), ca=settings["apns_ca"]
    )
    note = Note(once="6" * 24, badge=3, title="Ann", body="x" * 60, data={"chatId": "6" * 24})
    numbers, failed = iter(range(pushes)), 0

    def push_to(device: str) -> Push:
        address = Address(token=device, app="", environment="production", registered_at=0)
        return Push(address, note, str(uuid.uuid4()), int(time.time()) + 3600)

    async def send() -> None:
        nonlocal failed
        for number in numbers:
            failed += (await provider.send(push_to(f"{number:064x}"))).outcome is not Outcome.ACCEPTED

    await provider.send(push_to("0" * 64))
    began, cpu = time.perf_counter(), time.process_time()
    await asyncio.gather(*(send() for _ in range(AT_ONCE)))
    seconds = time.perf_counter() - began
    await provider.close()
    return {
        "pushes_per_second": round(pushes / seconds),
        "cpu_us_per_push": round((time.process_time() - cpu) / pushes * 1e6),
        "failed": failed,
    }


def device_of(services: Services, provider: str, number: int, body: dict[str, Any]) -> dict[str, Any]:
    """What is stored of a device."""
    values: dict[str, Any] = {
        "device_id": "d", "platform": "ios", "push_token": f"{number:064x}", "environment": "production",
        "bundle_id": TOPIC, "push_to_start_token": None, "locale": None, "login_id": None,
    }  # fmt: skip
    if provider == "fcm":
        return values | {"platform": "android", "push_token": f"t:{number}"}
    if provider == "webpush":
        key = services.devices.config()["vapidPublicKey"]
        endpoint = f"{body['endpoint']}/{number}"
        return values | {"platform": "web", "push_token": endpoint, "bundle_id": key, **body["keys"]}
    return values


async def audience(services: Services, provider: str, size: int, body: dict[str, Any]) -> tuple[Caller, str]:
    """A sender, and the id of a chat with so many others, each with a device."""
    home = services.accounts.default_tenant.pk

    def user(tx: Tx, name: str) -> User:
        made = accounts.add_user(tx, home, NewUser(name))
        if name != "sender":
            devices.register(tx, made.pk, device_of(services, provider, made.pk, body))
        return made

    sender: User = await services.database.write(Command(lambda tx: user(tx, "sender")))
    jobs = [services.database.write(Command(lambda tx: user(tx, "reader"))) for _ in range(size)]
    readers = await asyncio.gather(*jobs)

    def room(tx: Tx) -> str:
        pk = chat.add(tx, home, type="group", name="Everybody")
        chat.add_members(tx, pk, sorted([(sender.pk, "owner"), *((each.pk, "member") for each in readers)]), 0)
        return chat.get(tx.connection(), pk).id

    return Caller(sender, frozenset(), 0, 2**62), await services.database.write(Command(room))


async def emptied(services: Services, settled: int) -> None:
    worker = services.worker
    while sum(worker.settled.values()) < settled or worker.in_flight:
        await asyncio.sleep(0.01)


async def ack(services: Services, caller: Caller, chat_id: str) -> float:
    """Milliseconds until a message was acknowledged."""
    began = time.perf_counter()
    await services.messages.post(caller, SendMessage(type="text", chatId=chat_id, content="hello"))
    return (time.perf_counter() - began) * 1000


async def out_of_the_outbox(
    provider: str, settings: dict[str, str], body: dict[str, Any], folder: Path, *, members: int, rounds: int
) -> dict[str, Any]:
    given: dict[str, Any] = {
        "data_dir": folder / "data", "port": 0, "log_level": "ERROR", "database_timeout": HANG_SECONDS, **settings,
    }  # fmt: skip
    async with serving(Settings(_env_file=None, **given)) as services:
        ten, many = [await audience(services, provider, size, body) for size in (10, members)]
        few_acks = [await ack(services, *ten) for _ in range(10)]
        await emptied(services, 100)
        before = resident()
        began, cpu = time.perf_counter(), time.process_time()
        many_acks, settled = [], 100
        for _ in range(rounds):
            many_acks.append(await ack(services, *many))
            settled += members
            await emptied(services, settled)
        seconds = time.perf_counter() - began
        worker = services.worker
        return {
            "members": members,
            "ack_ms_of_10": round(sorted(few_acks)[5], 1),
            "ack_ms_of_many": round(sorted(many_acks)[len(many_acks) // 2], 1),
            "pushes": members * rounds,
            "pushes_per_second": round(members * rounds / seconds),
            "cpu_us_per_push": round((time.process_time() - cpu) / members / rounds * 1e6),
            "outcomes": dict(worker.settled),
            "retried": worker.retried,
            "resident_mib_before": before,
            "resident_mib_after": resident(),
        }


def resident() -> int:
    """MiB of memory that this process holds now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 >> 20


async def run(
    *, provider: str = "apns", members: int = 5000, pushes: int = 50_000, delay: float = 0.04
) -> dict[str, Any]:
    figures: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="bellwire-push-") as name:
        folder = Path(name)
        if provider == "apns":
            async with double(provider, folder / "alone", delay) as (settings, _):
                figures["provider"] = await provider_alone(settings, min(pushes, 20_000))
        rounds = max(1, pushes // members)
        async with double(provider, folder / "double", delay) as (settings, body):
            figures["outbox"] = await out_of_the_outbox(
                provider, settings, body, folder, members=members, rounds=rounds
            )
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.load.push", description=__doc__)
    parser.add_argument("--provider", choices=["apns", "fcm", "webpush"], default="apns")
    parser.add_argument("--members", type=int, default=5000, help="of the chat")
    parser.add_argument("--pushes", type=int, default=50_000, help="out of the outbox, in all")
    parser.add_argument("--delay", type=float, default=0.04, help="seconds until the double answers")
    print(json.dumps(asyncio.run(run(**vars(parser.parse_args()))), indent=2))


if __name__ == "__main__":
    main()
