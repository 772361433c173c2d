"""The shapes of messages, and of what belongs to them."""

from typing import Any, Literal, NotRequired

from typing_extensions import TypedDict


class MediaDocument(TypedDict):
    """``duration`` in seconds, ``size`` in bytes; the URLs need a token, and a link can be made of each."""

    id: str
    url: str
    type: Literal["image", "video", "audio", "file"]
    name: str
    size: int
    duration: float | None
    width: int | None
    height: int | None
    thumbnail_url: str | None


class UploadDocument(TypedDict):
    id: str
    media: MediaDocument


class LinkDocument(TypedDict):
    url: str
    expiresAt: str


class TransferDocument(TypedDict):
    """``reversal`` marks a transfer that reverses another."""

    amount: int
    recipientId: str
    senderId: str
    reversal: NotRequired[Literal[True]]


class ReactionDocument(TypedDict):
    """``userIds`` are some of those who reacted so, at most 20."""

    key: str
    count: int
    userIds: list[str]


class ThreadSummary(TypedDict):
    """Counts replies that are not deleted; ``lastSeq`` is 0 without any.

    ``participants`` are the ids of the first users who replied, at most 5.
    """

    replyCount: int
    lastSeq: int
    lastAt: str | None
    participants: list[str]


class MessageDocument(TypedDict):
    """``mentions`` are the members whom it mentions, by id. A reply has ``threadId``, and ``alsoInChat`` where the chat shows
    it too; the root of a thread has ``thread``.
    """

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
    reactions: NotRequired[list[ReactionDocument]]
    threadId: NotRequired[str]
    alsoInChat: NotRequired[Literal[True]]
    mentions: NotRequired[list[str]]
    mentionAll: NotRequired[Literal[True]]
    forwarded: NotRequired[Literal[True]]
    thread: NotRequired[ThreadSummary]


class ThreadDocument(TypedDict):
    """A thread as the user has it; ``root`` is null if it is older than their joining. ``unreadCount`` is at most 1,000."""

    chatId: str
    threadId: str
    root: MessageDocument | None
    thread: ThreadSummary
    following: bool
    readSeq: int
    unreadCount: int


class PinnedDocument(TypedDict):
    """``until`` is null where there is no end."""

    messageId: str
    until: str | None


class PinDocument(TypedDict):
    """``userId`` is who pinned it; ``until`` is null where there is no end."""

    message: MessageDocument
    userId: str
    createdAt: str
    until: str | None


class ReactedDocument(TypedDict):
    """All reactions to a message; ``mine`` are the keys of the caller's."""

    messageId: str
    reactions: list[ReactionDocument]
    mine: list[str]


class ReactorDocument(TypedDict):
    userId: str
    name: str
    key: str
    createdAt: str


class HitDocument(TypedDict):
    """A message that a search has found. ``matches`` are the places of what was searched in its content, as pairs of offset
    and length in code points.
    """

    message: MessageDocument
    matches: list[list[int]]


class SearchDocument(TypedDict):
    """``complete`` is false where not all that may match was searched: go on with ``nextCursor`` where there is one."""

    items: list[HitDocument]
    nextCursor: str | None
    complete: bool


class HistoryDocument(TypedDict):
    """``mine`` has the keys of the caller's reactions by message, where there are any."""

    items: list[MessageDocument]
    mine: NotRequired[dict[str, list[str]]]
    # The seqs to go on from, null where there is no more.
    before: int | None
    after: int | None


class ReadDocument(TypedDict):
    """With ``threadId`` it is the position in a thread."""

    chatId: str
    userId: str
    messageId: str
    readSeq: int
    threadId: NotRequired[str]
