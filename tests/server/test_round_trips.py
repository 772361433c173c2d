"""How often a request goes to PostgreSQL: as often for a page of many items as for one."""

import asyncio
from dataclasses import dataclass
from typing import Any

import pytest
from sqlalchemy import insert

from realtime.schema.bodies import SendMessage
from server.routes import ADMIN, ROUTES
from storage import webhooks
from storage.models import deliveries
from storage.transaction import Command, Tx
from tests.conftest import Served, ServerFactory, eventually
from tests.server.world import TEMPLATE
from tests.support.guard import NEVER
from tests.support.people import Person
from tests.support.trips import tracing

MANY = 6
NOTIFICATION = {"type": "info", "category": "c", "title": "t", "message": "m"}
PAGED = [each for each in ROUTES if each.method == "GET" and "limit" in getattr(each.query, "model_fields", {})]


@dataclass
class Full:
    """A server where each list has many items for ``ann``."""

    server: Served
    ann: Person
    others: list[Person]
    chat_id: str
    webhook_id: str

    def url(self, path: str, limit: int) -> str:
        ids = {f"{ADMIN}/webhooks/{{id}}/calls": self.webhook_id}
        query = f"?limit={limit}"
        if path == "/api/v2/messages":
            query += f"&chatId={self.chat_id}"
        if path.endswith("/deliveries"):
            query += f"&userId={self.ann.id}"
        if path in ("/api/v1/users", f"{ADMIN}/chats"):
            query += "&query=" + ("person" if path == "/api/v1/users" else "Group")
        return path.replace("{id}", ids.get(path, self.chat_id)) + query


@pytest.fixture
async def full(postgres_database: str, serve: ServerFactory, monkeypatch: pytest.MonkeyPatch) -> Full:
    # What is not of a request is not to be counted.
    for name in ("server.background.TICK_SECONDS", "push.worker.POLL_SECONDS"):
        monkeypatch.setattr(name, NEVER)
    server = await serve(database_url=postgres_database, webhook_private=True)
    grant = ["admin", "users.manage", "templates.manage", "streams.manage", "notifications.send", "credits.manage"]
    ann, others = await server.people.make(grant=grant), await server.people.many(MANY)
    chats = [await ann.group(*others, name=f"Group {number}") for number in range(MANY)]
    for number in range(MANY):
        made = [
            ann.post("/api/v1/users/me/blocks", {"userId": others[number].id}),
            ann.post("/api/v1/streams", {"title": "s", "startsAt": "2099-01-01T00:00:00Z"}),
            ann.post("/v1/templates", {**TEMPLATE, "key": f"T{number}", "tenantId": ann.user.tenant}),
            ann.post("/api/v1/credits/grants", {"userId": ann.id, "amount": 1}),
            ann.post("/api/v1/devices", {"deviceId": f"d{number}", "platform": "android", "pushToken": f"a{number}"}),
            ann.post(f"{ADMIN}/broadcasts", {"title": "t", "message": "m"}),
            ann.post(
                "/api/v1/notifications", {**NOTIFICATION, "userId": ann.id}, headers={"X-API-Dialect": "envelope"}
            ),
        ]
        for answer in await asyncio.gather(*made):
            assert answer.status in (201, 202), answer
    for place, chat_id in enumerate(chats):
        for other in others[: place + 1]:
            message = await other.send(chat_id)
            assert (await ann.post(f"/api/v2/messages/{message['_id']}/report", {"reason": "r"})).status == 201
    hooks = [
        await ann.post(f"{ADMIN}/webhooks", {"url": "http://127.0.0.1:1/", "events": ["push:failed"]})
        for _ in range(MANY)
    ]
    webhook = hooks[0].json["data"]

    def settle(tx: Tx) -> None:
        """Calls of a webhook, and pushes that became dead letters."""
        found = webhooks.find(tx.connection(), ann.user.tenant_pk, webhook["id"])
        assert found is not None
        for number in range(MANY):
            tx.later(webhooks.ADD, (found.pk, "message:new", None, None, "{}", "sent", 1, tx.now, 0, tx.now))
            row = {
                "outbox_pk": number, "kind": "message", "channel_pk": 1, "seq": 1, "user_pk": ann.user.pk, "target_pk": 1,
                "push_id": f"p{number}", "state": "dead", "attempts": 1, "due_at": 0, "deadline_at": 0, "lease_until": 0,
                "created_at": tx.now, "settled_at": tx.now,
            }  # fmt: skip
            tx.execute(insert(deliveries), row)

    await server.services.database.write(Command(settle))
    worker = server.services.worker
    worker.stopping = True
    worker.wake()
    await eventually(lambda: not worker.tasks)
    await server.services.database.writer.drain()
    return Full(server, ann, others, chats[-1], webhook["id"])


def items_of(body: Any) -> list[Any]:
    data = body.get("data", body) if isinstance(body, dict) else body
    if isinstance(data, dict) and "items" not in data:
        data = next(value for value in data.values() if isinstance(value, list))
    items: list[Any] = data["items"] if isinstance(data, dict) else data
    return items


async def trips_of(full: Full, path: str, limit: int) -> int:
    """At best: what the background asks meanwhile is counted too."""
    counts = []
    for _ in range(4):
        with tracing(full.server.services.database) as sent:
            answer = await full.ann.get(full.url(path, limit))
        assert answer.status == 200, answer
        assert len(items_of(answer.json)) == limit, (path, answer.json)
        counts.append(len(sent))
    return min(counts)


async def test_a_page_of_many_costs_what_a_page_of_one_costs(full: Full) -> None:
    trips = {each.path: (await trips_of(full, each.path, 1), await trips_of(full, each.path, MANY)) for each in PAGED}
    assert {path: counts for path, counts in trips.items() if counts[0] != counts[1]} == {}
    # Four statements, in a snapshot.
    assert trips["/api/v2/chats"] == (6, 6)


async def trips_of_post(full: Full, path: str, body: dict[str, Any]) -> int:
    with tracing(full.server.services.database) as sent:
        answer = await full.ann.post(path, body)
    assert answer.status in (200, 201), answer
    # What the background does is of other kinds.
    return len(sent)


async def test_many_members_cost_what_one_costs(full: Full) -> None:
    """Made with them, or let in later."""
    ids = [each.id for each in await full.server.people.many(MANY)]
    made, added = {}, {}
    for count in (1, MANY):
        body = {"type": "group", "name": "Group"}
        made[count] = min(
            [await trips_of_post(full, "/api/v2/chats", {**body, "memberIds": ids[:count]}) for _ in range(3)]
        )
        counts = []
        for _ in range(3):
            chat_id = await full.ann.group(full.others[0])
            counts.append(await trips_of_post(full, f"/api/v2/chats/{chat_id}/members", {"userIds": ids[:count]}))
        added[count] = min(counts)
    assert made[1] == made[MANY] and added[1] == added[MANY]


async def test_what_people_do_most_takes_two_trips_a_batch(full: Full) -> None:
    """Messages, replies and read marks, one or fifty at a time."""
    services, caller = full.server.services, full.server.people.caller(full.others[0])
    database, messages = services.database, services.messages
    await messages.numbers.find(caller.user.tenant_pk, full.chat_id)
    last = await full.others[1].send(full.chat_id)

    async def trips(count: int, **more: Any) -> float:
        """Of each batch, with this many messages."""
        before = database.trips, database.writer.batches
        body = SendMessage(type="text", chatId=full.chat_id, content="hello", **more)
        posted = [messages.submit(caller, body) for _ in range(count)]
        await asyncio.gather(*[each for each in posted if each])
        return (database.trips - before[0]) / (database.writer.batches - before[1])

    for count in (1, 50):
        assert await trips(count) == 2
        assert await trips(count, replyTo=last["_id"]) == 2
    for count in (1, 6):
        sent = [await full.ann.send(full.chat_id) for _ in range(count)]
        before = database.trips, database.writer.batches
        readers = [full.server.people.caller(each) for each in full.others[:count]]
        await asyncio.gather(*(messages.read(each, sent[-1]["_id"]) for each in readers))
        assert database.trips - before[0] == 2 * (database.writer.batches - before[1])
