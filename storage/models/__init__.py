"""The tables, once for both databases.

Rows are keyed by numbers of the database; the names that the wire uses (24 hex digits, a number, a uuid) are columns,
unique per tenant. A user, a chat and a stream share one number space, that of ``channels``: the number of a user is the
number of the ``user:`` channel, so that locking a channel locks what lies behind it. Times are microseconds since 1970.
"""

from storage.models.account import audit, avatars, blocks, logins, reset_links, revocations, users
from storage.models.base import metadata
from storage.models.chat import (
    IS_REPLY,
    LEAVING,
    OF_MENTIONS_OF_ALL,
    OF_THREADS,
    OWNS,
    REACTIONS_DUE,
    chats,
    invites,
    last_posts,
    members,
    mentions,
    messages,
    pins,
    purges,
    reactions,
    reports,
    sanctions,
    thread_members,
    word_lists,
)
from storage.models.core import channels, due, events, facts, invitations, nodes, tenants
from storage.models.credit import ISSUING, credit_accounts, credit_entries, credit_transactions
from storage.models.media import EXPIRING, media, media_usage
from storage.models.notification import broadcasts, notifications, templates
from storage.models.push import deliveries, devices, outbox
from storage.models.stream import (
    ALIVE,
    UPCOMING,
    activities,
    exclusions,
    followers,
    push_channel_apps,
    push_channels,
    streams,
)
from storage.models.webhook import calls, webhooks

__all__ = [
    "ALIVE",
    "EXPIRING",
    "ISSUING",
    "IS_REPLY",
    "LEAVING",
    "OF_MENTIONS_OF_ALL",
    "OF_THREADS",
    "OWNS",
    "REACTIONS_DUE",
    "UPCOMING",
    "activities",
    "audit",
    "avatars",
    "blocks",
    "broadcasts",
    "calls",
    "channels",
    "chats",
    "credit_accounts",
    "credit_entries",
    "credit_transactions",
    "deliveries",
    "devices",
    "due",
    "events",
    "exclusions",
    "facts",
    "followers",
    "invitations",
    "invites",
    "last_posts",
    "logins",
    "media",
    "media_usage",
    "members",
    "mentions",
    "messages",
    "metadata",
    "nodes",
    "notifications",
    "outbox",
    "pins",
    "purges",
    "push_channel_apps",
    "push_channels",
    "reactions",
    "reports",
    "reset_links",
    "revocations",
    "sanctions",
    "streams",
    "templates",
    "tenants",
    "thread_members",
    "users",
    "webhooks",
    "word_lists",
]
