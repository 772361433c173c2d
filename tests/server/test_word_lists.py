"""Word lists: who keeps them, what they refuse and flag, and that another node follows."""

import aiohttp
import pytest

from storage.types import SECOND
from tests.conftest import Served, ServerFactory
from tests.server.test_threads import MESSAGES, pair
from tests.support.people import Answer

LISTS, REPORTS = "/api/v1/admin/word-lists", "/api/v1/admin/reports"


async def test_a_list_is_put_read_and_deleted(either: Served) -> None:
    admin, bob = await either.people.make(grant=["admin"]), await either.people.make()
    body = {"words": ["muddlehead", "Çirkin söz", "muddlehead"], "action": "reject"}
    answer = await admin.put(f"{LISTS}/rude", body)
    assert answer.status == 200
    made = answer.json["data"]
    assert made == {
        "name": "rude",
        "action": "reject",
        "words": ["muddlehead", "Çirkin söz"],
        "updatedAt": made["updatedAt"],
    }
    assert (await admin.get(f"{LISTS}/rude")).json["data"] == made
    again = (await admin.put(f"{LISTS}/rude", body)).json["data"]
    assert again["updatedAt"] >= made["updatedAt"]
    assert (await admin.get(LISTS)).json["data"]["items"] == [again]
    for verb, path in (("GET", LISTS), ("GET", f"{LISTS}/rude"), ("DELETE", f"{LISTS}/rude")):
        assert (await bob.request(verb, path)).status == 403
    assert (await bob.put(f"{LISTS}/rude", body)).status == 403
    assert (await admin.delete(f"{LISTS}/rude")).json["data"] == {"success": True}
    assert (await admin.delete(f"{LISTS}/rude")).status == 200, "what changes nothing is no error"
    assert (await admin.get(f"{LISTS}/rude")).status == 404
    trail = (await admin.get("/api/v1/admin/audit")).json["data"]["items"]
    assert [each["action"] for each in trail[:3]] == ["word-list.delete", "word-list.change", "word-list.change"]


@pytest.mark.parametrize(
    "body",
    [
        {"words": [], "action": "reject"},
        {"words": ["x"], "action": "hide"},
        {"words": ["x" * 65], "action": "flag"},
        {"words": ["!?"], "action": "flag"},
        {"words": ["a b c d e f g h i j k"], "action": "flag"},
        {"words": ["x"]},
        {"words": [str(number) for number in range(5001)], "action": "flag"},
    ],
    ids=["none", "action", "long", "no letters", "many words", "no action", "many"],
)
async def test_bad_lists(server: Served, body: dict[str, object]) -> None:
    admin = await server.people.make(grant=["admin"])
    assert (await admin.put(f"{LISTS}/rude", body)).status == 400
    assert (await admin.put(f"{LISTS}/ru%20de", {"words": ["x"], "action": "flag"})).status == 400


async def test_how_many(serve: ServerFactory) -> None:
    server = await serve(max_word_lists=2)
    admin = await server.people.make(grant=["admin"])
    body = {"words": ["x"], "action": "flag"}
    answers = [await admin.put(f"{LISTS}/l{number}", body) for number in range(3)]
    assert [each.status for each in answers] == [200, 200, 409]
    assert (await admin.put(f"{LISTS}/l0", body)).status == 200, "it is there"


async def test_a_list_is_of_its_tenant(either: Served) -> None:
    admin = await either.people.make(grant=["admin"])
    abroad = await either.people.tenant()
    foreign = await either.people.make(tenant=abroad, grant=["admin"])
    await foreign.put(f"{LISTS}/rude", {"words": ["muddlehead"], "action": "reject"})
    await admin.send(await admin.group(), "muddlehead")
    answer = await foreign.post(MESSAGES, {"type": "text", "chatId": await foreign.group(), "content": "Muddlehead"})
    assert (answer.status, answer.headers["X-Error-Code"]) == (400, "listed_word")
    assert answer.json["details"] == [
        {"field": "content", "message": "contains a word that is not allowed: muddlehead"}
    ]
    assert (await admin.get(f"{LISTS}/rude")).status == 404


async def test_a_used_key_gets_its_answer_also_after_the_word_was_listed(either: Served) -> None:
    admin = await either.people.make(grant=["admin"])
    chat = await admin.group()
    first = await admin.send(chat, "muddlehead", clientMessageId="k")
    await admin.put(f"{LISTS}/rude", {"words": ["muddlehead"], "action": "reject"})
    assert await admin.send(chat, "muddlehead", clientMessageId="k") == first


async def test_flagged_messages_are_reported_without_a_reporter(either: Served) -> None:
    admin = await either.people.make(grant=["admin"])
    ann, bob, chat = await pair(either)
    await admin.put(f"{LISTS}/watched", {"words": ["casino"], "action": "flag"})
    sent = await bob.send(chat, "the Casino is open")
    plain = await bob.send(chat, "plain")
    assert (await bob.patch(f"{MESSAGES}/{plain['_id']}", {"content": "casino"})).status == 200
    assert (await bob.patch(f"{MESSAGES}/{plain['_id']}", {"content": "casino again"})).status == 200
    (second, first) = (await admin.get(REPORTS)).json["data"]["items"]
    assert (first["messageId"], second["messageId"]) == (sent["_id"], plain["_id"])
    assert first["reporterId"] is first["reporter"] is None
    assert (first["reportCount"], first["reason"]) == (0, "Contains words of the lists: watched")
    assert first["message"] == sent
    assert (await ann.post(f"{MESSAGES}/{sent['_id']}/report", {"reason": "spam"})).status == 201
    assert (await admin.get(REPORTS)).json["data"]["items"][0]["reportCount"] == 1


async def test_names_of_files_are_checked_when_posted_and_when_forwarded(either: Served) -> None:
    admin = await either.people.make(grant=["admin"])
    _, bob, chat = await pair(either)

    async def post() -> Answer:
        form = aiohttp.FormData({"type": "media", "chatId": chat})
        form.add_field("file", b"text", filename="muddlehead.txt")
        return await bob.post(MESSAGES, data=form)

    sent = await post()
    assert sent.status == 201
    await admin.put(f"{LISTS}/rude", {"words": ["muddlehead"], "action": "reject"})
    forwarded = await bob.post(MESSAGES, {"type": "text", "chatId": chat, "forwardOf": sent.json["_id"]})
    for answer in (await post(), forwarded):
        assert (answer.status, answer.headers["X-Error-Code"]) == (400, "listed_word"), answer


async def test_another_process_follows(either: Served) -> None:
    """At its next look, which is at most a second later."""
    lists = either.services.word_lists
    admin = await either.people.make(grant=["admin"])
    await admin.put(f"{LISTS}/rude", {"words": ["muddlehead"], "action": "reject"})
    pk = admin.user.tenant_pk
    version = lists.version
    lists.by_tenant, lists.version = {}, (0, 0)
    await lists.refresh()
    assert lists.version == version and version[1] > SECOND
    assert lists.of(pk).find("muddlehead").rejected == "muddlehead"
    await admin.delete(f"{LISTS}/rude")
    assert lists.of(pk).find("muddlehead").rejected is None


async def test_a_reaction_whose_word_was_listed_can_be_taken_back(either: Served) -> None:
    admin = await either.people.make(grant=["admin"])
    ann, bob, chat = await pair(either)
    message = await ann.send(chat, "hello")
    path = f"{MESSAGES}/{message['_id']}/reactions/:muddlehead:"
    assert (await bob.put(path)).status == 200
    await admin.put(f"{LISTS}/rude", {"words": ["muddlehead"], "action": "reject"})
    answer = await ann.put(path)
    assert (answer.status, answer.json["details"][0]["field"]) == (400, "key")
    assert (await bob.delete(path)).json["reactions"] == []
