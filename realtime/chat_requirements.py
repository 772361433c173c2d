"""What must hold before a chat is changed: its type, the role of the caller, who is added, and space for them."""

from collections.abc import Sequence

from realtime.membership import MANAGERS, MODERATORS
from realtime.schema.caller import Caller
from realtime.schema.limits import Limits
from storage import accounts, blocks, invites, streams
from storage.access import Access
from storage.errors import Conflict, Forbidden, NotFound
from storage.transaction import Tx


def only(users: Sequence[accounts.User]) -> accounts.User:
    """Raises NotFound if there is none."""
    if not users:
        raise NotFound
    return users[0]


def require_open(tx: Tx, caller: Caller, others: Sequence[accounts.User]) -> None:
    """Raises NotFound if one of them has been deleted since they were looked up, Forbidden if one blocks the caller."""
    if len(accounts.by_ids(tx.connection(), caller.user.tenant_pk, [each.id for each in others])) < len(others):
        raise NotFound
    if blocks.any_block(tx.connection(), [each.pk for each in others], caller.pk):
        raise Forbidden


def require_space(members: int, limits: Limits) -> None:
    """Raises Conflict where a chat would have more members than are allowed."""
    if members > limits.chat_members:
        raise Conflict(f"A chat can have at most {limits.chat_members} members", code="chat_full")


def is_joinable(tx: Tx, pk: int, access: Access) -> bool:
    """Whether users can join this chat without being added: it is a room, a stream's, or has an invite link."""
    if access.type == "room" or streams.of_chat(tx.connection(), pk) is not None:
        return True
    return invites.of_chat(tx.connection(), pk, at=tx.now) is not None


def require_group(access: Access) -> None:
    """Raises Conflict for a direct chat."""
    if access.type == "direct":
        raise Conflict("A direct chat has exactly two members and no name", code="direct_chat")


def require_moderator(access: Access) -> None:
    """Raises Forbidden for who does not moderate the chat, Conflict for a direct chat."""
    require_group(access)
    if access.role not in MODERATORS:
        raise Forbidden


def require_manager(access: Access) -> None:
    """Raises Forbidden for who is neither owner nor admin, Conflict for a direct chat."""
    require_group(access)
    if access.role not in MANAGERS:
        raise Forbidden
