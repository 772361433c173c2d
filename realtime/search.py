"""Searches messages: candidates from the index are read again as the user may see them now."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

from sqlalchemy import Connection

from realtime.chat_numbers import ChatNumbers
from realtime.fanout.budget import Budget
from realtime.indexing import Indexer
from realtime.schema import message_documents, message_shapes
from realtime.schema.caller import Caller
from realtime.schema.limits import KIB, Limits
from realtime.support.buckets import Buckets
from storage import messages, search
from storage.access import need_access
from storage.database import Database
from storage.errors import Invalid, Unavailable
from storage.messages import LARGEST_SEQ, Message
from storage.search import ActiveChat, IndexPosition
from storage.search_index import IndexMatches, SearchRange
from storage.transaction import clock
from storage.types import SECOND
from storage.words import Span, Term, find_terms, keys_of_terms, read_query

# Chats in the first round of a search in all chats; messages per chat and round, at most.
FIRST_CHATS, ROUND = 50, 200
# Charged to the user's budget for the text that was compared.
UNITS_PER_KIB = 1.5
# Locating the matches of a hit costs about as much as comparing its text this many times.
HIT_WEIGHT = 8
# The event loop runs other tasks after this much text.
TURN_CHARACTERS = 16 * KIB
RETRY_SECONDS = 1.0
MILLISECOND = SECOND // 1000


@dataclass(frozen=True, slots=True)
class SearchFilter:
    """Conditions besides the query: of a sender, of a type, sent since and until (microseconds, both included).

    Times count to the millisecond, as they are shown.
    """

    sender_id: str | None = None
    type: str | None = None
    since: int | None = None
    until: int | None = None

    def passes(self, item: Message) -> bool:
        return (
            (self.sender_id is None or item.sender_id == self.sender_id)
            and (self.type is None or item.type == self.type)
            and (self.since is None or item.created_at // MILLISECOND >= self.since // MILLISECOND)
            and (self.until is None or item.created_at // MILLISECOND <= self.until // MILLISECOND)
        )


class SearchPlace(NamedTuple):
    """A cursor: the chat and the seq below which to continue, and the time (microseconds) whose order of chats counts."""

    at: int
    active_at: int
    chat_pk: int
    seq: int


@dataclass(frozen=True, slots=True)
class SearchPage:
    """Hits, newest first in each chat. ``is_complete`` is false if not all messages that may match were compared."""

    items: list[message_shapes.HitDocument]
    following: SearchPlace | None
    is_complete: bool


class Hit(NamedTuple):
    item: Message
    spans: list[Span]


class Candidates(NamedTuple):
    """Messages of a chat to be read again, newest first; ``more_below`` is the seq below which there are more, 0 for none."""

    chat_pk: int
    seqs: list[int]
    more_below: int


class TooFarBehind(Exception):
    """Too much of these chats is not indexed"""

    def __init__(self, chat_pks: set[int]) -> None:
        self.chat_pks = chat_pks


class MessageSearch:
    def __init__(
        self, database: Database, numbers: ChatNumbers, indexer: Indexer, limits: Limits, budget: Budget
    ) -> None:
        self.database = database
        self.budget = budget
        self.numbers = numbers
        self.indexer = indexer
        self.limits = limits
        self.searching = Buckets(limits.searches_per_second, limits.searches_per_second, "searches")

    async def find(
        self,
        caller: Caller,
        query: str,
        *,
        chat_id: str | None,
        wanted: SearchFilter,
        place: SearchPlace | None,
        limit: int,
    ) -> SearchPage:
        """Messages that have all words of the query, in one chat, or in all chats of the caller by activity.

        Raises Invalid for a query that is too short or has too many words, NotFound for a chat that the caller can't see,
        TooMany, and Unavailable where the index is far behind.
        """
        terms = self._read(query)
        self.searching.acquire(caller.pk)
        chat_pk = None if chat_id is None else await self.numbers.find(caller.user.tenant_pk, chat_id)
        run = SearchRun(self, caller, terms, wanted, limit, one_chat=chat_pk)
        if chat_pk is not None:
            if place is not None and place.chat_pk != chat_pk:
                raise Invalid.field("cursor", "must be the nextCursor of the previous page of the same search")
            await self.database.read(lambda connection: need_access(connection, chat_pk, caller.pk))
            chats, at, is_all = [ActiveChat(chat_pk, 0)], 0, True
        else:
            at, chats, is_all = await self.database.read(
                lambda it: active_chats(it, caller.pk, place, most=self.limits.search_chats)
            )
        try:
            return await run.page(chats, at, place, is_all=is_all)
        finally:
            self.budget.users.charge(caller.pk, run.characters / KIB * UNITS_PER_KIB)

    def _read(self, query: str) -> list[Term]:
        if len(query) > self.limits.search_query:
            raise Invalid.field("query", f"must have at most {self.limits.search_query} characters")
        terms = read_query(query)
        words = [word for term in terms for word in term.words]
        if sum(len(word.text) for word in words) < self.limits.search_shortest:
            raise Invalid.field("query", f"must have at least {self.limits.search_shortest} letters or digits")
        if len(words) > self.limits.search_words:
            raise Invalid.field("query", f"must have at most {self.limits.search_words} words")
        return terms


def active_chats(
    connection: Connection, user_pk: int, place: SearchPlace | None, *, most: int
) -> tuple[int, list[ActiveChat], bool]:
    """The time whose order counts, the most recently active chats of a user in that order, from the one where a search goes
    on, and whether these are all.
    """
    at = clock(connection) if place is None else place.at
    found = search.by_activity(connection, user_pk, at=at)
    chats = found[:most]
    if place is not None:
        start = (place.active_at, place.chat_pk)
        chats = [each for each in chats if (each.active_at, each.chat_pk) <= start]
    return at, chats, len(found) <= most


class SearchRun:
    """One call: it reads candidates until it has a page or reaches a limit."""

    def __init__(
        self,
        service: MessageSearch,
        caller: Caller,
        terms: Sequence[Term],
        wanted: SearchFilter,
        limit: int,
        *,
        one_chat: int | None,
    ) -> None:
        self.service = service
        self.caller = caller
        self.terms = terms
        self.keys = keys_of_terms(terms)
        self.wanted = wanted
        self.limit = limit
        self.one_chat = one_chat
        self.hits: list[Hit] = []
        # How many more candidates may be read; characters compared so far.
        self.budget = service.limits.search_candidates
        self.characters = 0

    async def page(
        self, chats: Sequence[ActiveChat], at: int, place: SearchPlace | None, *, is_all: bool
    ) -> SearchPage:
        waiting = [SearchRange(each.chat_pk, LARGEST_SEQ) for each in chats]
        if place is not None and waiting and waiting[0].chat_pk == place.chat_pk:
            waiting[0] = waiting[0]._replace(before=place.seq)
        size, most = FIRST_CHATS, self.limit + 1
        while waiting and self.budget and self._may_go_on() and len(self.hits) <= self.limit:
            some, waiting = waiting[:size], waiting[size:]
            rest = await self._look(some, most)
            waiting = rest + waiting
            size, most = len(chats), min(most * 4, ROUND)
        active = {each.chat_pk: each.active_at for each in chats}
        following = None
        if len(self.hits) > self.limit:
            last = self.hits[self.limit - 1].item
            following = SearchPlace(at, active[last.chat_pk], last.chat_pk, last.seq)
        elif waiting:
            following = SearchPlace(at, active[waiting[0].chat_pk], *waiting[0])
        cut = len(self.hits) <= self.limit and bool(waiting)
        return SearchPage(await self._documents(), following, is_all and not cut)

    def _may_go_on(self) -> bool:
        return self.characters < self.service.limits.search_text

    async def _look(self, some: Sequence[SearchRange], most: int) -> list[SearchRange]:
        """Compare the candidates of these chats in their order; returns the ranges that remain."""
        candidates = await self._candidates(some, min(most, self.budget))
        chosen: list[tuple[int, int]] = []
        left: list[SearchRange] = []
        for number, each in enumerate(candidates):
            seqs = each.seqs[: self.budget - len(chosen)]
            chosen += [(each.chat_pk, seq) for seq in seqs]
            if len(seqs) < len(each.seqs):
                left = rest_of(some, number, below=seqs[-1] if seqs else some[number].before)
                break
            if each.more_below:
                left = rest_of(some, number, below=each.more_below)
                break
        self.budget -= len(chosen)
        items = await self.service.database.read(lambda it: self._read_again(it, chosen), snapshot=True)
        unread = await self._match(items)
        if unread is not None:
            number = next(number for number, each in enumerate(some) if each.chat_pk == unread.chat_pk)
            return rest_of(some, number, below=unread.seq + 1)
        return left

    async def _match(self, items: Sequence[Message]) -> Message | None:
        """Collect the hits among messages; returns the first message that was not compared because of the limit on text."""
        for item in items:
            if not self._may_go_on():
                return item
            content = item.content or ""
            before = self.characters
            self.characters += len(content)
            if before // TURN_CHARACTERS < self.characters // TURN_CHARACTERS:
                await asyncio.sleep(0)
            spans = find_terms(content, self.terms, most=self.service.limits.search_matches)
            if spans is not None:
                self.characters += (HIT_WEIGHT - 1) * len(content)
                self.hits.append(Hit(item, spans))
                if len(self.hits) > self.limit:
                    break
        return None

    async def _candidates(self, some: Sequence[SearchRange], most: int) -> list[Candidates]:
        limit, until = self.service.limits.search_candidates, time.monotonic() + self.service.limits.search_wait
        while True:
            found = await self.service.indexer.index.find(some, self.keys, most=most)
            try:
                return await self.service.database.read(
                    partial(merged, some=some, found=found, most=most, limit=limit), snapshot=True
                )
            except TooFarBehind as behind:
                chat_pks = behind.chat_pks
            # Retried until the time is over: the index may be rebuilt after it has caught up.
            left = until - time.monotonic()
            if left <= 0 or not await self.service.indexer.catch_up(chat_pks, left):
                raise Unavailable("The search index is being built", retry_after=RETRY_SECONDS)

    def _read_again(self, connection: Connection, chosen: Sequence[tuple[int, int]]) -> list[Message]:
        """The messages of these places that the caller may see now, in their order."""
        if not chosen:
            return []
        first = self._first_seqs(connection, {chat_pk for chat_pk, _ in chosen})
        items = {(each.chat_pk, each.seq): each for each in messages.at_places(connection, chosen)}
        found = [items[place] for place in chosen if place in items and place[0] in first]
        return [
            each
            for each in found
            if each.content is not None and each.seq >= first[each.chat_pk] and self.wanted.passes(each)
        ]

    def _first_seqs(self, connection: Connection, chat_pks: set[int]) -> Mapping[int, int]:
        if self.one_chat is not None:
            return {self.one_chat: need_access(connection, self.one_chat, self.caller.pk).first_seq}
        return search.first_seqs(connection, self.caller.pk, chat_pks)

    async def _documents(self) -> list[message_shapes.HitDocument]:
        shown = self.hits[: self.limit]
        items = await self.service.database.read(lambda it: messages.with_readers(it, [each.item for each in shown]))
        return [message_documents.hit(item, each.spans) for item, each in zip(items, shown, strict=True)]


def rest_of(some: Sequence[SearchRange], number: int, *, below: int) -> list[SearchRange]:
    """The ranges from this one on, its own reduced to what is below a seq."""
    return [SearchRange(some[number].chat_pk, below), *some[number + 1 :]]


def merged(
    connection: Connection, some: Sequence[SearchRange], found: Sequence[IndexMatches], most: int, limit: int
) -> list[Candidates]:
    """The matches of the index and the messages that are not indexed, of these at most ``limit``. Raises TooFarBehind."""
    positions: dict[int, IndexPosition] = {each.chat_pk: of.position for each, of in zip(some, found, strict=True)}
    changes = {
        each.chat_pk: each for each in search.unindexed(connection, positions, limit=limit + 1, with_texts=False)
    }
    behind = {pk for pk, each in changes.items() if not each.is_complete}
    if behind or sum(len(each.texts) for each in changes.values()) > limit:
        raise TooFarBehind(behind or set(changes))
    return [
        candidates_of(each, of, changes[each.chat_pk].texts if each.chat_pk in changes else (), most)
        for each, of in zip(some, found, strict=True)
    ]


def candidates_of(
    wanted: SearchRange, found: IndexMatches, unindexed: Sequence[int] | Mapping[int, object], most: int
) -> Candidates:
    lowest = found.seqs[-1] if len(found.seqs) >= most else 0
    seqs = {*found.seqs, *(seq for seq in unindexed if lowest <= seq < wanted.before)}
    return Candidates(wanted.chat_pk, sorted(seqs, reverse=True), lowest)
