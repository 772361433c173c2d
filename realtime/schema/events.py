"""The events that the server sends, each with its document; what clients may send stands in ``realtime/namespace.py``.

The wire's own reference, ``/asyncapi.json``, is made of both.
"""

from typing import Any, Literal, NamedTuple, NotRequired

from typing_extensions import TypedDict

from realtime.schema.message_shapes import MessageDocument, ReactionDocument, ReadDocument, ThreadSummary
from realtime.schema.shapes import (
    BalanceEvent,
    ChatDocument,
    NotificationDocument,
    NotificationsReadDocument,
    PresenceDocument,
    StreamDocument,
)


class Place(TypedDict):
    """The second argument of a durable event: ``seq`` counts from 1, without gaps, in each channel."""

    channel: str
    seq: int


class NewChatEvent(ChatDocument):
    """``at`` is the seq of the chat's channel when one joined; its live events start after it."""

    at: int


class ChangedChatEvent(TypedDict):
    chatId: str
    changes: dict[str, Any]
    added: list[str]
    removed: list[str]


class RemovedEvent(TypedDict):
    """``at`` where the chat's channel has no event of it: the last of its seqs that the user gets."""

    chatId: str
    at: NotRequired[int]


class TypingEvent(TypedDict):
    chatId: str
    userId: str


class SilencedEvent(TypedDict):
    """The user may not post in the chat ``until`` then, null for no end; a time that is over ends it."""

    chatId: str
    until: str | None


class ViewersEvent(TypedDict):
    """``peak`` is how many there were at most."""

    streamId: str
    viewers: int
    peak: int


class ReactedItem(TypedDict):
    messageId: str
    reactions: list[ReactionDocument]


class MessageReactionsEvent(TypedDict):
    """Whole states, never differences. Without items a newer event has them, or the messages are deleted."""

    chatId: str
    items: list[ReactedItem]


class ThreadSummaryEvent(TypedDict):
    chatId: str
    threadId: str
    thread: ThreadSummary


class ThreadReadEvent(TypedDict):
    chatId: str
    threadId: str
    readSeq: int


class ReactionEvent(TypedDict):
    streamId: str
    key: str
    count: int


class ReactionsEvent(TypedDict):
    """How many of each key since the event before."""

    streamId: str
    counts: dict[str, int]


class ReadyEvent(TypedDict):
    """``recovered`` says of each channel that was to be resumed whether it was; ``heads`` where each channel is."""

    userId: str
    v: Literal[1]
    epoch: str
    serverTime: str
    limits: dict[str, float]
    recovered: dict[str, bool]
    heads: dict[str, int]
    expiresAt: str


class ExpiringEvent(TypedDict):
    expiresAt: str


class ClosedEvent(TypedDict):
    reason: Literal["logout", "banned", "expired", "deleted"]


class ResetEvent(TypedDict):
    """A gap that can't be filled: reload over REST and go on from ``head``."""

    channel: str
    head: int


class SkipEvent(TypedDict):
    """Stands in the place of an event about an object that is not visible to this reader: only ``seq`` moves on."""


class Outbound(NamedTuple):
    """``durable`` ones come with their place, and again to who resumes."""

    document: Any
    durable: bool
    summary: str


OUTBOUND: dict[str, Outbound] = {
    "session:ready": Outbound(ReadyEvent, False, "Replay is complete; events from here on are live"),
    "session:expiring": Outbound(ExpiringEvent, False, "The token expires in a minute: send session:refresh"),
    "session:closed": Outbound(ClosedEvent, False, "The server ends the session; DISCONNECT follows"),
    "channel:reset": Outbound(ResetEvent, False, "Events were lost to retention: reload over REST"),
    "channel:skip": Outbound(
        SkipEvent, True, "Replaces an event about an object older than the reader's membership; only the offset moves"
    ),
    "message:new": Outbound(MessageDocument, True, "A message was posted"),
    "message:updated": Outbound(MessageDocument, True, "A message was edited"),
    "message:deleted": Outbound(MessageDocument, True, "A message was deleted; carries the tombstone"),
    "message:read": Outbound(ReadDocument, True, "A member has read up to a message"),
    "message:reactions": Outbound(
        MessageReactionsEvent,
        True,
        "Reactions to messages changed; at most one event a second and chat for new messages",
    ),
    "message:thread": Outbound(
        ThreadSummaryEvent, True, "The summary of a thread changed: a reply was posted or deleted"
    ),
    "thread:read": Outbound(ThreadReadEvent, True, "The user has read a thread up to a reply, on any device"),
    "chat:new": Outbound(NewChatEvent, True, "The user was added to a chat"),
    "chat:updated": Outbound(ChangedChatEvent, True, "A chat or its members changed"),
    "chat:removed": Outbound(RemovedEvent, True, "The user was removed from a chat, or it was deleted"),
    "member:silenced": Outbound(SilencedEvent, True, "The user may not post in a chat for a time"),
    "notification:new": Outbound(NotificationDocument, True, "A notification was received"),
    "notification:read": Outbound(NotificationsReadDocument, True, "Notifications were marked as read on any device"),
    "notification:deleted": Outbound(NotificationDocument, True, "A notification was deleted"),
    "credit:balance": Outbound(BalanceEvent, True, "The balance changed"),
    "stream:status": Outbound(StreamDocument, True, "A stream's state, title or time changed"),
    "stream:viewers": Outbound(ViewersEvent, False, "How many watch an open stream; at most every 2 seconds"),
    "stream:reactions": Outbound(ReactionsEvent, False, "Reactions to an open stream; at most every 500 ms"),
    "typing": Outbound(TypingEvent, False, "A member is typing; clear it after six seconds"),
    "presence": Outbound(PresenceDocument, False, "A watched user came online or went offline"),
}
