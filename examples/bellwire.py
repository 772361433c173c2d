"""A client for Python programs: bots, bridges, tests. One file, on aiohttp and python-socketio's client.

    async with Client("http://127.0.0.1:8080", token) as client:
        chat = await client.post("/api/v2/chats", {"type": "group", "name": "First"})
        await client.send(chat["_id"], "hello")
        async for event in client.events():
            print(event.name, event.payload)

It comes back by itself with its offsets, so that no event is missed or seen twice; what it sends goes once, however often
the network makes it ask. ``docs/clients.md`` tells what each part is for.
"""

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from types import TracebackType
from typing import Any, NamedTuple, Self

import aiohttp
import socketio

NAMESPACE = "/chat"
ACK_SECONDS = 10.0
AGAIN = (429, 503)
LONGEST_PAUSE = 30.0


class Event(NamedTuple):
    """``channel`` and ``seq`` of a durable one. ``reload`` names channels to be read over REST, for they had a gap."""

    name: str
    payload: Any
    channel: str | None = None
    seq: int | None = None
    reload: tuple[str, ...] = ()


class Refused(Exception):
    """The server said no: ``status`` and what was wrong."""

    def __init__(self, status: int, answer: Any) -> None:
        super().__init__(f"{status}: {answer}")
        self.status = status
        self.answer = answer


class Client:
    """``token`` is an access token, or gives one each time that it is asked.

    ``offsets`` and ``epoch`` are what an earlier run has seen; keep them where they outlive the program to miss nothing.
    """

    def __init__(
        self,
        url: str,
        token: str | Callable[[], Awaitable[str]],
        *,
        offsets: dict[str, int] | None = None,
        epoch: str | None = None,
    ) -> None:
        self.url = url.rstrip("/")
        self._token = token
        self.offsets = dict(offsets or {})
        self.epoch = epoch
        self._heard: asyncio.Queue[Event | None] = asyncio.Queue()
        self._ready = asyncio.Event()
        self._socket = socketio.AsyncClient(reconnection_delay=0.5, reconnection_delay_max=5)
        self._socket.on("*", self._hear, namespace=NAMESPACE)
        self._socket.on("disconnect", self._lost, namespace=NAMESPACE)

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession()
        try:
            await self._connect()
        except BaseException:
            await self._session.close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._socket.disconnect()
        await self._session.close()

    async def token(self) -> str:
        return self._token if isinstance(self._token, str) else await self._token()

    # REST

    async def post(self, path: str, body: Any = None) -> Any:
        """The document. Raises Refused; what the network or the server could not answer now is asked again."""
        return await self._ask("POST", path, body)

    async def get(self, path: str) -> Any:
        return await self._ask("GET", path, None)

    async def _ask(self, method: str, path: str, body: Any) -> Any:
        pause = 0.5
        while True:
            headers = {"Authorization": f"Bearer {await self.token()}"}
            try:
                async with self._session.request(method, self.url + path, json=body, headers=headers) as response:
                    answer = await response.json()
                    if response.status < 400:
                        return answer.get("data", answer) if "isSuccess" in answer else answer
                    if response.status not in AGAIN:
                        raise Refused(response.status, answer)
                    pause = max(pause, float(response.headers.get("Retry-After", 0)))
            except (aiohttp.ClientConnectionError, TimeoutError):
                if method == "POST" and not (isinstance(body, dict) and "clientMessageId" in body):
                    # It may have been done: without a key it must not be asked again.
                    raise
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)

    # The socket

    async def send(self, chat: str, content: str, **more: Any) -> Any:
        """Post a text; the message, once it is stored. It is posted once, however often it takes to be heard."""
        body = {"type": "text", "chatId": chat, "content": content, "clientMessageId": secrets.token_hex(12), **more}
        pause = 0.5
        while True:
            await self._ready.wait()
            try:
                ack = await self._socket.call("message:send", body, namespace=NAMESPACE, timeout=ACK_SECONDS)
            except (socketio.exceptions.SocketIOError, TimeoutError):
                ack = {"statusCode": 503}
            if ack.get("isSuccess"):
                return ack["data"]
            if ack["statusCode"] not in AGAIN:
                raise Refused(ack["statusCode"], ack)
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)

    async def call(self, name: str, payload: Any) -> Any:
        """Send another event, once; the ack's document. Raises Refused."""
        await self._ready.wait()
        ack = await self._socket.call(name, payload, namespace=NAMESPACE, timeout=ACK_SECONDS)
        if not ack["isSuccess"]:
            raise Refused(ack["statusCode"], ack)
        return ack["data"]

    async def events(self) -> AsyncIterator[Event]:
        """Everything that happens, in the order of each channel, until the connection ends for good."""
        while (event := await self._heard.get()) is not None:
            yield event

    async def _auth(self) -> dict[str, Any]:
        auth = {"token": await self.token(), "v": 1, "client": "bellwire.py"}
        return auth | ({"offsets": self.offsets, "epoch": self.epoch} if self.epoch else {})

    async def _connect(self) -> None:
        await self._socket.connect(
            self.url, auth=self._auth, namespaces=[NAMESPACE], transports=["websocket"], retry=True
        )
        await self._ready.wait()

    async def _hear(self, name: str, payload: Any, place: Any = None) -> None:
        if name == "session:ready":
            lost = tuple(channel for channel, whole in payload["recovered"].items() if not whole)
            for channel, head in payload["heads"].items():
                if channel not in self.offsets or channel in lost:
                    self.offsets[channel] = head
            self.epoch = payload["epoch"]
            self._ready.set()
            self._heard.put_nowait(Event(name, payload, reload=lost))
        elif name == "session:closed":
            self._heard.put_nowait(Event(name, payload))
            self._heard.put_nowait(None)
        elif place is None:
            self._heard.put_nowait(Event(name, payload))
        else:
            await self._take(name, payload, place["channel"], place["seq"])

    async def _take(self, name: str, payload: Any, channel: str, seq: int) -> None:
        known = self.offsets.get(channel)
        if known is not None and seq <= known:
            return
        if known is not None and seq > known + 1:
            # Something is missing: a new connection brings it.
            self._ready.clear()
            await self._socket.eio.disconnect(abort=True)
            return
        self.offsets[channel] = seq
        if name == "chat:new":
            self.offsets.setdefault(f"chat:{payload['_id']}", payload["at"])
        elif name == "chat:removed":
            self.offsets.pop(f"chat:{payload['chatId']}", None)
        self._heard.put_nowait(Event(name, payload, channel, seq))

    async def _lost(self, *reason: Any) -> None:
        self._ready.clear()
