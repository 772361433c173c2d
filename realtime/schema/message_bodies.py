"""What clients may send about messages, over REST and the socket alike."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, model_validator

from realtime.schema.bodies import Body
from realtime.schema.fields import (
    Amount,
    ClientKey,
    Content,
    FilledContent,
    HexId,
    Metadata,
    Moment,
    ReactionKey,
    UploadId,
    documented,
    few_mentions,
    no_nulls,
)
from storage.text import is_blank


class Transfer(Body):
    amount: Amount


ONLY_IN = {"creditTransfer": ("creditTransfer", "amount"), "media": ("file",)}


class SendMessage(Body):
    """``chatId``, or ``targetUserId`` alone for the direct chat with that user, found or created.

    With ``threadId``, the message is a reply in the thread of that message; with ``alsoInChat`` the chat shows it too. With
    ``forwardOf``, it copies type, content and file of a message that the user can see.
    """

    type: Literal["text", "media", "creditTransfer"]
    chatId: HexId | None = None
    targetUserId: HexId | None = None
    content: Content | None = None
    replyTo: HexId | None = None
    threadId: HexId | None = None
    alsoInChat: bool = False
    mentions: Annotated[list[HexId], AfterValidator(few_mentions)] | None = None
    mentionAll: bool = False
    forwardOf: HexId | None = None
    metadata: Metadata | None = None
    clientMessageId: ClientKey | None = None
    file: Annotated[UploadId | None, documented(description="The id of an upload; in a form also the file itself.")] = (
        None
    )
    creditTransfer: Transfer | None = None
    amount: Amount | None = None

    @model_validator(mode="before")
    @classmethod
    def drop_nulls(cls, data: Any) -> Any:
        """What belongs to a transfer or to media is looked at in one alone."""
        kept = no_nulls(data)
        if not isinstance(kept, dict):
            return kept
        if "forwardOf" in kept:
            # The type is that of the original; what is not copied with it is refused.
            return {"type": "text", **kept}
        of_others = {name for type, names in ONLY_IN.items() if kept.get("type") != type for name in names}
        return {name: value for name, value in kept.items() if name not in of_others}

    @model_validator(mode="after")
    def complete(self) -> "SendMessage":
        if self.chatId is None and self.targetUserId is None:
            raise ValueError("chatId or targetUserId is required")
        if self.alsoInChat and self.threadId is None:
            raise ValueError("alsoInChat is for replies: threadId is required")
        if self.forwardOf is not None:
            if self.type == "creditTransfer":
                raise ValueError("type must be text or media with forwardOf")
            for name in ("content", "file", "creditTransfer", "amount"):
                if getattr(self, name) is not None:
                    raise ValueError(f"{name} is not allowed with forwardOf, which copies another message")
            return self
        if self.type == "media":
            if self.file is None:
                raise ValueError("file is required: the file itself in a form, or the id of an upload")
            return self
        if self.type == "creditTransfer":
            if self.credits is None:
                raise ValueError("creditTransfer.amount is required")
            if self.amount is not None and self.amount != self.credits:
                raise ValueError("amount differs from creditTransfer.amount")
            return self
        if self.content is None or is_blank(self.content):
            raise ValueError("content must not be empty")
        return self

    @property
    def credits(self) -> int | None:
        """The amount of a transfer; None for any other message."""
        if self.type != "creditTransfer":
            return None
        return self.creditTransfer.amount if self.creditTransfer else self.amount


class EditMessage(Body):
    """``mentions`` and ``mentionAll`` replace the earlier ones; an absent field leaves them unchanged."""

    content: FilledContent
    mentions: Annotated[list[HexId], AfterValidator(few_mentions)] | None = None
    mentionAll: bool | None = None


class SocketEditMessage(EditMessage):
    messageId: HexId


class MessageRef(Body):
    messageId: HexId


class ReadMessage(Body):
    chatId: HexId
    messageId: HexId


class PinMessage(Body):
    """``until`` a time; null or absent for no end."""

    until: Moment | None = None


class ReportMessage(Body):
    reason: FilledContent


class ReactToMessage(MessageRef):
    key: ReactionKey
