"""Every setting, on one screen: an environment variable ``BELLWIRE_…``, or a line of ``.env``."""

import difflib
import os
import re
from dataclasses import fields
from ipaddress import IPv4Network, IPv6Network, ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import psycopg
from dotenv import dotenv_values
from psycopg import conninfo
from pydantic import Field, SecretStr, create_model, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from push.signed import read_service_account
from realtime.cluster.servers_redis import servers_of
from realtime.schema.limits import Limits
from server.dialects import DIALECTS
from server.origins import ALL, NULL, read
from storage.email import encoded

PREFIX = "BELLWIRE_"
# Variables of the tests are not settings of the server.
OF_TESTS = "BELLWIRE_TEST_"
ENV_FILE = ".env"
UNKNOWN_PARAMETER = re.compile(r'invalid URI query parameter: "(\w+)"')
# libpq has several hosts where SQLAlchemy has one.
SEVERAL_HOSTS = re.compile(r"^(\S+?://(?:[^@/]*@)?)([^@/?]*,[^@/?]*)(/[^?]*)?(\?.*)?$")
DRIVER = re.compile(r"^postgres\w*(\+\w+)?://")
DATABASES = re.compile(r"postgres(ql(\+(psycopg|asyncpg))?)?://|sqlite:///")
# What Kubernetes and Docker put into the environment for a service whose name begins like our settings.
OF_SERVICES = re.compile(r".*_(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT(_[0-9]+_(TCP|UDP|SCTP)(_\w+)?)?)")


HOST_NAME = re.compile(r"[a-z0-9-]+(\.[a-z0-9-]+)*")
# Apple refuses a localhost.
CONTACT = re.compile(r"mailto:[^@\s]+@[^@\s]+\.[^@\s]+|https://(?!localhost\b)[^/\s]+\S*", re.IGNORECASE)

LIMIT_PREFIX = "max_"
LIMITS = [each for each in fields(Limits) if each.metadata]
if TYPE_CHECKING:
    LimitSettings = BaseSettings
else:
    LimitSettings = create_model(
        "LimitSettings",
        __base__=BaseSettings,
        **{LIMIT_PREFIX + each.name: (each.type, Field(each.default, **each.metadata)) for each in LIMITS},
    )


class Settings(LimitSettings):
    model_config = SettingsConfigDict(env_prefix=PREFIX, env_file=ENV_FILE, extra="ignore", frozen=True)

    host: str = Field("127.0.0.1", description="address to listen on")
    port: int = Field(8080, ge=0, le=65535, description="port to listen on; 0 picks a free one")
    data_dir: Path = Field(Path("data"), description="directory of the database, the secret and media files")
    database_url: str = Field("", description="postgresql://…; empty: SQLite in the data directory")
    database_timeout: float = Field(15, gt=0, description="timeout of database reads in seconds; 503 above")
    database_write_timeout: float = Field(
        10, gt=0, description="timeout of a batch of writes to PostgreSQL in seconds; 503 above"
    )
    database_connections: int = Field(
        20, ge=1, description="connections of a process that read from PostgreSQL, at most; two more write"
    )
    database_pooler: Literal["", "transaction"] = Field(
        "", description="transaction: PgBouncer in transaction mode, or its like, stands before PostgreSQL"
    )
    redis_url: str = Field(
        "", description="required for several processes: redis://…, rediss://…, redis+sentinel://…, redis+cluster://…"
    )
    workers: int = Field(1, ge=1, le=256, description="worker processes; more than 1 requires PostgreSQL and Redis")
    sticky: bool = Field(
        False,
        description="whether the load balancer uses sticky sessions, so that HTTP long-polling works with several nodes",
    )
    drain_seconds: float = Field(5, ge=0, le=20, description="seconds to drain before the server stops")
    public_url: str = Field("", description="URL at which clients reach the server; empty: http://HOST:PORT")
    trusted_proxies: Annotated[list[IPv4Network | IPv6Network], NoDecode] = Field(
        default_factory=list,
        description="networks of proxies whose X-Forwarded-For is trusted, comma-separated, e.g. 10.0.0.0/8",
    )
    cors_origins: Annotated[list[str], NoDecode] = Field(
        default_factory=list,
        description="additional allowed browser origins, comma-separated; * for all",
    )
    hosts: Annotated[list[str], NoDecode] = Field(
        default_factory=list,
        description="additional allowed Host names, comma-separated",
    )
    default_dialect: str = Field("envelope", description="dialect of requests that do not indicate one")

    jwt_secret: SecretStr = Field(
        SecretStr(""), description="signing secret of at least 32 bytes; empty: generated on first start"
    )
    jwt_other_secrets: Annotated[list[SecretStr], NoDecode] = Field(
        default_factory=list,
        max_length=2,
        description="additional secrets accepted when verifying, comma-separated: the previous or the next one",
    )
    jwt_algorithm: Literal["RS256", "ES256", "EdDSA"] = Field("RS256", description="algorithm of external tokens")
    jwt_public_key: Path | None = Field(None, description="PEM file with the public key of an external issuer")
    jwks_url: str | None = Field(None, description="JWKS URL of an external issuer")
    jwt_issuer: str | None = Field(None, description="expected iss of external tokens")
    jwt_audience: str | None = Field(None, description="expected aud of external tokens")
    local_accounts: bool = Field(True, description="whether users can register and log in with a password")
    provision_users: bool = Field(False, description="whether an external token of an unknown subject creates the user")

    apns_key: Path | None = Field(
        None, description="file of the APNs signing key (.p8); without one pushes are only logged"
    )
    apns_key_id: str = Field("", description="id of the key")
    apns_team_id: str = Field("", description="id of the team")
    apns_topic: str = Field("", description="bundle id for devices that name none")
    apns_host: str = Field("", description="APNs host override, for both environments")
    apns_port: int = Field(443, gt=0, le=65535, description="port of the APNs host")
    apns_manage_host: str = Field("", description="override of the host that manages push channels")
    apns_manage_port: int = Field(0, ge=0, le=65535, description="port of that host; 0: Apple's")
    apns_ca: Path | None = Field(None, description="CA certificates for APNs instead of the system's")
    apns_connections: int = Field(2, gt=0, description="connections per APNs environment")
    fcm_key: Path | None = Field(
        None, description="file of the Firebase service account's key (JSON); without one nothing is pushed to Android"
    )
    fcm_url: str = Field("https://fcm.googleapis.com", description="where messages for Android are sent")
    vapid_subject: str = Field(
        "",
        description="mailto: or https: address of the operator, for push services; without one browsers are not pushed to",
    )
    webpush_hosts: Annotated[list[str], NoDecode] = Field(
        default_factory=list,
        description="host names of push services, separated by commas, besides those of the known browsers",
    )
    push_ca: Path | None = Field(None, description="CA certificates for FCM and web push instead of the system's")
    push_private: bool = Field(False, description="whether FCM and web push may be in private networks")
    apns_environment: Literal["production", "sandbox"] = Field(
        "production", description="of Live Activities on devices that are not registered"
    )
    media_url: str = Field(
        "", description="storage of media files: a directory or s3://bucket; empty: in the data directory"
    )
    media_types: Annotated[list[str], NoDecode] = Field(
        default_factory=lambda: ["*/*"],
        description="allowed file types, detected by content, comma-separated; markup is never allowed",
    )
    media_unsent_hours: float = Field(24, gt=0, description="hours after which an unsent file is removed")
    stream_grace: float = Field(900, ge=0, description="seconds after its planned start at which a stream expires")
    live_lead: float = Field(
        900, ge=0, description="seconds before its start at which a Live Activity is started on followers' devices"
    )
    live_dismiss_over: float = Field(
        300, ge=0, le=4 * 3600, description="seconds that a Live Activity stays when its stream is cancelled or expired"
    )
    live_dismiss_begun: float = Field(
        0, ge=0, le=4 * 3600, description="seconds that a Live Activity stays when its stream is ready or has begun"
    )
    live_starts: int = Field(5, ge=0, description="Live Activities started per device and hour")
    live_hours: float = Field(4, gt=0, le=12, description="hours after which a push to a Live Activity expires")
    push_content: bool = Field(True, description="whether pushes contain message texts")
    push_reached: bool = Field(False, description="whether users who were reached are pushed as well")
    push_hours: float = Field(24, gt=0, description="hours after which an undelivered push expires")
    push_in_flight: int = Field(400, gt=0, description="concurrent pushes")

    deleted_messages: Literal["keep", "remove"] = Field(
        "keep", description="whether messages of deleted users are kept without a name, or removed"
    )
    webhook_calls: bool = Field(True, description="whether webhooks are called; with false their calls wait")
    webhook_private: bool = Field(False, description="whether webhooks may call private networks and use plain http")
    retention_days: float = Field(30, gt=0, description="days for which events are kept for resuming")
    retention_events: int = Field(10_000, gt=0, description="events per channel that are kept for resuming")
    ping_interval: float = Field(25, gt=0, description="seconds between pings of a socket")
    ping_timeout: float = Field(20, gt=0, description="seconds within which a ping must be answered")
    log_format: Literal["human", "json"] = Field("human", description="log format")
    metrics_token: SecretStr = Field(
        SecretStr(""), description="bearer token that allows /metrics outside private networks"
    )
    otlp_url: str = Field("", description="OTLP/HTTP endpoint for traces; requires the extra bellwire[tracing]")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field("INFO", description="minimum log level")

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
                    "BELLWIRE_DATABASE_URL=postgresql://… too"
                )
        if self.workers > 1 and not self.redis_url:
            raise ValueError(
                "BELLWIRE_WORKERS above 1 needs BELLWIRE_DATABASE_URL=postgresql://… and "
                "BELLWIRE_REDIS_URL=redis://…, so that the processes exchange events"
            )
        if self.workers > 1 and self.sticky:
            raise ValueError(
                "BELLWIRE_STICKY can't be kept with BELLWIRE_WORKERS above 1: no balancer chooses among them"
            )
        return self

    @field_validator("vapid_subject")
    @classmethod
    def contact(cls, value: str) -> str:
        if value and not CONTACT.fullmatch(value):
            raise ValueError("must be a mailto: or https: address by which push services reach the operator")
        return value

    @field_validator("webpush_hosts")
    @classmethod
    def names_of_hosts(cls, value: list[str]) -> list[str]:
        for each in value:
            if not HOST_NAME.fullmatch(each):
                raise ValueError(f"{each} must be a host name in small letters, like push.example.org")
        return value

    @field_validator("port", mode="before")
    @classmethod
    def no_service(cls, value: object) -> object:
        """Kubernetes puts the address of a Service named ``bellwire`` into ``BELLWIRE_PORT``."""
        if isinstance(value, str) and "://" in value:
            raise ValueError(
                f"{value} is the address of a Service, set by Kubernetes: set enableServiceLinks: false in the pod, "
                "or name the Service differently"
            )
        return value

    @field_validator("database_url")
    @classmethod
    def known_database(cls, value: str) -> str:
        if value and not DATABASES.match(value):
            raise ValueError("must begin with postgresql:// or sqlite:///, or be empty")
        if value.startswith("postgres"):
            try:
                conninfo.conninfo_to_dict(DRIVER.sub("postgresql://", value))
            except psycopg.ProgrammingError as error:
                # What libpq says of anything else may hold the password.
                wrong = UNKNOWN_PARAMETER.search(str(error))
                said = f"it has no parameter {wrong[1]}" if wrong else "write %XX for special characters, %25 for %"
                raise ValueError(f"is not a URL that libpq reads: {said}") from None
        return value

    @field_validator("jwt_public_key", "apns_key", "apns_ca", "fcm_key", "push_ca", mode="before")
    @classmethod
    def given(cls, value: object) -> object:
        """An empty variable is none."""
        return value or None

    @field_validator("jwt_public_key", "apns_key", "apns_ca", "fcm_key", "push_ca")
    @classmethod
    def readable(cls, value: Path | None) -> Path | None:
        if value is not None:
            try:
                value.open("rb").close()
            except OSError as error:
                raise ValueError(f"{value} cannot be read: {error.strerror}") from None
        return value

    @field_validator("fcm_key")
    @classmethod
    def service_account(cls, value: Path | None) -> Path | None:
        if value is not None:
            read_service_account(value.read_text())
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

    @field_validator(
        "cors_origins", "hosts", "media_types", "trusted_proxies", "jwt_other_secrets", "webpush_hosts", mode="before"
    )
    @classmethod
    def split(cls, value: object) -> object:
        return [each.strip() for each in value.split(",") if each.strip()] if isinstance(value, str) else value

    @property
    def database(self) -> str:
        url = self.database_url or f"sqlite:///{self.data_dir / 'bellwire.db'}"
        return several_hosts(DRIVER.sub("postgresql+psycopg://", url))

    @property
    def polling(self) -> bool:
        """Whether a client's requests all come to the same process."""
        return not self.redis_url or self.sticky

    @property
    def embedded(self) -> bool:
        return self.database.startswith("sqlite")

    def limits(self) -> Limits:
        return Limits(**{each.name: getattr(self, LIMIT_PREFIX + each.name) for each in LIMITS})


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


def several_hosts(url: str) -> str:
    """``//a:1,b:2/db`` as SQLAlchemy reads it: ``///db?host=a:1&host=b:2``."""
    found = SEVERAL_HOSTS.match(url)
    if found is None:
        return url
    head, hosts, path, query = found.groups()
    places = "&".join(f"host={each}" for each in hosts.split(","))
    return f"{head}{path or '/'}{query + '&' if query else '?'}{places}"
