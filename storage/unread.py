"""How much is unread, without counting: the messages of a chat are numbered, and so are those of each sender in it.

``ordinal`` is how many messages of the chat count as unread for those who have not read them, up to and with this one;
``sender_ordinal`` the same of its sender. What a member has not read is the difference of two ordinals, less their own
messages, less those of others that were deleted. Messages from before the numbers have none until ``fill`` has come to them;
a chat has them from its first message on, up to some message.
"""

from collections import defaultdict
from collections.abc import Collection, Hashable, Sequence
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, Select, bindparam, func, literal_column, or_, select

from storage.models import members, messages, users
from storage.prepared import Prepared, Update, padded
from storage.transaction import Tx

UNREAD_CAP = 1000
FILLED_AT_ONCE = 500
# Messages of others that were deleted, above which it is cheaper to count.
DELETED_CAP = 1000
# Of a chat whose newest message has no number.
UNNUMBERED = -1


class Ordinals(NamedTuple):
    """Of a message; None where the messages before it have none yet."""

    ordinal: int | None
    sender_ordinal: int | None


def newest(column: Any, *where: ColumnElement[bool]) -> Select[Any]:
    """The column of the newest message of these."""
    return select(column).where(*where).order_by(messages.c.seq.desc()).limit(1)


def last_ordinals(chat_pk: Any, user_pk: Any) -> list[Any]:
    """Columns: the ordinal of a chat's newest message, UNNUMBERED if it has none, and that of a user's newest there."""
    here = messages.c.chat_pk == chat_pk
    return [
        newest(func.coalesce(messages.c.ordinal, UNNUMBERED), here).scalar_subquery(),
        newest(messages.c.sender_ordinal, here, messages.c.sender_pk == user_pk).scalar_subquery(),
    ]


LAST = Prepared(select(*last_ordinals(bindparam("chat"), bindparam("sender"))))
SET_ORDINALS = Update(messages, ("chat_pk", "seq"), ("ordinal", "sender_ordinal"))


def next_ordinals(tx: Tx, chat_pk: int, sender_pk: int, last: Sequence[int | None] | None = None) -> Ordinals:
    """Of the next message of a chat whose channel is locked, past those that wait to be written.

    ``last`` is what the columns ``last_ordinals`` held in this transaction, where they were read.
    """
    ordinal, own = last or tx.first(LAST, {"chat": chat_pk, "sender": sender_pk})
    ordinal = tx.waiting_answer(("ordinal", chat_pk), ordinal)
    if ordinal == UNNUMBERED:
        return Ordinals(None, None)
    own = tx.waiting_answer(("ordinal", chat_pk, sender_pk), own)
    return Ordinals((ordinal or 0) + 1, (own or 0) + 1)


def answers(chat_pk: int, sender_pk: int, numbers: Ordinals) -> dict[Hashable, int]:
    """What a message that waits to be written answers to ``next_ordinals``."""
    if numbers.ordinal is None or numbers.sender_ordinal is None:
        return {}
    return {("ordinal", chat_pk): numbers.ordinal, ("ordinal", chat_pk, sender_pk): numbers.sender_ordinal}


# Counting


class Count:
    """Counts for the members that a condition names."""

    def __init__(self, *members_where: ColumnElement[bool]) -> None:
        above = newest(messages.c.seq, messages.c.chat_pk == members.c.chat_pk).correlate(members).scalar_subquery()
        member = (
            select(members.c.user_pk, members.c.chat_pk, members.c.read_seq, above.label("newest"))
            .where(*members_where)
            .subquery()
        )
        here, own = messages.c.chat_pk == member.c.chat_pk, messages.c.sender_pk == member.c.user_pk
        read, unread = messages.c.seq <= member.c.read_seq, messages.c.seq > member.c.read_seq
        others = here, unread, ~own

        def ordinal(column: Any, *where: ColumnElement[bool]) -> Any:
            return newest(column, here, *where).correlate(member).scalar_subquery()

        def number(most: int, *where: ColumnElement[bool]) -> Any:
            """How many messages there are of these, up to ``most``."""
            some = select(literal_column("1")).where(*where).limit(most).correlate(member).subquery()
            return select(func.count()).select_from(some).scalar_subquery()

        parts = [
            ordinal(messages.c.ordinal),
            ordinal(messages.c.ordinal, read),
            ordinal(messages.c.sender_ordinal, own),
            ordinal(messages.c.sender_ordinal, own, read),
            number(DELETED_CAP + 1, *others, messages.c.deleted_at.is_not(None)),
        ]
        # For each member who has not read the newest message, which may be their own.
        self.by_ordinals = select(member.c.user_pk, member.c.chat_pk, *parts).where(member.c.newest > member.c.read_seq)
        counted = number(UNREAD_CAP, *others, messages.c.deleted_at.is_(None))
        self.one_by_one = select(member.c.user_pk, member.c.chat_pk, counted).where(
            member.c.chat_pk.in_(bindparam("counted"))
        )

    def run(self, connection: Connection, values: dict[str, Any]) -> dict[tuple[int, int], int]:
        """Messages of others that were not read, not deleted, at most 1,000 of each chat; by user and chat."""
        found: dict[tuple[int, int], int] = {}
        counted: set[int] = set()
        for user_pk, chat_pk, last, last_read, own, own_read, deleted in connection.execute(self.by_ordinals, values):
            if last is None or deleted > DELETED_CAP:
                counted.add(chat_pk)
            number = (last or 0) - (last_read or 0) - (own or 0) + (own_read or 0) - deleted
            found[user_pk, chat_pk] = min(number, UNREAD_CAP)
        if counted:
            rows: Any = connection.execute(self.one_by_one, {**values, "counted": padded(counted)})
            found.update({(user_pk, chat_pk): number for user_pk, chat_pk, number in rows})
        return found


IN_CHATS = Count(members.c.user_pk == bindparam("user"), members.c.chat_pk.in_(bindparam("chats")))
UNMUTED = Count(
    members.c.user_pk.in_(bindparam("users")),
    or_(members.c.muted_until.is_(None), members.c.muted_until <= bindparam("at")),
)


def in_chats(connection: Connection, user_pk: int, chat_pks: Collection[int]) -> dict[int, int]:
    """What a member has not read, by chat; none for a chat where that is nothing."""
    counted = IN_CHATS.run(connection, {"user": user_pk, "chats": padded(chat_pks)})
    return {chat_pk: number for (_, chat_pk), number in counted.items()}


def in_chat(connection: Connection, user_pk: int, chat_pk: int) -> int:
    return in_chats(connection, user_pk, [chat_pk]).get(chat_pk, 0)


def unmuted(connection: Connection, user_pks: Collection[int], at: int) -> dict[int, int]:
    """What each of these users has not read, over all chats that are not muted at ``at``."""
    totals: dict[int, int] = defaultdict(int)
    for (user_pk, _), number in UNMUTED.run(connection, {"users": padded(user_pks), "at": at}).items():
        totals[user_pk] += number
    return totals


# Numbering what was there before


def to_fill(connection: Connection) -> int | None:
    """A chat with messages that have no numbers."""
    return connection.execute(select(messages.c.chat_pk).where(messages.c.ordinal.is_(None)).limit(1)).scalar()


def fill(tx: Tx, chat_pk: int) -> None:
    """Number the oldest of a chat's messages that have no number; the chat's channel is locked."""
    unnumbered = select(messages.c.seq, messages.c.sender_pk).where(
        messages.c.chat_pk == chat_pk, messages.c.ordinal.is_(None)
    )
    rows: Any = tx.execute(unnumbered.order_by(messages.c.seq).limit(FILLED_AT_ONCE)).all()
    if not rows:
        return
    before = messages.c.chat_pk == chat_pk, messages.c.seq < rows[0].seq
    ordinal = tx.execute(newest(messages.c.ordinal, *before)).scalar() or 0
    own = newest(messages.c.sender_ordinal, *before, messages.c.sender_pk == users.c.pk).correlate(users)
    senders = select(users.c.pk, own.scalar_subquery()).where(users.c.pk.in_({row.sender_pk for row in rows}))
    found: Any = tx.execute(senders)
    owns: dict[int, int] = {pk: number or 0 for pk, number in found}
    for number, (seq, sender_pk) in enumerate(rows, ordinal + 1):
        owns[sender_pk] = owns.get(sender_pk, 0) + 1
        tx.update_later(SET_ORDINALS, (chat_pk, seq), (number, owns[sender_pk]))
