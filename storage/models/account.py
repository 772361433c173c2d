"""Users, their logins, and what ends them."""

from sqlalchemy import (
    BigInteger,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    String,
    Table,
    Text,
    UniqueConstraint,
    text,
)

from storage.models.base import Key, metadata
from storage.models.core import channels, tenants

TO_ERASE = "status = 'deleted' AND erased_at IS NULL"

users = Table(
    "users",
    metadata,
    Column("pk", Key, ForeignKey(channels.c.pk), primary_key=True, autoincrement=False),
    Column("tenant_pk", Key, ForeignKey(tenants.c.pk), nullable=False),
    Column("id", String(24), nullable=False),
    Column("number", BigInteger, nullable=False),
    Column("uuid", String(36), nullable=False),
    Column("email", String(255)),
    Column("email_key", String(255)),
    Column("name", String(255), nullable=False),
    Column("name_key", String(512), nullable=False),
    Column("avatar_url", Text),
    Column("password", Text),
    Column("permissions", Text, nullable=False),
    Column("locale", String(35)),
    Column("time_zone", String(64)),
    Column("quiet_from", String(5)),
    Column("quiet_to", String(5)),
    Column("status", String(16), nullable=False),
    Column("valid_after", BigInteger, nullable=False),
    Column("last_seen_at", BigInteger),
    Column("created_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
    Column("erased_at", BigInteger),
    Column("presence", String(8)),
    UniqueConstraint("tenant_pk", "id"),
    UniqueConstraint("tenant_pk", "number"),
    UniqueConstraint("tenant_pk", "uuid"),
    UniqueConstraint("tenant_pk", "email_key"),
    Index("ix_users_to_erase", "pk", postgresql_where=text(TO_ERASE), sqlite_where=text(TO_ERASE)),
)

avatars = Table(
    "avatars",
    metadata,
    Column("user_pk", Key, ForeignKey(users.c.pk), primary_key=True, autoincrement=False),
    Column("hash", String(64), nullable=False),
    Column("data", LargeBinary, nullable=False),
    Column("changed_at", BigInteger, nullable=False),
    comment="a square WebP picture of a user, made of what was uploaded",
)

logins = Table(
    "logins",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("user_pk", Key, ForeignKey(users.c.pk), nullable=False, index=True),
    Column("generation", Integer, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False, index=True),
    Column("ended_at", BigInteger),
    Column("address", String(64)),
    Column("agent", String(255)),
    Column("used_at", BigInteger),
    comment="generation is that of the newest refresh token; an older one shown again ends the login",
)

reset_links = Table(
    "reset_links",
    metadata,
    Column("digest", String(64), primary_key=True),
    Column("user_pk", Key, ForeignKey(users.c.pk), nullable=False),
    Column("expires_at", BigInteger, nullable=False),
    Column("used_at", BigInteger),
)

revocations = Table(
    "revocations",
    metadata,
    Column("pk", Key, primary_key=True),
    Column("user_pk", Key, nullable=False),
    Column("login_id", String(36)),
    Column("reason", String(16), nullable=False),
    Column("at", BigInteger, nullable=False, index=True),
    sqlite_autoincrement=True,
    comment="whose sockets must close; without a login all of the user's",
)

blocks = Table(
    "blocks",
    metadata,
    Column("user_pk", Key, ForeignKey(users.c.pk), primary_key=True),
    Column("blocked_pk", Key, ForeignKey(users.c.pk), primary_key=True),
    Column("created_at", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

audit = Table(
    "audit",
    metadata,
    Column("pk", Key, primary_key=True),
    Column("tenant_pk", Key, ForeignKey(tenants.c.pk), nullable=False),
    Column("actor_pk", Key, ForeignKey(users.c.pk)),
    Column("action", String(64), nullable=False),
    Column("target", String(64)),
    Column("details", Text, nullable=False),
    Column("at", BigInteger, nullable=False),
    Index("ix_audit_tenant", "tenant_pk", "pk"),
    Index("ix_audit_actor", "actor_pk", "pk"),
    Index("ix_audit_at", "at"),
    sqlite_autoincrement=True,
    comment="what admins did; details is JSON",
)
