"""Broadcasts, and what else the monitor asks for: nodes and chats."""

import asyncio
import time
from typing import Any

import pytest

from realtime.broadcasts import SLICE, Broadcasts
from server.metrics import figures
from storage import broadcasts
from storage.database import Database
from tests.conftest import Served, ServerFactory
from tests.support.guard import HANG_SECONDS

BROADCASTS = "/api/v1/admin/broadcasts"
TEXT = {"title": "Maintenance", "message": "Tonight at ten."}


async def done(server: Served, admin: Any) -> Any:
    """Wait until the newest broadcast has been sent; its document."""
    async with asyncio.timeout(HANG_SECONDS):
        while not (item := (await admin.get(BROADCASTS)).json["data"]["items"][0])["doneAt"]:
            await asyncio.sleep(0.05)
    return item


async def titles(person: Any) -> list[str]:
    return [each["title"] for each in (await person.get("/api/v1/notifications")).json["data"]["items"]]


async def test_every_active_user_is_notified_once(either: Served) -> None:
    admin = await either.people.make(grant=["admin"])
    crowd = await either.people.many(SLICE + 3)
    banned, stranger = crowd[0], await either.people.make(tenant=await either.people.tenant())
    assert (await admin.post(f"/api/v1/admin/users/{banned.id}/ban")).status == 200
    listener = await crowd[1].socket()

    preview = await admin.post(BROADCASTS, {**TEXT, "preview": True})
    assert preview.status == 200 and preview.json["data"]["id"] is None
    assert preview.json["data"]["recipients"] == len(crowd)
    assert (await admin.get(BROADCASTS)).json["data"]["items"] == []

    key = {"Idempotency-Key": "once"}
    first, again = [await admin.post(BROADCASTS, TEXT, headers=key) for _ in range(2)]
    assert first.status == again.status == 201
    assert first.json["data"]["id"] == again.json["data"]["id"]
    assert (await admin.post(BROADCASTS, {**TEXT, "title": "Another"}, headers=key)).status == 409
    item = await done(either, admin)
    assert item["sent"] == item["recipients"] == len(crowd) and item["id"] == first.json["data"]["id"]
    payload, place = (await listener.event("notification:new"))[:2]
    assert (payload["title"], payload["message"], payload["senderId"]) == (*TEXT.values(), admin.id)
    assert place["channel"] == f"user:{crowd[1].id}"
    assert [await titles(each) for each in (admin, *crowd[1:])] == [["Maintenance"]] * len(crowd)
    assert await titles(stranger) == []
    newcomer = await either.people.make()
    await either.services.broadcasts.work()
    assert await titles(newcomer) == []


async def test_who_may(server: Served) -> None:
    admin, ann = await server.people.make(grant=["admin"]), await server.people.make()
    outsider = await server.people.make(grant=["admin"], tenant=await server.people.tenant())
    for path in ("broadcasts", "nodes", "chats?query=x"):
        assert (await ann.get(f"/api/v1/admin/{path}")).status == 403
        assert (await server.people.anonymous.get(f"/api/v1/admin/{path}")).status == 401
    assert (await ann.post(BROADCASTS, TEXT)).status == 403
    assert (await ann.post(BROADCASTS, {**TEXT, "preview": True})).status == 403
    assert (await admin.post(BROADCASTS, TEXT)).status == 201
    await done(server, admin)
    assert (await outsider.get(BROADCASTS)).json["data"]["items"] == []


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"title": None}, "title"),
        ({"title": " "}, "title"),
        ({"title": "x" * 256}, "title"),
        ({"message": "x" * 4001}, "message"),
        ({"preview": "yes"}, "preview"),
        ({"actionUrl": "x" * 2049}, "actionUrl"),
    ],
)
async def test_what_is_wrong_is_named(server: Served, change: dict[str, Any], field: str) -> None:
    admin = await server.people.make(grant=["admin"])
    answer = await admin.post(BROADCASTS, {**TEXT, **change})
    assert answer.status == 400 and answer.json["details"][0]["field"] == field
    assert (await admin.get(BROADCASTS)).json["data"]["items"] == []


async def test_two_processes_notify_every_user_once(postgres_database: str, serve: ServerFactory) -> None:
    server = await serve(database_url=postgres_database)
    admin = await server.people.make(grant=["admin"])
    crowd = await server.people.many(3 * SLICE)
    other = Database(postgres_database)
    await other.start()
    try:
        here, there = server.services.broadcasts, Broadcasts(other)
        assert (await admin.post(BROADCASTS, TEXT)).status == 201
        pending = await other.read(broadcasts.unfinished)
        # Both have looked, and do the same slice.
        await asyncio.gather(*(each._slice(pending[0]) for each in (here, there, here, there)))
        await asyncio.gather(here.work(), there.work())
    finally:
        await other.close()
    assert (await done(server, admin))["sent"] == len(crowd) + 1
    assert [await titles(each) for each in crowd] == [["Maintenance"]] * len(crowd)


async def test_one_that_can_not_go_on_holds_up_no_other(
    server: Served, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    admin = await server.people.make(grant=["admin"])
    work = Broadcasts._slice

    async def failing(self: Broadcasts, item: Any) -> None:
        if item.title == "Broken":
            raise RuntimeError("as if")
        await work(self, item)

    monkeypatch.setattr(Broadcasts, "_slice", failing)
    assert (await admin.post(BROADCASTS, {**TEXT, "title": "Broken"})).status == 201
    assert (await admin.post(BROADCASTS, TEXT)).status == 201
    await done(server, admin)
    assert await titles(admin) == ["Maintenance"]
    monkeypatch.undo()
    await server.services.broadcasts.work()
    assert await titles(admin) == ["Broken", "Maintenance"]
    caplog.clear()


async def test_nodes_show_their_figures(postgres_database: str, serve: ServerFactory) -> None:
    server = await serve(database_url=postgres_database)
    admin, ann = await server.people.make(grant=["admin"]), await server.people.make()
    chat = await ann.group()
    before = (await admin.get("/api/v1/admin/nodes")).json["data"]["items"]
    assert len(before) == 1 and before[0]["id"] == server.services.cluster.node
    for _ in range(5):
        await ann.send(chat)
    socket = await ann.socket()
    (after,) = (await admin.get("/api/v1/admin/nodes")).json["data"]["items"]
    assert after["figures"]["commands"] >= before[0]["figures"]["commands"] + 5
    assert after["figures"]["answers"] == before[0]["figures"]["answers"] + 6
    assert after["figures"]["answerSeconds"] > before[0]["figures"]["answerSeconds"]
    assert 0 < after["figures"]["commitSeconds"] < 60 and after["figures"]["memory"] > 1_000_000
    assert after["figures"]["sockets"] == 1
    # What another node reads of this one.
    nodes = server.services.cluster.nodes
    assert nodes
    await nodes.beat(figures(server.services))
    (seen,) = await nodes.seen()
    assert seen.id == after["id"] and seen.figures["sockets"] == 1
    assert abs(seen.seen_at / 1e6 - time.time()) < 60
    await socket.ws.close()


async def test_chats_are_found_and_nothing_of_what_is_said(either: Served) -> None:
    admin, ann = await either.people.make(grant=["admin"]), await either.people.make()
    outsider = await either.people.make(grant=["admin"], tenant=await either.people.tenant())
    wanted, other = await ann.group(name="The 50% Club"), await ann.group(name="50 ways")
    gone = await ann.group(name="50% gone")
    await ann.delete(f"/api/v2/chats/{gone}")
    await ann.send(wanted, "a secret")

    async def found(query: str, who: Any = admin) -> list[str]:
        answer = await who.get("/api/v1/admin/chats", params={"query": query})
        assert b"secret" not in answer.body
        return [each["_id"] for each in answer.json["data"]["items"]]

    assert await found("50%") == await found("the 50") == await found(wanted) == [wanted]
    assert await found("50") == [other, wanted]
    assert await found("_") == await found("50", outsider) == []
    page = (await admin.get("/api/v1/admin/chats?query=50&limit=1")).json["data"]
    assert [each["_id"] for each in page["items"]] == [other]
    page = (await admin.get(f"/api/v1/admin/chats?query=50&limit=1&cursor={page['nextCursor']}")).json["data"]
    assert [each["_id"] for each in page["items"]] == [wanted] and page["nextCursor"] is None
    assert page["items"][0]["memberCount"] == 1
