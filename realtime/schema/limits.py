"""Every limit, with its default. ``server/settings.py`` makes a setting of each; ``session:ready`` shows them."""

from dataclasses import asdict, dataclass

from storage.types import camel

KIB = 1024
MIB = 1024 * KIB


@dataclass(frozen=True, slots=True)
class Limits:
    """Sizes in bytes (of UTF-8 where it is text), lengths in characters, times in seconds."""

    content: int = 16 * KIB
    title: int = 255
    metadata: int = 4 * KIB
    edits: int = 100
    notification_message: int = 4_000
    notification_metadata: int = 16 * KIB
    key: int = 64
    entity_id: int = 255
    action_url: int = 2_048
    placeholders: int = 100
    placeholder_bytes: int = 64 * KIB
    locales: int = 100
    template_parts: int = 100
    devices: int = 20
    upload: int = 25 * MIB
    upload_seconds: float = 600
    file_name: int = 255
    media_per_user: int = 1024 * MIB
    media_per_tenant: int = 100 * 1024 * MIB
    transfer: int = 1_000_000_000
    body: int = 256 * KIB
    body_without_token: int = 16 * KIB
    body_seconds: float = 30
    head_seconds: float = 10
    idle_seconds: float = 75
    stall_seconds: float = 300
    nesting: int = 32
    packet: int = 256 * KIB
    polling_packets: int = 1000
    polling_payload: int = MIB
    idempotency_key: int = 255
    chat_members: int = 10_000
    members_per_call: int = 500
    groups_per_day: int = 200
    replay_events: int = 5_000
    replay_bytes: int = 8 * MIB
    offsets: int = 5_000
    outbound: int = MIB
    inbox: int = 32
    sockets_per_user: int = 50
    sockets_per_address: int = 5_000
    connections_per_address: int = 6_000
    connects_per_address: float = 100
    connects_at_once: int = 1_000
    sends_per_second: float = 100
    sends_at_once: int = 500
    deliveries_per_second: float = 100_000
    units_per_second: float = 1_000
    units_at_once: int = 5_000
    units_without_token: float = 800
    units_without_token_at_once: int = 4_000
    uploads_per_minute: int = 120
    uploads_at_once: int = 10
    uploads_under_way: int = 500
    decodings_waiting: int = 128
    decoder_seconds_per_minute: float = 3
    decoder_seconds_at_once: float = 3
    failed_logins: int = 10
    failed_logins_per_account: int = 100
    passwords_per_asker: int = 16
    passwords_waiting: int = 128
    logins_per_address: int = 300
    logins_per_user: int = 100
    registrations_per_address: int = 20
    unconnected: float = 10
    connects_per_second: float = 500
    connect_wait: float = 10
    presence_watch: int = 500
    streams_watched: int = 100
    streams_followed: int = 500
    follows_per_minute: int = 6
    activities: int = 50
    activity_attributes: int = 1_500
    webhooks: int = 20
    page: int = 200

    def shown(self) -> dict[str, float]:
        """As clients see them, in camelCase."""
        return {camel(name): value for name, value in asdict(self).items()}
