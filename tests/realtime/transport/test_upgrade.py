"""From polling to a websocket."""

import asyncio
from typing import Any

import aiohttp
import pytest

from tests.conftest import Served, eventually
from tests.support.guard import HANG_SECONDS
from tests.support.sockets import Polling, polled


async def test_a_slow_upgrade_on_a_busy_channel(server: Served) -> None:
    """Events before the probe, between the probe and its end, with it and after it: whole and in order."""
    ann, bob = await server.people.many(2)
    chat_id = await ann.group(bob)
    polling = await Polling(server.people.anonymous).open()
    await polling.connect(bob.auth())
    await ann.send(chat_id, "1")
    sid = polling.base.split("sid=")[1]
    ws = await server.people.session.ws_connect(f"{server.url}/socket.io/?EIO=4&transport=websocket&sid={sid}")
    await ann.send(chat_id, "2")
    await polling.poll()
    waiting = asyncio.create_task(polling.poll())
    await polled(server)
    await ws.send_str("2probe")
    assert await ws.receive_str() == "3probe"
    await waiting
    await ann.send(chat_id, "3")
    assert await polling.poll() == ["6"]
    await ann.send(chat_id, "4")
    await asyncio.gather(ws.send_str("5"), ann.send(chat_id, "5"))
    await ann.send(chat_id, "6")
    arrived = [each for each in polling.packets if "message:new" in each]
    while len(arrived) < 6:
        arrived.append(await asyncio.wait_for(ws.receive_str(), HANG_SECONDS))
    assert [each[each.rindex('"seq":') + 6 : -2] for each in arrived] == ["1", "2", "3", "4", "5", "6"]
    assert (await server.people.anonymous.get(polling.base)).status == 400
    await ws.close()


async def test_a_probe_that_breaks_off_leaves_polling_as_it_was(server: Served) -> None:
    """Stock: every poll was then answered at once, with nothing, for ever."""
    ann = await server.people.make()
    chat_id = await ann.group()
    polling = await Polling(server.people.anonymous).open()
    await polling.connect(ann.auth())
    sid = polling.base.split("sid=")[1]
    for word in (None, "2probe", "nonsense"):
        url = f"{server.url}/socket.io/?EIO=4&transport=websocket&sid={sid}"
        ws = await server.people.session.ws_connect(url)
        if word:
            await ws.send_str(word)
        await ws.close()
    await ann.send(chat_id, "still here")
    found: list[str] = []
    async with asyncio.timeout(HANG_SECONDS):
        while not any("still here" in each for each in found):
            found += await polling.poll()
    assert found.count("6") <= 3


async def test_a_final_close_during_an_upgrade(server: Served) -> None:
    ann, admin = await server.people.make(), await server.people.make(grant=["admin"])
    polling = await Polling(server.people.anonymous).open()
    await polling.connect(ann.auth())
    sid = polling.base.split("sid=")[1]
    ws = await server.people.session.ws_connect(f"{server.url}/socket.io/?EIO=4&transport=websocket&sid={sid}")
    await ws.send_str("2probe")
    await ws.receive_str()
    await admin.post(f"/api/v1/admin/users/{ann.id}/ban")
    await ws.send_str("5")
    assert [await ws.receive_str(), await ws.receive_str()] == [
        '42/chat,["session:closed",{"reason":"banned"}]', "41/chat,",
    ]  # fmt: skip
    assert (await ws.receive()).type is aiohttp.WSMsgType.CLOSE
    await ws.close()


async def test_a_payload_that_waits_while_the_socket_is_upgraded(
    server: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both may wait for room in the inbox; neither may be forgotten."""
    ann = await server.people.make()
    polling = await Polling(server.people.anonymous).open()
    await polling.connect(ann.auth())
    gate = asyncio.Event()
    handle = server.services.namespace.on_event

    async def slow(session: Any, packet: Any) -> None:
        await gate.wait()
        handle(session, packet)

    monkeypatch.setattr(server.services.namespace, "on_event", slow)
    packets = [f'42/chat,{id}["app:state",{{"active":true}}]' for id in range(100)]
    posting = asyncio.create_task(polling.post(*packets))
    (socket,) = server.services.socketio.eio.sockets.values()
    await eventually(lambda: socket.full)
    sid = polling.base.split("sid=")[1]
    ws = await server.people.session.ws_connect(f"{server.url}/socket.io/?EIO=4&transport=websocket&sid={sid}")
    await ws.send_str("2probe")
    await ws.receive_str()
    await ws.send_str("5")
    for id in range(100, 200):
        await ws.send_str(f'42/chat,{id}["app:state",{{"active":true}}]')
    await eventually(lambda: socket.websocket and socket.websocket.paused)
    gate.set()
    assert await asyncio.wait_for(posting, HANG_SECONDS) == 200
    acks: set[str] = set()
    async with asyncio.timeout(HANG_SECONDS):
        while len(acks) < 200:
            text = await ws.receive_str()
            if text.startswith("43/chat,"):
                acks.add(text.split("[")[0])
    await ws.close()
