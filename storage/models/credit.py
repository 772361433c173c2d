"""The ledger of credits."""

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    String,
    Table,
    Text,
    UniqueConstraint,
    text,
)

from storage.models.account import users
from storage.models.base import Key, metadata
from storage.models.core import tenants

ISSUING = "user_pk IS NULL"

credit_accounts = Table(
    "credit_accounts",
    metadata,
    Column("pk", Key, primary_key=True),
    Column("tenant_pk", Key, ForeignKey(tenants.c.pk), nullable=False),
    Column("user_pk", Key, ForeignKey(users.c.pk), unique=True),
    Column("balance", BigInteger, nullable=False),
    CheckConstraint("user_pk IS NULL OR balance >= 0", name="never_negative"),
    Index(
        "uq_credit_accounts_issuing",
        "tenant_pk",
        unique=True,
        postgresql_where=text(ISSUING),
        sqlite_where=text(ISSUING),
    ),
    sqlite_autoincrement=True,
    comment="without a user it is the tenant's issuing account, the only one that may be negative",
)

credit_transactions = Table(
    "credit_transactions",
    metadata,
    Column("pk", Key, primary_key=True),
    Column("tenant_pk", Key, ForeignKey(tenants.c.pk), nullable=False),
    Column("id", String(24), nullable=False, unique=True),
    Column("kind", String(16), nullable=False),
    Column("amount", BigInteger, nullable=False),
    Column("from_pk", Key, ForeignKey(credit_accounts.c.pk), nullable=False),
    Column("to_pk", Key, ForeignKey(credit_accounts.c.pk), nullable=False),
    Column("message_id", String(24), unique=True),
    Column("reverses_pk", Key, unique=True),
    Column("reason", Text),
    Column("creator_pk", Key, ForeignKey(users.c.pk), nullable=False),
    Column("client_key", String(255)),
    Column("fingerprint", String(64)),
    Column("created_at", BigInteger, nullable=False),
    CheckConstraint("amount > 0", name="positive"),
    UniqueConstraint("creator_pk", "client_key"),
    sqlite_autoincrement=True,
    comment="kind is grant, transfer or reversal; the idempotency key of a transfer is its message's",
)

credit_entries = Table(
    "credit_entries",
    metadata,
    Column("transaction_pk", Key, ForeignKey(credit_transactions.c.pk), primary_key=True),
    Column("account_pk", Key, ForeignKey(credit_accounts.c.pk), primary_key=True),
    Column("amount", BigInteger, nullable=False),
    Column("balance", BigInteger, nullable=False),
    Index("ix_credit_entries_account", "account_pk", "transaction_pk"),
    sqlite_with_rowid=False,
    comment="the two sides of a transaction, which sum to zero, and the balance after each",
)
