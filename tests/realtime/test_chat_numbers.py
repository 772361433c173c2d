"""The numbers of chats, by their ids."""

import pytest

from realtime import chat_numbers
from storage.errors import NotFound
from tests.conftest import Served


async def test_the_numbers_of_as_many_chats_as_are_remembered(server: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chat_numbers, "CACHED_CHATS", 2)
    ann = await server.people.make()
    numbers, tenant = server.services.chats.numbers, ann.user.tenant_pk
    numbers.known.clear()
    chats = [await ann.group() for _ in range(3)]
    found = [await numbers.find(tenant, each) for each in chats]
    assert len({*found}) == 3
    assert [*numbers.known] == [(tenant, chats[1]), (tenant, chats[2])], "the oldest goes"
    assert await numbers.find(tenant, chats[0]) == found[0], "and is found again"
    with pytest.raises(NotFound):
        await numbers.find(tenant, "0" * 24)
    assert len(numbers.known) == 2
