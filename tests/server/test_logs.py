"""What the server writes into its log, at its most talkative: nothing that is secret, and nothing that anybody said."""

import asyncio
import contextlib
import logging
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import orjson
import pytest

from tests.conftest import ServerFactory
from tests.support.guard import HANG_SECONDS
from tests.support.people import Person, RawSocket
from tests.support.process import ServerProcess

CANARY = "canary"


async def use(person: Person, other: Person, url: str) -> None:
    """Go through everything with secrets and texts in it, well and badly."""
    session = person.session
    account = {"email": f"{CANARY}-mail@example.org", "password": f"{CANARY}-password"}
    made = (await person.post("/api/v1/auth/register", account)).json["data"]
    await person.post("/api/v1/auth/login", {**account, "password": f"{CANARY}-wrong-password"})
    await person.post("/api/v1/auth/refresh", {"refreshToken": made["refreshToken"]})
    await person.post("/api/v1/auth/refresh", {"refreshToken": made["refreshToken"]})
    await person.post("/api/v1/auth/reset", {"token": f"{CANARY}-reset", "password": f"{CANARY}-password"})
    chat = await person.group(other, name=f"{CANARY} chat")
    sent = await person.send(
        chat, f"{CANARY} text", metadata={"x": f"{CANARY} metadata"}, clientMessageId=f"{CANARY}-key"
    )
    await person.patch(f"/api/v2/messages/{sent['_id']}", {"content": f"{CANARY} edit"})
    device = {
        "deviceId": "d",
        "platform": "ios",
        "pushToken": f"{CANARY}-token",
        "environment": "sandbox",
        "bundleId": "a.b",
    }
    await other.post("/api/v1/devices", device)
    await person.send(chat, f"{CANARY} pushed")
    notification = {
        "userId": other.id,
        "type": "info",
        "category": "c",
        "title": f"{CANARY} title",
        "message": f"{CANARY} m",
    }
    await person.post("/api/v1/notifications", notification)
    form = aiohttp.FormData()
    form.add_field("file", f"{CANARY} content".encode(), filename=f"{CANARY}.txt")
    await person.post("/api/v2/media", data=form)
    for path in (f"/api/v2/messages?chatId={CANARY}", f"/{CANARY}", f"/socket.io/?EIO=4&transport={CANARY}"):
        await person.request("POST", path, {"x": CANARY})
        await person.request("GET", path, headers={"Cookie": f"session={CANARY}", "Authorization": f"Bearer {CANARY}"})
    raw = await person.socket()
    await raw.call("message:send", {"type": "text", "chatId": chat, "content": f"{CANARY} said"})
    await raw.call(f"{CANARY}", {"x": CANARY})
    await raw.call("session:refresh", {"token": f"{CANARY}-refresh"})
    await raw.send(f'42/chat,["{CANARY}"')
    await raw.close()
    for packet in (f'40/chat,{{"token":"{CANARY}-connect","v":1}}', f"4{CANARY}", CANARY):
        bad = await RawSocket.open(session, url)
        await bad.until(lambda bad=bad: bad.packets)
        with contextlib.suppress(ConnectionError, ConnectionResetError):
            await bad.send(packet)
            await asyncio.sleep(0.05)
        await bad.close()
    reader, writer = await asyncio.open_connection("127.0.0.1", urlsplit(url).port)
    writer.write(f"GET / HTTP/1.1\r\nHost: here\r\nAuthorization: Bearer {CANARY}\0\r\n\r\n".encode())
    assert (await reader.read(4096)).startswith(b"HTTP/1.0 400")
    writer.close()
    await writer.wait_closed()
    opened = await person.get("/socket.io/?EIO=4&transport=polling")
    sid = orjson.loads(opened.body[1:])["sid"]
    path = f"/socket.io/?EIO=4&transport=polling&sid={sid}"
    await person.request("POST", path, data=f'40/chat,{{"token":"{CANARY}-polled","v":1}}'.encode())
    await person.request("POST", path, data=f"{CANARY}".encode())


async def test_no_secret_and_no_text_is_logged(
    serve: ServerFactory, caplog: pytest.LogCaptureFixture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.DEBUG)
    for name in ("aiosqlite", "asyncio", "aioapns", "hpack"):
        monkeypatch.setattr(logging.getLogger(name), "level", logging.NOTSET)
    server = await serve(log_level="DEBUG")
    ann = await server.people.make(grant=["notifications.send"])
    bob = await server.people.make()
    await use(ann, bob, server.url)
    assert ann.token and bob.token
    secrets = (CANARY, ann.token, bob.token, server.services.tokens.access.key.decode())
    said = [record for record in caplog.records if any(each in written(record) for each in secrets)]
    assert [(record.name, written(record)[:200]) for record in said] == []
    assert caplog.records


def written(record: Any) -> str:
    return f"{record.getMessage()} {getattr(record, 'fields', '')} {record.exc_text or ''} {record.exc_info or ''}"


async def lines(process: ServerProcess, message: str) -> list[dict[str, Any]]:
    """The lines with that message, waited for until there is one."""
    async with asyncio.timeout(HANG_SECONDS):
        while True:
            written = [orjson.loads(line) for line in process.log.read_bytes().splitlines()]
            if found := [each for each in written if each["message"] == message]:
                return found
            await asyncio.sleep(0.05)


async def test_each_request_and_each_connection_has_a_line(tmp_path: Path) -> None:
    async with (
        ServerProcess(tmp_path / "data", log_format="json") as process,
        aiohttp.ClientSession() as session,
    ):
        ann = await process.user(session, "ann@example.org")
        named = await ann.request("GET", "/api/v1/users/me", headers={"X-Request-ID": "ours-1"})
        assert named.headers["X-Request-ID"] == "ours-1"
        odd = await ann.request("GET", "/nothing", headers={"X-Request-ID": "no good one"})
        assert len(odd.headers["X-Request-ID"]) == 16
        (line,) = await lines(process, "GET /api/v1/users/me 200")
        assert line["request"] == "ours-1" and line["user"] == ann.id and line["logger"] == "bellwire.access"
        assert line["level"] == "INFO" and line["time"].endswith("+00:00") and line["ms"] > 0
        (line,) = await lines(process, "GET unknown 404")
        assert line["request"] == odd.headers["X-Request-ID"] and "user" not in line

        raw = await RawSocket.open(session, process.url)
        await raw.send('40/chat,{"token":"nonsense","v":1}')
        (refused,) = await lines(process, "refused: authentication required")
        await raw.close()
        bad = (await lines(process, "connection closed"))[0]
        assert bad["connection"] == refused["connection"] and "user" not in bad

        raw = await ann.socket()
        (opened,) = await lines(process, "connected")
        assert opened["user"] == ann.id and opened["connection"] != refused["connection"]
        await raw.close()
        async with asyncio.timeout(HANG_SECONDS):
            while len(closed := await lines(process, "connection closed")) < 2:
                await asyncio.sleep(0.05)
        assert closed[1]["connection"] == opened["connection"] and closed[1]["user"] == ann.id
        assert closed[1]["code"] == 1000 and closed[1]["seconds"] >= 0
        sids = [orjson.loads(packet[1:])["sid"] for packet in raw.packets if packet.startswith("0")]
        assert sids and sids[0] not in process.log.read_text()
