"""The envelope: ``{isSuccess, statusCode, data, errors, timestamp}``, ids of 24 hex digits, milliseconds."""

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import Field
from typing_extensions import TypedDict

from realtime.notifications import Draft
from realtime.schema import bodies, documents
from realtime.schema.bodies import Body
from realtime.schema.caller import Caller
from realtime.schema.envelope import TEXTS, Envelope, failure
from realtime.schema.envelope import success as success
from realtime.schema.fields import ClientKey, HexId, Label, NotificationMetadata, NotificationText, Title
from realtime.schema.limits import Limits
from realtime.schema.shapes import EnvelopeNotification
from realtime.schema.statuses import status_of
from server.dialects.reading import UserRef
from storage.errors import Problem
from storage.notifications import Filter, Notification
from storage.types import Ref

NAME = "envelope"
PATHS: Sequence[str] = ()
KEYS = frozenset({"userId", "category"})
STATUSES: Mapping[int, str] = TEXTS


class EnvelopeCreate(Body):
    userId: HexId
    type: Label
    category: Label
    title: Title
    message: NotificationText
    metadata: NotificationMetadata = Field(default_factory=dict)
    clientMessageId: ClientKey | None = None


class EnvelopePage(TypedDict):
    items: list[EnvelopeNotification]
    nextCursor: str | None


Create, Document, Page, Error = EnvelopeCreate, EnvelopeNotification, EnvelopePage, Envelope


def read(values: object, limits: Limits) -> Draft:
    body = bodies.read(Create, values, limits)
    return Draft(
        recipient=Ref("id", body.userId),
        type=body.type,
        category=body.category,
        title=body.title,
        message=body.message,
        metadata=body.metadata,
        client_key=body.clientMessageId,
    )


def user_refs(values: object) -> Sequence[UserRef]:
    return ()


def type_filter(type: str | None) -> Filter:
    return Filter(types=[type] if type else ())


def notification(item: Notification, viewer: Caller, at: int) -> EnvelopeNotification:
    return documents.plain_notification(item)


def page(items: Sequence[Any], cursor: str | None) -> EnvelopePage:
    return {"items": list(items), "nextCursor": cursor}


def schema(data: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "required": ["isSuccess", "statusCode", "data", "errors", "timestamp"],
        "properties": {
            "isSuccess": {"type": "boolean"},
            "statusCode": {"type": "integer"},
            "data": data,
            "errors": {"type": "array", "items": {"type": "string"}, "maxItems": 0},
            "timestamp": {"type": "string", "format": "date-time"},
        },
    }


def problem(problem: Problem) -> tuple[int, Envelope]:
    return status_of(problem), failure(problem)
