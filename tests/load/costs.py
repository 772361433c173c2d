"""What the most expensive allowed call of every route and event costs, beside what it takes from a user's budget.

``python -m tests.load.costs`` measures; with ``--write docs/security.md`` the table goes there. A call is repeated, eight at
a time, and the CPU of the server's process, and on PostgreSQL of the database's, is divided by how many there were.
"""

import argparse
import asyncio
import contextlib
import itertools
import secrets
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import psutil
import uvloop
from rich.console import Console
from rich.table import Table

from realtime.fanout.session import UNITS_PER_ITEM
from realtime.namespace import INBOUND, UNITS_OF_CONNECT
from server.routes import ROUTES
from storage.database import Database
from tests.load.servers import postgres, product
from tests.load.target import Target, User, gathered
from tests.load.wire import Wire
from tests.support.files import encoded

BEGIN, END = "<!-- costs: begin -->", "<!-- costs: end -->"
PINNED, MENTIONED = 50, 50
EVERYTHING = ("admin", "platform.admin")
TIMES, AT_ONCE, MANY, PAGE = 41, 8, 500, 200
TEXT, METADATA = "x" * 16_000, {"key": "v" * 4_000}
UNIT_SECONDS = 1e-4
# Two measurements of one call differ by so much.
TOLERANCE = 1.25
AUTH, USERS, CHATS, MESSAGES = "/api/v1/auth", "/api/v1/users", "/api/v2/chats", "/api/v2/messages"
MEDIA, STREAMS, ADMIN = "/api/v2/media", "/api/v1/streams", "/api/v1/admin"
# The dialects' own routes run the same code as the envelope's.
CANONICAL = "/api/v1/notifications"
CONNECT = "CONNECT"


@dataclass(frozen=True)
class Asked:
    """A request: its path and body; ``items`` is what ``units_per_item`` counts."""

    path: str
    body: Any = None
    form: bool = False
    items: int = 0


@dataclass
class World:
    """One user's, who has as much of everything as the limits allow, or enough to show what more of it costs."""

    target: Target
    http: aiohttp.ClientSession
    ids: dict[str, str] = field(default_factory=dict)
    people: list[User] = field(default_factory=list)

    async def ask(self, method: str, path: str, body: Any = None) -> Any:
        async with self.http.request(method, self.target.url + path, json=body) as answer:
            document = await answer.json()
            if answer.status >= 400:
                raise SystemExit(f"{method} {path}: {answer.status} {document}")
        return document.get("data", document) if isinstance(document, dict) else document

    async def message(self, **more: Any) -> str:
        body = {"type": "text", "chatId": self.ids["chat"], "content": "x", **more}
        return str((await self.ask("POST", MESSAGES, body))["_id"])

    async def thread(self, number: int) -> None:
        """One that the user follows, with a reply of somebody else that mentions them; some are pinned."""
        root = await self.message(chatId=self.ids["large"])
        body = {
            "type": "text", "chatId": self.ids["large"], "content": "x", "threadId": root, "mentions": [self.ids["me"]],
        }  # fmt: skip
        headers = {"Authorization": f"Bearer {self.people[0].token}"}
        async with self.http.post(self.target.url + MESSAGES, json=body, headers=headers) as answer:
            assert answer.status == 201, await answer.text()
        if number < PINNED:
            await self.ask("PUT", f"{MESSAGES}/{root}/pin")

    async def group(self, members: int = 0) -> str:
        body = {"type": "group", "name": "g", "memberIds": [each.id for each in self.people[:members]]}
        return str((await self.ask("POST", CHATS, body))["_id"])

    async def user(self) -> str:
        return str((await self.ask("POST", USERS, {"name": "u"}))["id"])

    async def stream(self) -> str:
        return str((await self.ask("POST", STREAMS, {"title": "s", "startsAt": "2099-01-01T00:00:00Z"}))["id"])

    async def notification(self) -> str:
        return str((await self.ask("POST", CANONICAL, notification(self.ids["me"])))["id"])


def notification(user_id: str) -> dict[str, Any]:
    return {
        "userId": user_id, "type": "info", "category": "c", "title": "t" * 255, "message": "m" * 4_000,
        "metadata": {"key": "v" * 16_000},
    }  # fmt: skip


def device(name: str) -> dict[str, Any]:
    return {"deviceId": name, "platform": "android", "pushToken": secrets.token_hex(16)}


Maker = Callable[[World, int], Awaitable[Asked]]


def same(path: str, body: Any = None, *, items: int = 0) -> Maker:
    async def make(world: World, number: int) -> Asked:
        return Asked(filled(world, path), filled(world, body), items=items)

    return make


def filled(world: World, value: Any) -> Any:
    """``{name}`` in texts is an id of the world, ``{n}`` something new."""
    if isinstance(value, str):
        for name, each in world.ids.items():
            value = value.replace(f"{{{name}}}", each)
        return value.replace("{n}", secrets.token_hex(8))
    if isinstance(value, dict):
        return {name: filled(world, each) for name, each in value.items()}
    return [filled(world, each) for each in value] if isinstance(value, list) else value


def of_new(what: Callable[[World], Awaitable[str]], path: str, body: Any = None) -> Maker:
    """On something that is made for it: ``{id}`` of the path."""

    async def make(world: World, number: int) -> Asked:
        return Asked(filled(world, path.replace("{id}", await what(world))), filled(world, body))

    return make


def of_new_body(what: Callable[[World], Awaitable[str]], body: Any) -> Maker:
    """The same for an event: ``{id}`` of its body."""

    async def make(world: World, number: int) -> Asked:
        new = await what(world)
        return Asked("", {name: new if value == "{id}" else filled(world, value) for name, value in body.items()})

    return make


def people(path: str, field: str, count: int, **more: Any) -> Maker:
    """A body that names so many people."""

    async def make(world: World, number: int) -> Asked:
        ids = [each.id for each in world.people[:count]]
        target = path.replace("{id}", await world.group()) if "{id}" in path else path
        return Asked(target, {**more, field: ids}, items=count)

    return make


async def uploaded(world: World, number: int) -> Asked:
    return Asked(MEDIA, form=True)


async def listed(world: World, number: int) -> Asked:
    words = [f"word{each} {number}" for each in range(5000)]
    return Asked(f"{ADMIN}/word-lists/words", {"words": words, "action": "flag"}, items=len(words))


TEMPLATE = {"key": "K{n}", "category": "c", "title": "t", "message": "m {{ p0 }}", "tenantId": "{tenant}"}
FROM_TEMPLATE = {
    "templateKey": "T", "userId": "{uuid}", "tenantId": "{tenant}", "entityType": "e", "entityId": "1",
    "placeholders": {f"p{number}": "v" * 600 for number in range(100)},
}  # fmt: skip
WEBHOOK = {"url": "https://example.org/hook", "events": ["push:failed"]}
paged = f"?limit={PAGE}"

ROWS: dict[str, Maker] = {
    f"GET {USERS}/me": same(f"{USERS}/me"),
    f"PATCH {USERS}/me": same(f"{USERS}/me", {"name": "n" * 200, "locale": "tr"}),
    f"GET {USERS}/me/sessions": same(f"{USERS}/me/sessions"),
    f"GET {USERS}/me/blocks": same(f"{USERS}/me/blocks{paged}", items=PAGE),
    f"GET {USERS}": same(f"{USERS}?query=o&limit={PAGE}", items=PAGE),
    f"GET {USERS}/{{id}}": same(f"{USERS}/{{other}}"),
    f"POST {USERS}": same(USERS, {"name": "u"}),
    f"PATCH {USERS}/{{id}}": same(f"{USERS}/{{other}}", {"name": "n{n}"}),
    f"POST {USERS}/{{id}}/tokens": same(f"{USERS}/{{other}}/tokens", {}),
    "POST /api/v1/tenants": same("/api/v1/tenants", {"name": "t"}),
    f"POST {CHATS}": people(CHATS, "memberIds", MANY, type="group", name="g"),
    f"GET {CHATS}": same(f"{CHATS}{paged}", items=PAGE),
    f"GET {CHATS}/{{id}}": same(f"{CHATS}/{{large}}"),
    f"PATCH {CHATS}/{{id}}": same(f"{CHATS}/{{large}}", {"name": "n{n}"}),
    f"DELETE {CHATS}/{{id}}": of_new(lambda world: world.group(100), f"{CHATS}/{{id}}"),
    f"GET {CHATS}/{{id}}/members": same(f"{CHATS}/{{large}}/members{paged}", items=PAGE),
    f"POST {CHATS}/{{id}}/members": people(f"{CHATS}/{{id}}/members", "userIds", MANY),
    f"PATCH {CHATS}/{{id}}/members/{{userId}}": same(f"{CHATS}/{{large}}/members/{{other}}", {"role": "admin"}),
    f"DELETE {CHATS}/{{id}}/members/{{userId}}": of_new(
        lambda world: world.group(100), f"{CHATS}/{{id}}/members/{{other}}"
    ),
    f"POST {CHATS}/{{id}}/members/{{userId}}/ban": same(f"{CHATS}/{{room}}/members/{{other}}/ban", {}),
    f"POST {CHATS}/{{id}}/members/{{userId}}/silence": same(f"{CHATS}/{{room}}/members/{{other}}/silence", {}),
    f"GET {CHATS}/{{id}}/bans": same(f"{CHATS}/{{room}}/bans{paged}", items=PAGE),
    f"POST {CHATS}/{{id}}/mute": same(f"{CHATS}/{{large}}/mute", {"until": None}),
    f"GET {CHATS}/{{id}}/events": same(f"{CHATS}/{{large}}/events?limit={PAGE}", items=PAGE),
    f"POST {CHATS}/{{id}}/invite": of_new(World.group, f"{CHATS}/{{id}}/invite"),
    f"POST {MESSAGES}": same(
        MESSAGES, {"type": "text", "chatId": "{chat}", "content": TEXT, "metadata": METADATA, "clientMessageId": "{n}"}
    ),
    f"GET {MESSAGES}": same(f"{MESSAGES}?chatId={{large}}&limit={PAGE}", items=PAGE),
    f"GET {MESSAGES}/{{id}}": same(f"{MESSAGES}/{{message}}"),
    f"GET {MESSAGES}/search": same(f"{MESSAGES}/search?query=xx&limit=50", items=50),
    f"PATCH {MESSAGES}/{{id}}": of_new(World.message, f"{MESSAGES}/{{id}}", {"content": TEXT}),
    f"DELETE {MESSAGES}/{{id}}": of_new(World.message, f"{MESSAGES}/{{id}}"),
    f"POST {MESSAGES}/{{id}}/read": of_new(World.message, f"{MESSAGES}/{{id}}/read"),
    f"PUT {MESSAGES}/{{id}}/reactions/{{key}}": of_new(World.message, f"{MESSAGES}/{{id}}/reactions/:heart:"),
    f"GET {MESSAGES}/{{id}}/reactions": of_new(World.message, f"{MESSAGES}/{{id}}/reactions?key=:heart:"),
    f"PUT {MESSAGES}/{{id}}/pin": of_new(World.message, f"{MESSAGES}/{{id}}/pin"),
    f"GET {CHATS}/{{id}}/pins": same(f"{CHATS}/{{large}}/pins"),
    f"POST {MESSAGES}/{{id}}/thread/follow": of_new(World.message, f"{MESSAGES}/{{id}}/thread/follow"),
    "GET /api/v2/threads": same(f"/api/v2/threads?limit={PAGE}", items=PAGE),
    "GET /api/v2/mentions": same(f"/api/v2/mentions?limit={PAGE}", items=PAGE),
    f"POST {MEDIA}": uploaded,
    f"GET {MEDIA}/{{id}}": same(f"{MEDIA}/{{media}}"),
    f"GET {MEDIA}/{{id}}/thumbnail": same(f"{MEDIA}/{{media}}/thumbnail"),
    f"POST {MEDIA}/{{id}}/link": same(f"{MEDIA}/{{media}}/link"),
    "POST /api/v1/notifications/live-activity-sessions": same(
        "/api/v1/notifications/live-activity-sessions",
        {"streamId": "{stream}", "deviceId": "d", "liveActivityToken": "{n}", "activityId": "a"},
    ),
    f"POST {STREAMS}": same(STREAMS, {"title": "s" * 200, "startsAt": "2099-01-01T00:00:00Z"}),
    f"GET {STREAMS}": same(f"{STREAMS}{paged}", items=PAGE),
    f"GET {STREAMS}/{{id}}": same(f"{STREAMS}/{{stream}}"),
    f"PATCH {STREAMS}/{{id}}": same(f"{STREAMS}/{{stream}}", {"title": "t{n}"}),
    **{
        f"POST {STREAMS}/{{id}}/{verb}": of_new(World.stream, f"{STREAMS}/{{id}}/{verb}")
        for verb in ("ready", "cancel", "follow")
    },
    f"POST {CANONICAL}": same(CANONICAL, notification("{me}")),
    f"GET {CANONICAL}": same(f"{CANONICAL}{paged}", items=PAGE),
    f"GET {CANONICAL}/unread-count": same(f"{CANONICAL}/unread-count"),
    f"POST {CANONICAL}/read-all": same(f"{CANONICAL}/read-all"),
    f"GET {CANONICAL}/{{id}}": same(f"{CANONICAL}/{{notification}}"),
    f"DELETE {CANONICAL}/{{id}}": of_new(World.notification, f"{CANONICAL}/{{id}}"),
    f"POST {CANONICAL}/{{id}}/read": of_new(World.notification, f"{CANONICAL}/{{id}}/read"),
    "POST /v1/notifications": same("/v1/notifications", FROM_TEMPLATE),
    "POST /v1/templates": same("/v1/templates", TEMPLATE),
    "GET /v1/templates": same(f"/v1/templates{paged}", items=PAGE),
    "GET /v1/templates/{key}": same("/v1/templates/T"),
    "PATCH /v1/templates/{key}": same("/v1/templates/T", {"title": "t{n}"}),
    "POST /v1/templates/{key}/preview": same(
        "/v1/templates/T/preview", {"placeholders": FROM_TEMPLATE["placeholders"]}
    ),
    "GET /api/v1/credits": same("/api/v1/credits"),
    "GET /api/v1/credits/transactions": same(f"/api/v1/credits/transactions{paged}", items=PAGE),
    "POST /api/v1/credits/grants": same("/api/v1/credits/grants", {"userId": "{me}", "amount": 1}),
    "POST /api/v1/devices": same("/api/v1/devices", device("d")),
    "GET /api/v1/devices": same(f"/api/v1/devices{paged}", items=PAGE),
    "GET /api/v1/push/config": same("/api/v1/push/config"),
    **{
        f"POST {ADMIN}/users/{{id}}/{verb}": of_new(World.user, f"{ADMIN}/users/{{id}}/{verb}")
        for verb in ("disable", "ban", "sign-out", "reset-link")
    },
    f"POST {ADMIN}/users/{{id}}/export": same(f"{ADMIN}/users/{{me}}/export"),
    f"DELETE {ADMIN}/users/{{id}}": of_new(World.user, f"{ADMIN}/users/{{id}}"),
    f"GET {ADMIN}/audit": same(f"{ADMIN}/audit{paged}", items=PAGE),
    f"POST {ADMIN}/invitations": same(f"{ADMIN}/invitations", {}),
    f"GET {ADMIN}/tenant": same(f"{ADMIN}/tenant"),
    f"PATCH {ADMIN}/tenant": same(f"{ADMIN}/tenant", {"liveActivity": None}),
    f"GET {ADMIN}/push/dead-letters": same(f"{ADMIN}/push/dead-letters{paged}", items=PAGE),
    f"GET {ADMIN}/push/deliveries": same(f"{ADMIN}/push/deliveries?userId={{me}}&limit={PAGE}", items=PAGE),
    f"GET {ADMIN}/webhooks": same(f"{ADMIN}/webhooks{paged}", items=PAGE),
    f"GET {ADMIN}/nodes": same(f"{ADMIN}/nodes"),
    f"GET {ADMIN}/nodes/history": same(f"{ADMIN}/nodes/history"),
    f"GET {ADMIN}/chats": same(f"{ADMIN}/chats?query=g&limit={PAGE}", items=PAGE),
    f"POST {ADMIN}/broadcasts": same(f"{ADMIN}/broadcasts", {"title": "t", "message": "m", "preview": True}),
    f"GET {ADMIN}/broadcasts": same(f"{ADMIN}/broadcasts{paged}", items=PAGE),
    f"GET {ADMIN}/reports": same(f"{ADMIN}/reports{paged}", items=PAGE),
    f"PUT {ADMIN}/word-lists/{{name}}": listed,
    f"GET {ADMIN}/word-lists": same(f"{ADMIN}/word-lists"),
}

# What is not measured, and what it does as much as. Passwords are hashed in a queue of their own, which no price is for.
LIKE = {
    f"DELETE {USERS}/me": f"DELETE {ADMIN}/users/{{id}}",
    f"PUT {USERS}/me/avatar": f"POST {MEDIA}",
    f"POST {USERS}/me/export": f"POST {ADMIN}/users/{{id}}/export",
    f"DELETE {USERS}/me/avatar": f"PATCH {USERS}/me",
    f"GET {USERS}/{{id}}/avatar": f"GET {USERS}/{{id}}",
    f"DELETE {USERS}/me/sessions": f"POST {ADMIN}/users/{{id}}/sign-out",
    f"DELETE {USERS}/me/sessions/{{id}}": f"POST {ADMIN}/users/{{id}}/sign-out",
    f"POST {USERS}/me/blocks": f"POST {STREAMS}/{{id}}/follow",
    f"DELETE {USERS}/me/blocks/{{userId}}": f"POST {STREAMS}/{{id}}/follow",
    f"DELETE {CHATS}/{{id}}/invite": f"POST {CHATS}/{{id}}/invite",
    "POST /api/v2/invites/{token}": f"DELETE {CHATS}/{{id}}/members/{{userId}}",
    f"POST {CHATS}/{{id}}/leave": f"DELETE {CHATS}/{{id}}/members/{{userId}}",
    f"DELETE {CHATS}/{{id}}/members/{{userId}}/ban": f"POST {CHATS}/{{id}}/members/{{userId}}/ban",
    f"DELETE {CHATS}/{{id}}/members/{{userId}}/silence": f"POST {CHATS}/{{id}}/members/{{userId}}/silence",
    f"POST {MESSAGES}/{{id}}/report": f"POST {MESSAGES}/{{id}}/read",
    f"GET {ADMIN}/reports/{{number}}": f"GET {MESSAGES}",
    f"PATCH {ADMIN}/reports/{{number}}": f"POST {CHATS}/{{id}}/members/{{userId}}/ban",
    f"GET {ADMIN}/word-lists/{{name}}": f"GET {ADMIN}/word-lists",
    f"DELETE {ADMIN}/word-lists/{{name}}": f"PUT {ADMIN}/word-lists/{{name}}",
    f"DELETE {MESSAGES}/{{id}}/reactions/{{key}}": f"PUT {MESSAGES}/{{id}}/reactions/{{key}}",
    f"DELETE {MESSAGES}/{{id}}/pin": f"PUT {MESSAGES}/{{id}}/pin",
    f"POST {MESSAGES}/{{id}}/thread/unfollow": f"POST {MESSAGES}/{{id}}/thread/follow",
    f"POST {STREAMS}/{{id}}/start": f"POST {STREAMS}/{{id}}/ready",
    f"POST {STREAMS}/{{id}}/end": f"POST {STREAMS}/{{id}}/ready",
    f"POST {STREAMS}/{{id}}/unfollow": f"POST {STREAMS}/{{id}}/follow",
    "DELETE /v1/templates/{key}": "PATCH /v1/templates/{key}",
    f"POST {ADMIN}/credits/transactions/{{id}}/reverse": "POST /api/v1/credits/grants",
    "DELETE /api/v1/devices/{deviceId}": "POST /api/v1/devices",
    f"POST {ADMIN}/users/{{id}}/enable": f"POST {ADMIN}/users/{{id}}/disable",
    f"POST {ADMIN}/users/{{id}}/unban": f"POST {ADMIN}/users/{{id}}/ban",
    f"POST {ADMIN}/push/dead-letters/{{number}}/retry": "PATCH /v1/templates/{key}",
    **{
        f"{method} {ADMIN}/webhooks{path}": "PATCH /v1/templates/{key}"
        for method, path in (
            ("POST", ""),
            ("PATCH", "/{id}"),
            ("DELETE", "/{id}"),
            ("POST", "/{id}/calls/{number}/retry"),
        )
    },
    f"GET {ADMIN}/webhooks/{{id}}/calls": f"GET {ADMIN}/push/deliveries",
}


def measured_as(key: str) -> str | None:
    """The row that says what a route costs; None for one that hashes a password or reads a token."""
    method, path = key.split(" ")
    if path.startswith(AUTH):
        return None
    path = path.removeprefix("/notification")
    if path.startswith("/v1/notifications") and f"{method} {path}" not in ROWS:
        path = f"/api{path}"
    key = f"{method} {path}"
    return key if key in ROWS else LIKE[key]


EVENTS: dict[str, Maker] = {
    "message:send": same("", {"type": "text", "chatId": "{chat}", "content": TEXT, "metadata": METADATA}),
    "message:edit": of_new_body(World.message, {"messageId": "{id}", "content": TEXT}),
    "message:delete": of_new_body(World.message, {"messageId": "{id}"}),
    "message:read": of_new_body(World.message, {"messageId": "{id}", "chatId": "{chat}"}),
    "reaction:add": of_new_body(World.message, {"messageId": "{id}", "key": ":heart:"}),
    "reaction:remove": of_new_body(World.message, {"messageId": "{id}", "key": ":heart:"}),
    "typing": same("", {"chatId": "{chat}"}),
    "stream:watch": of_new_body(World.stream, {"streamId": "{id}"}),
    "stream:unwatch": same("", {"streamId": "{stream}"}),
    "stream:react": same("", {"streamId": "{open}", "key": ":heart:", "count": 20}),
    "presence:watch": people("", "userIds", MANY),
    "notification:read": of_new_body(World.notification, {"id": "{id}"}),
    "session:refresh": same("", {"token": "{token}"}),
    "app:state": same("", {"active": True}),
}


@dataclass(frozen=True)
class Cost:
    """Seconds of a core for one call: of the server, and of the database where it is a process of its own."""

    server: float
    database: float


class Cores:
    """What the server and the database have used of the processor, exactly, from the kernel's clocks."""

    def __init__(self, pid: int, postmaster: int | None) -> None:
        self.pid = pid
        self.postmaster = postmaster
        # Of connections that are closed by now, too.
        self.backends: dict[int, float] = {}

    def used(self) -> tuple[float, float]:
        alive = psutil.Process(self.postmaster).children(recursive=True) if self.postmaster else []
        self.backends |= {each.pid: clock(each.pid) for each in alive}
        return clock(self.pid), sum(self.backends.values())


def clock(pid: int) -> float:
    """Of all threads of a process (clock_getcpuclockid(3); its number is that of Linux)."""
    with contextlib.suppress(OSError):
        return time.clock_gettime(~pid << 3 | 2)
    return 0.0


async def made(target: Target, http: aiohttp.ClientSession) -> World:
    """200 chats of 501, of which one has 1,000 messages; 500 people; 200 of everything else that a page shows."""
    world = World(target, http)
    me = await world.ask("GET", f"{USERS}/me")
    world.ids |= {"me": me["id"], "tenant": me["tenantId"], "uuid": me["uuid"], "token": target.token}
    world.people = await target.users(MANY)
    world.ids["other"] = world.people[0].id
    world.ids["chat"] = await world.group(1)
    world.ids["large"] = await world.group(MANY)
    for number in range(PAGE):
        await world.ask("PATCH", f"{CHATS}/{world.ids['large']}", {"name": f"Group {number}"})
    await gathered(world.group(MANY) for _ in range(PAGE - 2))
    for _ in range(1_000 // PAGE):
        await gathered(world.message(chatId=world.ids["large"], content="x" * 500) for _ in range(PAGE))
    await gathered(world.thread(number) for number in range(PAGE))
    world.ids["message"] = world.ids["root"] = await world.message()
    await gathered(world.notification() for _ in range(PAGE))
    world.ids["notification"] = await world.notification()
    await gathered(world.stream() for _ in range(PAGE))
    world.ids["stream"] = await world.stream()
    body = {"title": "s", "startsAt": "2099-01-01T00:00:00Z", "audience": "open"}
    opened = await world.ask("POST", STREAMS, body)
    world.ids["open"], world.ids["room"] = opened["id"], opened["chatId"]
    ban = f"{CHATS}/{opened['chatId']}/members"
    await gathered(world.ask("POST", f"{ban}/{each.id}/ban", {}) for each in world.people[1 : PAGE + 1])
    await gathered(world.ask("POST", "/api/v1/credits/grants", {"userId": me["id"], "amount": 1}) for _ in range(PAGE))
    await world.ask("POST", "/v1/templates", filled(world, {**TEMPLATE, "key": "T"}))
    form = aiohttp.FormData()
    form.add_field("file", encoded("PNG", (64, 64)), filename="a.png")
    async with http.post(target.url + MEDIA, data=form) as answer:
        world.ids["media"] = (await answer.json())["id"]
    return world


async def measured(world: World, cores: Cores) -> dict[str, tuple[Cost, int]]:
    """By route or event the cost of one call, and how many items it was for."""
    found: dict[str, tuple[Cost, int]] = {}
    for key, make in ROWS.items():
        method = key.split(" ")[0]
        asked = [await make(world, number) for number in range(TIMES)]
        await send(world, method, asked[0])
        found[key] = (
            await spent(cores, asked[1:], lambda each, method=method: send(world, method, each)),  # type: ignore[misc]
            asked[0].items,
        )
    user = User(world.ids["me"], world.target.token)
    wire = await world.target.connect(user)
    ready = orjson.loads((await wire.ready).partition(b",")[2])[1]
    me = Acks(wire)
    await me.emit("stream:watch", {"streamId": world.ids["open"]})
    for name, make in EVENTS.items():
        asked = [await make(world, number) for number in range(TIMES)]
        await me.emit(name, asked[0].body)
        found[name] = await spent(cores, asked[1:], lambda each, name=name: me.emit(name, each.body)), asked[0].items  # type: ignore[misc]
    wire.transport.abort()
    await wire.closed
    channel = f"chat:{world.ids['large']}"
    resume = {"offsets": {channel: 0}, "epoch": ready["epoch"]}
    cost = await spent(cores, [Asked("")] * (TIMES - 1), lambda _: connect(world.target, user, resume))
    found[CONNECT] = cost, len(ready["heads"]) + ready["heads"][channel]
    return found


async def connect(target: Target, user: User, resume: dict[str, Any]) -> None:
    wire = await target.connect(user, **resume)
    wire.transport.abort()
    await wire.closed


async def spent(cores: Cores, asked: Sequence[Asked], call: Callable[[Asked], Awaitable[None]]) -> Cost:
    """After what was begun before has ended."""
    await asyncio.sleep(0.2)
    before = cores.used()
    await gathered((call(each) for each in asked), AT_ONCE)
    server, database = (after - earlier for after, earlier in zip(cores.used(), before, strict=True))
    return Cost(server / len(asked), database / len(asked))


async def send(world: World, method: str, asked: Asked) -> None:
    form = None
    if asked.form:
        form = aiohttp.FormData()
        form.add_field("file", encoded("PNG", (64, 64)), filename="a.png")
    async with world.http.request(method, world.target.url + asked.path, json=asked.body, data=form) as answer:
        text = await answer.text(errors="replace")
        if answer.status >= 400:
            raise SystemExit(f"{method} {asked.path}: {answer.status} {text}")


class Acks:
    """The events of one socket, each with its ack."""

    def __init__(self, wire: Wire) -> None:
        self.wire = wire
        self.ids = itertools.count(1)
        self.waiting: dict[bytes, asyncio.Future[bytes]] = {}
        wire.heard = self.heard

    def heard(self, packet: bytes) -> None:
        head, _, document = packet.partition(b"[")
        if (waiting := self.waiting.pop(head, None)) and not waiting.done():
            waiting.set_result(document[:-1])

    async def emit(self, name: str, body: Any) -> None:
        id = next(self.ids)
        acked = self.waiting[b"43/chat,%d" % id] = asyncio.get_running_loop().create_future()
        self.wire.emit(id, name, body)
        answer = orjson.loads(await acked)
        if not answer["isSuccess"]:
            raise SystemExit(f"{name}: {answer}")


UNLIMITED = {
    f"BELLWIRE_MAX_{name}": "1000000"
    for name in (
        "GROUPS_PER_DAY",
        "UPLOADS_PER_MINUTE",
        "FOLLOWS_PER_MINUTE",
        "STREAMS_WATCHED",
        "STREAMS_FOLLOWED",
        "REACTIONS_PER_SECOND",
        "DECODER_SECONDS_PER_MINUTE",
        "DECODER_SECONDS_AT_ONCE",
    )
}


async def run() -> list[list[str]]:
    """The rows of the table: the route or event, SQLite, PostgreSQL's server and database, and the units."""
    async with product(*EVERYTHING, **UNLIMITED) as target:
        embedded = await figures(target, None)
    async with postgres() as (url, postmaster):
        await Database(url).migrate()
        async with product(*EVERYTHING, BELLWIRE_DATABASE_URL=url, **UNLIMITED) as target:
            apart = await figures(target, postmaster)
    return [row(key, cost, apart[key][0], items) for key, (cost, items) in embedded.items()]


async def figures(target: Target, postmaster: int | None) -> dict[str, tuple[Cost, int]]:
    assert target.pid
    async with target.http() as http:
        return await measured(await made(target, http), Cores(target.pid, postmaster))


def row(key: str, embedded: Cost, apart: Cost, items: int) -> list[str]:
    priced = PRICED[key]
    units = priced.units + priced.units_per_item * items
    return [
        f"`{key}`" + (f", {items}" if items else ""),
        *(f"{seconds * 1e3:.2f}" for seconds in (embedded.server, apart.server, apart.database)),
        f"{units:g}" + (" *" if embedded.server / UNIT_SECONDS > TOLERANCE * units else ""),
    ]


@dataclass(frozen=True)
class Price:
    """Of CONNECT; its items are the channels that are subscribed to, and the events that are replayed."""

    units: float = UNITS_OF_CONNECT
    units_per_item: float = UNITS_PER_ITEM


PRICED: dict[str, Any] = {f"{each.method} {each.path}": each for each in ROUTES} | INBOUND | {CONNECT: Price()}
HEAD = ["call, items", "on SQLite, ms", "on PostgreSQL, ms", "PostgreSQL itself, ms", "units"]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.load.costs", description=__doc__)
    parser.add_argument("--write", type=Path, metavar="FILE")
    asked = parser.parse_args()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        rows = runner.run(run())
    if asked.write:
        before, _, rest = asked.write.read_text().partition(BEGIN)
        lines = [HEAD, ["---", *["--:"] * 4], *rows]
        table = "\n".join(f"| {' | '.join(each)} |" for each in lines)
        asked.write.write_text(f"{before}{BEGIN}\n\n{table}\n\n{END}{rest.partition(END)[2]}")
    shown = Table(*HEAD)
    for each in rows:
        shown.add_row(*each)
    Console(width=140).print(shown)


if __name__ == "__main__":
    main()
