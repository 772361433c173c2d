"""Devices, promised pushes and what became of them."""

from sqlalchemy import BigInteger, Column, ForeignKey, Index, Integer, String, Table, UniqueConstraint, text

from storage.models.account import users
from storage.models.base import Key, metadata

devices = Table(
    "devices",
    metadata,
    Column("pk", Key, primary_key=True),
    Column("user_pk", Key, ForeignKey(users.c.pk), nullable=False),
    Column("login_id", String(36), index=True),
    Column("device_id", String(255), nullable=False),
    Column("platform", String(16), nullable=False),
    Column("push_token", String(1024), nullable=False),
    Column("environment", String(16), nullable=False),
    Column("bundle_id", String(255), nullable=False),
    Column("push_to_start_token", String(512)),
    Column("token_kind", String(8)),
    Column("features", String(255), nullable=False, server_default=""),
    # A browser's.
    Column("p256dh", String(87)),
    Column("auth", String(22)),
    Column("locale", String(35)),
    Column("registered_at", BigInteger, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    UniqueConstraint("user_pk", "device_id"),
    UniqueConstraint("push_token", "environment", "bundle_id"),
    sqlite_autoincrement=True,
    comment="registered_at is when the token was last said to be the device's",
)

outbox = Table(
    "outbox",
    metadata,
    Column("pk", Key, primary_key=True),
    Column("kind", String(32), nullable=False),
    Column("channel_pk", Key, nullable=False, index=True),
    Column("seq", BigInteger, nullable=False),
    Column("ref_pk", Key),
    Column("cursor", Key, nullable=False),
    Column("due_at", BigInteger, nullable=False, index=True),
    Column("lease", String(32)),
    Column("lease_until", BigInteger, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    sqlite_autoincrement=True,
    comment="one row a cause of pushes; gone when all of its audience up to cursor have their deliveries",
)

deliveries = Table(
    "deliveries",
    metadata,
    Column("pk", Key, primary_key=True),
    Column("outbox_pk", Key, nullable=False),
    Column("kind", String(32), nullable=False),
    Column("provider", String(16), nullable=False, server_default="apns"),
    Column("channel_pk", Key, nullable=False),
    Column("seq", BigInteger, nullable=False),
    Column("ref_pk", Key),
    Column("user_pk", Key, nullable=False),
    Column("target_pk", Key, nullable=False),
    Column("stamp", BigInteger),
    Column("push_id", String(36), nullable=False, unique=True),
    Column("state", String(16), nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("due_at", BigInteger, nullable=False),
    Column("deadline_at", BigInteger, nullable=False),
    Column("lease", String(32)),
    Column("lease_until", BigInteger, nullable=False),
    Column("status", Integer),
    Column("reason", String(255)),
    Column("created_at", BigInteger, nullable=False),
    Column("settled_at", BigInteger),
    UniqueConstraint("outbox_pk", "target_pk"),
    Index("ix_deliveries_user", "user_pk", "pk"),
    Index(
        "ix_deliveries_waiting",
        "provider",
        "due_at",
        postgresql_where=text("state = 'waiting'"),
        sqlite_where=text("state = 'waiting'"),
    ),
    Index("ix_deliveries_dead", "pk", postgresql_where=text("state = 'dead'"), sqlite_where=text("state = 'dead'")),
    Index("ix_deliveries_settled", "settled_at"),
    sqlite_autoincrement=True,
    comment="one push to a device, or to a Live Activity; state is waiting, sent, skipped, dropped or dead",
)
