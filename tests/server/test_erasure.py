"""Deleting users, giving out what is kept of them, and the trail of what admins did."""

import asyncio
import re
import sqlite3
from types import SimpleNamespace
from typing import Any

import aiohttp
import orjson
import pytest

from storage import erasure
from storage.statements_sqlite import SqliteStatements
from storage.transaction import Command, Tx
from tests.conftest import Served, ServerFactory
from tests.support.guard import HANG_SECONDS
from tests.support.people import Person

ME, ADMIN = "/api/v1/users/me", "/api/v1/admin"


async def erased(server: Served) -> None:
    """Wait until nothing is left to be done."""
    async with asyncio.timeout(HANG_SECONDS):
        while await server.services.database.read(erasure.unfinished):
            await asyncio.sleep(0.05)


async def message(person: Person, id: str) -> Any:
    return (await person.get(f"/api/v2/messages/{id}")).json


@pytest.fixture(params=["keep", "remove"])
async def policy(request: pytest.FixtureRequest, database_url: str, serve: ServerFactory) -> tuple[str, Served]:
    return request.param, await serve(database_url=database_url, deleted_messages=request.param)


async def test_who_deletes_themselves_is_nobody_at_once(policy: tuple[str, Served]) -> None:
    kind, server = policy
    anonymous = server.people.anonymous
    body = {"email": "ann@example.org", "password": "a long password", "name": "Ann Secretname"}
    made = (await anonymous.post("/api/v1/auth/register", body)).json["data"]
    ann = Person(server.people.session, server.url, made["accessToken"], SimpleNamespace(id=made["user"]["id"]))  # type: ignore[arg-type]
    bob, cid = await server.people.many(2)
    alone = await ann.group()
    owned = await ann.group(bob, cid, name="Owned by Ann")
    await ann.patch(f"/api/v2/chats/{owned}/members/{cid.id}", {"role": "admin"})
    sent = (await ann.send(owned, "what Ann said"))["_id"]
    direct = (await ann.post("/api/v2/messages", {"type": "text", "targetUserId": bob.id, "content": "hello Bob"})).json
    await bob.post("/api/v1/users/me/blocks", {"userId": ann.id})
    device = {"deviceId": "d", "platform": "android", "pushToken": "t"}
    assert (await ann.post("/api/v1/devices", device)).status == 201
    socket, listener = await ann.socket(), await cid.socket()

    assert (await ann.delete(ME)).json["data"] == {"success": True}
    assert (await socket.event("session:closed"))[0] == {"reason": "deleted"}
    assert (await ann.get(ME)).status == 401
    assert (await anonymous.post("/api/v1/auth/refresh", {"refreshToken": made["refreshToken"]})).status == 401
    assert (await anonymous.post("/api/v1/auth/login", body)).status == 401
    assert (await bob.get(f"/api/v1/users/{ann.id}")).status == 404
    assert (await bob.get("/api/v1/users?query=secretname")).json["data"]["items"] == []
    # The address is free again.
    assert (await anonymous.post("/api/v1/auth/register", body)).status == 201

    await erased(server)
    chat = (await cid.get(f"/api/v2/chats/{owned}")).json
    assert {each["userId"]: each["role"] for each in chat["members"]} == {bob.id: "member", cid.id: "owner"}
    told = [payload for name, (payload, *_) in listener.events if name == "chat:updated"]
    assert told[-1]["removed"] == [ann.id]
    assert told[-2]["changes"] == {"members": [{"userId": cid.id, "role": "owner"}]}
    found = await message(cid, sent)
    if kind == "keep":
        assert found["content"] == "what Ann said" and found["senderId"] == ann.id
    else:
        assert found["content"] is None and found["deletedAt"]
        assert (await message(bob, direct["_id"]))["deletedAt"]
        assert [payload["_id"] for name, (payload, *_) in listener.events if name == "message:deleted"] == [sent]
    names = [each["name"] for each in (await bob.get(f"/api/v2/chats/{direct['chatId']}")).json["members"]]
    assert "Deleted user" in names and not any("Secretname" in name for name in names)
    assert (await bob.get("/api/v1/users/me/blocks")).json["data"]["items"] == []
    assert alone not in (await bob.get("/api/v2/chats")).body.decode()


async def test_nothing_that_names_the_user_is_left(database_url: str, serve: ServerFactory) -> None:
    server = await serve(database_url=database_url, deleted_messages="remove")
    ann, bob = await server.people.make("Canary Name", email="canary@example.org"), await server.people.make("Bob")
    chat = await ann.group(bob)
    for _ in range(30):
        await ann.send(chat, "canary text " * 5)
    edited = (await ann.send(chat, "before"))["_id"]
    assert (await ann.patch(f"/api/v2/messages/{edited}", {"content": "canary edit"})).status == 200
    host = await server.people.make(grant=["notifications.send"])
    notification = {"userId": ann.id, "type": "info", "category": "c", "title": "canary title", "message": "canary"}
    assert (await host.post("/api/v1/notifications", notification)).status == 201
    device = {"deviceId": "canary-device", "platform": "android", "pushToken": "canary-token"}
    assert (await ann.post("/api/v1/devices", device)).status == 201
    upload = aiohttp.FormData()
    upload.add_field("file", b"words", filename="canary.txt")
    assert (await ann.post("/api/v2/media", data=upload)).status == 201
    assert (await ann.delete(ME)).status == 200
    await erased(server)
    await server.services.media.sweep()

    def look(connection: Any) -> list[tuple[str, str]]:
        from storage.models import metadata

        rows = [
            (table.name, repr(list(row)))
            for table in metadata.sorted_tables
            for row in connection.execute(table.select())
            # Who was told of a new chat was told who is in it; that goes with the log's retention.
            if table.name != "events" or row.name != "chat:new"
        ]
        return [row for row in rows if "canary" in row[1].lower()]

    assert await server.services.database.read(look) == []
    if path := server.services.database.path:

        def checkpoint(tx: Tx) -> None:
            assert isinstance(tx.statements, SqliteStatements)
            tx.statements.bare.execute("COMMIT").execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            tx.statements.bare.execute("BEGIN")

        await server.services.database.write(Command(checkpoint))
        for secret in (b"canary@example.org", b"canary-token", b"canary text", b"canary.txt"):
            assert secret not in path.read_bytes(), secret


async def test_an_admin_deletes_who_is_not_stronger(either: Served) -> None:
    admin, ann = await either.people.make(permissions=["users.manage"], grant=["admin"]), await either.people.make()
    stronger = await either.people.make(permissions=["platform.admin"])
    outsider = await either.people.make(tenant=await either.people.tenant())
    assert (await ann.delete(f"{ADMIN}/users/{admin.id}")).status == 403
    assert (await admin.delete(f"{ADMIN}/users/{stronger.id}")).status == 403
    assert (await admin.delete(f"{ADMIN}/users/{outsider.id}")).status == 404
    assert (await admin.delete(f"{ADMIN}/users/{ann.id}")).status == 200
    assert (await admin.delete(f"{ADMIN}/users/{ann.id}")).status == 404
    assert (await ann.get(ME)).status == 401
    await erased(either)


async def test_it_goes_on_where_it_was_stopped(
    either: Served, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    service = either.services.erasure
    ann, bob = await either.people.many(2)
    chats = [await ann.group(bob) for _ in range(3)]
    left: list[Any] = []
    leave = service._leave

    def failing(*given: Any, **options: Any) -> None:
        if len(left) == 1:
            raise RuntimeError("as if it were killed")
        left.append(options["place"])
        leave(*given, **options)

    monkeypatch.setattr(service, "_leave", failing)
    assert (await ann.delete(ME)).status == 200
    await service.work()
    assert left and await either.services.database.read(erasure.unfinished)
    monkeypatch.undo()
    await asyncio.gather(service.work(), service.work())
    await erased(either)
    for chat in chats:
        members = (await bob.get(f"/api/v2/chats/{chat}")).json["members"]
        assert [(each["userId"], each["role"]) for each in members] == [(bob.id, "owner")]
    # The failure was logged, by this and by the server's own turns at it.
    caplog.clear()


async def test_what_is_kept_of_a_user_is_given_out(either: Served) -> None:
    admin = await either.people.make(permissions=["admin"])
    ann, bob = await either.people.make("Ann", email="ann@example.org"), await either.people.make("Bob")
    chat = await ann.group(bob, name="Ours")
    for number in range(120):
        await ann.send(chat, f"said {number}")
    await bob.send(chat, "what Bob said")
    assert (await admin.post("/api/v1/credits/grants", {"userId": ann.id, "amount": 5})).status == 201
    await ann.post("/api/v1/users/me/blocks", {"userId": bob.id})
    notification = {"userId": ann.id, "type": "info", "category": "c", "title": "told", "message": "m"}
    assert (await admin.post("/api/v1/notifications", notification)).status == 201
    assert (await bob.post(f"{ADMIN}/users/{ann.id}/export")).status == 403
    answer = await admin.post(f"{ADMIN}/users/{ann.id}/export")
    assert answer.status == 200 and answer.headers["Content-Type"] == "application/x-ndjson"
    lines = [orjson.loads(line) for line in answer.body.splitlines()]
    by_kind: dict[str, list[Any]] = {}
    for line in lines:
        by_kind.setdefault(line["kind"], []).append(line)
    assert by_kind["user"][0]["email"] == "ann@example.org"
    assert [each["content"] for each in by_kind["message"]] == [f"said {number}" for number in range(120)]
    assert [each["name"] for each in by_kind["chat"]] == ["Ours"]
    assert by_kind["block"] == [{"kind": "block", "userId": bob.id}]
    assert by_kind["notification"][0]["title"] == "told" and by_kind["transaction"][0]["amount"] == 5
    assert b"what Bob said" not in answer.body and b"argon2" not in answer.body


async def test_what_admins_do_leaves_a_trail(either: Served) -> None:
    admin, ann = await either.people.make(permissions=["admin"]), await either.people.make()
    outsider = await either.people.make(permissions=["admin"], tenant=await either.people.tenant())
    for verb in ("disable", "enable", "ban", "unban", "sign-out", "reset-link", "export"):
        assert (await admin.post(f"{ADMIN}/users/{ann.id}/{verb}")).status in (200, 201), verb
    made = await admin.post("/api/v1/users", {"name": "New", "permissions": ["users.manage"]})
    await admin.post(f"/api/v1/users/{made.json['data']['id']}/tokens", {"ttl": 60})
    await admin.post("/api/v1/credits/grants", {"userId": ann.id, "amount": 5, "reason": "a secret reason"})
    transaction = (await either.services.database.read(last_transaction)).id
    await admin.post(f"{ADMIN}/credits/transactions/{transaction}/reverse")
    await admin.post(f"{ADMIN}/broadcasts", {"title": "a secret title", "message": "m"})
    await admin.patch(f"{ADMIN}/tenant", {"liveActivity": None})
    await admin.delete(f"{ADMIN}/users/{ann.id}")
    # What was refused was not done.
    assert (await admin.post(f"{ADMIN}/users/{outsider.id}/ban")).status == 404

    items: list[Any] = []
    cursor: str | None = ""
    while cursor is not None:
        page = (await admin.get(f"{ADMIN}/audit?limit=4{cursor}")).json["data"]
        items += page["items"]
        cursor = f"&cursor={page['nextCursor']}" if page["nextCursor"] else None
    assert [each["action"] for each in reversed(items)] == [
        "user.disable", "user.enable", "user.ban", "user.unban", "user.sign-out", "user.reset-link", "user.export",
        "user.create", "user.token", "credits.grant", "credits.reverse", "broadcast.send", "tenant.change", "user.delete",
    ]  # fmt: skip
    assert {each["actorId"] for each in items} == {admin.id}
    assert items[0]["target"] == ann.id and items[4]["details"] == {"amount": 5}
    assert "secret" not in str(items)
    assert (await outsider.get(f"{ADMIN}/audit")).json["data"]["items"] == []
    assert (await ann.get(f"{ADMIN}/audit")).status == 401


def last_transaction(connection: Any) -> Any:
    from storage.models import credit_transactions

    return connection.execute(credit_transactions.select().order_by(credit_transactions.c.pk.desc())).first()


@pytest.mark.parametrize("body", [{"type": "direct"}, {"type": "group", "name": "x"}], ids=["direct", "group"])
async def test_who_is_deleted_meanwhile_is_not_invited(
    serve: ServerFactory, monkeypatch: pytest.MonkeyPatch, body: dict[str, Any]
) -> None:
    server = await serve()
    ann, bob = await server.people.many(2)
    chats = server.services.chats
    look = chats.people

    async def late(*arguments: Any) -> Any:
        found = await look(*arguments)
        await bob.delete(ME)
        return found

    monkeypatch.setattr(chats, "people", late)
    assert (await ann.post("/api/v2/chats", {**body, "memberIds": [bob.id]})).status == 404


async def test_nothing_of_deleted_accounts_is_left_in_the_file(serve: ServerFactory) -> None:
    """Not in pages that became free either, which SQLite clears only when told to."""
    server = await serve()
    file = server.services.settings.data_dir / "bellwire.db"

    async def make(number: int) -> Person:
        person = await server.people.make(f"canary {number}", email=f"canary{number}@example.org")
        body = {"deviceId": "d", "platform": "android", "pushToken": f"canary{number}" + "f" * 400}
        assert (await person.post("/api/v1/devices", body)).status == 201
        return person

    people = [await make(number) for number in range(60)]
    bare = sqlite3.connect(file)
    bare.execute("PRAGMA wal_checkpoint(PASSIVE)")
    assert file.read_bytes().count(b"f" * 400) >= 60, "they are in the file before"
    for person in people:
        assert (await person.delete("/api/v1/users/me")).status == 200
    await erased(server)
    assert bare.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0] == 0, "nobody kept it from the log's end"
    assert bare.execute("PRAGMA freelist_count").fetchone()[0] > 0, "there are pages that became free"
    bare.close()
    left = re.findall(rb"canary[0-9]+(?:@example.org|f{400})", file.read_bytes())
    assert not left, len(left)
