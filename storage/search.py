"""What a search reads of the database: how far an index is behind it, and messages as one user may see them."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy import BigInteger, ColumnElement, Connection, Integer, bindparam, literal_column, or_, select

from storage.access import first_visible
from storage.chat_list import NEWEST_AT
from storage.fetch import fetch_many, fetch_one
from storage.models import channels, chats, events, members, messages
from storage.prepared import Prepared, json_list, of_pairs, one_of

# Characters that are read together, so that no slice takes long.
TEXT_AT_ONCE = 128 * 1024


class IndexPosition(NamedTuple):
    """How far a chat is indexed: messages up to ``filled`` are, as of the event ``seq``.

    What the index lacks are messages above ``filled``, and what events above ``seq`` tell of those below it.
    """

    seq: int = 0
    filled: int = 0


class IndexChange(NamedTuple):
    """What an index is to be changed of a chat: its messages by seq, with None for what is deleted, and its new position.

    ``position`` is None where the chat itself is gone. ``is_complete`` says that nothing is missing after it.
    """

    chat_pk: int
    position: IndexPosition | None
    texts: Mapping[int, str | None]
    is_complete: bool


STATE = Prepared(
    select(chats.c.pk, channels.c.head, channels.c.floor)
    .join(channels, channels.c.pk == chats.c.pk)
    .where(one_of(chats.c.pk, "chats"), chats.c.deleted_at.is_(None))
)
IN_CHAT = bindparam("chat", type_=BigInteger)
BETWEEN = bindparam("after", type_=BigInteger), bindparam("upto", type_=BigInteger)
LIMIT = bindparam("limit", type_=Integer)
CHANGED = Prepared(
    select(events.c.seq, events.c.about)
    .where(events.c.channel_pk == IN_CHAT, events.c.seq > BETWEEN[0], events.c.seq <= BETWEEN[1])
    .where(or_(*(events.c.name == literal_column(f"'{name}'") for name in ("message:updated", "message:deleted"))))
    .order_by(events.c.seq)
    .limit(LIMIT)
)


def new_messages(content: ColumnElement[Any]) -> Prepared:
    return Prepared(
        select(messages.c.seq, content)
        .where(messages.c.chat_pk == IN_CHAT, messages.c.seq > BETWEEN[0], messages.c.seq <= BETWEEN[1])
        .order_by(messages.c.seq)
        .limit(LIMIT)
    )


NEW, NEW_SEQS = new_messages(messages.c.content), new_messages(literal_column("NULL"))
TEXTS = of_pairs(
    "SELECT m.chat_pk, m.seq, m.content FROM {pairs} JOIN messages AS m ON m.chat_pk = w.pk AND m.seq = w.seq"
)


def unindexed(
    connection: Connection, positions: Mapping[int, IndexPosition], *, limit: int, with_texts: bool = True
) -> list[IndexChange]:
    """What an index with these positions lacks of the chats that changed since: about ``limit`` messages, and of those
    ``TEXT_AT_ONCE`` characters and one message. The connection sees one moment.
    """
    heads = {pk: (head, floor) for pk, head, floor in fetch_one(connection, STATE, {"chats": json_list(positions)})}
    changes = [IndexChange(pk, None, {}, True) for pk in positions if pk not in heads]
    behind: dict[int, IndexPosition] = {}
    for pk, position in positions.items():
        if pk not in heads:
            continue
        head, floor = heads[pk]
        if position.filled == 0 or position.seq < floor or position.seq > head:
            # Nothing is indexed, or what happened since is not in the log any more.
            position = IndexPosition(head, 0)
        if position.seq < head or position.filled < head:
            behind[pk] = position
    if not behind:
        return changes
    share = max(1, limit // len(behind))
    events_of_each = fetch_many(
        connection,
        CHANGED,
        [{"chat": pk, "after": each.seq, "upto": heads[pk][0], "limit": share} for pk, each in behind.items()],
    )
    messages_of_each = fetch_many(
        connection,
        NEW if with_texts else NEW_SEQS,
        [{"chat": pk, "after": each.filled, "upto": heads[pk][0], "limit": share} for pk, each in behind.items()],
    )
    edited = {
        (pk, about)
        for (pk, position), rows in zip(behind.items(), events_of_each, strict=True)
        for _, about in rows
        if about is not None and about <= position.filled
    }
    contents: dict[tuple[int, int], str | None] = dict.fromkeys(edited)
    if edited and with_texts:
        rows = fetch_one(connection, TEXTS, {"pairs": json_list(edited)})
        contents.update({(pk, seq): content for pk, seq, content in rows})
    left = TEXT_AT_ONCE
    for (pk, position), changed, added in zip(behind.items(), events_of_each, messages_of_each, strict=True):
        head = heads[pk][0]
        texts: dict[int, str | None] = {}
        upto = IndexPosition(head, head)
        for seq, about in changed:
            if left <= 0:
                break
            if (pk, about) in contents:
                texts[about] = contents[pk, about]
                left -= len(texts[about] or "")
            position = position._replace(seq=seq)
        else:
            position = position._replace(seq=position.seq if len(changed) == share else head)
        for seq, content in added:
            if left <= 0:
                break
            texts[seq] = content
            left -= len(content or "")
            position = position._replace(filled=seq)
        else:
            position = position._replace(filled=position.filled if len(added) == share else head)
        changes.append(IndexChange(pk, position, texts, position == upto))
    return changes


HEADS = Prepared(
    select(chats.c.pk, channels.c.head).join(channels, channels.c.pk == chats.c.pk).where(chats.c.deleted_at.is_(None))
)


def heads(connection: Connection) -> dict[int, int]:
    """The newest seq of each chat."""
    return dict(fetch_one(connection, HEADS, {}))


# Chats of a user


class ActiveChat(NamedTuple):
    """A chat, and when it was active last, in microseconds; 0 for one that was not there."""

    chat_pk: int
    active_at: int


OF_MEMBER = (
    select(chats.c.pk, NEWEST_AT.label("newest_at"), chats.c.created_at)
    .join(members, members.c.chat_pk == chats.c.pk)
    .where(members.c.user_pk == bindparam("user"), chats.c.deleted_at.is_(None))
    .subquery()
)
ACTIVITY = Prepared(select(OF_MEMBER.c.pk, OF_MEMBER.c.newest_at, OF_MEMBER.c.created_at))
BEFORE = Prepared(
    select(messages.c.created_at)
    .where(messages.c.chat_pk == IN_CHAT, messages.c.created_at <= bindparam("at", type_=BigInteger))
    .where(messages.c.previous_seq.is_(None))
    .order_by(messages.c.seq.desc())
    .limit(1)
)


def by_activity(connection: Connection, user_pk: int, *, at: int) -> list[ActiveChat]:
    """A member's chats as they were at a time, the latest active first; those that did not exist then come last."""
    found, later = [], []
    for pk, newest_at, created_at in fetch_one(connection, ACTIVITY, {"user": user_pk}):
        if newest_at is not None and newest_at > at:
            later.append((pk, created_at))
        else:
            found.append(ActiveChat(pk, created_at if newest_at is None else newest_at))
    before = fetch_many(connection, BEFORE, [{"chat": pk, "at": at} for pk, _ in later])
    for (pk, created_at), rows in zip(later, before, strict=True):
        found.append(ActiveChat(pk, rows[0][0] if rows else created_at))
    known = [each if each.active_at <= at else each._replace(active_at=0) for each in found]
    return sorted(known, key=lambda each: (each.active_at, each.chat_pk), reverse=True)


JOINED = Prepared(
    select(members.c.chat_pk, members.c.joined_seq, chats.c.history_visible)
    .join(chats, chats.c.pk == members.c.chat_pk)
    .where(members.c.user_pk == bindparam("user"), one_of(chats.c.pk, "chats"), chats.c.deleted_at.is_(None))
)


def first_seqs(connection: Connection, user_pk: int, chat_pks: Collection[int]) -> dict[int, int]:
    """Of the chats that a user is a member of, the first seq that they may see."""
    rows: Sequence[tuple[int, int, str]] = fetch_one(
        connection, JOINED, {"user": user_pk, "chats": json_list(chat_pks)}
    )
    return {pk: first_visible(visible, joined_seq) for pk, joined_seq, visible in rows}
