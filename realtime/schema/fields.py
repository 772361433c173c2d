"""The kinds of values that clients send: what each must be, and the sentence that says so.

The limits come in as pydantic's context.
"""

import contextlib
import re
import unicodedata
from datetime import datetime
from typing import Annotated, Any, Literal

import orjson
from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints, ValidationInfo, WithJsonSchema
from pydantic_core import PydanticCustomError

from push.webpush import LONGEST_ENDPOINT
from push.webpush_encryption import read_auth, read_public_key
from realtime.schema.limits import Limits
from storage.text import is_blank, without_directions
from storage.types import HEX_ID, SECOND, UUID, read_ref
from storage.words import words_of

DEFAULTS = Limits()
HEX = re.compile("[0-9A-Fa-f]+")
LATEST = 253_000_000_000 * SECOND
OPAQUE = re.compile(r"[A-Za-z0-9._~+=:-]+")
RFC_3339 = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)?([Zz]|[+-][0-9]{2}:[0-9]{2})"
)
# What a browser leaves out of a URL before it reads the scheme: https://url.spec.whatwg.org/#concept-basic-url-parser
LEFT_OUT = str.maketrans("", "", "\t\n\r")
C0_OR_SPACE = "".join(map(chr, range(0x21)))
SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):")
# URLs that are a document or a script themselves, or that lead into the reader's own device.
REFUSED_SCHEMES = frozenset({"about", "blob", "data", "file", "filesystem", "javascript", "vbscript", "view-source"})
REACTION_NAME = re.compile(r":[A-Za-z0-9_+-]{1,32}:")
EMOJI_CODE_POINTS = 10
# The zero-width joiner, and the tags of which flags are made.
EMOJI_CONTROLS = frozenset(map(chr, (0x200D, *range(0xE0020, 0xE0080))))
TEMPLATE_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def limits_of(info: ValidationInfo) -> Limits:
    return info.context if isinstance(info.context, Limits) else DEFAULTS


def no_nulls(data: Any) -> Any:
    """``null`` means absent."""
    return {name: value for name, value in data.items() if value is not None} if isinstance(data, dict) else data


def text(value: str) -> str:
    if "\0" in value:
        raise ValueError("must not contain the character NUL")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ValueError("must be Unicode text") from None
    return value


def not_blank(value: str) -> str:
    if is_blank(value):
        raise PydanticCustomError("required", "must not be empty")
    return value


def content(value: str, info: ValidationInfo) -> str:
    limit = limits_of(info).content
    if len(value.encode()) > limit:
        raise ValueError(f"must be at most {limit} bytes")
    return value


def at_most(name: str) -> AfterValidator:
    """A text may have as many characters as this limit says."""

    def check(value: str, info: ValidationInfo) -> str:
        limit = getattr(limits_of(info), name)
        if len(value) > limit:
            raise PydanticCustomError("too_long", "must have at most {limit} characters", {"limit": limit})
        return value

    return AfterValidator(check)


def client_key(value: str, info: ValidationInfo) -> str:
    limit = limits_of(info).idempotency_key
    if not 1 <= len(value) <= limit:
        raise ValueError(f"must be 1 to {limit} characters long")
    return value


def plain(name: str) -> AfterValidator:
    """An object of plain JSON, of as many bytes as this limit says."""

    def check(value: dict[str, Any], info: ValidationInfo) -> dict[str, Any]:
        limit = getattr(limits_of(info), name)
        try:
            encoded = orjson.dumps(value)
        except TypeError:
            raise ValueError("must be plain JSON") from None
        if len(encoded) > limit:
            raise ValueError(f"must be at most {limit} bytes as JSON")
        if b"\\u0000" in encoded and holds_nul(value):
            raise ValueError("must not contain the character NUL")
        return value

    return AfterValidator(check)


def placeholders(value: dict[str, Any], info: ValidationInfo) -> dict[str, Any]:
    limits = limits_of(info)
    if len(value) > limits.placeholders:
        raise ValueError(f"must have at most {limits.placeholders} values")
    for name, each in value.items():
        if len(name) > limits.key:
            raise ValueError(f"names must be at most {limits.key} characters long")
        if not isinstance(each, str | int | float):
            raise ValueError(f"values must be text, numbers or booleans; {name!r} is not")
    return value


def holds_nul(value: object) -> bool:
    """Whether a text in plain JSON, a key included, has the character NUL, which PostgreSQL can't keep."""
    if isinstance(value, str):
        return "\0" in value
    if isinstance(value, dict):
        return any(holds_nul(each) for pair in value.items() for each in pair)
    return isinstance(value, list) and any(holds_nul(each) for each in value)


def template_key(value: str) -> str:
    """It stands in paths."""
    if not TEMPLATE_KEY.fullmatch(value):
        raise ValueError("must consist of letters, digits and . _ - and begin with a letter or digit")
    return value


def few_locales(value: dict[str, Any], info: ValidationInfo) -> dict[str, Any]:
    limit = limits_of(info).locales
    if len(value) > limit:
        raise ValueError(f"must have at most {limit} variants")
    return value


def few_mentions(value: list[str], info: ValidationInfo) -> list[str]:
    limit = limits_of(info).mentions
    if len(value) > limit:
        raise ValueError(f"must name at most {limit} users")
    return value


def slow_mode(value: int, info: ValidationInfo) -> int:
    limit = limits_of(info).slow_mode
    if value > limit:
        raise ValueError(f"must be at most {limit} seconds")
    return value


def few_words(value: list[str], info: ValidationInfo) -> list[str]:
    limit = limits_of(info).listed_words
    if len(value) > limit:
        raise ValueError(f"must have at most {limit} entries")
    return value


def listed_text(value: str, info: ValidationInfo) -> str:
    words, limit = len(words_of(value)), limits_of(info).listed_entry
    if not words:
        raise ValueError("must have a letter, a digit or a symbol")
    if words > limit:
        raise ValueError(f"must have at most {limit} words, or characters of a script without spaces")
    return value


def amount(value: int, info: ValidationInfo) -> int:
    limit = limits_of(info).transfer
    if value > limit:
        raise ValueError(f"must be at most {limit}")
    return value


def opaque(most_characters: int) -> AfterValidator:
    """A token or the id of a device: any text that is safe in a path."""

    def check(value: str) -> str:
        if not OPAQUE.fullmatch(value) or len(value) > most_characters:
            raise ValueError(f"must be 1 to {most_characters} characters: letters, digits and . _ ~ + = : -")
        return value

    return AfterValidator(check)


def public_key(text: str) -> str:
    """A browser's ``p256dh``, without padding."""
    read_public_key(text)
    return text.rstrip("=")


def auth_secret(text: str) -> str:
    """A browser's ``auth``, without padding."""
    read_auth(text)
    return text.rstrip("=")


def token_of_apns(value: str) -> str:
    """Apple's tokens are bytes; where one is written in hex digits, their case means nothing."""
    return value.lower() if HEX.fullmatch(value) else value


def scheme_of(value: str) -> str | None:
    """The scheme that a browser would find in a URL, in lower case; None for a relative one."""
    found = SCHEME.match(value.lstrip(C0_OR_SPACE).translate(LEFT_OUT))
    return found[1].lower() if found else None


def link(value: str) -> str:
    """Apps and pages may follow it: a path, a web address or one of an app's own scheme."""
    scheme = scheme_of(value)
    if scheme in REFUSED_SCHEMES:
        raise ValueError(f"must not be a {scheme}: URL")
    return value


def web_address(value: str) -> str:
    if scheme_of(value) not in ("http", "https"):
        raise ValueError("must be a URL such as https://example.org/picture.png")
    return value


# ``:`` on both sides of 32.
LONGEST_REACTION_KEY = 34


def reaction_key(value: str) -> str:
    """A name such as ``:heart:``, or an emoji."""
    if not REACTION_NAME.fullmatch(value) and not is_emoji(value):
        raise ValueError("must be an emoji, or a name such as :heart: of up to 32 letters, digits, _ + and -")
    return value


def is_emoji(value: str) -> bool:
    """At most ten code points; no letters, spaces or controls but those that emoji are joined and varied with."""
    return 0 < len(value) <= EMOJI_CODE_POINTS and all(
        unicodedata.category(each)[0] not in "LZC" or each in EMOJI_CONTROLS for each in value
    )


def hex_id(value: str) -> str:
    if not HEX_ID.fullmatch(value):
        raise ValueError("must be 24 hex digits")
    return value


def moment(value: str) -> int:
    """A time of RFC 3339, with its offset from UTC, from 1970 to 9998, as microseconds since 1970."""
    moment = -1
    if RFC_3339.fullmatch(value):
        with contextlib.suppress(ValueError, OverflowError):
            moment = int(datetime.fromisoformat(value.upper()).timestamp() * SECOND)
    if not 0 <= moment < LATEST:
        raise ValueError("must be a time with a UTC offset, such as 2026-01-15T10:30:00Z")
    return moment


def microseconds(read: "Moment | None") -> int | None:
    """The time of a field that was read, or None."""
    return None if read is None else int(read)


def documented(**keywords: Any) -> Any:
    """What the documents say of a value, beside the validator that holds it to that."""
    return Field(json_schema_extra=keywords)


NOT_EMPTY = documented(minLength=1)
Text = Annotated[str, AfterValidator(text)]
Title = Annotated[Text, AfterValidator(not_blank), at_most("title"), NOT_EMPTY]
DisplayName = Annotated[
    Text, AfterValidator(without_directions), AfterValidator(not_blank), at_most("title"), NOT_EMPTY
]
Content = Annotated[Text, AfterValidator(content)]
FilledContent = Annotated[Content, AfterValidator(not_blank), NOT_EMPTY]
Seq = Annotated[int, Field(ge=0, lt=2**63)]
HexId = Annotated[str, AfterValidator(hex_id), documented(pattern="^[0-9a-f]{24}$")]
# Without a pattern in the documents: the server ignores the field unless the message is of type media.
UploadId = Annotated[str, AfterValidator(hex_id)]
ClientKey = Annotated[Text, AfterValidator(client_key), NOT_EMPTY]
Metadata = Annotated[dict[str, Any], plain("metadata")]
Label = Annotated[Text, AfterValidator(not_blank), at_most("key"), NOT_EMPTY]
SlowModeSeconds = Annotated[
    int, Field(ge=0, description="Seconds between two messages of a member; 0: none"), AfterValidator(slow_mode)
]
ListedText = Annotated[Text, at_most("listed_word"), AfterValidator(listed_text), NOT_EMPTY]
TemplateKey = Annotated[Label, AfterValidator(template_key), documented(pattern=f"^{TEMPLATE_KEY.pattern}$")]
NotificationText = Annotated[Text, AfterValidator(not_blank), at_most("notification_message"), NOT_EMPTY]
Attributes = Annotated[dict[str, Any], plain("activity_attributes")]
NotificationMetadata = Annotated[dict[str, Any], plain("notification_metadata")]
EntityId = Annotated[Text, AfterValidator(not_blank), at_most("entity_id"), NOT_EMPTY]
ActionUrl = Annotated[Text, at_most("action_url"), AfterValidator(link)]
PictureUrl = Annotated[Text, StringConstraints(max_length=2048), AfterValidator(web_address)]
Placeholders = Annotated[
    dict[str, Any], BeforeValidator(no_nulls), AfterValidator(placeholders), plain("placeholder_bytes")
]
# On the wire; microseconds once it is read, see ``microseconds``.
Moment = Annotated[str, AfterValidator(moment), documented(format="date-time")]
Uuid = Annotated[str, StringConstraints(pattern=f"^{UUID.pattern}$", to_lower=True)]
BundleId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._-]{1,155}$")]
Amount = Annotated[int, Field(ge=1), AfterValidator(amount)]
Opaque = Annotated[str, opaque(255), documented(pattern=f"^{OPAQUE.pattern}$", maxLength=255)]
Token = Annotated[str, opaque(512), documented(pattern=f"^{OPAQUE.pattern}$", maxLength=512)]
Endpoint = Annotated[Text, StringConstraints(max_length=LONGEST_ENDPOINT)]
AppleToken = Annotated[Token, AfterValidator(token_of_apns)]
AnyName = Annotated[Any, AfterValidator(read_ref), WithJsonSchema({"type": ["string", "integer"]})]
ReactionKey = Annotated[Text, AfterValidator(reaction_key), documented(minLength=1, maxLength=LONGEST_REACTION_KEY)]
Role = Literal["owner", "admin", "moderator", "member", "readonly"]
