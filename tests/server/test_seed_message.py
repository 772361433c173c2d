"""The published example of ``POST /api/v2/messages``, as JSON and as a form, and each of its errors."""

import asyncio
import re
from pathlib import Path
from typing import Any

import aiohttp
import orjson

from tests.conftest import Served
from tests.support.people import Answer, Person

SEED = orjson.loads(Path("tests/seeds/message.json").read_bytes())
REQUEST = SEED["request"]
PATH = "/api/v2/messages"
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


async def provision(server: Served) -> tuple[Person, Person]:
    """The users and the chat of the example, by the names in it."""
    sender = await server.people.make(id="64d15f9e2e6c8f4d5a111111")
    target = await server.people.make(id=REQUEST["targetUserId"])
    await sender.group(target, id=REQUEST["chatId"])
    return sender, target


def check_error(answer: Answer, status: int) -> None:
    assert answer.status == status, answer
    body = answer.json
    assert TIME.fullmatch(body.pop("timestamp"))
    body.pop("details", None)
    assert body == {"isSuccess": False, "statusCode": status, "data": None, "errors": [SEED["errors"][str(status)]]}


def check_document(document: Any, sender: Person) -> None:
    assert {*SEED["answer"], "seq", "readCount"} == {*document}
    assert re.fullmatch("[0-9a-f]{24}", document.pop("_id"))
    assert TIME.fullmatch(document["createdAt"]) and document.pop("createdAt") == document.pop("updatedAt")
    assert document.pop("seq") >= 1
    assert document == {
        "chatId": REQUEST["chatId"],
        "senderId": sender.id,
        "type": "text",
        "content": "Hello there!",
        "media": None,
        "creditTransfer": None,
        "readBy": [],
        "readCount": 0,
    }


async def test_the_example_as_json(either: Served) -> None:
    sender, _ = await provision(either)
    answer = await sender.post(PATH, REQUEST)
    assert answer.status == 201
    check_document(answer.json, sender)


async def test_the_example_as_a_form(server: Served) -> None:
    sender, _ = await provision(server)
    form = aiohttp.FormData(default_to_multipart=True)
    for name, value in REQUEST.items():
        form.add_field(name, value)
    answer = await sender.post(PATH, data=form)
    assert answer.status == 201, answer
    check_document(answer.json, sender)


async def test_a_file_belongs_to_a_media_message(server: Served) -> None:
    sender, _ = await provision(server)
    form = aiohttp.FormData()
    form.add_field("file", b"GIF89a", filename="a.gif")
    for name in ("type", "chatId", "content"):
        form.add_field(name, REQUEST[name])
    check_error(await sender.post(PATH, data=form), 400)


async def test_each_error(server: Served) -> None:
    sender, target = await provision(server)
    stranger = await server.people.make()
    check_error(await sender.post(PATH, {**REQUEST, "type": "letter"}), 400)
    check_error(await sender.post(PATH, {"type": "text", "chatId": REQUEST["chatId"]}), 400)
    check_error(await server.people.anonymous.post(PATH, REQUEST), 401)
    await sender.patch(f"/api/v2/chats/{REQUEST['chatId']}/members/{target.id}", {"role": "readonly"})
    check_error(await target.post(PATH, {**REQUEST, "targetUserId": None}), 403)
    check_error(await sender.post(PATH, {**REQUEST, "chatId": "0" * 24}), 404)
    check_error(await sender.post(PATH, {**REQUEST, "targetUserId": stranger.id}), 404)
    first = await sender.post(PATH, {**REQUEST, "clientMessageId": "one"})
    assert first.status == 201
    check_error(await sender.post(PATH, {**REQUEST, "clientMessageId": "one", "content": "Other"}), 409)


async def test_a_foreign_chat_answers_like_an_absent_one(server: Served) -> None:
    await provision(server)
    stranger = await server.people.make()
    foreign = await stranger.post(PATH, {"type": "text", "chatId": REQUEST["chatId"], "content": "x"})
    absent = await stranger.post(PATH, {"type": "text", "chatId": "f" * 24, "content": "x"})
    assert foreign.status == absent.status == 404
    bodies = [re.sub(rb'"timestamp":"[^"]+"', b"", each.body) for each in (foreign, absent)]
    assert bodies[0] == bodies[1]
    assert {*foreign.headers} == {*absent.headers}


async def test_a_direct_chat_is_found_or_made_by_one_command(either: Served) -> None:
    ann, bob = await either.people.many(2)
    body = {"type": "text", "targetUserId": bob.id, "content": "hi"}
    answers = await asyncio.gather(
        *(ann.post(PATH, body) for _ in range(10)),
        *(bob.post(PATH, {**body, "targetUserId": ann.id}) for _ in range(10)),
    )
    assert [each.status for each in answers] == [201] * 20
    assert len({each.json["chatId"] for each in answers}) == 1
    assert sorted(each.json["seq"] for each in answers) == list(range(1, 21))
    assert (await ann.post(PATH, {**body, "targetUserId": ann.id})).status == 400
    assert (await ann.post(PATH, {**body, "targetUserId": "a" * 24})).status == 404
