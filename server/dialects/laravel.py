"""Laravel: flat documents in snake_case, integer ids, microseconds; every wrong field at once, in Laravel's sentences.

The sentences are those of Laravel's validation language file: https://laravel.com/docs/12.x/validation
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NotRequired

from pydantic import Field, model_validator
from typing_extensions import TypedDict

from realtime.notifications import Draft
from realtime.schema import bodies
from realtime.schema.bodies import Body
from realtime.schema.caller import Caller
from realtime.schema.fields import ActionUrl, ClientKey, NotificationMetadata, NotificationText, Title
from realtime.schema.limits import Limits
from realtime.schema.statuses import status_of
from server.dialects.reading import UserRef
from storage.errors import FieldError, Invalid, Problem
from storage.notifications import Filter, Notification, Party
from storage.types import SECOND, Ref, iso_second

NAME = "laravel"
PATHS: Sequence[str] = ()
KEYS = frozenset({"user_id", "sender_id", "action_url", "is_active"})
STATUSES: Mapping[int, str] = {
    400: "Bad Request",
    401: "Unauthenticated.",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    409: "Conflict",
    413: "Payload Too Large",
    415: "Unsupported Media Type",
    422: "Validation failed",
    429: "Too Many Requests",
    500: "Server Error",
    503: "Service Unavailable",
}
TYPES = ("info", "warning", "error", "success")
SENTENCES = {
    "required": "The {label} field is required.",
    "string": "The {label} field must be a string.",
    "integer": "The {label} field must be an integer.",
    "boolean": "The {label} field must be true or false.",
    "object": "The {label} field must be an array.",
    "choice": "The selected {label} is invalid.",
    "unknown": "The selected {label} is invalid.",
    "too_long": "The {label} field must not be greater than {limit} characters.",
}


class LaravelCreate(Body):
    user_id: int
    sender_id: int | None = None
    type: Literal["info", "warning", "error", "success"]
    title: Title
    message: NotificationText
    action_url: ActionUrl | None = None
    metadata: NotificationMetadata = Field(default_factory=dict)
    is_active: bool = True
    clientMessageId: ClientKey | None = None

    @model_validator(mode="before")
    @classmethod
    def drop_nulls(cls, data: Any) -> Any:
        """A blank text is absent, as Laravel's ConvertEmptyStringsToNull makes it; PHP's empty array is an empty object."""
        if not isinstance(data, dict):
            return data
        blank = {
            name for name, value in data.items() if value is None or (isinstance(value, str) and not value.strip())
        }
        kept = {name: value for name, value in data.items() if name not in blank}
        return kept | {"metadata": {}} if kept.get("metadata") == [] else kept


class LaravelUser(TypedDict):
    id: int
    email: str | None


class LaravelNotification(TypedDict):
    id: int
    uuid: str
    user_id: int
    sender_id: int
    type: str
    title: str | None
    message: str | None
    action_url: str | None
    metadata: dict[str, Any]
    is_read: bool
    read_at: str | None
    is_active: bool
    user: LaravelUser
    sender: LaravelUser
    created_at: str
    updated_at: str


class LaravelPage(TypedDict):
    data: list[LaravelNotification]
    next_cursor: str | None


class LaravelError(TypedDict):
    message: str
    errors: NotRequired[dict[str, list[str]]]


Create, Document, Page, Error = LaravelCreate, LaravelNotification, LaravelPage, LaravelError


def read(values: object, limits: Limits) -> Draft:
    body = bodies.read(Create, values, limits)
    return Draft(
        recipient=Ref("number", body.user_id),
        sender=None if body.sender_id is None else Ref("number", body.sender_id),
        type=body.type,
        title=body.title,
        message=body.message,
        metadata=body.metadata,
        action_url=body.action_url,
        active=body.is_active,
        client_key=body.clientMessageId,
    )


def user_refs(values: object) -> Sequence[UserRef]:
    found = values if isinstance(values, dict) else {}
    roles: Sequence[tuple[Literal["recipient", "sender"], str]] = (("recipient", "user_id"), ("sender", "sender_id"))
    return [UserRef(role, field, Ref("number", found[field])) for role, field in roles if type(found.get(field)) is int]


def type_filter(type: str | None) -> Filter:
    """What is none of Laravel's types reads as info."""
    if type == "info":
        return Filter(but_types=TYPES[1:])
    if type is not None and type not in TYPES:
        raise Invalid(details=[FieldError("type", f"must be one of: {', '.join(TYPES)}", "choice")])
    return Filter(types=[type] if type else ())


def notification(item: Notification, viewer: Caller, at: int) -> LaravelNotification:
    """E-mails are shown to who has ``notifications.send`` or ``users.manage``; to others their own."""
    sees_all = viewer.may("notifications.send") or viewer.may("users.manage")
    return {
        "id": item.pk,
        "uuid": item.uuid,
        "user_id": item.recipient.number,
        "sender_id": item.sender.number,
        "type": item.type if item.type in TYPES else "info",
        "title": item.title,
        "message": item.message,
        "action_url": item.action_url,
        "metadata": dict(item.metadata),
        "is_read": item.read_at is not None,
        "read_at": None if item.read_at is None else time(item.read_at),
        "is_active": item.active,
        "user": party(item.recipient, shown=sees_all or viewer.pk == item.recipient.pk),
        "sender": party(item.sender, shown=sees_all or viewer.pk == item.sender.pk),
        "created_at": time(item.created_at),
        "updated_at": time(item.updated_at),
    }


def party(who: Party, *, shown: bool) -> LaravelUser:
    return {"id": who.number, "email": who.email if shown else None}


def time(at: int) -> str:
    """``2025-11-20T12:00:00.000000Z``"""
    seconds, rest = divmod(at, SECOND)
    return f"{iso_second(seconds)}.{rest:06d}Z"


def page(items: Sequence[Any], cursor: str | None) -> LaravelPage:
    return {"data": list(items), "next_cursor": cursor}


def success(status: int, data: Any, at: int | None = None) -> Any:
    return data


def schema(data: dict[str, Any]) -> dict[str, Any]:
    return data


def problem(problem: Problem) -> tuple[int, LaravelError]:
    if not isinstance(problem, Invalid) or not problem.details:
        status = status_of(problem)
        return status, {"message": STATUSES.get(status, STATUSES[500])}
    errors: dict[str, list[str]] = {}
    for each in problem.details:
        errors.setdefault(each.field, []).append(sentence(each))
    return 422, {"message": STATUSES[422], "errors": errors}


def sentence(error: FieldError) -> str:
    label = error.field.replace("_", " ")
    known = SENTENCES.get(error.code)
    if known:
        return known.format(label=label, limit=error.limit)
    return f"The {label} field {error.message.rstrip('.')}."
