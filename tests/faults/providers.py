"""What Google's service and those of browsers may do wrong, on a server that is killed in the middle of its pushes.

``python -m tests.faults.providers --messages 200 --provider fcm``. After each fault: nothing undelivered but what the fault
excuses, nothing shown twice, no device lost but those that are dead, and nothing more sent to these. Beside each device is
an iPhone, whose pushes another provider carries: they must not be slower.
"""

import argparse
import asyncio
import sqlite3
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import AsyncExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from push.doubles.apns import Apple
from push.doubles.fcm import STORED_MESSAGES, FcmFault, FcmMessage, Google
from push.doubles.https_double import HttpsDouble
from push.doubles.webpush import FLAVOURS, PushService, Subscription, WebPushFault
from tests.faults.pushes import quiet
from tests.faults.test_provider_faults import REJECTED, first, of_browsers, of_google
from tests.support.process import ProcessUser, ServerProcess
from tests.support.pushing import phone

DEVICES = 10
# Of these; fewer than the guard against mass death needs.
DEAD = (1, 4, 7)
OFFLINE_MESSAGES = 150
SLOWER_SECONDS = 1.0


@dataclass
class Trial:
    """A fault at work: the devices' users, what was sent to each, and what came."""

    name: str
    people: list[ProcessUser]
    tokens: list[str]
    plan: Any
    # Messages by the place of the device, and when they were acknowledged.
    sent: dict[int, list[str]] = field(default_factory=dict)
    acked_at: dict[str, float] = field(default_factory=dict)
    # Places of devices that are to be forgotten.
    dead: tuple[int, ...] = ()
    # Places whose messages the fault excuses.
    excused: tuple[int, ...] = ()
    # The fault is over once the server has restarted.
    until_restart: bool = False
    rejects: bool = False


class FcmFaults:
    """Google and the phones behind it."""

    provider = "fcm"

    def __init__(self) -> None:
        self.double: HttpsDouble = Google(delay=0.01)
        assert isinstance(self.double, Google)
        self.google = self.double

    names = (
        *of_google(), "connection closed after each answer", "unregistered for good", "registered anew meanwhile",
        "400 of a token", "401 for ever", "mismatch of one in ten", "no token: 503", "no token: invalid_grant",
        "no token: garbage", "unregistered for all", "offline", "nobody listens",
    )  # fmt: skip

    async def register(self, person: ProcessUser, token: str) -> None:
        body = {"deviceId": "droid", "platform": "android", "pushToken": token}
        answer = await person.post("/api/v1/devices", body)
        assert answer.status in (200, 201), answer

    async def trial(self, name: str, people: list[ProcessUser], number: int) -> Trial:
        tokens = [f"t:{number}-{place}" for place in range(DEVICES)]
        for person, token in zip(people, tokens, strict=True):
            await self.register(person, token)
        made = Trial(name, people, tokens, of_google().get(name, lambda message: None), rejects=name in REJECTED)
        dead = {tokens[place] for place in DEAD}
        match name:
            case "connection closed after each answer":
                made.plan = lambda message: FcmFault("last", accepted=True)
            case "unregistered for good":
                self.google.unregistered |= dead
                made.dead = made.excused = DEAD
            case "registered anew meanwhile":
                made.plan = self._registered_anew({tokens[place]: people[place] for place in DEAD})
            case "400 of a token":
                wrong = FcmFault(status=400, code="INVALID_ARGUMENT", text="not a token", field="message.token")
                made.plan = lambda message: wrong if message.token in dead else None
                made.dead = made.excused = DEAD
            case "bare 404":
                nowhere = FcmFault(status=404, code="")
                made.plan, made.until_restart = (lambda message: nowhere if message.token in dead else None), True
            case "401 for ever":
                made.plan, made.until_restart = (lambda message: FcmFault(status=401, code="")), True
            case "mismatch of one in ten":
                other = FcmFault(status=403, code="SENDER_ID_MISMATCH")
                made.plan = lambda message: other if message.token == tokens[1] else None
                made.dead = made.excused = (1,)
            case "unregistered for all":
                gone = FcmFault(status=404, code="UNREGISTERED")
                made.plan, made.until_restart = (lambda message: gone), True
            case "offline":
                self.google.device(tokens[0]).online = False
        return made

    def _registered_anew(self, people: dict[str, ProcessUser]) -> Callable[[FcmMessage], Any]:
        """The token is dead, and before Google's answer comes the app has another one."""

        async def plan(message: FcmMessage) -> FcmFault | None:
            person = people.pop(message.token, None)
            if person:
                self.google.devices[f"{message.token}-new"] = self.google.device(message.token)
                await self.register(person, f"{message.token}-new")
                self.google.unregistered.add(message.token)
            return FcmFault(status=404, code="UNREGISTERED") if message.token in self.google.unregistered else None

        return plan

    async def before_restart(self, trial: Trial) -> None:
        fault = {
            "no token: 503": FcmFault(status=503),
            "no token: invalid_grant": FcmFault(status=400, code="invalid_grant"),
            "no token: garbage": FcmFault("html"),
        }.get(trial.name)
        self.google.token_plan = first(3, fault) if fault else first(0, None)

    async def finish(self, trial: Trial) -> None:
        if trial.name == "offline":
            device = self.google.device(trial.tokens[0])
            device.go_online()
            if len(trial.sent[0]) > STORED_MESSAGES:
                # Google has deleted all that it stored: the app reads everything over REST.
                assert device.resyncs >= 1
                trial.excused = (0,)

    def shown(self, token: str) -> Counter[str]:
        return Counter({tag: len(each) for tag, each in self.google.device(token).shown.items()})

    def requests_to(self, token: str) -> int:
        return len([each for each in self.google.messages if each.token == token])

    def set_plan(self, plan: Any) -> None:
        self.google.plan = plan

    def most_wrong(self) -> int:
        """More than one token was asked for at once."""
        return int(self.google.most_minting > 1)


class BrowserFaults:
    """Push services, and the browsers behind them."""

    provider = "webpush"

    def __init__(self) -> None:
        self.double: HttpsDouble = PushService(delay=0.01)
        assert isinstance(self.double, PushService)
        self.service = self.double
        self.by_token: dict[str, Subscription] = {}
        self.key = ""

    names = (
        *of_browsers(), "404 and 410", "another key", "502 of something else", "nobody listens",
    )  # fmt: skip

    async def trial(self, name: str, people: list[ProcessUser], number: int) -> Trial:
        self.key = self.key or (await people[0].get("/api/v1/push/config")).json["data"]["vapidPublicKey"]
        tokens = []
        for place, person in enumerate(people):
            made = self.service.subscribe(FLAVOURS[place % len(FLAVOURS)], self.key)
            self.by_token[made.endpoint] = made
            tokens.append(made.endpoint)
            answer = await person.post("/api/v1/devices", {"deviceId": "browser", **made.body})
            assert answer.status in (200, 201), answer
        trial = Trial(name, people, tokens, of_browsers().get(name, lambda received: None), rejects=name in REJECTED)
        match name:
            case "404 and 410":
                for place in DEAD:
                    self.by_token[tokens[place]].gone = True
                trial.dead = trial.excused = DEAD
            case "another key":
                for place in DEAD:
                    self.by_token[tokens[place]].key = "another"
                trial.dead = trial.excused = DEAD
            case "502 of something else":
                trial.plan, trial.until_restart = (lambda received: WebPushFault(status=502, reason="<html>")), True
        return trial

    async def before_restart(self, trial: Trial) -> None:
        """Subscriptions are not young any more where they are to be dead."""

    async def finish(self, trial: Trial) -> None:
        """Nothing is kept for later."""

    def shown(self, token: str) -> Counter[str]:
        return Counter({tag: len(each) for tag, each in self.by_token[token].shown.items()})

    def requests_to(self, token: str) -> int:
        subscription = self.by_token[token]
        return len([each for each in self.service.received if each.subscription is subscription]) + subscription.refused

    def set_plan(self, plan: Any) -> None:
        self.service.plan = plan

    def most_wrong(self) -> int:
        """Bodies that are encrypted as another, and tokens beyond the one of an origin and process."""
        bodies = [each.body for each in self.service.received]
        return len(bodies) - len(set(bodies))


Faults = FcmFaults | BrowserFaults


@dataclass
class Installation:
    server: ServerProcess
    apple: Apple
    faults: Faults
    ann: ProcessUser
    figures: dict[str, Any]
    latencies: dict[str, list[float]] = field(default_factory=dict)

    async def run(self, name: str, number: int, messages: int) -> None:
        people = await self.ann.others(DEVICES)
        trial = await self.faults.trial(name, people, number)
        chats = []
        for place, person in enumerate(people):
            await phone(person, f"a{number}-{place}", deviceId="iphone")
            body = {"type": "group", "name": "x", "memberIds": [person.id]}
            chats.append((await self.ann.post("/api/v2/chats", body)).json["_id"])
        if name in ("unregistered for good", "404 and 410", "another key"):
            # As if they had been registered long ago.
            await self.stopped(self.age)
        if name == "nobody listens":
            await self.faults.double.stop()
        self.faults.set_plan(trial.plan)
        for each in range(messages):
            place = 0 if name == "offline" and each < OFFLINE_MESSAGES else each % DEVICES
            await self.send(trial, chats[place], place, f"message {each}")
            if each == messages // 2 and name.startswith("no token"):
                # A new process needs a new token.
                await self.faults.before_restart(trial)
        await self.pushed_by_apple(trial)
        await self.server.kill()
        self.figures["kills"] += 1
        if not name.startswith("no token"):
            await self.faults.before_restart(trial)
        await self.server.start()
        # Long enough for a token to be called dead, and to be forgotten.
        await asyncio.sleep(3 if trial.until_restart else 1)
        if trial.until_restart:
            self.faults.set_plan(lambda push: None)
        if name == "nobody listens":
            await self.faults.double.start()
        self.figures["stuck"] += not await quiet(self.ann, 180)
        await self.faults.finish(trial)
        await self.check(trial, chats)

    async def stopped(self, work: Callable[[], None]) -> None:
        await self.server.kill()
        work()
        await self.server.start()

    def age(self) -> None:
        path = Path(self.server.environment["BELLWIRE_DATA_DIR"]) / "bellwire.db"
        with closing(sqlite3.connect(path)) as database, database:
            database.execute("UPDATE devices SET registered_at = 1")

    async def send(self, trial: Trial, chat: str, place: int, content: str) -> None:
        answer = await self.ann.post("/api/v2/messages", {"type": "text", "chatId": chat, "content": content})
        assert answer.status == 201, answer
        trial.sent.setdefault(place, []).append(answer.json["_id"])
        trial.acked_at[answer.json["_id"]] = time.time()

    async def pushed_by_apple(self, trial: Trial) -> None:
        """How long pushes by the other provider took until now."""
        arrived = {push.payload["messageId"]: push.at for push in reversed(self.apple.pushes)}
        late = sorted(arrived[id] - at for id, at in trial.acked_at.items() if id in arrived)
        self.latencies[trial.name] = late
        self.figures["elsewhere_slower"] += bool(late and late[int(len(late) * 0.99)] > SLOWER_SECONDS)

    async def check(self, trial: Trial, chats: list[str]) -> None:
        figures = self.figures
        figures["faults"] += 1
        figures["pushes"] += len(trial.acked_at)
        rejected = 0
        for place, ids in trial.sent.items():
            shown = self.faults.shown(trial.tokens[place])
            missing = [id for id in ids if id not in shown]
            rejected += len(missing) if trial.rejects else 0
            if place not in trial.excused and not trial.rejects:
                figures["undelivered"] += len(missing)
                if missing:
                    print(trial.name, "undelivered", place, len(missing), flush=True)
            safari = isinstance(self.faults, BrowserFaults) and place % len(FLAVOURS) == FLAVOURS.index("apple")
            figures["twice_on_safari" if safari else "shown_twice"] += sum(count > 1 for count in shown.values())
        if trial.rejects:
            letters = await self.ann.get("/api/v1/admin/push/dead-letters?limit=200")
            dead = [each for each in letters.json["data"]["items"] if each["provider"] == self.faults.provider]
            # Each of those that is not shown is a dead letter, and the other way round.
            figures["undelivered"] += abs(len(dead) - self.figures["dead_letters"] - rejected)
            self.figures["dead_letters"] = len(dead)
        await self.check_devices(trial, chats)

    async def check_devices(self, trial: Trial, chats: list[str]) -> None:
        """Who is dead is forgotten and gets nothing more; everybody else has the next message."""
        before = {place: self.faults.requests_to(trial.tokens[place]) for place in trial.dead}
        for place, person in enumerate(trial.people):
            owned = {each["deviceId"] for each in (await person.get("/api/v1/devices")).json["data"]["items"]}
            lost = len(owned) < 2
            self.figures["devices_lost"] += lost and place not in trial.dead
            self.figures["dead_kept"] += not lost and place in trial.dead
        self.faults.set_plan(lambda push: None)
        for place, chat in enumerate(chats):
            await self.send(trial, chat, place, "later")
        self.figures["stuck"] += not await quiet(self.ann, 60)
        for place, count in before.items():
            self.figures["sent_to_dead"] += self.faults.requests_to(trial.tokens[place]) - count


async def run(*, provider: str, messages: int, faults: list[str] | None = None) -> dict[str, Any]:
    figures: dict[str, Any] = dict.fromkeys(
        ("faults", "pushes", "kills", "undelivered", "shown_twice", "twice_on_safari", "sent_to_dead", "devices_lost",
         "dead_kept", "stuck", "elsewhere_slower", "dead_letters"), 0,
    )  # fmt: skip
    made: Faults = FcmFaults() if provider == "fcm" else BrowserFaults()
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bellwire-providers-")))
        apple = await stack.enter_async_context(Apple(delay=0.01))
        await stack.enter_async_context(made.double)
        session = await stack.enter_async_context(aiohttp.ClientSession())
        settings = apple.write_files(folder / "apple") | made.double.write_files(folder / "other")
        server = ServerProcess(folder / "data", **settings)
        server.environment["SHORT_PAUSES"] = "1"
        await stack.enter_async_context(server)
        ann = await server.user(session, "ann@example.org", "--permission=admin")
        here = Installation(server, apple, made, ann, figures)
        for number, name in enumerate(faults or ["none", *made.names]):
            began = time.monotonic()
            await here.run(name, number, messages)
            late = here.latencies[name]
            p99 = late[int(len(late) * 0.99)] if late else 0.0
            print(f"{name}: {time.monotonic() - began:.0f} s, p99 elsewhere {p99 * 1000:.0f} ms", flush=True)
        figures["most_wrong"] = made.most_wrong()
        log = server.log.read_text()
        figures["tracebacks"] = log.count("Traceback")
        figures["endpoints_in_log"] = sum(token in log for token in getattr(made, "by_token", {}))
    return figures


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--provider", choices=["fcm", "webpush"], default="fcm")
    parser.add_argument("--messages", type=int, default=200, help="under each fault")
    parser.add_argument("--faults", nargs="*")
    for name, figure in asyncio.run(run(**vars(parser.parse_args()))).items():
        print(f"{name:18}{figure}")
