"""Messages of chats: posted, edited, deleted, read, reported."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Protocol, Self

import orjson
from sqlalchemy import Connection, Integer, bindparam, insert, select

from storage import unread
from storage.fetch import fetch_one
from storage.models import chats, members, messages, reports, users
from storage.prepared import Bulk, Prepared, Update, json_list, of_pairs
from storage.statements import Read
from storage.transaction import Tx, first, rows

READERS_CAP = 100
LARGEST_SEQ = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Message:
    """``media`` and ``transfer`` are documents of their own; a deleted message keeps its place and nothing else.

    ``edits`` are the seqs of the events that carry its later content. ``reactions`` are their sum, ``reaction_seq`` is the
    event that shows it, and with ``reactions_due`` it has changed since.
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
    read_by: tuple[str, ...] = ()
    read_count: int = 0

    def with_readers(self, members: Sequence["MessageReader"]) -> Self:
        """With its readers, at most 100 by name: members with joinedSeq < seq <= readSeq, without the sender."""
        ids = [
            each.user_id
            for each in members
            if each.joined_seq < self.seq <= each.read_seq and each.user_pk != self.sender_pk
        ]
        return replace(self, read_by=tuple(ids[:READERS_CAP]), read_count=len(ids))


class MessageReader(Protocol):
    """A member, and how far they have read."""

    @property
    def user_pk(self) -> int: ...
    @property
    def user_id(self) -> str: ...
    @property
    def joined_seq(self) -> int: ...
    @property
    def read_seq(self) -> int: ...


class ReaderRow(NamedTuple):
    user_pk: int
    user_id: str
    joined_seq: int
    read_seq: int


READERS = of_pairs(
    "SELECT m.chat_pk, m.user_pk, u.id, m.joined_seq, m.read_seq FROM {pairs} "
    "JOIN members AS m ON m.chat_pk = w.pk AND m.read_seq >= w.seq JOIN users AS u ON u.pk = m.user_pk ORDER BY m.user_pk"
)
READERS_OF_ONE = Prepared(
    select(members.c.user_pk, users.c.id, members.c.joined_seq, members.c.read_seq)
    .join(users, users.c.pk == members.c.user_pk)
    .where(members.c.chat_pk == bindparam("chat"), members.c.read_seq >= bindparam("seq"))
    .order_by(members.c.user_pk)
)


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
    )
    .join(chats, chats.c.pk == messages.c.chat_pk)
    .join(users, users.c.pk == messages.c.sender_pk)
)
COLUMNS = tuple(MESSAGE.selected_columns.keys())
JSON = ("metadata", "media", "transfer", "edits", "reactions")
AT_PLACES = of_pairs(
    "SELECT m.chat_pk, c.id, m.seq, m.id, m.sender_pk, u.id, m.type, m.content, m.reply_to, m.metadata, m.created_at, "
    "m.updated_at, m.deleted_at, m.media, m.transfer, m.edits, m.reactions, m.reaction_seq, m.reactions_due "
    "FROM {pairs} JOIN messages AS m ON m.chat_pk = w.pk AND m.seq = w.seq JOIN chats AS c ON c.pk = m.chat_pk "
    "JOIN users AS u ON u.pk = m.sender_pk ORDER BY m.chat_pk, m.seq"
)
AT = Prepared(MESSAGE.where(messages.c.chat_pk == bindparam("chat"), messages.c.seq == bindparam("seq")))

BETWEEN = MESSAGE.where(
    messages.c.chat_pk == bindparam("chat"),
    messages.c.seq > bindparam("after"),
    messages.c.seq < bindparam("before"),
).limit(bindparam("limit", type_=Integer))
FORWARD, BACKWARD = Prepared(BETWEEN.order_by(messages.c.seq)), Prepared(BETWEEN.order_by(messages.c.seq.desc()))

ADD = Bulk(
    messages,
    (
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
    ),
)
# What may change of a message; all of it in one statement, so that of two changes in a batch the later one counts.
CHANGED = ("content", "reply_to", "metadata", "media", "edits", "updated_at", "deleted_at")
SET_CHANGED = Update(messages, ("chat_pk", "seq"), CHANGED)
BY_KEY = Prepared(
    select(messages.c.chat_pk, messages.c.seq, messages.c.fingerprint).where(
        messages.c.sender_pk == bindparam("sender"), messages.c.client_key == bindparam("key")
    )
)
WHERE_IS = Prepared(
    select(messages.c.chat_pk, messages.c.seq, messages.c.ordinal)
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
        unread.next_ordinal(tx, message.chat_pk),
    )
    tx.later(ADD, row)
    if client_key is not None and fingerprint is not None:
        sent = KeyedMessage(message.chat_pk, message.seq, fingerprint)
        tx.set_pending(("message key", message.sender_pk, client_key), sent)
        tx.set_pending(("message", message.chat_pk, message.seq), message)


class MessagePlace(NamedTuple):
    """Where a message is, and its ordinal, None where it has none yet."""

    chat_pk: int
    seq: int
    ordinal: int | None


def where_is(source: Tx | Connection, tenant_pk: int, message_id: str) -> MessagePlace | None:
    """Of a message of the tenant, or None."""
    row = first(source, WHERE_IS, {"id": message_id, "tenant": tenant_pk})
    return None if row is None else MessagePlace(*row)


def get(source: Tx | Connection, chat_pk: int, seq: int, *, readers: bool = True) -> Message | None:
    """One message; with ``readers`` also who read it. A transaction must hold its chat."""
    found = source.pending(("message", chat_pk, seq), None) if isinstance(source, Tx) else None
    if found is None:
        row = first(source, AT, {"chat": chat_pk, "seq": seq})
        found = None if row is None else read_message(row)
    return found.with_readers(readers_of(source, chat_pk, seq)) if found and readers else found


def reads_of_get(chat_pk: int, seq: int) -> list[Read]:
    """The queries of ``get``."""
    place = {"chat": chat_pk, "seq": seq}
    return [(AT, place), (READERS_OF_ONE, place)]


def readers_of(source: Tx | Connection, chat_pk: int, seq: int) -> list[ReaderRow]:
    """Who has read so far, or farther."""
    found = [ReaderRow(*row) for row in rows(source, READERS_OF_ONE, {"chat": chat_pk, "seq": seq})]
    marked = waiting_readers(source, chat_pk) if isinstance(source, Tx) else {}
    if not marked:
        return found
    now = {each.user_pk: each for each in found} | {pk: each for pk, each in marked.items() if each.read_seq >= seq}
    return [now[pk] for pk in sorted(now)]


def add_reader(tx: Tx, chat_pk: int, reader: ReaderRow) -> None:
    """A mark of this reader waits to be written."""
    tx.set_pending(("readers", chat_pk), waiting_readers(tx, chat_pk) | {reader.user_pk: reader})


def waiting_readers(tx: Tx, chat_pk: int) -> dict[int, ReaderRow]:
    return tx.pending(("readers", chat_pk), {})


def history(
    connection: Connection, chat_pk: int, *, first: int, before: int | None, after: int | None, limit: int
) -> list[Message]:
    """Up to ``limit`` messages from seq ``first`` on, ascending: the newest, those before, or those after a seq."""
    forward = after is not None and before is None
    values = {
        "chat": chat_pk,
        "after": max(first - 1, -1 if after is None else after),
        "before": LARGEST_SEQ if before is None else before,
        "limit": limit,
    }
    page = fetch_one(connection, FORWARD if forward else BACKWARD, values)
    found = [read_message(row) for row in (page if forward else reversed(page))]
    return with_readers(connection, found)


def read_message(row: Any) -> Message:
    values = dict(zip(COLUMNS, row, strict=True))
    for name in ("edits", "reactions"):
        values[name] = values[name] or "[]"
    return Message(**values | {name: orjson.loads(values[name]) for name in JSON if values[name] is not None})


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
    oldest: dict[int, int] = {}
    for item in found:
        oldest[item.chat_pk] = min(item.seq, oldest.get(item.chat_pk, item.seq))
    by_chat: dict[int, list[ReaderRow]] = {pk: [] for pk in oldest}
    for chat_pk, *reader in fetch_one(connection, READERS, {"pairs": json_list(oldest.items())}):
        by_chat[chat_pk].append(ReaderRow(*reader))
    return [item.with_readers(by_chat[item.chat_pk]) for item in found]


def store(tx: Tx, changed: Message) -> None:
    """Write what may change of a message, whose chat the transaction holds."""
    values = tuple(dumped(value) if name in JSON else value for name in CHANGED for value in [getattr(changed, name)])
    place = changed.chat_pk, changed.seq
    tx.update_later(SET_CHANGED, place, values)
    tx.set_pending(("message", *place), changed)


def report(tx: Tx, *, tenant_pk: int, reporter_pk: int, message_id: str, reason: str) -> bool:
    """Keep a report; False if the reporter made one of this message already."""
    already = select(reports.c.pk).where(reports.c.reporter_pk == reporter_pk, reports.c.message_id == message_id)
    if tx.execute(already).first():
        return False
    values = {"tenant_pk": tenant_pk, "reporter_pk": reporter_pk, "message_id": message_id, "reason": reason}
    tx.execute(insert(reports), values | {"created_at": tx.now})
    return True


def reports_of(connection: Connection, tenant_pk: int, *, before: int | None, limit: int) -> list[Any]:
    """``(pk, message_id, reason, created_at, reporter_id)``, newest first."""
    statement = (
        select(reports.c.pk, reports.c.message_id, reports.c.reason, reports.c.created_at, users.c.id)
        .join(users, users.c.pk == reports.c.reporter_pk)
        .where(reports.c.tenant_pk == tenant_pk)
    )
    if before is not None:
        statement = statement.where(reports.c.pk < before)
    return list(connection.execute(statement.order_by(reports.c.pk.desc()).limit(limit)))
