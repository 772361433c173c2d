"""Webhooks: an operator's addresses, and calls that were promised to them in the transaction of what they tell.

A call is claimed for a while, so that several processes share them and a crash gives them back.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

import orjson
from sqlalchemy import (
    Connection,
    Integer,
    Select,
    String,
    Text,
    bindparam,
    cast,
    delete,
    func,
    insert,
    literal_column,
    select,
    text,
    update,
)

from storage.fetch import fetch_one
from storage.models import calls, chats, deliveries, events, streams, tenants, users, webhooks
from storage.prepared import Bulk, Delete, Prepared, Update, json_list, padded, pair_rows
from storage.statements import Read
from storage.transaction import Tx, clock
from storage.types import new_id

State = Literal["waiting", "sent", "dead"]
CALLS_AT_ONCE = 100
# The table that says whose the channel of an event is.
OF_LOG = {"message:new": chats, "message:updated": chats, "message:deleted": chats, "stream:status": streams}
# The numbers of a tenant's webhooks that want to hear of an event, joined by commas; null for none.
LISTENED = {
    event: Prepared(
        # A separator that is part of the SQL: SQLAlchemy would put a text in only when the statement is run.
        select(func.aggregate_strings(cast(webhooks.c.pk, String), literal_column("','")))  # type: ignore[arg-type]
        .join(place, place.c.tenant_pk == webhooks.c.tenant_pk)
        .where(place.c.pk == bindparam("channel"), webhooks.c.active, webhooks.c.events.contains(f'"{event}"'))
    )
    for event, place in OF_LOG.items()
}
ADD = Bulk(
    calls,
    (
        "webhook_pk",
        "event",
        "channel_pk",
        "seq",
        "document",
        "state",
        "attempts",
        "due_at",
        "lease_until",
        "created_at",
    ),
)
WAITING = text("calls.state = 'waiting'")
# Of a call that is still held.
SETTLE = Update(
    calls, ("pk", "lease_until"), ("state", "status", "reason", "due_at", "settled_at"), also="lease_until = 0"
)


@dataclass(frozen=True, slots=True)
class Webhook:
    pk: int
    tenant_pk: int
    id: str
    url: str
    events: list[str]
    secret: str
    active: bool
    created_at: int


@dataclass(frozen=True, slots=True)
class WebhookCall:
    """``reason`` is what came of the last attempt."""

    pk: int
    webhook_pk: int
    event: str
    state: State
    attempts: int
    status: int | None
    reason: str | None
    due_at: int
    created_at: int
    settled_at: int | None


class ClaimedCall(NamedTuple):
    """A call with what it takes to make it, held under ``lease``; ``document`` is None where the log has it no more."""

    call: WebhookCall
    lease: int
    webhook: Webhook
    tenant: str
    document: Any


class ClaimedPage(NamedTuple):
    """Calls, and whether more may be due."""

    calls: list[ClaimedCall]
    is_full: bool


SELECT = select(*(webhooks.c[name] for name in Webhook.__slots__))
CALL = select(*(calls.c[name] for name in WebhookCall.__slots__))


def read(row: Any) -> Webhook:
    values = dict(zip(Webhook.__slots__, row, strict=True))
    return Webhook(**{**values, "events": orjson.loads(values["events"])})


CALL_WIDTH = len(WebhookCall.__slots__)
IS_DUE = WAITING, calls.c.due_at <= bindparam("at"), calls.c.lease_until <= bindparam("at")
DUE = Prepared(select(calls.c.pk).where(*IS_DUE).limit(1))
NUMBERED = (
    select(
        calls.c.pk,
        calls.c.webhook_pk,
        calls.c.due_at,
        func.row_number().over(partition_by=calls.c.webhook_pk, order_by=(calls.c.due_at, calls.c.pk)).label("number"),
    )
    .where(*IS_DUE)
    .subquery("numbered")
)


def claimable(pairs: str) -> Select[Any]:
    """A call, its lease, its webhook, and that one's tenant; its document, from the log or its own. ``pairs`` has the room of
    webhooks with calls under way; the longest due calls of every webhook come first.
    """
    room = f"numbered.number <= COALESCE((SELECT w.seq FROM {pairs} WHERE w.pk = numbered.webhook_pk), :each)"
    fits = text(room).bindparams(bindparam("pairs", type_=Text), bindparam("each", type_=Integer))
    wanted = select(NUMBERED.c.pk).where(fits).order_by(NUMBERED.c.number, NUMBERED.c.due_at).limit(CALLS_AT_ONCE)
    return (
        CALL.add_columns(
            calls.c.lease_until,
            *(webhooks.c[name] for name in Webhook.__slots__),
            tenants.c.uuid,
            events.c.payload,
            calls.c.document,
        )
        .outerjoin(webhooks, webhooks.c.pk == calls.c.webhook_pk)
        .outerjoin(tenants, tenants.c.pk == webhooks.c.tenant_pk)
        .outerjoin(events, (events.c.channel_pk == calls.c.channel_pk) & (events.c.seq == calls.c.seq))
        .where(*IS_DUE, calls.c.pk.in_(wanted))
        .with_for_update(of=calls, skip_locked=True)
    )


CLAIMABLE = Prepared(*map(claimable, pair_rows()))
SET_LEASE = Update(calls, ("pk",), ("lease_until", "attempts"))
DROP = Delete(calls, ("pk",))


# Their addresses


def add(tx: Tx, tenant_pk: int, *, url: str, events: list[str], secret: str) -> Webhook:
    id = new_id()
    row = {
        "tenant_pk": tenant_pk, "id": id, "url": url, "events": orjson.dumps(events).decode(), "secret": secret,
        "active": True, "created_at": tx.now,
    }  # fmt: skip
    tx.execute(insert(webhooks), row)
    found = find(tx.connection(), tenant_pk, id)
    assert found is not None
    return found


def find(connection: Connection, tenant_pk: int, id: str) -> Webhook | None:
    row = connection.execute(SELECT.where(webhooks.c.tenant_pk == tenant_pk, webhooks.c.id == id)).first()
    return read(row) if row else None


def of_tenant(connection: Connection, tenant_pk: int, *, before: int | None, limit: int) -> list[Webhook]:
    """Newest first, with a number below ``before``."""
    statement = SELECT.where(webhooks.c.tenant_pk == tenant_pk)
    if before is not None:
        statement = statement.where(webhooks.c.pk < before)
    return [read(row) for row in connection.execute(statement.order_by(webhooks.c.pk.desc()).limit(limit))]


def change(tx: Tx, pk: int, values: Mapping[str, Any]) -> None:
    if "events" in values:
        values = {**values, "events": orjson.dumps(values["events"]).decode()}
    if values:
        tx.execute(update(webhooks).where(webhooks.c.pk == pk).values(**values))


def remove(tx: Tx, pk: int) -> None:
    """With what it was to be told."""
    tx.execute(delete(calls).where(calls.c.webhook_pk == pk))
    tx.execute(delete(webhooks).where(webhooks.c.pk == pk))


# Promising


def promise(tx: Tx, event: str, channel_pk: int, seq: int) -> None:
    """Queue calls for the event at this position of a channel. Without webhooks for it nothing is written."""
    if event not in OF_LOG:
        return
    (joined,) = tx.first(LISTENED[event], {"channel": channel_pk})
    for pk in sorted(map(int, joined.split(","))) if joined else ():
        tx.later(ADD, (pk, event, channel_pk, seq, None, "waiting", 0, tx.now, 0, tx.now))


def reads_of_promise(event: str, channel_pk: int) -> list[Read]:
    """The queries of ``promise``."""
    return [(LISTENED[event], {"channel": channel_pk})]


def wanting(tx: Tx, event: str, tenant_pks: Collection[int]) -> dict[int, list[int]]:
    """The webhooks that want to hear of an event, by tenant."""
    found: dict[int, list[int]] = {}
    if tenant_pks:
        of_tenants = select(webhooks.c.tenant_pk, webhooks.c.pk, webhooks.c.events).where(
            webhooks.c.tenant_pk.in_(padded(tenant_pks)), webhooks.c.active
        )
        for row in tx.execute(of_tenants.order_by(webhooks.c.pk)):
            if event in orjson.loads(row.events):
                found.setdefault(row.tenant_pk, []).append(row.pk)
    return found


def promise_document(tx: Tx, event: str, tenant_pk: int, document: Mapping[str, Any]) -> None:
    """Queue calls for what is no event of the log."""
    shown = orjson.dumps(document).decode()
    for pk in wanting(tx, event, [tenant_pk]).get(tenant_pk, ()):
        tx.later(ADD, (pk, event, None, None, shown, "waiting", 0, tx.now, 0, tx.now))


def promise_failures(tx: Tx, delivery_pks: Collection[int]) -> None:
    """Queue calls for pushes that became dead letters."""
    if not delivery_pks:
        return
    rows: Sequence[Any] = tx.execute(
        select(
            deliveries.c.push_id,
            deliveries.c.kind,
            deliveries.c.provider,
            deliveries.c.status,
            deliveries.c.reason,
            users.c.id,
            users.c.tenant_pk,
        )
        .join(users, users.c.pk == deliveries.c.user_pk)
        .where(deliveries.c.pk.in_(delivery_pks), deliveries.c.state == "dead", deliveries.c.settled_at == tx.now)
    ).all()
    listening = wanting(tx, "push:failed", {row.tenant_pk for row in rows})
    for push_id, kind, provider, status, reason, user_id, tenant_pk in rows:
        document = {
            "pushId": push_id,
            "kind": kind,
            "provider": provider,
            "userId": user_id,
            "status": status,
            "reason": reason,
        }
        for pk in listening.get(tenant_pk, ()):
            shown = orjson.dumps(document).decode()
            tx.later(ADD, (pk, "push:failed", None, None, shown, "waiting", 0, tx.now, 0, tx.now))


# Calling


def time_if_calls_due(connection: Connection) -> int | None:
    """The database's time if a call is due, in microseconds; otherwise None."""
    at = clock(connection)
    return at if fetch_one(connection, DUE, {"at": at}) else None


def claim(tx: Tx, *, ttl: int, room: Mapping[int, int], each: int, at: int) -> ClaimedPage:
    """Claim calls that are due ``at`` a time for ``ttl`` microseconds: ``each`` of a webhook at most, or its ``room``.

    An attempt counts from here on, so that one that never comes back is one, too.
    """
    lease, claimed = tx.now + ttl, []
    ((query, values),) = reads_of_claim(room, each, at)
    found = tx.rows(query, values)
    for row in sorted(found, key=lambda row: int(row[0])):
        call, held_until, webhook = WebhookCall(*row[:CALL_WIDTH]), row[CALL_WIDTH], row[CALL_WIDTH + 1 : -3]
        if webhook[0] is None:
            # It was removed while something was promised to it.
            tx.update_later(DROP, (call.pk,), ())
        elif tx.waiting_update(SETTLE, (call.pk, held_until)) is None:
            call = replace(call, attempts=call.attempts + 1)
            tx.update_later(SET_LEASE, (call.pk,), (lease, call.attempts))
            tenant, payload, document = row[-3:]
            shown = payload if payload is not None else document
            claimed.append(ClaimedCall(call, lease, read(webhook), tenant, orjson.loads(shown) if shown else None))
    return ClaimedPage(claimed, len(found) == CALLS_AT_ONCE)


def reads_of_claim(room: Mapping[int, int], each: int, at: int) -> list[Read]:
    """The query of ``claim``."""
    return [(CLAIMABLE, {"at": at, "each": each, "pairs": json_list(sorted(room.items()))})]


def settle(tx: Tx, pk: int, lease: int, state: State, *, status: int | None, reason: str, pause: int = 0) -> None:
    """What came of an attempt, if it is held still. One that waits on is due after ``pause`` microseconds."""
    settled_at = None if state == "waiting" else tx.now
    tx.update_later(SETTLE, (pk, lease), (state, status, reason[:255], tx.now + pause, settled_at))


def retry(tx: Tx, webhook_pk: int, pk: int) -> bool:
    """Whether it was a dead one, which waits again."""
    dead = calls.c.pk == pk, calls.c.webhook_pk == webhook_pk, calls.c.state == "dead"
    retry = {"state": "waiting", "attempts": 0, "due_at": tx.now, "settled_at": None}
    return bool(tx.execute(update(calls).where(*dead).values(**retry)).rowcount)


def log_of(connection: Connection, webhook_pk: int, *, before: int | None, limit: int) -> list[WebhookCall]:
    """Newest first, with a number below ``before``."""
    statement = CALL.where(calls.c.webhook_pk == webhook_pk)
    if before is not None:
        statement = statement.where(calls.c.pk < before)
    return [WebhookCall(*row) for row in connection.execute(statement.order_by(calls.c.pk.desc()).limit(limit))]


def sweep(tx: Tx, *, before: int, limit: int = 500) -> bool:
    """Drop calls that were settled before; whether there may be more."""
    old = calls.c.settled_at.is_not(None), calls.c.settled_at < before
    pks = list(tx.execute(select(calls.c.pk).where(*old).limit(limit)).scalars())
    tx.execute(delete(calls).where(calls.c.pk.in_(pks), *old))
    return len(pks) == limit
