"""Users of a running server, as tests speak for them: REST with a token, and sockets by hand or by python-socketio."""

import asyncio
import itertools
from collections import defaultdict
from typing import Any

import aiohttp
import orjson
import socketio

from realtime.schema.caller import Caller
from server.services import Services
from storage import accounts
from storage.accounts import NewUser, User
from storage.transaction import Command
from tests.support.guard import HANG_SECONDS


class Answer:
    """A REST answer: its status, headers, bytes and document."""

    def __init__(self, response: aiohttp.ClientResponse, body: bytes) -> None:
        self.status = response.status
        self.headers = response.headers
        self.body = body

    @property
    def json(self) -> Any:
        return orjson.loads(self.body)

    def __repr__(self) -> str:
        return f"{self.status} {self.body[:600]!r}"


class Api:
    def __init__(self, session: aiohttp.ClientSession, url: str, token: str | None = None) -> None:
        self.session = session
        self.url = url
        self.token = token

    async def request(self, method: str, path: str, json: Any = None, **options: Any) -> Answer:
        headers = dict(options.pop("headers", {}))
        if self.token is not None:
            headers.setdefault("Authorization", f"Bearer {self.token}")
        if json is not None:
            options["data"] = orjson.dumps(json)
            headers.setdefault("Content-Type", "application/json")
        async with self.session.request(method, self.url + path, headers=headers, **options) as response:
            return Answer(response, await response.read())

    async def get(self, path: str, **options: Any) -> Answer:
        return await self.request("GET", path, **options)

    async def post(self, path: str, json: Any = None, **options: Any) -> Answer:
        return await self.request("POST", path, json, **options)

    async def put(self, path: str, json: Any = None, **options: Any) -> Answer:
        return await self.request("PUT", path, json, **options)

    async def patch(self, path: str, json: Any = None, **options: Any) -> Answer:
        return await self.request("PATCH", path, json, **options)

    async def delete(self, path: str, **options: Any) -> Answer:
        return await self.request("DELETE", path, **options)

    def auth(self, **options: Any) -> dict[str, Any]:
        return {"token": self.token, "v": 1, **options}

    async def socket(self, **auth: Any) -> "RawSocket":
        """A websocket by hand, connected and ready."""
        raw = await RawSocket.open(self.session, self.url)
        await raw.connect(self.auth(**auth))
        await raw.event("session:ready")
        return raw

    async def client(self, transports: list[str] | None = None, **auth: Any) -> "Client":
        """python-socketio's own client, connected and ready."""
        client = Client(self.url)
        await client.connect(self.auth(**auth), transports)
        return client


class Person(Api):
    """One user, with a token."""

    def __init__(self, session: aiohttp.ClientSession, url: str, token: str, user: User) -> None:
        super().__init__(session, url, token)
        self.user = user
        self.id = user.id

    async def group(self, *others: "Person", **options: Any) -> str:
        """A new group with others; its id."""
        body = {"type": "group", "name": "Group", "memberIds": [each.id for each in others], **options}
        answer = await self.post("/api/v2/chats", body)
        assert answer.status == 201, answer
        return str(answer.json["_id"])

    async def send(self, chat_id: str, content: str = "hello", **options: Any) -> Any:
        answer = await self.post("/api/v2/messages", {"type": "text", "chatId": chat_id, "content": content, **options})
        assert answer.status == 201, answer
        return answer.json


class People:
    """Makes users of a server."""

    def __init__(self, services: Services) -> None:
        self.services = services
        self.counter = itertools.count(1)

    async def __aenter__(self) -> "People":
        self.session = aiohttp.ClientSession()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.session.close()

    @property
    def anonymous(self) -> Api:
        return Api(self.session, self.services.address)

    async def make(self, name: str | None = None, **options: Any) -> Person:
        """A user with a token of an hour; ``tenant`` is a tenant's number, ``grant`` goes into the token."""
        ttl, grant = options.pop("ttl", 3600), options.pop("grant", ())
        tenant_pk = options.pop("tenant", self.services.accounts.default_tenant.pk)
        number = next(self.counter)
        new = NewUser(name or f"person {number}", **{"email": f"p{number}@example.org", **options})
        user = await self.services.database.write(Command(lambda tx: accounts.add_user(tx, tenant_pk, new)))
        token, _ = self.services.tokens.issue(user, ttl=ttl, permissions=grant)
        return Person(self.session, self.services.address, token, user)

    async def many(self, count: int) -> list[Person]:
        return [await self.make() for _ in range(count)]

    async def tenant(self, uuid: str | None = None) -> int:
        made = await self.services.database.write(Command(lambda tx: accounts.add_tenant(tx, "Another", uuid)))
        return made.pk

    def caller(self, person: Person) -> Caller:
        return Caller(person.user, frozenset(), 0, 2**62)


def transport_of(socket: "RawSocket") -> asyncio.Transport:
    """The TCP transport of a client, to stop its reading or to write bytes of one's own."""
    connection = socket.ws._response.connection
    assert connection and isinstance(connection.transport, asyncio.Transport)
    return connection.transport


class RawSocket:
    """A websocket that speaks Engine.IO and Socket.IO by hand."""

    def __init__(self, ws: aiohttp.ClientWebSocketResponse) -> None:
        self.ws = ws
        self.events: list[tuple[str, list[Any]]] = []
        self.acks: dict[int, Any] = {}
        self.packets: list[str] = []
        self.ids = itertools.count(1)
        self.changed = asyncio.Event()
        self.closed = False
        self.pongs = True
        self.reading = asyncio.create_task(self._read())

    @classmethod
    async def open(cls, session: aiohttp.ClientSession, url: str, **options: Any) -> "RawSocket":
        query = "/socket.io/?EIO=4&transport=websocket"
        return cls(await session.ws_connect(url + query, max_msg_size=0, autoping=False, **options))

    async def _read(self) -> None:
        try:
            async for message in self.ws:
                if message.type is aiohttp.WSMsgType.TEXT:
                    await self._packet(message.data)
                    self.changed.set()
        finally:
            self.closed = True
            self.changed.set()

    async def _packet(self, text: str) -> None:
        self.packets.append(text)
        if text == "2" and self.pongs:
            await self.ws.send_str("3")
        elif text.startswith("42/chat,"):
            name, *arguments = orjson.loads(text[8:])
            self.events.append((name, arguments))
        elif text.startswith("43/chat,"):
            id, _, data = text[8:].partition("[")
            self.acks[int(id)] = orjson.loads("[" + data)[0]

    async def until(self, check: Any, seconds: float = HANG_SECONDS) -> Any:
        async with asyncio.timeout(seconds):
            while not (found := check()):
                if self.closed:
                    raise ConnectionError("closed")
                self.changed.clear()
                await self.changed.wait()
            return found

    async def send(self, text: str) -> None:
        await self.ws.send_str(text)

    async def connect(self, auth: Any) -> Any:
        """CONNECT; the answer's data, or the text of its error."""
        await self.until(lambda: self.packets)
        await self.send("40/chat," + orjson.dumps(auth).decode())
        found = await self.until(lambda: [each for each in self.packets if each.startswith(("40/chat,", "44/chat,"))])
        data = orjson.loads(found[-1][8:])
        return data if found[-1].startswith("40") else data["message"]

    async def call(self, name: str, payload: Any, seconds: float = HANG_SECONDS) -> Any:
        """Emit with an id; the ack."""
        id = next(self.ids)
        await self.send(f"42/chat,{id}" + orjson.dumps([name, payload]).decode())
        return await self.until(lambda: self.acks.get(id), seconds)

    def named(self, name: str) -> list[list[Any]]:
        return [arguments for each, arguments in self.events if each == name]

    def seqs(self, channel: str) -> list[int]:
        """What arrived on a channel."""
        places = [arguments[1] for _, arguments in self.events if len(arguments) > 1]
        return [place["seq"] for place in places if place["channel"] == channel]

    async def event(self, name: str, count: int = 1, seconds: float = HANG_SECONDS) -> list[Any]:
        """The arguments of the newest event of this name, once there are ``count``."""
        await self.until(lambda: len(self.named(name)) >= count, seconds)
        return self.named(name)[-1]

    async def gone(self, seconds: float = HANG_SECONDS) -> None:
        """Wait until the server closed it."""
        async with asyncio.timeout(seconds):
            await self.reading

    async def close(self) -> None:
        await self.ws.close()
        await self.reading


class Client:
    """python-socketio's client, its events kept by channel."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.sio = socketio.AsyncClient(reconnection=False, request_timeout=HANG_SECONDS)
        self.by_channel: dict[str, list[int]] = defaultdict(list)
        self.events: list[tuple[str, Any, Any]] = []
        self.ready = asyncio.get_running_loop().create_future()
        self.closed = False
        self.sio.on("*", self._event, namespace="/chat")
        self.sio.on("disconnect", self._gone, namespace="/chat")

    async def _event(self, name: str, *arguments: Any) -> None:
        payload = arguments[0] if arguments else None
        place = arguments[1] if len(arguments) > 1 else None
        self.events.append((name, payload, place))
        if place:
            self.by_channel[place["channel"]].append(place["seq"])
        elif name == "session:ready" and not self.ready.done():
            self.ready.set_result(payload)

    async def _gone(self, reason: str) -> None:
        self.closed = True
        if not self.ready.done():
            self.ready.set_exception(ConnectionError(reason))

    async def connect(self, auth: Any, transports: list[str] | None) -> None:
        await self.sio.connect(
            self.url, auth=auth, namespaces=["/chat"], transports=transports, wait_timeout=HANG_SECONDS
        )
        await asyncio.wait_for(asyncio.shield(self.ready), HANG_SECONDS)

    def seqs(self, channel: str) -> list[int]:
        """What arrived on a channel."""
        return list(self.by_channel[channel])

    async def call(self, name: str, payload: Any) -> Any:
        return await self.sio.call(name, payload, namespace="/chat", timeout=HANG_SECONDS)

    async def close(self) -> None:
        await self.sio.disconnect()
