"""Uploaded files, and how much of their space each user and tenant has taken."""

from sqlalchemy import BigInteger, Boolean, Column, Float, ForeignKey, Index, Integer, String, Table, text, true

from storage.models.account import users
from storage.models.base import Key, metadata
from storage.models.core import tenants

EXPIRING = "expires_at IS NOT NULL"

media = Table(
    "media",
    metadata,
    Column("pk", Key, primary_key=True),
    Column("id", String(24), nullable=False, unique=True),
    Column("tenant_pk", Key, ForeignKey(tenants.c.pk), nullable=False),
    Column("owner_pk", Key, ForeignKey(users.c.pk), nullable=False, index=True),
    Column("key", String(64), nullable=False, index=True),
    Column("state", String(16), nullable=False),
    Column("kind", String(16), nullable=False),
    Column("mime", String(255), nullable=False),
    Column("name", String(255), nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("hash", String(64), nullable=False),
    Column("width", Integer),
    Column("height", Integer),
    Column("duration", Float),
    Column("thumbnail", Boolean, nullable=False),
    Column("chat_pk", Key),
    Column("seq", BigInteger),
    Column("created_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger),
    # Of the rows that share a file one counts for its owner's space.
    Column("charged", Boolean, nullable=False, server_default=true()),
    Index("ix_media_expires_at", "expires_at", postgresql_where=text(EXPIRING), sqlite_where=text(EXPIRING)),
    Index("ix_media_place", "chat_pk", "seq"),
    sqlite_autoincrement=True,
    comment="state is arriving, ready, sent, doomed or gone; a sent one whose file is gone keeps its hash",
)

media_usage = Table(
    "media_usage",
    metadata,
    Column("tenant_pk", Key, primary_key=True),
    Column("user_pk", Key, primary_key=True),
    Column("bytes", BigInteger, nullable=False),
    sqlite_with_rowid=False,
    comment="user 0 is the tenant as a whole",
)
