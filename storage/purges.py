"""Messages of banned users that are being deleted, slice by slice."""

from typing import Any, Literal, NamedTuple

from sqlalchemy import Connection, bindparam, delete, insert, select, update

from storage.messages import PLACE, MessagePlace
from storage.models import messages, purges
from storage.transaction import Tx

Deletion = Literal["none", "hour", "day", "all"]


class Purge(NamedTuple):
    """Of a user's messages in a chat: those sent since a time (microseconds), with a seq below ``before_seq``."""

    pk: int
    chat_pk: int
    user_pk: int
    since: int
    before_seq: int


class PurgeSlice(NamedTuple):
    """Messages to be deleted, and the ``before_seq`` that is left after them; 0 for nothing."""

    places: list[MessagePlace]
    before_seq: int


# Per slice: messages of the chat that are read, and messages of the user that are deleted, at most.
SCANNED_MESSAGES, DELETED_MESSAGES = 2_000, 50
SELECT = select(purges.c.pk, purges.c.chat_pk, purges.c.user_pk, purges.c.since, purges.c.before_seq)
NEWEST = (
    select(*(messages.c[name] for name in (*PLACE, "created_at", "deleted_at", "transfer")))
    .where(messages.c.chat_pk == bindparam("chat"), messages.c.seq < bindparam("before"))
    .order_by(messages.c.seq.desc())
    .limit(SCANNED_MESSAGES)
)


def add(tx: Tx, chat_pk: int, user_pk: int, since: int) -> int:
    """Covers the messages that exist now: a ban may end before the purge does. The transaction holds the chat."""
    row = {"chat_pk": chat_pk, "user_pk": user_pk, "since": since, "before_seq": tx.head(chat_pk) + 1}
    primary_key: Any = tx.execute(insert(purges), row).inserted_primary_key
    return int(primary_key[0])


def find(connection: Connection, pk: int) -> Purge | None:
    row: Any = connection.execute(SELECT.where(purges.c.pk == pk)).first()
    return None if row is None else Purge(*row)


def next_slice(connection: Connection, purge: Purge) -> PurgeSlice:
    """The newest of them. Reversals of transfers stay."""
    rows: Any = connection.execute(NEWEST, {"chat": purge.chat_pk, "before": purge.before_seq}).all()
    places: list[MessagePlace] = []
    for *place, created_at, deleted_at, transfer in rows:
        if created_at < purge.since:
            return PurgeSlice(places, 0)
        if (
            place[PLACE.index("sender_pk")] == purge.user_pk
            and deleted_at is None
            and '"reversal":true' not in (transfer or "")
        ):
            places.append(MessagePlace(*place))
            if len(places) == DELETED_MESSAGES:
                return PurgeSlice(places, places[-1].seq)
    return PurgeSlice(places, rows[-1].seq if len(rows) == SCANNED_MESSAGES else 0)


def set_progress(tx: Tx, pk: int, before_seq: int) -> None:
    tx.execute(update(purges).where(purges.c.pk == pk).values(before_seq=before_seq))


def end(tx: Tx, pk: int) -> None:
    tx.execute(delete(purges).where(purges.c.pk == pk))
