"""What the sending of a message looks up and locks."""

import pytest

from realtime import messages
from realtime.posting import keys_of
from realtime.schema.bodies import SendMessage
from realtime.schema.caller import Caller
from storage.errors import NotFound
from tests.conftest import Served


async def test_a_message_locks_its_key_and_its_file(server: Served) -> None:
    ann = await server.people.make()
    caller = Caller(ann.user, frozenset(), 0, 2**62)
    text = SendMessage(chatId="c" * 24, type="text", content="hello")
    photo = SendMessage(chatId="c" * 24, type="media", file="f" * 24)
    key, file = f"message:{caller.pk}:one", f"media:{'f' * 24}"
    assert (keys_of(caller, text), keys_of(caller, photo)) == ([], [file])
    assert keys_of(caller, text.model_copy(update={"clientMessageId": "one"})) == [key]
    assert keys_of(caller, photo.model_copy(update={"clientMessageId": "one"})) == [key, file]


async def test_the_numbers_of_as_many_chats_as_are_remembered(server: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(messages, "CACHED_CHATS", 2)
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
