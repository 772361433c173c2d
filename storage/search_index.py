"""Which messages have which words: an index beside the messages, that may lag behind them, and may be lost.

What it finds are candidates: who searches reads them again. See ``search_index_sqlite.py`` and ``search_index_postgres.py``.
"""

from collections.abc import Collection, Sequence
from typing import NamedTuple, Protocol

from storage.search import IndexPosition
from storage.words import Key, keys_of

# Messages that are indexed in one transaction, about.
SLICE_MESSAGES = 200


class SearchRange(NamedTuple):
    """A chat that is searched, below a seq."""

    chat_pk: int
    before: int


class IndexMatches(NamedTuple):
    """As of ``position``: seqs of a chat's messages that may match, the newest first."""

    position: IndexPosition
    seqs: Sequence[int]


class SearchIndex(Protocol):
    # Whether other processes fill it too, and may have left something behind.
    is_shared: bool
    # How often it began from nothing since the process started.
    generation: int

    async def find(self, wanted: Sequence[SearchRange], keys: Sequence[Key], *, most: int) -> list[IndexMatches]:
        """For each chat the messages that have all keys, at most ``most``."""
        ...

    async def update(self, chat_pks: Collection[int]) -> set[int]:
        """Index a slice of what these chats lack; those that lack more."""
        ...

    async def unindexed_chats(self) -> set[int]:
        """Chats of which something is not indexed."""
        ...

    async def compact(self, *, before: int) -> bool:
        """Remove what its file still holds of texts that were removed before a time (microseconds); whether it did."""
        ...

    async def rebuild(self) -> None:
        """Index everything again."""
        ...

    async def close(self) -> None: ...


def keys_of_message(chat_pk: int, content: str | None) -> list[str]:
    """What the index holds of a message. Each key has its chat's number, so that no search reads keys of other chats."""
    if content is None:
        return []
    return [f"{chat_pk}:{key}" for key in sorted(keys_of(content))]
