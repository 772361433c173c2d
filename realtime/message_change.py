"""Changing a message that the user can see, with its chat locked."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar

from sqlalchemy import Connection

from realtime.message_places import MessagePlaces
from realtime.schema.caller import Caller
from storage import messages
from storage.access import ACCESS, Access, need_access
from storage.errors import NotFound, Unauthenticated
from storage.messages import MessagePlace
from storage.statements import Read
from storage.transaction import Command, Tx

T = TypeVar("T")


async def change_message(
    places: MessagePlaces,
    caller: Caller,
    message_id: str,
    change: Callable[[Tx, MessagePlace, Access], T],
    *,
    also: Sequence[int] = (),
    reads: Callable[[MessagePlace], Sequence[Read]] = lambda place: (),
    reads_of_member: Callable[[MessagePlace, Access], Sequence[Read]] | None = None,
) -> T:
    """Run ``change`` on a message the caller can see, with its chat locked.

    ``reads``, or what depends on the caller ``reads_of_member``, is what it asks for. Raises NotFound.
    """
    more: Callable[[], Sequence[Read]]
    if reads_of_member is not None:
        place, before = await places.database.read(lambda connection: visible(connection, caller, message_id))
        more = partial(reads_of_member, place, before)
    else:
        known = await places.find(caller.user.tenant_pk, message_id)
        if known is None:
            raise NotFound
        place, more = known, partial(reads, known)

    def apply(tx: Tx) -> T:
        found, access = visible(tx, caller, message_id)
        if access.status != "active":
            raise Unauthenticated
        return change(tx, found, access)

    def announced() -> list[Read]:
        return [
            (messages.WHERE_IS, {"id": message_id, "tenant": caller.user.tenant_pk}),
            (ACCESS, {"chat": place.chat_pk, "user": caller.pk}),
            *more(),
        ]

    return await places.database.write(Command(apply, channels=[place.chat_pk, *also], reads=announced))


def visible(source: Tx | Connection, caller: Caller, message_id: str) -> tuple[MessagePlace, Access]:
    """Where a message is, and what the caller is there. Raises NotFound, for foreign as for absent."""
    place = messages.where_is(source, caller.user.tenant_pk, message_id)
    if place is None:
        raise NotFound
    access = need_access(source, place.chat_pk, caller.pk)
    if place.seq < access.first_seq:
        raise NotFound
    return place, access
