"""Searching messages: what is found, in which order, by whom, and that the answer is what a plain scan would give."""

from typing import Any

import pytest

from tests.conftest import Served, ServerFactory
from tests.server.test_threads import MESSAGES, pair, reply
from tests.support.people import Answer, Person

SEARCH = "/api/v2/messages/search"


async def search(person: Person, query: str, **options: Any) -> Answer:
    answer = await person.get(SEARCH, params={"query": query, **options})
    assert answer.status == 200, answer
    return answer


async def found(person: Person, query: str, **options: Any) -> list[str]:
    """Ids, of all pages."""
    ids: list[str] = []
    cursor: dict[str, str] = {}
    while True:
        page = (await search(person, query, **options, **cursor)).json
        ids += [each["message"]["_id"] for each in page["items"]]
        if page["nextCursor"] is None:
            assert len(set(ids)) == len(ids)
            return ids
        cursor = {"cursor": page["nextCursor"]}


async def test_words_in_any_spelling(either: Served) -> None:
    ann, bob, chat = await pair(either)
    first = await ann.send(chat, "Öztürk İzmir'e gitti")
    second = await bob.send(chat, "ISPARTA ve ızgara")
    chinese = await bob.send(chat, "今日は良い天気ですね")
    for query in ("ozturk", "ÖZTÜRK", "izmir", "IZMIR", "ızmir", "İzm", "gitti ozt", '"izmir e"'):
        assert await found(ann, query, chatId=chat) == [first["_id"]], query
    for query in ("ısparta", "isparta", "ISPARTA", "izgara isp"):
        assert await found(ann, query, chatId=chat) == [second["_id"]], query
    assert await found(ann, "天気", chatId=chat) == [chinese["_id"]]
    for query in ("ozt gitti", '"gitti izmir"', "天日", "gitmedi"):
        assert await found(ann, query, chatId=chat) == [], query
    hit = (await search(ann, "gitti oz", chatId=chat)).json
    assert hit["complete"] is True
    assert hit["items"] == [
        {"message": (await ann.get(f"{MESSAGES}/{first['_id']}")).json, "matches": [[0, 2], [15, 5]]}
    ]


async def test_the_order_and_pages(either: Served) -> None:
    ann, bob, quiet = await pair(either)
    busy = await ann.group(bob)
    expected = [(await ann.send(quiet, f"apple {number}"))["_id"] for number in range(7)][::-1]
    expected = [(await ann.send(busy, f"apple {number}"))["_id"] for number in range(7)][::-1] + expected
    assert await found(bob, "apple") == expected
    assert await found(bob, "apple", limit=3) == expected
    assert await found(bob, "apple", chatId=quiet, limit=3) == expected[7:]
    page = (await search(bob, "apple", limit=8)).json
    moved = (await ann.send(quiet, "apple pie"))["_id"]
    rest = (await search(bob, "apple", cursor=page["nextCursor"])).json
    assert [each["message"]["_id"] for each in rest["items"]] == expected[8:], "the order is that of the first page"
    assert (await found(bob, "apple"))[0] == moved


async def test_filters(either: Served) -> None:
    ann, bob, chat = await pair(either)
    of_ann, of_bob = await ann.send(chat, "plum"), await bob.send(chat, "plum")
    assert await found(ann, "plum", **{"from": bob.id}) == [of_bob["_id"]]
    assert await found(ann, "plum", type="media") == []
    assert await found(ann, "plum", type="text", chatId=chat) == [of_bob["_id"], of_ann["_id"]]
    assert await found(ann, "plum", since=of_bob["createdAt"]) == [of_bob["_id"]]
    assert await found(ann, "plum", until=of_ann["createdAt"]) == [of_ann["_id"]]


async def test_edits_and_deletions(either: Served) -> None:
    ann, bob, chat = await pair(either)
    message, root = await ann.send(chat, "cherry"), await bob.send(chat, "root")
    answer = await reply(ann, root, "cherry in a thread")
    assert await found(bob, "cherry") == [answer["_id"], message["_id"]]
    await either.services.indexer.work()
    assert await found(bob, "cherry") == [answer["_id"], message["_id"]]
    assert (await ann.patch(f"{MESSAGES}/{message['_id']}", {"content": "banana"})).status == 200
    assert (await ann.delete(f"{MESSAGES}/{answer['_id']}")).status == 200
    for _ in range(2):
        assert await found(bob, "cherry") == []
        assert await found(bob, "banana") == [message["_id"]]
        await either.services.indexer.work()


async def test_who_finds_what(either: Served) -> None:
    ann, bob, chat = await pair(either)
    cat, stranger = await either.people.many(2)
    early = await ann.send(chat, "secret early")
    await ann.post(f"/api/v2/chats/{chat}/members", {"userIds": [cat.id]})
    late = await ann.send(chat, "secret late")
    for _ in range(2):
        assert await found(bob, "secret") == [late["_id"], early["_id"]]
        assert await found(cat, "secret") == await found(cat, "secret", chatId=chat) == [late["_id"]]
        assert await found(stranger, "secret") == []
        assert (await stranger.get(SEARCH, params={"query": "secret", "chatId": chat})).status == 404
        await either.services.indexer.work()
    await bob.post(f"/api/v2/chats/{chat}/leave")
    assert await found(bob, "secret") == []
    await ann.patch(f"/api/v2/chats/{chat}", {"historyVisible": "all"})
    assert await found(cat, "secret") == [late["_id"], early["_id"]]


@pytest.mark.parametrize("query", ["", " ", "a", '"', '""', "!?", "a" * 257, " ".join(["ab"] * 33), "ı", "天"])
async def test_queries_that_are_refused(server: Served, query: str) -> None:
    ann = await server.people.make()
    answer = await ann.get(SEARCH, params={"query": query})
    assert answer.status == 400, answer


async def test_around(either: Served) -> None:
    ann, bob, chat = await pair(either)
    sent = [await ann.send(chat, str(number)) for number in range(9)]
    other = await bob.send(await ann.group(bob), "elsewhere")

    async def around(number: int, limit: int) -> tuple[list[str], Any, Any]:
        answer = await bob.get(f"{MESSAGES}?chatId={chat}&around={sent[number]['_id']}&limit={limit}")
        assert answer.status == 200, answer
        page = answer.json
        return [each["content"] for each in page["items"]], page["before"], page["after"]

    seqs = [each["seq"] for each in sent]
    assert await around(4, 5) == (["2", "3", "4", "5", "6"], seqs[2], seqs[6])
    assert await around(0, 4) == (["0", "1", "2", "3"], None, seqs[3])
    assert await around(8, 4) == (["7", "8"], seqs[7], None)
    assert await around(4, 1) == (["4"], seqs[4], seqs[4])
    assert await around(4, 200) == ([str(number) for number in range(9)], None, None)
    path = f"{MESSAGES}?chatId={chat}&around="
    assert (await bob.get(path + other["_id"])).status == 404
    assert (await bob.get(path + sent[0]["_id"] + "&before=3")).status == 400


async def test_too_many_searches(serve: ServerFactory) -> None:
    server = await serve(max_searches_per_second=3)
    ann = await server.people.make()
    answers = [await ann.get(SEARCH, params={"query": "apple"}) for _ in range(50)]
    refused = [each for each in answers if each.status == 429]
    assert refused and refused[0].headers["Retry-After"] == "1"
