"""How much is unread, without counting: the messages of a chat are numbered.

``ordinal`` of a message is how many messages of its chat count as unread up to and with it; the chat's channel has that of
the newest. A member has ``read_ordinal``, that of the newest message up to their read position, and ``own_after``, how many
of their own come after it. Unread is the difference of the ordinals, less their own, less what others have deleted there.

A reply that is shown in its thread alone has the ordinal of the message before it, and does not count.

A chat from before there were numbers has none until ``fill`` has come to it; so long its messages are counted.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, and_, bindparam, case, func, literal_column, or_, select

from storage.fetch import Rows, fetch_one
from storage.models import channels, members, messages
from storage.prepared import Prepared, Update, json_list, one_of
from storage.statements import Read
from storage.transaction import Tx

UNREAD_CAP = 1000
# Messages of others that were deleted, above which it is cheaper to count.
DELETED_CAP = 1000
FILLED_AT_ONCE = 500
MEMBERS_AT_ONCE = 10


# Replies that are shown in their thread alone count there.
IN_CHAT = messages.c.previous_seq.is_(None)


class ReadState(NamedTuple):
    """How far a member has read. The last two are None where the chat has no numbers yet."""

    wrote: bool
    read_seq: int
    read_ordinal: int | None
    own_after: int | None


SET_READ_STATE = Update(members, ("chat_pk", "user_pk"), ReadState._fields)
OWN_BETWEEN = Prepared(
    select(func.count()).where(
        messages.c.chat_pk == bindparam("chat"),
        messages.c.seq > bindparam("after"),
        messages.c.seq <= bindparam("upto"),
        messages.c.sender_pk == bindparam("user"),
        IN_CHAT,
    )
)


def state(tx: Tx, chat_pk: int, user_pk: int, read: ReadState) -> ReadState:
    """A state that was read in this transaction, past what waits to be written."""
    waiting = tx.waiting_update(SET_READ_STATE, (chat_pk, user_pk))
    return read if waiting is None else ReadState(*waiting)


def next_ordinal(tx: Tx, chat_pk: int) -> int | None:
    """Of the next message of a chat whose channel is locked."""
    last = tx.ordinal(chat_pk)
    if last is None:
        return None
    tx.set_ordinal(chat_pk, last + 1)
    return last + 1


def add_own(tx: Tx, chat_pk: int, user_pk: int, before: ReadState, *, wrote: bool, counts: bool = True) -> None:
    """A message of the member's own was added; ``wrote``: by themselves; ``counts``: among the messages of the chat."""
    had_written, read_seq, read_ordinal, own_after = before
    if not counts and had_written:
        return
    if own_after is not None and counts:
        own_after += 1
    now = ReadState(had_written or wrote, read_seq, read_ordinal, own_after)
    tx.update_later(SET_READ_STATE, (chat_pk, user_pk), now)


def mark_read(tx: Tx, chat_pk: int, user_pk: int, before: ReadState, seq: int, ordinal: int | None) -> None:
    """The member has read up to the message at ``seq``, whose ordinal this is."""
    own_after = before.own_after
    if ordinal is None or own_after is None:
        # Left to ``fill``.
        ordinal = own_after = None
    elif own_after:
        ((query, values),) = reads_of_mark(chat_pk, user_pk, before, seq)
        own_after -= tx.first(query, values)[0]
    tx.update_later(SET_READ_STATE, (chat_pk, user_pk), ReadState(before.wrote, seq, ordinal, own_after))


def reads_of_mark(chat_pk: int, user_pk: int, before: ReadState, seq: int) -> list[Read]:
    """What ``mark_read`` asks for: their own messages up to there. Positions only grow, so that each is read once."""
    if not before.own_after:
        return []
    return [(OWN_BETWEEN, {"chat": chat_pk, "after": before.read_seq, "upto": seq, "user": user_pk})]


# Counting


# Messages of others that a member has not read and that were deleted. Without the hint SQLite would take the primary key,
# and look at all that is unread.
HINT = "INDEXED BY ix_messages_deleted"
DELETED_AFTER = f"""(SELECT count(*) FROM (
  SELECT 1 FROM messages {{hint}} WHERE messages.chat_pk = members.chat_pk AND messages.seq > members.read_seq
  AND messages.sender_pk != members.user_pk AND messages.deleted_at IS NOT NULL AND messages.previous_seq IS NULL
  LIMIT {DELETED_CAP + 1}
) AS gone)"""


class UnreadCount:
    """Counts for the members that a condition names."""

    def __init__(self, *where: ColumnElement[bool]) -> None:
        member = select(members.c.user_pk, members.c.chat_pk).where(*where)
        after = channels.c.ordinal - members.c.read_ordinal - members.c.own_after
        deleted = [case((after > 0, literal_column(DELETED_AFTER.format(hint=hint))), else_=0) for hint in (HINT, "")]
        numbered = member.add_columns(after).join(channels, channels.c.pk == members.c.chat_pk)
        # ``(user_pk, chat_pk, after, deleted)``: how many of others' messages there are, and how many of them were deleted.
        self.by_ordinals = Prepared(*(numbered.add_columns(each) for each in deleted))
        some = (
            select(literal_column("1"))
            .where(
                messages.c.chat_pk == members.c.chat_pk,
                messages.c.seq > members.c.read_seq,
                messages.c.sender_pk != members.c.user_pk,
                messages.c.deleted_at.is_(None),
                IN_CHAT,
            )
            .limit(UNREAD_CAP)
            .correlate(members)
            .subquery()
        )
        self.one_by_one = Prepared(
            member.add_columns(select(func.count()).select_from(some).scalar_subquery()).where(
                one_of(members.c.chat_pk, "counted")
            )
        )

    def counts(self, connection: Connection, rows: Rows, values: Mapping[str, Any]) -> dict[tuple[int, int], int]:
        """Messages of others that were not read, not deleted, at most 1,000 of each chat; by user and chat.

        ``rows`` are those of ``by_ordinals``. Chats without ordinals, or with too many deletions, are counted by message.
        """
        found: dict[tuple[int, int], int] = {}
        counted: set[int] = set()
        for user_pk, chat_pk, after, deleted in rows:
            if after is None or deleted > DELETED_CAP:
                counted.add(chat_pk)
            else:
                found[user_pk, chat_pk] = min(after - deleted, UNREAD_CAP)
        if counted:
            exact = fetch_one(connection, self.one_by_one, {**values, "counted": json_list(counted)})
            found.update({(user_pk, chat_pk): number for user_pk, chat_pk, number in exact})
        return found


IN_CHATS = UnreadCount(members.c.user_pk == bindparam("user"), one_of(members.c.chat_pk, "chats"))
UNMUTED = UnreadCount(
    one_of(members.c.user_pk, "users"),
    or_(members.c.muted_until.is_(None), members.c.muted_until <= bindparam("at")),
)


def read_of_chats(user_pk: int, chat_pks: Iterable[int]) -> Read:
    """The query of ``in_chats``."""
    return IN_CHATS.by_ordinals, {"user": user_pk, "chats": json_list(chat_pks)}


def in_chats(connection: Connection, user_pk: int, rows: Rows) -> dict[int, int]:
    """What a member has not read, by chat; of the rows of ``read_of_chats``."""
    _, values = read_of_chats(user_pk, (row[1] for row in rows))
    return {chat_pk: number for (_, chat_pk), number in IN_CHATS.counts(connection, rows, values).items()}


def in_chat(connection: Connection, user_pk: int, chat_pk: int) -> int:
    rows = fetch_one(connection, *read_of_chats(user_pk, [chat_pk]))
    return in_chats(connection, user_pk, rows).get(chat_pk, 0)


def unmuted(connection: Connection, user_pks: Collection[int], at: int) -> dict[int, int]:
    """What each of these users has not read, over all chats that are not muted at ``at``."""
    totals: dict[int, int] = defaultdict(int)
    values = {"users": json_list(user_pks), "at": at}
    rows = fetch_one(connection, UNMUTED.by_ordinals, values)
    for (user_pk, _), number in UNMUTED.counts(connection, rows, values).items():
        totals[user_pk] += number
    return totals


# Numbering what was there before


def to_fill(connection: Connection) -> int | None:
    """A chat whose messages, or whose members, have no numbers."""
    chat_pk: int | None = connection.execute(
        select(channels.c.pk).where(channels.c.ordinal.is_(None)).limit(1)
    ).scalar()
    if chat_pk is not None:
        return chat_pk
    return connection.execute(select(members.c.chat_pk).where(members.c.read_ordinal.is_(None)).limit(1)).scalar()


SET_ORDINAL = Update(messages, ("chat_pk", "seq"), ("ordinal",))


def fill(tx: Tx, chat_pk: int) -> None:
    """Number a slice of a chat, whose channel is locked: first its messages from the oldest on, then its members."""
    if tx.ordinal(chat_pk) is not None:
        return fill_members(tx, chat_pk)
    here = messages.c.chat_pk == chat_pk
    unnumbered = select(messages.c.seq, IN_CHAT).where(here, messages.c.ordinal.is_(None)).order_by(messages.c.seq)
    some: Any = tx.execute(unnumbered.limit(FILLED_AT_ONCE)).all()
    last = select(messages.c.ordinal).where(here).order_by(messages.c.seq.desc()).limit(1)
    if some:
        last = last.where(messages.c.seq < some[0].seq)
    ordinal = tx.execute(last).scalar() or 0
    for seq, in_chat in some:
        ordinal += bool(in_chat)
        tx.update_later(SET_ORDINAL, (chat_pk, seq), (ordinal,))
    if len(some) < FILLED_AT_ONCE:
        tx.set_ordinal(chat_pk, ordinal)
    return None


def fill_members(tx: Tx, chat_pk: int) -> None:
    here = messages.c.chat_pk == members.c.chat_pk
    read = select(messages.c.ordinal).where(here, messages.c.seq <= members.c.read_seq)
    own = select(func.count()).where(
        and_(here, messages.c.seq > members.c.read_seq, messages.c.sender_pk == members.c.user_pk, IN_CHAT)
    )
    some = select(
        members.c.user_pk,
        members.c.wrote,
        members.c.read_seq,
        func.coalesce(read.order_by(messages.c.seq.desc()).limit(1).correlate(members).scalar_subquery(), 0),
        own.correlate(members).scalar_subquery(),
    ).where(members.c.chat_pk == chat_pk, members.c.read_ordinal.is_(None))
    rows: Any = tx.execute(some.limit(MEMBERS_AT_ONCE))
    for user_pk, *columns in rows.all():
        tx.update_later(SET_READ_STATE, (chat_pk, user_pk), ReadState(*columns))
