"""Forwarding: content and file are copied, not where they come from; a file is in the store once."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, update

from storage.models import media, media_usage
from storage.transaction import Command
from tests.conftest import Served
from tests.server.test_media import post
from tests.server.test_threads import MESSAGES, pair
from tests.support.files import voice
from tests.support.people import Person

VOICE = voice()


async def forward(person: Person, message: Any, chat: str, **options: Any) -> Any:
    answer = await person.post(MESSAGES, {"chatId": chat, "forwardOf": message["_id"], **options})
    assert answer.status == 201, answer
    return answer.json


async def test_a_text_is_copied(either: Served) -> None:
    ann, bob, chat = await pair(either)
    there = await bob.group(name="There")
    sent = await ann.send(chat, "hello", metadata={"a": 1}, mentions=[bob.id])
    copy = await forward(bob, sent, there, clientMessageId="k")
    assert (copy["type"], copy["content"], copy["forwarded"], copy["senderId"]) == ("text", "hello", True, bob.id)
    assert not {"metadata", "mentions", "replyTo"} & copy.keys()
    assert sent["_id"] not in str(copy)
    assert "forwarded" not in (await ann.get(f"{MESSAGES}/{sent['_id']}")).json
    await ann.patch(f"{MESSAGES}/{sent['_id']}", {"content": "changed"})
    assert await forward(bob, sent, there, clientMessageId="k") == copy
    assert (await forward(bob, copy, chat))["forwarded"] is True, "a copy is forwarded like any other"
    assert (await forward(bob, sent, there, metadata={"b": 2}, mentions=[]))["content"] == "changed"
    root = await bob.send(there)
    assert (await forward(bob, sent, there, threadId=root["_id"]))["threadId"] == root["_id"]
    answer = await bob.post(MESSAGES, {"targetUserId": ann.id, "forwardOf": sent["_id"]})
    assert answer.json["content"] == "changed", "into a direct chat that is made by it"
    socket = await bob.socket()
    ack = await socket.call("message:send", {"type": "text", "chatId": there, "forwardOf": sent["_id"]})
    assert ack["data"]["forwarded"] is True
    await socket.close()


async def test_what_is_not_forwarded(either: Served) -> None:
    ann, bob, chat = await pair(either)
    there = await bob.group(name="There")
    sent = await ann.send(chat)
    granter = await either.people.make(grant=["credits.grant"])
    await granter.post("/api/v1/credits/grants", {"userId": ann.id, "amount": 5})
    body = {"type": "creditTransfer", "chatId": chat, "targetUserId": bob.id, "creditTransfer": {"amount": 1}}
    transfer = (await ann.post(MESSAGES, body)).json

    async def status(person: Person, **body: Any) -> int:
        return (await person.post(MESSAGES, {"chatId": there, **body})).status

    assert await status(bob, forwardOf=transfer["_id"]) == 409
    assert await status(bob, forwardOf="f" * 24) == 404
    stranger = await either.people.make()
    mine = await stranger.group(name="Mine")
    assert await status(stranger, chatId=mine, forwardOf=sent["_id"]) == 404
    assert await status(ann, forwardOf=sent["_id"]) == 404, "not into a chat of others"
    assert await status(bob, forwardOf=sent["_id"], content="mine") == 400
    assert await status(bob, forwardOf=sent["_id"], type="creditTransfer", creditTransfer={"amount": 1}) == 400
    assert await status(bob, type=None) == 400
    cat = await either.people.make()
    await ann.post(f"/api/v2/chats/{chat}/members", {"userIds": [cat.id]})
    hers = await cat.group(name="Hers")
    assert await status(cat, chatId=hers, forwardOf=sent["_id"]) == 404, "it is older than the joining"
    await ann.delete(f"{MESSAGES}/{sent['_id']}")
    assert await status(bob, forwardOf=sent["_id"]) == 409


async def with_file(person: Person, chat: str) -> Any:
    answer = await post(person, chat, VOICE, "voice.ogg", content="caption")
    assert answer.status == 201, answer
    return answer.json


def stored(server: Served) -> list[str]:
    folder = Path(server.services.settings.data_dir) / "media"
    return [path.name for path in folder.rglob("*") if path.is_file() and path.suffix != ".webp"]


async def used(server: Served) -> dict[int, int]:
    rows = select(media_usage.c.user_pk, media_usage.c.bytes)
    return dict(await server.services.database.read(lambda it: it.execute(rows).all()))


async def sweep(server: Served) -> None:
    soon = update(media).where(media.c.expires_at.is_not(None)).values(expires_at=0)
    await server.services.database.write(Command(lambda tx: tx.execute(soon)))
    await server.services.media.sweep()


@pytest.mark.parametrize("first", ["original", "copy"])
async def test_a_file_is_kept_once_and_goes_with_the_last_message(either: Served, first: str) -> None:
    ann, bob, chat = await pair(either)
    there = await bob.group(name="There")
    original = await with_file(ann, chat)
    copy = await forward(bob, original, there, type="media")
    assert (copy["type"], copy["content"]) == ("media", "caption")
    assert copy["media"]["id"] != original["media"]["id"]
    assert {**copy["media"], "id": 0, "url": 0} == {
        **original["media"], "id": 0, "url": 0,
    }  # fmt: skip
    size = original["media"]["size"]
    assert len(stored(either)) == 1
    assert await used(either) == {0: size, ann.user.pk: size}
    assert (await ann.get(f"/api/v2/media/{copy['media']['id']}")).status == 404, "she is not there"
    owners = {"original": (ann, original), "copy": (bob, copy)}
    gone = owners.pop(first)
    ((person, left),) = owners.values()
    await gone[0].delete(f"{MESSAGES}/{gone[1]['_id']}")
    await sweep(either)
    assert len(stored(either)) == 1
    assert (await gone[0].get(f"/api/v2/media/{gone[1]['media']['id']}")).status == 404
    shown = await person.get(f"/api/v2/media/{left['media']['id']}")
    assert (shown.status, len(shown.body)) == (200, size)
    counted = {pk: bytes for pk, bytes in (await used(either)).items() if bytes}
    assert counted == {0: size, person.user.pk: size}, "its space counts for who has the last one"
    await person.delete(f"{MESSAGES}/{left['_id']}")
    await sweep(either)
    assert stored(either) == []
    assert set((await used(either)).values()) == {0}


async def test_its_space_is_free_when_all_go_at_once(either: Served) -> None:
    ann, bob, chat = await pair(either)
    there = await bob.group(name="There")
    original = await with_file(ann, chat)
    copies = [await forward(bob, original, there) for _ in range(2)]
    await ann.delete(f"{MESSAGES}/{original['_id']}")
    for each in copies:
        await bob.delete(f"{MESSAGES}/{each['_id']}")
    await sweep(either)
    assert stored(either) == []
    assert set((await used(either)).values()) == {0}


async def test_deleted_while_it_is_forwarded(either: Served) -> None:
    """Forwards and the deletion of the original race: each copy that was acknowledged has its file."""
    ann, bob, chat = await pair(either)
    there = await bob.group(name="There")
    for _ in range(10):
        original = await with_file(ann, chat)
        body = {"chatId": there, "forwardOf": original["_id"]}
        *answers, deleted = await asyncio.gather(
            *(bob.post(MESSAGES, body) for _ in range(3)), ann.delete(f"{MESSAGES}/{original['_id']}")
        )
        assert deleted.status == 200
        assert {each.status for each in answers} <= {201, 409}
        await sweep(either)
        for answer in answers:
            if answer.status == 201:
                shown = await bob.get(f"/api/v2/media/{answer.json['media']['id']}")
                assert (shown.status, len(shown.body)) == (200, original["media"]["size"])
                await bob.delete(f"{MESSAGES}/{answer.json['_id']}")
        await sweep(either)
        assert stored(either) == []
