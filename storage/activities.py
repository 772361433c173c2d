"""Live Activities and live updates: what devices show of a stream, and must be ended there."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from sqlalchemy import Connection, bindparam, func, insert, select, text, update

from storage.devices import APPLE
from storage.models import ALIVE, activities, devices, streams
from storage.prepared import Prepared, Update
from storage.stamps import Stamped
from storage.statements import Read
from storage.transaction import Tx
from storage.types import SECOND

LIFE_MICROSECONDS = 12 * 3600 * SECOND


@dataclass(frozen=True, slots=True)
class Activity:
    """``stamp`` is that of the newest push to it, in seconds since 1970: a phone ignores what is not newer.

    One of iOS has a token of its own. On other platforms, which have ``token`` "", pushes go to the device.
    """

    pk: int
    tenant_pk: int
    stream_pk: int
    user_pk: int
    device_id: str
    activity_id: str
    platform: str
    token: str
    environment: str
    bundle_id: str
    state: Literal["active", "ending", "ended", "dead"]
    stamp: int
    registered_at: int
    created_at: int


SELECT = select(*(activities.c[name] for name in Activity.__slots__))
TOKEN_OF = Prepared(select(activities.c.token).where(activities.c.pk == bindparam("pk")).with_for_update(), locks=True)
STAMPED = Stamped(activities, "active", Update(activities, ("pk",), ("stamp", "state")))
SET_STATE = Update(activities, ("pk", "token"), ("state",))


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
    row = {
        **values,
        "platform": APPLE,
        "state": "active",
        "stamp": 0,
        "registered_at": tx.now,
        "created_at": tx.now,
    }
    primary_key = tx.execute(insert(activities), row).inserted_primary_key
    assert primary_key is not None
    return int(primary_key[0])


class Start(NamedTuple):
    """A device that is to show a stream from now on, and a name of its own for that."""

    stream_pk: int
    device_pk: int
    activity_id: str


def add_started(tx: Tx, started: Sequence[Start]) -> None:
    """Activities of devices that are not Apple's: nothing is registered when they have started."""
    if not started:
        return
    phones = {row.pk: row for row in tx.execute(
        select(devices.c.pk, devices.c.user_pk, devices.c.device_id, devices.c.platform)
        .where(devices.c.pk.in_({each.device_pk for each in started}))
    )}  # fmt: skip
    pks = {each.stream_pk for each in started}
    tenants = {row.pk: row.tenant_pk for row in tx.execute(
        select(streams.c.pk, streams.c.tenant_pk).where(streams.c.pk.in_(pks))
    )}  # fmt: skip
    rows = [
        {
            "tenant_pk": tenants[each.stream_pk],
            "stream_pk": each.stream_pk,
            "user_pk": phones[each.device_pk].user_pk,
            "device_id": phones[each.device_pk].device_id,
            "activity_id": each.activity_id,
            "platform": phones[each.device_pk].platform,
            "token": "",
            "environment": "",
            "bundle_id": "",
            "state": "active",
            "stamp": tx.now // SECOND,
            "registered_at": tx.now,
            "created_at": tx.now,
        }
        for each in started
        if each.device_pk in phones
    ]
    if rows:
        tx.execute(insert(activities), rows)


def alive(connection: Connection, user_pk: int) -> int:
    """How many a user has registered that are on lock screens."""
    mine = (
        select(func.count())
        .select_from(activities)
        .where(activities.c.user_pk == user_pk, activities.c.platform == APPLE, text(ALIVE))
    )
    return int(connection.execute(mine).scalar_one())


def rotate(tx: Tx, pk: int, **values: Any) -> None:
    """A new token; what was ended under the old one is to be ended under this."""
    tx.execute(update(activities).where(activities.c.pk == pk).values(**values, state="active", registered_at=tx.now))


def settle(tx: Tx, pk: int, token: str, state: str) -> bool:
    """It is ended, gone, or active again, as far as this token goes; False if it has another one by now."""
    found = tx.first(TOKEN_OF, {"pk": pk})
    if found is None or found[0] != token:
        return False
    tx.update_later(SET_STATE, (pk, token), (state,))
    return True


def reads_of_settle(pk: int) -> list[Read]:
    """The queries of ``settle``."""
    return [(TOKEN_OF, {"pk": pk})]


def expire(tx: Tx) -> int:
    """After 12 hours iOS has removed it: nothing can be pushed any more."""
    old = (text(ALIVE), activities.c.created_at < tx.now - LIFE_MICROSECONDS)
    return tx.execute(update(activities).where(*old).values(state="dead")).rowcount
