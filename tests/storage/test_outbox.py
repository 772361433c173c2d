"""Causes and deliveries in one batch: what is promised, merged, claimed and settled by commands that are written together."""

from collections.abc import Callable
from functools import partial
from typing import Any

from sqlalchemy import insert, select

from storage import outbox
from storage.database import Database
from storage.models import deliveries
from storage.models import outbox as causes
from storage.outbox import Cause, Delivery, Settlement
from storage.transaction import Command, Tx
from storage.types import now
from tests.storage.test_transaction import batch
from tests.support.postgres import connect

CHAT, ANN, BOB, TTL = 7, 1, 2, 30_000_000


def recount(seq: int, sender: int = ANN) -> Callable[[Tx], None]:
    """Of a message that was deleted."""

    def apply(tx: Tx) -> None:
        promised = tx.first(outbox.WAITING_RECOUNT, {"chat": CHAT})
        outbox.promise_once(tx, "recount", CHAT, seq, sender, promised)

    return apply


def claim_causes(tx: Tx) -> list[Cause]:
    return outbox.claim_causes(tx, "lease", ttl=TTL, limit=10, at=now() + outbox.BADGE_DELAY)


def claim_deliveries(tx: Tx) -> list[Delivery]:
    return outbox.claim_deliveries(tx, "lease", ttl=TTL, limits={"apns": 10}, at=now())


async def rows(database: Database) -> list[Any]:
    """``(seq, ref_pk, lease)`` of all causes."""
    columns = select(causes.c.seq, causes.c.ref_pk, causes.c.lease).order_by(causes.c.pk)
    return await database.read(lambda it: [tuple(row) for row in it.execute(columns)])


def seen(found: list[Cause]) -> list[tuple[int, int | None]]:
    return [(each.seq, each.ref_pk) for each in found]


async def test_what_is_promised_after_a_claim_is_a_cause_of_its_own(database: Database) -> None:
    await batch(database, recount(10))
    claimed, *_ = await batch(database, claim_causes, recount(99), recount(98))
    assert seen(claimed) == [(10, ANN)]
    assert await rows(database) == [(10, ANN, "lease"), (99, ANN, None)]


async def test_what_is_promised_before_a_claim_is_part_of_what_was_claimed(database: Database) -> None:
    await batch(database, recount(10))
    _, claimed, _ = await batch(database, recount(99, BOB), claim_causes, recount(100))
    assert seen(claimed) == [(99, None)]
    assert await rows(database) == [(99, None, "lease"), (100, ANN, None)]


async def test_nothing_is_merged_with_a_cause_after_its_claim(database: Database) -> None:
    """Also where it was looked at before, and stayed as it was."""
    await batch(database, recount(10))
    _, claimed, _, _ = await batch(database, recount(5), claim_causes, recount(99), recount(100))
    assert seen(claimed) == [(10, ANN)]
    assert await rows(database) == [(10, ANN, "lease"), (100, ANN, None)]


async def test_promises_are_merged_with_one_that_waits(database: Database) -> None:
    """In the same batch, and in later ones: for the newest seq, and for all where two leave out different ones."""
    await batch(database, recount(10), recount(12), recount(11))
    assert await rows(database) == [(12, ANN, None)]
    await batch(database, recount(5))
    assert await rows(database) == [(12, ANN, None)]
    await batch(database, recount(20), recount(19, BOB), recount(18))
    assert await rows(database) == [(20, None, None)]


async def test_a_cause_that_has_just_been_expanded_is_not_claimed_again(database: Database) -> None:
    """Even where its lease has expired: the page that follows has another cursor."""
    await batch(database, recount(10))
    ((first,),) = await batch(
        database, partial(outbox.claim_causes, lease="lease", ttl=-1, limit=10, at=now() + 10 * TTL)
    )
    _, again = await batch(database, partial(outbox.advance, cursors={first.pk: 5}, lease="lease"), claim_causes)
    assert again == []
    ((later,),) = await batch(database, claim_causes)
    assert later.cursor == 5


async def test_a_delivery_that_has_just_been_settled_is_not_claimed_again(database: Database) -> None:
    """Even where its lease has expired, as after a database that stood still."""

    def add(tx: Tx) -> None:
        row = {
            "outbox_pk": 1, "kind": "message", "channel_pk": CHAT, "seq": 1, "user_pk": ANN, "target_pk": 1, "push_id": "p",
            "state": "waiting", "attempts": 0, "due_at": 0, "deadline_at": 0, "lease_until": 0, "created_at": 0,
        }  # fmt: skip
        tx.execute(insert(deliveries), row)

    await batch(database, add)
    ((held,),) = await batch(
        database, partial(outbox.claim_deliveries, lease="lease", ttl=-1, limits={"apns": 10}, at=now())
    )
    settle = partial(outbox.settle, lease="lease", settlements=[Settlement(held.pk, "sent", 1, 200, "")])
    _, again = await batch(database, settle, claim_deliveries)
    assert again == []
    state = select(deliveries.c.state, deliveries.c.lease)
    assert await database.read(lambda it: [tuple(row) for row in it.execute(state)]) == [("sent", None)]


async def test_two_processes_never_claim_the_same(postgres_database: str) -> None:
    """A row that one open transaction has read to be claimed is left out by the other, which does not wait."""
    database = Database(postgres_database)
    await database.start()
    await batch(database, recount(10))
    other = await connect(postgres_database)
    await other.execute("BEGIN")
    held = await other.execute("SELECT pk FROM outbox FOR UPDATE SKIP LOCKED")
    assert len(await held.fetchall()) == 1
    at = now() + outbox.BADGE_DELAY
    reads = outbox.reads_of_causes(10, at)
    claim = partial(outbox.claim_causes, lease="lease", ttl=TTL, limit=10, at=at)
    assert await database.write(Command(claim, reads=lambda: reads)) == []
    await other.execute("ROLLBACK")
    assert len(await database.write(Command(claim, reads=lambda: reads))) == 1
    await other.close()
    await database.close()
