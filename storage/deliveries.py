"""What became of pushes, for those who look after them."""

from dataclasses import dataclass
from typing import Any, NamedTuple

from sqlalchemy import Connection, and_, delete, func, or_, select, update

from storage.models import activities, deliveries, devices, outbox, users
from storage.outbox import DEAD, ON_SCREEN, STAMPED, WAITING, State
from storage.transaction import Tx
from storage.types import SECOND, now


@dataclass(frozen=True, slots=True)
class Record:
    """A delivery as an admin sees it."""

    pk: int
    kind: str
    provider: str
    user_id: str
    device_id: str | None
    push_id: str
    state: State
    attempts: int
    status: int | None
    reason: str | None
    due_at: int
    created_at: int
    settled_at: int | None


def records(
    connection: Connection, tenant_pk: int, *, user_pk: int | None, push_id: str | None, before: int | None, limit: int
) -> list[Record]:
    """Deliveries of a tenant, newest first: of one user, the one of an id, or else those that are dead."""
    statement = (
        select(
            deliveries.c.pk,
            deliveries.c.kind,
            deliveries.c.provider,
            users.c.id,
            func.coalesce(devices.c.device_id, activities.c.device_id),
            *(deliveries.c[name] for name in Record.__slots__[5:]),
        )
        .join(users, users.c.pk == deliveries.c.user_pk)
        .outerjoin(devices, and_(devices.c.pk == deliveries.c.target_pk, deliveries.c.kind.not_in(STAMPED)))
        .outerjoin(activities, and_(activities.c.pk == deliveries.c.target_pk, deliveries.c.kind.in_(ON_SCREEN)))
        .where(users.c.tenant_pk == tenant_pk)
    )
    if user_pk is not None:
        statement = statement.where(deliveries.c.user_pk == user_pk)
    elif push_id is not None:
        statement = statement.where(deliveries.c.push_id == push_id.lower())
    else:
        statement = statement.where(DEAD)
    if before is not None:
        statement = statement.where(deliveries.c.pk < before)
    return [Record(*row) for row in connection.execute(statement.order_by(deliveries.c.pk.desc()).limit(limit))]


def find_dead(connection: Connection, tenant_pk: int, pk: int) -> Any:
    """``(kind, provider, channel_pk, seq, target_pk)`` of a tenant's dead letter, or None."""
    mine = select(users.c.pk).where(users.c.tenant_pk == tenant_pk)
    column = deliveries.c
    return connection.execute(
        select(column.kind, column.provider, column.channel_pk, column.seq, column.target_pk).where(
            column.pk == pk, DEAD, column.user_pk.in_(mine)
        )
    ).first()


def supersede(tx: Tx, pk: int) -> None:
    """A dead letter that was queued again."""
    tx.execute(update(deliveries).where(deliveries.c.pk == pk).values(state="skipped", reason="promised anew"))


def retry(tx: Tx, pk: int, *, ttl: int) -> None:
    """Make a dead letter due again, for ``ttl`` microseconds."""
    values = {"state": "waiting", "attempts": 0, "due_at": tx.now, "deadline_at": tx.now + ttl, "settled_at": None}
    tx.execute(update(deliveries).where(deliveries.c.pk == pk).values(**values))


class Depth(NamedTuple):
    """What waits: causes, deliveries, and since when the oldest of them, in microseconds."""

    causes: int = 0
    deliveries: int = 0
    oldest: int | None = None

    @property
    def age(self) -> float:
        """Of the oldest, in seconds."""
        return 0.0 if self.oldest is None else max(0.0, (now() - self.oldest) / SECOND)


def depth(connection: Connection) -> Depth:
    causes, first = connection.execute(select(func.count(), func.min(outbox.c.created_at))).one()
    waiting = select(func.count(), func.min(deliveries.c.created_at)).where(WAITING)
    rows, second = connection.execute(waiting.select_from(deliveries)).one()
    return Depth(causes, rows, min((each for each in (first, second) if each is not None), default=None))


def sweep(tx: Tx, *, before: int, limit: int = 500) -> bool:
    """Drop some that were settled before a time, but for dead letters of the last month; whether there may be more."""
    month = 30 * 24 * 3600 * SECOND
    old = select(deliveries.c.pk).where(
        or_(
            and_(deliveries.c.settled_at < before, deliveries.c.state != "dead"),
            deliveries.c.settled_at < before - month,
        )
    )
    pks = list(tx.execute(old.limit(limit)).scalars())
    if pks:
        tx.execute(delete(deliveries).where(deliveries.c.pk.in_(pks)))
    return len(pks) == limit
