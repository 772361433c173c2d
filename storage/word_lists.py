"""Lists of words that a tenant rejects, or that make a report."""

from typing import Any, Literal, NamedTuple, cast

import orjson
from sqlalchemy import Connection, delete, func, insert, select

from storage.models import word_lists
from storage.transaction import Tx

WordAction = Literal["reject", "flag"]


class WordList(NamedTuple):
    """``words`` as they were given; ``updated_at`` in microseconds."""

    tenant_pk: int
    name: str
    action: WordAction
    words: list[str]
    updated_at: int


COLUMNS = (word_lists.c.tenant_pk, word_lists.c.name, word_lists.c.action, word_lists.c.words, word_lists.c.updated_at)


def put(tx: Tx, tenant_pk: int, name: str, action: WordAction, words: list[str]) -> WordList:
    """Make a list, or replace it. Later than the one before, also within a clock's tick."""
    known = find(tx.connection(), tenant_pk, name)
    at = tx.now if known is None else max(tx.now, known.updated_at + 1)
    remove(tx, tenant_pk, name)
    made = WordList(tenant_pk, name, action, words, at)
    tx.execute(insert(word_lists), made._asdict() | {"words": orjson.dumps(words).decode()})
    return made


def remove(tx: Tx, tenant_pk: int, name: str) -> None:
    tx.execute(delete(word_lists).where(word_lists.c.tenant_pk == tenant_pk, word_lists.c.name == name))


def find(connection: Connection, tenant_pk: int, name: str) -> WordList | None:
    row = connection.execute(
        select(*COLUMNS).where(word_lists.c.tenant_pk == tenant_pk, word_lists.c.name == name)
    ).first()
    return None if row is None else read(row)


def of_tenant(connection: Connection, tenant_pk: int) -> list[WordList]:
    """By name."""
    statement = select(*COLUMNS).where(word_lists.c.tenant_pk == tenant_pk)
    return [read(row) for row in connection.execute(statement.order_by(word_lists.c.name))]


def every(connection: Connection) -> list[WordList]:
    return [read(row) for row in connection.execute(select(*COLUMNS))]


def version(connection: Connection) -> tuple[int, int]:
    """What differs after every change of a list: how many there are, and when one changed last."""
    statement = select(func.count(), func.coalesce(func.max(word_lists.c.updated_at), 0)).select_from(word_lists)
    count, at = connection.execute(statement).one()
    return int(count), int(at)


def read(row: Any) -> WordList:
    tenant_pk, name, action, words, updated_at = row
    return WordList(tenant_pk, name, cast(WordAction, action), orjson.loads(words), updated_at)
