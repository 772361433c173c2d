"""The door: everybody gets in, a few at a time, until it is closed."""

import asyncio
import socket

import pytest

from server import listening
from server.listening import Door, listen


class Echo(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport.write(b"hello")


async def heard(port: int) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        return await reader.readexactly(5)
    finally:
        writer.close()


async def test_all_of_a_crowd_get_in_with_pauses(monkeypatch):
    pauses = []
    pause = Door._pause
    monkeypatch.setattr(Door, "_pause", lambda self, seconds: (pauses.append(seconds), pause(self, seconds)))
    door = Door(listen("127.0.0.1", 0), Echo)
    port = door.socket.getsockname()[1]
    waiting = [asyncio.create_task(heard(port)) for _ in range(100)]
    await asyncio.sleep(0.1)
    door.open()
    assert await asyncio.gather(*waiting) == [b"hello"] * 100
    assert len(pauses) == 100 // listening.TAKEN_AT_ONCE and set(pauses) == {listening.PAUSE}
    door.close()
    with pytest.raises(ConnectionRefusedError):
        await heard(port)


async def test_without_descriptors_it_waits_and_goes_on(monkeypatch):
    monkeypatch.setattr(listening, "OUT_OF_DESCRIPTORS", 0.05)
    door = Door(listen("127.0.0.1", 0), Echo)
    accept = socket.socket.accept
    failures = iter([OSError(24, "Too many open files")])

    def refusing(self):
        for failure in failures:
            raise failure
        return accept(self)

    monkeypatch.setattr(socket.socket, "accept", refusing)
    door.open()
    assert await heard(door.socket.getsockname()[1]) == b"hello"
    door.close()
