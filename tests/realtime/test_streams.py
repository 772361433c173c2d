"""Streams as the service keeps them: its own clock to the second, rights at the commit, and what a phone is promised."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import select, update

from realtime import streams as module
from realtime.schema.bodies import ChangeStream, CreateStream, RegisterActivity
from realtime.streams import Timing
from storage import activities, streams
from storage.errors import Conflict, Forbidden, Unauthenticated
from storage.models import activities as activity_rows
from storage.models import outbox, users
from storage.streams import Stream
from storage.transaction import Command, Tx
from storage.types import SECOND, now
from tests.conftest import Served
from tests.support.people import Person

GRACE, LEAD = 900, 600


async def host_of(server: Served) -> Person:
    server.services.streams.timing = Timing(GRACE, LEAD)
    return await server.people.make(grant=["streams.manage"])


async def stream_of(server: Served, host: Person, starts_in: float) -> Stream:
    """By a caller that may; ``starts_in`` seconds, also before now."""
    starts_at = now() + int(starts_in * SECOND)
    body = CreateStream(title="s", startsAt="2099-01-01T00:00:00Z")
    document = await server.services.streams.create(caller_of(server, host), body)
    pk = await pk_of(server, host, document["id"])
    await server.services.database.write(Command(lambda tx: streams.change(tx, pk, starts_at=starts_at), channels=[pk]))
    return await stored(server, pk)


def caller_of(server: Served, person: Person) -> Any:
    return replace(server.people.caller(person), granted=frozenset({"streams.manage"}))


async def pk_of(server: Served, person: Person, id: str) -> int:
    found = await server.services.database.read(lambda it: streams.find(it, person.user.tenant_pk, id))
    assert found is not None
    return found.pk


async def stored(server: Served, pk: int) -> Stream:
    return await server.services.database.read(lambda connection: streams.get(connection, pk))


async def promised(server: Served, pk: int) -> Sequence[str]:
    """The kinds of what was promised to phones of a stream, and forgets them."""

    def apply(tx: Tx) -> list[str]:
        rows = tx.execute(select(outbox.c.kind).where(outbox.c.channel_pk == pk).order_by(outbox.c.pk)).scalars().all()
        tx.execute(outbox.delete().where(outbox.c.channel_pk == pk))
        return [*rows]

    return await server.services.database.write(Command(apply))


@pytest.fixture(autouse=True)
def by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """The server's own clock does nothing, and nobody sends what is promised."""

    async def nothing(*_: Any) -> bool:
        return False

    monkeypatch.setattr("server.background.TICK_SECONDS", 1e6)
    monkeypatch.setattr("push.expander.Expander.expand_due", nothing)


@pytest.mark.parametrize(("late_by", "status"), [(GRACE - 60, "scheduled"), (GRACE + 60, "expired")])
async def test_a_stream_expires_when_its_grace_is_over(server: Served, late_by: int, status: str) -> None:
    host = await host_of(server)
    stream = await stream_of(server, host, -late_by)
    await server.services.streams.tick()
    assert (await stored(server, stream.pk)).status == status


@pytest.mark.parametrize("to", ["started", "ended", "cancelled"])
async def test_only_what_has_not_begun_expires(server: Served, to: str) -> None:
    """Also where it began while the clock looked."""
    host = await host_of(server)
    stream = await stream_of(server, host, -2 * GRACE)
    for state in {"started": ["ready", "started"], "ended": ["ready", "started", "ended"]}.get(to, [to]):
        await server.services.streams.move(caller_of(server, host), stream.id, state)  # type: ignore[arg-type]
    grace = GRACE * SECOND
    await server.services.database.write(
        Command(lambda tx: module.expire(tx, stream.pk, grace), channels=[stream.pk, stream.chat_pk])
    )
    assert (await stored(server, stream.pk)).status == to


async def test_what_is_not_late_yet_does_not_expire_at_the_commit(server: Served) -> None:
    """It was put off since the clock looked."""
    host = await host_of(server)
    stream = await stream_of(server, host, -GRACE + 60)
    grace = GRACE * SECOND
    await server.services.database.write(
        Command(lambda tx: module.expire(tx, stream.pk, grace), channels=[stream.pk, stream.chat_pk])
    )
    assert (await stored(server, stream.pk)).status == "scheduled"


@pytest.mark.parametrize(("starts_in", "announced"), [(LEAD - 60, True), (LEAD + 60, False), (-60, False)])
async def test_phones_start_what_begins_soon_once(server: Served, starts_in: int, announced: bool) -> None:
    host = await host_of(server)
    admin = await server.people.make(permissions=["admin"])
    activity = {"liveActivity": {"attributesType": "Attributes", "attributes": {}}}
    assert (await admin.patch("/api/v1/admin/tenant", activity)).status == 200
    stream = await stream_of(server, host, starts_in)
    for _ in range(2):
        await server.services.streams.tick()
    assert (await stored(server, stream.pk)).announced == announced
    assert await promised(server, stream.pk) == (["live_start"] if announced else [])


@pytest.mark.parametrize("state", ["ready", "cancelled"])
async def test_phones_start_nothing_for_what_is_not_scheduled_any_more(server: Served, state: Any) -> None:
    host = await host_of(server)
    stream = await stream_of(server, host, LEAD - 60)
    await server.services.streams.move(caller_of(server, host), stream.id, state)
    await server.services.database.write(Command(lambda tx: module.announce_start(tx, stream.pk), channels=[stream.pk]))
    assert not (await stored(server, stream.pk)).announced


@pytest.mark.parametrize(("starts_in", "announced"), [(LEAD - 60, True), (LEAD + 60, False), (None, True)])
async def test_a_postponed_stream_starts_again_when_its_time_comes(
    server: Served, starts_in: int | None, announced: bool
) -> None:
    host = await host_of(server)
    stream = await stream_of(server, host, LEAD - 300)
    await server.services.database.write(
        Command(lambda tx: streams.change(tx, stream.pk, announced=True), channels=[stream.pk])
    )
    starts_at = None if starts_in is None else now() + starts_in * SECOND
    body = ChangeStream(title="another").model_copy(update={"startsAt": starts_at})
    await server.services.streams.change(caller_of(server, host), stream.id, body)
    assert (await stored(server, stream.pk)).announced == announced


# Rights, as they are at the commit


async def test_who_was_disabled_or_may_not_does_nothing(server: Served) -> None:
    host, ann = await host_of(server), await server.people.make()
    stream = await stream_of(server, host, 3600)
    service, caller = server.services.streams, server.people.caller(ann)
    body = CreateStream(title="s", startsAt="2099-01-01T00:00:00Z")
    with pytest.raises(Forbidden):
        await service.create(caller, body)
    await server.services.database.write(
        Command(lambda tx: tx.execute(update(users).where(users.c.pk == ann.user.pk).values(status="disabled")))
    )
    activity = RegisterActivity(streamId=stream.id, deviceId="d", liveActivityToken="t", activityId="a")
    for work in (
        service.follow(caller, stream.id), service.watch(caller, stream.id),
        server.services.activities.register(caller, activity),
    ):  # fmt: skip
        with pytest.raises(Unauthenticated):
            await work
    with pytest.raises(Conflict, match="already exists"):
        await service.create(caller_of(server, host), body.model_copy(update={"id": stream.id}))


async def test_two_sockets_watch_until_both_have_stopped(server: Served) -> None:
    ann = await server.people.make()
    service, caller = server.services.streams, server.people.caller(ann)
    service.began(7, caller)
    service.began(7, caller)
    assert service.stopped(7, caller) is False
    assert service.stopped(7, caller) is True
    assert not service.watching


# Activities


async def test_what_is_promised_to_an_activity_that_is_registered(server: Served) -> None:
    host, ann = await host_of(server), await server.people.make()
    stream = await stream_of(server, host, 3600)
    service, caller = server.services.streams, server.people.caller(ann)

    async def register(token: str, activity: str = "a") -> Sequence[str]:
        body = RegisterActivity(streamId=stream.id, deviceId="d", liveActivityToken=token, activityId=activity)
        try:
            await server.services.activities.register(caller, body)
        except Conflict:
            return ["refused", *await promised(server, stream.pk)]
        return await promised(server, stream.pk)

    assert await register("one") == [], "nothing has changed since it was started"
    assert await register("one") == []
    await service.change(caller_of(server, host), stream.id, ChangeStream(title="another"))
    await promised(server, stream.pk)
    assert await register("one") == [], "it was told of the change under this token"
    assert await register("two") == ["live_update"]
    assert await register("other", "b") == ["live_update"]
    await service.move(caller_of(server, host), stream.id, "cancelled")
    await promised(server, stream.pk)
    assert await register("three") == ["refused", "live_end"]
    assert await register("three") == ["refused", "live_end"], "its end has not arrived yet"
    await server.services.database.write(Command(lambda tx: tx.execute(update(activity_rows).values(state="ended"))))
    assert await register("three") == ["refused"], "it knows of its end"
    assert await register("four") == ["refused", "live_end"]
    await server.services.database.write(Command(lambda tx: tx.execute(update(activity_rows).values(state="dead"))))
    assert await register("four") == ["refused", "live_end"], "its token counts again"


@pytest.mark.parametrize(("age", "refused"), [(-60, False), (60, True)])
async def test_an_activity_that_ios_has_removed_takes_no_token(server: Served, age: int, refused: bool) -> None:
    host, ann = await host_of(server), await server.people.make()
    stream = await stream_of(server, host, 3600)
    body = RegisterActivity(streamId=stream.id, deviceId="d", liveActivityToken="one", activityId="a")
    caller = server.people.caller(ann)
    await server.services.activities.register(caller, body)
    created_at = now() - activities.LIFE_MICROSECONDS - age * SECOND
    await server.services.database.write(
        Command(lambda tx: tx.execute(update(activity_rows).values(created_at=created_at)))
    )
    again = body.model_copy(update={"liveActivityToken": "two"})
    if refused:
        with pytest.raises(Conflict, match="has expired"):
            await server.services.activities.register(caller, again)
    else:
        await server.services.activities.register(caller, again)
