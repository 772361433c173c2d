"""An operator's own addresses, and what they are told."""

from sqlalchemy import BigInteger, Boolean, Column, ForeignKey, Index, Integer, String, Table, Text, text

from storage.models.base import Key, metadata
from storage.models.core import tenants

webhooks = Table(
    "webhooks",
    metadata,
    Column("pk", Key, primary_key=True),
    Column("tenant_pk", Key, ForeignKey(tenants.c.pk), nullable=False, index=True),
    Column("id", String(24), nullable=False, unique=True),
    Column("url", Text, nullable=False),
    Column("events", Text, nullable=False),
    Column("secret", String(64), nullable=False),
    Column("active", Boolean, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    sqlite_autoincrement=True,
    comment="events is a JSON list of names",
)

calls = Table(
    "calls",
    metadata,
    Column("pk", Key, primary_key=True),
    Column("webhook_pk", Key, nullable=False),
    Column("event", String(64), nullable=False),
    Column("channel_pk", Key),
    Column("seq", BigInteger),
    Column("document", Text),
    Column("state", String(16), nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("status", Integer),
    Column("reason", String(255)),
    Column("due_at", BigInteger, nullable=False),
    Column("lease_until", BigInteger, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("settled_at", BigInteger),
    Index("ix_calls_webhook_pk", "webhook_pk", "pk"),
    Index(
        "ix_calls_due",
        "due_at",
        postgresql_where=text("state = 'waiting'"),
        sqlite_where=text("state = 'waiting'"),
    ),
    Index(
        "ix_calls_settled_at",
        "settled_at",
        postgresql_where=text("settled_at IS NOT NULL"),
        sqlite_where=text("settled_at IS NOT NULL"),
    ),
    sqlite_autoincrement=True,
    comment="what a webhook is told: the event at a place of the log, or a document",
)
