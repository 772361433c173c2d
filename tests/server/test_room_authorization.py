"""Who may do what in a room: every route and event that names a chat, a message of it or its stream.

Asked by a viewer without a membership, by one who is silenced, one who is banned, one whom the room's owner blocks, a member,
and somebody of another tenant.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from realtime.namespace import INBOUND
from server.routes import ROUTES
from tests.conftest import Served
from tests.support.people import Person, RawSocket

PEOPLE = ("viewer", "silenced", "banned", "blocked", "member", "foreign")
CHATS, MESSAGES, STREAMS = "/api/v2/chats", "/api/v2/messages", "/api/v1/streams"
MEDIA = "/api/v2/media"
OK = 0


@dataclass
class Room:
    server: Served
    people: dict[str, Person] = field(default_factory=dict)
    ids: dict[str, str] = field(default_factory=dict)


async def room(server: Served) -> Room:
    """An open stream that has begun, with a message of each who may post."""
    made, people = Room(server), server.people
    owner = await people.make("owner", grant=["streams.manage"])
    body = {"title": "Live", "startsAt": "2999-01-01T00:00:00Z", "audience": "open"}
    stream = (await owner.post(STREAMS, body)).json["data"]
    made.ids |= {"stream": stream["id"], "chat": stream["chatId"]}
    abroad = await people.tenant()
    for name in PEOPLE:
        made.people[name] = await people.make(name, **({"tenant": abroad} if name == "foreign" else {}))
        if name != "foreign":
            made.ids[name] = made.people[name].id
            made.ids[f"message of {name}"] = (await made.people[name].send(stream["chatId"]))["_id"]
    made.people["owner"], made.ids["owner"] = owner, owner.id
    assert (await made.people["member"].post(f"{STREAMS}/{stream['id']}/follow")).status == 200
    member = f"{CHATS}/{stream['chatId']}/members"
    assert (await owner.post(f"{member}/{made.ids['silenced']}/silence", {})).status == 200
    assert (await owner.post(f"{member}/{made.ids['banned']}/ban", {})).status == 200
    assert (await owner.post("/api/v1/users/me/blocks", {"userId": made.ids["blocked"]})).status == 201
    return made


def read(ok: int = OK) -> tuple[int, ...]:
    return (ok, ok, 403, 404, ok, 404)


LEADS = (403, 403, 403, 404, 403, 404)
WRITES = (OK, 403, 403, 404, OK, 404)
# Only members have a place in the list of chats, a read position, a time until which they are mute.
MEMBERS = (403, 403, 403, 404, OK, 404)

# By route: the statuses for PEOPLE, and the body.
ROWS: dict[str, tuple[tuple[int, ...], Any]] = {
    f"GET {CHATS}/{{id}}": (read(), None),
    f"PATCH {CHATS}/{{id}}": (LEADS, {"name": "x"}),
    f"DELETE {CHATS}/{{id}}": (LEADS, None),
    f"GET {CHATS}/{{id}}/members": (read(), None),
    f"POST {CHATS}/{{id}}/members": (LEADS, {"userIds": ["{viewer}"]}),
    f"PATCH {CHATS}/{{id}}/members/{{userId}}": (LEADS, {"role": "admin"}),
    f"DELETE {CHATS}/{{id}}/members/{{userId}}": (LEADS, None),
    f"POST {CHATS}/{{id}}/members/{{userId}}/ban": (LEADS, {}),
    f"DELETE {CHATS}/{{id}}/members/{{userId}}/ban": (LEADS, None),
    f"GET {CHATS}/{{id}}/bans": (LEADS, None),
    f"POST {CHATS}/{{id}}/members/{{userId}}/silence": (LEADS, {}),
    f"DELETE {CHATS}/{{id}}/members/{{userId}}/silence": (LEADS, None),
    f"POST {CHATS}/{{id}}/mute": (MEMBERS, {"until": None}),
    f"POST {MESSAGES}": (WRITES, {"type": "text", "chatId": "{chat}", "content": "x"}),
    f"GET {MESSAGES}": (read(), None),
    f"GET {MESSAGES}/{{id}}": (read(), None),
    f"GET {MESSAGES}/search": (read(), None),
    f"PATCH {MESSAGES}/{{id}}": (WRITES, {"content": "x"}),
    f"POST {MESSAGES}/{{id}}/read": (MEMBERS, None),
    f"PUT {MESSAGES}/{{id}}/reactions/{{key}}": (WRITES, None),
    f"DELETE {MESSAGES}/{{id}}/reactions/{{key}}": (WRITES, None),
    f"GET {MESSAGES}/{{id}}/reactions": (read(), None),
    f"PUT {MESSAGES}/{{id}}/pin": (LEADS, {}),
    f"DELETE {MESSAGES}/{{id}}/pin": (LEADS, None),
    f"GET {CHATS}/{{id}}/pins": (read(), None),
    f"GET {CHATS}/{{id}}/events": (read(), None),
    f"POST {MESSAGES}/{{id}}/thread/follow": (MEMBERS, None),
    f"POST {MESSAGES}/{{id}}/thread/unfollow": (MEMBERS, None),
    f"POST {MESSAGES}/{{id}}/report": (read(), {"reason": "x"}),
    f"DELETE {MESSAGES}/{{id}}": ((OK, OK, 403, 404, OK, 404), None),
    f"GET {STREAMS}/{{id}}": ((OK, OK, OK, OK, OK, 404), None),
    # From here on others are members.
    f"POST {CHATS}/{{id}}/leave": ((404, 404, 403, 404, OK, 404), None),
    f"POST {STREAMS}/{{id}}/follow": ((OK, OK, OK, 403, OK, 404), None),
    f"POST {STREAMS}/{{id}}/unfollow": ((OK, OK, OK, OK, OK, 404), None),
}
# What a room has nothing of its own in, is for its owner alone, or is about other things.
ELSEWHERE = {
    f"POST {CHATS}/{{id}}/invite": "rooms have no invite links",
    f"DELETE {CHATS}/{{id}}/invite": "rooms have no invite links",
    f"POST {CHATS}": "makes a chat",
    f"GET {CHATS}": "one's own list",
    f"POST {STREAMS}": "makes a stream",
    f"GET {STREAMS}": "the tenant's list",
    f"PATCH {STREAMS}/{{id}}": "its owner",
    **{f"POST {STREAMS}/{{id}}/{verb}": "its owner" for verb in ("ready", "start", "end", "cancel")},
}
EVENTS: dict[str, tuple[tuple[int, ...], Any]] = {
    "message:send": (WRITES, {"type": "text", "chatId": "{chat}", "content": "x"}),
    "message:edit": (WRITES, {"messageId": "{own}", "content": "y"}),
    "message:read": (MEMBERS, {"chatId": "{chat}", "messageId": "{own}"}),
    "reaction:add": (WRITES, {"messageId": "{own}", "key": ":x:"}),
    "reaction:remove": (WRITES, {"messageId": "{own}", "key": ":x:"}),
    "typing": (WRITES, {"chatId": "{chat}"}),
    "stream:watch": ((OK, OK, 403, 403, OK, 404), {"streamId": "{stream}"}),
    "stream:react": ((OK, OK, 409, 409, OK, 409), {"streamId": "{stream}", "key": ":heart:"}),
    "stream:unwatch": ((OK, OK, OK, OK, OK, 404), {"streamId": "{stream}"}),
    "message:delete": ((OK, OK, 403, 404, OK, 404), {"messageId": "{own}"}),
}
EVENTS_ELSEWHERE = {"presence:watch", "notification:read", "session:refresh", "app:state"}


def test_every_route_and_event_of_a_chat_has_a_row() -> None:
    routes = {f"{each.method} {each.path}" for each in ROUTES if each.path.startswith((CHATS, MESSAGES, STREAMS))}
    assert routes == {*ROWS, *ELSEWHERE}
    assert set(INBOUND) == {*EVENTS, *EVENTS_ELSEWHERE}


def filled(here: Room, who: str, value: Any) -> Any:
    """With the ids of the room; ``own`` is a message of whoever asks, or of the viewer."""
    if isinstance(value, dict):
        return {name: filled(here, who, each) for name, each in value.items()}
    if isinstance(value, list):
        return [filled(here, who, each) for each in value]
    own = here.ids.get(f"message of {who}", here.ids["message of viewer"])
    return value.format(**here.ids, own=own) if isinstance(value, str) else value


def path_of(here: Room, who: str, key: str) -> str:
    path = key.split(" ")[1]
    ids = {CHATS: here.ids["chat"], STREAMS: here.ids["stream"], MESSAGES: filled(here, who, "{own}")}
    id = next(id for prefix, id in ids.items() if path.startswith(prefix))
    query = f"?chatId={here.ids['chat']}" if key in (f"GET {MESSAGES}", f"GET {MESSAGES}/search") else ""
    query += "&query=plum" if key.endswith("/search") else ""
    query = "?key=:x:" if key.endswith("/reactions") else query
    return path.replace("{id}", id).replace("{key}", ":x:").replace("{userId}", here.ids["owner"]) + query


async def collected(check: Callable[[str, str, int], Any], rows: dict[str, tuple[tuple[int, ...], Any]]) -> list[str]:
    """What ``check`` says of each who asks for each thing, where it is wrong."""
    said = [
        await check(key, who, told) for key, (row, _) in rows.items() for who, told in zip(PEOPLE, row, strict=True)
    ]
    return [each for each in said if each]


async def test_every_route_of_a_room(server: Served) -> None:
    here = await room(server)

    async def check(key: str, who: str, told: int) -> str:
        body = filled(here, who, ROWS[key][1])
        answer = await here.people[who].request(key.split(" ")[0], path_of(here, who, key), body)
        wanted = {told} if told else {200, 201}
        return "" if answer.status in wanted else f"{who}: {key}: {answer}, not {told or 'let through'}"

    assert await collected(check, ROWS) == []


async def test_every_event_of_a_room(server: Served) -> None:
    here = await room(server)
    sockets: dict[str, RawSocket] = {who: await here.people[who].socket() for who in PEOPLE}

    async def check(name: str, who: str, told: int) -> str:
        ack = await sockets[who].call(name, filled(here, who, EVENTS[name][1]))
        wanted = {told} if told else {200, 201}
        return "" if ack["statusCode"] in wanted else f"{who}: {name}: {ack}, not {told or 'let through'}"

    assert await collected(check, EVENTS) == []
    for socket in sockets.values():
        await socket.close()
