"""What the server writes into its log, at its most talkative: nothing that is secret, and nothing that anybody said."""

import asyncio
import contextlib
import logging
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest

from tests.conftest import ServerFactory
from tests.people import Person, RawSocket

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
        await bad.until(lambda bad=bad: bad.packets)  # type: ignore[misc]
        with contextlib.suppress(ConnectionError, ConnectionResetError):
            await bad.send(packet)
            await asyncio.sleep(0.05)
        await bad.close()
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
    secrets = (CANARY, ann.token, bob.token, server.services.tokens.secret)
    said = [record for record in caplog.records if any(each in written(record) for each in secrets)]
    assert [(record.name, written(record)[:200]) for record in said] == []
    assert caplog.records


def written(record: Any) -> str:
    return f"{record.getMessage()} {record.exc_text or ''} {record.exc_info or ''}"
