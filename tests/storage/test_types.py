"""Ids: nobody can guess the next one, and nothing depends on their order."""

import time
from collections.abc import Iterator

import pytest

from storage import types
from storage.types import HEX_ID, new_id
from tests.conftest import Served


def test_an_id_contains_its_second_and_nothing_else() -> None:
    before, ids, after = int(time.time()), [new_id() for _ in range(1000)], int(time.time())
    assert all(HEX_ID.fullmatch(each) and before <= int(each[:8], 16) <= after for each in ids)
    rest = [each[8:] for each in ids]
    assert rest != sorted(rest)
    # Each of the 16 digits takes every value: none belongs to a process or a counter.
    assert all(len({each[at] for each in rest}) == 16 for at in range(16))


async def test_an_id_that_somebody_chose_before_is_not_made(either: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever occupies ids keeps nobody from making users, groups, first messages and streams."""
    ann = await either.people.make(grant=["admin"])
    bob = await either.people.make()
    chosen, free = ["a" * 24, "b" * 24, "c" * 24], iter([f"{number:024x}" for number in range(1, 100)])
    group = {"type": "group", "name": "Group", "memberIds": []}
    assert (await ann.post("/api/v2/chats", {**group, "id": chosen[0]})).status == 201
    stream = {"title": "Match", "startsAt": "2999-01-01T20:00:00Z"}
    assert (await ann.post("/api/v1/streams", {**stream, "id": chosen[1]})).status == 201
    assert (await ann.post("/api/v1/users", {"name": "User", "id": chosen[2]})).status == 201

    def guessed() -> Iterator[str]:
        yield from chosen
        yield from free

    for path, body in (
        ("/api/v2/chats", group),
        ("/api/v2/messages", {"type": "text", "targetUserId": bob.id, "content": "hello"}),
        ("/api/v1/streams", stream),
        ("/api/v1/users", {"name": "User"}),
    ):
        ids = guessed()
        monkeypatch.setattr(types, "new_id", lambda ids=ids: next(ids))
        answer = await ann.post(path, body)
        assert answer.status == 201, (path, answer)
