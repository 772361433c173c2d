"""Chats as a user sees them: with their members, their newest message, and what is unread."""

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import Connection

from realtime.schema import documents, shapes
from storage import chat_list, mentions, messages, sanctions, threads, unread
from storage.access import need_access
from storage.chat_list import MemberChat
from storage.fetch import fetch


class ListedChat(NamedTuple):
    """A chat in a list that is ordered by ``active_at`` (microseconds), and within that by number."""

    document: shapes.ChatDocument
    active_at: int
    pk: int


def seen_by(connection: Connection, chat_pk: int, user_pk: int) -> shapes.ChatDocument:
    """The chat as this user sees it. Raises NotFound, Restricted for who is banned from a room."""
    found = chat_list.of_member(connection, chat_pk, user_pk)
    if found is None:
        need_access(connection, chat_pk, user_pk)
        found = chat_list.of_viewer(connection, chat_pk)
    return seen(connection, [found], user_pk)[0]


def seen(connection: Connection, found: Sequence[MemberChat], user_pk: int) -> list[shapes.ChatDocument]:
    """Chats as a member sees them, in as many statements for many as for one."""
    pks, chats = [each.chat.pk for each in found], [each.chat for each in found]
    newest = [(each.chat.pk, each.newest_seq) for each in found if each.newest_seq >= each.first_seq]
    shown, texts, unread_rows, in_threads, mentioned, silences = fetch(
        connection,
        chat_list.read_of_members(connection, chats, user_pk),
        messages.read_of_places(newest),
        unread.read_of_chats(user_pk, pks),
        threads.read_of_chats(user_pk, pks),
        mentions.read_of_chats(user_pk, pks),
        sanctions.read_of_silences(user_pk, pks),
    )
    members = chat_list.shown_members(chats, shown)
    last = {each.chat_pk: each for each in map(messages.read_message, texts)}
    large = {each.chat.pk for each in found if len(members[each.chat.pk]) < each.chat.member_count}
    # Where all members are known, so are the readers.
    read = [last[pk].with_readers(members[pk]) for pk in last if pk not in large]
    read += messages.with_readers(connection, [last[pk] for pk in last if pk in large])
    last = {each.chat_pk: each for each in read}
    counts, replies = unread.in_chats(connection, user_pk, unread_rows), threads.in_chats(in_threads)
    mention_counts = mentions.in_chats(mentioned)
    silenced_until: dict[int, int] = dict(silences)
    return [
        documents.conversation(
            each.chat,
            members[pk],
            last.get(pk),
            min(counts.get(pk, 0) + replies.get(pk, 0), unread.UNREAD_CAP),
            mentions=mention_counts.get(pk, 0),
            muted_until=each.muted_until,
            mute_level=each.mute_level,
            role=each.role,
            silenced_until=silenced_until.get(pk),
        )
        for pk, each in zip(pks, found, strict=True)
    ]
