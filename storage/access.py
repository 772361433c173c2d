"""What a user is in a chat: a member, a viewer of a room, or nobody, and what they may not do there."""

from dataclasses import dataclass

from sqlalchemy import (
    ColumnElement,
    Connection,
    ScalarSelect,
    and_,
    bindparam,
    case,
    exists,
    func,
    literal,
    literal_column,
    or_,
    select,
)

from storage import last_posts as last_posts_of
from storage import unread
from storage.errors import NotFound, Restricted
from storage.models import blocks, chats, last_posts, members, sanctions, users
from storage.prepared import Prepared
from storage.sanctions import Kind
from storage.transaction import Tx, first
from storage.types import now
from storage.unread import ReadState

# The role of who sees a room without being a member.
VIEWER = "viewer"


@dataclass(frozen=True, slots=True)
class Access:
    """What decides whether a user may act in a chat, read in one statement inside the transaction.

    Who sees a room without being a member has the role ``viewer`` and no read state. ``silenced_until`` (microseconds)
    while a silence is in force.
    """

    read: ReadState
    silenced_until: int | None
    chat_id: str
    type: str
    history_visible: str
    member_count: int
    role: str
    joined_seq: int
    status: str
    # Who may react: members, all or none.
    reactions: str
    # frozen: only moderators may post; slow_mode: seconds between two posts, 0 for none; links: all or moderators.
    frozen: bool
    slow_mode: int
    links: str
    # When the user posted last, in a chat in slow mode.
    last_post_at: int | None
    blocked: bool

    @property
    def is_member(self) -> bool:
        return self.role != VIEWER

    @property
    def first_seq(self) -> int:
        """The first seq this user may see."""
        return first_visible(self.history_visible, self.joined_seq)


def first_visible(history_visible: str, joined_seq: int) -> int:
    return 1 if history_visible == "all" else joined_seq + 1


OTHER = members.alias("other")


def is_blocked_by(*who: ColumnElement[bool]) -> ColumnElement[bool]:
    """Whether one of these members blocks a user."""
    theirs = blocks.c.user_pk == OTHER.c.user_pk, blocks.c.blocked_pk == users.c.pk
    return exists().where(OTHER.c.chat_pk == chats.c.pk, *who, *theirs).correlate(chats, users)


BLOCKED = case(
    (chats.c.type == "direct", is_blocked_by(OTHER.c.user_pk != users.c.pk)),
    # As in the index of owners.
    (chats.c.type == "room", is_blocked_by(OTHER.c.role == literal_column("'owner'"))),
    else_=literal(False),
)


def sanctioned_until(kind: Kind) -> ScalarSelect[int]:
    """When this sanction of a user in a chat ends, or has ended; null where there is none."""
    here = sanctions.c.chat_pk == chats.c.pk, sanctions.c.user_pk == users.c.pk, sanctions.c.kind == kind
    return select(sanctions.c.until).where(*here).correlate(chats, users).scalar_subquery()


LAST_POST_AT = (
    select(last_posts.c.at)
    .where(last_posts.c.chat_pk == chats.c.pk, last_posts.c.user_pk == users.c.pk)
    .correlate(chats, users)
    .scalar_subquery()
)
IS_VIEWER = members.c.user_pk.is_(None)
ACCESS = Prepared(
    select(
        chats.c.id,
        chats.c.type,
        chats.c.history_visible,
        chats.c.member_count,
        func.coalesce(members.c.role, literal_column("'viewer'")),
        func.coalesce(members.c.joined_seq, literal_column("0")),
        users.c.status,
        chats.c.reactions,
        chats.c.frozen,
        chats.c.slow_mode,
        chats.c.links,
        case((chats.c.slow_mode > literal_column("0"), LAST_POST_AT)),
        BLOCKED,
        case((IS_VIEWER, sanctioned_until("ban"))),
        case((chats.c.type != "direct", sanctioned_until("silence"))),
        *(members.c[name] for name in ReadState._fields),
    )
    .select_from(chats)
    .join(users, users.c.pk == bindparam("user"))
    .outerjoin(members, and_(members.c.chat_pk == chats.c.pk, members.c.user_pk == users.c.pk))
    .where(chats.c.pk == bindparam("chat"), chats.c.deleted_at.is_(None))
    .where(or_(~IS_VIEWER, and_(chats.c.type == "room", chats.c.tenant_pk == users.c.tenant_pk)))
)
NO_READ_STATE = ReadState(False, 0, None, None)


def find_access(source: Tx | Connection, chat_pk: int, user_pk: int) -> Access | None:
    """None for who may not see the chat."""
    try:
        return need_access(source, chat_pk, user_pk)
    except (NotFound, Restricted):
        return None


def need_access(source: Tx | Connection, chat_pk: int, user_pk: int) -> Access:
    """The role of the user in the chat. Raises NotFound if they may not see it, Restricted if they are banned from a room."""
    row = first(source, ACCESS, {"chat": chat_pk, "user": user_pk})
    if row is None:
        raise NotFound
    *columns, posted_at, blocked, banned_until, silenced_until, wrote, read_seq, read_ordinal, own_after = row
    at = source.now if isinstance(source, Tx) else now()
    if isinstance(source, Tx):
        posted_at = last_posts_of.pending(source, chat_pk, user_pk, posted_at)
    columns += [posted_at, blocked]
    silence = silenced_until if silenced_until is not None and silenced_until > at else None
    if wrote is not None:
        read = ReadState(wrote, read_seq, read_ordinal, own_after)
        return Access(
            unread.state(source, chat_pk, user_pk, read) if isinstance(source, Tx) else read, silence, *columns
        )
    found = Access(NO_READ_STATE, silence, *columns)
    if found.blocked:
        raise NotFound
    if banned_until is not None and banned_until > at:
        raise Restricted("banned", banned_until)
    return found
