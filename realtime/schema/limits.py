"""Every limit, with its default, its bounds and what it limits: the one place where it is defined.

``server/settings.py`` makes a setting of each that has a description, ``BELLWIRE_MAX_<NAME>``; ``session:ready`` and the
documents show them.
"""

from dataclasses import asdict, dataclass, field
from typing import Any

from storage.types import camel

KIB = 1024
MIB = 1024 * KIB


def limit(default: float, description: str, **bounds: float) -> Any:
    """A field of ``Limits``; ``bounds`` are gt, ge, lt or le, of its setting."""
    return field(default=default, metadata={"description": description, **bounds})


@dataclass(frozen=True, slots=True)
class Limits:
    """Sizes in bytes (of UTF-8 where it is text), lengths in characters, times in seconds."""

    content: int = limit(16 * KIB, "bytes of a message's text", gt=0)
    title: int = limit(255, "characters of a name or title", gt=0, le=255)
    metadata: int = limit(4 * KIB, "bytes of a message's metadata as JSON", gt=0)
    reactions_of_message: int = limit(20, "kinds of reactions to one message", gt=0)
    reactions_of_user: int = limit(5, "reactions of a user to one message", gt=0)
    reactions_per_second: int = limit(10, "reactions added or removed by a user per second", gt=0)
    mentions: int = limit(50, "users that a message mentions", ge=0)
    mention_all_members: int = limit(100, "members of a chat in which every member may mention all", ge=0)
    mention_all_seconds: float = limit(60, "seconds between two mentions of all in a chat", ge=0)
    searches_per_second: float = limit(10, "searches for messages per user and second", gt=0)
    search_query: int = limit(256, "characters of a search for messages", gt=0)
    search_words: int = limit(32, "words of a search for messages", gt=0)
    search_candidates: int = limit(2_000, "messages that a search reads per call", gt=0)
    search_text: int = limit(512 * KIB, "characters of messages that a search reads per call", gt=0)
    search_chats: int = limit(1_000, "chats that a search without a chat covers, the most recently active ones", gt=0)
    search_wait: float = limit(2, "seconds that a search waits for messages to be indexed; 503 above", gt=0)
    search_shortest: int = limit(2, "letters and digits that a search for messages must have", gt=0)
    search_matches: int = limit(100, "places of a search that are shown in one message", gt=0)
    slow_mode: int = limit(3600, "seconds of the slow mode of a chat", gt=0)
    report_context: int = limit(5, "messages shown before and after a reported one", ge=0)
    word_lists: int = limit(20, "word lists per tenant", ge=0)
    listed_words: int = limit(5_000, "entries of a word list", gt=0)
    listed_entry: int = limit(10, "words of an entry of a word list, or characters of a script without spaces", gt=0)
    listed_word: int = limit(64, "characters of an entry of a word list", gt=0, le=255)
    pins: int = limit(50, "pinned messages of a chat", ge=0)
    edits: int = limit(100, "edits of one message", gt=0)
    notification_message: int = limit(4_000, "characters of a notification's message", gt=0)
    notification_metadata: int = limit(16 * KIB, "bytes of a notification's metadata as JSON", gt=0)
    key: int = limit(64, "characters of a type, a category or a template's key", gt=0, le=64)
    entity_id: int = limit(255, "characters of the id of what a notification is about", gt=0, le=255)
    action_url: int = limit(2_048, "characters of a notification's action URL", gt=0)
    placeholders: int = limit(100, "placeholders of a notification", ge=0)
    placeholder_bytes: int = limit(64 * KIB, "bytes of all placeholders together as JSON", gt=0)
    locales: int = limit(100, "variants of a template by locale", ge=0)
    template_parts: int = limit(100, "placeholders and tags of one text of a template", ge=0)
    devices: int = limit(20, "devices of a user", gt=0)
    upload: int = limit(25 * MIB, "bytes of a file", gt=0)
    avatar: int = limit(5 * MIB, "bytes of an image for a user's picture", gt=0)
    upload_seconds: float = limit(600, "seconds that receiving a file may take", gt=0)
    file_name: int = limit(255, "characters of a file's name that are kept", gt=0, le=255)
    media_per_user: int = limit(1024 * MIB, "bytes of all files of a user", ge=0)
    media_per_tenant: int = limit(100 * 1024 * MIB, "bytes of all files of a tenant", ge=0)
    transfer: int = limit(1_000_000_000, "credits of one transfer or grant", gt=0, le=10**15)
    body: int = limit(256 * KIB, "bytes of a JSON body", gt=0)
    body_without_token: int = limit(16 * KIB, "bytes of a JSON body without a token", gt=0)
    body_seconds: float = limit(30, "seconds that receiving a JSON body may take", gt=0)
    head_seconds: float = limit(10, "seconds in which a new connection must have sent a request", gt=0)
    idle_seconds: float = limit(
        75, "seconds that a connection may idle between two requests; more than a proxy keeps it", gt=0
    )
    stall_seconds: float = limit(300, "seconds without a TCP acknowledgement until a disconnect; Linux only", gt=0)
    nesting: int = limit(32, "depth of a JSON body", gt=0)
    packet: int = limit(256 * KIB, "bytes of a socket packet", gt=0)
    polling_packets: int = limit(1000, "packets of a polling payload", gt=0)
    polling_payload: int = limit(MIB, "bytes of a polling payload", gt=0)
    idempotency_key: int = limit(255, "characters of an idempotency key", gt=0, le=255)
    chat_members: int = limit(10_000, "members of a chat", gt=1)
    members_per_call: int = limit(500, "users added per call", gt=0)
    groups_per_day: int = limit(200, "groups created per user and day", gt=0)
    replay_events: int = limit(5_000, "events that a resume replays", ge=0)
    replay_bytes: int = limit(8 * MIB, "bytes that a resume replays", ge=0)
    offsets: int = limit(5_000, "channels that a client may resume", ge=0)
    outbound: int = limit(MIB, "bytes that may wait for a slow reader", gt=0)
    inbox: int = limit(32, "events of a socket that may wait before it is not read any more", gt=0)
    sockets_per_user: int = limit(50, "sockets per user, on a node", gt=0)
    sockets_per_address: int = limit(5_000, "sockets per address, on a node", gt=0)
    connections_per_address: int = limit(6_000, "connections per address, including sockets", gt=0)
    connects_per_address: float = limit(100, "sockets opened per address and second …", gt=0)
    connects_at_once: int = limit(1_000, "… after a burst of this size", gt=0)
    sends_per_second: float = limit(100, "messages per user and second …", gt=0)
    sends_at_once: int = limit(500, "… after a burst of this size", gt=0)
    deliveries_per_second: float = limit(
        100_000, "deliveries per chat and second to sockets, per process; 429 above", gt=0
    )
    units_per_second: float = limit(1_000, "budget per user and second in units of 100 µs of a core …", gt=0)
    units_at_once: int = limit(5_000, "… after a burst of this size", gt=0)
    units_without_token: float = limit(800, "budget per address without a token and second, in units …", gt=0)
    units_without_token_at_once: int = limit(4_000, "… after a burst of this size", gt=0)
    uploads_per_minute: int = limit(120, "uploads per user and minute", gt=0)
    uploads_at_once: int = limit(10, "concurrent uploads per user, on a node", gt=0)
    uploads_under_way: int = limit(500, "concurrent uploads on a node, half of them per tenant; 503 above", gt=0)
    decodings_waiting: int = limit(128, "files waiting to be decoded, half of them per tenant; 503 above", gt=0)
    decoder_seconds_per_minute: float = limit(3, "seconds of a core for decoding per user and minute …", gt=0)
    decoder_seconds_at_once: float = limit(3, "… after a burst of this size", gt=0)
    failed_logins: int = limit(10, "failed logins per account, address and minute", gt=0)
    failed_logins_per_account: int = limit(
        100, "failed logins per account and hour; above, only known devices may try", gt=0
    )
    passwords_per_asker: int = limit(16, "passwords waiting to be hashed, per address", gt=0)
    passwords_waiting: int = limit(128, "passwords waiting to be hashed, in total", gt=0)
    logins_per_address: int = limit(300, "logins per address and minute", gt=0)
    logins_per_user: int = limit(100, "active logins per user; a new one ends the least recently used", gt=0)
    registrations_per_address: int = limit(20, "registrations per address and hour", gt=0)
    unconnected: float = limit(10, "seconds that a connection may stay without CONNECT", gt=0)
    connects_per_second: float = limit(
        500, "sockets opened per second at most; others wait, and so they do while they would disturb open ones", gt=0
    )
    connect_wait: float = limit(10, "seconds that a new socket may wait; 503 above", ge=0)
    presence_watch: int = limit(500, "users whose presence a socket may watch", ge=0)
    streams_watched: int = limit(100, "streams that a socket may watch", ge=0)
    rooms_watched: int = limit(20, "open streams and rooms that a socket may watch", ge=0)
    stream_reactions_per_second: float = limit(10, "calls of stream:react per user and second", gt=0)
    streams_followed: int = limit(500, "streams, not over yet, that a user may follow", ge=0)
    follows_per_minute: int = limit(
        6, "times per minute that a user follows, unfollows or enters one stream's chat", gt=0
    )
    activities: int = limit(50, "Live Activities that a user may have at a time", ge=0)
    activity_attributes: int = limit(1_500, "bytes of a Live Activity's attributes as JSON", ge=0, le=1500)
    webhooks: int = limit(20, "webhooks per tenant", ge=0)
    page: int = 200

    def shown(self) -> dict[str, float]:
        """As clients see them, in camelCase."""
        return {camel(name): value for name, value in asdict(self).items()}
