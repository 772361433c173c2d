"""Pinned messages: who may pin, how many, and what ends by itself. An event says only that the pins of a chat changed."""

from collections.abc import Sequence

from sqlalchemy import Connection

from realtime.chat_numbers import ChatNumbers
from realtime.due import DueWork
from realtime.fanout.delivery_budget import DeliveryBudget
from realtime.membership import MODERATORS, append_updated, require_member
from realtime.message_change import change_message
from realtime.message_places import MessagePlaces
from realtime.schema import message_documents, message_shapes
from realtime.schema.caller import Caller
from realtime.schema.limits import Limits
from storage import chat, due, messages, pins
from storage.access import Access, need_access
from storage.database import Database
from storage.errors import Conflict, Forbidden, Invalid
from storage.messages import MessagePlace
from storage.pins import Pin
from storage.statements import Read
from storage.transaction import Command, Tx, clock

DUE = "pins"


class Pins:
    def __init__(
        self,
        database: Database,
        numbers: ChatNumbers,
        places: MessagePlaces,
        limits: Limits,
        delivery_budget: DeliveryBudget,
        due_work: DueWork,
    ) -> None:
        self.database = database
        self.numbers = numbers
        self.places = places
        self.limits = limits
        self.delivery_budget = delivery_budget
        self.due_work = due_work
        due_work.add(DUE, self.end_due)

    async def of_chat(self, caller: Caller, chat_id: str) -> list[message_shapes.PinDocument]:
        """Those that the caller may see, the latest pinned first. Raises NotFound."""
        pk = await self.numbers.find(caller.user.tenant_pk, chat_id)

        def look(connection: Connection) -> list[message_shapes.PinDocument]:
            access = need_access(connection, pk, caller.pk)
            found = pins.shown(connection, pk, first=access.first_seq, at=clock(connection))
            items = messages.at_places(connection, [(pk, each.pin.seq) for each in found])
            by_seq = {each.seq: each for each in messages.with_readers(connection, items)}
            return [message_documents.pinned_message(each, by_seq[each.pin.seq]) for each in found]

        return await self.database.read(look, snapshot=True)

    async def pin(self, caller: Caller, message_id: str, until: int | None) -> message_shapes.PinnedDocument:
        """Pin until a time (microseconds), or without an end; pinning again changes the end.

        Raises NotFound, Forbidden, Invalid for a time that has passed, Conflict for a deleted message and where there are too
        many, TooMany while the chat gets too much.
        """

        def change(tx: Tx, place: MessagePlace, access: Access) -> message_shapes.PinnedDocument:
            require_pinner(access)
            if until is not None and until <= tx.now:
                raise Invalid.field("until", "must be a time in the future, or null for no end")
            item = messages.get(tx, place.chat_pk, place.seq, with_readers=False)
            assert item is not None
            if item.deleted_at is not None:
                raise Conflict("The message was deleted", code="message_deleted")
            known = [each for each in pins.of_chat(tx, place.chat_pk).values() if is_pinned(each, tx.now)]
            old = next((each for each in known if each.seq == place.seq), None)
            if old is None and len(known) >= self.limits.pins:
                raise Conflict(f"A chat can have at most {self.limits.pins} pinned messages", code="limit_reached")
            if old is None or old.until != until:
                self.delivery_budget.admit(place.chat_pk)
                created_at = tx.now if old is None else old.created_at
                pins.put(tx, place.chat_pk, Pin(place.seq, caller.pk, until, created_at))
                append_updated(tx, place.chat_pk, access.chat_id, changes={"pins": True})
                if until is not None:
                    self._schedule(tx, place.chat_pk, until)
            return message_documents.pin_state(message_id, until)

        return await change_message(self.places, caller, message_id, change, reads=reads_of_change)

    async def unpin(self, caller: Caller, message_id: str) -> None:
        """Raises NotFound, Forbidden, TooMany."""

        def change(tx: Tx, place: MessagePlace, access: Access) -> None:
            require_pinner(access)
            if place.seq in pins.of_chat(tx, place.chat_pk):
                self.delivery_budget.admit(place.chat_pk)
                remove(tx, place.chat_pk, access.chat_id, [place.seq])

        await change_message(self.places, caller, message_id, change, reads=reads_of_change)

    def _schedule(self, tx: Tx, chat_pk: int, until: int) -> None:
        """The end of a pin; the earliest one of a chat is due."""
        known = due.find(tx, DUE, chat_pk)
        if known is None or until < known:
            due.schedule(tx, DUE, chat_pk, until)

    async def end_due(self, chat_pk: int) -> None:
        """End the pins of a chat whose time is over."""

        def apply(tx: Tx) -> None:
            known = pins.of_chat(tx, chat_pk).values()
            over = [each.seq for each in known if not is_pinned(each, tx.now)]
            if over:
                remove(tx, chat_pk, chat.get(tx.connection(), chat_pk).id, over)
            times = [each.until for each in known if each.until is not None and each.seq not in over]
            if times:
                due.schedule(tx, DUE, chat_pk, min(times))
            else:
                due.end(tx, DUE, chat_pk)

        await self.database.write(Command(apply, channels=[chat_pk]))


def is_pinned(pin: Pin, at: int) -> bool:
    return pin.until is None or pin.until > at


def require_pinner(access: Access) -> None:
    """Raises Forbidden for users who may not pin, or whom the other one of a direct chat blocks."""
    require_member(access)
    if access.blocked:
        raise Forbidden
    if access.type != "direct" and access.role not in MODERATORS:
        raise Forbidden("Only owners, admins and moderators may pin and unpin messages")


def remove(tx: Tx, chat_pk: int, chat_id: str, seqs: Sequence[int]) -> None:
    for seq in seqs:
        pins.remove(tx, chat_pk, seq)
    append_updated(tx, chat_pk, chat_id, changes={"pins": True})


def reads_of_change(place: MessagePlace) -> Sequence[Read]:
    return [
        *messages.reads_of_get(place, with_readers=False),
        *pins.reads_of_chat(place.chat_pk),
        *due.reads_of_find(DUE, place.chat_pk),
    ]
