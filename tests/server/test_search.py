"""Searching messages: what is found, in which order, by whom, and that the answer is what a plain scan would give."""

import asyncio
import random
from typing import Any

import pytest

from realtime.support.buckets import Buckets
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


async def test_too_many_searches(server: Served) -> None:
    server.services.search.searching = Buckets(1e-6, 3, "searches")
    ann, bob = await server.people.many(2)
    answers = [await ann.get(SEARCH, params={"query": "apple"}) for _ in range(4)]
    assert [each.status for each in answers] == [200, 200, 200, 429]
    assert "At most" in answers[3].json["details"][0]["message"] and int(answers[3].headers["Retry-After"]) > 1
    assert (await bob.get(SEARCH, params={"query": "apple"})).status == 200


HOSTILE = [
    "ab OR cd", "ab NOT cd", "NEAR(ab cd, 2)", "ab*", "^ab",
    "keys:ab", "ab AND", "{keys}: ab", "ab + cd", "- ab", "*ab cd*",
    "ab & cd", "ab | !cd", "ab <-> cd", "ab:*", "!ab", "'ab' & 'cd",
    "ab\\", "\\'ab", "ab'; DROP TABLE messages; --", "ab:A*",
    '"ab', 'ab"', '"" "ab', '"ab""cd"', '""""""', "“ab cd”",
    "ab\x00cd", "\x00\x00\x00", "ab\ncd", "%61%62 ab", "ab%", "a_b ab",
    "(a+)+$ aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!", "(((((((((ab",
    "[ab]{1,99999}", "\u202eab", "\ud55c\uae00", "a" * 256, "ab " * 80,
    "\u0301\u0301\u0301", "ﷺﷺ",
    "ß" * 200, "İ" * 256, "\U0001f468\u200d\U0001f469\u200d\U0001f467" * 20, "1:ab", "999999999:ab",
]  # fmt: skip


async def test_hostile_queries(either: Served) -> None:
    """An answer, or a 400 that says what is wrong: never an error of the database."""
    ann, _, chat = await pair(either)
    for content in ("ab cd", "ab", "a_b"):
        await ann.send(chat, content)
    source = random.Random(3)
    alphabet = "ab \"'*():&|!<->^{}+-\\%_\x00\n今日İ\u0301👍"
    made = ["".join(source.choices(alphabet, k=source.randrange(1, 40))) for _ in range(60)]
    for indexed in range(2):
        for query in [*HOSTILE, *made, " ".join(["ab"] * 10_000), "x" * 100_000]:
            for options in ({"chatId": chat}, {}):
                # What is too long for a URL is refused before it is read.
                answer = await ann.get(SEARCH, params={"query": query, **options})
                assert answer.status in (200, 400, 413, 414), (query[:80], answer)
                assert answer.status == 200 or "query" in answer.body.decode() or len(query) > 8000
        if not indexed:
            await either.services.indexer.work()
    assert len(await found(ann, "ab OR")) == 0
    assert len(await found(ann, "ab")) == 2


async def test_who_leaves_meanwhile_finds_nothing(either: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the look into the index and the reading of the messages."""
    ann, bob, chat = await pair(either)
    await ann.send(chat, "plum")
    index = either.services.indexer.index
    find = index.find

    async def find_and_leave(*wanted: Any, **options: Any) -> Any:
        matches = await find(*wanted, **options)
        await bob.post(f"/api/v2/chats/{chat}/leave")
        return matches

    monkeypatch.setattr(index, "find", find_and_leave)
    assert await found(bob, "plum") == []


async def test_an_index_that_is_far_behind(serve: ServerFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is missing is indexed first; where that takes too long, the client is told when to try again."""
    server = await serve(max_search_candidates=3, max_search_wait=0.05)
    indexer = server.services.indexer
    indexer.stopping = True
    ann, _, chat = await pair(server)
    sent = [(await ann.send(chat, f"plum {number}"))["_id"] for number in range(5)]
    update = indexer.index.update

    async def never(chat_pks: Any) -> set[int]:
        await asyncio.sleep(0.01)
        return set(chat_pks)

    monkeypatch.setattr(indexer.index, "update", never)
    answer = await ann.get(SEARCH, params={"query": "plum"})
    assert (answer.status, answer.headers["Retry-After"]) == (503, "1"), answer
    monkeypatch.setattr(indexer.index, "update", update)
    assert await found(ann, "plum", limit=2) == sent[::-1]
    page = (await search(ann, "plum 4", limit=2)).json
    assert [each["message"]["_id"] for each in page["items"]] == sent[4:]
    page = (await search(ann, "plum", type="media")).json
    assert (page["items"], page["complete"], page["nextCursor"] is None) == ([], False, False), "three were read"


async def test_only_the_most_recent_chats_are_searched(serve: ServerFactory) -> None:
    server = await serve(max_search_chats=2)
    ann = await server.people.make()
    chats = [await ann.group() for _ in range(3)]
    sent = [(await ann.send(chat, "plum"))["_id"] for chat in chats]
    page = (await search(ann, "plum")).json
    assert ([each["message"]["_id"] for each in page["items"]], page["complete"]) == (sent[:0:-1], False)
    assert await found(ann, "plum", chatId=chats[0]) == sent[:1]


async def test_a_viewer_of_a_room_searches_it(either: Served) -> None:
    owner = await either.people.make(grant=["streams.manage"])
    viewer = await either.people.make()
    room = (await owner.post("/api/v2/chats", {"type": "room", "name": "Room"})).json["_id"]
    message = await owner.send(room, "plum")
    assert await found(viewer, "plum", chatId=room) == [message["_id"]]
    assert await found(viewer, "plum") == [], "it is none of their chats"
    assert (await owner.post(f"/api/v2/chats/{room}/members/{viewer.id}/ban", {})).status == 200
    assert (await viewer.get(SEARCH, params={"query": "plum", "chatId": room})).status == 403


async def test_a_call_reads_so_much_text(serve: ServerFactory) -> None:
    """What is left is the next call's; paging still finds everything, and the time is charged to the user."""
    server = await serve(max_search_text=200, max_units_per_second=0.001)
    ann, _, chat = await pair(server)
    sent = await ann.send(chat, "a plum tree")
    for number in range(9):
        await ann.send(chat, f"tree, but no plum in the middle of line {number} " + "x" * 60)
    page = (await search(ann, '"plum tree"')).json
    assert (page["items"], page["complete"]) == ([], False) and page["nextCursor"]
    assert await found(ann, '"plum tree"') == await found(ann, '"plum tree"', chatId=chat, limit=1) == [sent["_id"]]
    left, _ = server.services.budget.users.left[ann.user.pk]
    assert left < server.services.budget.users.burst
