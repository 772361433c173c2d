"""A story of the socket in which every event is sent and received, and one short session as its text."""

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import aiohttp
import orjson

from storage.types import SECOND, now
from tests.conftest import Served
from tests.samples.recorder import fixed, numbered
from tests.support.people import Person, RawSocket

# What stands before the JSON of a packet: types, namespace, number.
PACKET = re.compile(r"\d+(/chat,)?\d*(?=[\[{])")
SID = re.compile(r'(?<="sid":")[^"]+')
STARTS = {"title": "The match", "startsAt": "2030-06-01T20:00:00.000Z"}


class Socket(RawSocket):
    """Keeps what both sides send, each line as it is on the wire."""

    lines: list[str]

    async def send(self, text: str) -> None:
        self.lines.append(f"> {shortened(text)}")
        await super().send(text)

    async def _packet(self, text: str) -> None:
        self.lines.append(f"< {shortened(text)}")
        await super()._packet(text)


def shortened(text: str) -> str:
    """A packet without most of the limits, and with what differs between two runs replaced."""
    head = PACKET.match(text)
    if not head:
        return text
    data = fixed(orjson.loads(text[head.end() :]))
    if isinstance(data, list) and data[0] == "session:ready":
        data[1]["limits"] = {"content": data[1]["limits"]["content"]}
    return head[0] + orjson.dumps(data).decode()


class SocketStory:
    """Ann administers and writes, Bob reads and answers, Dan comes late."""

    def __init__(self, server: Served) -> None:
        self.server = server
        self.payloads: dict[str, Any] = {}
        self.acks: dict[str, Any] = {}

    async def call(self, raw: RawSocket, name: str, payload: dict[str, Any]) -> Any:
        self.payloads.setdefault(name, payload)
        ack = await raw.call(name, payload)
        self.acks.setdefault(name, ack)
        return ack["data"]

    async def run(self) -> Sequence[RawSocket]:
        """All events; the sockets that received them."""
        call = self.call
        ann = await self.server.people.make("Ann", grant=["admin", "notifications.send"])
        bob = await self.server.people.make("Bob")
        mine, his = await ann.socket(), await bob.socket()
        chat, shared = await ann.group(bob), await ann.group(bob, name="they go on sharing this one")
        await bob.send(shared)
        await his.event("chat:new", 2)
        sent = await call(mine, "message:send", {"type": "text", "chatId": chat, "content": "Lunch at one?"})
        await his.event("message:new")
        await call(his, "message:read", {"chatId": chat, "messageId": sent["_id"]})
        await call(mine, "message:edit", {"messageId": sent["_id"], "content": "Lunch at two?"})
        await call(his, "reaction:add", {"messageId": sent["_id"], "key": "👍"})
        await his.event("message:reactions")
        await call(his, "reaction:remove", {"messageId": sent["_id"], "key": "👍"})
        root = await ann.send(chat)
        reply = await ann.send(chat, threadId=root["_id"])
        await his.event("message:thread")
        await call(his, "message:read", {"chatId": chat, "messageId": reply["_id"]})
        await his.event("thread:read")
        await call(his, "typing", {"chatId": chat})
        older, dan = await ann.send(chat), await self.server.people.make("Dan")
        late = await dan.socket()
        await ann.post(f"/api/v2/chats/{chat}/members", {"userIds": [dan.id]})
        await late.event("chat:new")
        await ann.patch(f"/api/v2/messages/{older['_id']}", {"content": "z"})
        await late.event("channel:skip")
        await call(mine, "message:delete", {"messageId": sent["_id"]})
        await call(mine, "presence:watch", {"userIds": [bob.id]})
        await call(mine, "app:state", {"active": True})
        await call(mine, "session:refresh", {"token": ann.token})
        await self.watch_streams(ann, his)
        await ann.post(f"/api/v2/chats/{chat}/members/{dan.id}/silence", {})
        await late.event("member:silenced")
        notification = {"userId": bob.id, "type": "info", "category": "orders", "title": "Order sent",
            "message": "Your order is on its way."}  # fmt: skip
        made = (await ann.post("/api/v1/notifications", notification)).json["data"]
        await his.event("notification:new")
        await call(his, "notification:read", {"id": made["id"]})
        await bob.delete(f"/api/v1/notifications/{made['id']}")
        await ann.post("/api/v1/credits/grants", {"userId": bob.id, "amount": 1})
        await his.event("credit:balance")
        await ann.patch(f"/api/v2/chats/{chat}", {"name": "another"})
        await ann.delete(f"/api/v2/chats/{chat}/members/{bob.id}")
        await his.event("chat:removed")
        for name in ("message:updated", "message:deleted", "chat:updated", "message:read", "typing"):
            await mine.event(name)
        await ann.post(f"/api/v1/admin/users/{bob.id}/sign-out")
        await his.event("session:closed")
        await mine.event("presence")
        return [mine, his, late, await self.lose_events(ann, shared)]

    async def lose_events(self, ann: Person, chat: str) -> RawSocket:
        """Of a user whose token expires soon, and who misses events that are not kept any more."""
        eve, services = await self.server.people.make("Eve"), self.server.services
        socket = await eve.socket()
        (session,) = services.sessions.of_user[eve.user.pk]
        await ann.post(f"/api/v2/chats/{chat}/members", {"userIds": [eve.id]})
        await socket.event("chat:new")
        pk = await services.chats.numbers.find(eve.user.tenant_pk, chat)
        services.hub._end_at_gap(services.hub.channels[pk], [session])
        await socket.event("channel:reset")
        session.caller = replace(session.caller, expires_at=now() + 600 * SECOND)
        services.sessions.expiries.discard(session.due, session)
        session.due = services.sessions.expiries.add(now() // SECOND + 1, session)
        await socket.event("session:expiring")
        return socket

    async def watch_streams(self, ann: Person, his: RawSocket) -> None:
        call = self.call
        stream = (await ann.post("/api/v1/streams", STARTS)).json["data"]["id"]
        opened = (await ann.post("/api/v1/streams", {**STARTS, "audience": "open"})).json["data"]
        await call(his, "stream:watch", {"streamId": opened["id"]})
        await call(his, "stream:watch", {"streamId": stream})
        await ann.post(f"/api/v1/streams/{stream}/ready")
        await his.event("stream:status")
        await call(his, "stream:unwatch", {"streamId": stream})
        await call(his, "stream:react", {"streamId": opened["id"], "key": "👍"})
        await his.event("stream:viewers")
        await his.event("stream:reactions")


async def session_of(server: Served) -> list[str]:
    """The lines of one session: connect, send, receive, and resume after the connection was lost."""
    ann, bob = await server.people.make("Ann"), await server.people.make("Bob")
    chat = await ann.group(bob)
    await ann.send(chat, "first")
    lines: list[str] = []
    first = await opened(server, bob, lines)
    ready = (await first.event("session:ready"))[0]
    await first.call("message:send", {"type": "text", "chatId": chat, "content": "Hello", "clientMessageId": "draft-1"})
    (message, place) = await first.event("message:new")
    await first.call("message:read", {"chatId": chat, "messageId": message["_id"]})
    await first.event("message:read")
    lines.append("")
    await first.close()
    await ann.send(chat, "while Bob was offline")
    offsets = {**ready["heads"], place["channel"]: first.seqs(place["channel"])[-1]}
    second = await opened(server, bob, lines, offsets=offsets, epoch=ready["epoch"])
    await second.event("session:ready")
    await second.send("41/chat,")
    await second.close()
    name = numbered(lambda number: f"lv_VI97HAXpY6yYW{number:04}")
    return [SID.sub(name, line) for line in lines]


async def opened(server: Served, person: Person, lines: list[str], **auth: Any) -> Socket:
    session: aiohttp.ClientSession = server.people.session
    ws = await session.ws_connect(f"{server.url}/socket.io/?EIO=4&transport=websocket")
    Socket.lines = lines
    socket = Socket(ws)
    await socket.connect(person.auth(**auth))
    return socket
