"""Joining and leaving: which events they make in a small chat and in a large one, and where they act."""

import asyncio

import pytest

from realtime import membership
from realtime.fanout.session import Session
from tests.conftest import Served, eventually
from tests.support.people import Person

CHATS = "/api/v2/chats"


@pytest.fixture(autouse=True)
def three_are_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(membership, "LARGE_CHAT_MEMBERS", 3)


async def test_the_joins_of_one_call_are_one_event_up_to_the_limit(either: Served) -> None:
    owner, bob, cem, dan = await either.people.many(4)
    chat_id = await owner.group()
    socket = await owner.socket()
    await owner.post(f"{CHATS}/{chat_id}/members", {"userIds": [bob.id, cem.id]})
    document, place = await socket.event("chat:updated")
    assert document["added"] == [bob.id, cem.id] and place["seq"] == 1
    new = await dan.socket()
    await owner.post(f"{CHATS}/{chat_id}/members", {"userIds": [dan.id]})
    assert (await new.event("chat:new"))[0]["at"] == 1, "the fourth joins at the head, without an event"
    assert (await new.event("chat:new"))[0]["memberCount"] == 4
    sent = await owner.send(chat_id, "to all")
    assert (await new.event("message:new"))[0]["_id"] == sent["_id"]
    assert (await socket.event("message:new"))[1]["seq"] == 2
    assert len(socket.named("chat:updated")) == 1
    member = (await owner.get(f"{CHATS}/{chat_id}/members")).json["items"][-1]
    assert (member["userId"], member["joinedSeq"]) == (dan.id, 1)
    await asyncio.gather(socket.close(), new.close())


async def test_who_leaves_a_large_chat_does_so_at_its_head(either: Served) -> None:
    owner, bob, cem, dan = await either.people.many(4)
    chat_id = await owner.group(bob, cem, dan)
    await owner.send(chat_id, "one")
    socket, left = await owner.socket(), await bob.socket()
    await bob.post(f"{CHATS}/{chat_id}/leave")
    assert (await left.event("chat:removed"))[0] == {"chatId": chat_id, "at": 1}
    await owner.send(chat_id, "two")
    assert (await socket.event("message:new"))[1]["seq"] == 2
    assert socket.named("chat:updated") == left.named("message:new") == []
    assert (await bob.get(f"{CHATS}/{chat_id}")).status == 404
    await cem.post(f"{CHATS}/{chat_id}/leave")
    document, place = await socket.event("chat:updated")
    assert document["removed"] == [cem.id] and place["seq"] == 3, "three are not many any more"
    await asyncio.gather(socket.close(), left.close())


async def test_a_removal_by_somebody_else_is_always_an_event(either: Served) -> None:
    owner, bob, cem, dan = await either.people.many(4)
    chat_id = await owner.group(bob, cem, dan)
    socket = await bob.socket()
    await owner.delete(f"{CHATS}/{chat_id}/members/{bob.id}")
    document, _ = await socket.event("chat:updated")
    assert document["removed"] == [bob.id]
    assert (await socket.event("chat:removed"))[0] == {"chatId": chat_id}
    await socket.close()


@pytest.mark.parametrize("waiting", [True, False])
async def test_who_left_and_joined_again_gets_what_came_meanwhile_never(either: Served, waiting: bool) -> None:
    """Whoever does not wait may be out again before the socket has come in: then it gets less, never more."""
    owner, bob, cem, dan = await either.people.many(4)
    chat_id = await owner.group(bob, cem, dan)
    socket = await bob.socket()
    seen = [*(f"seen {turn}" for turn in range(5)), "last"]

    def contents() -> list[str]:
        return [document["content"] for document, _ in socket.named("message:new")]

    for turn in range(5):
        await owner.send(chat_id, seen[turn])
        if waiting:
            await socket.until(lambda turn=turn: contents() == seen[: turn + 1])
        await bob.post(f"{CHATS}/{chat_id}/leave")
        await owner.send(chat_id, f"not seen {turn}")
        await owner.post(f"{CHATS}/{chat_id}/members", {"userIds": [bob.id]})
    await owner.send(chat_id, "last")
    await socket.until(lambda: "last" in contents())
    assert contents() == (seen if waiting else [each for each in seen if each in contents()])
    await socket.close()


async def test_who_joins_and_leaves_at_one_seq_gets_nothing_after(either: Served) -> None:
    owner, bob, cem, dan = await either.people.many(4)
    chat_id = await owner.group(cem, dan)
    await owner.send(chat_id, "before")
    socket, stays = await bob.socket(), await cem.socket()
    channel = f"chat:{chat_id}"
    for turn in range(3):
        await owner.post(f"{CHATS}/{chat_id}/members", {"userIds": [bob.id]})
        await eventually(lambda: channel in {each.name for each in session_of(either, bob).subscriptions.values()})
        await asyncio.gather(bob.post(f"{CHATS}/{chat_id}/leave"), owner.send(chat_id, f"meanwhile {turn}"))
        await owner.send(chat_id, f"after {turn}")
        await stays.until(lambda turn=turn: stays.named("message:new")[-1:][0][0]["content"] == f"after {turn}")
    await eventually(lambda: channel not in {each.name for each in session_of(either, bob).subscriptions.values()})
    assert not [document for document, _ in socket.named("message:new") if document["content"].startswith("after")]
    await asyncio.gather(socket.close(), stays.close())


def session_of(server: Served, person: Person) -> Session:
    (session,) = server.services.sessions.of_user[person.user.pk]
    return session
