"""Pages of history: the newest messages, those before or after a seq, and those around one."""

from collections.abc import Callable
from typing import NamedTuple

from storage.messages import Message

# ``storage.messages.history``, with all but these given.
ReadMessages = Callable[..., list[Message]]


class HistoryPage(NamedTuple):
    """Messages ascending by seq, and whether there are older and newer ones."""

    items: list[Message]
    older: bool
    newer: bool


def page_of(read: ReadMessages, *, before: int | None, after: int | None, limit: int) -> HistoryPage:
    found = read(before=before, after=after, limit=limit + 1)
    forward = after is not None and before is None
    more = len(found) > limit
    items = (found[:limit] if forward else found[-limit:]) if more else found
    older = (forward and after is not None and after > 0) or (more and not forward)
    return HistoryPage(items, older, (more and forward) or before is not None)


def page_around(read: ReadMessages, seq: int, *, limit: int) -> HistoryPage:
    """Half of it is up to and with a seq."""
    older = page_of(read, before=seq + 1, after=None, limit=(limit + 1) // 2)
    newer = page_of(read, before=None, after=seq, limit=limit - len(older.items))
    return HistoryPage([*older.items, *newer.items], older.older, newer.newer)
