"""Mentions: whom a message mentions, who may mention all, and what a user finds of it."""

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from sqlalchemy import Connection

from realtime.membership import MODERATORS
from realtime.schema import message_documents, message_shapes
from realtime.schema.caller import Caller
from realtime.schema.limits import Limits
from realtime.schema.message_bodies import EditMessage
from storage import mentions, messages, outbox, threads
from storage.access import Access
from storage.database import Database
from storage.errors import Forbidden, TooMany
from storage.mentions import ALL_OF_CHAT, ALL_OF_THREAD
from storage.messages import Message
from storage.statements import Read
from storage.transaction import Tx
from storage.types import SECOND


class Mentioning(NamedTuple):
    """What a body asks for: users by id, without the author, and whether all are mentioned."""

    ids: Sequence[str]
    mention_all: bool


def mentioning(ids: Sequence[str], author_id: str, *, mention_all: bool) -> Mentioning:
    return Mentioning([id for id in dict.fromkeys(ids) if id != author_id], mention_all)


def claim_mention_all(tx: Tx, chat_pk: int, access: Access, limits: Limits, *, in_chat: bool) -> int:
    """Record a mention of all; returns the value of ``Message.mention_all``.

    Raises Forbidden for users who may not, TooMany soon after another one.
    """
    if access.role not in MODERATORS and not (access.is_member and access.member_count <= limits.mention_all_members):
        most = limits.mention_all_members
        raise Forbidden(
            f"Only owners, admins and moderators may mention all members; in a chat of at most {most} members everybody may"
        )
    last = mentions.all_at(tx, chat_pk)
    free_at = 0 if last is None else last + int(limits.mention_all_seconds * SECOND)
    if free_at > tx.now:
        wait = (free_at - tx.now) / SECOND
        raise TooMany(
            f"All members can be mentioned once every {limits.mention_all_seconds:g} s in a chat", retry_after=wait
        )
    mentions.set_all_at(tx, chat_pk)
    return ALL_OF_CHAT if in_chat else ALL_OF_THREAD


def reads_of(chat_pk: int, wanted: Mentioning) -> list[Read]:
    """The queries of ``members_by_id`` and ``claim_mention_all``."""
    return [
        *mentions.reads_of_members(chat_pk, wanted.ids),
        *(mentions.reads_of_all(chat_pk) if wanted.mention_all else []),
    ]


def same_mentions(first: Message, second: Message) -> bool:
    return {pk for pk, _ in first.mentions} == {pk for pk, _ in second.mentions} and (
        first.mention_all == second.mention_all
    )


def with_edited_mentions(
    tx: Tx, item: Message, body: EditMessage, wanted: Mentioning, access: Access, limits: Limits
) -> Message:
    """A message with the mentions of its edit. Raises what ``claim_mention_all`` raises."""
    if body.mentions is not None:
        item = replace(item, mentions=mentions.members_by_id(tx, item.chat_pk, wanted.ids, of_seq=item.seq))
    if body.mentionAll is False:
        return replace(item, mention_all=None)
    if body.mentionAll and item.mention_all is None:
        return replace(item, mention_all=claim_mention_all(tx, item.chat_pk, access, limits, in_chat=item.in_chat))
    return item


def store_edited_mentions(tx: Tx, before: Message, now: Message, event_seq: int) -> None:
    """Write whom an edited message mentions, and push those whom it did not mention before; the edit's event is given."""
    if same_mentions(before, now):
        return
    added = mentions.change(tx, before, now, event_seq)
    known = {pk for pk, _ in before.mentions}
    new = [pk for pk, _ in now.mentions if pk not in known]
    if added or (before.mention_all is None and now.mention_all is not None):
        outbox.promise(tx, "mention", now.chat_pk, event_seq, ref_pk=now.seq)
    if new and now.thread_seq is not None:
        root = messages.get(tx, now.chat_pk, now.thread_seq, with_readers=False)
        if root is not None and root.deleted_at is None:
            for pk in new:
                threads.follow(tx, root, pk, from_seq=now.seq - 1)


class ListedMention(NamedTuple):
    """A message that mentions the user; ``place`` is its time, chat and seq."""

    document: message_shapes.MessageDocument
    place: tuple[int, int, int]


class Mentions:
    def __init__(self, database: Database) -> None:
        self.database = database

    async def of_user(self, caller: Caller, *, before: tuple[int, int, int] | None, limit: int) -> list[ListedMention]:
        """Messages that mention the caller, newest first; ``before`` is the last one's (time, chat, seq)."""

        def look(connection: Connection) -> list[ListedMention]:
            places = mentions.of_user(connection, caller.pk, before=before, limit=limit)
            found = messages.at_places(connection, [place[1:] for place in places])
            shown = {(each.chat_pk, each.seq): each for each in messages.with_readers(connection, found)}
            return [ListedMention(message_documents.message(shown[place[1:]]), place) for place in places]

        return await self.database.read(look, snapshot=True)
