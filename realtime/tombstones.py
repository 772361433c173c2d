"""Tombstones: what is left of a deleted message, in its place and in every event that has it."""

from dataclasses import replace
from typing import Any

from realtime import replies
from realtime.pins import remove as unpin
from realtime.reaction_events import hide
from realtime.schema import message_documents, message_shapes
from storage import log, media, mentions, messages, outbox, pins, reactions, webhooks
from storage.messages import Message, MessagePlace
from storage.statements import Read
from storage.transaction import Tx


def make_tombstone(tx: Tx, item: Message) -> message_shapes.MessageDocument:
    """Make a tombstone of a message whose chat is locked, in every event that has it."""
    nothing: dict[str, Any] = dict.fromkeys(("content", "media", "metadata", "reply_to", "mention_all"))
    if item.reaction_seq is not None:
        hide(tx, [item])
    item = reactions.clear(tx, item)
    tombstone = replace(item, **nothing, mentions=(), deleted_at=tx.now, updated_at=tx.now)
    messages.store(tx, tombstone)
    document = message_documents.in_event(tombstone)
    log.rewrite(tx, item.chat_pk, [item.seq, *item.edits], document)
    event = log.append(tx, item.chat_pk, "message:deleted", document, about=item.seq)
    mentions.change(tx, item, tombstone, event.seq)
    if item.seq in pins.of_chat(tx, item.chat_pk):
        unpin(tx, item.chat_pk, item.chat_id, [item.seq])
    if item.thread_seq is not None:
        replies.remove(tx, tombstone)
    if item.media is not None:
        media.schedule_removal(tx, item.chat_pk, seq=item.seq)
    outbox.promise_recount(tx, item)
    return message_documents.message(tombstone)


def reads_of_tombstone(place: MessagePlace) -> list[Read]:
    """The queries of ``make_tombstone``."""
    return [
        *outbox.reads_of_recount(place),
        *webhooks.reads_of_promise("message:deleted", place.chat_pk),
        *pins.reads_of_chat(place.chat_pk),
        *replies.reads_of_remove(place),
    ]
