"""Streams: what is to begin, has begun or is over, and who follows it."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from sqlalchemy import (
    Connection,
    bindparam,
    case,
    delete,
    exists,
    func,
    insert,
    literal_column,
    or_,
    select,
    text,
    tuple_,
    update,
)

from storage import log
from storage.fetch import fetch_one
from storage.models import UPCOMING, blocks, channels, chats, followers, members, streams, users
from storage.prepared import Prepared, json_list, of_pairs, one_of, padded
from storage.transaction import Tx
from storage.types import new_id

Status = Literal["scheduled", "ready", "started", "ended", "cancelled", "expired"]
Audience = Literal["members", "open"]


@dataclass(frozen=True, slots=True)
class Stream:
    """``announced`` when the followers' phones were told to show it; ``head`` is its newest seq.

    Of an ``open`` stream anybody of the tenant reads the chat, and ``peak`` is how many watched it at most.
    """

    pk: int
    tenant_pk: int
    id: str
    title: str
    status: Status
    starts_at: int
    owner_pk: int
    owner_id: str
    chat_pk: int
    chat_id: str
    announced: bool
    head: int
    created_at: int
    updated_at: int
    audience: Audience
    peak: int


SELECT = (
    select(
        streams.c.pk,
        streams.c.tenant_pk,
        streams.c.id,
        streams.c.title,
        streams.c.status,
        streams.c.starts_at,
        streams.c.owner_pk,
        users.c.id.label("owner_id"),
        streams.c.chat_pk,
        chats.c.id.label("chat_id"),
        streams.c.announced,
        channels.c.head,
        streams.c.created_at,
        streams.c.updated_at,
        case((chats.c.type == "room", "open"), else_="members").label("audience"),
        streams.c.peak,
    )
    .join(users, users.c.pk == streams.c.owner_pk)
    .join(chats, chats.c.pk == streams.c.chat_pk)
    .join(channels, channels.c.pk == streams.c.pk)
)
# The same, of a stream ``s`` with its owner ``p``, chat ``r`` and channel ``sc``.
COLUMNS = (
    "s.pk, s.tenant_pk, s.id, s.title, s.status, s.starts_at, s.owner_pk, p.id, s.chat_pk, r.id, s.announced, sc.head, "
    "s.created_at, s.updated_at, CASE WHEN r.type = 'room' THEN 'open' ELSE 'members' END, s.peak"
)
BY_PKS = SELECT.where(streams.c.pk.in_(bindparam("pks")))
# Written out, so that it is that of the index.
NOT_BEGUN = text(UPCOMING)
LIVING = ("scheduled", "ready", "started")


def read_streams(rows: Any) -> list[Stream]:
    return [stream_of(row) for row in rows]


def stream_of(row: Sequence[Any]) -> Stream:
    return Stream(*row)


def add(tx: Tx, tenant_pk: int, *, id: str | None, title: str, starts_at: int, owner_pk: int, chat_pk: int) -> int:
    id = id or new_id()
    pk = log.open_channel(tx, f"stream:{id}")
    values = {"pk": pk, "tenant_pk": tenant_pk, "id": id, "title": title, "status": "scheduled", "starts_at": starts_at}
    values |= {"owner_pk": owner_pk, "chat_pk": chat_pk, "announced": False}
    tx.execute(insert(streams), values | {"created_at": tx.now, "updated_at": tx.now})
    return pk


def get(connection: Connection, pk: int) -> Stream:
    return by_pks(connection, [pk])[pk]


def by_pks(connection: Connection, pks: Collection[int]) -> dict[int, Stream]:
    return {each.pk: each for each in read_streams(connection.execute(BY_PKS, {"pks": padded(pks)}))}


def find(connection: Connection, tenant_pk: int, id: str) -> Stream | None:
    found = read_streams(connection.execute(SELECT.where(streams.c.tenant_pk == tenant_pk, streams.c.id == id)))
    return found[0] if found else None


def page(connection: Connection, tenant_pk: int, *, status: str | None, before: int | None, limit: int) -> list[Stream]:
    """Newest first, with a number below ``before``."""
    statement = SELECT.where(streams.c.tenant_pk == tenant_pk)
    if status is not None:
        statement = statement.where(streams.c.status == status)
    if before is not None:
        statement = statement.where(streams.c.pk < before)
    return read_streams(connection.execute(statement.order_by(streams.c.pk.desc()).limit(limit)))


def change(tx: Tx, pk: int, **values: Any) -> Stream:
    tx.execute(update(streams).where(streams.c.pk == pk).values(**values, updated_at=tx.now))
    return get(tx.connection(), pk)


RAISE_PEAK = update(streams).where(streams.c.pk == bindparam("stream"), streams.c.peak < bindparam("most"))


def raise_peaks(tx: Tx, peaks: Mapping[int, int]) -> None:
    """How many watched each of these streams at most, where that is more than before."""
    values = [{"stream": pk, "most": most} for pk, most in sorted(peaks.items())]
    tx.execute(RAISE_PEAK.values(peak=bindparam("most")), values)


def late(connection: Connection, *, before: int, limit: int = 100) -> list[int]:
    """Streams that were to begin before a time and have not."""
    statement = select(streams.c.pk).where(NOT_BEGUN, streams.c.starts_at < before)
    return list(connection.execute(statement.order_by(streams.c.starts_at).limit(limit)).scalars())


def soon(connection: Connection, *, after: int, before: int, limit: int = 100) -> list[int]:
    """Scheduled streams between two times whose followers' phones were not told yet."""
    statement = select(streams.c.pk).where(
        NOT_BEGUN,
        streams.c.status == "scheduled",
        streams.c.announced.is_(False),
        streams.c.starts_at > after,
        streams.c.starts_at < before,
    )
    return list(connection.execute(statement.order_by(streams.c.starts_at).limit(limit)).scalars())


def of_chat(connection: Connection, chat_pk: int) -> int | None:
    """The stream whose chat it is."""
    return connection.execute(select(streams.c.pk).where(streams.c.chat_pk == chat_pk)).scalar()


class StreamChat(NamedTuple):
    """A stream and its chat."""

    pk: int
    chat_pk: int
    chat_id: str


def rooms_with(connection: Connection, owner_pk: int, user_pk: int) -> list[StreamChat]:
    """The streams of an owner that a user follows, or is in the chat of."""
    inside = streams.c.chat_pk.in_(select(members.c.chat_pk).where(members.c.user_pk == user_pk))
    followed = streams.c.pk.in_(select(followers.c.stream_pk).where(followers.c.user_pk == user_pk))
    statement = (
        select(streams.c.pk, streams.c.chat_pk, chats.c.id)
        .join(chats, chats.c.pk == streams.c.chat_pk)
        .where(streams.c.owner_pk == owner_pk, or_(inside, followed))
    )
    return [StreamChat(*row) for row in connection.execute(statement)]


def living_of(connection: Connection, owner_pk: int) -> StreamChat | None:
    """A stream of an owner that is not over."""
    statement = (
        select(streams.c.pk, streams.c.chat_pk, chats.c.id)
        .join(chats, chats.c.pk == streams.c.chat_pk)
        .where(streams.c.owner_pk == owner_pk, streams.c.status.in_(LIVING))
    )
    row = connection.execute(statement.limit(1)).first()
    return StreamChat(*row) if row else None


# Followers


def follow(tx: Tx, pk: int, user_pk: int) -> bool:
    """Whether it is new."""
    if follows(tx.connection(), pk, user_pk):
        return False
    tx.execute(insert(followers), {"stream_pk": pk, "user_pk": user_pk, "created_at": tx.now})
    return True


def unfollow(tx: Tx, pk: int, user_pk: int) -> bool:
    here = (followers.c.stream_pk == pk, followers.c.user_pk == user_pk)
    return tx.execute(delete(followers).where(*here)).rowcount > 0


def follows(connection: Connection, pk: int, user_pk: int) -> bool:
    here = (followers.c.stream_pk == pk, followers.c.user_pk == user_pk)
    return connection.execute(select(followers.c.user_pk).where(*here)).first() is not None


def following(connection: Connection, user_pk: int) -> int:
    """How many streams that are not over a user follows."""
    mine = select(followers.c.stream_pk).where(followers.c.user_pk == user_pk)
    statement = select(func.count()).select_from(streams).where(streams.c.pk.in_(mine), streams.c.status.in_(LIVING))
    return int(connection.execute(statement).scalar_one())


def notifiable(connection: Connection, pairs: Collection[tuple[int, int]]) -> set[tuple[int, int]]:
    """Of ``(stream, user)`` those whose phones may show the stream: active followers whom its owner does not block."""
    if not pairs:
        return set()
    statement = (
        select(followers.c.stream_pk, followers.c.user_pk)
        .join(streams, streams.c.pk == followers.c.stream_pk)
        .join(users, users.c.pk == followers.c.user_pk)
        .where(
            tuple_(followers.c.stream_pk, followers.c.user_pk).in_(padded(pairs)),
            users.c.status == "active",
            ~exists().where(blocks.c.user_pk == streams.c.owner_pk, blocks.c.blocked_pk == followers.c.user_pk),
        )
    )
    return {(row[0], row[1]) for row in connection.execute(statement)}


UNBLOCKED = ~exists().where(blocks.c.user_pk == streams.c.owner_pk, blocks.c.blocked_pk == users.c.pk)
READABLE = (
    select(users.c.pk.label("user_pk"), streams.c.pk, streams.c.id, channels.c.head, channels.c.floor)
    .select_from(streams)
    .join(channels, channels.c.pk == streams.c.pk)
    .where(UNBLOCKED)
    .order_by(streams.c.pk.desc())
)
# ``(user_pk, pk, id, head, floor)`` of streams, not over, that each of these users follows; not of who blocks them.
FOLLOWED = Prepared(
    READABLE.join(followers, followers.c.stream_pk == streams.c.pk)
    .join(users, users.c.pk == followers.c.user_pk)
    .where(one_of(followers.c.user_pk, "pks"), streams.c.status.in_([literal_column(f"'{each}'") for each in LIVING]))
)
# The same of streams of the user's tenant, for each user and id.
NAMED = of_pairs(
    "SELECT u.pk AS user_pk, s.pk, s.id, c.head, c.floor FROM {pairs} JOIN users AS u ON u.pk = w.pk "
    "JOIN streams AS s ON s.tenant_pk = u.tenant_pk AND s.id = w.seq JOIN channels AS c ON c.pk = s.pk "
    "WHERE NOT EXISTS (SELECT 1 FROM blocks AS b WHERE b.user_pk = s.owner_pk AND b.blocked_pk = u.pk) ORDER BY s.pk DESC",
    kind="text",
)


def named(connection: Connection, wanted: Collection[tuple[int, str]]) -> list[Any]:
    """``(user_pk, pk, id, head, floor)`` of streams of a user's tenant, by ``(user_pk, id)``; not of who blocks the user."""
    return [*fetch_one(connection, NAMED, {"pairs": json_list(wanted)})] if wanted else []
