"""Reactions to messages: a row each, and their sum on the message, so that history asks nothing more."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import orjson
from sqlalchemy import Connection, and_, bindparam, delete, func, select, text, tuple_

from storage.fetch import fetch_one
from storage.messages import MESSAGE, Message, dumped, read_message
from storage.models import REACTIONS_DUE, events, members, messages, reactions, users
from storage.prepared import Bulk, Delete, Prepared, Update, json_list, of_pairs, one_of
from storage.statements import Read
from storage.transaction import Tx

# Of those who reacted with a key, by id.
USERS_SHOWN = 20
KEYS_OF = Prepared(
    select(reactions.c.key)
    .where(
        reactions.c.chat_pk == bindparam("chat"),
        reactions.c.seq == bindparam("seq"),
        reactions.c.user_pk == bindparam("user"),
    )
    .order_by(reactions.c.created_at, reactions.c.key)
)
MINE = of_pairs(
    "SELECT r.chat_pk, r.seq, r.key FROM {pairs} JOIN reactions AS r ON r.chat_pk = w.pk AND r.seq = w.seq "
    "AND r.user_pk = :user ORDER BY r.chat_pk, r.seq, r.created_at, r.key"
)
ADD = Bulk(reactions, ("chat_pk", "seq", "user_pk", "key", "created_at"))
REMOVE = Delete(reactions, ("chat_pk", "seq", "user_pk", "key"))
# All in one statement, so that of two changes in a batch the later one counts.
SET = Update(messages, ("chat_pk", "seq"), ("reactions", "reaction_seq", "reactions_due"))
NEWEST_JOIN = Prepared(select(func.max(members.c.joined_seq)).where(members.c.chat_pk == bindparam("chat")))
PAYLOADS = Prepared(
    select(events.c.seq, events.c.payload).where(events.c.channel_pk == bindparam("chat"), one_of(events.c.seq, "seqs"))
)
Summary = Sequence[Mapping[str, Any]]


def keys_of(tx: Tx, chat_pk: int, seq: int, user_pk: int) -> list[str]:
    """Those with which a user has reacted to a message."""
    known: list[str] | None = tx.pending(("reactions", chat_pk, seq, user_pk), None)
    if known is not None:
        return known
    return [row[0] for row in tx.rows(KEYS_OF, {"chat": chat_pk, "seq": seq, "user": user_pk})]


def reads_of_change(chat_pk: int, seq: int, user_pk: int) -> list[Read]:
    """The queries of ``keys_of`` and ``newest_join``."""
    return [(KEYS_OF, {"chat": chat_pk, "seq": seq, "user": user_pk}), (NEWEST_JOIN, {"chat": chat_pk})]


def change(tx: Tx, item: Message, user_pk: int, user_id: str, key: str, *, add: bool) -> Message:
    """Add or remove a reaction of a user, which changes something; the message with the new sum, which waits to be shown."""
    keys = keys_of(tx, item.chat_pk, item.seq, user_pk)
    pending = ("reactions", item.chat_pk, item.seq, user_pk)
    if tx.pending(pending, None) is not None:
        # A row of the same key may wait to be written, or to be removed.
        tx.connection()
    place = (item.chat_pk, item.seq, user_pk, key)
    if add:
        tx.later(ADD, (*place, tx.now))
    else:
        tx.update_later(REMOVE, place, ())
    tx.set_pending(pending, [*keys, key] if add else [each for each in keys if each != key])
    summary = added(item.reactions, key, user_id) if add else removed(tx, item, key, user_id)
    return keep(tx, replace(item, reactions=summary, reactions_due=1))


def added(summary: Summary, key: str, user_id: str) -> list[Mapping[str, Any]]:
    known = next((each for each in summary if each["key"] == key), None)
    if known is None:
        return [*summary, {"key": key, "count": 1, "userIds": [user_id]}]
    shown = [*known["userIds"], user_id][:USERS_SHOWN]
    more = {**known, "count": known["count"] + 1, "userIds": shown}
    return [more if each is known else each for each in summary]


def removed(tx: Tx, item: Message, key: str, user_id: str) -> list[Mapping[str, Any]]:
    """Where more have reacted than are shown, the next one is shown."""
    known = next((each for each in item.reactions if each["key"] == key), None)
    if known is None:
        return [*item.reactions]
    shown = [each for each in known["userIds"] if each != user_id]
    if len(shown) < len(known["userIds"]) and known["count"] > USERS_SHOWN:
        shown += another(tx.connection(), item, key, exclude=shown)
    less = {**known, "count": known["count"] - 1, "userIds": shown}
    left = [less if each is known else each for each in item.reactions]
    return [each for each in left if each["count"] > 0]


def another(connection: Connection, item: Message, key: str, *, exclude: Collection[str]) -> list[str]:
    """One more user who has reacted with a key, by id."""
    statement = (
        select(users.c.id)
        .join(reactions, reactions.c.user_pk == users.c.pk)
        .where(
            reactions.c.chat_pk == item.chat_pk,
            reactions.c.seq == item.seq,
            reactions.c.key == key,
            users.c.id.not_in(exclude),
        )
        .order_by(reactions.c.user_pk)
    )
    return list(connection.execute(statement.limit(1)).scalars())


def keep(tx: Tx, item: Message) -> Message:
    """Write the sum of a message's reactions, and which event shows it."""
    values = (dumped(list(item.reactions)) if item.reactions else None, item.reaction_seq, item.reactions_due)
    tx.update_later(SET, (item.chat_pk, item.seq), values)
    tx.set_pending(("message", item.chat_pk, item.seq), item)
    return item


def clear(tx: Tx, item: Message) -> Message:
    """Without reactions: of a message that is deleted."""
    if not item.reactions and item.reaction_seq is None and item.reactions_due is None:
        return item
    here = reactions.c.chat_pk == item.chat_pk, reactions.c.seq == item.seq
    tx.execute(delete(reactions).where(*here))
    return keep(tx, replace(item, reactions=(), reaction_seq=None, reactions_due=None))


def remove_all(tx: Tx, chat_pk: int, seq: int, user_pk: int) -> None:
    """Of a user to a message that is not there any more."""
    here = reactions.c.chat_pk == chat_pk, reactions.c.seq == seq, reactions.c.user_pk == user_pk
    tx.execute(delete(reactions).where(*here))


def to_show(connection: Connection, chat_pk: int, *, limit: int) -> list[Message]:
    """Messages of a chat whose reactions have changed since an event showed them."""
    statement = MESSAGE.where(messages.c.chat_pk == chat_pk, text(REACTIONS_DUE)).order_by(messages.c.seq).limit(limit)
    return [read_message(row) for row in connection.execute(statement)]


def newest_join(tx: Tx, chat_pk: int) -> int:
    """The highest ``joined_seq`` of the members: some may not see what is not above it."""
    row = tx.first(NEWEST_JOIN, {"chat": chat_pk})
    return int(row[0] or 0) if row else 0


def payloads(tx: Tx, chat_pk: int, seqs: Collection[int]) -> dict[int, Any]:
    """Documents of events of a chat, by seq, as the batch has changed them; those that retention has removed are left out."""
    found: dict[int, Any] = {}
    for seq in seqs:
        if (known := tx.pending(("reaction event", chat_pk, seq), None)) is not None:
            found[seq] = known
    rest = [seq for seq in seqs if seq not in found]
    if rest:
        rows = tx.rows(PAYLOADS, {"chat": chat_pk, "seqs": json_list(rest)})
        found |= {row[0]: orjson.loads(row[1]) for row in rows}
    return found


# Looking


class Reactor(NamedTuple):
    user_pk: int
    user_id: str
    name: str
    key: str
    created_at: int


def who(connection: Connection, chat_pk: int, seq: int, *, key: str, after: int, limit: int) -> list[Reactor]:
    """Who has reacted with a key, by number of the user."""
    statement = (
        select(reactions.c.user_pk, users.c.id, users.c.name, reactions.c.key, reactions.c.created_at)
        .join(users, users.c.pk == reactions.c.user_pk)
        .where(
            reactions.c.chat_pk == chat_pk,
            reactions.c.seq == seq,
            reactions.c.user_pk > after,
            reactions.c.key == key,
        )
    )
    rows: Any = connection.execute(statement.order_by(reactions.c.user_pk).limit(limit))
    return [Reactor(*row) for row in rows]


def mine(connection: Connection, items: Sequence[Message], user_pk: int) -> dict[str, list[str]]:
    """By message the keys with which a user has reacted."""
    places = {(each.chat_pk, each.seq): each.id for each in items if each.reactions}
    if not places:
        return {}
    found: dict[str, list[str]] = {}
    for chat_pk, seq, key in fetch_one(connection, MINE, {"pairs": json_list(places), "user": user_pk}):
        found.setdefault(places[chat_pk, seq], []).append(key)
    return found


class OwnReaction(NamedTuple):
    """As an export has it; ``message_id`` and ``seq`` are of the message."""

    chat_pk: int
    seq: int
    message_id: str
    key: str
    created_at: int


def given_by(connection: Connection, user_pk: int, after: tuple[int, int], *, limit: int) -> list[OwnReaction]:
    """Reactions of a user to messages after this ``(chat, seq)``: those to ``limit`` messages at most."""
    place = reactions.c.chat_pk, reactions.c.seq
    some = (
        select(*place)
        .where(reactions.c.user_pk == user_pk, tuple_(*place) > after)
        .distinct()
        .order_by(*place)
        .limit(limit)
        .subquery()
    )
    here = and_(reactions.c.chat_pk == some.c.chat_pk, reactions.c.seq == some.c.seq)
    statement = (
        select(*place, messages.c.id, reactions.c.key, reactions.c.created_at)
        .join(some, here)
        .join(messages, and_(messages.c.chat_pk == reactions.c.chat_pk, messages.c.seq == reactions.c.seq))
        .where(reactions.c.user_pk == user_pk)
        .order_by(*place, reactions.c.key)
    )
    rows: Any = connection.execute(statement)
    return [OwnReaction(*row) for row in rows]


def of_user(connection: Connection, user_pk: int, *, limit: int) -> list[tuple[int, int]]:
    """``(chat, seq)`` of messages to which a user has reacted."""
    place = reactions.c.chat_pk, reactions.c.seq
    statement = select(*place).where(reactions.c.user_pk == user_pk).distinct().order_by(*place).limit(limit)
    return [(row.chat_pk, row.seq) for row in connection.execute(statement)]
