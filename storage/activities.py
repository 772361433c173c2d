"""Live Activities: what stands on lock screens for a stream, and must be ended there."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import Connection, func, insert, select, text, update

from storage.models import ALIVE, activities
from storage.transaction import Tx
from storage.types import SECOND

LIFE_MICROSECONDS = 12 * 3600 * SECOND


@dataclass(frozen=True, slots=True)
class Activity:
    """``stamp`` is that of the newest push to it, in seconds since 1970: a phone ignores what is not newer."""

    pk: int
    tenant_pk: int
    stream_pk: int
    user_pk: int
    device_id: str
    activity_id: str
    token: str
    environment: str
    bundle_id: str
    state: Literal["active", "ending", "ended", "dead"]
    stamp: int
    registered_at: int
    created_at: int


SELECT = select(*(activities.c[name] for name in Activity.__slots__))


def find(connection: Connection, tenant_pk: int, device_id: str, activity_id: str) -> Activity | None:
    row = connection.execute(
        SELECT.where(
            activities.c.tenant_pk == tenant_pk,
            activities.c.device_id == device_id,
            activities.c.activity_id == activity_id,
        )
    ).first()
    return Activity(*row) if row else None


def by_pks(connection: Connection, pks: Collection[int]) -> dict[int, Activity]:
    found = [Activity(*row) for row in connection.execute(SELECT.where(activities.c.pk.in_(pks)))] if pks else []
    return {each.pk: each for each in found}


def add(tx: Tx, values: Mapping[str, Any]) -> int:
    row = {**values, "state": "active", "stamp": 0, "registered_at": tx.now, "created_at": tx.now}
    primary_key = tx.execute(insert(activities), row).inserted_primary_key
    assert primary_key is not None
    return int(primary_key[0])


def alive(connection: Connection, user_pk: int) -> int:
    """How many a user has on lock screens."""
    mine = select(func.count()).select_from(activities).where(activities.c.user_pk == user_pk, text(ALIVE))
    return int(connection.execute(mine).scalar_one())


def rotate(tx: Tx, pk: int, **values: Any) -> None:
    """A new token; what was ended under the old one is to be ended under this."""
    tx.execute(update(activities).where(activities.c.pk == pk).values(**values, state="active", registered_at=tx.now))


def to_push(
    connection: Connection, stream_pk: int, *, after: int, only: int | None, limit: int
) -> list[tuple[int, int]]:
    """``(user_pk, pk)`` of activities of a stream that are neither ended nor being ended."""
    statement = select(activities.c.user_pk, activities.c.pk).where(
        activities.c.stream_pk == stream_pk, activities.c.state == "active", activities.c.pk > after
    )
    if only is not None:
        statement = statement.where(activities.c.pk == only)
    rows = connection.execute(statement.order_by(activities.c.pk).limit(limit))
    return [(row[0], row[1]) for row in rows]


def stamp(tx: Tx, pks: Collection[int], *, ending: bool) -> dict[int, int]:
    """A newer stamp for a push to each of these that is active; with ``ending`` they are from now on being ended."""
    held = select(activities.c.pk, activities.c.stamp).where(activities.c.pk.in_(pks), activities.c.state == "active")
    stamps = {
        row.pk: max(tx.now // SECOND, row.stamp + 1)
        for row in tx.execute(held.order_by(activities.c.pk).with_for_update())
    }
    for pk, newer in stamps.items():
        values = {"stamp": newer, "state": "ending"} if ending else {"stamp": newer}
        tx.execute(update(activities).where(activities.c.pk == pk).values(**values))
    return stamps


def settle(tx: Tx, pk: int, token: str, state: str) -> bool:
    """It is ended, gone, or active again, as far as this token goes; False if it has another one by now."""
    here = (activities.c.pk == pk, activities.c.token == token)
    return tx.execute(update(activities).where(*here).values(state=state)).rowcount > 0


def expire(tx: Tx) -> int:
    """After 12 hours iOS has removed it: nothing can be pushed any more."""
    old = (text(ALIVE), activities.c.created_at < tx.now - LIFE_MICROSECONDS)
    return tx.execute(update(activities).where(*old).values(state="dead")).rowcount
