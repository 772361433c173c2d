"""Bare sockets: connections of either transport, packet by packet."""

from typing import Any

import orjson

from tests.conftest import Served, eventually
from tests.support.people import Api, RawSocket


async def raw(server: Served, **options: Any) -> RawSocket:
    return await RawSocket.open(server.people.session, server.url, **options)


async def polled(server: Served) -> None:
    """Until somebody's poll waits for what comes."""
    await eventually(
        lambda: any(each.polling and each.polling.waiter for each in server.services.socketio.eio.sockets.values())
    )


class Polling:
    """Engine.IO polling by hand."""

    def __init__(self, api: Api) -> None:
        self.api = api
        self.base = "/socket.io/?EIO=4&transport=polling"
        self.packets: list[str] = []

    async def open(self) -> "Polling":
        answer = await self.api.get(self.base)
        assert answer.status == 200
        self.base += f"&sid={orjson.loads(answer.body[1:])['sid']}"
        return self

    async def poll(self) -> list[str]:
        answer = await self.api.get(self.base)
        assert answer.status == 200, answer
        found = answer.body.decode().split("\x1e")
        self.packets += found
        return found

    async def post(self, *packets: str) -> int:
        return (await self.api.post(self.base, data="\x1e".join(packets).encode())).status

    async def connect(self, auth: Any) -> None:
        assert await self.post("40/chat," + orjson.dumps(auth).decode()) == 200
        while not any("session:ready" in each for each in self.packets):
            await self.poll()


def masked(text: str) -> bytes:
    """A client's text frame; a mask of zeros is one too."""
    payload = text.encode()
    size = bytes([128 + len(payload)]) if len(payload) < 126 else b"\xfe" + len(payload).to_bytes(2, "big")
    return b"\x81" + size + b"\0\0\0\0" + payload
