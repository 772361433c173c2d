"""Rooms: chats that anybody of the tenant reads, who is neither banned from them nor blocked by an owner of theirs."""

from collections.abc import Collection, Sequence
from typing import NamedTuple

from sqlalchemy import Connection, select

from storage.errors import Forbidden, NotFound, Problem, Restricted
from storage.fetch import Rows, fetch_one
from storage.models import chats, members
from storage.prepared import json_list, of_pairs
from storage.streams import COLUMNS, Stream, stream_of
from storage.types import now

# Of a user ``u`` in a chat ``r``.
BAN = "SELECT x.until FROM sanctions AS x WHERE x.chat_pk = r.pk AND x.user_pk = u.pk AND x.kind = 'ban'"
BLOCKED = (
    "EXISTS (SELECT 1 FROM members AS o JOIN blocks AS b ON b.user_pk = o.user_pk AND b.blocked_pk = u.pk "
    "WHERE o.chat_pk = r.pk AND o.role = 'owner')"
)
NAMED = of_pairs(
    "SELECT u.pk AS user_pk, r.pk, r.id, c.head, c.floor, s.pk, s.id, sc.head, sc.floor, s.peak FROM {pairs} "
    "JOIN users AS u ON u.pk = w.pk "
    "JOIN chats AS r ON r.tenant_pk = u.tenant_pk AND r.id = w.seq AND r.type = 'room' AND r.deleted_at IS NULL "
    "JOIN channels AS c ON c.pk = r.pk LEFT JOIN streams AS s ON s.chat_pk = r.pk "
    "LEFT JOIN channels AS sc ON sc.pk = s.pk "
    f"WHERE NOT EXISTS ({BAN} AND x.until > :at) AND NOT {BLOCKED} ORDER BY r.pk DESC",
    kind="text",
)
WATCHED = of_pairs(
    f"SELECT u.pk AS user_pk, {COLUMNS}, c.head AS chat_head, ({BAN}) AS banned_until, "
    "(EXISTS (SELECT 1 FROM blocks AS b WHERE b.user_pk = s.owner_pk AND b.blocked_pk = u.pk) "
    f"OR (r.type = 'room' AND {BLOCKED})) AS blocked FROM {{pairs}} "
    "JOIN users AS u ON u.pk = w.pk JOIN streams AS s ON s.tenant_pk = u.tenant_pk AND s.id = w.seq "
    "JOIN users AS p ON p.pk = s.owner_pk JOIN chats AS r ON r.pk = s.chat_pk JOIN channels AS sc ON sc.pk = s.pk "
    "JOIN channels AS c ON c.pk = r.pk",
    kind="text",
)


class OwnedRoom(NamedTuple):
    pk: int
    id: str


class WatchedStream(NamedTuple):
    """A stream, and the head of its chat's channel."""

    stream: Stream
    chat_head: int


def named(connection: Connection, wanted: Collection[tuple[int, str]]) -> Rows:
    """``(user_pk, pk, id, head, floor)`` of rooms, and ``(pk, id, head, floor, peak)`` of each one's stream or nulls."""
    return fetch_one(connection, NAMED, {"pairs": json_list(wanted), "at": now()}) if wanted else []


def watchable(connection: Connection, wanted: Sequence[tuple[int, str]]) -> list[WatchedStream | Problem]:
    """For each ``(user_pk, stream_id)`` the stream, or why the user may not watch it."""
    found: dict[tuple[int, str], WatchedStream | Problem] = {}
    at = now()
    for user_pk, *columns, chat_head, banned_until, blocked in fetch_one(
        connection, WATCHED, {"pairs": json_list(set(wanted))}
    ):
        stream = stream_of(columns)
        place = user_pk, stream.id
        if blocked:
            found[place] = Forbidden()
        elif banned_until is not None and banned_until > at and stream.audience == "open":
            found[place] = Restricted("banned", banned_until)
        else:
            found[place] = WatchedStream(stream, chat_head)
    return [found.get(each) or NotFound() for each in wanted]


def owned(connection: Connection, user_pk: int) -> list[OwnedRoom]:
    """The rooms that a user owns."""
    statement = select(chats.c.pk, chats.c.id).join(members, members.c.chat_pk == chats.c.pk)
    here = members.c.user_pk == user_pk, members.c.role == "owner", chats.c.type == "room", chats.c.deleted_at.is_(None)
    return [OwnedRoom(*row) for row in connection.execute(statement.where(*here))]
