"""The queue of reports: what admins see of them, what they do about them, and that it is one transaction."""

import asyncio
from typing import Any

import pytest

from tests.conftest import Served, ServerFactory
from tests.server.test_threads import MESSAGES, pair
from tests.server.test_webhooks import Backend, backend, hook
from tests.support.people import Person

__all__ = ["backend"]
REPORTS = "/api/v1/admin/reports"


async def report(person: Person, message: Any, reason: str = "spam") -> None:
    assert (await person.post(f"{MESSAGES}/{message['_id']}/report", {"reason": reason})).status == 201


async def listed(admin: Person, query: str = "") -> list[Any]:
    answer = await admin.get(REPORTS + query)
    assert answer.status == 200, answer
    items: list[Any] = answer.json["data"]["items"]
    return items


async def test_what_a_report_shows(either: Served) -> None:
    admin = await either.people.make(grant=["admin"])
    ann, bob, chat = await pair(either)
    cat = await either.people.make()
    await ann.post(f"/api/v2/chats/{chat}/members", {"userIds": [cat.id]})
    sent = [await bob.send(chat, str(number)) for number in range(20)]
    await report(ann, sent[10], "rude")
    await report(cat, sent[10])
    second, first = await listed(admin)
    assert first == {
        "id": first["id"],
        "messageId": sent[10]["_id"],
        "reporterId": ann.id,
        "reason": "rude",
        "createdAt": first["createdAt"],
        "state": "open",
        "action": None,
        "resolvedAt": None,
        "reporter": {"id": ann.id, "name": ann.user.name},
        "reportCount": 2,
        "message": sent[10],
    }
    assert second["reporterId"] == cat.id
    shown = (await admin.get(f"{REPORTS}/{first['id']}")).json["data"]
    assert [each["content"] for each in shown["context"]] == [str(number) for number in range(5, 16)]
    assert (await ann.get(f"{REPORTS}/{first['id']}")).status == 403
    assert (await admin.get(f"{REPORTS}/{first['id'] + 10}")).status == 404
    foreign = await either.people.make(tenant=await either.people.tenant(), grant=["admin"])
    assert (await foreign.get(f"{REPORTS}/{first['id']}")).status == 404
    assert await listed(foreign) == []
    await bob.delete(f"{MESSAGES}/{sent[10]['_id']}")
    assert (await listed(admin))[0]["message"]["content"] is None, "as it is now"
    assert (await ann.delete(f"/api/v2/chats/{chat}")).status == 200
    assert (await listed(admin))[0]["message"] is None


async def test_closing_reports(either: Served) -> None:
    admin = await either.people.make(grant=["admin"])
    ann, bob, chat = await pair(either)
    cat = await either.people.make()
    await ann.post(f"/api/v2/chats/{chat}/members", {"userIds": [cat.id]})
    first, second = await bob.send(chat, "one"), await bob.send(chat, "two")
    await report(ann, first)
    await report(cat, first)
    await report(ann, second)
    two, again, one = await listed(admin, "?state=open")
    answer = await admin.patch(f"{REPORTS}/{one['id']}", {"state": "actioned", "action": "delete"})
    assert answer.status == 200, answer
    closed = answer.json["data"]
    assert (closed["state"], closed["action"], closed["message"]["content"]) == ("actioned", "delete", None)
    assert (await bob.get(f"{MESSAGES}/{first['_id']}")).json["content"] is None
    assert [each["id"] for each in await listed(admin, "?state=open")] == [two["id"]], "with the others of the message"
    assert [each["id"] for each in await listed(admin, "?state=actioned")] == [again["id"], one["id"]]
    for each in (one, again):
        assert (await admin.patch(f"{REPORTS}/{each['id']}", {"state": "dismissed"})).status == 409
    answer = await admin.patch(f"{REPORTS}/{two['id']}", {"state": "dismissed"})
    assert (answer.json["data"]["state"], answer.json["data"]["action"]) == ("dismissed", "none")
    trail = (await admin.get("/api/v1/admin/audit")).json["data"]["items"]
    assert [each["action"] for each in trail[:2]] == ["report.resolve", "report.resolve"]
    assert trail[1]["details"] == {"message": first["_id"], "state": "actioned", "action": "delete", "user": bob.id}


@pytest.mark.parametrize("action", ["silence", "ban"])
async def test_sanctioning_the_sender(either: Served, action: str) -> None:
    """By an admin of the tenant, who is no member of the chat."""
    admin = await either.people.make(grant=["admin"])
    ann, bob, chat = await pair(either)
    message = await bob.send(chat, "spam")
    await report(ann, message)
    (item,) = await listed(admin)
    path = f"{REPORTS}/{item['id']}"
    assert (
        await admin.patch(path, {"state": "actioned", "action": action, "until": "2001-01-01T00:00:00Z"})
    ).status == 400
    assert (await listed(admin))[0]["state"] == "open", "all or nothing"
    body = {"state": "actioned", "action": action, "until": "2999-01-01T00:00:00Z"}
    assert (await admin.patch(path, body)).status == 200
    answer = await bob.post(MESSAGES, {"type": "text", "chatId": chat, "content": "more"})
    assert answer.status == (403 if action == "silence" else 404)
    trail = (await admin.get("/api/v1/admin/audit")).json["data"]["items"]
    assert [each["action"] for each in trail[:2]] == ["report.resolve", f"chat.{action}"]
    assert trail[1]["details"]["chat"] == chat


async def test_what_can_not_be_done(either: Served) -> None:
    admin = await either.people.make(grant=["admin"])
    ann, bob, chat = await pair(either)
    direct = (await ann.post(MESSAGES, {"type": "text", "targetUserId": bob.id, "content": "x"})).json
    of_owner = await ann.send(chat, "y")
    await report(bob, direct)
    await report(bob, of_owner)
    owners, directs = await listed(admin)
    for item, action in ((directs, "ban"), (directs, "silence"), (owners, "ban")):
        answer = await admin.patch(f"{REPORTS}/{item['id']}", {"state": "actioned", "action": action})
        assert answer.status == 409, answer
    assert (await admin.patch(f"{REPORTS}/{directs['id']}", {"state": "dismissed", "action": "ban"})).status == 400
    body = {"state": "actioned", "until": "2999-01-01T00:00:00Z"}
    assert (await admin.patch(f"{REPORTS}/{directs['id']}", body)).status == 400
    assert (await admin.patch(f"{REPORTS}/{directs['id']}", {"state": "open"})).status == 400
    assert (await bob.patch(f"{REPORTS}/{directs['id']}", {"state": "dismissed"})).status == 403
    assert {each["state"] for each in await listed(admin)} == {"open"}


async def test_a_reversal_is_not_deleted(either: Served) -> None:
    admin = await either.people.make(grant=["admin", "credits.grant"])
    ann, bob, chat = await pair(either)
    assert (await admin.post("/api/v1/credits/grants", {"userId": ann.id, "amount": 5})).status == 201
    body = {"type": "creditTransfer", "chatId": chat, "creditTransfer": {"amount": 5}}
    assert (await ann.post(MESSAGES, body)).status == 201
    entry = (await ann.get("/api/v1/credits/transactions")).json["data"]["items"][0]
    assert (await admin.post(f"/api/v1/admin/credits/transactions/{entry['id']}/reverse")).status == 201
    reversal = (await ann.get(f"{MESSAGES}?chatId={chat}")).json["items"][-1]
    await report(bob, reversal)
    (item,) = await listed(admin)
    answer = await admin.patch(f"{REPORTS}/{item['id']}", {"state": "actioned", "action": "delete"})
    assert answer.status == 409, answer


async def test_two_admins_at_once(either: Served) -> None:
    admins = [await either.people.make(grant=["admin"]) for _ in range(4)]
    ann, bob, chat = await pair(either)
    await report(ann, await bob.send(chat, "spam"))
    (item,) = await listed(admins[0])
    body = {"state": "actioned", "action": "delete"}
    answers = await asyncio.gather(*(each.patch(f"{REPORTS}/{item['id']}", body) for each in admins))
    assert sorted(each.status for each in answers) == [200, 409, 409, 409]


async def test_webhooks_hear_of_reports_and_bans(serve: ServerFactory, backend: Backend) -> None:
    server = await serve(webhook_private=True)
    admin = await server.people.make(grant=["admin"])
    await hook(admin, backend.url, ["report:new", "member:banned"])
    ann, bob, chat = await pair(server)
    message = await bob.send(chat, "a secret")
    await report(ann, message, "rude")
    body = {"reason": "spam", "until": "2999-01-01T00:00:00Z"}
    assert (await ann.post(f"/api/v2/chats/{chat}/members/{bob.id}/ban", body)).status == 200
    await backend.until(2)
    by_type = {each["type"]: each["data"] for each in backend.documents()}
    assert by_type["report:new"]["messageId"] == message["_id"]
    assert by_type["report:new"]["chatId"] == chat
    assert "a secret" not in str(by_type), "texts are read over the API"
    assert by_type["member:banned"] == {
        "chatId": chat, "userId": bob.id, "until": "2999-01-01T00:00:00.000Z", "reason": "spam", "by": ann.id,
    }  # fmt: skip
