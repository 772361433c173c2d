"""Reactions to messages: who may react, what a message shows of them, and how many events it takes to say so.

A first reaction goes out in its own transaction. What follows in the same chat within a second goes out together at its end.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection

from realtime.due import DueWork
from realtime.fanout.delivery_budget import DeliveryBudget
from realtime.listed_words import NO_WORDS, ListedWords
from realtime.message_change import change_message, visible
from realtime.message_places import MessagePlaces
from realtime.reaction_events import show
from realtime.schema import message_documents, message_shapes
from realtime.schema.caller import Caller
from realtime.schema.limits import Limits
from realtime.speaking import may_speak
from realtime.support.buckets import Buckets
from realtime.word_lists import WordLists
from storage import chat, due, messages, reactions
from storage.access import Access
from storage.database import Database
from storage.errors import Conflict, Forbidden
from storage.messages import Message, MessagePlace
from storage.reactions import Reactor
from storage.statements import Read
from storage.transaction import Command, Tx
from storage.types import SECOND

DUE = "reactions"
WINDOW_SECONDS = 1.0
# Messages of an event.
ITEMS = 50


@dataclass(frozen=True, slots=True)
class Reacted:
    """The answer, and whether the chat's window began with it."""

    document: message_shapes.ReactedDocument
    chat_pk: int
    began: bool = False


class Reactions:
    def __init__(
        self,
        database: Database,
        places: MessagePlaces,
        limits: Limits,
        delivery_budget: DeliveryBudget,
        due_work: DueWork,
        word_lists: WordLists,
    ) -> None:
        self.database = database
        self.places = places
        self.word_lists = word_lists
        self.limits = limits
        self.delivery_budget = delivery_budget
        self.due_work = due_work
        self.reacting = Buckets(limits.reactions_per_second, limits.reactions_per_second, "reactions")
        due_work.add(DUE, self.show_due, in_time=True)

    async def add(self, caller: Caller, message_id: str, key: str) -> message_shapes.ReactedDocument:
        """Raises NotFound, Forbidden, TooMany, Conflict for a deleted message, and where there are too many already."""
        return await self._change(caller, message_id, key, add=True)

    async def remove(self, caller: Caller, message_id: str, key: str) -> message_shapes.ReactedDocument:
        """Raises NotFound, Forbidden, Conflict for a deleted message, TooMany."""
        return await self._change(caller, message_id, key, add=False)

    async def who(self, caller: Caller, message_id: str, *, key: str, after: int, limit: int) -> list[Reactor]:
        """Who reacted to a message with a key. Raises NotFound."""

        def look(connection: Connection) -> list[Reactor]:
            place, _ = visible(connection, caller, message_id)
            return reactions.who(connection, place.chat_pk, place.seq, key=key, after=after, limit=limit)

        return await self.database.read(look)

    async def _change(self, caller: Caller, message_id: str, key: str, *, add: bool) -> message_shapes.ReactedDocument:
        self.reacting.acquire(caller.pk)

        def change(tx: Tx, place: MessagePlace, access: Access) -> Reacted:
            require_reactor(access, key, self.word_lists.of(caller.user.tenant_pk) if add else NO_WORDS)
            item = messages.get(tx, place.chat_pk, place.seq, with_readers=False)
            assert item is not None
            if item.deleted_at is not None:
                raise Conflict("The message was deleted", code="message_deleted")
            mine = reactions.keys_of(tx, place.chat_pk, place.seq, caller.pk)
            if (key in mine) == add:
                return Reacted(answer(item, mine), place.chat_pk)
            if add:
                self._require_room(item, mine, key)
            began = due.find(tx, DUE, place.chat_pk) is None
            if began:
                # What follows in the window makes one event, whose deliveries are counted when they are made.
                self.delivery_budget.admit(place.chat_pk)
            item = reactions.change(tx, item, caller.pk, caller.user.id, key, add=add)
            if began:
                show(tx, [item], restricted=access.type != "room")
                due.schedule(tx, DUE, place.chat_pk, tx.now + int(WINDOW_SECONDS * SECOND))
            left = [*mine, key] if add else [each for each in mine if each != key]
            return Reacted(answer(item, left), place.chat_pk, began)

        def reads(place: MessagePlace) -> Sequence[Read]:
            return [
                *messages.reads_of_get(place, with_readers=False),
                *reactions.reads_of_change(place.chat_pk, place.seq, caller.pk),
                *due.reads_of_find(DUE, place.chat_pk),
            ]

        done = await change_message(self.places, caller, message_id, change, reads=reads)
        if done.began:
            self.due_work.soon(DUE, done.chat_pk, WINDOW_SECONDS)
        return done.document

    def _require_room(self, item: Message, mine: Sequence[str], key: str) -> None:
        if len(mine) >= self.limits.reactions_of_user:
            raise Conflict(
                f"You can react to a message at most {self.limits.reactions_of_user} times", code="limit_reached"
            )
        kinds = {each["key"] for each in item.reactions}
        if key not in kinds and len(kinds) >= self.limits.reactions_of_message:
            raise Conflict(
                f"A message can have at most {self.limits.reactions_of_message} kinds of reactions",
                code="limit_reached",
            )

    async def show_due(self, chat_pk: int) -> None:
        """At the end of a window show what changed in it; without a change the window ends."""
        if await self.database.write(Command(lambda tx: show_changed(tx, chat_pk), channels=[chat_pk])):
            self.due_work.soon(DUE, chat_pk, WINDOW_SECONDS)


def require_reactor(access: Access, key: str, words: ListedWords) -> None:
    """Raises Forbidden where reactions are switched off, and what ``may_speak`` raises.

    Where all may react, readonly members may too.
    """
    if access.reactions == "none":
        raise Forbidden("Reactions are switched off in this chat")
    may_speak(access, key, words, field="key", readonly_may=access.reactions == "all")


def answer(item: Message, mine: Sequence[str]) -> message_shapes.ReactedDocument:
    return {"messageId": item.id, "reactions": message_documents.reactions(item), "mine": list(mine)}


def show_changed(tx: Tx, chat_pk: int) -> bool:
    """Whether a new window begins."""
    at = due.find(tx, DUE, chat_pk)
    if at is None:
        return False
    if at > tx.now + int(WINDOW_SECONDS * SECOND / 10):
        return True
    changed = reactions.to_show(tx.connection(), chat_pk, limit=ITEMS)
    if not changed:
        due.end(tx, DUE, chat_pk)
        return False
    show(tx, changed, restricted=chat.get(tx.connection(), chat_pk).type != "room")
    due.schedule(tx, DUE, chat_pk, tx.now + int(WINDOW_SECONDS * SECOND))
    return True
