"""Chats, their members and messages."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    String,
    Table,
    Text,
    UniqueConstraint,
    false,
    text,
)

from storage.models.account import users
from storage.models.base import Key, metadata
from storage.models.core import channels, tenants

LEAVING = "leaves_at IS NOT NULL"
OWNS = "role = 'owner'"
REACTIONS_DUE = "reactions_due IS NOT NULL"
IN_THREAD = "root_seq IS NOT NULL"
IS_REPLY = "thread_seq IS NOT NULL"
MENTIONS_ALL = "mention_all IS NOT NULL"
# Indexes that queries name.
OF_THREADS, OF_MENTIONS_OF_ALL = "ix_messages_thread", "ix_messages_mention_all"
DELETED, UNNUMBERED, UNREAD_UNKNOWN = "deleted_at IS NOT NULL", "ordinal IS NULL", "read_ordinal IS NULL"

chats = Table(
    "chats",
    metadata,
    Column("pk", Key, ForeignKey(channels.c.pk), primary_key=True, autoincrement=False),
    Column("tenant_pk", Key, ForeignKey(tenants.c.pk), nullable=False),
    Column("id", String(24), nullable=False),
    Column("type", String(16), nullable=False),
    Column("name", String(255)),
    Column("name_key", String(512)),
    Column("history_visible", String(16), nullable=False),
    Column("pair", String(64), unique=True),
    Column("member_count", Integer, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
    Column("deleted_at", BigInteger),
    Column("swept", Boolean, nullable=False, default=False),
    Column("reactions", String(16), nullable=False, server_default="members"),
    Column("mention_all_at", BigInteger),
    # Who may post: only moderators in a frozen chat; one message in slow_mode seconds; links of all or of moderators.
    Column("frozen", Boolean, nullable=False, server_default=false()),
    Column("slow_mode", Integer, nullable=False, server_default="0"),
    Column("links", String(16), nullable=False, server_default="all"),
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
    Column("wrote", Boolean, nullable=False, server_default=false()),
    Column("leaves_at", BigInteger),
    Column("read_ordinal", BigInteger),
    Column("own_after", BigInteger),
    # What a mute lets through: none, or null for mentions.
    Column("mute_level", String(16)),
    Index("ix_members_joined", "chat_pk", "joined_seq"),
    Index("ix_members_owners", "chat_pk", postgresql_where=text(OWNS), sqlite_where=text(OWNS)),
    Index("ix_members_leaves_at", "leaves_at", postgresql_where=text(LEAVING), sqlite_where=text(LEAVING)),
    Index("ix_members_unnumbered", "chat_pk", postgresql_where=text(UNREAD_UNKNOWN), sqlite_where=text(UNREAD_UNKNOWN)),
    sqlite_with_rowid=False,
    comment="read_ordinal is that of the newest message up to read_seq, own_after how many of one's own come after it",
)

sanctions = Table(
    "sanctions",
    metadata,
    Column("chat_pk", Key, ForeignKey(chats.c.pk), primary_key=True),
    Column("user_pk", Key, ForeignKey(users.c.pk), primary_key=True, index=True),
    Column("kind", String(16), primary_key=True),
    Column("until", BigInteger, nullable=False),
    Column("reason", Text),
    Column("created_at", BigInteger, nullable=False),
    sqlite_with_rowid=False,
    comment="kind is ban or silence; until is 2^62 where there is no end",
)

invites = Table(
    "invites",
    metadata,
    Column("chat_pk", Key, ForeignKey(chats.c.pk), primary_key=True, autoincrement=False),
    Column("key", String(24), nullable=False, unique=True),
    Column("expires_at", BigInteger, nullable=False),
    comment="links by which users join a group; key is the beginning of the token",
)

last_posts = Table(
    "last_posts",
    metadata,
    Column("chat_pk", Key, ForeignKey(chats.c.pk), primary_key=True),
    Column("user_pk", Key, ForeignKey(users.c.pk), primary_key=True, index=True),
    Column("at", BigInteger, nullable=False),
    sqlite_with_rowid=False,
    comment="when a user posted last, in a chat in slow mode",
)

purges = Table(
    "purges",
    metadata,
    Column("pk", Key, primary_key=True),
    Column("chat_pk", Key, ForeignKey(chats.c.pk), nullable=False),
    Column("user_pk", Key, ForeignKey(users.c.pk), nullable=False, index=True),
    Column("since", BigInteger, nullable=False),
    Column("before_seq", BigInteger, nullable=False),
    sqlite_autoincrement=True,
    comment="messages of a banned user that are being deleted: those sent since a time, below before_seq",
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
    Column("media", Text),
    Column("transfer", Text),
    Column("edits", Text),
    Column("ordinal", BigInteger),
    Column("client_key", String(255)),
    Column("fingerprint", String(64)),
    Column("created_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
    Column("deleted_at", BigInteger),
    Column("reactions", Text),
    Column("reaction_seq", BigInteger),
    Column("reactions_due", Integer),
    # Of a reply: where its thread's root is, and if it is not shown in the chat, the newest message before it that is.
    Column("thread_seq", BigInteger),
    Column("thread_id", String(24)),
    Column("previous_seq", BigInteger),
    # Of a root: its thread's summary, as JSON.
    Column("thread", Text),
    # Members by number and id, as JSON; whether all are mentioned: 1 in the chat, 2 in the thread.
    Column("mentions", Text),
    Column("mention_all", Integer),
    Column("forwarded", Integer),
    UniqueConstraint("sender_pk", "client_key"),
    Index("ix_messages_deleted", "chat_pk", "seq", postgresql_where=text(DELETED), sqlite_where=text(DELETED)),
    Index("ix_messages_unnumbered", "chat_pk", "seq", postgresql_where=text(UNNUMBERED), sqlite_where=text(UNNUMBERED)),
    Index(
        "ix_messages_reactions_due",
        "chat_pk",
        "seq",
        postgresql_where=text(REACTIONS_DUE),
        sqlite_where=text(REACTIONS_DUE),
    ),
    Index(
        OF_THREADS,
        "chat_pk",
        "thread_seq",
        "seq",
        postgresql_where=text(IS_REPLY),
        sqlite_where=text(IS_REPLY),
    ),
    Index(
        OF_MENTIONS_OF_ALL,
        "chat_pk",
        "mention_all",
        "seq",
        postgresql_where=text(MENTIONS_ALL),
        sqlite_where=text(MENTIONS_ALL),
    ),
    sqlite_with_rowid=False,
    comment=(
        "seq is that of the message:new event; edits are the seqs of its message:updated events, as a JSON list; "
        "ordinal is how many messages of the chat count as unread up to this one"
    ),
)

reactions = Table(
    "reactions",
    metadata,
    Column("chat_pk", Key, primary_key=True),
    Column("seq", BigInteger, primary_key=True),
    Column("user_pk", Key, primary_key=True),
    Column("key", String(64), primary_key=True),
    Column("created_at", BigInteger, nullable=False),
    Index("ix_reactions_user", "user_pk", "chat_pk", "seq"),
    sqlite_with_rowid=False,
    comment="the message has the sum of them in its column reactions, as JSON, and in reaction_seq the event that shows it",
)

thread_members = Table(
    "thread_members",
    metadata,
    Column("chat_pk", Key, primary_key=True),
    Column("root_seq", BigInteger, primary_key=True),
    Column("user_pk", Key, primary_key=True),
    Column("follows", Boolean, nullable=False),
    Column("read_seq", BigInteger, nullable=False),
    Column("replies", Integer, nullable=False),
    # What was there before is not read by following, but up to read_before by the user.
    Column("from_seq", BigInteger, nullable=False),
    Column("read_before", BigInteger, nullable=False),
    Column("first_seq", BigInteger),
    Index("ix_thread_members_user", "user_pk", "chat_pk"),
    sqlite_with_rowid=False,
    comment="who follows a thread, has read in it or replied; replies are those not deleted, first_seq is that of the first",
)

mentions = Table(
    "mentions",
    metadata,
    Column("user_pk", Key, primary_key=True),
    Column("chat_pk", Key, primary_key=True),
    Column("seq", BigInteger, primary_key=True),
    Column("root_seq", BigInteger),
    Column("event_seq", BigInteger, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Index("ix_mentions_message", "chat_pk", "seq"),
    Index(
        "ix_mentions_thread",
        "user_pk",
        "chat_pk",
        "seq",
        postgresql_where=text(IN_THREAD),
        sqlite_where=text(IN_THREAD),
    ),
    Index("ix_mentions_time", "user_pk", "created_at"),
    sqlite_with_rowid=False,
    comment=(
        "root_seq is of a reply that its thread alone shows; event_seq is the event that mentioned the user; "
        "a mention of all is a flag of its message"
    ),
)

pins = Table(
    "pins",
    metadata,
    Column("chat_pk", Key, primary_key=True),
    Column("seq", BigInteger, primary_key=True),
    Column("user_pk", Key, nullable=False),
    Column("until", BigInteger),
    Column("created_at", BigInteger, nullable=False),
    Index("ix_pins_user", "user_pk"),
    sqlite_with_rowid=False,
    comment="until is null where there is no end",
)

reports = Table(
    "reports",
    metadata,
    Column("pk", Key, primary_key=True),
    Column("tenant_pk", Key, ForeignKey(tenants.c.pk), nullable=False),
    Column("reporter_pk", Key, ForeignKey(users.c.pk)),
    Column("message_id", String(24), nullable=False),
    Column("reason", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("state", String(16), nullable=False, server_default="open"),
    Column("action", String(16)),
    Column("resolved_at", BigInteger),
    UniqueConstraint("reporter_pk", "message_id"),
    Index("ix_reports_message", "message_id"),
    Index("ix_reports_state", "tenant_pk", "state", "pk"),
    sqlite_autoincrement=True,
    comment="without a reporter it was made for a word of a list; state is open, actioned or dismissed",
)

word_lists = Table(
    "word_lists",
    metadata,
    Column("tenant_pk", Key, ForeignKey(tenants.c.pk), primary_key=True),
    Column("name", String(64), primary_key=True),
    Column("action", String(16), nullable=False),
    Column("words", Text, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
    sqlite_with_rowid=False,
    comment="words as JSON; action is reject or flag",
)
