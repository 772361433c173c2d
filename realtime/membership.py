"""Who comes into a chat and who leaves it, in a transaction that holds the chat: its events, and what follows from them."""

from collections.abc import Sequence
from typing import Any

import orjson

from realtime.schema import documents
from storage import accounts, chat, erasure, log, outbox, sanctions, threads, unread
from storage.access import VIEWER, Access
from storage.errors import Conflict, Forbidden
from storage.transaction import Tx

MANAGERS = ("owner", "admin")
MODERATORS = (*MANAGERS, "moderator")
# Of roles, the lowest first.
RANKS = {role: rank for rank, role in enumerate((VIEWER, "readonly", "member", *reversed(MODERATORS)))}
MEMBERS_ANNOUNCED = 20
# In a chat of more members joining and leaving are no events of the chat, and reading is one of the reader alone.
LARGE_CHAT_MEMBERS = 100


def open_direct(tx: Tx, first: accounts.User, second: accounts.User) -> int:
    """Make the direct chat of two users, and announce it to both."""
    pk = chat.add(tx, first.tenant_pk, type="direct", pair=chat.pair_of(first.pk, second.pk))
    chat.add_members(tx, pk, sorted([(first.pk, "member"), (second.pk, "member")]), 0, maker_pk=first.pk)
    announce(tx, pk, sorted([first.pk, second.pk]), 0)
    return pk


def admit(tx: Tx, chat_pk: int, chat_id: str, users: Sequence[accounts.User], role: str) -> None:
    """Add users to a chat they are not in, at the seq of the one event that announces them; in a large chat at its head."""
    large = chat.member_count(tx.connection(), chat_pk) + len(users) > LARGE_CHAT_MEMBERS
    seq = tx.head(chat_pk) if large else append_updated(tx, chat_pk, chat_id, added=[each.id for each in users])
    chat.add_members(tx, chat_pk, sorted((each.pk, role) for each in users), seq)
    announce(tx, chat_pk, sorted(each.pk for each in users), seq)


def announce(tx: Tx, chat_pk: int, user_pks: list[int], at: int) -> None:
    """Append ``chat:new`` for users who are in a chat from ``at`` on. No message text goes into the log of their channels.

    Each has an event of their own, so that it names some of the members and how many there are.
    """
    item = chat.get(tx.connection(), chat_pk)
    some = chat.members_of(tx.connection(), chat_pk, limit=MEMBERS_ANNOUNCED)
    document = orjson.Fragment(orjson.dumps({**documents.conversation(item, some), "at": at}))
    for user_pk in user_pks:
        log.append(tx, user_pk, "chat:new", document)


def leave(tx: Tx, chat_pk: int, chat_id: str, user: accounts.User, *, voluntary: bool = False) -> None:
    """A member who may only read may not do more after joining again.

    A ``voluntary`` leave of a large chat takes effect at the chat's head; the event of the user's own channel says which seq.
    """
    member = chat.member(tx.connection(), chat_pk, user.pk)
    assert member is not None
    keep_an_owner(tx, chat_pk, member.role)
    behind = unread.in_chat(tx.connection(), user.pk, chat_pk) or threads.in_chat(tx.connection(), user.pk, chat_pk)
    chat.remove_member(tx, chat_pk, user.pk)
    if member.role == "readonly":
        sanctions.put(tx, chat_pk, user.pk, "silence")
    left = chat.get(tx.connection(), chat_pk)
    large = left.member_count >= LARGE_CHAT_MEMBERS
    notice: dict[str, Any] = {"chatId": chat_id}
    if voluntary and left.type == "room":
        # The user can still watch the stream as a viewer.
        if not large:
            append_updated(tx, chat_pk, chat_id, changes={"members": [{"userId": user.id, "role": VIEWER}]})
    elif voluntary and large:
        notice["at"] = tx.head(chat_pk)
    else:
        append_updated(tx, chat_pk, chat_id, removed=[user.id])
    log.append(tx, user.pk, "chat:removed", notice)
    if behind:
        outbox.promise_badge(tx, user.pk)


def pass_on(tx: Tx, chat_pk: int, chat_id: str, user_pk: int) -> bool:
    """Make another member owner if the user is the last owner; False if there is no other member."""
    member = chat.member(tx.connection(), chat_pk, user_pk)
    if member is None or member.role != "owner" or chat.owners(tx.connection(), chat_pk) > 1:
        return True
    heir = erasure.heir(tx.connection(), chat_pk, user_pk)
    if heir is None:
        return False
    chat.set_member(tx, chat_pk, heir.user_pk, role="owner")
    append_updated(tx, chat_pk, chat_id, changes={"members": [{"userId": heir.user_id, "role": "owner"}]})
    return True


def require_member(access: Access) -> None:
    """Raises Forbidden for a viewer."""
    if not access.is_member:
        raise Forbidden("Only members of the chat can do this")


def keep_an_owner(tx: Tx, chat_pk: int, role: str) -> None:
    if role == "owner" and chat.owners(tx.connection(), chat_pk) == 1:
        raise Conflict("A chat must keep at least one owner", code="last_owner")


def append_updated(
    tx: Tx,
    chat_pk: int,
    chat_id: str,
    *,
    changes: dict[str, Any] | None = None,
    added: Sequence[str] = (),
    removed: Sequence[str] = (),
) -> int:
    """Append ``chat:updated``; returns its seq."""
    document = {"chatId": chat_id, "changes": changes or {}, "added": list(added), "removed": list(removed)}
    return log.append(tx, chat_pk, "chat:updated", document).seq
