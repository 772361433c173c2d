"""Posting a message, in a transaction that holds the chat: text, a file, or credits. One key, one message."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import orjson
from sqlalchemy import Connection

from realtime import forwarding, idempotency, mentions, replies
from realtime.credits import pay, require_recipient
from realtime.fanout.delivery_budget import DeliveryBudget
from realtime.forwarding import Source
from realtime.listed_words import NO_WORDS, ListedWords
from realtime.media import one
from realtime.mentions import Mentioning
from realtime.reporting import flag
from realtime.schema import message_documents, message_shapes
from realtime.schema.caller import Caller
from realtime.schema.limits import Limits
from realtime.schema.message_bodies import SendMessage
from realtime.speaking import is_slowed, may_speak
from storage import accounts, chat, last_posts, log, media, messages, outbox, readers, unread, webhooks
from storage import mentions as mention_rows
from storage.access import ACCESS, need_access
from storage.errors import NotFound, Unauthenticated
from storage.media import Media
from storage.mentions import Mentioned
from storage.messages import Message, MessagePlace
from storage.statements import Read
from storage.transaction import Tx, clock
from storage.types import new_id

Answer = orjson.Fragment | message_shapes.MessageDocument


class Posting(NamedTuple):
    """What is known before a message is posted: ``recipient`` of a transfer, ``root`` of the thread it replies in, of a
    reply the numbers of whom it mentions, and the ``source`` of what it forwards.
    """

    caller: Caller
    body: SendMessage
    chat_pk: int
    recipient: accounts.User | None = None
    root: MessagePlace | None = None
    mentioned_pks: Sequence[int] = ()
    source: Source | None = None
    # Of the caller's tenant.
    words: ListedWords = NO_WORDS

    @property
    def mentioning(self) -> Mentioning:
        body = self.body
        return mentions.mentioning(body.mentions or (), self.caller.user.id, mention_all=body.mentionAll)


def post(tx: Tx, posting: Posting, limits: Limits, public_url: str, delivery_budget: DeliveryBudget) -> Answer:
    """Post into a chat whose channel is locked; the answer is the very bytes that the event carries.

    A transfer moves the credits too, from the caller to ``recipient``, who are both locked; so is the file of a media
    message, whose URLs begin with ``public_url``. Raises TooMany while its ``delivery_budget`` is spent.
    """
    caller, body, chat_pk = posting.caller, posting.body, posting.chat_pk
    access = need_access(tx, chat_pk, caller.pk)
    if access.status != "active":
        raise Unauthenticated
    file = None if body.file is None else media.find(tx.connection(), body.file)
    key, fingerprint = body.clientMessageId, None
    if key is not None:
        fingerprint = fingerprint_of(body, file.hash if file else None)
        first = messages.by_key(tx, caller.pk, key)
        if first is not None:
            # A second upload of the same file, which was not sent, may have been removed already.
            if not (body.file and file is None and first.chat_pk == chat_pk):
                idempotency.require_same(first.fingerprint, fingerprint)
            return first_answer(tx, first.chat_pk, first.seq)
    flagged_by = may_speak(access, text_of(body.content, file), posting.words, posts_at=tx.now)
    delivery_budget.admit(chat_pk)
    if body.targetUserId is not None and body.chatId is not None:
        target = accounts.find(tx.connection(), caller.user.tenant_pk, id=body.targetUserId)
        if target is None or not chat.known_members(tx.connection(), chat_pk, [target.pk]):
            raise NotFound
    if body.replyTo is not None:
        place = messages.where_is(tx, caller.user.tenant_pk, body.replyTo)
        if place is None or place.chat_pk != chat_pk or place.seq < access.first_seq:
            raise NotFound("replyTo does not name a message of this chat")
    root = None
    if body.threadId is not None:
        if posting.root is None:
            raise NotFound(replies.ABSENT)
        root = replies.require_root(tx, posting.root, access, chat_pk)
    in_chat = root is None or body.alsoInChat
    mentioned: Sequence[Mentioned] = ()
    if body.mentions:
        mentioned = mention_rows.members_by_id(tx, chat_pk, posting.mentioning.ids)
    mention_all = None
    if body.mentionAll:
        mention_all = mentions.claim_mention_all(tx, chat_pk, access, limits, in_chat=in_chat)
    original, original_file = None, None
    if body.forwardOf is not None:
        if posting.source is None:
            raise NotFound(forwarding.ABSENT)
        original, original_file = forwarding.require(tx, caller, body.forwardOf)
        flagged_by = may_speak(access, text_of(original.content, original_file), posting.words)
    id, transfer = new_id(), None
    if body.credits is not None:
        recipient = require_recipient(tx, caller, body, chat_pk, posting.recipient)
        pay(tx, caller.user, recipient, body.credits, message_id=id, creator_pk=caller.pk)
        transfer = {"amount": body.credits, "recipientId": recipient.id, "senderId": caller.user.id}
    if body.file is not None and (file is None or file.owner_pk != caller.pk or file.state != "ready"):
        raise NotFound("file does not name an upload of yours that can be sent")
    seq, channel = tx.next_seq(chat_pk)
    if file is not None:
        media.send(tx, file.id, chat_pk, seq)
    if original_file is not None:
        file = media.copy(tx, original_file, id=new_id(), owner_pk=caller.pk, chat_pk=chat_pk, seq=seq)
    message = Message(
        chat_pk=chat_pk,
        chat_id=access.chat_id,
        seq=seq,
        id=id,
        sender_pk=caller.pk,
        sender_id=caller.user.id,
        type=original.type if original else body.type,
        content=original.content if original else body.content,
        reply_to=body.replyTo,
        metadata=body.metadata,
        created_at=tx.now,
        updated_at=tx.now,
        deleted_at=None,
        media=None if file is None else message_documents.media_of(file, public_url),
        transfer=transfer,
        thread_seq=root.seq if root else None,
        thread_id=root.id if root else None,
        previous_seq=None if in_chat else messages.newest_in_chat(tx, chat_pk),
        mentions=mentioned,
        mention_all=mention_all,
        forwarded=1 if original else None,
    )
    event = log.write(tx, chat_pk, channel, seq, "message:new", message_documents.message(message))
    messages.add(tx, message, client_key=key, fingerprint=fingerprint)
    if access.is_member:
        unread.add_own(tx, chat_pk, caller.pk, access.read, wrote=True, counts=in_chat)
    if mentioned:
        mention_rows.change(tx, None, message, seq)
    if root is not None:
        replies.add(tx, root, message, is_member=access.is_member)
    if is_slowed(access):
        last_posts.put(tx, chat_pk, caller.pk, access.last_post_at)
    outbox.promise(tx, "message" if in_chat else "reply", chat_pk, seq)
    if flagged_by:
        flag(tx, caller.user.tenant_pk, message, flagged_by)
    return orjson.Fragment(event.payload)


def text_of(content: str | None, file: Media | None) -> str:
    """The text of a message that rules apply to: its content and the name of its file."""
    return "\n".join(each for each in (content, file.name if file else None) if each)


def recipient_of(connection: Connection, posting: Posting) -> accounts.User | None:
    """Of a transfer: whom the body names, or the other of two members; None if there is no such user."""
    caller, body = posting.caller, posting.body
    need_access(connection, posting.chat_pk, caller.pk)
    if body.targetUserId is not None:
        return accounts.find(connection, caller.user.tenant_pk, id=body.targetUserId)
    members = chat.members_of(connection, posting.chat_pk, limit=3)
    others = [each.user_pk for each in members if each.user_pk != caller.pk]
    return accounts.get(connection, others[0]) if len(others) == 1 else None


def prepare(
    connection: Connection, caller: Caller, body: SendMessage, file: str, words: ListedWords
) -> message_shapes.MessageDocument | None:
    """What the same message, with a file of this hash, was answered before; None for a new one that may be posted.

    Raises NotFound, Forbidden, and Conflict for another message under the same key.
    """
    if body.chatId is None:
        assert body.targetUserId is not None
        target = accounts.need(connection, caller.user.tenant_pk, body.targetUserId)
        chat_pk = chat.find_direct(connection, caller.pk, target.pk)
    else:
        chat_pk = chat.find(connection, caller.user.tenant_pk, body.chatId)
        if chat_pk is None:
            raise NotFound
    access = None if chat_pk is None else need_access(connection, chat_pk, caller.pk)
    if body.clientMessageId is not None:
        first = messages.by_key(connection, caller.pk, body.clientMessageId)
        if first is not None:
            idempotency.require_same(first.fingerprint, fingerprint_of(body, file))
            return first_answer(connection, first.chat_pk, first.seq)
    if access is not None:
        may_speak(access, body.content, words, posts_at=clock(connection))
    return None


def first_answer(source: Tx | Connection, chat_pk: int, seq: int) -> message_shapes.MessageDocument:
    """The first response under a key: the message had no readers and reactions then. Its current state if it changed."""
    item = messages.get(source, chat_pk, seq, with_readers=False)
    assert item is not None
    if item.updated_at == item.created_at:
        return message_documents.in_event(item)
    return message_documents.message(item.with_readers(readers.of(source, item.place, seq)))


def fingerprint_of(body: SendMessage, file: str | None) -> str:
    """What makes two commands the same, whichever way they came; ``file`` is the hash of one."""
    command: tuple[Any, ...] = (
        body.type, body.chatId, body.targetUserId, body.content, body.replyTo, body.metadata,
    )  # fmt: skip
    extra = body.credits if body.credits is not None else file
    if extra is not None:
        command = (*command, extra)
    if body.threadId is not None:
        command = (*command, {"threadId": body.threadId, "alsoInChat": body.alsoInChat})
    if body.forwardOf is not None:
        command = (*command, {"forwardOf": body.forwardOf})
    if body.mentions or body.mentionAll:
        command = (*command, {"mentions": body.mentions, "mentionAll": body.mentionAll})
    return idempotency.fingerprint(command)


def reads_of(posting: Posting) -> list[Read]:
    """The queries of ``post`` that it makes in any case."""
    caller, body, chat_pk = posting.caller, posting.body, posting.chat_pk
    reads: list[Read] = [
        (ACCESS, {"chat": chat_pk, "user": caller.pk}),
        *outbox.reads_of_promise(),
        *webhooks.reads_of_promise("message:new", chat_pk),
    ]
    if body.replyTo is not None:
        reads.append((messages.WHERE_IS, {"id": body.replyTo, "tenant": caller.user.tenant_pk}))
    if posting.root is not None:
        reads += replies.reads_of_add(posting.root, caller.pk, posting.mentioned_pks)
    if posting.source is not None and body.forwardOf is not None:
        reads += forwarding.reads_of(caller, body.forwardOf, posting.source)
    if body.mentions or body.mentionAll:
        reads += mentions.reads_of(chat_pk, posting.mentioning)
    if body.clientMessageId is not None:
        reads.append((messages.BY_KEY, {"sender": caller.pk, "key": body.clientMessageId}))
    return reads


def keys_of(caller: Caller, body: SendMessage) -> list[str]:
    """What is locked beside channels: the idempotency key, and the file."""
    keys = [] if body.clientMessageId is None else [f"message:{caller.pk}:{body.clientMessageId}"]
    return keys if body.file is None else [*keys, one(body.file)]
