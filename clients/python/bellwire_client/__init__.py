"""A client of a Bellwire server for Python programs: bots, bridges, tests; on aiohttp and python-socketio's client.

    async with Client("http://127.0.0.1:8080", token) as client:
        chat = await client.post("/api/v2/chats", {"type": "group", "name": "First"})
        await client.send(chat["_id"], "hello")
        async for event in client.events():
            print(event.name, event.payload)

It reconnects by itself with its offsets, so that no event is missed or seen twice; a message is sent once, however often the
network makes it retry.
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
# A chat lets a member post only now and then: the user decides, not the client.
FINAL = "slow_mode"
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

    ``offsets`` and ``epoch`` are what an earlier run has taken from ``events``; keep them where they outlive the program to
    miss nothing. With a token that is given each time, the connection goes on when one ends.
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
        # Where the connection is; ``offsets`` is where its reader is.
        self._cursors = dict(self.offsets)
        self._heard: asyncio.Queue[tuple[Event | None, dict[str, int | None]]] = asyncio.Queue()
        self._ready = asyncio.Event()
        self._over: str | None = None
        self._socket = socketio.AsyncClient(reconnection_delay=0.5, reconnection_delay_max=5)
        self._socket.on("*", self._hear, namespace=NAMESPACE)
        self._socket.on("disconnect", self._lost, namespace=NAMESPACE)
        self._socket.on("connect_error", self._refused, namespace=NAMESPACE)

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
        await self._socket.shutdown()
        await self._session.close()

    async def token(self) -> str:
        return self._token if isinstance(self._token, str) else await self._token()

    # REST

    async def post(self, path: str, body: Any = None) -> Any:
        """The document. Raises Refused; what could not be answered now is asked again, if it has a ``clientMessageId``."""
        return await self._ask("POST", path, body)

    async def get(self, path: str) -> Any:
        return await self._ask("GET", path, None)

    async def put(self, path: str, body: Any = None) -> Any:
        """A reaction, a pin: doing it twice does nothing more."""
        return await self._ask("PUT", path, body)

    async def delete(self, path: str) -> Any:
        return await self._ask("DELETE", path, None)

    async def _ask(self, method: str, path: str, body: Any) -> Any:
        pause = 0.5
        # What may have been done must not be asked again, unless it has a key.
        harmless = method != "POST" or (isinstance(body, dict) and "clientMessageId" in body)
        while True:
            headers = {"Authorization": f"Bearer {await self.token()}"}
            try:
                async with self._session.request(method, self.url + path, json=body, headers=headers) as response:
                    # A proxy before the server answers in its own way.
                    plain = response.content_type != "application/json"
                    answer: Any = await response.text() if plain else await response.json()
                    if response.status < 400:
                        return answer.get("data", answer) if "isSuccess" in answer else answer
                    final = response.headers.get("X-Error-Code") == FINAL
                    if final or response.status not in (*AGAIN, 502, 504) or not (harmless or response.status == 429):
                        raise Refused(response.status, answer)
                    pause = max(pause, float(response.headers.get("Retry-After", 0)))
            except (aiohttp.ClientConnectionError, TimeoutError):
                if not harmless:
                    raise
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)

    # The socket

    async def send(self, chat: str, content: str, **more: Any) -> Any:
        """Post a text; the message, once it is stored. It is posted once, however often it takes to be heard."""
        body = {"type": "text", "chatId": chat, "content": content, "clientMessageId": secrets.token_hex(12), **more}
        pause = 0.5
        while True:
            await self._connected()
            try:
                ack = await self._socket.call("message:send", body, namespace=NAMESPACE, timeout=ACK_SECONDS)
            except (socketio.exceptions.SocketIOError, TimeoutError):
                ack = {"statusCode": 503}
            if ack.get("isSuccess"):
                return ack["data"]
            if ack["statusCode"] not in AGAIN or ack.get("code") == FINAL:
                raise Refused(ack["statusCode"], ack)
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)

    async def call(self, name: str, payload: Any) -> Any:
        """Send another event, once; the ack's document. Raises Refused."""
        await self._connected()
        ack = await self._socket.call(name, payload, namespace=NAMESPACE, timeout=ACK_SECONDS)
        if not ack["isSuccess"]:
            raise Refused(ack["statusCode"], ack)
        return ack["data"]

    async def events(self) -> AsyncIterator[Event]:
        """Everything that happens, in the order of each channel, until the connection ends for good."""
        while True:
            event, places = await self._heard.get()
            if event is None:
                return
            yield event
            # Whoever asks for the next event has handled this one.
            for channel, seq in places.items():
                if seq is None:
                    self.offsets.pop(channel, None)
                else:
                    self.offsets[channel] = seq

    async def _connected(self) -> None:
        """Raises Refused where the connection has ended for good."""
        await self._ready.wait()
        if self._over:
            raise Refused(401, self._over)

    async def _auth(self) -> dict[str, Any]:
        auth = {"token": await self.token(), "v": 1, "client": "bellwire.py"}
        return auth | ({"offsets": self._cursors, "epoch": self.epoch} if self.epoch else {})

    async def _connect(self) -> None:
        try:
            await self._socket.connect(
                self.url, auth=self._auth, namespaces=[NAMESPACE], transports=["websocket"], retry=True, wait_timeout=30
            )
        except socketio.exceptions.ConnectionError:
            if self._over:
                raise Refused(401, self._over) from None
            raise
        await self._connected()

    async def _hear(self, name: str, payload: Any, place: Any = None) -> None:
        if name == "session:ready":
            self._resumed(payload)
        elif name == "session:expiring" and not isinstance(self._token, str):
            await self._socket.emit("session:refresh", {"token": await self.token()}, namespace=NAMESPACE)
        elif name == "session:closed":
            await self._closed(payload)
        elif name == "channel:reset":
            self._move(payload["channel"], payload["head"])
            self._tell(Event(name, payload, reload=(payload["channel"],)), payload["channel"])
        elif place is None:
            self._tell(Event(name, payload))
        else:
            await self._receive(name, payload, place["channel"], place["seq"])

    def _resumed(self, payload: Any) -> None:
        """Go on from the heads of what was not resumed; what is not in there is not ours to read."""
        lost = {channel for channel, whole in payload["recovered"].items() if not whole}
        for channel, head in payload["heads"].items():
            known = self._cursors.get(channel)
            if channel in lost or (known is not None and known < head):
                # A chat that was joined while we were away has had messages since.
                lost.add(channel)
            if known is None or channel in lost:
                self._cursors[channel] = head
        for channel in lost - payload["heads"].keys():
            self._cursors.pop(channel, None)
        self.epoch = payload["epoch"]
        self._ready.set()
        self._tell(Event("session:ready", payload, reload=tuple(sorted(lost))), *self._cursors, *lost)

    async def _receive(self, name: str, payload: Any, channel: str, seq: int) -> None:
        known = self._cursors.get(channel)
        if known is not None and seq <= known:
            return
        if known is not None and seq > known + 1:
            # Something is missing: another connection brings it.
            self._ready.clear()
            await self._socket.eio.ws.close()
            return
        self._cursors[channel] = seq
        touched = [channel]
        if name in ("chat:new", "chat:removed"):
            touched.append(f"chat:{payload.get('_id') or payload['chatId']}")
            self._move(touched[1], payload.get("at"))
        self._tell(Event(name, payload, channel, seq), *touched)

    def _move(self, channel: str, seq: int | None) -> None:
        if seq is None:
            self._cursors.pop(channel, None)
        else:
            self._cursors[channel] = max(seq, self._cursors.get(channel, 0))

    def _tell(self, event: Event, *channels: str) -> None:
        self._heard.put_nowait((event, {channel: self._cursors.get(channel) for channel in channels}))

    # The end

    async def _lost(self, *reason: Any) -> None:
        if not self._over:
            self._ready.clear()

    async def _closed(self, payload: Any) -> None:
        self._tell(Event("session:closed", payload))
        if payload["reason"] == "expired" and not isinstance(self._token, str):
            self._again = asyncio.create_task(self._come_back())
        else:
            self._end(payload["reason"])

    async def _come_back(self) -> None:
        """With a new token, when the old connection is gone."""
        await self._socket.wait()
        await self._connect()

    async def _refused(self, why: Any = None) -> None:
        """CONNECT was refused: for a token that ended there may be another one, the rest is final."""
        message = why.get("message") if isinstance(why, dict) else None
        final = {"authentication required", "unsupported version", "forbidden origin", "malformed auth"}
        if message in final or (message == "token expired" and isinstance(self._token, str)):
            self._end(message)
            asyncio.get_running_loop().call_soon(lambda: asyncio.ensure_future(self._socket.shutdown()))

    def _end(self, why: str) -> None:
        self._over = why
        self._ready.set()
        self._heard.put_nowait((None, {}))
