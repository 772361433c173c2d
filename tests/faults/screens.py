"""Streams on many screens while Apple misbehaves and the server is killed: the same last state, one end, no channel left.

``python -m tests.faults.screens``: iPhones with tokens, iPhones with channels and Android phones follow the same streams,
which go through each of the four moments under each fault. The server is killed while a stream starts and while it ends.
"""

import argparse
import asyncio
import random
import tempfile
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import aiohttp

from push.doubles.apns import TOPIC, Apple
from push.doubles.apple_channels import ChannelFault, ChannelRequest
from push.doubles.apple_connection import ApnsFault
from push.doubles.apple_device import AppleDevice, ShownActivity
from push.doubles.fcm import FcmFault, Google
from tests.faults.test_provider_faults import sometimes
from tests.journeys.test_live_activities import MOMENTS, SESSIONS, STREAMS, in_seconds
from tests.support.process import ProcessUser, ServerProcess
from tests.support.pushing import phone

NEW, OLD, ANDROID = 4, 2, 2
PATIENCE_SECONDS = 60.0
Plan = Callable[[ChannelRequest], ChannelFault | None]


def often(kinds: tuple[str, ...], fault: ChannelFault, share: float = 1.0, times: int = 1000) -> Plan:
    """The fault strikes so many requests of these kinds, each with this chance."""
    dice, left = random.Random(2), [fault] * times
    return lambda request: left.pop() if left and request.kind in kinds and dice.random() < share else None


# Whether iPhones have channels in spite of it, and what goes wrong.
CHANNEL_FAULTS: dict[str, Callable[[], Plan]] = {
    "none": lambda: often((), ChannelFault()),
    "opened late": lambda: often(("open",), ChannelFault(seconds=3.0), times=1),
    "opened and never answered": lambda: often(("open",), ChannelFault(status=0, done=True), times=1),
    "opened twice without an answer": lambda: often(("open",), ChannelFault(status=0, done=True), times=2),
    "opened without a name": lambda: often(("open",), ChannelFault(nameless=True), times=1),
    "as many as Apple allows": lambda: often(("open",), ChannelFault(400, "CannotCreateChannelConfig")),
    "the feature is not enabled": lambda: often(("open",), ChannelFault(400, "FeatureNotEnabled")),
    "the manager is dead": lambda: often(("open", "close", "list"), ChannelFault(status=0)),
    "the channel is forgotten": lambda: often((), ChannelFault()),
    "pushes change places": lambda: often(("push",), ChannelFault(seconds=0.5), 0.5),
    "429 for half of the pushes": lambda: often(("push",), ChannelFault(429, "TooManyRequests"), 0.5),
    "503 for half of the pushes": lambda: often(("push",), ChannelFault(503), 0.5),
    "accepted and not answered": lambda: often(("push",), ChannelFault(status=0, done=True), 0.3),
    "a start is on its way at the end": lambda: often((), ChannelFault()),
    "Apple and Google answer 503": lambda: often((), ChannelFault()),
}


# Faults of opening: iPhones may have tokens instead, where a channel is not open in time.
MAY_HAVE_NONE = ("as many as Apple allows", "the feature is not enabled", "the manager is dead", "opened")


class Screens:
    """The installation, who follows, and what their devices show."""

    def __init__(self, server: ServerProcess, apple: Apple, google: Google, owner: ProcessUser) -> None:
        self.server = server
        self.apple = apple
        self.google = google
        self.owner = owner
        self.iphones: dict[str, ProcessUser] = {}
        self.androids: list[tuple[ProcessUser, str]] = []
        self.latecomer: ProcessUser
        self.tasks: set[asyncio.Task[None]] = set()
        self.dice = random.Random(3)
        self.figures: dict[str, int] = dict.fromkeys(
            ("streams", "screens", "kills", "not_shown", "not_ended", "other_state", "ended_twice", "started_twice",
             "channels_left", "others_closed", "over_channels", "excused", "without_channel"), 0,
        )  # fmt: skip

    async def people(self) -> None:
        *some, self.latecomer = await self.owner.others(NEW + OLD + ANDROID + 1)
        for number, person in enumerate([*some[: NEW + OLD], self.latecomer]):
            new = number < NEW or person is self.latecomer
            token = f"start-{number}"
            features = {"features": ["live.channel"]} if new else {}
            await phone(person, f"{number}", deviceId=token, pushToStartToken=token, **features)
            self.apple.device(token, 18 if new else 17, on_token=self.on_token)
            self.iphones[token] = person
        for number, person in enumerate(some[NEW + OLD :]):
            body = {
                "deviceId": "droid", "platform": "android", "pushToken": f"t:{number}", "features": ["live.ongoing"]
            }  # fmt: skip
            assert (await person.post("/api/v1/devices", body)).status == 201
            self.androids.append((person, f"t:{number}"))

    def on_token(self, device: AppleDevice, activity: ShownActivity) -> None:
        task = asyncio.ensure_future(self._register(device, activity))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def _register(self, device: AppleDevice, activity: ShownActivity) -> None:
        """Until the server is there and answers."""
        token = f"live-{device.start_token}-{activity.stream}"
        self.apple.activities[token] = activity
        body = {
            "streamId": activity.stream, "deviceId": device.start_token, "liveActivityToken": token,
            "activityId": activity.stream,
        }  # fmt: skip
        while True:
            try:
                answer = await self.iphones[device.start_token].post(SESSIONS, body)
                if answer.status in (201, 409):
                    return
            except aiohttp.ClientError:
                pass
            await asyncio.sleep(0.1)

    async def kill(self, within: float) -> None:
        await asyncio.sleep(self.dice.random() * within)
        await self.server.kill()
        self.figures["kills"] += 1
        await self.server.start()

    async def wait(self, check: Callable[[], bool]) -> bool:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not check():
            if time.monotonic() > deadline:
                return False
            await asyncio.sleep(0.05)
        return True

    async def trial(self, fault: str, moment: str) -> None:
        apple, figures = self.apple, self.figures
        made = await self.owner.post(STREAMS, {"title": "Match", "startsAt": in_seconds(600)})
        stream = made.json["data"]["id"]
        apple.channel_plan = CHANNEL_FAULTS[fault]()
        if fault == "Apple and Google answer 503":
            apple.plan = sometimes(ApnsFault("status", 503), 0.3)
            self.google.plan = sometimes(FcmFault(status=503), 0.3)
        for person in {*self.iphones.values(), *(person for person, _ in self.androids)} - {self.latecomer}:
            assert (await person.post(f"{STREAMS}/{stream}/follow")).status == 200
        await self.kill(2.0)
        present = [each for each in apple.devices.values() if self.iphones[each.start_token] is not self.latecomer]
        figures["not_shown"] += not await self.wait(
            lambda: all(stream in each.activities for each in present) and all(self.on_androids(stream))
        )
        if fault == "the channel is forgotten":
            # Nothing reaches who listens to it; everybody else sees the end.
            apple.channels.by_app[TOPIC].pop(next(each for each in self.channels_of(stream)))
            figures["excused"] += len([each for each in present if each.activities[stream].channel])
            present = [each for each in present if not each.activities[stream].channel]
        await self.owner.patch(f"{STREAMS}/{stream}", {"title": "Final"})
        late = next(each for each in apple.devices.values() if each not in present)
        if fault == "a start is on its way at the end":
            apple.plan = lambda push: ApnsFault("late", seconds=1.5) if push.token == late.start_token else None
            assert (await self.latecomer.post(f"{STREAMS}/{stream}/follow")).status == 200
            await self.wait(lambda: any(push.token == late.start_token and push.status == -1 for push in apple.pushes))
            present.append(late)
        for verb in MOMENTS[moment]:
            assert (await self.owner.post(f"{STREAMS}/{stream}/{verb}")).status == 200
        if moment == "expired":
            await self.owner.patch(f"{STREAMS}/{stream}", {"startsAt": "2020-01-01T00:00:00Z"})
        if fault != "a start is on its way at the end":
            await self.kill(0.3)
        figures["not_ended"] += not await self.wait(lambda: self.all_ended(stream, present))
        apple.plan = lambda push: None
        self.google.plan = lambda message: None
        await self.wait(lambda: not self.tasks)
        self.check(fault, moment, stream, present)

    def channels_of(self, stream: str) -> set[str]:
        """Those by which the stream was started."""
        shown = [each.activities[stream] for each in self.apple.devices.values() if stream in each.activities]
        return {each.channel for each in shown if each.channel is not None}

    def on_androids(self, stream: str) -> list[bool]:
        tags = [self.google.device(token).live.get(f"live:{stream}") for _, token in self.androids]
        return [bool(each and each.starts) for each in tags]

    def all_ended(self, stream: str, present: list[AppleDevice]) -> bool:
        androids = [self.google.device(token).live.get(f"live:{stream}") for _, token in self.androids]
        iphones = [each.activities.get(stream) for each in present]
        return all(each and each.ends for each in androids) and all(each and each.ended for each in iphones)

    def check(self, fault: str, moment: str, stream: str, present: list[AppleDevice]) -> None:
        figures = self.figures
        androids = [self.google.device(token).live[f"live:{stream}"] for _, token in self.androids]
        iphones = [each.activities[stream] for each in present if stream in each.activities]
        states: list[Any] = [*(each.state for each in androids), *(each.state for each in iphones)]
        # What has ended when the stream was ready does not change when it starts.
        last = ("ready", "started") if moment == "started" else (moment,)
        wrong = [each for each in states if each["status"] not in last or each["title"] != "Final"]
        if wrong:
            print(fault, moment, wrong, flush=True)
        figures["other_state"] += len(wrong)
        figures["ended_twice"] += sum(each.ends > 1 for each in androids)
        figures["started_twice"] += sum(each.starts.get(stream, 0) > 1 for each in present)
        channels = len(self.channels_of(stream))
        figures["over_channels"] += sum(each.channel is not None for each in iphones)
        figures["without_channel"] += not fault.startswith(MAY_HAVE_NONE) and channels == 0
        figures["streams"] += 1
        figures["screens"] += len(states)


async def run(*, faults: list[str] | None = None, moments: list[str] | None = None) -> dict[str, Any]:
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bellwire-screens-")))
        apple = await stack.enter_async_context(Apple(delay=0.01))
        google = await stack.enter_async_context(Google(delay=0.01))
        session = await stack.enter_async_context(aiohttp.ClientSession())
        foreign = apple.channels.make(TOPIC)
        settings = apple.write_files(folder / "apple") | google.write_files(folder / "google")
        server = ServerProcess(folder / "data", live_lead=900, live_starts=10_000, stream_grace=0, **settings)
        server.environment["SHORT_PAUSES"] = "1"
        await stack.enter_async_context(server)
        owner = await server.user(session, "owner@example.org", "--permission=admin")
        await owner.patch("/api/v1/admin/tenant", {"liveActivity": {"attributesType": "MatchAttributes"}})
        screens = Screens(server, apple, google, owner)
        await screens.people()
        await screens.wait(lambda: any(each.kind == "list" for each in apple.channels.requests))
        for fault in faults or CHANNEL_FAULTS:
            began = time.monotonic()
            for moment in moments or MOMENTS:
                await screens.trial(fault, moment)
            print(f"{fault}: {time.monotonic() - began:.0f} s", flush=True)
        apple.channel_plan = lambda request: None
        await screens.wait(lambda: apple.channels.ids <= {foreign})
        screens.figures["channels_left"] = len(apple.channels.ids - {foreign})
        screens.figures["others_closed"] = int(foreign not in apple.channels.ids)
        return {**screens.figures, "tracebacks": server.log.read_text().count("Traceback")}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--faults", nargs="*")
    parser.add_argument("--moments", nargs="*")
    for name, figure in asyncio.run(run(**vars(parser.parse_args()))).items():
        print(f"{name:18}{figure}")
