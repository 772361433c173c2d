"""Template: a notification from a template and placeholders, uuids, ``{statusCode, timestamp, message, data}``."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, Literal

import humanize
from pydantic import Field
from typing_extensions import TypedDict

from realtime.notifications import Draft
from realtime.schema import bodies
from realtime.schema.bodies import Body
from realtime.schema.caller import Caller
from realtime.schema.envelope import Detail, details_of
from realtime.schema.fields import ActionUrl, ClientKey, EntityId, Label, NotificationMetadata, Placeholders, Uuid
from realtime.schema.limits import Limits
from realtime.schema.statuses import status_of
from server.dialects import laravel
from server.dialects.envelope import page as page
from server.dialects.envelope import type_filter as type_filter
from server.dialects.envelope import user_refs as user_refs
from storage.errors import Problem
from storage.notifications import Notification
from storage.types import SECOND, Ref, iso_second, iso_time, now

NAME = "template"
PATHS: Sequence[str] = ("/v1/", "/notification/v1/")
KEYS: frozenset[str] = frozenset()
STATUSES: Mapping[int, str] = {**laravel.STATUSES, 401: "Unauthorized"}


class TemplateCreate(Body):
    templateKey: Label
    userId: Uuid
    tenantId: Uuid
    entityType: Label
    entityId: EntityId
    placeholders: Placeholders
    actionUrl: ActionUrl | None = None
    payload: NotificationMetadata = Field(default_factory=dict)
    clientMessageId: ClientKey | None = None


class TemplateNotification(TypedDict):
    id: str
    tenantId: str
    templateKey: str | None
    category: str
    title: str | None
    message: str | None
    isActionable: bool
    status: Literal["UNREAD", "READ"]
    createdAt: str
    readAt: str | None
    userId: str
    entityType: str | None
    entityId: str | None
    actionUrl: str | None
    payload: dict[str, Any]
    relativeTime: str


class TemplatePage(TypedDict):
    items: list[TemplateNotification]
    nextCursor: str | None


class TemplateError(TypedDict):
    statusCode: int
    timestamp: str
    message: str
    data: None
    errors: list[Detail]


Create, Document, Page, Error = TemplateCreate, TemplateNotification, TemplatePage, TemplateError


def read(values: object, limits: Limits) -> Draft:
    body = bodies.read(Create, values, limits)
    return Draft(
        recipient=Ref("uuid", body.userId),
        tenant=body.tenantId,
        template_key=body.templateKey,
        placeholders=body.placeholders,
        entity_type=body.entityType,
        entity_id=body.entityId,
        action_url=body.actionUrl,
        metadata=body.payload,
        client_key=body.clientMessageId,
    )


def notification(item: Notification, viewer: Caller, at: int) -> TemplateNotification:
    return {
        "id": item.uuid,
        "tenantId": item.tenant,
        "templateKey": item.template_key,
        "category": item.category,
        "title": item.title,
        "message": item.message,
        "isActionable": item.actionable,
        "status": "UNREAD" if item.read_at is None else "READ",
        "createdAt": time(item.created_at),
        "readAt": None if item.read_at is None else time(item.read_at),
        "userId": item.recipient.uuid,
        "entityType": item.entity_type,
        "entityId": item.entity_id,
        "actionUrl": item.action_url,
        "payload": dict(item.metadata),
        "relativeTime": humanize.naturaltime(timedelta(microseconds=max(0, at - item.created_at))),
    }


def time(at: int) -> str:
    """``2023-01-01T12:00:00Z``"""
    return f"{iso_second(at // SECOND)}Z"


def success(status: int, data: Any, at: int | None = None) -> Any:
    """The code inside is 200 for a creation too: the published answer has it so."""
    timestamp = iso_time(now() if at is None else at)
    return {"statusCode": 200, "timestamp": timestamp, "message": "Success", "data": data}


def schema(data: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "required": ["statusCode", "timestamp", "message", "data"],
        "properties": {
            "statusCode": {"type": "integer", "const": 200},
            "timestamp": {"type": "string", "format": "date-time"},
            "message": {"type": "string", "const": "Success"},
            "data": data,
        },
    }


def problem(problem: Problem) -> tuple[int, TemplateError]:
    status = status_of(problem)
    return status, {
        "statusCode": status,
        "timestamp": iso_time(now()),
        "message": STATUSES.get(status, STATUSES[500]),
        "data": None,
        "errors": list(details_of(problem)),
    }
