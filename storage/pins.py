"""Pinned messages of a chat: a row each, under the chat's lock."""

from typing import NamedTuple

from sqlalchemy import Connection, bindparam, or_, select

from storage.fetch import fetch_one
from storage.models import pins, users
from storage.prepared import Bulk, Delete, Prepared, Update
from storage.statements import Read
from storage.transaction import Tx

KEYS = ("chat_pk", "seq")


class Pin(NamedTuple):
    """Who pinned a message, and ``until`` when (microseconds), or None for no end."""

    seq: int
    user_pk: int
    until: int | None
    created_at: int


ADD = Bulk(pins, (*KEYS, "user_pk", "until", "created_at"))
SET = Update(pins, KEYS, ("user_pk", "until", "created_at"))
REMOVE = Delete(pins, KEYS)
OF_CHAT = Prepared(
    select(*(pins.c[name] for name in Pin._fields)).where(pins.c.chat_pk == bindparam("chat")).order_by(pins.c.seq)
)
SHOWN = Prepared(
    select(*(pins.c[name] for name in Pin._fields), users.c.id)
    .join(users, users.c.pk == pins.c.user_pk)
    .where(
        pins.c.chat_pk == bindparam("chat"),
        pins.c.seq >= bindparam("first"),
        or_(pins.c.until.is_(None), pins.c.until > bindparam("at")),
    )
    .order_by(pins.c.created_at.desc(), pins.c.seq.desc())
)


def of_chat(tx: Tx, chat_pk: int) -> dict[int, Pin]:
    """By seq, those that are over included."""
    known: dict[int, Pin] | None = tx.pending(("pins", chat_pk), None)
    if known is not None:
        return known
    return {row[0]: Pin(*row) for row in tx.rows(OF_CHAT, {"chat": chat_pk})}


def reads_of_chat(chat_pk: int) -> list[Read]:
    """The queries of ``of_chat``."""
    return [(OF_CHAT, {"chat": chat_pk})]


def put(tx: Tx, chat_pk: int, pin: Pin) -> None:
    """Pin a message, or change until when it is."""
    known = of_chat(tx, chat_pk)
    place = (chat_pk, pin.seq)
    if tx.pending(("pin", place), None):
        # A row of the same key may wait to be written, or to be removed.
        tx.connection()
    if pin.seq in known:
        tx.update_later(SET, place, (pin.user_pk, pin.until, pin.created_at))
    else:
        tx.later(ADD, (*place, pin.user_pk, pin.until, pin.created_at))
    remember(tx, chat_pk, {**known, pin.seq: pin}, pin.seq)


def remove(tx: Tx, chat_pk: int, seq: int) -> None:
    known = of_chat(tx, chat_pk)
    if tx.pending(("pin", (chat_pk, seq)), None):
        tx.connection()
    tx.update_later(REMOVE, (chat_pk, seq), ())
    remember(tx, chat_pk, {place: pin for place, pin in known.items() if place != seq}, seq)


def remember(tx: Tx, chat_pk: int, now: dict[int, Pin], changed: int) -> None:
    tx.set_pending(("pins", chat_pk), now)
    tx.set_pending(("pin", (chat_pk, changed)), True)


class ShownPin(NamedTuple):
    pin: Pin
    user_id: str


def shown(connection: Connection, chat_pk: int, *, first: int, at: int) -> list[ShownPin]:
    """Those of messages from seq ``first`` on that are pinned ``at`` a time, the latest pinned first."""
    rows = fetch_one(connection, SHOWN, {"chat": chat_pk, "first": first, "at": at})
    return [ShownPin(Pin(*row[:-1]), row[-1]) for row in rows]
