"""Who may do what: every route and every event, asked by everybody.

The rows are held to the tables of routes and events: one without a row fails. A row names the answer to each of seven people
with a good token, and where it differs that to three more; those without one are refused everywhere in the same words.
"""

import io
import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import jwt
import pytest
from PIL import Image
from sqlalchemy import func, select

from realtime.namespace import INBOUND
from realtime.tokens import Refresh
from server.route import Route
from server.routes import ROUTES
from storage import logins
from storage.models import audit
from storage.transaction import Command
from tests.conftest import Served
from tests.support.files import encoded
from tests.support.people import Answer, Api, Person, RawSocket

PEOPLE = ("foreign", "foreign_admin", "stranger", "removed", "reader", "member", "admin")
# Who might only read the chat and left it, whom the stream's owner blocks, and whose token permits one thing alone: like
# somebody else, unless the row says so.
LIKE = {"left": "removed", "blocked": "stranger", "sender": "stranger"}
EVERYBODY = (*PEOPLE, *LIKE)
ABSENT = "f" * 24
OK = 0
WEBHOOK = {"url": "https://example.org/hook", "events": ["push:failed"]}
TEMPLATE = {"key": "T", "category": "c", "title": "t", "message": "m"}


@dataclass
class World:
    """A tenant with a chat and one thing of each kind; ``member`` owns most of them. Of the other tenant two people."""

    server: Served
    people: dict[str, Person] = field(default_factory=dict)
    ids: dict[str, str] = field(default_factory=dict)

    def __getattr__(self, name: str) -> Person:
        return self.people[name]


async def world(server: Served) -> World:
    made, people = World(server), server.people
    abroad = await people.tenant()
    for name in ("owner", "stranger", "removed", "reader", "member", "left", "blocked"):
        made.people[name] = await people.make(name)
    everything = ["notifications.send", "streams.manage", "credits.grant"]
    made.people["host"] = host = await people.make("host", grant=everything)
    made.people["sender"] = await people.make("sender", grant=["notifications.send"])
    made.people["admin"] = await people.make("admin", permissions=["admin"])
    made.people["foreign"] = await people.make("foreign", tenant=abroad)
    made.people["foreign_admin"] = await people.make("foreign admin", tenant=abroad, permissions=["admin"])
    # A tenant keeps an admin, so each has another one.
    for tenant in ({}, {"tenant": abroad}):
        await people.make("another admin", permissions=["admin"], **tenant)
    owner, member, ids = made.owner, made.member, made.ids

    ids["chat"] = chat = await owner.group(made.removed, made.reader, member, made.left)
    for each in (made.reader, made.left):
        await owner.patch(f"/api/v2/chats/{chat}/members/{each.id}", {"role": "readonly"})
    assert (await made.left.post(f"/api/v2/chats/{chat}/leave")).status == 200
    ids["message"] = (await member.send(chat))["_id"]
    ids["of_owner"] = (await owner.send(chat))["_id"]
    picture = io.BytesIO()
    Image.new("RGB", (32, 32)).save(picture, "PNG")
    form = aiohttp.FormData({"type": "media", "chatId": chat})
    form.add_field("file", picture.getvalue(), filename="a.png")
    sent = await owner.post("/api/v2/messages", data=form)
    own = aiohttp.FormData()
    own.add_field("file", picture.getvalue(), filename="a.png")
    assert (await host.put("/api/v1/users/me/avatar", data=own)).status == 200
    ids["media"] = sent.json["media"]["id"]
    assert (await owner.delete(f"/api/v2/chats/{chat}/members/{made.removed.id}")).status == 200

    stream = await host.post("/api/v1/streams", {"title": "s", "startsAt": "2099-01-01T00:00:00Z"})
    ids["stream"] = stream.json["data"]["id"]
    assert (await host.post("/api/v1/users/me/blocks", {"userId": made.blocked.id})).status == 201
    notification = {"userId": member.id, "type": "info", "category": "c", "title": "t", "message": "m"}
    ids["notification"] = (await host.post("/api/v1/notifications", notification)).json["data"]["id"]
    ids["tenant"] = (await made.admin.get("/api/v1/users/me")).json["data"]["tenantId"]
    assert (await made.admin.post("/v1/templates", {**TEMPLATE, "tenantId": ids["tenant"]})).status in (201, 409)
    assert (await host.post("/api/v1/credits/grants", {"userId": member.id, "amount": 5})).status == 201
    transactions = (await member.get("/api/v1/credits/transactions")).json["data"]["items"]
    ids["transaction"] = transactions[0]["id"]
    hooks = (await made.admin.get(f"{ADMIN}/webhooks")).json["data"]["items"]
    ids["webhook"] = (
        hooks[0]["id"] if hooks else (await made.admin.post(f"{ADMIN}/webhooks", WEBHOOK)).json["data"]["id"]
    )
    assert (await member.post("/api/v1/devices", device("d"))).status == 201
    assert (await member.post("/api/v1/users/me/blocks", {"userId": made.stranger.id})).status == 201
    return made


def device(name: str) -> dict[str, Any]:
    return {"deviceId": name, "platform": "android", "pushToken": f"token-{time.time_ns()}"}


Body = Callable[[World, str], Any]
NO_BODY: Body = lambda world, who: None  # noqa: E731


@dataclass(frozen=True)
class Row:
    """``told`` are the statuses for PEOPLE, 0 for the route's own success; ``spoils`` what is changed for those after.

    ``besides`` are those of the others who are told something else than those whom they are like.
    """

    told: tuple[int, ...]
    body: Body = NO_BODY
    ids: tuple[str, ...] = ()
    query: str = ""
    spoils: bool = False
    form: bool = False
    besides: Mapping[str, int] = field(default_factory=dict)

    def each(self) -> Iterator[tuple[str, int]]:
        told = dict(zip(PEOPLE, self.told, strict=True))
        told |= {who: told[like] for who, like in LIKE.items()} | dict(self.besides)
        return iter(told.items())


def everybody(**options: Any) -> Row:
    return Row((OK,) * 7, **options)


def nobody(status: int, **options: Any) -> Row:
    return Row((status,) * 7, **options)


def in_tenant(**options: Any) -> Row:
    return Row((404, 404, OK, OK, OK, OK, OK), **options)


def in_chat(**options: Any) -> Row:
    return Row((404, 404, 404, 404, OK, OK, 404), **options)


def writes_in_chat(**options: Any) -> Row:
    return Row((404, 404, 404, 404, 403, OK, 404), **options)


def leads_chat(**options: Any) -> Row:
    """Its owner, who is not among the seven."""
    return Row((404, 404, 404, 404, 403, 403, 404), **options)


def of_member(**options: Any) -> Row:
    return Row((404, 404, 404, 404, 404, OK, 404), **options)


def admins(foreign: int = OK, **options: Any) -> Row:
    """``foreign`` is what the other tenant's admin is told."""
    return Row((403, foreign, 403, 403, 403, 403, OK), **options)


def same(value: Any) -> Body:
    return lambda world, who: value


def notification(world: World, who: str) -> dict[str, Any]:
    return {"userId": world.member.id, "type": "info", "category": "c", "title": "t", "message": "m"}


def from_template(world: World, who: str) -> dict[str, Any]:
    return {
        "templateKey": "T", "userId": world.member.user.uuid, "tenantId": world.ids["tenant"], "entityType": "e",
        "entityId": "1", "placeholders": {},
    }  # fmt: skip


def template(world: World, who: str) -> dict[str, Any]:
    return {**TEMPLATE, "key": f"T{time.time_ns()}", "tenantId": world.ids["tenant"]}


def activity(world: World, who: str) -> dict[str, Any]:
    return {"streamId": world.ids["stream"], "deviceId": who, "liveActivityToken": who, "activityId": who}


def text(world: World, who: str) -> dict[str, Any]:
    return {"type": "text", "chatId": world.ids["chat"], "content": who}


AUTH, USERS, CHATS, MESSAGES = "/api/v1/auth", "/api/v1/users", "/api/v2/chats", "/api/v2/messages"
MEDIA, STREAMS, ADMIN = "/api/v2/media", "/api/v1/streams", "/api/v1/admin"
STREAM_OWNER = Row((404, 404, 403, 403, 403, 403, OK), ids=("stream",), spoils=True)

ROWS: dict[str, Row] = {
    f"POST {AUTH}/password": nobody(403, body=same({"old": "wrong password", "new": "another password"})),
    f"GET {USERS}/me": everybody(),
    f"PATCH {USERS}/me": everybody(body=same({"locale": "en"})),
    f"DELETE {USERS}/me": everybody(spoils=True),
    f"GET {USERS}/me/sessions": everybody(),
    f"DELETE {USERS}/me/sessions": everybody(spoils=True),
    f"DELETE {USERS}/me/sessions/{{id}}": nobody(404, ids=("chat",)),
    f"GET {USERS}/me/blocks": everybody(),
    f"POST {USERS}/me/blocks": Row(
        (404, 404, OK, OK, OK, 400, OK), body=lambda world, who: {"userId": world.member.id}, spoils=True
    ),
    f"DELETE {USERS}/me/blocks/{{userId}}": of_member(ids=("stranger",), spoils=True),
    f"PUT {USERS}/me/avatar": everybody(form=True),
    f"POST {USERS}/me/export": everybody(),
    f"GET {USERS}/{{id}}/avatar": in_tenant(ids=("host",)),
    f"DELETE {USERS}/me/avatar": everybody(spoils=True),
    f"GET {USERS}": everybody(query="?query=member"),
    f"GET {USERS}/{{id}}": in_tenant(ids=("member",)),
    f"POST {USERS}": admins(body=lambda world, who: {"name": who}),
    f"PATCH {USERS}/{{id}}": admins(404, ids=("member",), body=same({"name": "Member"})),
    f"POST {USERS}/{{id}}/tokens": admins(404, ids=("member",), body=same({})),
    "POST /api/v1/tenants": nobody(403, body=same({"name": "x"})),
    f"POST {CHATS}": everybody(body=same({"type": "group", "name": "x", "memberIds": []})),
    f"GET {CHATS}": everybody(),
    f"GET {CHATS}/{{id}}": in_chat(ids=("chat",)),
    f"PATCH {CHATS}/{{id}}": leads_chat(ids=("chat",), body=same({"name": "x"})),
    f"DELETE {CHATS}/{{id}}": leads_chat(ids=("chat",)),
    f"GET {CHATS}/{{id}}/members": in_chat(ids=("chat",)),
    f"POST {CHATS}/{{id}}/members": leads_chat(ids=("chat",), body=lambda world, who: {"userIds": [world.stranger.id]}),
    f"PATCH {CHATS}/{{id}}/members/{{userId}}": leads_chat(ids=("chat", "reader"), body=same({"role": "admin"})),
    f"DELETE {CHATS}/{{id}}/members/{{userId}}": leads_chat(ids=("chat", "owner")),
    f"POST {CHATS}/{{id}}/members/{{userId}}/ban": leads_chat(ids=("chat", "reader"), body=same({})),
    f"DELETE {CHATS}/{{id}}/members/{{userId}}/ban": leads_chat(ids=("chat", "reader")),
    f"GET {CHATS}/{{id}}/bans": leads_chat(ids=("chat",)),
    f"POST {CHATS}/{{id}}/members/{{userId}}/silence": leads_chat(ids=("chat", "reader"), body=same({})),
    f"DELETE {CHATS}/{{id}}/members/{{userId}}/silence": leads_chat(ids=("chat", "reader")),
    f"GET {CHATS}/{{id}}/events": in_chat(ids=("chat",)),
    f"POST {CHATS}/{{id}}/invite": leads_chat(ids=("chat",)),
    f"DELETE {CHATS}/{{id}}/invite": leads_chat(ids=("chat",)),
    "POST /api/v2/invites/{token}": nobody(404, ids=("chat",)),
    f"POST {CHATS}/{{id}}/leave": in_chat(ids=("chat",), spoils=True),
    f"POST {CHATS}/{{id}}/mute": in_chat(ids=("chat",), body=same({"until": None})),
    f"POST {MESSAGES}": writes_in_chat(body=text),
    f"GET {MESSAGES}": in_chat(query="?chatId={chat}"),
    f"GET {MESSAGES}/{{id}}": in_chat(ids=("message",)),
    f"PATCH {MESSAGES}/{{id}}": writes_in_chat(ids=("message",), body=same({"content": "x"})),
    f"DELETE {MESSAGES}/{{id}}": writes_in_chat(ids=("message",), spoils=True),
    f"POST {MESSAGES}/{{id}}/read": in_chat(ids=("message",)),
    f"PUT {MESSAGES}/{{id}}/reactions/{{key}}": writes_in_chat(ids=("message", ":x:")),
    f"DELETE {MESSAGES}/{{id}}/reactions/{{key}}": writes_in_chat(ids=("message", ":x:")),
    f"GET {MESSAGES}/{{id}}/reactions": in_chat(ids=("message",), query="?key=:x:"),
    f"PUT {MESSAGES}/{{id}}/pin": leads_chat(ids=("message",)),
    f"DELETE {MESSAGES}/{{id}}/pin": leads_chat(ids=("message",)),
    f"GET {CHATS}/{{id}}/pins": in_chat(ids=("chat",)),
    f"POST {MESSAGES}/{{id}}/thread/follow": in_chat(ids=("message",)),
    f"POST {MESSAGES}/{{id}}/thread/unfollow": in_chat(ids=("message",)),
    f"GET {MESSAGES}/search": in_chat(query="?query=plum&chatId={chat}"),
    "GET /api/v2/threads": everybody(),
    "GET /api/v2/mentions": everybody(),
    f"POST {MESSAGES}/{{id}}/report": in_chat(ids=("of_owner",), body=same({"reason": "x"})),
    f"POST {MEDIA}": everybody(form=True),
    f"GET {MEDIA}/{{id}}": in_chat(ids=("media",)),
    f"GET {MEDIA}/{{id}}/thumbnail": in_chat(ids=("media",)),
    f"POST {MEDIA}/{{id}}/link": in_chat(ids=("media",)),
    "POST /api/v1/notifications/live-activity-sessions": in_tenant(body=activity, besides={"blocked": 403}),
    f"POST {STREAMS}": admins(body=same({"title": "s", "startsAt": "2099-01-01T00:00:00Z"})),
    f"GET {STREAMS}": everybody(),
    f"GET {STREAMS}/{{id}}": in_tenant(ids=("stream",)),
    f"PATCH {STREAMS}/{{id}}": Row(STREAM_OWNER.told, ids=("stream",), body=same({"title": "x"})),
    f"POST {STREAMS}/{{id}}/ready": STREAM_OWNER,
    f"POST {STREAMS}/{{id}}/start": Row((404, 404, 403, 403, 403, 403, 409), ids=("stream",)),
    f"POST {STREAMS}/{{id}}/end": Row((404, 404, 403, 403, 403, 403, 409), ids=("stream",)),
    f"POST {STREAMS}/{{id}}/cancel": STREAM_OWNER,
    f"POST {STREAMS}/{{id}}/follow": in_tenant(ids=("stream",), besides={"blocked": 403}),
    f"POST {STREAMS}/{{id}}/unfollow": in_tenant(ids=("stream",)),
    "POST /api/v1/notifications": admins(404, body=notification, besides={"sender": OK}),
    "GET /api/v1/credits": everybody(),
    "GET /api/v1/credits/transactions": everybody(),
    "POST /api/v1/credits/grants": admins(404, body=lambda world, who: {"userId": world.member.id, "amount": 1}),
    f"POST {ADMIN}/credits/transactions/{{id}}/reverse": admins(404, ids=("transaction",), spoils=True),
    "POST /api/v1/devices": everybody(body=lambda world, who: device(f"{who}-{time.time_ns()}")),
    "GET /api/v1/devices": everybody(),
    "GET /api/v1/push/config": everybody(),
    "DELETE /api/v1/devices/{deviceId}": of_member(ids=("d",), spoils=True),
    **{
        f"POST {ADMIN}/users/{{id}}/{verb}": admins(404, ids=("reader",), spoils=True)
        for verb in ("disable", "enable", "ban", "unban", "sign-out", "reset-link")
    },
    f"DELETE {ADMIN}/users/{{id}}": admins(404, ids=("reader",), spoils=True),
    f"POST {ADMIN}/users/{{id}}/export": admins(404, ids=("reader",)),
    f"GET {ADMIN}/audit": admins(),
    f"POST {ADMIN}/invitations": admins(body=same({})),
    f"GET {ADMIN}/tenant": admins(),
    f"PATCH {ADMIN}/tenant": admins(body=same({"liveActivity": None})),
    f"GET {ADMIN}/push/dead-letters": admins(),
    f"POST {ADMIN}/push/dead-letters/{{number}}/retry": Row((403, 404, 403, 403, 403, 403, 404), ids=("1",)),
    f"GET {ADMIN}/push/deliveries": admins(404, query="?userId={member}"),
    f"POST {ADMIN}/webhooks": admins(body=same(WEBHOOK)),
    f"GET {ADMIN}/webhooks": admins(),
    f"PATCH {ADMIN}/webhooks/{{id}}": admins(404, ids=("webhook",), body=same({"active": True})),
    f"DELETE {ADMIN}/webhooks/{{id}}": admins(404, ids=("webhook",), spoils=True),
    f"GET {ADMIN}/webhooks/{{id}}/calls": admins(404, ids=("webhook",)),
    f"POST {ADMIN}/webhooks/{{id}}/calls/{{number}}/retry": Row(
        (403, 404, 403, 403, 403, 403, 404), ids=("webhook", "1")
    ),
    f"GET {ADMIN}/nodes": Row((403, 403, 403, 403, 403, 403, OK)),
    f"GET {ADMIN}/nodes/history": Row((403, 403, 403, 403, 403, 403, OK)),
    f"GET {ADMIN}/chats": admins(query="?query=Group"),
    f"POST {ADMIN}/broadcasts": admins(body=same({"title": "t", "message": "m", "preview": True})),
    f"GET {ADMIN}/broadcasts": admins(),
    f"GET {ADMIN}/reports": admins(),
    f"GET {ADMIN}/reports/{{number}}": Row((403, 404, 403, 403, 403, 403, 404), ids=("99",)),
    f"PATCH {ADMIN}/reports/{{number}}": Row(
        (403, 404, 403, 403, 403, 403, 404), ids=("99",), body=same({"state": "dismissed"})
    ),
    f"GET {ADMIN}/word-lists": admins(),
    f"GET {ADMIN}/word-lists/{{name}}": Row((403, 404, 403, 403, 403, 403, 404), ids=("rude",)),
    f"PUT {ADMIN}/word-lists/{{name}}": admins(ids=("rude",), body=same({"words": ["x9"], "action": "flag"})),
    f"DELETE {ADMIN}/word-lists/{{name}}": admins(ids=("rude",)),
}
for prefix in ("/api/v1", "/v1", "/notification/v1"):
    ROWS |= {
        f"GET {prefix}/notifications": everybody(),
        f"GET {prefix}/notifications/unread-count": everybody(),
        f"POST {prefix}/notifications/read-all": everybody(spoils=True),
        f"GET {prefix}/notifications/{{id}}": of_member(ids=("notification",)),
        f"DELETE {prefix}/notifications/{{id}}": of_member(ids=("notification",), spoils=True),
        f"POST {prefix}/notifications/{{id}}/read": of_member(ids=("notification",), spoils=True),
    }
for prefix in ("/v1", "/notification/v1"):
    ROWS |= {
        f"POST {prefix}/notifications": admins(404, body=from_template, besides={"sender": OK}),
        f"POST {prefix}/templates": admins(404, body=template),
        f"GET {prefix}/templates": admins(),
        f"GET {prefix}/templates/{{key}}": admins(404, ids=("T",)),
        f"PATCH {prefix}/templates/{{key}}": admins(404, ids=("T",), body=same({"title": "x"})),
        f"DELETE {prefix}/templates/{{key}}": admins(404, ids=("T",), spoils=True),
        f"POST {prefix}/templates/{{key}}/preview": admins(404, ids=("T",), body=same({"placeholders": {}})),
    }
# Without a token: what they are for is to get one.
OPEN = {f"POST {AUTH}/{verb}" for verb in ("register", "login", "refresh", "logout", "reset")}

EVENTS: dict[str, Row] = {
    "message:send": writes_in_chat(body=text),
    "message:edit": writes_in_chat(body=lambda world, who: {"messageId": world.ids["message"], "content": "x"}),
    "message:delete": writes_in_chat(body=lambda world, who: {"messageId": world.ids["message"]}, spoils=True),
    "message:read": in_chat(body=lambda world, who: {"chatId": world.ids["chat"], "messageId": world.ids["message"]}),
    "reaction:add": writes_in_chat(body=lambda world, who: {"messageId": world.ids["message"], "key": ":x:"}),
    "reaction:remove": writes_in_chat(body=lambda world, who: {"messageId": world.ids["message"], "key": ":x:"}),
    "typing": writes_in_chat(body=lambda world, who: {"chatId": world.ids["chat"]}),
    "stream:watch": in_tenant(body=lambda world, who: {"streamId": world.ids["stream"]}, besides={"blocked": 403}),
    "stream:unwatch": in_tenant(body=lambda world, who: {"streamId": world.ids["stream"]}),
    "stream:react": nobody(409, body=lambda world, who: {"streamId": world.ids["stream"], "key": ":x:"}),
    "presence:watch": everybody(body=lambda world, who: {"userIds": [world.member.id]}),
    "notification:read": of_member(body=lambda world, who: {"id": world.ids["notification"]}, spoils=True),
    "session:refresh": Row((401, 401, 401, 401, 401, OK, 401), body=lambda world, who: {"token": world.member.token}),
    "app:state": everybody(body=same({"active": True})),
    **{name: nobody(400, body=same({})) for name in ("connect", "disconnect", "connect_error", "error", "nothing")},
}


def of(route: Route) -> str:
    return f"{route.method} {route.path}"


def test_every_route_and_event_has_a_row() -> None:
    assert {of(route) for route in ROUTES} == {*ROWS, *OPEN}
    assert {of(route) for route in ROUTES if route.public} == {
        *OPEN,
        f"GET {MEDIA}/{{id}}",
        f"GET {MEDIA}/{{id}}/thumbnail",
    }
    assert set(INBOUND) <= set(EVENTS)


def name_of(world: World, name: str) -> str:
    if name in world.people:
        return world.people[name].id
    return world.ids.get(name, name)


async def ask(world: World, key: str, who: str, api: Api, absent: bool = False) -> Answer:
    """Make the row's request; with ``absent``, ids that nobody has instead of those of the world."""
    row = ROWS[key]
    method, path = key.split(" ")
    for name in row.ids:
        head, brace, tail = path.partition("{")
        value = name_of(world, name)
        path = head + (unknown(value) if absent else value) + tail.partition("}")[2] if brace else path
    body = row.body(world, who)
    query = row.query.format(**{name: name_of(world, name) for name in ("chat", "member")})
    if absent:
        query = query.replace(name_of(world, "chat"), ABSENT).replace(name_of(world, "member"), ABSENT)
        body = json.loads(replaced(world, json.dumps(body)))
    if row.form:
        form = aiohttp.FormData()
        form.add_field("file", encoded("PNG"), filename="a.png")
        return await api.request(method, path, data=form)
    return await api.request(method, path + query, body)


def unknown(value: str) -> str:
    # The key of a reaction names nothing.
    return value if value.startswith(":") else ABSENT if len(value) == 24 else "nothing"


def replaced(world: World, text: str) -> str:
    for value in (*world.ids.values(), *(each.id for each in world.people.values())):
        if len(value) == 24:
            text = text.replace(value, ABSENT)
    return text


def plain(answer: Answer) -> tuple[int, Any]:
    body = answer.json if answer.body else None
    if isinstance(body, dict):
        body.pop("timestamp", None)
    return answer.status, body


def expected(key: str, told: int) -> set[int]:
    route = next(route for route in ROUTES if of(route) == key)
    return {told} if told else {route.status, *([200] if route.also_200 else [])}


def administrative(key: str) -> bool:
    """Whether it is an admin's doing that changes something, or gives out what is another's."""
    route = next(route for route in ROUTES if of(route) == key)
    return route.permission is not None and route.method != "GET" and not route.path.endswith("/preview")


def previewed(key: str, answer: Answer) -> bool:
    """Where a route makes something, 200 means that nothing was made."""
    return answer.status == 200 and 201 in expected(key, OK)


async def kept(server: Served) -> int:
    """How many entries the audit trail has."""
    count = select(func.count()).select_from(audit)
    return int(await server.services.database.read(lambda connection: connection.execute(count).scalar_one()))


async def test_every_route_for_everybody(server: Served) -> None:
    wrong, cells, here = [], 0, await world(server)
    for key, row in ROWS.items():
        for who, told in row.each():
            watched = who == "admin" and told == OK and administrative(key)
            before = await kept(server) if watched else 0
            answer = await ask(here, key, who, here.people[who])
            cells += 1
            if watched and not previewed(key, answer) and await kept(server) == before:
                wrong.append(f"{key} leaves nothing in the audit trail")
            if answer.status not in expected(key, told):
                wrong.append(f"{who}: {key}: {answer}, not {told or 'let through'}")
            # What is another's looks like what is nobody's.
            if told == 404 and (row.ids or row.body is not NO_BODY or row.query):
                absent = await ask(here, key, who, here.people[who], absent=True)
                if plain(absent) != plain(answer):
                    wrong.append(f"{who}: {key}: {answer}, where nothing is: {absent}")
            if row.spoils and told == OK:
                here = await world(server)
    assert not wrong, "\n".join(wrong)
    assert cells == len(ROWS) * len(EVERYBODY)


async def bad_tokens(world: World) -> dict[str, str | None]:
    """Tokens that are none, any more or yet."""
    tokens, member = world.server.services.tokens, world.member.user
    good = jwt.decode(world.member.token or "", options={"verify_signature": False})
    login = await world.server.services.database.write(Command(lambda tx: logins.add(tx, member.pk, ttl=60)))
    ended, _ = tokens.issue(member, ttl=60, login=login)
    await world.server.services.database.write(Command(lambda tx: logins.end(tx, member.pk, [login], "logout")))

    def signed(key: Any = tokens.access.key, algorithm: str = "HS256", **changes: Any) -> str:
        claims = {name: value for name, value in {**good, **changes}.items() if value is not None}
        return jwt.encode(claims, key, algorithm=algorithm)

    moment = int(time.time())
    return {
        "none at all": None,
        "garbage": "garbage",
        "not signed": signed("", "none"),
        "another's signature": signed("x" * 32),
        "another algorithm": signed(algorithm="HS512"),
        "for ever": signed(exp=None),
        "of nobody": signed(sub=None),
        "expired": signed(exp=moment - 60),
        "not yet": signed(nbf=moment + 600),
        "of an ended login": ended,
        "a refresh token": tokens.issue_refresh(Refresh(login, 0)),
    }


async def test_nobody_comes_in_with_a_bad_token(server: Served) -> None:
    here = await world(server)
    wrong = []
    anonymous = {key: plain(await ask(here, key, "nobody", server.people.anonymous)) for key in ROWS}
    for name, token in (await bad_tokens(here)).items():
        api = Api(server.people.session, server.url, token)
        for key in ROWS:
            answer = await ask(here, key, "nobody", api)
            if answer.status != 401 or plain(answer) != anonymous[key]:
                wrong.append(f"{name}: {key}: {answer}")
        # A socket tells its client that the token needs renewing; nothing else is told apart.
        connection = await RawSocket.open(server.people.session, server.url)
        said = await connection.connect({"token": token, "v": 1} if token else {"v": 1})
        if said not in ("authentication required", "token expired"):
            wrong.append(f"{name}: CONNECT: {said}")
        await connection.close()
    assert not wrong, "\n".join(wrong)


async def test_every_event_for_everybody(server: Served) -> None:
    wrong, here = [], await world(server)
    sockets: dict[str, RawSocket] = {}
    for name, row in EVENTS.items():
        for who, told in row.each():
            if who not in sockets:
                sockets[who] = await here.people[who].socket()
            body = row.body(here, who)
            ack = await sockets[who].call(name, body)
            if ack["statusCode"] != told and not (told == OK and ack["isSuccess"]):
                wrong.append(f"{who}: {name}: {ack}, not {told or 'let through'}")
            if told == 404:
                absent = await sockets[who].call(name, json.loads(replaced(here, json.dumps(body))))
                if {**absent, "timestamp": 0} != {**ack, "timestamp": 0}:
                    wrong.append(f"{who}: {name}: {ack}, where nothing is: {absent}")
            if row.spoils and told == OK:
                for each in sockets.values():
                    await each.close()
                sockets.clear()
                here = await world(server)
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("who", ["foreign", "foreign_admin", "stranger", "removed", "left", "admin"])
async def test_no_other_user_gets_events_of_a_chat(server: Served, who: str) -> None:
    here = await world(server)
    outsider, reader = await here.people[who].socket(), await here.reader.socket()
    outsider.events.clear()
    await here.member.send(here.ids["chat"], "for members")
    (await here.member.socket()).events.clear()
    await reader.event("message:new")
    await outsider.call("app:state", {"active": True})
    assert [name for name, _ in outsider.events] == []
