"""Reactions to messages: who may, what a message shows of them, and what a reader is told."""

import asyncio
import itertools
import random
from collections import Counter
from typing import Any

import orjson
import pytest
from sqlalchemy import delete, select

from realtime.support.buckets import Buckets
from storage.models import due, events, messages, reactions
from storage.transaction import Command
from storage.types import SECOND
from tests.conftest import Served, eventually
from tests.support.guard import HANG_SECONDS
from tests.support.people import Person

HEART, THUMB = "❤️", ":thumbsup:"


def path(message: Any, key: str) -> str:
    return f"/api/v2/messages/{message['_id']}/reactions/{key}"


async def pair(server: Served, **options: Any) -> tuple[Person, Person, str]:
    ann, bob = await server.people.many(2)
    return ann, bob, await ann.group(bob, **options)


async def shown(person: Person, chat: str) -> dict[str, Any]:
    """By message what history shows."""
    page = (await person.get(f"/api/v2/messages?chatId={chat}")).json
    return {each["_id"]: each.get("reactions") for each in page["items"]}


async def test_a_reaction_is_shown_and_taken_back(either: Served) -> None:
    ann, bob, chat = await pair(either)
    message = await ann.send(chat)
    socket = await ann.socket()
    answer = await bob.put(path(message, HEART))
    state = [{"key": HEART, "count": 1, "userIds": [bob.id]}]
    assert (answer.status, answer.json) == (200, {"messageId": message["_id"], "reactions": state, "mine": [HEART]})
    payload, place = await socket.event("message:reactions")
    assert payload == {"chatId": chat, "items": [{"messageId": message["_id"], "reactions": state}]}
    assert place == {"channel": f"chat:{chat}", "seq": message["seq"] + 1}
    assert (await bob.put(path(message, HEART))).json["mine"] == [HEART], "what changes nothing makes no event"
    page = (await bob.get(f"/api/v2/messages?chatId={chat}")).json
    assert page["items"][0]["reactions"] == state and page["mine"] == {message["_id"]: [HEART]}
    assert "mine" not in (await ann.get(f"/api/v2/messages?chatId={chat}")).json
    assert (await ann.get(f"/api/v2/messages/{message['_id']}")).json["reactions"] == state
    who = (await ann.get(f"/api/v2/messages/{message['_id']}/reactions?key={HEART}")).json["items"]
    assert [(each["userId"], each["key"]) for each in who] == [(bob.id, HEART)]
    answer = await bob.delete(path(message, HEART))
    assert answer.json == {"messageId": message["_id"], "reactions": [], "mine": []}
    payload, _ = await socket.event("message:reactions", 2)
    assert payload["items"] == [{"messageId": message["_id"], "reactions": []}]
    assert "reactions" not in (await ann.get(f"/api/v2/messages/{message['_id']}")).json
    await socket.close()


async def test_over_the_socket(either: Served) -> None:
    ann, bob, chat = await pair(either)
    message = await ann.send(chat)
    socket = await bob.socket()
    ack = await socket.call("reaction:add", {"messageId": message["_id"], "key": THUMB})
    assert ack["data"]["mine"] == [THUMB] and ack["statusCode"] == 200
    ack = await socket.call("reaction:remove", {"messageId": message["_id"], "key": THUMB})
    assert ack["data"]["mine"] == []
    ack = await socket.call("reaction:add", {"messageId": message["_id"], "key": "no emoji"})
    assert ack["statusCode"] == 400
    await socket.close()


async def test_what_follows_within_a_second_is_told_together(either: Served) -> None:
    """At most one event a second; and when nothing follows, the window ends."""
    ann, bob, chat = await pair(either)
    sent = [await ann.send(chat, str(number)) for number in range(8)]
    socket = await ann.socket()
    await asyncio.gather(*(bob.put(path(message, HEART)) for message in sent))
    told = await until_told(socket, {each["_id"] for each in sent})
    listed = [item["messageId"] for payload in told for item in payload["items"]]
    assert sorted(listed) == sorted(each["_id"] for each in sent)
    times = select(events.c.at).where(events.c.name == "message:reactions").order_by(events.c.seq)
    at = await either.services.database.read(lambda it: it.execute(times).scalars().all())
    assert all(later - earlier >= 0.9 * SECOND for earlier, later in itertools.pairwise(at)), at

    async def ended() -> bool:
        rows = select(due.c.ref)
        return not await either.services.database.read(lambda it: it.execute(rows).all())

    async with asyncio.timeout(HANG_SECONDS):
        while not await ended():
            await asyncio.sleep(0.05)
    await socket.close()


async def until_told(socket: Any, ids: set[str]) -> list[Any]:
    """The documents of events until each of these messages was in one."""
    await eventually(
        lambda: (
            {item["messageId"] for arguments in socket.named("message:reactions") for item in arguments[0]["items"]}
            >= ids
        )
    )
    return [arguments[0] for arguments in socket.named("message:reactions")]


async def test_limits_of_a_message_and_of_a_user(either: Served) -> None:
    ann, bob, chat = await pair(either)
    message = await ann.send(chat)
    for key in "😀😁😂😃😄":
        assert (await bob.put(path(message, key))).status == 200
    assert (await bob.put(path(message, "😅"))).status == 409
    assert (await bob.delete(path(message, "😀"))).status == 200
    assert (await bob.put(path(message, "😅"))).status == 200
    others = await either.people.many(4)
    await ann.post(f"/api/v2/chats/{chat}/members", {"userIds": [each.id for each in others]})
    later = await ann.send(chat)
    for number, person in enumerate(others):
        for each in range(5):
            assert (await person.put(path(later, f":k{number}{each}:"))).status == 200
    answer = await bob.put(path(later, ":one_more:"))
    assert answer.status == 409 and "20" in str(answer.json)
    assert (await bob.put(path(later, ":k00:"))).status == 200, "one that is there already"


async def test_too_many_in_a_second(either: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    ann, bob, chat = await pair(either)
    message = await ann.send(chat)
    # However slow this machine is, no second passes.
    monkeypatch.setattr(either.services.reactions, "reacting", Buckets(0.0001, 2, "reactions"))
    answers = [await bob.put(path(message, f":k{number}:")) for number in range(3)]
    assert [each.status for each in answers] == [200, 200, 429]


@pytest.mark.parametrize(
    ("setting", "role", "status"),
    [("members", "member", 200), ("members", "readonly", 403), ("all", "readonly", 200), ("none", "member", 403)],
)
async def test_who_may_react(either: Served, setting: str, role: str, status: int) -> None:
    ann, bob, chat = await pair(either)
    changed = await ann.patch(f"/api/v2/chats/{chat}", {"reactions": setting})
    assert changed.status == 200 and changed.json.get("reactions", "members") == setting
    assert (await ann.patch(f"/api/v2/chats/{chat}/members/{bob.id}", {"role": role})).status == 200
    message = await ann.send(chat)
    assert (await bob.put(path(message, HEART))).status == status


async def test_where_nobody_may(either: Served) -> None:
    ann, bob, chat = await pair(either)
    stranger = await either.people.make()
    message = await ann.send(chat)
    assert (await stranger.put(path(message, HEART))).status == 404
    assert (await stranger.get(f"/api/v2/messages/{message['_id']}/reactions?key={HEART}")).status == 404
    await bob.put(path(message, HEART))
    await ann.delete(f"/api/v2/messages/{message['_id']}")
    assert (await bob.put(path(message, HEART))).status == 409
    assert (await bob.put(path(message, "x"))).status == 400


async def replayed(person: Person, chat: str) -> list[Any]:
    """The documents of all events of reactions that a resume replays."""
    known = await person.socket()
    epoch = (await known.event("session:ready"))[0]["epoch"]
    await known.close()
    socket = await person.socket(offsets={f"chat:{chat}": 0}, epoch=epoch)
    await socket.event("session:ready")
    found = [arguments[0] for arguments in socket.named("message:reactions")]
    await socket.close()
    return found


async def test_a_replay_shows_the_newest_state_and_none_of_what_is_deleted(either: Served) -> None:
    ann, bob, chat = await pair(either)
    first, second = await ann.send(chat, "1"), await ann.send(chat, "2")
    socket = await ann.socket()
    for message in (first, second):
        await bob.put(path(message, HEART))
    await ann.put(path(first, THUMB))
    await eventually(lambda: shows(socket, first["_id"], 2) and shows(socket, second["_id"], 1))
    items = [item for document in await replayed(ann, chat) for item in document["items"]]
    assert Counter(each["messageId"] for each in items) == {first["_id"]: 1, second["_id"]: 1}
    assert {each["messageId"]: len(each["reactions"]) for each in items} == {first["_id"]: 2, second["_id"]: 1}
    edited = await ann.patch(f"/api/v2/messages/{first['_id']}", {"content": "edited"})
    assert len(edited.json["reactions"]) == 2, "an edit keeps them"
    payload, _ = await socket.event("message:updated")
    assert "reactions" not in payload
    await ann.delete(f"/api/v2/messages/{first['_id']}")
    documents = await replayed(ann, chat)
    assert {each["messageId"] for document in documents for each in document["items"]} == {second["_id"]}
    assert [] in [document["items"] for document in documents], "an event keeps its place"
    rows = select(reactions.c.user_pk).where(reactions.c.seq == first["seq"])
    assert await either.services.database.read(lambda it: it.execute(rows).all()) == []
    await socket.close()


def shows(socket: Any, message_id: str, kinds: int) -> bool:
    states = [
        item["reactions"]
        for arguments in socket.named("message:reactions")
        for item in arguments[0]["items"]
        if item["messageId"] == message_id
    ]
    return bool(states) and len(states[-1]) == kinds


async def test_who_came_later_hears_nothing_of_messages_before(either: Served) -> None:
    ann, bob, chat = await pair(either)
    old = await ann.send(chat, "before")
    cat = await either.people.make()
    await ann.post(f"/api/v2/chats/{chat}/members", {"userIds": [cat.id]})
    new = await ann.send(chat, "after")
    late, early = await cat.socket(), await ann.socket()
    await bob.put(path(old, HEART))
    await bob.put(path(new, HEART))
    await eventually(lambda: shows(early, old["_id"], 1) and shows(early, new["_id"], 1))
    await eventually(lambda: shows(late, new["_id"], 1))
    assert old["_id"] not in str(late.events)
    assert late.named("channel:skip"), "its place is kept"
    assert (await cat.put(path(old, HEART))).status == 404
    await late.close()
    await early.close()


async def test_of_many_who_reacted_the_first_are_shown(either: Served) -> None:
    ann = await either.people.make()
    others = await either.people.many(22)
    chat = await ann.group(*others)
    message = await ann.send(chat)
    for person in others:
        assert (await person.put(path(message, HEART))).status == 200
    (state,) = (await ann.get(f"/api/v2/messages/{message['_id']}")).json["reactions"]
    assert state["count"] == 22 and state["userIds"] == [each.id for each in others[:20]]
    await others[0].delete(path(message, HEART))
    (state,) = (await ann.get(f"/api/v2/messages/{message['_id']}")).json["reactions"]
    assert state["count"] == 21 and state["userIds"] == [each.id for each in others[1:21]]
    items: list[Any] = []
    cursor = ""
    while True:
        answer = await ann.get(f"/api/v2/messages/{message['_id']}/reactions?key={HEART}&limit=10{cursor}")
        items += answer.json["items"]
        if answer.json["nextCursor"] is None:
            break
        cursor = f"&cursor={answer.json['nextCursor']}"
    assert [each["userId"] for each in items] == [each.id for each in others[1:]]


async def test_many_at_once_end_in_what_the_database_has(either: Served) -> None:
    """Adding and removing race; the last event of each message is its state."""
    ann = await either.people.make()
    others = await either.people.many(8)
    chat = await ann.group(*others)
    sent = [await ann.send(chat, str(number)) for number in range(3)]
    socket = await ann.socket()
    dice = random.Random(1)

    async def play(person: Person) -> None:
        for _ in range(8):
            message, key = dice.choice(sent), dice.choice([HEART, THUMB])
            verb = dice.choice([person.put, person.delete])
            assert (await verb(path(message, key))).status == 200

    await asyncio.gather(*(play(each) for each in others))
    wanted = {name: state or [] for name, state in (await shown(ann, chat)).items()}

    def last() -> dict[str, Any]:
        found: dict[str, Any] = {}
        for arguments in socket.named("message:reactions"):
            found |= {item["messageId"]: item["reactions"] for item in arguments[0]["items"]}
        return {name: found.get(name, []) for name in wanted}

    await eventually(lambda: last() == wanted)
    counted: Counter[tuple[int, str]] = Counter()
    table = reactions
    rows = await either.services.database.read(lambda it: it.execute(select(table.c.seq, table.c.key)).all())
    counted.update((row.seq, row.key) for row in rows)
    stored = await either.services.database.read(
        lambda it: it.execute(select(messages.c.seq, messages.c.id).where(messages.c.reactions.is_not(None))).all()
    )
    by_id = {row.id: row.seq for row in stored}
    summed = {(by_id[name], each["key"]): each["count"] for name, state in wanted.items() for each in state}
    assert summed == dict(counted)
    await socket.close()


async def test_a_window_that_its_process_left_is_ended_by_another(either: Served) -> None:
    """A crash loses the timer, not what is due."""
    ann, bob, chat = await pair(either)
    first, second = await ann.send(chat, "1"), await ann.send(chat, "2")
    work = either.services.due_work
    work.soon = lambda kind, ref, seconds: None  # type: ignore[method-assign]
    socket = await ann.socket()
    await bob.put(path(first, HEART))
    await bob.put(path(second, HEART))
    await eventually(lambda: shows(socket, second["_id"], 1))
    await socket.close()


async def test_who_is_erased_leaves_no_reaction(either: Served) -> None:
    ann, bob, chat = await pair(either)
    message = await ann.send(chat)
    await bob.put(path(message, HEART))
    await ann.put(path(message, HEART))
    assert (await bob.delete("/api/v1/users/me?confirm=self")).status == 200
    await either.services.erasure.work()
    (state,) = (await ann.get(f"/api/v2/messages/{message['_id']}")).json["reactions"]
    assert state == {"key": HEART, "count": 1, "userIds": [ann.id]}


async def test_reactions_without_their_message_are_removed_with_the_user(either: Served) -> None:
    ann, bob, chat = await pair(either)
    message = await ann.send(chat)
    await bob.put(path(message, HEART))
    gone = delete(messages).where(messages.c.id == message["_id"])
    await either.services.database.write(Command(lambda tx: tx.execute(gone)))
    assert (await bob.delete("/api/v1/users/me?confirm=self")).status == 200
    await asyncio.wait_for(either.services.erasure.work(), HANG_SECONDS)
    left = select(reactions.c.user_pk)
    assert await either.services.database.read(lambda it: it.execute(left).all()) == []


async def test_an_export_has_the_reactions_of_a_user(either: Served) -> None:
    ann, bob, chat = await pair(either)
    admin = await either.people.make(permissions=["admin"])
    sent = [await ann.send(chat, str(number)) for number in range(3)]
    for message in sent:
        await bob.put(path(message, HEART))
    answer = await admin.post(f"/api/v1/admin/users/{bob.id}/export")
    lines = [orjson.loads(line) for line in answer.body.splitlines() if line]
    found = [(each["messageId"], each["key"]) for each in lines if each["kind"] == "reaction"]
    assert found == [(each["_id"], HEART) for each in sent]


async def test_events_of_a_chat_keep_no_old_states(either: Served) -> None:
    """Of a message the log has one state, however often it changed."""
    ann, bob, chat = await pair(either)
    message = await ann.send(chat)
    socket = await ann.socket()
    for number in range(4):
        await (bob.put if number % 2 == 0 else bob.delete)(path(message, HEART))
        await ann.put(path(message, f":k{number}:"))
        await eventually(lambda number=number: shows(socket, message["_id"], number + 1 + (number % 2 == 0)))  # type: ignore[misc]
    rows = select(events.c.payload).where(events.c.name == "message:reactions")
    payloads = await either.services.database.read(lambda it: it.execute(rows).scalars().all())
    assert sum(message["_id"] in bytes(each).decode() for each in payloads) == 1
    await socket.close()


async def test_a_tombstone_has_no_reactions_that_waited(either: Served) -> None:
    """Added and taken back while a window was open, and then deleted."""
    ann, bob, chat = await pair(either)
    first, second = await ann.send(chat, "1"), await ann.send(chat, "2")
    socket = await ann.socket()
    await bob.put(path(first, HEART))
    await bob.put(path(second, HEART))
    await bob.delete(path(second, HEART))
    await ann.delete(f"/api/v2/messages/{second['_id']}")
    await bob.put(path(first, THUMB))
    await eventually(lambda: shows(socket, first["_id"], 2))
    assert second["_id"] not in str(await replayed(ann, chat))
    await socket.close()


async def test_what_a_chat_showed_all_is_not_shown_to_who_may_not_see_it_any_more(either: Served) -> None:
    ann, bob, chat = await pair(either, historyVisible="all")
    old = await ann.send(chat)
    cat = await either.people.make()
    await ann.post(f"/api/v2/chats/{chat}/members", {"userIds": [cat.id]})
    await bob.put(path(old, HEART))
    await ann.patch(f"/api/v2/chats/{chat}", {"historyVisible": "joined"})
    assert (await cat.get(f"/api/v2/messages/{old['_id']}")).status == 404
    assert old["_id"] not in str(await replayed(cat, chat))
    assert old["_id"] in str(await replayed(ann, chat))


async def test_a_retried_message_is_answered_as_the_first_time(either: Served) -> None:
    ann, bob, chat = await pair(either)
    message = await ann.send(chat, clientMessageId="k")
    await bob.put(path(message, HEART))
    assert await ann.send(chat, clientMessageId="k") == message


async def test_adding_and_taking_back_at_once(either: Served) -> None:
    """In one batch, too: the answers say what was done last."""
    ann, bob, chat = await pair(either)
    message = await ann.send(chat)
    for _ in range(5):
        await asyncio.gather(*(verb(path(message, HEART)) for verb in (bob.put, bob.delete, bob.put, bob.delete)))
    summed = (await ann.get(f"/api/v2/messages/{message['_id']}")).json.get("reactions", [])
    rows = select(reactions.c.user_pk, reactions.c.key)
    stored = await either.services.database.read(lambda it: it.execute(rows).all())
    assert [each["count"] for each in summed] == [1] * len(stored)


async def test_after_the_stop_nothing_is_begun(server: Served) -> None:
    """A window that ends while the server stops begins no other one."""
    work = server.services.due_work
    await work.stop()
    work.soon("reactions", 1, 0.0)
    assert not work.timers
