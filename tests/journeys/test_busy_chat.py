"""Readers of one busy chat: every one ends with every event it may see, once and in order, and none it may not."""

import asyncio
import random
from collections.abc import Awaitable, Callable

import pytest
from socketio.exceptions import SocketIOError

from tests.conftest import Served, eventually
from tests.support.people import Client, Person, RawSocket

MESSAGES = 5000
SENDERS = 5
Transports = list[str] | None


class Follower:
    """A reader of one channel, over as many connections as it takes; what cuts it off, it comes back from."""

    def __init__(self, person: Person, channel: str, transports: Transports | str) -> None:
        self.person = person
        self.channel = channel
        self.transports = transports
        self.past: list[int] = []
        self.connection: RawSocket | Client | None = None
        self.connections = 0

    async def connect(self, epoch: str) -> None:
        """Go on from what was seen last."""
        while True:
            auth = {"offsets": {self.channel: self.past[-1] if self.past else 0}, "epoch": epoch}
            self.connections += 1
            try:
                if self.transports == "raw":
                    self.connection = raw = await RawSocket.open(self.person.session, self.person.url)
                    await raw.connect(self.person.auth(**auth))
                    ready = (await raw.event("session:ready"))[0]
                else:
                    assert not isinstance(self.transports, str)
                    self.connection = client = Client(self.person.url)
                    await client.connect(self.person.auth(**auth), self.transports)
                    ready = client.ready.result()
            except (ConnectionError, SocketIOError):
                await self.leave()
                continue
            assert ready["recovered"] == {self.channel: True}
            return

    @property
    def lost(self) -> bool:
        return self.connection is None or self.connection.closed

    @property
    def last(self) -> int:
        """The newest seq seen; cheap, for it is asked often."""
        if isinstance(self.connection, Client) and self.connection.by_channel[self.channel]:
            return self.connection.by_channel[self.channel][-1]
        if isinstance(self.connection, RawSocket):
            place = next((each for _, (*_, each) in reversed(self.connection.events) if "seq" in each), None)
            if place:
                return int(place["seq"])
        return self.past[-1] if self.past else 0

    @property
    def seqs(self) -> list[int]:
        return self.past + (self.connection.seqs(self.channel) if self.connection else [])

    async def leave(self) -> None:
        if self.connection:
            await self.connection.close()
        self.past, self.connection = self.seqs, None


async def send_all(people: list[Person], chat_id: str, count: int, pause: Callable[[], Awaitable[None]]) -> None:
    """``count`` messages of each, several under way."""

    async def send(person: Person) -> None:
        socket = await person.socket()
        for start in range(0, count, 20):
            body = {"type": "text", "chatId": chat_id, "content": "x"}
            acks = await asyncio.gather(
                *(socket.call("message:send", body, 30) for _ in range(start, min(start + 20, count)))
            )
            assert all(ack["isSuccess"] for ack in acks)
            await pause()
        await socket.close()

    await asyncio.gather(*(send(person) for person in people))


@pytest.mark.parametrize("seed", [1])
async def test_readers_of_a_busy_chat(server: Served, seed: int) -> None:
    chance = random.Random(seed)
    senders = await server.people.many(SENDERS)
    owner = senders[0]
    steady_kinds: list[Transports | str] = ["raw", "raw", "raw", ["polling"], ["polling"], None, None, ["websocket"]]
    restless_kinds: list[Transports | str] = ["raw", "raw", ["polling"], None]
    members = await server.people.many(len(steady_kinds) + len(restless_kinds))
    chat_id = await owner.group(*senders[1:], *members)
    channel = f"chat:{chat_id}"
    chat_pk = await server.services.chats.numbers.find(owner.user.tenant_pk, chat_id)
    epoch = server.services.database.epoch
    followers = [
        Follower(person, channel, kind) for person, kind in zip(members, steady_kinds + restless_kinds, strict=True)
    ]
    steady, restless = followers[: len(steady_kinds)], followers[len(steady_kinds) :]
    for each in followers:
        await each.connect(epoch)
    done, over = asyncio.Event(), asyncio.Event()

    async def come_and_go(follower: Follower) -> None:
        while not done.is_set() or follower.connections < 3:
            await asyncio.sleep(chance.uniform(0.05, 0.5))
            await follower.leave()
            await asyncio.sleep(chance.uniform(0, 0.2))
            await follower.connect(epoch)

    async def stay(follower: Follower) -> None:
        while not over.is_set():
            await asyncio.sleep(0.05)
            if follower.lost:
                await follower.leave()
                await follower.connect(epoch)

    path = f"/api/v2/chats/{chat_id}/members"
    may_see: dict[str, list[tuple[int, int | None]]] = {}

    async def in_and_out(person: Person, once: bool) -> RawSocket:
        socket = await person.socket()
        spans = may_see.setdefault(person.id, [])
        while not done.is_set():
            await asyncio.sleep(chance.uniform(0.05, 0.4))
            joined = (await owner.post(path, {"userIds": [person.id]})).json["seq"]
            spans.append((joined, None))
            if once:
                break
            await asyncio.sleep(chance.uniform(0.05, 0.4))
            left = await owner.delete(f"{path}/{person.id}")
            spans[-1] = (joined, left.json["seq"])
        return socket

    guests = await server.people.many(5)
    staying = [asyncio.create_task(stay(each)) for each in steady]
    moving = [asyncio.create_task(come_and_go(each)) for each in restless]
    joining = [asyncio.create_task(in_and_out(person, index < 2)) for index, person in enumerate(guests)]

    async def not_too_far_ahead() -> None:
        """Readers and server share this process: wait for the slowest, or it has to be told to reload."""
        while min(each.last for each in followers) < server.services.hub.channels[chat_pk].position - 1000:  # type: ignore[operator]
            await asyncio.sleep(0.01)

    await send_all(senders, chat_id, MESSAGES // SENDERS, not_too_far_ahead)
    done.set()
    await asyncio.gather(*moving)
    staying += [asyncio.create_task(stay(each)) for each in restless]
    sockets = dict(zip([each.id for each in guests], await asyncio.gather(*joining), strict=True))
    head = (await owner.get(f"/api/v2/chats/{chat_id}")).json["seq"]
    assert head >= MESSAGES

    for follower in followers:
        await eventually(lambda f=follower: f.seqs and f.seqs[-1] >= head)  # type: ignore[misc]
        assert follower.seqs == list(range(1, head + 1)), follower.transports
    over.set()
    await asyncio.gather(*staying)
    assert sum(each.connections for each in restless) > 2 * len(restless)
    for person_id, socket in sockets.items():
        spans = may_see[person_id]
        expected = [seq for joined, left in spans for seq in range(joined + 1, (left or head) + 1)]
        await eventually(lambda s=socket, e=expected: len(s.seqs(channel)) >= len(e))  # type: ignore[misc]
        await asyncio.sleep(0.1)
        assert socket.seqs(channel) == expected
    for follower in followers:
        await follower.leave()
    for socket in sockets.values():
        await socket.close()
    assert server.services.hub.resets == 0
