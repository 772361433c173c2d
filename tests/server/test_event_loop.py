"""The event loop: connections that end at once are handled a few at a time, all others at once, and none is forgotten."""

import asyncio
import contextlib
import select
import socket
import struct

import pytest

from server.event_loop import CLOSED_AT_ONCE, FairPoll, new_event_loop

RESET = struct.pack("ii", 1, 0)


def pairs(count: int) -> list[tuple[socket.socket, socket.socket]]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        made = []
        for _ in range(count):
            client = socket.create_connection(listening.getsockname())
            made.append((client, listening.accept()[0]))
        return made


@pytest.mark.parametrize("reset", [True, False])
def test_a_few_that_ended_at_a_time_and_all_others_at_once(reset: bool) -> None:
    epoll, many = FairPoll(select.epoll()), 3 * CLOSED_AT_ONCE
    connections = pairs(many + 5)
    for _, server in connections:
        epoll.register(server.fileno(), select.EPOLLIN)
    for client, _ in connections[:many]:
        if reset:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        client.close()
    for client, _ in connections[many:]:
        client.send(b"x")
    alive = {server.fileno() for _, server in connections[many:]}
    by_number = {server.fileno(): server for _, server in connections}
    seen: list[int] = []
    while len(seen) < many:
        found = [fd for fd, _ in epoll.poll(1.0, len(connections))]
        assert alive <= set(found), "at once, and each time as long as it is not read"
        closed = set(found) - alive
        assert 0 < len(closed) <= CLOSED_AT_ONCE
        for fd in closed:
            epoll.unregister(fd)
            seen.append(fd)
    assert set(seen) == by_number.keys() - alive
    for client, server in connections:
        client.close()
        server.close()
    epoll.close()


def test_a_loop_that_many_connections_leave_at_once() -> None:
    lost = 0

    class Counting(asyncio.Protocol):
        def connection_lost(self, error: Exception | None) -> None:
            nonlocal lost
            lost += 1

    async def main() -> None:
        loop = asyncio.get_running_loop()
        connections = pairs(200)
        for _, server in connections:
            await loop.connect_accepted_socket(Counting, server)
        for client, _ in connections:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            client.close()
        while lost < 200:
            await asyncio.sleep(0)

    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(main())
    assert lost == 200


def test_who_is_only_written_to_is_not_told_again_and_again() -> None:
    """The other side has closed its half, and does not read what waits for it."""
    epoll = FairPoll(select.epoll())
    ((client, server),) = pairs(1)
    server.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        while True:
            server.send(b"x" * 65536)
    client.shutdown(socket.SHUT_WR)
    epoll.register(server.fileno(), select.EPOLLIN)
    assert [fd for fd, _ in epoll.poll(1.0, 1)] == [server.fileno()]
    epoll.modify(server.fileno(), select.EPOLLOUT)
    assert epoll.poll(0.0, 1) == []
    client.close()
    server.close()
    epoll.close()
