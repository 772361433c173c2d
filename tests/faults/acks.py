"""What was acknowledged is there, once: a server killed again and again, by chance and at named points, under open-loop load.

``python -m tests.faults.acks --points 20 --random 40 --rate 120``; messages go over REST and over sockets, one member of
each chat is a phone that is away and must be pushed everything.
"""

import argparse
import asyncio
import contextlib
import itertools
import os
import random
import tempfile
import time
from pathlib import Path
from typing import Any

import aiohttp
from sqlalchemy.ext.asyncio import create_async_engine

from push.doubles.apns import TOPIC, Apple
from storage.writer import UNKNOWN
from tests.faults import history
from tests.faults.history import Operation
from tests.faults.installation import UNREACHABLE, Follower
from tests.support.guard import HANG_SECONDS
from tests.support.people import RawSocket
from tests.support.process import ProcessUser, ServerProcess

PATH = "/api/v2/messages"
POINTS = ("before_commit", "after_commit", "after_publish", "before_reply", "in_push")
CHATS, PEOPLE = 12, 10
RETRIED = 0.7
REPEATED = 5


class Speaker:
    """Sends for one user, over a socket while it has one, or over REST."""

    def __init__(self, user: ProcessUser, dice: random.Random) -> None:
        self.user, self.dice = user, dice
        self.socket: RawSocket | None = None

    async def say(self, operation: Operation, *, again: bool = False) -> None:
        """What was unknown stays so, until it is answered well: a refusal now says nothing of the first time."""
        body = {
            "type": "text", "chatId": operation.chat, "content": operation.key, "clientMessageId": operation.key,
        }  # fmt: skip
        try:
            if self.socket and not self.socket.closed and self.dice.random() < 0.5:
                ack = await self.socket.call("message:send", body)
                self._told(operation, 201 if ack["isSuccess"] else ack["statusCode"], ack, ack.get("data"), again)
            else:
                answer = await self.user.post(PATH, body)
                self._told(operation, answer.status, answer.json, answer.json, again)
        except aiohttp.ClientConnectorError:
            operation.outcome = "unknown" if again else "failed"
        except (ConnectionError, *UNREACHABLE):
            operation.outcome = "unknown"

    def _told(self, operation: Operation, status: int, said: Any, document: Any, again: bool) -> None:
        if status == 201:
            operation.outcome, operation.document = "ok", document
        else:
            operation.outcome = "unknown" if again or UNKNOWN in str(said) else "failed"

    async def connect(self) -> None:
        await self.leave()
        with contextlib.suppress(ConnectionError, *UNREACHABLE):
            self.socket = await self.user.socket()

    async def leave(self) -> None:
        if self.socket:
            await self.socket.close()
        self.socket = None


class Load:
    """Messages at fixed times, whether or not anybody answers."""

    def __init__(self, speakers: list[Speaker], chats: list[str], rate: float, dice: random.Random) -> None:
        self.speakers, self.chats, self.rate, self.dice = speakers, chats, rate, dice
        self.operations: list[Operation] = []
        self.senders: dict[str, Speaker] = {}
        self.tasks: set[asyncio.Task[None]] = set()
        self.numbers = itertools.count()
        self.running = asyncio.Event()

    def say(self, operation: Operation) -> None:
        speaker = self.senders[operation.key] = self.dice.choice(self.speakers)
        task = asyncio.create_task(speaker.say(operation))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def run(self) -> None:
        due = time.monotonic()
        while True:
            if not self.running.is_set():
                await self.running.wait()
                due = time.monotonic()
            operation = Operation(f"message-{next(self.numbers)}", self.dice.choice(self.chats))
            self.operations.append(operation)
            self.say(operation)
            due += 1 / self.rate
            await asyncio.sleep(max(0.0, due - time.monotonic()))

    async def settle(self) -> None:
        while self.tasks:
            await asyncio.wait(list(self.tasks))


async def retry(load: Load) -> None:
    """Most of what is unknown is sent again under its key, by whoever sent it first."""
    for operation in load.operations:
        if operation.outcome == "unknown" and load.dice.random() < RETRIED:
            await load.senders[operation.key].say(operation, again=True)


async def run(*, points: int, kills: int, rate: float, seed: int = 1) -> dict[str, Any]:
    """``points`` kills at each of five points, and ``kills`` at any moment; a mutant's are all at any moment."""
    dice, mutant = random.Random(seed), os.environ.get("BROKEN", "")
    plan = [*([""] * len(POINTS) if mutant else POINTS) * points, *[""] * kills]
    dice.shuffle(plan)
    with tempfile.TemporaryDirectory(prefix="bellwire-acks-") as name:
        folder = Path(name)
        async with Apple(delay=0.01) as apple, aiohttp.ClientSession() as session:
            server = ServerProcess(folder / "data", **apple.write_files(folder / "apple"))
            died = folder / "died"
            server.environment["BROKEN_DIED"] = str(died)
            async with server:
                first = await server.user(session, "first@example.org", "--permission", "admin")
                people = [first, *await first.others(PEOPLE)]
                phone = {"deviceId": "d", "platform": "ios", "pushToken": "away", "environment": "production",
                         "bundleId": TOPIC}  # fmt: skip
                assert (await people[-1].post("/api/v1/devices", phone)).status == 201
                body = {"type": "group", "name": "x", "memberIds": [each.id for each in people[1:]]}
                chats = [(await first.post("/api/v2/chats", body)).json["_id"] for _ in range(CHATS)]
                followers = [Follower(each, lambda: server.url, session) for each in people[:4]]
                await asyncio.gather(*(each.connected.wait() for each in followers))
                load = Load([Speaker(each, dice) for each in people[:-1]], chats, rate, dice)
                running = asyncio.create_task(load.run())
                killed = missed = 0
                otherwise = [0, 0]
                for where in plan:
                    await asyncio.gather(*(each.connect() for each in load.speakers))
                    load.running.set()
                    if where:
                        with contextlib.suppress(TimeoutError):
                            await asyncio.wait_for(server.process.wait(), HANG_SECONDS)
                    else:
                        await asyncio.sleep(dice.uniform(0.2, 2))
                    if where:
                        missed += not died.exists()
                        died.unlink(missing_ok=True)
                    if server.process.returncode is None:
                        await server.kill()
                    killed += 1
                    load.running.clear()
                    await load.settle()
                    following = plan[killed] if killed < len(plan) else ""
                    server.environment["BROKEN"] = f"kill:{following}:{dice.randint(5, 60)}" if following else mutant
                    await server.start()
                    await retry(load)
                    await repeat(load, otherwise)
                running.cancel()
                engine = create_async_engine(f"sqlite+aiosqlite:///file:{folder / 'data/bellwire.db'}?mode=ro&uri=true")
                async with engine.connect() as connection:
                    stored = await connection.run_sync(history.read)
                whole_after = await whole(followers, {f"chat:{each}": stored.heads[f"chat:{each}"] for each in chats})
                undelivered = await pushed(apple, {id for found in stored.messages.values() for id, _ in found})
                async with engine.connect() as connection:
                    stored = await connection.run_sync(history.read)
                await engine.dispose()
                await asyncio.gather(*(each.stop() for each in followers), *(each.leave() for each in load.speakers))
                return {
                    "kills": killed, "points_missed": missed, "answered_otherwise": otherwise[0],
                    "another_body_taken": otherwise[1],
                    **history.check(load.operations, stored, [each.ids for each in followers]),
                    "disorder": sum(len(each.wrong) for each in followers), "missed": int(whole_after < 0),
                    "unrecovered": sum(each.unrecovered for each in followers), "undelivered": undelivered,
                    "shown_twice": shown_twice(apple), "tracebacks": server.log.read_text().count("Traceback"),
                }  # fmt: skip


async def repeat(load: Load, otherwise: list[int]) -> None:
    """Of what was acknowledged some is sent again: the first answer comes; and with another text, a refusal."""
    known = [each for each in load.operations if each.outcome == "ok"]
    for operation in load.dice.sample(known, min(REPEATED, len(known))):
        user = load.senders[operation.key].user
        body = {
            "type": "text", "chatId": operation.chat, "content": operation.key, "clientMessageId": operation.key,
        }  # fmt: skip
        with contextlib.suppress(ConnectionError, *UNREACHABLE):
            answer = await user.post(PATH, body)
            otherwise[0] += answer.status != 503 and (answer.status, answer.json) != (201, operation.document)
            other = await user.post(PATH, {**body, "content": "another text"})
            otherwise[1] += other.status not in (409, 503)


async def whole(followers: list[Follower], heads: dict[str, int], seconds: float = HANG_SECONDS) -> float:
    """How long until every reader has everything; negative for never."""
    began = time.monotonic()
    while any(each.offsets.get(name, 0) < head for each in followers for name, head in heads.items()):
        if time.monotonic() - began > seconds:
            return -1
        await asyncio.sleep(0.05)
    return time.monotonic() - began


async def pushed(apple: Apple, ids: set[str], seconds: float = HANG_SECONDS) -> int:
    """How many messages the phone that is away was never told of."""
    with contextlib.suppress(TimeoutError):
        await apple.until(lambda: ids <= {push.payload.get("messageId") for push in apple.good}, seconds)
    return len(ids - {push.payload.get("messageId") for push in apple.good})


def shown_twice(apple: Apple) -> int:
    """Messages that came under more than one collapse id."""
    ids: dict[Any, set[Any]] = {}
    for push in apple.good:
        ids.setdefault((push.token, push.payload.get("messageId")), set()).add(push.collapse_id)
    return sum(len(each) > 1 for each in ids.values())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--points", type=int, default=20, help="kills at each of the five points")
    parser.add_argument("--random", type=int, default=40, dest="kills", help="kills at any moment")
    parser.add_argument("--rate", type=float, default=120, help="messages a second")
    parser.add_argument("--seed", type=int, default=1)
    for name, figure in asyncio.run(run(**vars(parser.parse_args()))).items():
        print(f"{name:16}{figure}")
