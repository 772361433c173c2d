"""All samples of the API, and the file in which the server finds them: ``server/samples.json``."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import orjson
from aiohttp import web

from push.doubles.apns import Apple
from tests.conftest import Served
from tests.samples.recorder import stable
from tests.samples.rest import Story
from tests.samples.socket import SocketStory, session_of
from tests.support.people import RawSocket

FILE = Path("server/samples.json")


async def collect(server: Served, apple: Apple) -> dict[str, Any]:
    """``server`` pushes to ``apple``, and may call webhooks of private addresses."""
    async with receiver() as (url, calls):
        admin = await server.people.make("Root", grant=["admin"])
        hook = {"url": url, "events": EVENTS}
        assert (await admin.post("/api/v1/admin/webhooks", hook)).status == 201
        rest = await Story(server, apple, url).run()
        while {each["type"] for each in calls} != set(EVENTS):
            await asyncio.sleep(0.05)
    story = SocketStory(server)
    sockets = await story.run()
    samples = {
        "rest": rest,
        "inbound": {name: {"payload": story.payloads[name], "ack": story.acks[name]} for name in story.acks},
        "outbound": received(sockets),
        "webhooks": {name: next(each for each in reversed(calls) if each["type"] == name) for name in EVENTS},
    }
    return {**stable(samples), "session": stable(await session_of(server))}


EVENTS = [
    "message:new", "message:updated", "message:deleted", "stream:status", "push:failed", "report:new", "member:banned",
]  # fmt: skip


def received(sockets: Sequence[RawSocket]) -> dict[str, Any]:
    """The first of each event."""
    found: dict[str, Any] = {}
    for socket in sockets:
        for name, arguments in socket.events:
            found.setdefault(name, arguments)
    return found


@contextlib.asynccontextmanager
async def receiver() -> AsyncIterator[tuple[str, list[Any]]]:
    """An endpoint of webhooks; its URL, and the calls that it got."""
    calls: list[Any] = []

    async def on_call(request: web.Request) -> web.Response:
        calls.append(orjson.loads(await request.read()))
        return web.Response()

    async def on_call_gone(request: web.Request) -> web.Response:
        return web.Response(status=410)

    app = web.Application()
    app.router.add_post("/hook", on_call)
    app.router.add_post("/hook/gone", on_call_gone)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/hook", calls
    finally:
        await runner.cleanup()


def written(samples: Any) -> bytes:
    return orjson.dumps(samples, option=orjson.OPT_INDENT_2) + b"\n"
