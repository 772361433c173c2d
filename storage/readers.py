"""Who has read a message: members of its chat by their read positions, there or in the thread of a reply.

A member of a chat, or a follower of a thread, is no reader of what was there before.
"""

from collections.abc import Mapping
from typing import NamedTuple, Protocol

from sqlalchemy import Connection, and_, bindparam, select

from storage.fetch import fetch
from storage.models import members, thread_members, users
from storage.prepared import Prepared, json_list, of_pairs
from storage.statements import Read
from storage.transaction import Tx, rows


class MessageReader(Protocol):
    """A member, and how far they have read."""

    @property
    def user_pk(self) -> int: ...
    @property
    def user_id(self) -> str: ...
    @property
    def joined_seq(self) -> int: ...
    @property
    def read_seq(self) -> int: ...


class ReaderRow(NamedTuple):
    """``joined_seq``: up to there the user was no member of the chat, or no follower of the thread."""

    user_pk: int
    user_id: str
    joined_seq: int
    read_seq: int


# By chat, or by chat and the root of a thread, None for the chat itself.
Place = tuple[int, int | None]

IN_CHATS = of_pairs(
    "SELECT m.chat_pk, m.user_pk, u.id, m.joined_seq, m.read_seq FROM {pairs} "
    "JOIN members AS m ON m.chat_pk = w.pk AND m.read_seq >= w.seq JOIN users AS u ON u.pk = m.user_pk ORDER BY m.user_pk"
)
IN_THREADS = of_pairs(
    "SELECT t.chat_pk, t.root_seq, t.user_pk, u.id, m.joined_seq, t.read_seq, t.from_seq, t.read_before FROM {pairs} "
    "JOIN thread_members AS t ON t.chat_pk = w.pk AND t.root_seq = w.seq AND t.read_seq >= w.third "
    "JOIN members AS m ON m.chat_pk = t.chat_pk AND m.user_pk = t.user_pk JOIN users AS u ON u.pk = t.user_pk "
    "ORDER BY t.user_pk"
)
IN_CHAT = Prepared(
    select(members.c.user_pk, users.c.id, members.c.joined_seq, members.c.read_seq)
    .join(users, users.c.pk == members.c.user_pk)
    .where(members.c.chat_pk == bindparam("chat"), members.c.read_seq >= bindparam("seq"))
    .order_by(members.c.user_pk)
)
IN_THREAD = Prepared(
    select(
        thread_members.c.user_pk,
        users.c.id,
        members.c.joined_seq,
        thread_members.c.read_seq,
        thread_members.c.from_seq,
        thread_members.c.read_before,
    )
    .join(
        members,
        and_(members.c.chat_pk == thread_members.c.chat_pk, members.c.user_pk == thread_members.c.user_pk),
    )
    .join(users, users.c.pk == thread_members.c.user_pk)
    .where(
        thread_members.c.chat_pk == bindparam("chat"),
        thread_members.c.root_seq == bindparam("root"),
        thread_members.c.read_seq >= bindparam("seq"),
    )
    .order_by(thread_members.c.user_pk)
)


def read_of(place: Place, seq: int) -> Read:
    """The query of ``of``."""
    chat_pk, root_seq = place
    if root_seq is None:
        return IN_CHAT, {"chat": chat_pk, "seq": seq}
    return IN_THREAD, {"chat": chat_pk, "root": root_seq, "seq": seq}


def of(source: Tx | Connection, place: Place, seq: int) -> list[ReaderRow]:
    """Who has read so far, or farther."""
    spans = [span for row in rows(source, *read_of(place, seq)) for span in spans_of(*row)]
    found = [each for each in spans if each.joined_seq < seq <= each.read_seq]
    marked = waiting(source, place) if isinstance(source, Tx) else {}
    if not marked:
        return found
    now = {each.user_pk: each for each in found} | {pk: each for pk, each in marked.items() if each.read_seq >= seq}
    return [now[pk] for pk in sorted(now)]


def spans_of(
    user_pk: int, user_id: str, joined_seq: int, read_seq: int, from_seq: int = 0, read_before: int = 0
) -> list[ReaderRow]:
    """What a user has read: in a thread also what they had read before they followed it."""
    spans = [ReaderRow(user_pk, user_id, max(joined_seq, from_seq), read_seq)]
    return [*spans, ReaderRow(user_pk, user_id, joined_seq, read_before)] if read_before else spans


def add(tx: Tx, place: Place, reader: ReaderRow) -> None:
    """A mark of this reader waits to be written."""
    tx.set_pending(("readers", place), waiting(tx, place) | {reader.user_pk: reader})


def waiting(tx: Tx, place: Place) -> dict[int, ReaderRow]:
    return tx.pending(("readers", place), {})


def since(connection: Connection, oldest: Mapping[Place, int]) -> dict[Place, list[ReaderRow]]:
    """By place who has read up to this seq, or farther."""
    found: dict[Place, list[ReaderRow]] = {place: [] for place in oldest}
    chats = [(chat_pk, seq) for (chat_pk, root_seq), seq in oldest.items() if root_seq is None]
    threads = [(*place, seq) for place, seq in oldest.items() if place[1] is not None]
    in_chats, in_threads = fetch(
        connection, (IN_CHATS, {"pairs": json_list(chats)}), (IN_THREADS, {"pairs": json_list(threads)})
    )
    for chat_pk, *reader in in_chats:
        found[chat_pk, None].append(ReaderRow(*reader))
    for chat_pk, root_seq, *reader in in_threads:
        found[chat_pk, root_seq].extend(spans_of(*reader))
    return found
