"""One Engine.IO session: its closing, its inbox, and polling."""

import asyncio
import gc
import io
import weakref
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest

from tests.conftest import Served, eventually
from tests.support.guard import HANG_SECONDS
from tests.support.people import Api, transport_of
from tests.support.process import ServerProcess
from tests.support.sockets import Polling, masked, polled


async def test_a_drain_closes_without_disconnect(tmp_path: Path) -> None:
    """2.16: the stock server left sockets open, and was still there seconds after SIGTERM."""
    async with ServerProcess(tmp_path / "data") as process, aiohttp.ClientSession() as session:
        ann = await process.user(session, "ann@example.org")
        socket = await ann.socket()
        polling = await Polling(Api(session, process.url)).open()
        await polling.connect(ann.auth())
        assert await process.stop() == 0
        await socket.gone()
        assert socket.ws.close_code == 1012
        assert "41/chat," not in socket.packets + polling.packets
        assert "Traceback" not in process.log.read_text()


@pytest.mark.parametrize("frame", ["x", "", "9", "4", "4x", "4[[[[", "42/chat," + "9" * 100 + '["a"]', "\0"])
async def test_frames_that_are_none_close_the_connection(server: Served, frame: str) -> None:
    """2.9: they raised out of the read loop and left the session behind."""
    ann = await server.people.make()
    socket = await ann.socket()
    await socket.send(frame)
    await socket.gone()
    await eventually(lambda: not server.services.socketio.eio.sockets)
    assert server.services.sessions.count == 0


async def test_a_packet_over_the_limit(server: Served) -> None:
    ann = await server.people.make()
    socket = await ann.socket()
    await socket.send("42/chat,1" + orjson.dumps(["message:send", {"content": "x" * 300_000}]).decode())
    await socket.gone()
    assert socket.ws.close_code == 1009


async def test_a_polling_payload_is_handled_whole(server: Served) -> None:
    """Stock: more than 16 packets vanished with 200 ok."""
    ann = await server.people.make()
    chat_id = await ann.group()
    polling = await Polling(server.people.anonymous).open()
    await polling.connect(ann.auth())

    def sends(count: int) -> list[str]:
        body = {"type": "text", "chatId": chat_id, "content": "x"}
        return [f"42/chat,{id}" + orjson.dumps(["message:send", body]).decode() for id in range(count)]

    posting = asyncio.create_task(polling.post(*sends(200)))
    while len([each for each in polling.packets if each.startswith("43/chat,")]) < 200:
        await polling.poll()
    assert await posting == 200
    assert [int(each[8:].split("[")[0]) for each in polling.packets if each.startswith("43")] == list(range(200))
    assert await polling.post(*sends(1001)) == 400
    assert (await polling.api.get(polling.base)).status == 400
    await eventually(lambda: server.services.sessions.count == 0)
    history = (await ann.get(f"/api/v2/messages?chatId={chat_id}")).json
    assert history["items"][-1]["seq"] == 200


async def test_a_polling_body_in_pieces(server: Served) -> None:
    """Stock: a body that came in two TCP pieces was cut off, with 200 ok."""
    ann = await server.people.make()
    chat_id = await ann.group()
    polling = await Polling(server.people.anonymous).open()
    await polling.connect(ann.auth())
    body = {"type": "text", "chatId": chat_id, "content": "x" * 16_000}
    packets = [f"42/chat,{id}" + orjson.dumps(["message:send", body]).decode() for id in range(10)]
    payload = "\x1e".join(packets).encode()

    async def pieces() -> Any:
        for start in range(0, len(payload), 40_000):
            yield payload[start : start + 40_000]
            await asyncio.sleep(0.02)

    answer = await polling.api.post(polling.base, data=pieces())
    assert answer.status == 200
    while len([each for each in polling.packets if each.startswith("43/chat,")]) < 10:
        await polling.poll()


async def test_bad_polling_requests(server: Served) -> None:
    ann = await server.people.make()
    anonymous = server.people.anonymous
    unknown = await anonymous.get("/socket.io/?EIO=4&transport=polling&sid=nowhere")
    assert unknown.status == 400 and "websocket" in unknown.body.decode() and "nowhere" not in unknown.body.decode()
    for query in ("", "?EIO=3&transport=polling", "?EIO=4&transport=carrier-pigeon"):
        assert (await anonymous.get(f"/socket.io/{query}")).status == 400, query
    for bad in (b"x", b"", b"\xff", b"4" * 2_000_000, b"4" * 300_000):
        polling = await Polling(anonymous).open()
        await polling.connect(ann.auth())
        assert (await anonymous.post(polling.base, data=io.BytesIO(bad))).status == 400, bad[:9]
        assert (await anonymous.get(polling.base)).status == 400
    polling = await Polling(anonymous).open()
    await polling.connect(ann.auth())
    waiting = asyncio.create_task(polling.poll())
    await polled(server)
    assert (await anonymous.get(polling.base)).status == 400
    waiting.cancel()
    await eventually(lambda: not server.services.socketio.eio.sockets)


async def test_a_final_close_while_polling(server: Served) -> None:
    ann, admin = await server.people.make(), await server.people.make(grant=["admin"])
    polling = await Polling(server.people.anonymous).open()
    await polling.connect(ann.auth())
    waiting = asyncio.create_task(polling.poll())
    await polled(server)
    await admin.post(f"/api/v1/admin/users/{ann.id}/ban")
    found = await waiting
    assert found == ['42/chat,["session:closed",{"reason":"banned"}]', "41/chat,"]
    assert await polling.poll() == ["1"]
    assert (await polling.api.get(polling.base)).status == 400


async def test_payloads_of_one_session_at_once(server: Served) -> None:
    ann = await server.people.make()
    polling = await Polling(server.people.anonymous).open()
    await polling.connect(ann.auth())
    packets = [f'42/chat,{id}["presence:watch",{{"userIds":[]}}]' for id in range(300)]
    async with asyncio.timeout(HANG_SECONDS):
        statuses = await asyncio.gather(*(polling.post(*packets) for _ in range(3)))
    assert 400 in statuses
    await eventually(lambda: not server.services.socketio.eio.sockets)


async def test_what_was_sent_before_a_close_frame_counts(server: Served) -> None:
    ann = await server.people.make()
    chat_id = await ann.group()
    for goodbye in ("41/chat,", "1", None):
        socket = await ann.socket()
        for number in range(5):
            body = {"type": "text", "chatId": chat_id, "content": f"{goodbye} {number}"}
            await socket.send("42/chat," + orjson.dumps(["message:send", body]).decode())
        await (socket.send(goodbye) if goodbye else socket.ws.close())
        await eventually(lambda: server.services.sessions.count == 0)
        await socket.ws.close()
    await server.services.database.writer.drain()
    assert len((await ann.get(f"/api/v2/messages?chatId={chat_id}")).json["items"]) == 15


async def test_a_closed_socket_that_is_not_read_goes_too(server: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("realtime.transport.websocket.CLOSE_LINGER_SECONDS", 0.5)
    ann = await server.people.make()
    chat_id = await ann.group()
    socket = await ann.socket()
    here = next(iter(server.services.socketio.eio.sockets.values()))
    transport = transport_of(socket)
    transport.pause_reading()
    while here.buffered < 300_000:
        await asyncio.gather(*(ann.send(chat_id, "x" * 16_000) for _ in range(10)))
    await socket.send("nonsense")
    await eventually(lambda: here.closing)
    assert here.transport
    await eventually(lambda: here.transport.get_extra_info("socket").fileno() == -1)  # type: ignore[union-attr]
    await socket.ws.close()


async def test_no_session_outlives_its_socket(server: Served) -> None:
    ann = await server.people.make()
    socket = await ann.socket()
    refresh = {"token": ann.token}
    for _ in range(5):
        assert (await socket.call("session:refresh", refresh))["isSuccess"]
    session = weakref.ref(next(iter(server.services.sessions.all())).socket)
    assert sum(map(len, server.services.sessions.expiries.due.values())) == 1
    await socket.close()
    await eventually(lambda: server.services.sessions.count == 0)
    assert not server.services.sessions.expiries.due
    await eventually(lambda: gc.collect() >= 0 and session() is None)


async def test_a_flood_of_close_frames(server: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing after the first is looked at, even where it waits for what came before."""
    ann = await server.people.make()
    socket = await ann.socket()
    gate = asyncio.Event()

    async def slow(session: Any, packet: Any) -> None:
        await gate.wait()

    monkeypatch.setattr(server.services.namespace, "on_event", slow)
    await socket.send('42/chat,1["app:state",{"active":true}]')
    transport = transport_of(socket)
    (session,) = server.services.sessions.all()
    await eventually(lambda: session.socket.inbox is not None)
    transport.write(b"\x88\x82\0\0\0\0\x03\xe8" * 50_000 + masked('42/chat,2["app:state",{}]'))
    await eventually(lambda: len(session.socket.inbox.items if session.socket.inbox else ()) == 1)
    gate.set()
    await eventually(lambda: server.services.sessions.count == 0)
    await socket.ws.close()
