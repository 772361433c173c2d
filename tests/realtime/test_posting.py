"""What the sending of a message looks up and locks."""

from realtime.posting import keys_of
from realtime.schema.caller import Caller
from realtime.schema.message_bodies import SendMessage
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
