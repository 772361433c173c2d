"""What a load asked for and what it was told, and the checker that holds it against the database.

Every operation ends as ``ok``, ``failed`` (for sure nothing was done) or ``unknown``; what is unknown may be there or not,
but never twice.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import Connection, select

from storage.models import channels, events, messages

Outcome = Literal["ok", "failed", "unknown"]


@dataclass(slots=True)
class Operation:
    """A message that was sent; its key is its text too."""

    key: str
    chat: str
    outcome: Outcome = "unknown"
    document: Any = None


@dataclass(frozen=True, slots=True)
class Stored:
    """The messages by their text, and the ids in each channel's log by seq."""

    messages: dict[str, list[tuple[str, int]]]
    logs: dict[str, dict[int, str | None]]
    heads: dict[str, int]


def read(connection: Connection) -> Stored:
    found: dict[str, list[tuple[str, int]]] = {}
    for row in connection.execute(select(messages.c.content, messages.c.id, messages.c.seq)):
        found.setdefault(row.content, []).append((row.id, row.seq))
    names = {row.pk: row.name for row in connection.execute(select(channels.c.pk, channels.c.name))}
    ids: dict[tuple[int, int], str] = {
        (row.chat_pk, row.seq): row.id
        for row in connection.execute(select(messages.c.chat_pk, messages.c.seq, messages.c.id))
    }
    logs: dict[str, dict[int, str | None]] = {}
    for event in connection.execute(select(events.c.channel_pk, events.c.seq)):
        logs.setdefault(names[event.channel_pk], {})[event.seq] = ids.get((event.channel_pk, event.seq))
    heads = {row.name: row.head for row in connection.execute(select(channels.c.name, channels.c.head))}
    return Stored(found, logs, heads)


def check(
    operations: Iterable[Operation], stored: Stored, seen: Iterable[Mapping[str, Mapping[int, str | None]]]
) -> dict[str, int]:
    """How much went wrong; ``seen`` are the ids that each reader got, by channel and seq."""
    all_of_them = list(operations)
    outcomes = Counter(each.outcome for each in all_of_them)
    ok = [each for each in all_of_them if each.outcome == "ok"]
    there = {each.key: stored.messages.get(each.key, []) for each in all_of_them}
    phantoms = sum(
        stored.logs.get(channel, {}).get(seq, "nothing") != id
        for reader in seen
        for channel, by_seq in reader.items()
        for seq, id in by_seq.items()
        if id is not None
    )
    return {
        "ok": outcomes["ok"],
        "failed": outcomes["failed"],
        "unknown": outcomes["unknown"],
        "lost": sum((each.document["_id"], each.document["seq"]) not in there[each.key] for each in ok),
        "duplicate": sum(len(found) > 1 for found in there.values()),
        "ghost": sum(each.outcome == "failed" and bool(there[each.key]) for each in all_of_them),
        "gap": sum(
            sorted(stored.logs.get(channel, {})) != list(range(1, head + 1)) for channel, head in stored.heads.items()
        ),
        "phantom": phantoms,
    }
