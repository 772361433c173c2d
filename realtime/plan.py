"""What a connection is to read, and from where: all that the user may, and what they missed if it can be told whole."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from sqlalchemy import Connection

from realtime.accounts import Accounts
from realtime.caller import Caller
from realtime.limits import Limits
from storage import chat, epoch, log, streams
from storage.database import Database
from storage.gather import Gather
from storage.types import is_id

STREAM = "stream:"


@dataclass(slots=True)
class Plan:
    """``(number, name, cursor)`` of each channel to read, and what could be recovered."""

    epoch: str
    recovered: dict[str, bool]
    channels: list[tuple[int, str, int]] = field(default_factory=list)


class Readable(NamedTuple):
    """A channel that a user may read from ``first`` on; the log has what is above ``floor``."""

    pk: int
    name: str
    head: int
    floor: int
    first: int


class Asked(NamedTuple):
    caller: Caller
    offsets: Mapping[str, int]
    epoch: str | None


class Plans:
    """Many connections' plans are made in one read: their users' states, heads and chats as of one moment."""

    def __init__(self, database: Database, accounts: Accounts, limits: Limits) -> None:
        self.accounts = accounts
        self.limits = limits
        self.gather: Gather[Asked, Plan | None] = Gather(database, self._make, snapshot=True)
        # More than any event has, so that a few need not be measured: a text may get eight times longer as JSON.
        self.longest = 8 * (limits.content + limits.metadata)

    async def of(self, caller: Caller, offsets: Mapping[str, int], epoch: str | None) -> Plan | None:
        """None for who may not connect any more."""
        return await self.gather.get(Asked(caller, offsets, epoch))

    def _make(self, connection: Connection, asked: Sequence[Asked]) -> list[Plan | None]:
        valid = self.accounts.valid(connection, [each.caller for each in asked])
        pks = {each.pk for each in valid}
        readable: dict[int, list[Readable]] = defaultdict(list)
        if pks:
            own = log.bounds(connection, pks)
            for caller in {each.pk: each for each in valid}.values():
                readable[caller.pk].append(Readable(caller.pk, f"user:{caller.user.id}", *own[caller.pk], 0))
            for user_pk, *row in chat.channels_of(connection, pks):
                readable[user_pk].append(Readable(*row))
            for user_pk, *row in streams.followed(connection, pks):
                readable[user_pk].append(of_stream(*row))
        now = epoch.current(connection)
        return [self._plan(connection, each, now, readable[each.caller.pk]) if each.caller in valid else None
                for each in asked]  # fmt: skip

    def _plan(self, connection: Connection, asked: Asked, now: str, readable: Sequence[Readable]) -> Plan:
        plan = Plan(now, dict.fromkeys(asked.offsets, False))
        same_history = asked.epoch == now
        events, size = self.limits.replay_events, self.limits.replay_bytes
        for each in [*readable, *self._named(connection, asked, readable)]:
            cursor, offset = each.head, asked.offsets.get(each.name)
            if offset is not None and same_history and max(each.first, each.floor) <= offset <= each.head:
                missed = each.head - offset
                bytes = missed * self.longest
                if missed <= events and bytes > size:
                    bytes = log.size(connection, each.pk, offset, each.head)
                if missed <= events and bytes <= size:
                    events, size, cursor = events - missed, size - bytes, offset
                    plan.recovered[each.name] = True
            plan.channels.append((each.pk, each.name, cursor))
        return plan

    def _named(self, connection: Connection, asked: Asked, readable: Sequence[Readable]) -> list[Readable]:
        """Streams that the client names, beside those that the user follows."""
        known = {each.name for each in readable}
        ids = {name.removeprefix(STREAM) for name in asked.offsets if name.startswith(STREAM) and name not in known}
        wanted = [id for id in ids if is_id(id)]
        most = self.limits.streams_watched
        return [of_stream(*row) for _, *row in streams.named(connection, asked.caller.pk, wanted)[:most]]


def of_stream(pk: int, id: str, head: int, floor: int) -> Readable:
    return Readable(pk, f"{STREAM}{id}", head, floor, 0)
