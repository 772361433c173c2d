"""The tables, once for both databases.

Rows are keyed by numbers of the database; the names that the wire uses (24 hex digits, a number, a uuid) are columns,
unique per tenant. A user, a chat and a stream share one number space, that of ``channels``: the number of a user is the
number of the ``user:`` channel, so that locking a channel locks what lies behind it. Times are microseconds since 1970.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    text,
)

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
    }
)

UPCOMING = "status IN ('scheduled', 'ready')"
ALIVE = "state IN ('active', 'ending')"
ISSUING = "user_pk IS NULL"
Key = BigInteger().with_variant(Integer, "sqlite")

facts = Table(
    "facts",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("value", Text, nullable=False),
    comment="what the installation knows of itself: epoch, start mark, signing key of hints",
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
)

channels = Table(
    "channels",
    metadata,
    Column("pk", Key, primary_key=True),
    Column("name", String(64), nullable=False),
    Column("head", BigInteger, nullable=False),
    Column("floor", BigInteger, nullable=False),
    sqlite_autoincrement=True,
    comment="head is the newest seq; events up to and with floor are gone",
)

events = Table(
    "events",
    metadata,
    Column("channel_pk", Key, primary_key=True),
    Column("seq", BigInteger, primary_key=True),
    Column("name", String(64), nullable=False),
    Column("payload", LargeBinary, nullable=False),
    Column("at", BigInteger, nullable=False),
    Index("ix_events_at", "at"),
    sqlite_with_rowid=False,
)

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
    UniqueConstraint("tenant_pk", "id"),
    UniqueConstraint("tenant_pk", "number"),
    UniqueConstraint("tenant_pk", "uuid"),
    UniqueConstraint("tenant_pk", "email_key"),
)

logins = Table(
    "logins",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("user_pk", Key, ForeignKey(users.c.pk), nullable=False, index=True),
    Column("generation", Integer, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False),
    Column("ended_at", BigInteger),
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

chats = Table(
    "chats",
    metadata,
    Column("pk", Key, ForeignKey(channels.c.pk), primary_key=True, autoincrement=False),
    Column("tenant_pk", Key, ForeignKey(tenants.c.pk), nullable=False),
    Column("id", String(24), nullable=False),
    Column("type", String(16), nullable=False),
    Column("name", String(255)),
    Column("history_visible", String(16), nullable=False),
    Column("pair", String(64), unique=True),
    Column("member_count", Integer, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
    Column("deleted_at", BigInteger),
    Column("swept", Boolean, nullable=False, default=False),
    UniqueConstraint("tenant_pk", "id"),
    Index("ix_chats_to_sweep", "deleted_at", postgresql_where=text("NOT swept"), sqlite_where=text("NOT swept")),
    comment="pair names the two of a direct chat, lower number first; a deleted chat keeps its row and its id",
)

members = Table(
    "members",
    metadata,
    Column("chat_pk", Key, ForeignKey(chats.c.pk), primary_key=True),
    Column("user_pk", Key, ForeignKey(users.c.pk), primary_key=True, index=True),
    Column("role", String(16), nullable=False),
    Column("joined_seq", BigInteger, nullable=False),
    Column("read_seq", BigInteger, nullable=False),
    Column("muted_until", BigInteger),
    Column("joined_at", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

messages = Table(
    "messages",
    metadata,
    Column("chat_pk", Key, primary_key=True),
    Column("seq", BigInteger, primary_key=True),
    Column("id", String(24), nullable=False, unique=True),
    Column("sender_pk", Key, nullable=False),
    Column("type", String(16), nullable=False),
    Column("content", Text),
    Column("reply_to", String(24)),
    Column("metadata", Text),
    Column("transfer", Text),
    Column("edits", Text),
    Column("client_key", String(255)),
    Column("fingerprint", String(64)),
    Column("created_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
    Column("deleted_at", BigInteger),
    UniqueConstraint("sender_pk", "client_key"),
    sqlite_with_rowid=False,
    comment="seq is that of the message:new event; edits are the seqs of its message:updated events, as a JSON list",
)

reports = Table(
    "reports",
    metadata,
    Column("pk", Key, primary_key=True),
    Column("tenant_pk", Key, ForeignKey(tenants.c.pk), nullable=False),
    Column("reporter_pk", Key, ForeignKey(users.c.pk), nullable=False),
    Column("message_id", String(24), nullable=False),
    Column("reason", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    UniqueConstraint("reporter_pk", "message_id"),
    sqlite_autoincrement=True,
)

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

devices = Table(
    "devices",
    metadata,
    Column("pk", Key, primary_key=True),
    Column("user_pk", Key, ForeignKey(users.c.pk), nullable=False),
    Column("login_id", String(36), index=True),
    Column("device_id", String(255), nullable=False),
    Column("platform", String(16), nullable=False),
    Column("push_token", String(512), nullable=False),
    Column("environment", String(16), nullable=False),
    Column("bundle_id", String(255), nullable=False),
    Column("push_to_start_token", String(512)),
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
        "due_at",
        postgresql_where=text("state = 'waiting'"),
        sqlite_where=text("state = 'waiting'"),
    ),
    Index("ix_deliveries_dead", "pk", postgresql_where=text("state = 'dead'"), sqlite_where=text("state = 'dead'")),
    Index("ix_deliveries_settled", "settled_at"),
    sqlite_autoincrement=True,
    comment="one push to a device, or to a Live Activity; state is waiting, sent, skipped, dropped or dead",
)

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
    Column("created_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
    UniqueConstraint("tenant_pk", "id"),
    Index("ix_streams_upcoming", "starts_at", postgresql_where=text(UPCOMING), sqlite_where=text(UPCOMING)),
    comment="status is scheduled, ready, started, ended, cancelled or expired; announced when phones were told to start",
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
    sqlite_with_rowid=False,
    comment="who was removed from the chat of a stream, and does not come back by following or watching it",
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
