"""Credits: a ledger of double entries in whole units. What one account loses another gets, in one transaction.

Whoever moves credits of a user holds the lock of that user's channel, so that the balance that was read is the one that is
written.
"""

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from sqlalchemy import Connection, Select, and_, func, insert, select, text, update

from storage.errors import Conflict
from storage.models import credit_accounts, credit_entries, credit_transactions, users
from storage.transaction import Tx
from storage.types import new_id

LARGEST_BALANCE = 10**18
Kind = Literal["grant", "transfer", "reversal"]


class NotEnough(Exception):
    """An account has less than is to be taken from it"""


@dataclass(frozen=True, slots=True)
class Account:
    """``user_pk`` is None for a tenant's issuing account."""

    pk: int
    user_pk: int | None
    balance: int


@dataclass(frozen=True, slots=True)
class Transaction:
    pk: int
    id: str
    kind: Kind
    amount: int
    from_user_pk: int | None
    to_user_pk: int | None
    message_id: str | None
    fingerprint: str | None


@dataclass(frozen=True, slots=True)
class LedgerEntry:
    """A transaction as one account sees it: ``amount`` is negative for what went out; ``other_id`` is the other user."""

    transaction_pk: int
    id: str
    kind: Kind
    amount: int
    balance: int
    other_id: str | None
    message_id: str | None
    reason: str | None
    created_at: int


class Audit(NamedTuple):
    """How much does not add up; every figure must be zero."""

    tenants: int
    accounts: int
    transactions: int
    reversals: int
    messages: int
    negative: int


givers, takers = credit_accounts.alias("givers"), credit_accounts.alias("takers")
TRANSACTION: Select[Any] = (
    select(
        credit_transactions.c.pk,
        credit_transactions.c.id,
        credit_transactions.c.kind,
        credit_transactions.c.amount,
        givers.c.user_pk.label("from_user_pk"),
        takers.c.user_pk.label("to_user_pk"),
        credit_transactions.c.message_id,
        credit_transactions.c.fingerprint,
    )
    .join(givers, givers.c.pk == credit_transactions.c.from_pk)
    .join(takers, takers.c.pk == credit_transactions.c.to_pk)
)


def account(tx: Tx, tenant_pk: int, user_pk: int | None) -> Account:
    """The account of a user who is locked, or the tenant's issuing one; made on first use."""
    here = and_(
        credit_accounts.c.tenant_pk == tenant_pk,
        credit_accounts.c.user_pk.is_(None) if user_pk is None else credit_accounts.c.user_pk == user_pk,
    )
    columns = (credit_accounts.c.pk, credit_accounts.c.user_pk, credit_accounts.c.balance)
    row: Any = tx.execute(select(*columns).where(here).with_for_update()).first()
    if row is None:
        tx.execute(insert(credit_accounts), {"tenant_pk": tenant_pk, "user_pk": user_pk, "balance": 0})
        row = tx.execute(select(*columns).where(here)).one()
    return Account(*row)


def balance(connection: Connection, user_pk: int) -> int:
    found = connection.execute(select(credit_accounts.c.balance).where(credit_accounts.c.user_pk == user_pk)).scalar()
    return found or 0


def move(
    tx: Tx,
    tenant_pk: int,
    *,
    kind: Kind,
    amount: int,
    giver: int | None,
    taker: int | None,
    creator_pk: int,
    message_id: str | None = None,
    reverses_pk: int | None = None,
    reason: str | None = None,
    client_key: str | None = None,
    fingerprint: str | None = None,
) -> str:
    """Take ``amount`` from one user's account (None: the issuing one) and give it to another; the transaction's id.

    Raises NotEnough, Conflict for more than a tenant can hold.
    """
    source, target = account(tx, tenant_pk, giver), account(tx, tenant_pk, taker)
    if giver is None:
        # What its users hold together is what the issuing account lacks.
        if source.balance - amount < -LARGEST_BALANCE:
            raise Conflict(f"The users of a tenant can hold at most {LARGEST_BALANCE:,} credits together")
    elif source.balance < amount:
        raise NotEnough
    id = new_id()
    primary_key = tx.execute(
        insert(credit_transactions),
        {
            "tenant_pk": tenant_pk,
            "id": id,
            "kind": kind,
            "amount": amount,
            "from_pk": source.pk,
            "to_pk": target.pk,
            "message_id": message_id,
            "reverses_pk": reverses_pk,
            "reason": reason,
            "creator_pk": creator_pk,
            "client_key": client_key,
            "fingerprint": fingerprint,
            "created_at": tx.now,
        },
    ).inserted_primary_key
    assert primary_key is not None
    for side, change in ((source, -amount), (target, amount)):
        left = side.balance + change
        tx.execute(update(credit_accounts).where(credit_accounts.c.pk == side.pk).values(balance=left))
        entry = {"transaction_pk": primary_key[0], "account_pk": side.pk, "amount": change, "balance": left}
        tx.execute(insert(credit_entries), entry)
    return id


def find(connection: Connection, tenant_pk: int, id: str) -> Transaction | None:
    row = connection.execute(
        TRANSACTION.where(credit_transactions.c.tenant_pk == tenant_pk, credit_transactions.c.id == id)
    ).first()
    return Transaction(*row) if row else None


class KeyedGrant(NamedTuple):
    """What was granted under an idempotency key, and the balance that it left."""

    transaction: Transaction
    balance: int


def by_key(connection: Connection, creator_pk: int, key: str) -> KeyedGrant | None:
    row = connection.execute(
        TRANSACTION.add_columns(credit_entries.c.balance)
        .join(
            credit_entries,
            and_(
                credit_entries.c.transaction_pk == credit_transactions.c.pk,
                credit_entries.c.account_pk == credit_transactions.c.to_pk,
            ),
        )
        .where(credit_transactions.c.creator_pk == creator_pk, credit_transactions.c.client_key == key)
    ).first()
    return KeyedGrant(Transaction(*row[:-1]), int(row[-1])) if row else None


def is_reversed(connection: Connection, pk: int) -> bool:
    statement = select(credit_transactions.c.pk).where(credit_transactions.c.reverses_pk == pk)
    return connection.execute(statement).first() is not None


def history(connection: Connection, user_pk: int, *, before: int | None, limit: int) -> list[LedgerEntry]:
    """What went in and out of a user's account, newest first."""
    statement = (
        select(
            credit_transactions.c.pk,
            credit_transactions.c.id,
            credit_transactions.c.kind,
            credit_entries.c.amount,
            credit_entries.c.balance,
            users.c.id,
            credit_transactions.c.message_id,
            credit_transactions.c.reason,
            credit_transactions.c.created_at,
        )
        .join(credit_transactions, credit_transactions.c.pk == credit_entries.c.transaction_pk)
        .join(credit_accounts, credit_accounts.c.pk == credit_entries.c.account_pk)
        .join(givers, givers.c.pk == credit_transactions.c.from_pk)
        .join(takers, takers.c.pk == credit_transactions.c.to_pk)
        .outerjoin(
            users,
            users.c.pk == func.coalesce(func.nullif(givers.c.user_pk, user_pk), func.nullif(takers.c.user_pk, user_pk)),
        )
        .where(credit_accounts.c.user_pk == user_pk)
    )
    if before is not None:
        statement = statement.where(credit_transactions.c.pk < before)
    rows = connection.execute(statement.order_by(credit_transactions.c.pk.desc()).limit(limit))
    return [LedgerEntry(*row) for row in rows]


TENANTS = (
    "SELECT count(*) FROM (SELECT tenant_pk FROM credit_accounts GROUP BY tenant_pk HAVING sum(balance) <> 0) AS t"
)
ACCOUNTS = """
SELECT count(*) FROM credit_accounts a WHERE
  balance <> coalesce((SELECT sum(amount) FROM credit_entries e WHERE e.account_pk = a.pk), 0)
  OR balance <> coalesce((SELECT e.balance FROM credit_entries e WHERE e.account_pk = a.pk
                          ORDER BY e.transaction_pk DESC LIMIT 1), 0)
  OR tenant_pk <> coalesce((SELECT u.tenant_pk FROM users u WHERE u.pk = a.user_pk), tenant_pk)
"""
TRANSACTIONS = """
SELECT count(*) FROM credit_transactions t WHERE
  2 <> (SELECT count(*) FROM credit_entries e WHERE e.transaction_pk = t.pk)
  OR NOT EXISTS (SELECT 1 FROM credit_entries e JOIN credit_accounts a ON a.pk = e.account_pk
                 WHERE e.transaction_pk = t.pk AND a.pk = t.from_pk AND e.amount = -t.amount AND a.tenant_pk = t.tenant_pk)
  OR NOT EXISTS (SELECT 1 FROM credit_entries e JOIN credit_accounts a ON a.pk = e.account_pk
                 WHERE e.transaction_pk = t.pk AND a.pk = t.to_pk AND e.amount = t.amount AND a.tenant_pk = t.tenant_pk)
"""
REVERSALS = """
SELECT count(*) FROM credit_transactions t LEFT JOIN credit_transactions r ON r.pk = t.reverses_pk
WHERE t.kind = 'reversal' AND (r.pk IS NULL OR r.amount <> t.amount OR r.from_pk <> t.to_pk OR r.to_pk <> t.from_pk)
"""
MESSAGES = """
SELECT count(*) FROM messages m WHERE type = 'creditTransfer'
AND NOT EXISTS (SELECT 1 FROM credit_transactions t WHERE t.message_id = m.id)
"""
NEGATIVE = "SELECT count(*) FROM credit_accounts WHERE balance < 0 AND user_pk IS NOT NULL"


def audit(connection: Connection) -> Audit:
    """Whether the ledger adds up. Messages of deleted chats are gone, and their transactions stay."""
    questions = (TENANTS, ACCOUNTS, TRANSACTIONS, REVERSALS, MESSAGES, NEGATIVE)
    return Audit(*(int(connection.execute(text(each)).scalar_one()) for each in questions))
