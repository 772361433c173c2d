"""Messages and what belongs to them, as the wire shows them: one function a document, used by REST, acks and events alike."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

from realtime.schema import message_shapes
from storage import media, messages
from storage.pins import ShownPin
from storage.reactions import OwnReaction, Reactor
from storage.thread_list import ThreadState
from storage.threads import summary_of
from storage.types import iso_time
from storage.words import Span


def optional_time(at: int | None) -> str | None:
    return None if at is None else iso_time(at)


def message(item: messages.Message) -> message_shapes.MessageDocument:
    document: message_shapes.MessageDocument = {
        "_id": item.id,
        "chatId": item.chat_id,
        "senderId": item.sender_id,
        "type": item.type,
        "content": item.content,
        "media": cast("message_shapes.MediaDocument | None", item.media),
        "creditTransfer": None if item.transfer is None else transfer(item.transfer),
        "readBy": list(item.read_by),
        "createdAt": iso_time(item.created_at),
        "updatedAt": iso_time(item.updated_at),
        "seq": item.seq,
        "readCount": item.read_count,
    }
    if item.reply_to is not None:
        document["replyTo"] = item.reply_to
    if item.metadata is not None:
        document["metadata"] = dict(item.metadata)
    if item.deleted_at is not None:
        document["deletedAt"] = iso_time(item.deleted_at)
    if not item.is_plain:
        add_extra(document, item)
    if item.reactions:
        document["reactions"] = reactions(item)
    if item.thread is not None:
        document["thread"] = thread(item)
    return document


def add_extra(document: message_shapes.MessageDocument, item: messages.Message) -> None:
    """What most messages do not have."""
    if item.thread_id is not None:
        document["threadId"] = item.thread_id
        if item.in_chat:
            document["alsoInChat"] = True
    if item.mentions:
        document["mentions"] = [id for _, id in item.mentions]
    if item.mention_all is not None:
        document["mentionAll"] = True
    if item.forwarded and item.deleted_at is None:
        document["forwarded"] = True


def in_event(item: messages.Message) -> message_shapes.MessageDocument:
    """As ``message:new``, ``message:updated`` and ``message:deleted`` have it: reactions and a thread's summary come in
    events of their own.
    """
    return message(replace(item, reactions=(), thread=None))


def thread(root: messages.Message) -> message_shapes.ThreadSummary:
    summary = summary_of(root)
    return {
        "replyCount": summary.reply_count,
        "lastSeq": summary.last_seq,
        "lastAt": optional_time(summary.last_at),
        "participants": list(summary.participants),
    }


def followed_thread(root: messages.Message, state: ThreadState, *, visible: bool) -> message_shapes.ThreadDocument:
    """A thread as one member has it, who may not see a root that is older than their joining."""
    return {
        "chatId": root.chat_id,
        "threadId": root.id,
        "root": message(root) if visible else None,
        "thread": thread(root),
        "following": state.follows,
        "readSeq": state.read_seq,
        "unreadCount": state.unread,
    }


def reactions(item: messages.Message) -> list[message_shapes.ReactionDocument]:
    return [{"key": each["key"], "count": each["count"], "userIds": each["userIds"]} for each in item.reactions]


def reactor(item: Reactor) -> message_shapes.ReactorDocument:
    return {"userId": item.user_id, "name": item.name, "key": item.key, "createdAt": iso_time(item.created_at)}


def own_reaction(item: OwnReaction) -> dict[str, str]:
    return {"messageId": item.message_id, "key": item.key, "createdAt": iso_time(item.created_at)}


def pin_state(message_id: str, until: int | None) -> message_shapes.PinnedDocument:
    return {"messageId": message_id, "until": optional_time(until)}


def pinned_message(item: ShownPin, content: messages.Message) -> message_shapes.PinDocument:
    return {
        "message": message(content),
        "userId": item.user_id,
        "createdAt": iso_time(item.pin.created_at),
        "until": optional_time(item.pin.until),
    }


def hit(item: messages.Message, spans: Sequence[Span]) -> message_shapes.HitDocument:
    return {"message": message(item), "matches": [list(each) for each in spans]}


def media_of(item: media.Media, public_url: str) -> message_shapes.MediaDocument:
    url = f"{public_url}/api/v2/media/{item.id}"
    return {
        "id": item.id,
        "url": url,
        "type": item.kind,
        "name": item.name,
        "size": item.size,
        "duration": item.duration,
        "width": item.width,
        "height": item.height,
        "thumbnail_url": f"{url}/thumbnail" if item.thumbnail else None,
    }


def transfer(item: Mapping[str, Any]) -> message_shapes.TransferDocument:
    document: message_shapes.TransferDocument = {
        "amount": item["amount"],
        "recipientId": item["recipientId"],
        "senderId": item["senderId"],
    }
    if item.get("reversal"):
        document["reversal"] = True
    return document
