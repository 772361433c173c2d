"""The reference of settings as a page of text: ``python -m server.configuration``.

``docs/configuration.md`` is what it prints. Made of the settings themselves: their types, defaults and descriptions.
"""

import re
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from pydantic import SecretStr
from pydantic.fields import FieldInfo

from server.reference_tables import table
from server.settings import LIMIT_PREFIX, PREFIX, Settings

# By group the settings as they are listed.
GROUPS = {
    "Server": (
        "host", "port", "data_dir", "public_url", "hosts", "cors_origins", "trusted_proxies", "drain_seconds", "log_level",
        "log_format", "metrics_token", "otlp_url",
    ),
    "Database": (
        "database_url", "database_timeout", "database_write_timeout", "database_connections", "database_pooler",
        "retention_days", "retention_events", "deleted_messages",
    ),
    "Several processes and nodes": ("redis_url", "workers", "sticky"),
    "Accounts and tokens": (
        "jwt_secret", "jwt_other_secrets", "jwt_algorithm", "jwt_public_key", "jwks_url", "jwt_issuer", "jwt_audience",
        "local_accounts", "provision_users",
    ),
    "Sockets": ("ping_interval", "ping_timeout"),
    "Media": ("media_url", "media_types", "media_unsent_hours"),
    "Push": ("push_content", "push_reached", "push_hours", "push_in_flight", "push_ca", "push_private"),
    "Push through Apple": (
        "apns_key", "apns_key_id", "apns_team_id", "apns_topic", "apns_environment", "apns_host", "apns_port",
        "apns_manage_host", "apns_manage_port", "apns_ca", "apns_connections",
    ),
    "Push to Android and browsers": ("fcm_key", "fcm_url", "vapid_subject", "webpush_hosts"),
    "Streams and Live Activities": (
        "stream_grace", "live_lead", "live_dismiss_over", "live_dismiss_begun", "live_starts", "live_hours",
    ),
    "Notifications and webhooks": ("default_dialect", "webhook_calls", "webhook_private"),
}  # fmt: skip
# Of those whose default is empty, or says too little.
EXAMPLES = {
    "host": "0.0.0.0", "data_dir": "/var/lib/bellwire", "public_url": "https://chat.example.org", "hosts": "chat.internal",
    "cors_origins": "https://app.example.org,https://example.org", "trusted_proxies": "10.0.0.0/8,127.0.0.1/32",
    "metrics_token": "a long random text", "otlp_url": "http://collector:4318",
    "database_url": "postgresql://bellwire:secret@db/bellwire", "database_pooler": "transaction",
    "redis_url": "redis://redis:6379/0", "workers": "4", "jwt_secret": "at least 32 random bytes …………………",
    "jwt_other_secrets": "the previous secret of at least 32 bytes", "jwt_public_key": "/etc/bellwire/issuer.pem",
    "jwks_url": "https://id.example.org/.well-known/jwks.json", "jwt_issuer": "https://id.example.org/",
    "jwt_audience": "bellwire", "media_url": "s3://bucket/bellwire", "apns_key": "/etc/bellwire/AuthKey_ABC123DEFG.p8",
    "apns_key_id": "ABC123DEFG", "apns_team_id": "DEF123GHIJ", "apns_topic": "org.example.chat",
    "apns_host": "127.0.0.1", "apns_manage_host": "127.0.0.1", "apns_ca": "/etc/bellwire/ca.pem",
    "fcm_key": "/etc/bellwire/service-account.json", "vapid_subject": "mailto:push@example.org",
    "webpush_hosts": "push.example.org", "push_ca": "/etc/bellwire/ca.pem",
}  # fmt: skip
INTRODUCTION = """# Configuration

Every setting is an environment variable, or a line of the file `.env` in the working directory.
Made by `python -m server.configuration`; `run.py check` prints the values in force, with secrets masked. A name that is not
a setting is reported at the start. Items of lists are separated by commas.
"""
LIMITS = """## Limits

What is above a limit is refused with an error that names it, mostly with the code `limit_reached`, `too_large` or
`too_many` ([errors](errors.md)). `session:ready` and `/openapi.json` show the values in force.
"""


def page() -> str:
    """The whole reference, in Markdown."""
    fields = Settings.model_fields
    parts = [INTRODUCTION]
    for group, names in GROUPS.items():
        parts.append(f"## {group}\n\n" + settings_table([(name, fields[name]) for name in names], with_examples=True))
    limits = [(name, field) for name, field in fields.items() if name.startswith(LIMIT_PREFIX)]
    parts.append(LIMITS + "\n" + settings_table(limits, with_examples=False))
    return "\n".join(parts)


def settings_table(rows: list[tuple[str, FieldInfo]], *, with_examples: bool) -> str:
    head = ["setting", "type", "default", *(["example"] if with_examples else []), "meaning"]
    lines = []
    for name, field in rows:
        example = [code(EXAMPLES.get(name, ""))] if with_examples else []
        values = [type_of(field.annotation), default_of(field), *example, field.description or ""]
        lines.append([code(PREFIX + name.upper()), *values])
    return table(head, lines) + "\n"


def code(text: str) -> str:
    return f"`{text}`" if text else ""


def default_of(field: FieldInfo) -> str:
    value = field.get_default(call_default_factory=True)
    if isinstance(value, SecretStr):
        value = value.get_secret_value()
    if isinstance(value, (list, tuple)):
        value = ",".join(map(str, value))
    return code("" if value is None else str(value).lower() if isinstance(value, bool) else str(value))


def type_of(annotation: Any) -> str:
    """In words that do not depend on Python."""
    if get_origin(annotation) is Literal:
        return " or ".join(code(str(each)) if each else "empty" for each in get_args(annotation))
    kinds = [each for each in get_args(annotation) if each is not type(None)]
    if get_origin(annotation) is list:
        return "list"
    if kinds:
        return type_of(kinds[0])
    named = {str: "text", SecretStr: "secret", int: "integer", float: "number", bool: "true or false", Path: "path"}
    return named.get(annotation, re.sub(r"\W+", " ", str(annotation)))


if __name__ == "__main__":
    print(page(), end="")
