"""Which calls of webhooks are claimed together."""

from collections import Counter
from functools import partial
from typing import Any

from sqlalchemy import select

from storage import accounts, webhooks
from storage.database import Database
from storage.models import calls
from storage.models import webhooks as table
from storage.transaction import Command, Tx
from storage.types import now
from storage.webhooks import ClaimedPage
from tests.storage.test_transaction import batch

TTL = 60_000_000


async def filled(database: Database, hooks: int, due: int) -> list[int]:
    """So many webhooks, each with so many calls that are due; their numbers."""

    def apply(tx: Tx) -> list[int]:
        tenant = accounts.default_tenant(tx)
        pks = [
            webhooks.add(tx, tenant.pk, url="https://example.org", events=["push:failed"], secret="s").pk
            for _ in range(hooks)
        ]
        for pk in pks:
            for _ in range(due):
                tx.later(webhooks.ADD, (pk, "push:failed", None, None, '{"a":1}', "waiting", 0, tx.now, 0, tx.now))
        return pks

    return await database.write(Command(apply))


def claiming(room: dict[int, int], ttl: int = TTL) -> Any:
    return partial(webhooks.claim, ttl=ttl, room=room, each=10, at=now() + 1_000_000)


def by_webhook(page: ClaimedPage) -> Counter[int]:
    return Counter(each.webhook.pk for each in page.calls)


async def test_a_page_has_calls_of_every_webhook(database: Database) -> None:
    """Of none more than it has room for, and of all before many of one."""
    pks = await filled(database, 12, 20)
    busy, free = pks[:10], pks[10:]
    (page,) = await batch(database, claiming(dict.fromkeys(busy, 1)))
    assert by_webhook(page) == dict.fromkeys(busy, 1) | dict.fromkeys(free, 10) and not page.is_full
    (page,) = await batch(database, claiming(dict.fromkeys(busy, 0) | dict.fromkeys(free, 0)))
    assert page.calls == []
    (page,) = await batch(database, claiming({}))
    assert page.is_full and set(by_webhook(page)) == set(pks) and max(by_webhook(page).values()) <= 9
    call = page.calls[0]
    assert (call.call.attempts, call.document, call.webhook.events) == (1, {"a": 1}, ["push:failed"])


async def test_calls_of_a_removed_webhook_are_dropped(database: Database) -> None:
    first, second = await filled(database, 2, 3)
    await database.write(Command(lambda tx: tx.execute(table.delete().where(table.c.pk == first))))
    (page,) = await batch(database, claiming({}))
    assert by_webhook(page) == {second: 3}
    left = await database.read(lambda it: set(it.execute(select(calls.c.webhook_pk)).scalars()))
    assert left == {second}


async def test_a_call_that_has_just_been_settled_is_not_claimed_again(database: Database) -> None:
    """Even where its lease has expired."""
    await filled(database, 1, 1)
    (page,) = await batch(database, claiming({}, ttl=-1))
    (held,) = page.calls
    settle = partial(webhooks.settle, pk=held.call.pk, lease=held.lease, state="sent", status=200, reason="")
    _, again = await batch(database, settle, claiming({}))
    assert again.calls == []
    found = await database.read(lambda it: it.execute(select(calls.c.state, calls.c.lease_until)).all())
    assert [tuple(row) for row in found] == [("sent", 0)]
