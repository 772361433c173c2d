"""Every setting, on one screen: an environment variable ``BELLWIRE_…``, or a line of ``.env``."""

import difflib
import os
import re
from ipaddress import IPv4Network, IPv6Network, ip_address
from pathlib import Path
from typing import Annotated, Literal

from dotenv import dotenv_values
from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from realtime.cluster.servers_redis import servers_of
from realtime.schema.limits import KIB, MIB, Limits
from server.dialects import DIALECTS
from server.origins import ALL, NULL, read
from storage.email import encoded

PREFIX = "BELLWIRE_"
# What tests read from the environment is no setting of the server.
OF_TESTS = "BELLWIRE_TEST_"
ENV_FILE = ".env"
DATABASES = ("postgresql+asyncpg://", "postgresql://", "postgres://", "sqlite:///")
# What Kubernetes and Docker put into the environment for a service whose name begins like our settings.
OF_SERVICES = re.compile(r".*_(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT(_[0-9]+_(TCP|UDP|SCTP)(_\w+)?)?)")


class Settings(BaseSettings):
    model_config = SettingsConfigDict(env_prefix=PREFIX, env_file=ENV_FILE, extra="ignore", frozen=True)

    host: str = Field("127.0.0.1", description="address to listen on")
    port: int = Field(8080, ge=0, le=65535, description="port to listen on; 0 takes a free one")
    data_dir: Path = Field(Path("data"), description="folder of the database, the secret and the media")
    database_url: str = Field("", description="empty: SQLite in the data folder; or postgresql+asyncpg://…")
    database_timeout: float = Field(15, gt=0, description="seconds that reading the database may take; 503 above")
    redis_url: str = Field(
        "", description="for several processes: redis://…, rediss://…, redis+sentinel://…, redis+cluster://…"
    )
    workers: int = Field(1, ge=1, le=256, description="processes on one port; above 1 needs PostgreSQL and Redis")
    sticky: bool = Field(
        False, description="whether the balancer before several nodes is sticky, so that polling works with Redis"
    )
    drain_seconds: float = Field(
        5, ge=0, le=20, description="seconds in which a stopping server still answers while its sockets are closed"
    )
    public_url: str = Field("", description="how clients reach the server; empty: http://HOST:PORT")
    trusted_proxies: Annotated[list[IPv4Network | IPv6Network], NoDecode] = Field(
        default_factory=list,
        description="networks of proxies whose X-Forwarded-For is believed, comma-separated, like 10.0.0.0/8",
    )
    cors_origins: Annotated[list[str], NoDecode] = Field(
        default_factory=list,
        description="origins besides our own that browsers may come from, comma-separated; * for all",
    )
    hosts: Annotated[list[str], NoDecode] = Field(
        default_factory=list,
        description="names besides that of the public URL under which the server is asked, comma-separated",
    )
    default_dialect: str = Field("envelope", description="dialect of requests that show none")

    jwt_secret: SecretStr = Field(SecretStr(""), description="at least 32 bytes; empty: made on first start")
    jwt_other_secrets: Annotated[list[SecretStr], NoDecode] = Field(
        default_factory=list,
        max_length=2,
        description="secrets that do not sign but whose tokens count, comma-separated: the last one, or the next one",
    )
    jwt_algorithm: Literal["RS256", "ES256", "EdDSA"] = Field("RS256", description="of an issuer's tokens")
    jwt_public_key: Path | None = Field(None, description="PEM file of an issuer whose tokens are taken")
    jwks_url: str | None = Field(None, description="or where the issuer publishes its keys")
    jwt_issuer: str | None = Field(None, description="required iss")
    jwt_audience: str | None = Field(None, description="required aud")
    local_accounts: bool = Field(True, description="whether people may register and log in with a password")
    provision_users: bool = Field(False, description="whether an issuer's token of an unknown subject makes the user")

    apns_key: Path | None = Field(
        None, description="file of Apple's signing key (.p8); without one pushes are only logged"
    )
    apns_key_id: str = Field("", description="id of the key")
    apns_team_id: str = Field("", description="id of the team")
    apns_topic: str = Field("", description="bundle id for devices that name none")
    apns_host: str = Field("", description="another host than Apple's, for both environments")
    apns_port: int = Field(443, gt=0, le=65535, description="port of Apple's hosts, or of the other one")
    apns_ca: Path | None = Field(None, description="certificates to trust instead of the system's")
    apns_connections: int = Field(2, gt=0, description="connections to each environment")
    apns_environment: Literal["production", "sandbox"] = Field(
        "production", description="of Live Activities on devices that are not registered"
    )
    media_url: str = Field("", description="where files lie: a folder, or s3://bucket; empty: in the data folder")
    media_types: Annotated[list[str], NoDecode] = Field(
        default_factory=lambda: ["*/*"],
        description="types of files that are taken, found out by their content, comma-separated; never markup",
    )
    media_unsent_hours: float = Field(24, gt=0, description="hours after which a file that nobody sent is removed")
    stream_grace: float = Field(900, ge=0, description="seconds after its planned start that a stream expires")
    live_lead: float = Field(900, ge=0, description="seconds before its start that phones are told to show a stream")
    live_dismiss_over: float = Field(
        300, ge=0, le=4 * 3600, description="seconds that a Live Activity stays when its stream is cancelled or expired"
    )
    live_dismiss_begun: float = Field(
        0, ge=0, le=4 * 3600, description="seconds that a Live Activity stays when its stream is ready or has begun"
    )
    live_starts: int = Field(5, ge=0, description="Live Activities that are started on a device in an hour")
    live_hours: float = Field(4, gt=0, le=12, description="hours after which a push to a Live Activity is given up")
    push_content: bool = Field(True, description="whether pushes carry texts, or only tell that something came")
    push_reached: bool = Field(False, description="whether devices of users who were reached are pushed too")
    push_hours: float = Field(24, gt=0, description="hours after which an undelivered push is given up")
    push_in_flight: int = Field(400, gt=0, description="pushes under way at once")

    deleted_messages: Literal["keep", "remove"] = Field(
        "keep", description="whether messages of deleted users stay, without a name, or are removed"
    )
    webhook_private: bool = Field(
        False, description="whether webhooks may go to private networks, and without TLS: for an operator's own"
    )
    max_webhooks: int = Field(20, ge=0, description="webhooks of a tenant")
    retention_days: float = Field(30, gt=0, description="how long events are kept for resuming")
    retention_events: int = Field(10_000, gt=0, description="how many events of a channel are kept for resuming")
    ping_interval: float = Field(25, gt=0, description="seconds between pings of a socket")
    ping_timeout: float = Field(20, gt=0, description="seconds in which a ping must be answered")
    log_format: Literal["human", "json"] = Field("human", description="how the lines of the log are written")
    metrics_token: SecretStr = Field(
        SecretStr(""), description="bearer token with which /metrics answers outside of private networks"
    )
    otlp_url: str = Field("", description="where traces go, OTLP over HTTP; needs the extra: bellwire[tracing]")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field("INFO", description="least level that is logged")

    max_content: int = Field(16 * KIB, gt=0, description="bytes of a message's text")
    max_title: int = Field(255, gt=0, le=255, description="characters of a name or title")
    max_metadata: int = Field(4 * KIB, gt=0, description="bytes of a message's metadata as JSON")
    max_edits: int = Field(100, gt=0, description="edits of one message")
    max_notification_message: int = Field(4_000, gt=0, description="characters of a notification's message")
    max_notification_metadata: int = Field(16 * KIB, gt=0, description="bytes of a notification's metadata as JSON")
    max_key: int = Field(64, gt=0, le=64, description="characters of a type, a category or a template's key")
    max_entity_id: int = Field(255, gt=0, le=255, description="characters of the id of what a notification is about")
    max_action_url: int = Field(2_048, gt=0, description="characters of a notification's action URL")
    max_placeholders: int = Field(100, ge=0, description="placeholders of a notification")
    max_placeholder_bytes: int = Field(64 * KIB, gt=0, description="bytes of all placeholders together as JSON")
    max_locales: int = Field(100, ge=0, description="variants of a template by locale")
    max_template_parts: int = Field(100, ge=0, description="placeholders and tags of one text of a template")
    max_upload: int = Field(25 * MIB, gt=0, description="bytes of a file")
    max_upload_seconds: float = Field(600, gt=0, description="seconds that receiving a file may take")
    max_file_name: int = Field(255, gt=0, le=255, description="characters of a file's name that are kept")
    max_media_per_user: int = Field(1024 * MIB, ge=0, description="bytes of all files of a user")
    max_media_per_tenant: int = Field(100 * 1024 * MIB, ge=0, description="bytes of all files of a tenant")
    max_transfer: int = Field(1_000_000_000, gt=0, le=10**15, description="credits of one transfer or grant")
    max_devices: int = Field(20, gt=0, description="devices of a user")
    max_body: int = Field(256 * KIB, gt=0, description="bytes of a JSON body")
    max_body_without_token: int = Field(16 * KIB, gt=0, description="bytes of a JSON body of who shows no token")
    max_body_seconds: float = Field(30, gt=0, description="seconds that receiving a JSON body may take")
    max_head_seconds: float = Field(10, gt=0, description="seconds in which a new connection must have sent a request")
    max_idle_seconds: float = Field(
        75, gt=0, description="seconds that a connection may stay between two requests; more than a proxy keeps it"
    )
    max_stall_seconds: float = Field(
        300, gt=0, description="seconds that a client may take nothing of what is sent to it, where the system can tell"
    )
    max_nesting: int = Field(32, gt=0, description="depth of a JSON body")
    max_packet: int = Field(256 * KIB, gt=0, description="bytes of a socket packet")
    max_polling_packets: int = Field(1000, gt=0, description="packets of a polling payload")
    max_polling_payload: int = Field(MIB, gt=0, description="bytes of a polling payload")
    max_chat_members: int = Field(10_000, gt=1, description="members of a chat")
    max_groups_per_day: int = Field(200, gt=0, description="groups that a user makes in a day")
    max_members_per_call: int = Field(500, gt=0, description="users that one call may add")
    max_replay_events: int = Field(5_000, ge=0, description="events that a resume replays")
    max_replay_bytes: int = Field(8 * MIB, ge=0, description="bytes that a resume replays")
    max_outbound: int = Field(MIB, gt=0, description="bytes that may wait for a slow reader")
    max_idempotency_key: int = Field(255, gt=0, le=255, description="characters of an idempotency key")
    max_offsets: int = Field(5_000, ge=0, description="channels that a client may resume")
    max_inbox: int = Field(32, gt=0, description="events of a socket that may wait before it is not read any more")
    max_presence_watch: int = Field(500, ge=0, description="users whose presence a socket may watch")
    max_streams_watched: int = Field(100, ge=0, description="streams that a socket may watch")
    max_streams_followed: int = Field(500, ge=0, description="streams, not over yet, that a user may follow")
    max_follows_per_minute: int = Field(
        6, gt=0, description="times in a minute that a user follows, unfollows or enters the chat of the same stream"
    )
    max_activities: int = Field(50, ge=0, description="Live Activities that a user may have at a time")
    max_activity_attributes: int = Field(
        1_500, ge=0, le=1_500, description="bytes of a Live Activity's attributes as JSON"
    )
    max_unconnected: float = Field(10, gt=0, description="seconds that a connection may stay without CONNECT")
    max_connects_per_second: float = Field(500, gt=0, description="sockets that are opened in a second; others wait")
    max_connect_wait: float = Field(10, ge=0, description="seconds that a new socket may wait; 503 above")
    max_sockets_per_user: int = Field(50, gt=0, description="sockets that a user may have open on a node")
    max_sockets_per_address: int = Field(5_000, gt=0, description="sockets of an address on a node")
    max_connections_per_address: int = Field(6_000, gt=0, description="connections from an address, sockets among them")
    max_connects_per_address: float = Field(100, gt=0, description="sockets that an address opens in a second …")
    max_connects_at_once: int = Field(1_000, gt=0, description="… after so many at once")
    max_sends_per_second: float = Field(100, gt=0, description="messages that a user sends in a second …")
    max_sends_at_once: int = Field(500, gt=0, description="… after so many at once")
    max_deliveries_per_second: float = Field(
        100_000,
        gt=0,
        description="deliveries of a chat to its open sockets in a second, on a process; above that sends wait",
    )
    max_units_per_second: float = Field(
        1_000, gt=0, description="units that a user's calls cost in a second, each 100 µs of a core …"
    )
    max_units_at_once: int = Field(5_000, gt=0, description="… after so many at once")
    max_units_without_token: float = Field(
        800, gt=0, description="units that the calls of an address without a token cost in a second …"
    )
    max_units_without_token_at_once: int = Field(4_000, gt=0, description="… after so many at once")
    max_uploads_per_minute: int = Field(120, gt=0, description="files that a user uploads in a minute")
    max_uploads_at_once: int = Field(10, gt=0, description="files that a user uploads at the same time, on a node")
    max_uploads_under_way: int = Field(
        500, gt=0, description="files that are uploaded at the same time on a node, of a tenant half as many; 503 above"
    )
    max_decodings_waiting: int = Field(
        128, gt=0, description="files that wait to be decoded, of a tenant half as many; 503 above"
    )
    max_decoder_seconds_per_minute: float = Field(
        3, gt=0, description="seconds of a core that decoding a user's files may take in a minute …"
    )
    max_decoder_seconds_at_once: float = Field(3, gt=0, description="… after so many at once")
    max_failed_logins: int = Field(10, gt=0, description="wrong passwords of an account from an address in a minute")
    max_failed_logins_per_account: int = Field(
        100, gt=0, description="wrong passwords of an account in an hour; then only known devices may try"
    )
    max_passwords_per_asker: int = Field(16, gt=0, description="passwords of an address that wait to be hashed")
    max_passwords_waiting: int = Field(128, gt=0, description="passwords of all that wait to be hashed")
    max_logins_per_address: int = Field(300, gt=0, description="log-ins from an address in a minute")
    max_logins_per_user: int = Field(
        100, gt=0, description="logins of a user that live; a new one ends the one least used"
    )
    max_registrations_per_address: int = Field(20, gt=0, description="registrations from an address in an hour")

    @model_validator(mode="after")
    def reachable(self) -> "Settings":
        if is_everywhere(self.host) and not self.public_url:
            raise ValueError(
                f"with BELLWIRE_HOST={self.host}, BELLWIRE_PUBLIC_URL is needed too: how clients reach the server, like "
                "https://chat.example.org; it is part of each URL of a file"
            )
        return self

    @model_validator(mode="after")
    def audience_of_issuer(self) -> "Settings":
        for name in ("jwks_url", "jwt_public_key"):
            if getattr(self, name) and not self.jwt_audience:
                raise ValueError(
                    f"with BELLWIRE_{name.upper()}, BELLWIRE_JWT_AUDIENCE is needed too: what the issuer's tokens for this "
                    "server say in aud; without it its tokens for any other service would be accepted"
                )
        return self

    @model_validator(mode="after")
    def secret_beside_others(self) -> "Settings":
        if self.jwt_other_secrets and not self.jwt_secret.get_secret_value():
            raise ValueError("with BELLWIRE_JWT_OTHER_SECRETS, BELLWIRE_JWT_SECRET is needed too: the one that signs")
        return self

    @model_validator(mode="after")
    def whole_key(self) -> "Settings":
        if self.apns_key and not (self.apns_key_id and self.apns_team_id):
            raise ValueError(
                "with BELLWIRE_APNS_KEY set, BELLWIRE_APNS_KEY_ID and BELLWIRE_APNS_TEAM_ID are needed too"
            )
        return self

    @model_validator(mode="after")
    def many_processes(self) -> "Settings":
        if self.redis_url:
            try:
                servers_of(self.redis_url)
            except ValueError as error:
                raise ValueError(f"BELLWIRE_REDIS_URL is invalid: {error}") from None
            if self.embedded:
                raise ValueError(
                    "BELLWIRE_REDIS_URL is for several processes, and these need a database that they can share: set "
                    "BELLWIRE_DATABASE_URL=postgresql+asyncpg://… too"
                )
        if self.workers > 1 and not self.redis_url:
            raise ValueError(
                "BELLWIRE_WORKERS above 1 needs BELLWIRE_DATABASE_URL=postgresql+asyncpg://… and "
                "BELLWIRE_REDIS_URL=redis://…, so that the processes hear of each other"
            )
        if self.workers > 1 and self.sticky:
            raise ValueError(
                "BELLWIRE_STICKY can't be kept with BELLWIRE_WORKERS above 1: no balancer chooses among them"
            )
        return self

    @field_validator("database_url")
    @classmethod
    def known_database(cls, value: str) -> str:
        if value and not value.startswith(DATABASES):
            raise ValueError("must begin with postgresql+asyncpg:// or sqlite:///, or be empty")
        return value

    @field_validator("jwt_public_key", "apns_key", "apns_ca", mode="before")
    @classmethod
    def given(cls, value: object) -> object:
        """An empty variable is none."""
        return value or None

    @field_validator("jwt_public_key", "apns_key", "apns_ca")
    @classmethod
    def readable(cls, value: Path | None) -> Path | None:
        if value is not None:
            try:
                value.open("rb").close()
            except OSError as error:
                raise ValueError(f"{value} cannot be read: {error.strerror}") from None
        return value

    @field_validator("default_dialect")
    @classmethod
    def known(cls, value: str) -> str:
        if value not in DIALECTS:
            raise ValueError(f"must be one of: {', '.join(DIALECTS)}")
        return value

    @field_validator("cors_origins")
    @classmethod
    def origins(cls, value: list[str]) -> list[str]:
        for each in value:
            if each not in (ALL, NULL) and read(each) is None:
                raise ValueError(f"{each!r} is not an origin such as https://app.example.org")
        return value

    @field_validator("hosts")
    @classmethod
    def names(cls, value: list[str]) -> list[str]:
        known = [encoded(each.removesuffix(".")) for each in value]
        for given, each in zip(value, known, strict=True):
            if each is None:
                raise ValueError(f"{given!r} is not a host name such as chat.example.org, without scheme and port")
        return [each for each in known if each]

    @field_validator("cors_origins", "hosts", "media_types", "trusted_proxies", "jwt_other_secrets", mode="before")
    @classmethod
    def split(cls, value: object) -> object:
        return [each.strip() for each in value.split(",") if each.strip()] if isinstance(value, str) else value

    @property
    def database(self) -> str:
        url = self.database_url or f"sqlite:///{self.data_dir / 'bellwire.db'}"
        return re.sub(r"^postgres(ql)?://", "postgresql+asyncpg://", url)

    @property
    def polling(self) -> bool:
        """Whether a client's requests all come to the same process."""
        return not self.redis_url or self.sticky

    @property
    def embedded(self) -> bool:
        return self.database.startswith("sqlite")

    def limits(self) -> Limits:
        prefix = "max_"
        given = {
            name.removeprefix(prefix): getattr(self, name)
            for name in type(self).model_fields
            if name.startswith(prefix)
        }
        return Limits(**given)


def is_everywhere(host: str) -> bool:
    """Whether an address to listen on stands for all of them."""
    try:
        return ip_address(host).is_unspecified
    except ValueError:
        return host in ("", "0")


def unknown_names() -> list[str]:
    """A sentence for each variable of the environment, or line of ``.env``, that is named like a setting and is none."""
    known = {f"{PREFIX}{name.upper()}" for name in Settings.model_fields}
    given = {name.upper() for name in (*os.environ, *dotenv_values(ENV_FILE))}
    sentences = []
    for name in sorted(given - known):
        if name.startswith(PREFIX) and not name.startswith(OF_TESTS) and not OF_SERVICES.fullmatch(name):
            similar = difflib.get_close_matches(name, known, 1)
            sentences.append(f"{name} is not a setting" + (f"; did you mean {similar[0]}?" if similar else ""))
    return sentences
