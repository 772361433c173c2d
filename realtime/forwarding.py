"""Forwarding: a message with the content and the file of another one, in a transaction that holds both chats."""

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import Connection

from realtime.message_change import visible
from realtime.schema.caller import Caller
from storage import media, messages
from storage.access import ACCESS
from storage.errors import Conflict, NotFound, Restricted
from storage.media import Media
from storage.messages import Message, MessagePlace
from storage.statements import Read
from storage.transaction import Tx

ABSENT = "forwardOf does not name a message that you can see"


class Source(NamedTuple):
    """Where the message is that is forwarded, the id of its file, if it has one, and how many characters its text has."""

    place: MessagePlace
    file_id: str | None
    length: int


def find(connection: Connection, caller: Caller, message_id: str) -> Source | None:
    """Before the locks are taken; None for what the user can't see."""
    try:
        place, _ = visible(connection, caller, message_id)
    except (NotFound, Restricted):
        return None
    item = messages.get(connection, place.chat_pk, place.seq, with_readers=False)
    return Source(place, file_of(item), len(item.content or "")) if item else None


def file_of(item: Message) -> str | None:
    return None if item.media is None else str(item.media["id"])


def require(tx: Tx, caller: Caller, message_id: str) -> tuple[Message, Media | None]:
    """The message that is to be forwarded, and its file.

    Raises NotFound and Restricted for users who can't see it, Conflict for a transfer, for a deleted message, and where its
    file is gone.
    """
    place, _ = visible(tx, caller, message_id)
    item = messages.get(tx, place.chat_pk, place.seq, with_readers=False)
    if item is None:
        raise NotFound(ABSENT)
    if item.deleted_at is not None:
        raise Conflict("The message was deleted", code="message_deleted")
    if item.transfer is not None:
        raise Conflict("A transfer cannot be forwarded", code="transfer_final")
    file_id = file_of(item)
    file = None if file_id is None else media.find(tx, file_id)
    if file_id is not None and (file is None or file.state != "sent"):
        raise Conflict("The file of the message is gone")
    return item, file


def reads_of(caller: Caller, message_id: str, source: Source) -> Sequence[Read]:
    """The queries of ``require``."""
    reads: list[Read] = [
        (messages.WHERE_IS, {"id": message_id, "tenant": caller.user.tenant_pk}),
        (ACCESS, {"chat": source.place.chat_pk, "user": caller.pk}),
        *messages.reads_of_get(source.place, with_readers=False),
    ]
    return reads if source.file_id is None else [*reads, *media.reads_of_find(source.file_id)]
