"""What a connection is to read: the limits of a replay, to the event and to the byte."""

from dataclasses import replace
from typing import Any

from realtime.fanout.plan import Plans, ResumePlan
from realtime.schema.caller import Caller
from realtime.schema.limits import Limits
from storage import log
from tests.conftest import Served
from tests.support.people import Person

# With these no event is longer than 16 bytes, as far as is known without measuring.
SHORT = {"content": 1, "metadata": 1}
LONGEST = 16


async def plan_of(server: Served, person: Person, offsets: dict[str, int], **limits: Any) -> ResumePlan:
    services = server.services
    plans = Plans(services.database, replace(Limits(), **limits))
    plan = await plans.of(Caller(person.user, frozenset(), 0, 2**62), offsets, services.database.epoch)
    assert plan is not None
    return plan


async def chats_of(person: Person, *messages: int) -> list[str]:
    """Chats with so many messages each, in the order in which they are planned; their channels' names."""
    chats = [await person.group() for _ in messages]
    for chat, count in zip(chats, messages, strict=True):
        for _ in range(count):
            await person.send(chat)
    return [f"chat:{each}" for each in chats]


async def size_of(server: Served, name: str, after: int) -> int:
    """Bytes of a chat's events after a seq."""
    pk = await server.services.chats.numbers.find(server.services.accounts.default_tenant.pk, name.split(":")[1])
    found = await server.services.database.read(lambda connection: log.sizes(connection, {(pk, after)}))
    return found[pk, after]


async def test_each_channel_with_its_cursor(server: Served) -> None:
    ann = await server.people.make()
    (chat,) = await chats_of(ann, 3)
    plan = await plan_of(server, ann, {chat: 1, "user:" + ann.id: 0, "chat:" + "f" * 24: 7})
    assert plan.recovered == {chat: True, "user:" + ann.id: True, "chat:" + "f" * 24: False}
    assert {(name, cursor, first) for _, name, cursor, first in plan.channels} == {
        (chat, 1, 0),
        ("user:" + ann.id, 0, 0),
    }
    fresh = await plan_of(server, ann, {})
    assert {(name, cursor) for _, name, cursor, _ in fresh.channels} == {(chat, 3), ("user:" + ann.id, 1)}


async def test_as_many_events_as_are_replayed_and_not_one_more(server: Served) -> None:
    ann = await server.people.make()
    first, second = await chats_of(ann, 5, 5)
    offsets = {first: 3, second: 3}
    assert (await plan_of(server, ann, offsets, replay_events=4)).recovered == {first: True, second: True}
    assert sorted((await plan_of(server, ann, offsets, replay_events=3)).recovered.values()) == [False, True]
    assert set((await plan_of(server, ann, offsets, replay_events=1)).recovered.values()) == {False}


async def test_as_many_bytes_as_are_replayed_and_not_one_more(server: Served) -> None:
    ann = await server.people.make()
    nothing, first, second = await chats_of(ann, 1, 1, 1)
    offsets = {nothing: 1, first: 0, second: 0}
    size = await size_of(server, first, 0)
    assert size == await size_of(server, second, 0)
    both = await plan_of(server, ann, offsets, replay_bytes=2 * size)
    assert both.recovered == {nothing: True, first: True, second: True}
    one = await plan_of(server, ann, offsets, replay_bytes=2 * size - 1)
    assert one.recovered[nothing] and sorted((one.recovered[first], one.recovered[second])) == [False, True]
    none = await plan_of(server, ann, offsets, replay_bytes=size - 1)
    assert none.recovered == {nothing: True, first: False, second: False}


async def test_what_certainly_fits_is_not_measured(server: Served) -> None:
    ann = await server.people.make()
    (chat,) = await chats_of(ann, 1)
    assert (await plan_of(server, ann, {chat: 0}, replay_bytes=LONGEST, **SHORT)).recovered[chat]
    assert not (await plan_of(server, ann, {chat: 0}, replay_bytes=LONGEST - 1, **SHORT)).recovered[chat]


async def test_streams_that_are_followed_or_named_are_planned_once(server: Served) -> None:
    owner, ann = await server.people.make(grant=["streams.manage"]), await server.people.make()
    streams = []
    for _ in range(2):
        made = await owner.post("/api/v1/streams", {"title": "x", "startsAt": "2999-01-01T00:00:00Z"})
        streams.append(made.json["data"]["id"])
    assert (await ann.post(f"/api/v1/streams/{streams[0]}/follow")).status == 200
    names = [f"stream:{each}" for each in streams]
    plan = await plan_of(server, ann, {})
    assert [name for _, name, _, _ in plan.channels if name in names] == names[:1]
    named = await plan_of(server, ann, dict.fromkeys(names, 0))
    assert sorted(name for _, name, _, _ in named.channels if name in names) == sorted(names)
    assert {first for _, name, _, first in named.channels if name in names} == {0}
