"""What clients may send, over REST and the socket alike: strict models whose errors name the field.

Unknown fields are ignored, wrong ones are not; ``null`` means absent.
"""

from typing import Annotated, Any, Literal, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    StringConstraints,
    ValidationError,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from realtime.schema.fields import (
    ActionUrl,
    Amount,
    AnyName,
    AppleToken,
    BundleId,
    ClientKey,
    DisplayName,
    Endpoint,
    FilledContent,
    HexId,
    Label,
    ListedText,
    Moment,
    NotificationText,
    Opaque,
    Placeholders,
    ReactionKey,
    Role,
    SlowModeSeconds,
    TemplateKey,
    Text,
    Title,
    Token,
    Uuid,
    auth_secret,
    few_locales,
    few_words,
    no_nulls,
    not_blank,
    public_key,
)
from realtime.schema.limits import Limits
from storage.errors import FieldError, Invalid, Malformed
from storage.purges import Deletion
from storage.reports import Action
from storage.word_lists import WordAction

CODES = {
    "missing": "required",
    "required": "required",
    "string_type": "string",
    "int_type": "integer",
    "int_from_float": "integer",
    "bool_type": "boolean",
    "dict_type": "object",
    "literal_error": "choice",
    "too_long": "too_long",
}


class Body(BaseModel):
    model_config = ConfigDict(strict=True, extra="ignore", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def drop_nulls(cls, data: Any) -> Any:
        return no_nulls(data)

    @classmethod
    def __get_pydantic_json_schema__(cls, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        schema = handler(core)
        whole = handler.resolve_ref_schema(schema)
        for name, each in whole.get("properties", {}).items():
            if name not in whole.get("required", ()) and {"type": "null"} not in each.get("anyOf", ()):
                kept = {key: each.pop(key) for key in ("title", "default", "description") if key in each}
                whole["properties"][name] = {"anyOf": [each, {"type": "null"}], **kept}
        return schema


B = TypeVar("B", bound=Body)


def items_of(body: Body) -> int:
    """How many items it asks for in a page, or names in a list."""
    values = body.__dict__
    limit = values.get("limit")
    return max(
        limit if isinstance(limit, int) else 0, *(len(each) for each in values.values() if isinstance(each, list)), 0
    )


def read(model: type[B], data: object, limits: Limits) -> B:
    """``data`` as ``model``. Raises Malformed if it is not an object, Invalid with every wrong field."""
    if not isinstance(data, dict):
        raise Malformed("The body must be a JSON object")
    try:
        return model.model_validate(data, context=limits)
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False)
        raise Invalid(details=[field_error(each) for each in found]) from None


def field_error(error: Any) -> FieldError:
    """An error of the whole model begins with the name of the field it is about."""
    message = str(error["msg"]).removeprefix("Value error, ")
    field = ".".join(map(str, error["loc"])) or message.split()[0]
    return FieldError(field, message, CODES.get(error["type"], "invalid"), error.get("ctx", {}).get("limit"))


# Chats


class CreateChat(Body):
    """A group or a room with a name, or the direct chat with one user; anybody of the tenant reads a room."""

    type: Literal["group", "direct", "room"]
    name: DisplayName | None = None
    memberIds: list[HexId] = Field(default_factory=list)
    historyVisible: Literal["joined", "all"] = "joined"
    id: HexId | None = None

    @model_validator(mode="after")
    def complete(self) -> "CreateChat":
        if self.type == "direct" and len(self.memberIds) != 1:
            raise ValueError("memberIds must name exactly one other user")
        if self.type != "direct" and self.name is None:
            raise ValueError("name is required")
        return self


class ChangeChat(Body):
    name: DisplayName | None = None
    historyVisible: Literal["joined", "all"] | None = None
    reactions: Literal["members", "all", "none"] | None = None
    frozen: bool | None = None
    slowMode: SlowModeSeconds | None = None
    links: Literal["all", "moderators"] | None = None


class AddMembers(Body):
    userIds: list[HexId] = Field(min_length=1)
    role: Role = "member"


class ChangeMember(Body):
    role: Role


class MuteChat(Body):
    """``level`` is what is still pushed: ``mentions`` (the default) or ``none``; ``all`` unmutes.

    ``until`` is the end of the mute; without it a ``level`` applies indefinitely. Without both, the chat is unmuted.
    """

    until: Moment | None = None
    level: Literal["all", "mentions", "none"] | None = None


class Sanctioning(Body):
    """``until`` a time; null or absent for no end."""

    until: Moment | None = None
    reason: FilledContent | None = None


class BanMember(Sanctioning):
    """``delete`` says which of the user's messages are deleted: those of the last hour or day, or all."""

    delete: Deletion = "none"


# Moderation


class PutWordList(Body):
    """Words, and phrases of several; text that has one is refused, or reported."""

    words: Annotated[list[ListedText], Field(min_length=1), AfterValidator(few_words)]
    action: WordAction


class ResolveReport(Body):
    """What was done about it: the message deleted, its sender silenced or banned, until a time or without end."""

    state: Literal["actioned", "dismissed"]
    action: Action = "none"
    until: Moment | None = None

    @model_validator(mode="after")
    def complete(self) -> "ResolveReport":
        if self.state == "dismissed" and self.action != "none":
            raise ValueError("action must be none for a report that is dismissed")
        if self.until is not None and self.action not in ("silence", "ban"):
            raise ValueError("until is for silences and bans")
        return self


class ChatRef(Body):
    chatId: HexId


# Notifications and templates


class NotificationRef(Body):
    """``id`` is any of the three that a notification has."""

    id: AnyName


class Variant(Body):
    """What a template says otherwise in one locale."""

    category: Label | None = None
    title: Title | None = None
    message: NotificationText | None = None


Locales = Annotated[
    dict[Annotated[str, StringConstraints(pattern="^[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8}){0,3}$")], Variant],
    AfterValidator(few_locales),
]


class CreateTemplate(Body):
    """Title and message are Liquid: ``{{ name }}``, ``{% if name %}``."""

    tenantId: Uuid
    key: TemplateKey
    category: Label
    title: Title
    message: NotificationText
    isActionable: bool = False
    locales: Locales = Field(default_factory=dict)


class ChangeTemplate(Body):
    """Omitted fields are unchanged."""

    tenantId: Uuid | None = None
    category: Label | None = None
    title: Title | None = None
    message: NotificationText | None = None
    isActionable: bool | None = None
    locales: Locales | None = None


class PreviewTemplate(Body):
    placeholders: Placeholders = Field(default_factory=dict)
    locale: Annotated[Text, StringConstraints(max_length=35)] | None = None


# Devices


class SubscriptionKeys(Body):
    """As ``PushSubscription.toJSON()`` names them."""

    p256dh: Annotated[Text, AfterValidator(public_key)]
    auth: Annotated[Text, AfterValidator(auth_secret)]


class RegisterDevice(Body):
    """Of an iPhone it must be known in which environment and for which app its token is valid.

    ``tokenKind`` says what an Android device's ``pushToken`` is, by default as it looks. A browser registers its
    subscription: ``endpoint`` and ``keys``. Unknown ``features`` are ignored.
    """

    deviceId: Opaque
    platform: Literal["ios", "android", "web"]
    pushToken: Token | None = None
    endpoint: Endpoint | None = None
    keys: SubscriptionKeys | None = None
    environment: Literal["production", "sandbox"] | None = None
    bundleId: BundleId | None = None
    pushToStartToken: AppleToken | None = None
    tokenKind: Literal["fid", "token"] | None = None
    features: Annotated[list[Annotated[Text, StringConstraints(max_length=64)]], Field(max_length=32)] = []
    locale: Annotated[Text, StringConstraints(max_length=35)] | None = None

    @model_validator(mode="after")
    def complete(self) -> "RegisterDevice":
        if self.platform == "ios" and self.environment is None:
            raise ValueError("environment is required for ios")
        if self.platform == "ios" and self.bundleId is None:
            raise ValueError("bundleId is required for ios")
        if self.platform == "web" and (self.endpoint is None) != (self.keys is None):
            raise ValueError("endpoint and keys are required together")
        if self.platform != "web" and (self.endpoint is not None or self.keys is not None):
            raise ValueError("endpoint and keys are those of platform web")
        if self.endpoint is None and self.pushToken is None:
            needed = "endpoint and keys are" if self.platform == "web" else "pushToken is"
            raise ValueError(f"{needed} required for {self.platform}")
        return self


# Credits


class Grant(Body):
    userId: HexId
    amount: Amount
    reason: FilledContent | None = None
    clientMessageId: ClientKey | None = None


# Broadcasts


WebhookEvent = Literal[
    "message:new", "message:updated", "message:deleted", "stream:status", "push:failed", "report:new", "member:banned",
]  # fmt: skip
WebhookEvents = Annotated[list[WebhookEvent], Field(min_length=1, max_length=16)]


class CreateWebhook(Body):
    """``events`` are the events it receives."""

    url: Annotated[ActionUrl, AfterValidator(not_blank)]
    events: WebhookEvents


class ChangeWebhook(Body):
    """Omitted fields are unchanged; calls that wait for a webhook that is not ``active`` fail."""

    url: Annotated[ActionUrl, AfterValidator(not_blank)] | None = None
    events: WebhookEvents | None = None
    active: bool | None = None


class SendBroadcast(Body):
    title: Annotated[Title, AfterValidator(not_blank)]
    message: NotificationText
    type: Label = "info"
    category: Label = "general"
    actionUrl: ActionUrl | None = None
    clientMessageId: ClientKey | None = None
    preview: bool = False


# Streams


class CreateStream(Body):
    """Anybody of the tenant reads the chat of an ``open`` stream and posts into it, without being a member."""

    title: DisplayName
    startsAt: Moment
    audience: Literal["members", "open"] = "members"
    id: HexId | None = None


class ChangeStream(Body):
    """Omitted fields are unchanged."""

    title: DisplayName | None = None
    startsAt: Moment | None = None


class StreamRef(Body):
    streamId: HexId


class ReactToStream(StreamRef):
    key: ReactionKey
    count: Annotated[int, Field(ge=1, le=20)] = 1


class RegisterActivity(Body):
    """The runtime token of a Live Activity, as the phone got it."""

    streamId: HexId
    deviceId: Opaque
    liveActivityToken: AppleToken
    activityId: Opaque


# Sockets


class WatchPresence(Body):
    userIds: list[HexId]


class RefreshSession(Body):
    token: Text


class AppState(Body):
    active: bool
