"""How long a stream takes to start and to end on many iPhones that listen to its channel.

``python -m tests.load.screens --phones 10000``; the double of Apple, with a model of each phone, is in the same process.
"""

import argparse
import asyncio
import json
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy import insert

from push.doubles.apns import TOPIC, Apple
from realtime.schema.bodies import CreateStream
from realtime.schema.caller import Caller
from server.app import serving
from server.settings import Settings
from storage import accounts, devices, push_channel_apps, streams
from storage.accounts import NewUser, User
from storage.models import followers
from storage.transaction import Command, Tx
from storage.types import SECOND
from tests.support.guard import HANG_SECONDS

AT_ONCE = 500


async def until(check: Callable[[], bool]) -> float:
    """Seconds until something is true."""
    began = time.perf_counter()
    async with asyncio.timeout(HANG_SECONDS):
        while not check():
            await asyncio.sleep(0.01)
    return round(time.perf_counter() - began, 2)


async def run(*, phones: int, delay: float) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="bellwire-screens-") as name:
        async with Apple(delay=delay) as apple:
            apple.keep = False
            return await measured(apple, Path(name), phones)


async def measured(apple: Apple, folder: Path, phones: int) -> dict[str, Any]:
    given: dict[str, Any] = {
        "data_dir": folder / "data", "port": 0, "log_level": "ERROR", "live_lead": 900.0, **apple.write_files(folder)
    }  # fmt: skip
    async with serving(Settings(_env_file=None, **given)) as services:
        home = services.accounts.default_tenant.pk
        write = services.database.write

        def owner_of(tx: Tx) -> User:
            accounts.set_activity(tx, home, "MatchAttributes", {})
            return accounts.add_user(tx, home, NewUser("owner"))

        owner: User = await write(Command(owner_of))
        caller = Caller(owner, frozenset({"streams.manage"}), 0, 2**62)

        def followers_of(tx: Tx, start: int) -> list[int]:
            pks = []
            for number in range(start, min(start + AT_ONCE, phones)):
                user = accounts.add_user(tx, home, NewUser(f"user {number}"))
                devices.register(tx, user.pk, {
                    "device_id": "iphone", "platform": "ios", "push_token": f"{number:064x}", "environment": "sandbox",
                    "bundle_id": TOPIC, "push_to_start_token": f"start-{number}", "locale": None, "login_id": None,
                    "features": devices.CHANNEL, "token_kind": None, "p256dh": None, "auth": None,
                })  # fmt: skip
                pks.append(user.pk)
            push_channel_apps.add_app(tx, "sandbox", TOPIC)
            return pks

        pks = []
        for start in range(0, phones, AT_ONCE):
            pks += await write(Command(partial(followers_of, start=start)))
        for number in range(phones):
            apple.device(f"start-{number}", 18)
        await until(lambda: any(each.kind == "list" and each.status == 200 for each in apple.channels.requests))
        # Far away, so that nothing begins before all follow.
        body = CreateStream.model_validate({"title": "Match", "startsAt": "2999-01-01T00:00:00Z"})
        id = (await services.streams.create(caller, body))["id"]
        stream = await services.database.read(lambda it: streams.find(it, home, id))
        assert stream

        def follow(tx: Tx) -> None:
            rows = [{"stream_pk": stream.pk, "user_pk": pk, "created_at": tx.now} for pk in pks]
            tx.execute(insert(followers), rows)
            streams.change(tx, stream.pk, starts_at=tx.now + 600 * SECOND)

        await write(Command(follow))
        shown = [each.activities for each in apple.devices.values()]
        started = await until(lambda: all(id in each for each in shown))
        await services.streams.move(caller, id, "ready")
        ended = await until(lambda: all(each[id].ended for each in shown))
        pushes = len([each for each in apple.channels.requests if each.kind == "push"])
        return {
            "phones": phones,
            "over_a_channel": sum(each[id].channel is not None for each in shown),
            "seconds_until_all_started": started,
            "seconds_until_all_ended": ended,
            "pushes_of_the_end": pushes,
        }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tests.load.screens", description=__doc__)
    parser.add_argument("--phones", type=int, default=10_000)
    parser.add_argument("--delay", type=float, default=0.04, help="seconds until the double answers")
    print(json.dumps(asyncio.run(run(**vars(parser.parse_args()))), indent=2))
