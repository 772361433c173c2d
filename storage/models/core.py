"""What every installation has: facts of itself, tenants, and the log of channels and events."""

from sqlalchemy import BigInteger, Boolean, Column, ForeignKey, Index, LargeBinary, String, Table, Text, text

from storage.models.base import Key, metadata

UNNUMBERED = "ordinal IS NULL"

facts = Table(
    "facts",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("value", Text, nullable=False),
    comment="what the installation knows of itself: epoch, start mark, signing key of hints",
)

nodes = Table(
    "nodes",
    metadata,
    Column("id", String(16), primary_key=True),
    Column("place", String(255), nullable=False),
    Column("redis", Boolean, nullable=False),
    Column("secret", String(64), nullable=False),
    Column("started_at", BigInteger, nullable=False),
    Column("seen_at", BigInteger, nullable=False),
    Column("figures", Text),
    comment="processes that serve; place is host and process id, secret a digest of what signs tokens",
)

tenants = Table(
    "tenants",
    metadata,
    Column("pk", Key, primary_key=True),
    Column("uuid", String(36), nullable=False, unique=True),
    Column("name", String(255), nullable=False),
    Column("next_number", BigInteger, nullable=False),
    Column("activity_type", String(255)),
    Column("activity_attributes", Text),
    Column("created_at", BigInteger, nullable=False),
    Column("registration", String(16)),
    Column("domains", Text),
)

invitations = Table(
    "invitations",
    metadata,
    Column("digest", String(64), primary_key=True),
    Column("tenant_pk", Key, ForeignKey(tenants.c.pk), nullable=False),
    Column("email_key", String(255)),
    Column("expires_at", BigInteger, nullable=False),
    comment="with each of these one account may be made; digest is that of what was handed out",
)

channels = Table(
    "channels",
    metadata,
    Column("pk", Key, primary_key=True),
    Column("name", String(64), nullable=False),
    Column("head", BigInteger, nullable=False),
    Column("floor", BigInteger, nullable=False),
    Column("ordinal", BigInteger),
    Index("ix_channels_unnumbered", "pk", postgresql_where=text(UNNUMBERED), sqlite_where=text(UNNUMBERED)),
    sqlite_autoincrement=True,
    comment="head is the newest seq; events up to and with floor are gone; ordinal is that of a chat's newest message",
)

events = Table(
    "events",
    metadata,
    Column("channel_pk", Key, primary_key=True),
    Column("seq", BigInteger, primary_key=True),
    Column("name", String(64), nullable=False),
    Column("payload", LargeBinary, nullable=False),
    Column("at", BigInteger, nullable=False),
    # The seq of the oldest object that the event refers to; null: its own.
    Column("about", BigInteger),
    Index("ix_events_at", "at"),
    sqlite_with_rowid=False,
)

due = Table(
    "due",
    metadata,
    Column("kind", String(32), primary_key=True),
    Column("ref", Key, primary_key=True),
    Column("at", BigInteger, nullable=False, index=True),
    sqlite_with_rowid=False,
    comment="what is to be done at a time; ref is the number of what it is about",
)
