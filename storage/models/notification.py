"""Notifications and their templates."""

from sqlalchemy import BigInteger, Boolean, Column, ForeignKey, Index, String, Table, Text, UniqueConstraint, text

from storage.models.account import users
from storage.models.base import Key, metadata
from storage.models.core import tenants

notifications = Table(
    "notifications",
    metadata,
    Column("pk", Key, primary_key=True),
    Column("tenant_pk", Key, ForeignKey(tenants.c.pk), nullable=False),
    Column("id", String(24), nullable=False),
    Column("uuid", String(36), nullable=False),
    Column("recipient_pk", Key, ForeignKey(users.c.pk), nullable=False),
    Column("sender_pk", Key, ForeignKey(users.c.pk), nullable=False),
    Column("creator_pk", Key, ForeignKey(users.c.pk), nullable=False),
    Column("type", String(64), nullable=False),
    Column("category", String(64), nullable=False),
    Column("title", Text),
    Column("message", Text),
    Column("metadata", Text, nullable=False),
    Column("action_url", Text),
    Column("actionable", Boolean, nullable=False),
    Column("template_key", String(64)),
    Column("entity_type", String(64)),
    Column("entity_id", String(255)),
    Column("seq", BigInteger),
    Column("client_key", String(255)),
    Column("fingerprint", String(64)),
    Column("created_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
    Column("read_at", BigInteger),
    Column("deleted_at", BigInteger),
    UniqueConstraint("tenant_pk", "id"),
    UniqueConstraint("tenant_pk", "uuid"),
    UniqueConstraint("creator_pk", "client_key"),
    Index("ix_notifications_inbox", "recipient_pk", "pk"),
    Index("ix_notifications_sent", "sender_pk", "pk"),
    Index(
        "ix_notifications_unread",
        "recipient_pk",
        "pk",
        postgresql_where=text("seq IS NOT NULL AND read_at IS NULL AND deleted_at IS NULL"),
        sqlite_where=text("seq IS NOT NULL AND read_at IS NULL AND deleted_at IS NULL"),
    ),
    sqlite_autoincrement=True,
    comment="seq is that of the notification:new event, null for an inactive one; the idempotency key is the creator's",
)

templates = Table(
    "templates",
    metadata,
    Column("pk", Key, primary_key=True),
    Column("tenant_pk", Key, ForeignKey(tenants.c.pk), nullable=False),
    Column("key", String(64), nullable=False),
    Column("category", String(64), nullable=False),
    Column("title", Text, nullable=False),
    Column("message", Text, nullable=False),
    Column("actionable", Boolean, nullable=False),
    Column("locales", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
    UniqueConstraint("tenant_pk", "key"),
    sqlite_autoincrement=True,
)
