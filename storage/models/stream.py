"""Streams, who follows them, and what stands on lock screens."""

from sqlalchemy import BigInteger, Boolean, Column, ForeignKey, Index, Integer, String, Table, UniqueConstraint, text

from storage.models.account import users
from storage.models.base import Key, metadata
from storage.models.chat import chats
from storage.models.core import channels, tenants

UPCOMING = "status IN ('scheduled', 'ready')"
ALIVE = "state IN ('active', 'ending')"

streams = Table(
    "streams",
    metadata,
    Column("pk", Key, ForeignKey(channels.c.pk), primary_key=True, autoincrement=False),
    Column("tenant_pk", Key, ForeignKey(tenants.c.pk), nullable=False),
    Column("id", String(24), nullable=False),
    Column("title", String(255), nullable=False),
    Column("status", String(16), nullable=False),
    Column("starts_at", BigInteger, nullable=False),
    Column("owner_pk", Key, ForeignKey(users.c.pk), nullable=False),
    Column("chat_pk", Key, ForeignKey(chats.c.pk), nullable=False, index=True),
    Column("announced", Boolean, nullable=False),
    Column("peak", Integer, nullable=False, server_default="0"),
    Column("created_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
    UniqueConstraint("tenant_pk", "id"),
    Index("ix_streams_upcoming", "starts_at", postgresql_where=text(UPCOMING), sqlite_where=text(UPCOMING)),
    comment=(
        "status is scheduled, ready, started, ended, cancelled or expired; announced when phones were told to start; "
        "peak is how many watched it at most"
    ),
)

followers = Table(
    "followers",
    metadata,
    Column("stream_pk", Key, ForeignKey(streams.c.pk), primary_key=True),
    Column("user_pk", Key, ForeignKey(users.c.pk), primary_key=True, index=True),
    Column("created_at", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

exclusions = Table(
    "exclusions",
    metadata,
    Column("chat_pk", Key, ForeignKey(chats.c.pk), primary_key=True),
    Column("user_pk", Key, ForeignKey(users.c.pk), primary_key=True),
    Column("role", String(16)),
    sqlite_with_rowid=False,
    comment=("of the version before, which had it in place of sanctions"),
)

activities = Table(
    "activities",
    metadata,
    Column("pk", Key, primary_key=True),
    Column("tenant_pk", Key, ForeignKey(tenants.c.pk), nullable=False),
    Column("stream_pk", Key, ForeignKey(streams.c.pk), nullable=False),
    Column("user_pk", Key, ForeignKey(users.c.pk), nullable=False),
    Column("device_id", String(255), nullable=False),
    Column("activity_id", String(255), nullable=False),
    Column("platform", String(16), nullable=False, server_default="ios"),
    Column("token", String(512), nullable=False),
    Column("environment", String(16), nullable=False),
    Column("bundle_id", String(255), nullable=False),
    Column("state", String(16), nullable=False),
    Column("stamp", BigInteger, nullable=False),
    Column("registered_at", BigInteger, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    UniqueConstraint("tenant_pk", "device_id", "activity_id"),
    Index("ix_activities_stream", "stream_pk", "pk"),
    Index("ix_activities_user", "user_pk"),
    Index("ix_activities_alive", "created_at", postgresql_where=text(ALIVE), sqlite_where=text(ALIVE)),
    sqlite_autoincrement=True,
    comment="a Live Activity on a lock screen; state is active, ending, ended or dead; stamp is that of the newest push",
)

push_channel_apps = Table(
    "push_channel_apps",
    metadata,
    Column("pk", Key, primary_key=True),
    Column("environment", String(16), nullable=False),
    Column("bundle_id", String(255), nullable=False),
    Column("compared_at", BigInteger, nullable=False),
    Column("due_at", BigInteger, nullable=False),
    UniqueConstraint("environment", "bundle_id"),
    sqlite_autoincrement=True,
    comment="an app whose iPhones can use push channels; compared_at is when its channels were last compared with Apple's",
)

push_channels = Table(
    "push_channels",
    metadata,
    Column("pk", Key, primary_key=True),
    Column("stream_pk", Key, ForeignKey(streams.c.pk)),
    Column("environment", String(16), nullable=False),
    Column("bundle_id", String(255), nullable=False),
    Column("channel_id", String(255)),
    Column("state", String(16), nullable=False),
    Column("stamp", BigInteger, nullable=False),
    Column("unanswered", Integer, nullable=False),
    Column("first_asked_at", BigInteger, nullable=False),
    Column("asked_at", BigInteger, nullable=False),
    Column("due_at", BigInteger, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    UniqueConstraint("stream_pk", "environment", "bundle_id"),
    UniqueConstraint("environment", "bundle_id", "channel_id"),
    Index("ix_push_channels_due", "due_at"),
    sqlite_autoincrement=True,
    comment="a channel of Apple's for a stream in an app; state is wanted, open, ending, ended, failed or unknown",
)
