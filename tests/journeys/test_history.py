"""Who sees only what came after their joining: what REST answers with 404 reaches no socket, live or replayed."""

from collections.abc import Collection
from typing import Any

import pytest

from tests.conftest import Served
from tests.support.people import Person, RawSocket

SECRET = "a word from before"


def texts(socket: RawSocket) -> str:
    return "\n".join(socket.packets)


async def changes(ann: Person, chat_id: str, message: Any) -> None:
    """Everything that refers to a message after it was posted."""
    path = f"/api/v2/messages/{message['_id']}"
    assert (await ann.patch(path, {"content": f"{SECRET}, edited"})).status == 200
    assert (await ann.delete(path)).status == 200


async def joined(either: Served, **options: Any) -> tuple[Person, Person, Person, str, list[Any]]:
    """Two in a group with three messages, and a third person who joined after them."""
    ann, bob, dan = await either.people.many(3)
    chat_id = await ann.group(bob, **options)
    messages = [await ann.send(chat_id, SECRET) for _ in range(3)]
    added = await ann.post(f"/api/v2/chats/{chat_id}/members", {"userIds": [dan.id]})
    assert added.status == 201
    return ann, bob, dan, chat_id, messages


async def test_what_is_older_than_the_joining_is_skipped_live(either: Served) -> None:
    ann, bob, dan, chat_id, messages = await joined(either)
    channel = f"chat:{chat_id}"
    old, new = await bob.socket(), await dan.socket()
    start = (await new.event("session:ready"))[0]["heads"][channel]
    await changes(ann, chat_id, messages[0])
    assert (await bob.post(f"/api/v2/messages/{messages[1]['_id']}/read")).status == 200
    own = await ann.send(chat_id, "since")
    assert (await ann.patch(f"/api/v2/messages/{own['_id']}", {"content": "since, edited"})).status == 200
    await new.event("message:updated")
    await old.event("message:updated", 2)

    assert new.seqs(channel) == old.seqs(channel) == list(range(start + 1, start + 6))
    assert [name for name, arguments in new.events if arguments[-1].get("channel") == channel] == [
        *["channel:skip"] * 3,
        "message:new",
        "message:updated",
    ]
    assert new.named("channel:skip") == [[{}, {"channel": channel, "seq": start + place}] for place in (1, 2, 3)]
    assert SECRET not in texts(new) and messages[1]["_id"] not in texts(new)
    assert old.named("message:deleted")[0][0]["_id"] == messages[0]["_id"]
    assert (await dan.get(f"/api/v2/messages/{messages[0]['_id']}")).status == 404
    await old.close()
    await new.close()


async def test_what_is_older_than_the_joining_is_skipped_in_a_replay(either: Served) -> None:
    ann, bob, dan, chat_id, messages = await joined(either)
    channel = f"chat:{chat_id}"
    first = await dan.socket()
    ready = (await first.event("session:ready"))[0]
    await first.close()
    for message in messages:
        await changes(ann, chat_id, message)
    await ann.send(chat_id, "since")

    offsets = {channel: ready["heads"][channel]}
    new = await dan.socket(offsets=offsets, epoch=ready["epoch"])
    assert (await new.event("session:ready"))[0]["recovered"] == {channel: True}
    assert [name for name, _ in new.events] == [*["channel:skip"] * 6, "message:new", "session:ready"]
    assert SECRET not in texts(new)
    old = await bob.socket(offsets=offsets, epoch=ready["epoch"])
    await old.event("session:ready")
    assert len(old.named("message:deleted")) == 3 and not old.named("channel:skip")
    await new.close()
    await old.close()


async def test_the_setting_of_the_history_acts_at_its_seq(either: Served) -> None:
    ann, _, dan, chat_id, messages = await joined(either, historyVisible="all")
    path = f"/api/v2/messages/{messages[0]['_id']}"
    socket = await dan.socket()
    for number, visible in enumerate(["all", "joined", "all"], 1):
        await ann.patch(f"/api/v2/chats/{chat_id}", {"historyVisible": visible})
        await ann.patch(path, {"content": f"{number}"})
        await ann.send(chat_id, f"after {number}")
        await socket.event("message:new", number)
        assert (await dan.get(path)).status == (404 if visible == "joined" else 200)
    assert [payload["content"] for payload, _ in socket.named("message:updated")] == ["1", "3"]
    assert len(socket.named("channel:skip")) == 1
    await socket.close()


async def test_who_joins_while_connected_and_joins_again_sees_from_the_latest_joining(either: Served) -> None:
    ann, _, dan, chat_id, _ = await joined(either)
    socket = await dan.socket()
    between = await ann.send(chat_id, "between")
    await socket.event("message:new")
    assert (await dan.post(f"/api/v2/chats/{chat_id}/leave")).status == 200
    await socket.event("chat:removed")
    assert (await ann.post(f"/api/v2/chats/{chat_id}/members", {"userIds": [dan.id]})).status == 201
    await socket.event("chat:new")
    await ann.patch(f"/api/v2/messages/{between['_id']}", {"content": SECRET})
    await ann.send(chat_id, "after")
    await socket.event("message:new", 2)
    assert SECRET not in texts(socket) and len(socket.named("channel:skip")) == 1
    await socket.close()


@pytest.mark.parametrize(("before", "after"), [("all", "joined"), ("joined", "all")])
async def test_a_setting_that_changes_while_somebody_connects(either: Served, before: str, after: str) -> None:
    """After it was read what the user may see, and before the channel is open here."""
    ann, _, dan, chat_id, messages = await joined(either, historyVisible=before)
    broker = either.services.hub.broker
    subscribe = broker.subscribe

    async def changed(channels: Collection[int]) -> None:
        broker.subscribe = subscribe  # type: ignore[method-assign]
        answer = await ann.patch(f"/api/v2/chats/{chat_id}", {"historyVisible": after})
        assert answer.status == 200
        await subscribe(channels)

    broker.subscribe = changed  # type: ignore[method-assign]
    socket = await dan.socket()
    await ann.patch(f"/api/v2/messages/{messages[0]['_id']}", {"content": f"{SECRET}, edited"})
    await ann.send(chat_id, "since")
    await socket.event("message:new")
    assert (SECRET in texts(socket)) == (after == "all")
    assert bool(socket.named("channel:skip")) == (after == "joined")
    await socket.close()
