"""Messages: post, edit, delete, read, look back. Each change is one command, so that an answer means committed."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace
from typing import TypeVar
from weakref import WeakValueDictionary

from sqlalchemy import Connection

from realtime import forwarding, mentions, replies
from realtime.chat_numbers import ChatNumbers
from realtime.fanout.delivery_budget import DeliveryBudget
from realtime.forwarding import Source
from realtime.media import MediaService, Upload
from realtime.membership import LARGE_CHAT_MEMBERS, MODERATORS, open_direct, require_member
from realtime.message_change import change_message, visible
from realtime.message_places import MessagePlaces
from realtime.posting import Answer, Posting, keys_of, post, prepare, reads_of, recipient_of
from realtime.reporting import flag
from realtime.schema import message_documents, message_shapes
from realtime.schema.caller import Caller
from realtime.schema.limits import Limits
from realtime.schema.message_bodies import EditMessage, SendMessage
from realtime.speaking import may_speak
from realtime.support.buckets import Buckets
from realtime.tombstones import make_tombstone, reads_of_tombstone
from realtime.word_lists import WordLists
from storage import accounts, blocks, chat, log, messages, outbox, readers, threads, unread, webhooks
from storage.access import Access
from storage.database import Database
from storage.errors import Conflict, Forbidden, Invalid, NotFound
from storage.messages import Message, MessagePlace
from storage.readers import ReaderRow
from storage.statements import Read
from storage.transaction import Command, Tx

T = TypeVar("T")


class Messages:
    """Posting, reading and changing messages. ``public_url`` is how clients reach the server, for the URLs of files."""

    def __init__(
        self,
        database: Database,
        numbers: ChatNumbers,
        places: MessagePlaces,
        limits: Limits,
        delivery_budget: DeliveryBudget,
        media: MediaService,
        word_lists: WordLists,
        public_url: Callable[[], str],
    ) -> None:
        self.database = database
        self.media = media
        self.word_lists = word_lists
        self.numbers = numbers
        self.places = places
        self.limits = limits
        self.public_url = public_url
        self.delivery_budget = delivery_budget
        self.sending = Buckets(limits.sends_per_second, limits.sends_at_once)
        # Messages with files that are being posted, by the user and the client's key.
        self.posting: WeakValueDictionary[tuple[int, str | None], asyncio.Lock] = WeakValueDictionary()

    async def post(self, caller: Caller, body: SendMessage) -> Answer:
        """Post a message; the same key again gives the first answer.

        Raises NotFound for a chat or user that the caller can't see, Forbidden for one who may not post, Conflict for
        another command under the same key, TooMany where the user sends, or the chat gets, too much.
        """
        self.sending.acquire(caller.pk)
        if body.chatId is None:
            return await self._post_directly(caller, body)
        chat_pk = await self.numbers.find(caller.user.tenant_pk, body.chatId)
        return await self.database.write(self._command(await self._looked_up(self._posting(caller, body, chat_pk))))

    def submit(self, caller: Caller, body: SendMessage) -> "asyncio.Future[Answer] | None":
        """``post`` of what needs no look before: a text for a chat whose number is known. None for anything else."""
        if body.chatId is None or needs_lookup(body):
            return None
        chat_pk = self.numbers.known.get((caller.user.tenant_pk, body.chatId))
        if chat_pk is None:
            return None
        self.sending.acquire(caller.pk)
        return self.database.writer.submit(self._command(self._posting(caller, body, chat_pk)))

    def _posting(self, caller: Caller, body: SendMessage, chat_pk: int) -> Posting:
        return Posting(caller, body, chat_pk, words=self.word_lists.of(caller.user.tenant_pk))

    async def post_with_file(self, caller: Caller, body: SendMessage, upload: Upload) -> Answer:
        """Store a file, and post the message that names it; a file that the message does not take is dropped.

        Raises what ``post`` and storing a file raise, and Invalid for a message that is not of type media.
        """
        if body.type != "media":
            raise Invalid.field("file", "A file is only allowed in a message of type media")
        async with self._one_at_a_time(caller, body):
            answered = await self._prepare(caller, body, upload.hash)
            if answered is not None:
                return answered
            try:
                await self.media.keep(caller, upload)
                return await self.post(caller, body)
            except Conflict:
                # Another process may have had the same command, and taken the room for it.
                answered = await self._prepare(caller, body, upload.hash)
                if answered is None:
                    raise
                return answered
            finally:
                await self.media.drop(upload.id)

    async def _prepare(self, caller: Caller, body: SendMessage, file: str) -> message_shapes.MessageDocument | None:
        """What the same message, with a file of this hash, was answered before; else whether it is worth storing the file.

        Raises what ``post`` would, as far as it is known before.
        """
        return await self.database.read(
            lambda connection: prepare(connection, caller, body, file, self.word_lists.of(caller.user.tenant_pk))
        )

    @contextlib.asynccontextmanager
    async def _one_at_a_time(self, caller: Caller, body: SendMessage) -> AsyncIterator[None]:
        """A second call under a key waits for the first."""
        key = (caller.pk, body.clientMessageId)
        lock = self.posting.setdefault(key, asyncio.Lock()) if body.clientMessageId else asyncio.Lock()
        async with lock:
            yield

    async def _post_directly(self, caller: Caller, body: SendMessage) -> Answer:
        """Into the direct chat with the target, which is made if there is none."""
        assert body.targetUserId is not None
        target_id, tenant_pk = body.targetUserId, caller.user.tenant_pk

        def look(connection: Connection) -> tuple[accounts.User, int | None, Source | None]:
            target = accounts.need(connection, tenant_pk, target_id)
            if target.pk == caller.pk:
                raise Invalid.field("targetUserId", "You cannot chat with yourself")
            source = forwarding.find(connection, caller, body.forwardOf) if body.forwardOf is not None else None
            return target, chat.find_direct(connection, caller.pk, target.pk), source

        target, chat_pk, source = await self.database.read(look)
        if chat_pk is None:

            def apply(tx: Tx) -> tuple[int, Answer | None]:
                pk = chat.find_direct(tx.connection(), caller.pk, target.pk)
                if pk is not None:
                    # Made meanwhile, and not locked by this command.
                    return pk, None
                if blocks.is_blocked(tx.connection(), target.pk, caller.pk):
                    raise Forbidden
                pk = open_direct(tx, caller.user, target)
                posting = self._posting(caller, body, pk)._replace(recipient=target, source=source)
                return pk, post(tx, posting, self.limits, self.public_url(), self.delivery_budget)

            also = [source.place.chat_pk] if source else []
            first = Command(apply, channels=[caller.pk, target.pk, *also], keys=keys_of(caller, body))
            made_pk, answer = await self.database.write(first)
            if answer is not None:
                return answer
            chat_pk = made_pk
        posting = self._posting(caller, body, chat_pk)._replace(recipient=target, source=source)
        return await self.database.write(self._command(await self._looked_up(posting)))

    def _command(self, posting: Posting) -> Command[Answer]:
        """Who gives and who takes credits are locked with the chat; so is the chat from which a message is forwarded."""
        caller, body, channels = posting.caller, posting.body, [posting.chat_pk]
        if body.credits is not None and posting.recipient is not None:
            channels += [caller.pk, posting.recipient.pk]
        if posting.source is not None:
            channels.append(posting.source.place.chat_pk)
        return Command(
            lambda tx: post(tx, posting, self.limits, self.public_url(), self.delivery_budget),
            channels=channels,
            keys=keys_of(caller, body),
            # In UTF-8, at most; metadata are small.
            size=4 * (posting.source.length if posting.source else len(body.content or "")),
            reads=lambda: reads_of(posting),
        )

    async def _looked_up(self, posting: Posting) -> Posting:
        """With what must be known before the locks are taken."""
        caller, body = posting.caller, posting.body
        tenant_pk = caller.user.tenant_pk
        if body.threadId is not None:
            posting = posting._replace(root=await self.places.find(tenant_pk, body.threadId))
        names = posting.mentioning.ids if posting.root is not None and body.mentions else ()
        needs_recipient = body.credits is not None and posting.recipient is None
        needs_source = body.forwardOf is not None and posting.source is None
        if not (names or needs_recipient or needs_source):
            return posting

        def look(connection: Connection) -> Posting:
            found = posting
            if needs_recipient:
                found = found._replace(recipient=recipient_of(connection, posting))
            if needs_source and body.forwardOf is not None:
                found = found._replace(source=forwarding.find(connection, caller, body.forwardOf))
            if names:
                users = accounts.by_ids(connection, tenant_pk, names)
                found = found._replace(mentioned_pks=[each.pk for each in users])
            return found

        return await self.database.read(look)

    async def get(self, caller: Caller, message_id: str) -> message_shapes.MessageDocument:
        """Raises NotFound."""

        def look(connection: Connection) -> Message:
            place, _ = visible(connection, caller, message_id)
            found = messages.get(connection, place.chat_pk, place.seq)
            assert found is not None
            return found

        return message_documents.message(await self.database.read(look))

    async def edit(self, caller: Caller, message_id: str, body: EditMessage) -> message_shapes.MessageDocument:
        """Users whom the edit newly mentions are pushed.

        Raises NotFound, Forbidden for another's message, Conflict for a deleted one and for a transfer, TooMany.
        """
        content = body.content
        wanted = mentions.mentioning(body.mentions or (), caller.user.id, mention_all=bool(body.mentionAll))
        tenant_pk, pks = caller.user.tenant_pk, list[int]()
        if wanted.ids:
            found = await self.database.read(lambda it: accounts.by_ids(it, tenant_pk, wanted.ids))
            pks = [each.pk for each in found]

        def change(tx: Tx, place: MessagePlace, access: Access) -> message_shapes.MessageDocument:
            item = messages.get(tx, place.chat_pk, place.seq)
            assert item is not None
            if item.sender_pk != caller.pk:
                raise Forbidden
            flagged_by = may_speak(access, content, self.word_lists.of(tenant_pk))
            if item.deleted_at is not None:
                raise Conflict("The message was deleted", code="message_deleted")
            if item.transfer is not None:
                raise Conflict("A transfer cannot be edited", code="transfer_final")
            new = mentions.with_edited_mentions(tx, item, body, wanted, access, self.limits)
            if item.content == content and mentions.same_mentions(item, new):
                return message_documents.message(item)
            if len(item.edits) >= self.limits.edits:
                raise Conflict(f"A message can be edited at most {self.limits.edits} times", code="limit_reached")
            self.delivery_budget.admit(item.chat_pk)
            changed = replace(new, content=content, updated_at=tx.now)
            document = message_documents.in_event(changed)
            log.rewrite(tx, item.chat_pk, [item.seq, *item.edits], document)
            event = log.append(tx, item.chat_pk, "message:updated", document, about=item.seq)
            messages.store(tx, replace(changed, edits=[*item.edits, event.seq]))
            mentions.store_edited_mentions(tx, item, changed, event.seq)
            if flagged_by:
                flag(tx, tenant_pk, changed, flagged_by)
            return message_documents.message(changed)

        def reads(place: MessagePlace) -> Sequence[Read]:
            return [
                *messages.reads_of_get(place),
                *webhooks.reads_of_promise("message:updated", place.chat_pk),
                *mentions.reads_of(place.chat_pk, wanted),
                *(outbox.reads_of_promise() if wanted.ids or wanted.mention_all else []),
                *(replies.reads_of_followers(place, pks) if pks else []),
            ]

        return await change_message(self.places, caller, message_id, change, reads=reads)

    async def delete(self, caller: Caller, message_id: str) -> message_shapes.MessageDocument:
        """The tombstone. Owners, admins and moderators delete others' messages too.

        Raises NotFound, Forbidden, Conflict for a reversal.
        """

        def change(tx: Tx, place: MessagePlace, access: Access) -> message_shapes.MessageDocument:
            item = messages.get(tx, place.chat_pk, place.seq)
            assert item is not None
            own = item.sender_pk == caller.pk
            if access.role == "readonly" or (not own and access.role not in MODERATORS):
                raise Forbidden
            if item.deleted_at is not None:
                return message_documents.message(item)
            if item.transfer is not None and item.transfer.get("reversal"):
                raise Conflict("A reversal cannot be deleted", code="transfer_final")
            return make_tombstone(tx, item)

        def reads(place: MessagePlace) -> Sequence[Read]:
            return [*messages.reads_of_get(place), *reads_of_tombstone(place)]

        return await change_message(self.places, caller, message_id, change, reads=reads)

    async def read(self, caller: Caller, message_id: str, chat_id: str | None = None) -> message_shapes.ReadDocument:
        """Move the caller's read position up to this message, in the chat, or in the thread of a reply that the chat does not
        show; a position only grows.

        Raises NotFound, Forbidden for a viewer.
        """

        def change(tx: Tx, place: MessagePlace, access: Access) -> message_shapes.ReadDocument:
            if chat_id is not None and access.chat_id != chat_id:
                raise NotFound
            require_member(access)
            if place.previous_seq is not None:
                return replies.mark_read(tx, caller, message_id, place, access)
            document: message_shapes.ReadDocument = {
                "chatId": access.chat_id,
                "userId": caller.user.id,
                "messageId": message_id,
                "readSeq": max(place.seq, access.read.read_seq),
            }
            if place.seq > access.read.read_seq:
                unread.mark_read(tx, place.chat_pk, caller.pk, access.read, place.seq, place.ordinal)
                reader = ReaderRow(caller.pk, caller.user.id, access.joined_seq, place.seq)
                readers.add(tx, place.read_in, reader)
                public = access.member_count <= LARGE_CHAT_MEMBERS
                log.append(
                    tx,
                    place.chat_pk if public else caller.pk,
                    "message:read",
                    document,
                    about=place.seq if public else None,
                )
                outbox.promise_badge(tx, caller.pk, exclude_device=caller.device)
            return document

        def reads(place: MessagePlace, access: Access) -> Sequence[Read]:
            if place.previous_seq is not None and place.thread_seq is not None:
                own = threads.reads_of_member(place.chat_pk, place.thread_seq, [caller.pk])
            else:
                own = unread.reads_of_mark(place.chat_pk, caller.pk, access.read, place.seq)
            return [*own, *outbox.reads_of_badge(caller.pk, exclude_device=caller.device)]

        return await change_message(self.places, caller, message_id, change, also=[caller.pk], reads_of_member=reads)


def needs_lookup(body: SendMessage) -> bool:
    """Whether something must be known of what a message names before the locks are taken."""
    return body.type == "creditTransfer" or body.threadId is not None or body.forwardOf is not None
