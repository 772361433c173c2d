"""Replies in threads, in a transaction that holds the chat: what takes replies, and what a reply changes of its thread."""

from collections.abc import Sequence

from realtime.schema import message_documents, message_shapes
from realtime.schema.caller import Caller
from storage import log, messages, outbox, threads
from storage.access import Access
from storage.errors import Conflict, Invalid, NotFound
from storage.messages import Message, MessagePlace
from storage.readers import ReaderRow
from storage.statements import Read
from storage.transaction import Tx

ABSENT = "threadId does not name a message of this chat"


def require_root(tx: Tx, place: MessagePlace, access: Access, chat_pk: int) -> Message:
    """The message at a place, that is to get a reply.

    Raises NotFound where it is in another chat, or nothing of its thread is visible to the user; Invalid for a reply, and
    Conflict for a deleted message.
    """
    root = messages.get(tx, place.chat_pk, place.seq, with_readers=False) if place.chat_pk == chat_pk else None
    if root is None or not is_visible(root, access):
        raise NotFound(ABSENT)
    if root.thread_id is not None:
        raise Invalid.field("threadId", f"names a reply; the message that began its thread is {root.thread_id}")
    if root.deleted_at is not None:
        raise Conflict("The message that began the thread was deleted", code="message_deleted")
    return root


def is_visible(root: Message, access: Access) -> bool:
    """Whether a user may see the root of a thread, or one of its replies."""
    return max(root.seq, threads.summary_of(root).last_seq) >= access.first_seq


def add(tx: Tx, root: Message, reply: Message, *, is_member: bool) -> None:
    """What a reply that was just posted changes. With the first one the author of the root follows the thread; so does whom
    a reply mentions.
    """
    if root.thread is None and root.sender_pk != reply.sender_pk and threads.author_is_member(tx, root):
        threads.follow(tx, root, root.sender_pk)
    for user_pk, _ in reply.mentions:
        threads.follow(tx, root, user_pk)
    show(tx, threads.add_reply(tx, root, reply, is_member=is_member))


def reads_of_add(place: MessagePlace, user_pk: int, mentioned_pks: Sequence[int]) -> Sequence[Read]:
    """The queries of ``require_root`` and ``add``."""
    chat_pk, author_pk = place.chat_pk, place.sender_pk
    return [
        *messages.reads_of_get(place, with_readers=False),
        *threads.reads_of_member(chat_pk, place.seq, {user_pk, author_pk, *mentioned_pks}),
        (threads.AUTHOR_IN_CHAT, {"chat": chat_pk, "user": author_pk}),
        (messages.NEWEST_IN_CHAT, {"chat": chat_pk}),
    ]


def reads_of_followers(place: MessagePlace, user_pks: Sequence[int]) -> Sequence[Read]:
    """What is asked for where users follow the thread of a reply that is there already."""
    if place.thread_seq is None:
        return []
    root = place._replace(seq=place.thread_seq)
    return [
        *messages.reads_of_get(root, with_readers=False),
        *threads.reads_of_member(place.chat_pk, place.thread_seq, user_pks),
    ]


def remove(tx: Tx, reply: Message) -> None:
    """What the deletion of a reply changes; its tombstone waits to be written."""
    assert reply.thread_seq is not None
    root = messages.get(tx, reply.chat_pk, reply.thread_seq, with_readers=False)
    if root is not None:
        show(tx, threads.remove_reply(tx, root, reply))


def reads_of_remove(place: MessagePlace) -> Sequence[Read]:
    """The queries of ``remove``, but for a thread's last reply, and for the last one of a participant."""
    return reads_of_followers(place, [place.sender_pk])


def mark_read(
    tx: Tx, caller: Caller, message_id: str, place: MessagePlace, access: Access
) -> message_shapes.ReadDocument:
    """Move the caller's read position in the thread of a reply."""
    assert place.thread_seq is not None
    assert place.thread_id is not None
    reader = ReaderRow(caller.pk, caller.user.id, access.joined_seq, place.seq)
    before = threads.member(tx, place.chat_pk, place.thread_seq, caller.pk)
    read_seq = threads.mark_read(tx, (place.chat_pk, place.thread_seq), reader)
    if before is None or read_seq > before.read_seq:
        event = {"chatId": access.chat_id, "threadId": place.thread_id, "readSeq": read_seq}
        log.append(tx, caller.pk, "thread:read", event)
        outbox.promise_badge(tx, caller.pk, exclude_device=caller.device)
    return {
        "chatId": access.chat_id,
        "userId": caller.user.id,
        "messageId": message_id,
        "readSeq": read_seq,
        "threadId": place.thread_id,
    }


def show(tx: Tx, root: Message) -> None:
    """Append the summary of a thread, for who may see its root."""
    document = {"chatId": root.chat_id, "threadId": root.id, "thread": message_documents.thread(root)}
    log.append(tx, root.chat_pk, "message:thread", document, about=root.seq)
