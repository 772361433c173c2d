"""An index of the words of messages. It may lag behind the messages, and may be lost and rebuilt.

Its results are candidates: a search reads the messages again. Implemented in ``search_index_sqlite.py`` and
``search_index_postgres.py``.
"""

from collections.abc import Collection, Sequence
from typing import NamedTuple, Protocol

from storage.search import IndexPosition
from storage.words import Key, keys_of

# Approximate number of messages that are indexed in one transaction.
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
    # Whether other processes write it too.
    is_shared: bool
    # How many times it was rebuilt since the process started.
    generation: int

    async def find(self, wanted: Sequence[SearchRange], keys: Sequence[Key], *, most: int) -> list[IndexMatches]:
        """For each chat the messages that have all keys, at most ``most``."""
        ...

    async def update(self, chat_pks: Collection[int]) -> set[int]:
        """Index a slice of the messages of these chats; returns the chats that are still behind."""
        ...

    async def unindexed_chats(self) -> set[int]:
        """Chats that are behind, and deleted chats that are still indexed."""
        ...

    async def compact(self, *, before: int) -> bool:
        """Erase the words of texts that were removed before a time (microseconds); whether there were any."""
        ...

    async def rebuild(self) -> None:
        """Index everything again."""
        ...

    async def close(self) -> None: ...


def keys_of_message(chat_pk: int, content: str | None) -> list[str]:
    """The keys of a message. Each begins with the number of its chat, so that a search reads no keys of other chats."""
    if content is None:
        return []
    return [f"{chat_pk}:{key}" for key in sorted(keys_of(content))]
