"""A connection that ends leaves nothing for the collector: short ones are many, and the collector comes late."""

import asyncio
import gc
import socket
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest

from server.listening import HttpConnection
from tests.conftest import Served, eventually

WEBSOCKET = (
    b"GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
KINDS = {
    "nothing is asked": b"",
    "a balancer's probe": b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n",
    "closed by the server": b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    "a bad request": b"GET / HTTP/9\r\n\r\n",
    "a websocket": WEBSOCKET,
}


@pytest.fixture
def no_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def alive() -> int:
    return sum(isinstance(each, asyncio.Transport | HttpConnection) for each in gc.get_objects())


@pytest.mark.parametrize("kind", KINDS)
async def test_nothing_is_left_for_the_collector(server: Served, no_collector: None, kind: str) -> None:
    address = urlsplit(server.url)
    name: Any = (address.hostname, address.port)

    def connect(times: int) -> None:
        for _ in range(times):
            with socket.create_connection(name) as connection:
                if KINDS[kind]:
                    connection.sendall(KINDS[kind])
                    connection.recv(4096)

    before = alive()
    await asyncio.to_thread(connect, 50)
    await eventually(lambda: alive() <= before)
