"""The wire shapes of what is kept: one function a document, used by REST, by acks and by events alike."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Literal, NotRequired

from typing_extensions import TypedDict

from storage import accounts, chat, credits, deliveries, devices, messages, notifications, streams, templates
from storage.types import SECOND


class MediaDocument(TypedDict):
    id: str
    url: str
    type: str
    name: str
    size: int
    duration: float | None
    width: int | None
    height: int | None
    thumbnail_url: str | None


class TransferDocument(TypedDict):
    """``reversal`` marks what an admin gave back."""

    amount: int
    recipientId: str
    senderId: str
    reversal: NotRequired[Literal[True]]


class MessageDocument(TypedDict):
    _id: str
    chatId: str
    senderId: str
    type: str
    content: str | None
    media: MediaDocument | None
    creditTransfer: TransferDocument | None
    readBy: list[str]
    createdAt: str
    updatedAt: str
    seq: int
    readCount: int
    replyTo: NotRequired[str]
    metadata: NotRequired[dict[str, Any]]
    deletedAt: NotRequired[str]


class MemberDocument(TypedDict):
    userId: str
    name: str
    role: str
    readSeq: int
    joinedSeq: int


class ChatDocument(TypedDict):
    _id: str
    type: str
    name: str | None
    historyVisible: str
    members: list[MemberDocument]
    memberCount: int
    lastMessage: MessageDocument | None
    unreadCount: int
    mutedUntil: str | None
    seq: int
    createdAt: str
    updatedAt: str


QuietHours = TypedDict("QuietHours", {"from": str, "to": str})


class UserDocument(TypedDict):
    """The last six are there for oneself and ``users.manage`` only."""

    id: str
    number: int
    uuid: str
    name: str
    avatarUrl: str | None
    createdAt: str
    email: NotRequired[str | None]
    tenantId: NotRequired[str]
    permissions: NotRequired[list[str]]
    locale: NotRequired[str | None]
    timeZone: NotRequired[str | None]
    quietHours: NotRequired[QuietHours | None]
    status: NotRequired[str]


class NotificationDocument(TypedDict):
    """The envelope's reading, and all that the other dialects say of it. A deleted one has ``deletedAt`` and no texts."""

    id: str
    userId: str
    type: str
    category: str
    title: str | None
    message: str | None
    metadata: dict[str, Any]
    read: bool
    createdAt: str
    updatedAt: str
    number: int
    uuid: str
    senderId: str
    actionUrl: str | None
    isRead: bool
    readAt: str | None
    isActive: bool
    tenantId: str
    templateKey: str | None
    isActionable: bool
    status: Literal["UNREAD", "READ"]
    entityType: str | None
    entityId: str | None
    payload: dict[str, Any]
    deletedAt: NotRequired[str]


class NotificationsReadDocument(TypedDict):
    """These, or all of the user's up to a time."""

    ids: NotRequired[list[str]]
    all: NotRequired[Literal[True]]
    before: NotRequired[str]


class TemplateDocument(TypedDict):
    tenantId: str
    key: str
    category: str
    title: str
    message: str
    isActionable: bool
    locales: dict[str, dict[str, str]]
    createdAt: str
    updatedAt: str


class PreviewDocument(TypedDict):
    category: str
    title: str
    message: str
    isActionable: bool


class StreamDocument(TypedDict):
    id: str
    title: str
    status: Literal["scheduled", "ready", "started", "ended", "cancelled", "expired"]
    startsAt: str
    ownerId: str
    chatId: str
    createdAt: str
    updatedAt: str


class BalanceDocument(TypedDict):
    balance: int


class BalanceEvent(TypedDict):
    balance: int
    transactionId: str


class CreditDocument(TypedDict):
    """``amount`` is negative for what went out; ``userId`` is the other side, null for a grant."""

    id: str
    type: Literal["grant", "transfer", "reversal"]
    amount: int
    balance: int
    userId: str | None
    messageId: str | None
    reason: str | None
    createdAt: str


class DeviceDocument(TypedDict):
    """``pushable`` says whether version 1 pushes to it."""

    deviceId: str
    platform: str
    environment: str
    bundleId: str | None
    pushToken: str
    pushToStartToken: str | None
    locale: str | None
    pushable: bool
    createdAt: str
    updatedAt: str


class DeliveryDocument(TypedDict):
    """A push as an admin sees it; ``deviceId`` is null when the device is gone."""

    id: int
    kind: str
    userId: str
    deviceId: str | None
    pushId: str
    state: Literal["waiting", "sent", "skipped", "dropped", "dead"]
    attempts: int
    status: int | None
    reason: str | None
    dueAt: str | None
    createdAt: str
    settledAt: str | None


class PresenceDocument(TypedDict):
    userId: str
    online: bool
    lastSeenAt: str | None


class ReadDocument(TypedDict):
    chatId: str
    userId: str
    messageId: str
    readSeq: int


class ReportDocument(TypedDict):
    id: int
    messageId: str
    reporterId: str
    reason: str
    createdAt: str


def time(at: int) -> str:
    """``2026-01-15T10:30:00.000Z``"""
    seconds, rest = divmod(at, SECOND)
    return f"{second(seconds)}.{rest // 1000:03d}Z"


@lru_cache(maxsize=64)
def second(seconds: int) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}"


def optional_time(at: int | None) -> str | None:
    return None if at is None else time(at)


def message(item: messages.Message) -> MessageDocument:
    document: MessageDocument = {
        "_id": item.id,
        "chatId": item.chat_id,
        "senderId": item.sender_id,
        "type": item.type,
        "content": item.content,
        "media": None,
        "creditTransfer": None if item.transfer is None else transfer(item.transfer),
        "readBy": list(item.read_by),
        "createdAt": time(item.created_at),
        "updatedAt": time(item.updated_at),
        "seq": item.seq,
        "readCount": item.read_count,
    }
    if item.reply_to is not None:
        document["replyTo"] = item.reply_to
    if item.metadata is not None:
        document["metadata"] = dict(item.metadata)
    if item.deleted_at is not None:
        document["deletedAt"] = time(item.deleted_at)
    return document


def notification(item: notifications.Notification) -> NotificationDocument:
    """As events and acks show it."""
    metadata = dict(item.metadata)
    document: NotificationDocument = {
        "id": item.id,
        "userId": item.recipient.id,
        "type": item.type,
        "category": item.category,
        "title": item.title,
        "message": item.message,
        "metadata": metadata,
        "read": item.read_at is not None,
        "createdAt": time(item.created_at),
        "updatedAt": time(item.updated_at),
        "number": item.pk,
        "uuid": item.uuid,
        "senderId": item.sender.id,
        "actionUrl": item.action_url,
        "isRead": item.read_at is not None,
        "readAt": optional_time(item.read_at),
        "isActive": item.active,
        "tenantId": item.tenant,
        "templateKey": item.template_key,
        "isActionable": item.actionable,
        "status": "UNREAD" if item.read_at is None else "READ",
        "entityType": item.entity_type,
        "entityId": item.entity_id,
        "payload": metadata,
    }
    if item.deleted_at is not None:
        document["deletedAt"] = time(item.deleted_at)
    return document


def template(item: templates.Template, tenant: str) -> TemplateDocument:
    return {
        "tenantId": tenant,
        "key": item.key,
        "category": item.category,
        "title": item.title,
        "message": item.message,
        "isActionable": item.actionable,
        "locales": {locale: dict(variant) for locale, variant in item.locales.items()},
        "createdAt": time(item.created_at),
        "updatedAt": time(item.updated_at),
    }


def stream(item: streams.Stream) -> StreamDocument:
    return {
        "id": item.id,
        "title": item.title,
        "status": item.status,
        "startsAt": time(item.starts_at),
        "ownerId": item.owner_id,
        "chatId": item.chat_id,
        "createdAt": time(item.created_at),
        "updatedAt": time(item.updated_at),
    }


def device(item: devices.Device) -> DeviceDocument:
    return {
        "deviceId": item.device_id,
        "platform": item.platform,
        "environment": item.environment,
        "bundleId": item.bundle_id or None,
        "pushToken": item.push_token,
        "pushToStartToken": item.push_to_start_token,
        "locale": item.locale,
        "pushable": item.pushable,
        "createdAt": time(item.created_at),
        "updatedAt": time(item.registered_at),
    }


def delivery(item: deliveries.Record) -> DeliveryDocument:
    return {
        "id": item.pk,
        "kind": item.kind,
        "userId": item.user_id,
        "deviceId": item.device_id,
        "pushId": item.push_id,
        "state": item.state,
        "attempts": item.attempts,
        "status": item.status,
        "reason": item.reason,
        "dueAt": time(item.due_at) if item.state == "waiting" else None,
        "createdAt": time(item.created_at),
        "settledAt": optional_time(item.settled_at),
    }


def transfer(item: Mapping[str, Any]) -> TransferDocument:
    document: TransferDocument = {
        "amount": item["amount"],
        "recipientId": item["recipientId"],
        "senderId": item["senderId"],
    }
    if item.get("reversal"):
        document["reversal"] = True
    return document


def entry(item: credits.Entry) -> CreditDocument:
    return {
        "id": item.id,
        "type": item.kind,
        "amount": item.amount,
        "balance": item.balance,
        "userId": item.other_id,
        "messageId": item.message_id,
        "reason": item.reason,
        "createdAt": time(item.created_at),
    }


def member(item: chat.Member) -> MemberDocument:
    return {
        "userId": item.user_id,
        "name": item.name,
        "role": item.role,
        "readSeq": item.read_seq,
        "joinedSeq": item.joined_seq,
    }


def conversation(
    item: chat.Chat,
    members: Sequence[chat.Member],
    *,
    last: messages.Message | None = None,
    unread: int = 0,
    muted_until: int | None = None,
) -> ChatDocument:
    """A chat as one member sees it."""
    return {
        "_id": item.id,
        "type": item.type,
        "name": item.name,
        "historyVisible": item.history_visible,
        "members": [member(each) for each in members],
        "memberCount": item.member_count,
        "lastMessage": None if last is None else message(last),
        "unreadCount": unread,
        "mutedUntil": optional_time(muted_until),
        "seq": item.seq,
        "createdAt": time(item.created_at),
        "updatedAt": time(item.updated_at),
    }


def user(item: accounts.User, *, private: bool) -> UserDocument:
    """``private`` adds what only the user and ``users.manage`` see."""
    document: UserDocument = {
        "id": item.id,
        "number": item.number,
        "uuid": item.uuid,
        "name": item.name,
        "avatarUrl": item.avatar_url,
        "createdAt": time(item.created_at),
    }
    if private:
        quiet = {"from": item.quiet_from, "to": item.quiet_to} if item.quiet_from and item.quiet_to else None
        document |= {
            "email": item.email,
            "tenantId": item.tenant,
            "permissions": sorted(item.permissions),
            "locale": item.locale,
            "timeZone": item.time_zone,
            "quietHours": quiet,  # type: ignore[typeddict-item]
            "status": item.status,
        }
    return document


def presence(user_id: str, online: bool, last_seen_at: int | None) -> PresenceDocument:
    return {"userId": user_id, "online": online, "lastSeenAt": optional_time(last_seen_at)}
