"""What a push tells, or why none is sent any more, looked up at the moment when it is sent."""

from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import insert, select, update

from storage import contexts
from storage.contexts import LiveContext, PushContext
from storage.models import activities, devices, members, notifications, users
from storage.models import streams as stream_rows
from storage.outbox import Delivery
from storage.transaction import Command
from storage.types import SECOND, now
from tests.conftest import Served
from tests.support.people import Person
from tests.support.pushing import phone

STREAMS = "/api/v1/streams"
DELIVERY = Delivery(1, "message", "apns", 0, 0, None, 0, 0, None, "id", 0, 0, 0)


async def brief(server: Served, delivery: Delivery, at: int | None = None) -> Any:
    found = await server.services.database.read(
        lambda it: contexts.contexts(it, [delivery], now() if at is None else at)
    )
    return found[delivery.pk]


async def row(server: Served, table: Any, **values: Any) -> Any:
    where = [table.c[name] == value for name, value in values.items()]
    return await server.services.database.read(lambda it: it.execute(select(table).where(*where)).one())


async def change(server: Served, table: Any, where: Any, **values: Any) -> None:
    statement = update(table).where(where).values(**values)
    await server.services.database.write(Command(lambda tx: tx.execute(statement)))


async def with_phone(server: Served, **options: Any) -> tuple[Person, int]:
    person = await server.people.make()
    await phone(person, f"token-{person.user.pk}", **options)
    return person, (await row(server, devices, user_pk=person.user.pk)).pk


async def notified(server: Served) -> tuple[Person, Any, Delivery]:
    person, device = await with_phone(server)
    sender = await server.people.make(grant=["notifications.send"])
    body = {"userId": person.id, "type": "info", "category": "c", "title": "t", "message": "m"}
    made = (await sender.post("/api/v1/notifications", body)).json["data"]
    ref = (await row(server, notifications, id=made["id"])).pk
    return person, made, replace(DELIVERY, kind="notification", ref_pk=ref, user_pk=person.user.pk, target_pk=device)


@pytest.mark.parametrize(("verb", "why"), [("read", "read"), ("delete", "deleted")])
async def test_a_notification_that_was_seen_or_taken_back(either: Served, verb: str, why: str) -> None:
    person, made, delivery = await notified(either)
    found = await brief(either, delivery)
    assert isinstance(found, PushContext) and found.about.id == made["id"] and found.badge == 1  # type: ignore[union-attr]
    path = f"/api/v1/notifications/{made['id']}"
    assert (await (person.post(f"{path}/read") if verb == "read" else person.delete(path))).status == 200
    assert await brief(either, delivery) == why


async def test_a_device_of_somebody_else_by_now(server: Served) -> None:
    _, _, delivery = await notified(server)
    stranger = await server.people.make()
    assert await brief(server, replace(delivery, target_pk=10**6)) == "the device is gone"
    assert await brief(server, replace(delivery, user_pk=stranger.user.pk)) == "the device is gone"
    admin = await server.people.make(grant=["admin"])
    owner = (await row(server, devices, pk=delivery.target_pk)).user_pk
    await change(server, users, users.c.pk == owner, status="banned")
    assert await brief(server, delivery) == "the user is banned"
    assert (await admin.get("/api/v1/users/me")).status == 200


async def test_messages_that_wait_to_be_read(either: Served) -> None:
    person, device = await with_phone(either)
    ann = await either.people.make()
    chat = await ann.group(person)
    sent = [await ann.send(chat, str(number)) for number in range(3)]
    pk = await either.services.chats.numbers.find(ann.user.tenant_pk, chat)
    wanted = replace(DELIVERY, channel_pk=pk, user_pk=person.user.pk, target_pk=device)

    async def of(seq: int, at: int | None = None) -> Any:
        found = await brief(either, replace(wanted, seq=seq), at)
        return (found.about.content, found.badge) if isinstance(found, PushContext) else found  # type: ignore[union-attr]

    assert [await of(seq) for seq in (1, 2, 3)] == [("0", 3), ("1", 3), ("2", 3)]
    await person.post(f"/api/v2/messages/{sent[1]['_id']}/read")
    gone = "read, muted or left"
    assert [await of(seq) for seq in (1, 2, 3)] == [gone, gone, ("2", 1)]
    mine = (members.c.chat_pk == pk) & (members.c.user_pk == person.user.pk)
    await change(either, members, mine, muted_until=5 * SECOND)
    assert (await of(3, 5 * SECOND - 1), await of(3, 5 * SECOND)) == (gone, ("2", 1)), "the mute is over by then"
    await change(either, members, mine, joined_seq=3)
    assert await of(3) == gone, "it is from before the joining"
    await change(either, members, mine, joined_seq=2)
    await ann.delete(f"/api/v2/messages/{sent[2]['_id']}")
    assert await of(3) == "deleted"
    alone = await brief(either, replace(wanted, kind="badge"))
    assert isinstance(alone, PushContext) and (alone.about, alone.badge) == (None, 0)


async def test_a_badge_counts_what_is_not_muted_up_to_999(either: Served) -> None:
    person, _, delivery = await notified(either)
    known = await row(either, notifications, pk=delivery.ref_pk)
    ann = await either.people.make()
    chat = await ann.group(person)
    await ann.send(chat)
    pk = await either.services.chats.numbers.find(ann.user.tenant_pk, chat)

    async def badge(at: int | None = None) -> int:
        return int((await brief(either, replace(delivery, kind="badge"), at)).badge)

    assert await badge() == 2
    mine = (members.c.chat_pk == pk) & (members.c.user_pk == person.user.pk)
    await change(either, members, mine, muted_until=5 * SECOND)
    assert (await badge(5 * SECOND - 1), await badge(5 * SECOND)) == (1, 2)
    values = {name: value for name, value in known._mapping.items() if name != "pk"}

    async def add(start: int, stop: int) -> None:
        rows = [
            values | {"id": f"{number:024x}", "uuid": f"{number:036x}", "client_key": None}
            for number in range(start, stop)
        ]
        await either.services.database.write(Command(lambda tx: tx.execute(insert(notifications), rows)))

    await add(0, 996)
    assert await badge() == 998
    await add(996, 997)
    assert await badge() == 999
    await add(997, 1010)
    assert await badge() == 999


# Live Activities


async def live(server: Served) -> tuple[Person, Person, Any, Delivery]:
    """A stream, its owner, a follower with a phone, and the delivery that starts an activity on it."""
    owner = await server.people.make(grant=["streams.manage", "admin"])
    await owner.patch("/api/v1/admin/tenant", {"liveActivity": {"attributesType": "MatchAttributes"}})
    made = (await owner.post(STREAMS, {"title": "Match", "startsAt": "2999-01-01T20:00:00Z"})).json["data"]
    ann, device = await with_phone(server, pushToStartToken="start")
    await ann.post(f"{STREAMS}/{made['id']}/follow")
    stream = await row(server, stream_rows, id=made["id"])
    wanted = replace(
        DELIVERY, kind="live_start", channel_pk=stream.pk, user_pk=ann.user.pk, target_pk=device, stamp=stream.pk
    )
    return owner, ann, stream, wanted


async def test_what_can_be_started_on_a_phone(either: Served) -> None:
    owner, ann, stream, wanted = await live(either)
    found = await brief(either, wanted)
    assert isinstance(found, LiveContext) and found.attributes_type == "MatchAttributes" and found.device is not None
    late = "the stream is scheduled, or late"
    assert isinstance(await brief(either, wanted, stream.starts_at), LiveContext)
    assert await brief(either, wanted, stream.starts_at + 1) == late
    nowhere = "can't be started there any more"
    assert await brief(either, replace(wanted, target_pk=10**6)) == nowhere
    device = devices.c.pk == wanted.target_pk
    await change(either, devices, device, push_to_start_token=None)
    assert await brief(either, wanted) == nowhere
    await change(either, devices, device, push_to_start_token="start")
    await owner.patch("/api/v1/admin/tenant", {"liveActivity": None})
    assert await brief(either, wanted) == nowhere
    await owner.patch("/api/v1/admin/tenant", {"liveActivity": {"attributesType": "MatchAttributes"}})
    await ann.post(f"{STREAMS}/{stream.id}/unfollow")
    assert await brief(either, wanted) == "the user does not follow any more, or is blocked"
    await ann.post(f"{STREAMS}/{stream.id}/follow")
    await owner.post(f"{STREAMS}/{stream.id}/ready")
    assert await brief(either, wanted) == "the stream is ready, or late"


async def test_updates_of_a_running_activity(either: Served) -> None:
    _, ann, stream, wanted = await live(either)
    body = {"streamId": stream.id, "deviceId": "d", "liveActivityToken": "token", "activityId": "a"}
    assert (await ann.post("/api/v1/notifications/live-activity-sessions", body)).status == 201
    known = await row(either, activities, token="token")
    updating = replace(wanted, kind="live_update", target_pk=known.pk)
    ending = replace(updating, kind="live_end", stamp=7)
    found = await brief(either, updating)
    assert isinstance(found, LiveContext) and found.activity is not None and found.attributes_type is None
    assert await brief(either, ending) == "another end was promised since"
    assert await brief(either, replace(updating, target_pk=10**6)) == "the activity is over"
    here = activities.c.pk == known.pk
    for stamp, state, on_update, on_end in (
        (7, "ending", "the activity is being ended", None),
        (8, "ending", "the activity is being ended", "another end was promised since"),
        (7, "ended", "the activity is over", "the activity is over"),
        (7, "dead", "the activity is over", "the activity is over"),
    ):
        await change(either, activities, here, state=state, stamp=stamp)
        assert await brief(either, updating) == on_update, state
        told = await brief(either, ending)
        assert isinstance(told, LiveContext) if on_end is None else told == on_end, state
