"""Whom replies and mentions are pushed to, and what the push says, over a double of Apple."""

import pytest

from push.doubles.apns import Apple
from push.doubles.apple_connection import ApnsPush
from tests.conftest import Served, ServerFactory
from tests.support.people import Person
from tests.support.pushing import due_now, phone, quiet

MESSAGES = "/api/v2/messages"


async def people_of(server: Served, *names: str) -> list[Person]:
    """Each with a phone of their name."""
    found = [await server.people.make(name) for name in names]
    for name, person in zip(names, found, strict=True):
        await phone(person, name)
    return found


async def taken(server: Served, apple: Apple) -> list[ApnsPush]:
    """The alerts that came since the call before."""
    await due_now(server)
    await quiet(server)
    found = [push for push in apple.good if "alert" in push.payload["aps"]]
    apple.pushes.clear()
    return sorted(found, key=lambda push: push.token)


def subtitles(pushes: list[ApnsPush]) -> dict[str, str]:
    return {push.token: push.payload["aps"]["alert"]["subtitle"] for push in pushes}


async def test_replies_are_pushed_to_followers_alone(database_url: str, apple: Apple, start: ServerFactory) -> None:
    server = await start(database_url=database_url)
    ann, bob, cat, dan = await people_of(server, "Ann", "Bob", "Cat", "Dan")
    chat = await ann.group(bob, cat, dan)
    root = await ann.send(chat, "root")
    await taken(server, apple)
    reply = await bob.send(chat, "reply", threadId=root["_id"])
    (push,) = await taken(server, apple)
    assert push.token == "Ann"
    assert push.payload["threadId"] == root["_id"]
    assert push.payload["aps"]["badge"] == 1
    await cat.post(f"{MESSAGES}/{root['_id']}/thread/follow")
    await ann.send(chat, "again", threadId=root["_id"])
    pushes = await taken(server, apple)
    assert [each.token for each in pushes] == ["Bob", "Cat"]
    assert [each.payload["aps"]["badge"] for each in pushes] == [2, 2], "the root and a reply"
    both = await dan.send(chat, "for all", threadId=root["_id"], alsoInChat=True)
    assert [each.token for each in await taken(server, apple)] == ["Ann", "Bob", "Cat"]
    await ann.post(f"{MESSAGES}/{reply['_id']}/read")
    await ann.post(f"{MESSAGES}/{both['_id']}/read")
    await ann.post(f"{MESSAGES}/{root['_id']}/thread/unfollow")
    await cat.send(chat, "more", threadId=root["_id"])
    assert [each.token for each in await taken(server, apple)] == ["Bob", "Dan"]


async def test_a_deletion_changes_the_badges_of_those_who_had_not_read_it(
    database_url: str, apple: Apple, start: ServerFactory
) -> None:
    server = await start(database_url=database_url)
    ann, bob, cat = await people_of(server, "Ann", "Bob", "Cat")
    chat = await ann.group(bob, cat)
    root = await ann.send(chat, "root")
    old = await bob.send(chat, "old", threadId=root["_id"])
    await cat.post(f"{MESSAGES}/{root['_id']}/thread/follow")
    other = await bob.send(chat, "other", threadId=root["_id"])
    await ann.post(f"{MESSAGES}/{other['_id']}/read")
    gone = await bob.send(chat, "gone")
    await ann.post(f"{MESSAGES}/{gone['_id']}/read")
    await taken(server, apple)

    async def badges() -> dict[str, int]:
        await due_now(server)
        await quiet(server)
        found = {push.token: push.payload["aps"]["badge"] for push in apple.good}
        apple.pushes.clear()
        return found

    await bob.delete(f"{MESSAGES}/{gone['_id']}")
    assert await badges() == {"Cat": 2}, "Ann has read it, and all of the thread"
    await bob.delete(f"{MESSAGES}/{other['_id']}")
    assert await badges() == {"Cat": 1}
    await bob.delete(f"{MESSAGES}/{old['_id']}")
    assert await badges() == {}, "all had read it"


@pytest.mark.parametrize("in_thread", [False, True])
async def test_a_mention_passes_a_mute(database_url: str, apple: Apple, start: ServerFactory, in_thread: bool) -> None:
    server = await start(database_url=database_url, max_mention_all_seconds=0)
    ann, bob, cat, dan, eve = await people_of(server, "Ann", "Bob", "Cat", "Dan", "Eve")
    chat = await ann.group(bob, cat, dan, eve)
    where = {}
    if in_thread:
        where = {"threadId": (await ann.send(chat, "root"))["_id"]}
        for each in (bob, cat, dan, eve):
            await each.post(f"{MESSAGES}/{where['threadId']}/thread/follow")
    until = "2099-01-01T00:00:00Z"
    await bob.post(f"/api/v2/chats/{chat}/mute", {"until": until})
    await cat.post(f"/api/v2/chats/{chat}/mute", {"until": until, "level": "none"})
    await eve.post("/api/v1/users/me/blocks", {"userId": ann.id})
    await taken(server, apple)
    await ann.send(chat, "plain", **where)
    assert subtitles(await taken(server, apple)) == {"Dan": "Ann"}
    named = await ann.send(chat, "named", mentions=[bob.id, cat.id, eve.id], **where)
    assert named["mentions"] == [bob.id, cat.id, eve.id], "a block is not betrayed"
    pushes = await taken(server, apple)
    assert subtitles(pushes) == {"Bob": "Ann mentioned you", "Dan": "Ann"}
    assert pushes[0].payload["mention"] == "you"
    await ann.send(chat, "all", mentionAll=True, **where)
    assert subtitles(await taken(server, apple)) == {
        "Bob": "Ann mentioned everyone", "Dan": "Ann mentioned everyone",
    }  # fmt: skip


async def test_an_edit_pushes_whom_it_mentions_anew(database_url: str, apple: Apple, start: ServerFactory) -> None:
    server = await start(database_url=database_url, max_mention_all_seconds=0)
    ann, bob, cat = await people_of(server, "Ann", "Bob", "Cat")
    chat = await ann.group(bob, cat)
    sent = await ann.send(chat, "text", mentions=[bob.id])
    assert subtitles(await taken(server, apple)) == {"Bob": "Ann mentioned you", "Cat": "Ann"}
    path = f"{MESSAGES}/{sent['_id']}"
    await ann.patch(path, {"content": "text", "mentions": [bob.id, cat.id]})
    (push,) = await taken(server, apple)
    assert subtitles([push]) == {"Cat": "Ann mentioned you"}
    assert push.collapse_id != sent["_id"], "it is shown beside the message"
    await ann.patch(path, {"content": "text", "mentions": [bob.id]})
    assert await taken(server, apple) == []
    await bob.post(f"{path}/read")
    await ann.patch(path, {"content": "text", "mentionAll": True})
    assert subtitles(await taken(server, apple)) == {"Cat": "Ann mentioned everyone"}
    later = await ann.send(chat, "another")
    await taken(server, apple)
    path = f"{MESSAGES}/{later['_id']}"
    await ann.patch(path, {"content": "another", "mentionAll": True})
    await ann.patch(path, {"content": "another", "mentionAll": False, "mentions": [cat.id]})
    assert subtitles(await taken(server, apple)) == {"Cat": "Ann mentioned you"}, "all, and then one of them"


async def test_in_the_language_of_the_device(apple: Apple, start: ServerFactory) -> None:
    server = await start(push_content=False)
    ann, bob = await server.people.make("Ann"), await server.people.make("Bob")
    await phone(bob, "tr", locale="tr-TR")
    chat = await ann.group(bob)
    await ann.send(chat, mentions=[bob.id])
    (push,) = await taken(server, apple)
    assert push.payload["aps"]["alert"] == {"title": "Bir mesajda etiketlendiniz"}
