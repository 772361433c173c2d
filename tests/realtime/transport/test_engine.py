"""All sessions of a process: pings, slow readers, and those that never connect."""

import math
import socket as sockets
from dataclasses import replace

import pytest

from tests.conftest import ServerFactory, eventually
from tests.support.people import transport_of
from tests.support.sockets import raw


async def test_a_user_may_have_so_many_sockets(serve: ServerFactory) -> None:
    server = await serve(max_sockets_per_user=2)
    ann = await server.people.make()
    first, second = await ann.socket(), await ann.socket()
    third = await raw(server)
    with pytest.raises(ConnectionError):
        await third.connect(ann.auth())
    assert third.ws.close_code == 1013
    await first.close()
    await eventually(lambda: server.services.sessions.count == 1)
    again = await ann.socket()
    for each in (second, again):
        await each.close()


async def test_a_reader_that_does_not_read_is_cut_off(serve: ServerFactory) -> None:
    """2.6: the queue of a socket had no bound."""
    server = await serve(max_outbound=256 * 1024)
    ann, bob, cid = await server.people.many(3)
    chat_id = await ann.group(bob, cid)
    good = await bob.socket()
    slow = await cid.socket()
    transport = transport_of(slow)
    transport.pause_reading()
    transport.get_extra_info("socket").setsockopt(sockets.SOL_SOCKET, sockets.SO_RCVBUF, 4096)
    count = 0
    while not server.services.socketio.eio.slow_closed and count < 2000:
        await ann.send(chat_id, "x" * 16_000)
        count += 1
    assert server.services.socketio.eio.slow_closed == 1
    await eventually(lambda: server.services.sessions.count == 1)
    assert len(server.services.socketio.eio.sockets) == 1
    await good.event("message:new", count, 10)
    again = await cid.socket(offsets={f"chat:{chat_id}": count - 1}, epoch=server.services.database.epoch)
    assert again.named("message:new")[0][1]["seq"] == count
    for each in (good, again):
        await each.close()
    await slow.ws.close()


async def test_a_connection_that_never_connects_is_closed(serve: ServerFactory) -> None:
    """2.7: an unauthenticated peer that only answered pings stayed for ever."""
    server = await serve()
    ann = await server.people.make()
    engine = server.services.socketio.eio
    good, refused = await ann.socket(), await raw(server)
    await refused.connect({"v": 1})
    engine.limits = replace(engine.limits, unconnected=0.05)
    silent = await raw(server)
    await silent.gone()
    waiting = [each for each in engine.sockets.values() if each.connect_deadline]
    assert len(waiting) == 1, "the one that was refused has its time still, and who connected needs none"
    waiting[0].start_connect_deadline()
    await refused.gone()
    assert not good.closed
    assert len(server.services.socketio.eio.sockets) == 1
    await good.close()


async def test_pings(serve: ServerFactory) -> None:
    server = await serve(ping_interval=0.2)
    ann = await server.people.make()
    dead = await ann.socket()
    (session,) = server.services.sessions.all()
    dead.pongs = False
    alive = await ann.socket()
    await alive.until(lambda: alive.packets.count("2") >= 2)
    await eventually(lambda: session.socket.pinged_at < math.inf)
    # As if that had been long ago.
    session.socket.pinged_at = -math.inf
    await dead.gone()
    await alive.until(lambda: alive.packets.count("2") >= 4)
    assert server.services.sessions.count == 1
    await alive.close()
