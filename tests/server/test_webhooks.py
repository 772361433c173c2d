"""Webhooks: a backend of the operator's own is told what happened, signed, until it says that it has heard."""

import asyncio
import base64
import hashlib
import hmac
import socket
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest
from aiohttp import web
from sqlalchemy import func, select

import push.webhooks
from push.doubles.apns import TOPIC, Apple
from push.doubles.apple_connection import ApnsFault
from push.post import is_public
from push.webhook_sender import wrong_with
from push.webhooks import WebhookCalls
from storage import webhooks
from storage.models import calls
from storage.transaction import Command
from tests.conftest import Served, ServerFactory, eventually
from tests.support.guard import HANG_SECONDS
from tests.support.people import Person
from tests.support.process import ServerProcess

PATH = "/api/v1/admin/webhooks"
MESSAGES = ["message:new", "message:updated", "message:deleted"]


class Backend:
    """What an operator runs; it answers with ``statuses`` in their order, then with 200."""

    def __init__(self) -> None:
        self.calls: list[tuple[dict[str, str], bytes]] = []
        self.statuses: list[int] = []
        self.headers: dict[str, str] = {}
        self.url = ""

    async def heard(self, request: web.Request) -> web.Response:
        self.calls.append((dict(request.headers), await request.read()))
        status = self.statuses.pop(0) if self.statuses else 200
        return web.Response(status=status, headers={"Location": self.url} if status == 302 else self.headers)

    def documents(self) -> list[Any]:
        return [orjson.loads(body) for _, body in self.calls]

    async def until(self, count: int, seconds: float = HANG_SECONDS) -> None:
        async with asyncio.timeout(seconds):
            while len(self.calls) < count:
                await asyncio.sleep(0.02)


@pytest.fixture
async def backend() -> AsyncIterator[Backend]:
    made = Backend()
    app = web.Application()
    app.router.add_post("/hook", made.heard)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}/hook"
    yield made
    await runner.cleanup()


@pytest.fixture
async def server(database_url: str, serve: ServerFactory, monkeypatch: pytest.MonkeyPatch) -> Served:
    monkeypatch.setattr(push.webhooks, "RETRY_SECONDS", (0.1,))
    return await serve(database_url=database_url, webhook_private=True)


async def hook(admin: Person, url: str, events: list[str]) -> Any:
    answer = await admin.post(PATH, {"url": url, "events": events})
    assert answer.status == 201, answer
    return answer.json["data"]


async def until(check: Callable[[], Any], seconds: float = HANG_SECONDS) -> Any:
    async with asyncio.timeout(seconds):
        while not (found := await check()):
            await asyncio.sleep(0.05)
        return found


def verify(secret: str, headers: dict[str, str], body: bytes) -> bool:
    """As https://www.standardwebhooks.com says."""
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    key = base64.b64decode(secret.removeprefix("whsec_"))
    wanted = "v1," + base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()
    return headers["webhook-signature"] == wanted and abs(time.time() - int(headers["webhook-timestamp"])) < 60


async def test_messages_and_streams_are_reported(server: Served, backend: Backend) -> None:
    admin = await server.people.make(grant=["admin"])
    ann, bob = await server.people.many(2)
    made = await hook(admin, backend.url, [*MESSAGES, "stream:status"])
    chat = await ann.group(bob)
    sent = await ann.send(chat, "hello")
    await backend.until(1)
    await ann.patch(f"/api/v2/messages/{sent['_id']}", {"content": "hello yourself"})
    await backend.until(2)
    await ann.delete(f"/api/v2/messages/{sent['_id']}")
    await backend.until(3)
    stream = (await admin.post("/api/v1/streams", {"title": "s", "startsAt": "2099-01-01T00:00:00Z"})).json["data"]
    await admin.post(f"/api/v1/streams/{stream['id']}/ready")
    await backend.until(4)
    told = backend.documents()
    assert [each["type"] for each in told] == [*MESSAGES, "stream:status"]
    assert told[0]["data"] == sent and told[1]["data"]["content"] == "hello yourself"
    assert told[2]["data"]["content"] is None and told[3]["data"]["status"] == "ready"
    assert all(each["tenantId"] == admin.user.tenant for each in told)
    assert all(verify(made["secret"], *call) for call in backend.calls)
    assert not verify(made["secret"], backend.calls[0][0], backend.calls[1][1])
    assert len({headers["webhook-id"] for headers, _ in backend.calls}) == 4


async def test_it_is_called_again_until_it_answers(server: Served, backend: Backend) -> None:
    admin = await server.people.make(grant=["admin"])
    made = await hook(admin, backend.url, MESSAGES)
    calls = f"{PATH}/{made['id']}/calls"
    backend.statuses = [500, 302, 404, 429]
    chat = await admin.group()
    await admin.send(chat, "x")
    await backend.until(5)
    assert len({headers["webhook-id"] for headers, _ in backend.calls}) == 1, "by its id it is known as the same"
    assert len({body for _, body in backend.calls}) == 1

    async def settled() -> Any:
        items = (await admin.get(calls)).json["data"]["items"]
        return items if items and items[0]["state"] != "waiting" else None

    (call,) = await until(settled)
    assert (call["state"], call["attempts"], call["status"], call["event"]) == ("sent", 5, 200, "message:new")
    assert call["dueAt"] is None and call["settledAt"]
    # Gone is gone; an admin may try again.
    backend.statuses = [410]
    await admin.send(chat, "y")
    await backend.until(6)

    async def dead() -> Any:
        items = (await admin.get(calls)).json["data"]["items"]
        return items[0] if items[0]["state"] == "dead" else None

    letter = await until(dead)
    assert letter["status"] == 410
    assert (await admin.post(f"{calls}/{call['id']}/retry")).status == 404, "it was heard"
    assert (await admin.post(f"{calls}/{letter['id']}/retry")).status == 200
    await backend.until(7)


async def test_deleted_objects_are_not_reported(server: Served, backend: Backend) -> None:
    """A text that was deleted before it could be told."""
    admin = await server.people.make(grant=["admin"])
    await hook(admin, backend.url, ["message:new"])
    backend.statuses = [500] * 3
    chat = await admin.group()
    sent = await admin.send(chat, "a secret")
    await backend.until(1)
    await admin.delete(f"/api/v2/messages/{sent['_id']}")
    await backend.until(4)
    assert backend.documents()[-1]["data"]["content"] is None


async def test_a_slow_backend_keeps_nobody_else_waiting(server: Served, backend: Backend) -> None:
    silent = socket.create_server(("127.0.0.1", 0), backlog=100)
    deaf = await server.people.make(tenant=await server.people.tenant(), permissions=["admin"])
    admin = await server.people.make(grant=["admin"])
    await hook(deaf, f"http://127.0.0.1:{silent.getsockname()[1]}/", MESSAGES)
    await hook(admin, backend.url, MESSAGES)
    theirs, ours = await deaf.group(), await admin.group()
    for _ in range(60):
        await deaf.send(theirs, "x")
    await eventually(lambda: server.services.webhook_calls.in_flight)
    for _ in range(30):
        await admin.send(ours, "y")
    await backend.until(30)
    assert 0 < len(server.services.webhook_calls.in_flight) <= 2
    silent.close()


@pytest.mark.parametrize("line", [b"HTTP/1.1 500 Erreur d\xe9tect\xe9e", b"HTTP/1.1 200 \xe9", b"nonsense"])
async def test_what_a_backend_answers_breaks_nothing(server: Served, line: bytes) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        await reader.readexactly(int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0]))
        writer.write(line + b"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        writer.close()
        await writer.wait_closed()

    odd = await asyncio.start_server(answer, "127.0.0.1", 0)
    admin = await server.people.make(grant=["admin"])
    made = await hook(admin, f"http://127.0.0.1:{odd.sockets[0].getsockname()[1]}/", MESSAGES)
    await admin.send(await admin.group(), "x")

    async def tried() -> Any:
        items = (await admin.get(f"{PATH}/{made['id']}/calls")).json["data"]["items"]
        return items[0] if items and (items[0]["attempts"] > 1 or items[0]["state"] == "sent") else None

    call = await until(tried)
    assert call["state"] == ("sent" if b"200" in line else "waiting"), call
    assert (await admin.delete(f"{PATH}/{made['id']}")).status == 200
    odd.close()
    await odd.wait_closed()
    await asyncio.sleep(0.2)


async def test_a_webhook_that_was_removed_meanwhile_leaves_nothing(server: Served, backend: Backend) -> None:
    admin = await server.people.make(grant=["admin"])
    await hook(admin, backend.url, MESSAGES)
    database = server.services.database
    await database.write(
        Command(lambda tx: tx.later(webhooks.ADD, (10**6, "message:new", 1, 1, None, "waiting", 0, 0, 0, 0)))
    )

    async def gone() -> bool:
        count = select(func.count()).select_from(calls)
        return await database.read(lambda connection: connection.execute(count).scalar_one()) == 0

    await until(gone)


async def test_changing_and_removing(server: Served, backend: Backend) -> None:
    admin = await server.people.make(grant=["admin"])
    made = await hook(admin, backend.url, ["message:new", "message:new"])
    assert made["events"] == ["message:new"] and made["active"] and made["secret"].startswith("whsec_")
    (listed,) = (await admin.get(PATH)).json["data"]["items"]
    assert listed == {name: value for name, value in made.items() if name != "secret"}
    chat = await admin.group()
    assert (await admin.patch(f"{PATH}/{made['id']}", {"active": False})).json["data"]["active"] is False
    await admin.send(chat, "not told")
    assert (await admin.patch(f"{PATH}/{made['id']}", {"active": True, "events": MESSAGES})).json["data"]["active"]
    await admin.send(chat, "told")
    await backend.until(1)
    assert [each["data"]["content"] for each in backend.documents()] == ["told"]
    assert (await admin.delete(f"{PATH}/{made['id']}")).status == 200
    assert (await admin.get(f"{PATH}/{made['id']}/calls")).status == 404
    await admin.send(chat, "to nobody")
    await server.services.webhook_calls.work()
    await eventually(lambda: not server.services.webhook_calls.in_flight)
    assert len(backend.calls) == 1


async def test_another_tenant_gets_nothing(server: Served, backend: Backend) -> None:
    abroad = await server.people.make(tenant=await server.people.tenant(), permissions=["admin"])
    await hook(abroad, backend.url, MESSAGES)
    ann = await server.people.make()
    await ann.send(await ann.group(), "ours")
    theirs = await abroad.send(await abroad.group(), "theirs")
    await backend.until(1)
    await server.services.webhook_calls.work()
    await eventually(lambda: not server.services.webhook_calls.in_flight)
    assert [each["data"] for each in backend.documents()] == [theirs]


async def test_a_push_that_was_given_up(
    start: ServerFactory, apple: Apple, backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = await start(webhook_private=True)
    admin, bob = await server.people.make(grant=["admin"]), await server.people.make()
    await hook(admin, backend.url, ["push:failed"])
    phone = {"deviceId": "d", "platform": "ios", "pushToken": "t", "environment": "sandbox", "bundleId": TOPIC}
    assert (await bob.post("/api/v1/devices", phone)).status == 201
    apple.plan = lambda push: ApnsFault("status", 400, "BadTopic")
    await admin.send(await admin.group(bob), "x")
    await backend.until(1)
    (told,) = backend.documents()
    assert told["type"] == "push:failed" and told["data"]["userId"] == bob.id
    assert (told["data"]["status"], told["data"]["reason"]) == (400, "BadTopic")


async def test_nothing_is_lost_when_the_server_is_killed(tmp_path: Path, backend: Backend) -> None:
    async with (
        ServerProcess(tmp_path / "data", webhook_private=True) as server,
        aiohttp.ClientSession() as session,
    ):
        admin = await server.user(session, "admin@example.org", "--permission", "admin")
        made = await admin.post(PATH, {"url": backend.url, "events": ["message:new"]})
        assert made.status == 201, made
        chat = (await admin.post("/api/v2/chats", {"type": "group", "name": "x"})).json["_id"]
        sent = set()
        for _ in range(3):
            for _ in range(20):
                body = {"type": "text", "chatId": chat, "content": "x"}
                sent.add((await admin.post("/api/v2/messages", body)).json["_id"])
            await server.kill()
            await server.start()
        # What the killed server held is called again after its lease, a minute.
        async with asyncio.timeout(3 * HANG_SECONDS):
            while {each["data"]["_id"] for each in backend.documents()} != sent:
                await asyncio.sleep(0.1)


BAD = [
    "", "x", "ftp://example.org", "http://example.org/", "https://", "https://127.0.0.1/", "https://[::1]/",
    "https://10.0.0.1/", "https://127\u30020\u30020\u30021/", "https://\uff11\uff12\uff17.0.0.1/", "https://[64:ff9b::7f00:1]/",
    "https://a..b/", "https://" + "a" * 64 + ".org/", "https://169.254.169.254/latest", "https://me:pw@example.org/", "https://x:y/",
]  # fmt: skip


async def test_limits_and_bad_addresses(serve: ServerFactory) -> None:
    server = await serve(max_webhooks=1)
    admin = await server.people.make(grant=["admin"])
    for url in BAD:
        answer = await admin.post(PATH, {"url": url, "events": ["message:new"]})
        assert answer.status == 400 and answer.json["details"][0]["field"] == "url", url
    for events in ([], ["typing"], "message:new", None):
        assert (await admin.post(PATH, {"url": "https://example.org/", "events": events})).status == 400, events
    good = {"url": "https://example.org/", "events": ["push:failed"]}
    assert (await admin.post(PATH, good)).status == 201
    assert (await admin.post(PATH, good)).status == 409


async def test_a_name_that_leads_inside_is_not_called(serve: ServerFactory, backend: Backend) -> None:
    server = await serve()
    url = backend.url.replace("http://127.0.0.1", "https://localhost")
    assert wrong_with(url, private=False) is None, "what it leads to is looked at when it is called"
    result = await server.services.webhook_calls.sender.send(url, "whsec_eA==", "id", b"{}")
    nowhere = await server.services.webhook_calls.sender.send(
        "https://no.such.name.invalid/", "whsec_eA==", "id", b"{}"
    )
    assert result.status is None and result == nowhere, "nobody learns which names there are inside"
    assert not backend.calls


@pytest.mark.parametrize("address", ["fec0::1", "5f00::1", "ff02::1", "224.0.0.1", "2002:7f00:1::", "::ffff:10.0.0.1"])
def test_addresses_that_are_not_public(address: str) -> None:
    assert not is_public(address)


async def test_what_one_backend_sets_as_a_cookie_is_sent_to_nobody(server: Served, backend: Backend) -> None:
    backend.headers = {"Set-Cookie": "session=of-one-tenant; Path=/"}
    for _ in range(2):
        await server.services.webhook_calls.sender.send(backend.url, "whsec_eA==", "id", b"{}")
    assert len(backend.calls) == 2 and not [headers for headers, _ in backend.calls if "Cookie" in headers]


async def test_calls_can_be_switched_off(serve: ServerFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the recovery drill does, whose copy of the database must call nobody."""
    worked: set[WebhookCalls] = set()

    async def work(self: WebhookCalls) -> None:
        worked.add(self)

    monkeypatch.setattr(WebhookCalls, "work", work)
    silent = await serve(webhook_calls=False)
    other = await serve()
    await eventually(lambda: other.services.webhook_calls in worked)
    assert silent.services.webhook_calls not in worked
