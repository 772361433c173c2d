"""The shapes of documents, from which the OpenAPI description is made too."""

from typing import Any, Literal, NotRequired

from typing_extensions import TypedDict

from realtime.schema.message_shapes import MessageDocument
from storage.registration import Mode


class MemberDocument(TypedDict):
    userId: str
    name: str
    role: str
    readSeq: int
    joinedSeq: int


class SanctionDocument(TypedDict):
    """``until`` is null where there is no end."""

    userId: str
    name: str
    until: str | None
    reason: str | None
    createdAt: str


class ChatDocument(TypedDict):
    """``role`` is that of the user, and ``viewer`` without a membership; of a room alone, and not in ``chat:new``.

    ``reactions`` says who may react, where it is not ``members``: ``all`` or ``none``. Only moderators post where it is
    ``frozen``; others once in ``slowMode`` seconds, and without links where ``links`` is ``moderators``. With ``muteLevel``
    ``none`` no mention is pushed until ``mutedUntil``. ``mentionCount`` counts unread messages that mention the user, up to
    1,000, where there are any. ``silencedUntil`` is there while the user is silenced, null without end.
    """

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
    mentionCount: NotRequired[int]
    role: NotRequired[str]
    reactions: NotRequired[str]
    silencedUntil: NotRequired[str | None]
    frozen: NotRequired[bool]
    slowMode: NotRequired[int]
    links: NotRequired[str]
    muteLevel: NotRequired[Literal["none"]]


QuietHours = TypedDict("QuietHours", {"from": str, "to": str})


class UserDocument(TypedDict):
    """Fields from ``email`` on only for the user and for ``users.manage``; ``presence`` where it is not ``contacts``."""

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
    presence: NotRequired[Literal["nobody"]]


class LoginDocument(TypedDict):
    """``device`` is what the client called itself; ``address`` is where its tokens were renewed last."""

    id: str
    device: str | None
    address: str | None
    createdAt: str
    lastUsedAt: str
    current: bool


class EnvelopeNotification(TypedDict):
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


class NotificationDocument(EnvelopeNotification):
    """The envelope's reading, and all that the other dialects say of it. A deleted one has ``deletedAt`` and no texts."""

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
    """``audience`` and what follows of an open stream alone; ``viewers`` and ``peak`` not in events."""

    id: str
    title: str
    status: Literal["scheduled", "ready", "started", "ended", "cancelled", "expired"]
    startsAt: str
    ownerId: str
    chatId: str
    createdAt: str
    updatedAt: str
    audience: NotRequired[Literal["open"]]
    viewers: NotRequired[int]
    peak: NotRequired[int]


class WatchedDocument(TypedDict):
    """An open stream that is watched from now on: its chat's channel is read from ``head`` on."""

    stream: StreamDocument
    chatId: str
    head: int
    viewers: int


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


class BroadcastDocument(TypedDict):
    """``id`` and the times are null in a preview."""

    id: str | None
    type: str
    category: str
    title: str
    message: str
    actionUrl: str | None
    recipients: int
    sent: int
    createdAt: str | None
    doneAt: str | None


class NodeDocument(TypedDict):
    """A process that serves. ``figures`` are counters since its start, sizes in bytes and times in seconds."""

    id: str
    place: str
    startedAt: str
    seenAt: str
    figures: dict[str, float]


class FiguresDocument(TypedDict):
    """The figures of a node over time: ``figures[name][i]`` is of ``times[i]``, milliseconds since 1970."""

    id: str
    place: str
    times: list[int]
    figures: dict[str, list[float]]


class ChatFactsDocument(TypedDict):
    """A chat as an admin sees it: nothing of what is said in it."""

    _id: str
    type: str
    name: str | None
    memberCount: int
    seq: int
    createdAt: str
    updatedAt: str


class InviteDocument(TypedDict):
    """A link by which users join a group; ``token`` is what joins, ``url`` opens it in the page."""

    token: str
    url: str
    expiresAt: str


class ChatEventDocument(TypedDict):
    """``chat:updated`` as it was at a seq of the chat, without ``chatId``."""

    seq: int
    changes: dict[str, Any]
    added: list[str]
    removed: list[str]
    createdAt: str


class ChatEventsDocument(TypedDict):
    """``before`` is the seq to continue from, null where there are no older ones."""

    items: list[ChatEventDocument]
    before: int | None


class PushConfig(TypedDict):
    """``vapidPublicKey`` is what a browser subscribes with; null where browsers are not pushed to."""

    vapidPublicKey: str | None
    platforms: list[str]


class PushTest(TypedDict):
    """What a provider answered to a test; ``provider`` is null where nothing can be pushed to the device."""

    provider: str | None
    outcome: str
    status: int | None
    reason: str | None


class DeviceDocument(TypedDict):
    """``pushable`` says whether this installation can push to it."""

    deviceId: str
    platform: str
    environment: str
    bundleId: str | None
    pushToken: str
    pushToStartToken: str | None
    tokenKind: str | None
    features: list[str]
    locale: str | None
    pushable: bool
    createdAt: str
    updatedAt: str


class WebhookDocument(TypedDict):
    id: str
    url: str
    events: list[str]
    active: bool
    createdAt: str


class NewWebhookDocument(WebhookDocument):
    """``secret`` signs the calls, and is shown this once."""

    secret: str


class WebhookCallDocument(TypedDict):
    """``dueAt`` is when it is tried next, while it waits."""

    id: int
    event: str
    state: Literal["waiting", "sent", "dead"]
    attempts: int
    status: int | None
    reason: str | None
    dueAt: str | None
    createdAt: str
    settledAt: str | None


class DeliveryDocument(TypedDict):
    """A push as an admin sees it; ``deviceId`` is null when the device is gone."""

    id: int
    kind: str
    provider: str
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


class PresencesDocument(TypedDict):
    items: list[PresenceDocument]


class StateDocument(TypedDict):
    active: bool


class AuditDocument(TypedDict):
    """``target`` is the id of what was done something to; without an actor it was the operator, by a command."""

    id: int
    actorId: str | None
    action: str
    target: str | None
    details: dict[str, Any]
    createdAt: str


class ReporterDocument(TypedDict):
    id: str
    name: str


class ReportDocument(TypedDict):
    """``state`` is open, actioned or dismissed. ``reporter`` is null for a report made by a word list. ``reportCount`` counts
    the users who reported the message. ``message`` is null if its chat was deleted.
    """

    id: int
    messageId: str
    reporterId: str | None
    reason: str
    createdAt: str
    state: str
    action: str | None
    resolvedAt: str | None
    reporter: ReporterDocument | None
    reportCount: int
    message: MessageDocument | None


class ReportWithContext(ReportDocument):
    """``context`` are the messages around the reported one, with it, ascending by seq."""

    context: list[MessageDocument]


class WordListDocument(TypedDict):
    name: str
    action: str
    words: list[str]
    updatedAt: str


class LiveActivityDocument(TypedDict):
    attributesType: str
    attributes: dict[str, Any]


class TenantSettingsDocument(TypedDict):
    uuid: str
    name: str
    liveActivity: LiveActivityDocument | None
    registration: Mode
    domains: list[str]
