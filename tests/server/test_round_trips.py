"""How often a request goes to PostgreSQL: as often for a page of many items as for one."""

import asyncio
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest
from sqlalchemy import delete, insert

from push.provider import LogProvider
from push.worker import LEASE_MICROSECONDS, Worker
from realtime.notifications import Draft
from realtime.schema.message_bodies import EditMessage, SendMessage
from server.routes import ADMIN, ROUTES
from storage import devices, outbox, webhooks
from storage.models import deliveries, due
from storage.notifications import Notification
from storage.outbox import Settlement
from storage.transaction import Command, Tx
from storage.types import Ref, new_id, now
from tests.conftest import Served, ServerFactory, eventually
from tests.server.world import TEMPLATE
from tests.support.batches import one_batch
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
    room_id: str
    message_id: str

    def url(self, path: str, limit: int) -> str:
        ids = {f"{ADMIN}/webhooks/{{id}}/calls": self.webhook_id, "/api/v2/chats/{id}/bans": self.room_id}
        ids["/api/v2/messages/{id}/reactions"] = self.message_id
        query = f"?limit={limit}"
        if path == "/api/v2/messages":
            query += f"&chatId={self.chat_id}"
        if path == "/api/v2/messages/search":
            query += "&query=hello"
        if path.endswith("/deliveries"):
            query += f"&userId={self.ann.id}"
        if path in ("/api/v1/users", f"{ADMIN}/chats"):
            query += "&query=" + ("person" if path == "/api/v1/users" else "Group")
        if path.endswith("/reactions"):
            query += "&key=:x:"
        return path.replace("{id}", ids.get(path, self.chat_id)) + query


@pytest.fixture
async def full(postgres_database: str, serve: ServerFactory, monkeypatch: pytest.MonkeyPatch) -> Full:
    # What is not of a request is not to be counted.
    background = (f"server.background.{name}_SECONDS" for name in ("TICK", "HEARTBEAT", "SWEEP", "MEASURE"))
    for name in (*background, "push.worker.POLL_SECONDS"):
        monkeypatch.setattr(name, NEVER)
    monkeypatch.setattr("realtime.reactions.WINDOW_SECONDS", NEVER)
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
    for number in range(MANY):
        named = await ann.patch(f"/api/v2/chats/{chats[-1]}", {"name": f"Group of all {number}"})
        assert named.status == 200, named
    room = (await ann.post("/api/v2/chats", {"type": "room", "name": "Room"})).json["_id"]
    for other in others:
        assert (await ann.post(f"/api/v2/chats/{room}/members/{other.id}/ban", {})).status == 200
    for place in range(MANY):
        root = await ann.send(chats[-1])
        for other in others[: place + 1]:
            await other.send(chats[-1], threadId=root["_id"], mentions=[ann.id])
    for place, chat_id in enumerate(chats):
        for other in others[: place + 1]:
            message = await other.send(chat_id)
            assert (await ann.post(f"/api/v2/messages/{message['_id']}/report", {"reason": "r"})).status == 201
    # The last one is in a chat of all.
    for other in others:
        assert (await other.put(f"/api/v2/messages/{message['_id']}/reactions/:x:")).status == 200
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
    return Full(server, ann, others, chats[-1], webhook["id"], room, message["_id"])


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
    # The chats, what belongs to them, and the end of the snapshot, for which nobody waits.
    assert trips["/api/v2/chats"] == (3, 3)


async def trips_of_post(full: Full, path: str, body: dict[str, Any] | None, person: Person | None = None) -> int:
    with tracing(full.server.services.database) as sent:
        answer = await (person or full.ann).post(path, body)
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


async def test_a_block_costs_as_much_for_the_owner_of_many_rooms_as_of_one(full: Full) -> None:
    owner = await full.server.people.make(grant=["streams.manage"])
    counts = []
    for made in (1, MANY):
        for _ in range(made):
            assert (await owner.post("/api/v2/chats", {"type": "room", "name": "Room"})).status == 201
        blocked = await full.server.people.many(3)
        path = "/api/v1/users/me/blocks"
        counts.append(min([await trips_of_post(full, path, {"userId": each.id}, owner) for each in blocked]))
    assert counts[0] == counts[1]


async def test_an_export_costs_as_much_for_many_items_as_for_one(full: Full) -> None:
    """As long as a page has them all."""
    person = full.others[0]
    counts = []
    for sent in (1, MANY):
        for _ in range(sent):
            await person.send(full.chat_id)
        counts.append(min([await trips_of_post(full, f"{ADMIN}/users/{person.id}/export", None) for _ in range(3)]))
    assert counts[0] == counts[1]


async def trips_of_batch(full: Full, calls: Sequence[Coroutine[Any, Any, Any]]) -> int:
    """Of the batch that these calls are written in."""
    return (await one_batch(full.server.services.database, calls))[1]


async def test_what_people_do_most_takes_two_trips_a_batch(full: Full) -> None:
    """One or many at a time: messages, replies, edits, deletions, read marks, and all of them together."""
    services, caller = full.server.services, full.server.people.caller(full.others[0])
    messages = services.messages
    await messages.numbers.find(caller.user.tenant_pk, full.chat_id)
    last = await full.others[1].send(full.chat_id)

    def posted(count: int, **more: Any) -> list[Coroutine[Any, Any, Any]]:
        body = SendMessage(type="text", chatId=full.chat_id, content="hello", **more)
        return [messages.post(caller, body) for _ in range(count)]

    root = await full.others[1].send(full.chat_id)
    for count in (1, 50):
        assert await trips_of_batch(full, posted(count)) == 2
        assert await trips_of_batch(full, posted(count, threadId=root["_id"])) == 2
        copy = SendMessage(type="text", chatId=full.chat_id, forwardOf=last["_id"])
        assert await trips_of_batch(full, [messages.post(caller, copy) for _ in range(count)]) == 2
        named = [each.id for each in full.others[:count]]
        assert await trips_of_batch(full, posted(count, mentions=named)) == 2
        assert await trips_of_batch(full, posted(count, mentions=named, threadId=root["_id"])) == 2
        assert await trips_of_batch(full, posted(count, replyTo=last["_id"])) == 2
    for count in (1, MANY):
        await services.database.write(Command(lambda tx: tx.execute(delete(due))))
        last = await full.others[1].send(full.chat_id)
        everybody = [full.server.people.caller(each) for each in full.others[:count]]
        reacting = [services.reactions.add(each, last["_id"], ":heart:") for each in everybody]
        assert await trips_of_batch(full, reacting) == 2
    for count in (1, MANY):
        ids = [(await full.others[0].send(full.chat_id))["_id"] for _ in range(3 * count)]
        readers = [full.server.people.caller(each) for each in full.others[1 : count + 1]]
        edits = [messages.edit(caller, each, EditMessage(content="changed")) for each in ids[:count]]
        assert await trips_of_batch(full, edits) == 2
        named = [each.id for each in full.others[:count]]
        edits = [messages.edit(caller, each, EditMessage(content="x", mentions=named)) for each in ids[:count]]
        assert await trips_of_batch(full, edits) == 2
        assert await trips_of_batch(full, [messages.delete(caller, each) for each in ids[:count]]) == 2
        assert await trips_of_batch(full, [messages.read(each, ids[count]) for each in readers]) == 2
        pinning = [
            services.pins.pin(full.server.people.caller(full.ann), each, None) for each in ids[count : 2 * count]
        ]
        assert await trips_of_batch(full, pinning) == 2
        replies = [(await full.others[0].send(full.chat_id, threadId=root["_id"]))["_id"] for _ in range(count + 1)]
        assert await trips_of_batch(full, [messages.read(each, replies[0]) for each in readers]) == 2
        assert await trips_of_batch(full, [messages.delete(caller, each) for each in replies[:count]]) == 2
        everything: list[Coroutine[Any, Any, Any]] = [
            *(messages.edit(caller, each, EditMessage(content="changed again")) for each in ids[count : 2 * count]),
            *(messages.delete(caller, each) for each in ids[2 * count :]),
            *(messages.read(each, ids[-1]) for each in readers),
            *posted(count),
        ]
        assert await trips_of_batch(full, everything) == 2


async def test_notifications_take_two_trips_a_batch(full: Full) -> None:
    """Sent, read and deleted, one or many at a time."""
    services = full.server.services
    notifications, ann = services.notifications, await services.accounts.authenticate(str(full.ann.token))

    def draft(number: int) -> Draft:
        return Draft(Ref("id", full.others[number].id), title="t", client_key=new_id())

    for count in (1, MANY):
        sent: list[Notification] = []

        async def send(number: int, sent: list[Notification] = sent) -> None:
            sent.append(await notifications.send(ann, draft(number)))

        assert await trips_of_batch(full, [send(number) for number in range(count)]) == 2
        assert len({each.pk for each in sent}) == count
        readers = {each.id: full.server.people.caller(each) for each in full.others}
        reads = [notifications.read(readers[each.recipient.id], Ref("id", each.id)) for each in sent]
        assert await trips_of_batch(full, reads) == 2
        gone = [notifications.delete(ann, Ref("number", each.pk)) for each in sent]
        assert await trips_of_batch(full, gone) == 2


async def test_the_outbox_takes_as_many_trips_for_many_as_for_one(full: Full) -> None:
    """Claims and settlements two, and the expansion of many causes what that of one takes."""
    services = full.server.services
    database, policy = services.database, services.worker.policy
    worker = Worker(database, {"apns": LogProvider("APNs")}, services.worker.reach, policy)
    for number, each in enumerate(full.others):
        token = f"{number:064x}"
        device = {"deviceId": f"i{number}", "platform": "ios", "pushToken": token, "bundleId": "org.example.app"}
        device["environment"] = "sandbox"
        assert (await each.post("/api/v1/devices", device)).status == 201
    claims, expansions, settlements = {}, {}, {}
    for count in (1, MANY):
        for _ in range(count):
            await full.ann.send(full.chat_id)
        # What follows a message in a batch of its own is not counted.
        await database.writer.drain()
        before = database.trips
        at = await database.read(outbox.time_if_causes_due)
        assert at is not None
        claim = partial(outbox.claim_causes, lease=worker.lease, ttl=LEASE_MICROSECONDS, limit=100, at=at)
        causes = await worker._write(claim, outbox.reads_of_causes(100, at))
        assert len(causes) == count
        claims[count] = database.trips - before
        with tracing(database) as sent:
            await worker.expander._expand(causes)
        expansions[count] = len(sent)
        await eventually(lambda: not worker.in_flight and not worker.settler.waiting and worker.settler.writing is None)
        await database.writer.drain()
        before = database.trips
        settled = [Settlement(pk, "sent", 1, 200, "") for pk in range(count)]
        await database.write(Command(partial(outbox.settle, lease=worker.lease, settlements=settled)))
        settlements[count] = database.trips - before
    assert claims == settlements == {1: 2, MANY: 2}
    assert expansions[1] == expansions[MANY]


async def test_webhook_calls_and_dead_tokens_take_two_trips(full: Full) -> None:
    """Claims, results and deletions, one or many at a time."""
    database = full.server.services.database
    for count in (1, MANY):
        at = await database.read(partial(outbox.time_if_deliveries_due, providers=["apns"])) or now()

        def promise(tx: Tx, count: int = count) -> None:
            found = webhooks.find(tx.connection(), full.ann.user.tenant_pk, full.webhook_id)
            assert found is not None
            for _ in range(count):
                tx.later(webhooks.ADD, (found.pk, "push:failed", None, None, "{}", "waiting", 0, 0, 0, tx.now))

        await database.write(Command(promise))
        reads = webhooks.reads_of_claim({}, 10, at)
        before = database.trips
        claim = partial(webhooks.claim, ttl=10**9, room={}, each=10, at=at)
        page = await database.write(Command(claim, reads=partial(list, reads)))
        assert len(page.calls) == count and database.trips - before == 2

        async def settle(call: webhooks.ClaimedCall) -> None:
            done = partial(webhooks.settle, pk=call.call.pk, lease=call.lease, state="sent", status=200, reason="")
            await database.write(Command(done))

        assert await trips_of_batch(full, [settle(each) for each in page.calls]) == 2

        async def drop(pk: int) -> bool:
            drop = partial(devices.drop_token, pk=pk, token=f"a{pk}", before=None)
            return await database.write(Command(drop, reads=lambda: devices.reads_of_drop(pk)))

        assert await trips_of_batch(full, [drop(pk) for pk in range(1, count + 1)]) == 2
