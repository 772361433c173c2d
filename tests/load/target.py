"""The server under load, as a scenario sees it: the product, or a peer that does a part of the same."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp
import jwt

from tests.load.wire import Wire, dial

AT_ONCE = 50
TEXT = "x" * 120
# As in ``peers/server.mjs``.
PEER_SECRET = "the secret of a benchmark, which signs nothing else"


@dataclass(frozen=True)
class User:
    id: str
    token: str

    @property
    def auth(self) -> dict[str, Any]:
        return {"token": self.token, "v": 1}

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}


class Target:
    """The product at ``url``. ``token`` must have ``users.manage``; ``pid`` is the server's process, where it is known."""

    name = "bellwire"
    quiet = ("app:state", {"active": True})

    def __init__(self, url: str, token: str = "", pid: int | None = None) -> None:
        self.url = url
        self.token = token
        self.pid = pid

    async def users(self, count: int) -> list[User]:
        """Users made through the API, each with a token of an hour."""
        async with self.http() as http:

            async def post(path: str, body: Any) -> Any:
                return (await self.made(http, path, body))["data"]

            async def make(number: int) -> User:
                user = await post("/api/v1/users", {"name": f"load {number}"})
                return User(user["id"], (await post(f"/api/v1/users/{user['id']}/tokens", {"ttl": 3600}))["token"])

            return list(await gathered(make(number) for number in range(count)))

    async def chat(self, members: list[User]) -> str:
        """A chat of these; its id."""
        async with self.http(members[0]) as http:
            first, rest = members[:400], members[400:]
            body = {"type": "group", "name": "Load", "memberIds": [each.id for each in first[1:]]}
            answer = await self.made(http, "/api/v2/chats", body)
            for start in range(0, len(rest), 400):
                some = {"userIds": [each.id for each in rest[start : start + 400]]}
                await self.made(http, f"/api/v2/chats/{answer['_id']}/members", some)
        return str(answer["_id"])

    async def open_stream(self, owner: User) -> Any:
        """A stream that anybody watches, of a user who is given the permission to make it."""
        body = {"title": "Load", "startsAt": "2999-01-01T00:00:00Z", "audience": "open"}
        async with self.http() as http:
            token = (await self.made(http, f"/api/v1/users/{owner.id}/tokens", {"permissions": ["streams.manage"]}))[
                "data"
            ]
        async with self.http(User(owner.id, token["token"])) as http:
            return (await self.made(http, "/api/v1/streams", body))["data"]

    async def stream(self, user: User, id: str) -> Any:
        async with self.http(user) as http, http.get(f"{self.url}/api/v1/streams/{id}") as answer:
            return (await answer.json())["data"]

    async def made(self, http: aiohttp.ClientSession, path: str, body: Any) -> Any:
        """The answer to a POST that makes something; where the budget of the user is spent it is made when it fills again."""
        while True:
            async with http.post(self.url + path, json=body) as response:
                answer = await response.json()
                if response.status in (200, 201):
                    return answer
                if response.status != 429:
                    raise SystemExit(f"POST {path}: {response.status} {answer}")
            await asyncio.sleep(int(response.headers["Retry-After"]))

    async def chats(self, groups: list[list[User]]) -> list[str]:
        return list(await gathered(self.chat(each) for each in groups))

    async def connect(self, user: User, chat: str = "", **resume: Any) -> Wire:
        """A socket of a user; what they read is the server's to know. ``resume`` is offsets and epoch."""
        return await dial(self.url, user.auth | resume)

    async def connect_all(self, users: list[User], chats: list[str] | None = None) -> list[Wire]:
        places = chats or [""] * len(users)
        return list(await gathered(self.connect(user, place) for user, place in zip(users, places, strict=True)))

    def message(self, chat: str, key: str, content: str = TEXT) -> tuple[str, Mapping[str, Any]]:
        """The event that sends a message, and its payload."""
        return "message:send", {"type": "text", "chatId": chat, "content": content, "clientMessageId": key}

    def published(self, chat: str, key: str) -> tuple[str, Mapping[str, Any]]:
        """The event for a fan-out. Here every message is stored; peers only pass theirs on."""
        return self.message(chat, key)

    def is_message(self, packet: bytes) -> bool:
        return packet.startswith(b'42/chat,["message:new"')

    def post(self, chat: str, key: str) -> tuple[str, Mapping[str, Any]]:
        """The path and the body that send a message over HTTP."""
        body = {"type": "text", "chatId": chat, "content": TEXT, "clientMessageId": key}
        return "/api/v2/messages", body

    def http(self, user: User | None = None) -> aiohttp.ClientSession:
        token = user.token if user else self.token
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0), headers={"Authorization": f"Bearer {token}"}
        )


class Peer(Target):
    """A server that one would write by hand: a room for each chat, named by whoever connects."""

    quiet = ("state", {"active": True})

    def __init__(self, name: str, url: str, pid: int) -> None:
        super().__init__(url, pid=pid)
        self.name = name
        self.chats_made = 0

    async def users(self, count: int) -> list[User]:
        return [User(str(number), "") for number in range(count)]

    async def chat(self, members: list[User]) -> str:
        self.chats_made += 1
        return f"chat{self.chats_made}"

    async def connect(self, user: User, chat: str = "", **resume: Any) -> Wire:
        return await dial(self.url, namespace="/", until=b"40", query=f"&chat={chat}" if chat else "")

    def message(self, chat: str, key: str, content: str = TEXT) -> tuple[str, Mapping[str, Any]]:
        return "send", {"chatId": chat, "content": content}

    def published(self, chat: str, key: str) -> tuple[str, Mapping[str, Any]]:
        return "publish", {"chatId": chat, "content": TEXT}

    def is_message(self, packet: bytes) -> bool:
        return packet.startswith(b'42["message"')

    def post(self, chat: str, key: str) -> tuple[str, Mapping[str, Any]]:
        return "/messages", {"chatId": chat, "content": TEXT}


class WholePeer(Peer):
    """A peer that does the same work: it verifies a token, and reads from its database in which chats a user is."""

    async def users(self, count: int) -> list[User]:
        return [User(str(number), jwt.encode({"sub": str(number)}, PEER_SECRET)) for number in range(count)]

    async def chat(self, members: list[User]) -> str:
        name = await super().chat(members)
        pairs = [[name, each.id] for each in members]
        async with aiohttp.ClientSession() as http, http.post(self.url, json=pairs) as answer:
            assert answer.status == 200
        return name

    async def connect(self, user: User, chat: str = "", **resume: Any) -> Wire:
        return await dial(self.url, {"token": user.token}, namespace="/", until=b'42["ready"')


async def gathered(work: Any, at_once: int = AT_ONCE) -> list[Any]:
    """The results of awaitables, of which so many run at once."""
    gate = asyncio.Semaphore(at_once)

    async def one(each: Any) -> Any:
        async with gate:
            return await each

    return list(await asyncio.gather(*(one(each) for each in work)))


@contextlib.asynccontextmanager
async def parted(wires: list[Wire]) -> AsyncIterator[None]:
    """Close them all in the end."""
    try:
        yield
    finally:
        for wire in wires:
            wire.transport.abort()
        await asyncio.gather(*(wire.closed for wire in wires))
