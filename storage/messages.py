"""Messages of chats: posted, edited, deleted, read, reported."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Self

import orjson
from sqlalchemy import Connection, Integer, bindparam, func, select

from storage import readers, unread
from storage.fetch import fetch_one
from storage.models import OF_THREADS, chats, messages, users
from storage.prepared import Bulk, Prepared, Update, json_list, of_pairs, of_text
from storage.readers import MessageReader, Place
from storage.statements import Read
from storage.transaction import Tx, first

READERS_CAP = 100
LARGEST_SEQ = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Message:
    """``media`` and ``transfer`` are documents of their own; a deleted message keeps its place and nothing else.

    ``edits`` are the seqs of the events that carry its later content. ``reactions`` are their sum, ``reaction_seq`` is the
    event that shows it, and with ``reactions_due`` it has changed since. A reply has ``thread_seq`` and ``thread_id`` of its
    thread's root, and ``previous_seq`` where it is not shown in the chat: the newest message before it that is. ``thread`` is
    a root's summary. ``mentions`` are members, by number and id; ``mention_all`` is set where all of the chat, or of the
    thread, are mentioned. ``forwarded`` is 1 in a copy of another message.
    """

    chat_pk: int
    chat_id: str
    seq: int
    id: str
    sender_pk: int
    sender_id: str
    type: str
    content: str | None
    reply_to: str | None
    metadata: Mapping[str, Any] | None
    created_at: int
    updated_at: int
    deleted_at: int | None
    media: Mapping[str, Any] | None = None
    transfer: Mapping[str, Any] | None = None
    edits: Sequence[int] = ()
    reactions: Sequence[Mapping[str, Any]] = ()
    reaction_seq: int | None = None
    reactions_due: int | None = None
    thread_seq: int | None = None
    thread_id: str | None = None
    previous_seq: int | None = None
    thread: Mapping[str, Any] | None = None
    mentions: Sequence[tuple[int, str]] = ()
    mention_all: int | None = None
    forwarded: int | None = None
    read_by: tuple[str, ...] = ()
    read_count: int = 0

    @property
    def in_chat(self) -> bool:
        """Whether it is shown in the chat: every message but a reply that was sent to its thread alone."""
        return self.previous_seq is None

    @property
    def is_plain(self) -> bool:
        """Whether it has none of the columns that most messages do not have."""
        return self.thread_seq is None and self.mention_all is None and self.forwarded is None and not self.mentions

    @property
    def place(self) -> Place:
        """Where its readers have their read positions."""
        return self.chat_pk, None if self.in_chat else self.thread_seq

    def with_readers(self, members: Sequence[MessageReader]) -> Self:
        """With its readers, at most 100 by name: members with joinedSeq < seq <= readSeq, without the sender."""
        ids = [
            each.user_id
            for each in members
            if each.joined_seq < self.seq <= each.read_seq and each.user_pk != self.sender_pk
        ]
        return replace(self, read_by=tuple(ids[:READERS_CAP]), read_count=len(ids)) if ids else self


MESSAGE = (
    select(
        messages.c.chat_pk,
        chats.c.id.label("chat_id"),
        messages.c.seq,
        messages.c.id,
        messages.c.sender_pk,
        users.c.id.label("sender_id"),
        messages.c.type,
        messages.c.content,
        messages.c.reply_to,
        messages.c.metadata,
        messages.c.created_at,
        messages.c.updated_at,
        messages.c.deleted_at,
        messages.c.media,
        messages.c.transfer,
        messages.c.edits,
        messages.c.reactions,
        messages.c.reaction_seq,
        messages.c.reactions_due,
        messages.c.thread_seq,
        messages.c.thread_id,
        messages.c.previous_seq,
        messages.c.thread,
        messages.c.mentions,
        messages.c.mention_all,
        messages.c.forwarded,
    )
    .join(chats, chats.c.pk == messages.c.chat_pk)
    .join(users, users.c.pk == messages.c.sender_pk)
)
COLUMNS = tuple(MESSAGE.selected_columns.keys())
JSON = ("metadata", "media", "transfer", "edits", "reactions", "thread", "mentions")
LISTS = ("edits", "reactions", "mentions")
JSON_PLACES = [(COLUMNS.index(name), () if name in LISTS else None) for name in JSON]
assert Message.__slots__[: len(COLUMNS)] == COLUMNS
# The same, of ``messages AS m``.
COLUMNS_SQL = (
    "m.chat_pk, c.id, m.seq, m.id, m.sender_pk, u.id, m.type, m.content, m.reply_to, m.metadata, m.created_at, "
    "m.updated_at, m.deleted_at, m.media, m.transfer, m.edits, m.reactions, m.reaction_seq, m.reactions_due, m.thread_seq, "
    "m.thread_id, m.previous_seq, m.thread, m.mentions, m.mention_all, m.forwarded"
)
JOINED_SQL = "JOIN chats AS c ON c.pk = m.chat_pk JOIN users AS u ON u.pk = m.sender_pk"
AT_PLACES = of_pairs(
    f"SELECT {COLUMNS_SQL} FROM {{pairs}} JOIN messages AS m ON m.chat_pk = w.pk AND m.seq = w.seq {JOINED_SQL} "
    "ORDER BY m.chat_pk, m.seq"
)
AT = Prepared(MESSAGE.where(messages.c.chat_pk == bindparam("chat"), messages.c.seq == bindparam("seq")))

BETWEEN = MESSAGE.where(
    messages.c.chat_pk == bindparam("chat"),
    messages.c.seq > bindparam("after"),
    messages.c.seq < bindparam("before"),
).limit(bindparam("limit", type_=Integer))
SPAN = ("chat", "after", "before", "limit")
# From each message that the chat shows to the one before it, past the replies in between. (SQLite joins in the order of a
# CROSS JOIN; otherwise it may go through all of the chat.)
SHOWN_BEFORE = of_text(
    f"""WITH RECURSIVE shown (seq, n) AS (
      SELECT (SELECT COALESCE(p.previous_seq, p.seq) FROM messages AS p WHERE p.chat_pk = :chat AND p.seq < :before
      ORDER BY p.seq DESC LIMIT 1), 1
      UNION ALL SELECT (SELECT COALESCE(p.previous_seq, p.seq) FROM messages AS p WHERE p.chat_pk = :chat
      AND p.seq < shown.seq ORDER BY p.seq DESC LIMIT 1), n + 1 FROM shown WHERE shown.seq > :after AND n < :limit
    ) SELECT {COLUMNS_SQL} FROM shown CROSS JOIN messages AS m {JOINED_SQL}
    WHERE m.chat_pk = :chat AND m.seq = shown.seq AND shown.seq > :after ORDER BY m.seq DESC""",
    *SPAN,
)


def thread_page(order: str) -> Prepared:
    return of_text(
        f"SELECT {COLUMNS_SQL} FROM messages AS m {{hint}} {JOINED_SQL} WHERE m.chat_pk = :chat AND m.thread_seq = :root "
        f"AND m.seq > :after AND m.seq < :before ORDER BY m.seq {order} LIMIT :limit",
        *SPAN,
        "root",
        index=OF_THREADS,
    )


# By what is shown: forward and backward.
PAGES = {
    "chat": (Prepared(BETWEEN.where(messages.c.previous_seq.is_(None)).order_by(messages.c.seq)), SHOWN_BEFORE),
    "all": (Prepared(BETWEEN.order_by(messages.c.seq)), Prepared(BETWEEN.order_by(messages.c.seq.desc()))),
    "thread": (thread_page("ASC"), thread_page("DESC")),
}
NEWEST_IN_CHAT = Prepared(
    select(func.coalesce(messages.c.previous_seq, messages.c.seq))
    .where(messages.c.chat_pk == bindparam("chat"))
    .order_by(messages.c.seq.desc())
    .limit(1)
)

PLAIN = (
    "chat_pk",
    "seq",
    "id",
    "sender_pk",
    "type",
    "content",
    "reply_to",
    "metadata",
    "media",
    "transfer",
    "client_key",
    "fingerprint",
    "created_at",
    "updated_at",
    "ordinal",
)
EXTRA = ("thread_seq", "thread_id", "previous_seq", "mentions", "mention_all", "forwarded")
ADD, ADD_WITH_EXTRA = Bulk(messages, PLAIN), Bulk(messages, (*PLAIN, *EXTRA))
# What may change of a message; all of it in one statement, so that of two changes in a batch the later one counts.
CHANGED = ("content", "reply_to", "metadata", "media", "edits", "mentions", "mention_all", "updated_at", "deleted_at")
SET_CHANGED = Update(messages, ("chat_pk", "seq"), CHANGED)
BY_KEY = Prepared(
    select(messages.c.chat_pk, messages.c.seq, messages.c.fingerprint).where(
        messages.c.sender_pk == bindparam("sender"), messages.c.client_key == bindparam("key")
    )
)
PLACE = ("chat_pk", "seq", "ordinal", "sender_pk", "thread_seq", "thread_id", "previous_seq")
WHERE_IS = Prepared(
    select(*(messages.c[name] for name in PLACE))
    .join(chats, chats.c.pk == messages.c.chat_pk)
    .where(messages.c.id == bindparam("id"), chats.c.tenant_pk == bindparam("tenant"), chats.c.deleted_at.is_(None))
)


class KeyedMessage(NamedTuple):
    """What was sent under an idempotency key: where it is, and what makes a command the same."""

    chat_pk: int
    seq: int
    fingerprint: str


def by_key(source: Tx | Connection, sender_pk: int, key: str) -> KeyedMessage | None:
    sent = source.pending(("message key", sender_pk, key), None) if isinstance(source, Tx) else None
    if sent is not None:
        return sent
    row = first(source, BY_KEY, {"sender": sender_pk, "key": key})
    return None if row is None else KeyedMessage(*row)


def add(tx: Tx, message: Message, *, client_key: str | None, fingerprint: str | None) -> None:
    row = (
        message.chat_pk,
        message.seq,
        message.id,
        message.sender_pk,
        message.type,
        message.content,
        message.reply_to,
        dumped(message.metadata),
        dumped(message.media),
        dumped(message.transfer),
        client_key,
        fingerprint,
        message.created_at,
        message.updated_at,
        unread.next_ordinal(tx, message.chat_pk) if message.previous_seq is None else tx.ordinal(message.chat_pk),
    )
    if message.is_plain:
        tx.later(ADD, row)
    else:
        mentioned = dumped(message.mentions) if message.mentions else None
        thread = message.thread_seq, message.thread_id, message.previous_seq
        tx.later(ADD_WITH_EXTRA, (*row, *thread, mentioned, message.mention_all, message.forwarded))
    if message.previous_seq is None:
        tx.set_pending(("newest message", message.chat_pk), message.seq)
    if client_key is not None and fingerprint is not None:
        sent = KeyedMessage(message.chat_pk, message.seq, fingerprint)
        tx.set_pending(("message key", message.sender_pk, client_key), sent)
        tx.set_pending(("message", message.chat_pk, message.seq), message)


def newest_in_chat(tx: Tx, chat_pk: int) -> int:
    """The seq of the newest message that is shown in the chat."""
    known: int | None = tx.pending(("newest message", chat_pk), None)
    if known is not None:
        return known
    row = tx.first(NEWEST_IN_CHAT, {"chat": chat_pk})
    return row[0] if row else 0


class MessagePlace(NamedTuple):
    """Where a message is, and its ordinal, None where it has none yet; of a reply also its thread, as in ``Message``."""

    chat_pk: int
    seq: int
    ordinal: int | None
    sender_pk: int
    thread_seq: int | None
    thread_id: str | None
    previous_seq: int | None

    @property
    def read_in(self) -> Place:
        """Where its readers have their read positions."""
        return self.chat_pk, None if self.previous_seq is None else self.thread_seq


def where_is(source: Tx | Connection, tenant_pk: int, message_id: str) -> MessagePlace | None:
    """Of a message of the tenant, or None."""
    row = first(source, WHERE_IS, {"id": message_id, "tenant": tenant_pk})
    return None if row is None else MessagePlace(*row)


def get(source: Tx | Connection, chat_pk: int, seq: int, *, with_readers: bool = True) -> Message | None:
    """One message; ``with_readers``: also who read it. A transaction must hold its chat."""
    found = source.pending(("message", chat_pk, seq), None) if isinstance(source, Tx) else None
    if found is None:
        row = first(source, AT, {"chat": chat_pk, "seq": seq})
        found = None if row is None else read_message(row)
    return found.with_readers(readers.of(source, found.place, seq)) if found and with_readers else found


def reads_of_get(place: MessagePlace, *, with_readers: bool = True) -> list[Read]:
    """The queries of ``get``."""
    reads: list[Read] = [(AT, {"chat": place.chat_pk, "seq": place.seq})]
    return [*reads, readers.read_of(place.read_in, place.seq)] if with_readers else reads


def history(
    connection: Connection,
    chat_pk: int,
    *,
    first: int,
    before: int | None,
    after: int | None,
    limit: int,
    root_seq: int | None = None,
    with_replies: bool = False,
) -> list[Message]:
    """Up to ``limit`` messages from seq ``first`` on, ascending: the newest, those before, or those after a seq.

    Those that the chat shows, or all, or the replies in the thread of ``root_seq``.
    """
    forward = after is not None and before is None
    values: dict[str, Any] = {
        "chat": chat_pk,
        "after": max(first - 1, -1 if after is None else after),
        "before": LARGEST_SEQ if before is None else before,
        "limit": limit,
    }
    shown = "all" if with_replies else "chat"
    if root_seq is not None:
        shown, values["root"] = "thread", root_seq
    onward, back = PAGES[shown]
    page = fetch_one(connection, onward if forward else back, values)
    return with_readers(connection, [read_message(row) for row in (page if forward else reversed(page))])


def read_message(row: Sequence[Any]) -> Message:
    """Of a row of ``COLUMNS``, which are the first fields of a message, in their order."""
    values = [*row]
    for place, absent in JSON_PLACES:
        values[place] = absent if values[place] is None else orjson.loads(values[place])
    return Message(*values)


def dumped(document: object) -> str | None:
    return None if document is None else orjson.dumps(document).decode()


def at_places(connection: Connection, places: Iterable[tuple[int, int]]) -> list[Message]:
    """Messages at these places, without their readers, by chat and seq."""
    return [read_message(row) for row in fetch_one(connection, *read_of_places(places))]


def read_of_places(places: Iterable[tuple[int, int]]) -> Read:
    """The queries of ``at_places``."""
    return AT_PLACES, {"pairs": json_list(places)}


def with_readers(connection: Connection, found: Sequence[Message]) -> list[Message]:
    """Fill ``read_by`` and ``read_count``."""
    if not found:
        return []
    oldest: dict[Place, int] = {}
    for item in found:
        oldest[item.place] = min(item.seq, oldest.get(item.place, item.seq))
    by_place = readers.since(connection, oldest)
    return [item.with_readers(by_place[item.place]) for item in found]


def store(tx: Tx, changed: Message) -> None:
    """Write what may change of a message, whose chat the transaction holds."""
    values = tuple(dumped(value) if name in JSON else value for name in CHANGED for value in [getattr(changed, name)])
    place = changed.chat_pk, changed.seq
    tx.update_later(SET_CHANGED, place, values)
    tx.set_pending(("message", *place), changed)
