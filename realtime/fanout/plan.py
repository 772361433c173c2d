"""What a connection is to read, and from where: all that the user may, and what they missed if it can be replayed whole."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from sqlalchemy import Connection

from realtime.schema.caller import Caller
from realtime.schema.limits import Limits
from realtime.schema.revocation import reads_of_valid, valid_callers
from storage import chat, epoch, log, streams
from storage.batcher import Batcher
from storage.database import Database
from storage.fetch import fetch
from storage.prepared import json_list
from storage.statements import Read
from storage.types import is_id

STREAM = "stream:"


@dataclass(slots=True)
class ResumePlan:
    """``(number, name, cursor, joined_seq)`` of each channel to read, what could be recovered, and its number of events."""

    epoch: str
    recovered: dict[str, bool]
    channels: list[tuple[int, str, int, int]]
    events: int


class Readable(NamedTuple):
    """A channel that a user may read from ``first`` on; the log has what is above ``floor``."""

    pk: int
    name: str
    head: int
    floor: int
    first: int


class ResumeRequest(NamedTuple):
    caller: Caller
    offsets: Mapping[str, int]
    epoch: str | None


class Missed(NamedTuple):
    """How many events a client lacks of a channel that it has up to ``offset``."""

    pk: int
    offset: int
    events: int


class Plans:
    """Many connections' plans are made in one read: their users' states, heads and chats as of one moment."""

    def __init__(self, database: Database, limits: Limits) -> None:
        self.limits = limits
        self.batcher: Batcher[ResumeRequest, ResumePlan | None] = Batcher(database, self._make, snapshot=True)
        # More bytes than any event has, so that a few need not be measured: a text may get eight times longer as JSON.
        self.largest_event_bytes = 8 * (limits.content + limits.metadata)

    async def of(self, caller: Caller, offsets: Mapping[str, int], epoch: str | None) -> ResumePlan | None:
        """None for who may not connect any more."""
        return await self.batcher.get(ResumeRequest(caller, offsets, epoch))

    def _make(self, connection: Connection, asked: Sequence[ResumeRequest]) -> list[ResumePlan | None]:
        callers = [each.caller for each in asked]
        pks = {"pks": json_list({each.pk for each in callers})}
        looks: list[Read] = [(log.BOUNDS, pks), (chat.READABLE, pks), (streams.FOLLOWED, pks), (epoch.CURRENT, {})]
        users, living, own, chats, followed, epochs = fetch(connection, *reads_of_valid(callers), *looks)
        valid = valid_callers(callers, users, living)
        readable: dict[int, list[Readable]] = defaultdict(list)
        names = {each.pk: f"user:{each.user.id}" for each in callers}
        for pk, head, floor in own:
            readable[pk].append(Readable(pk, names[pk], head, floor, 0))
        for user_pk, *row in chats:
            readable[user_pk].append(Readable(*row))
        for user_pk, *row in followed:
            readable[user_pk].append(of_stream(*row))
        now = epochs[0][0]
        named = self._named(connection, asked, readable)
        read = [
            [*readable[each.caller.pk], *others] if each.caller in valid else []
            for each, others in zip(asked, named, strict=True)
        ]
        missed = [
            self._missed(each.offsets, channels) if each.epoch == now else {}
            for each, channels in zip(asked, read, strict=True)
        ]
        long = [each for some in missed if self._is_long(some) for each in some.values() if each.events]
        sizes = log.sizes(connection, {each[:2] for each in long})
        return [
            self._plan(now, each, channels, some, self._fitting(some, sizes)) if each.caller in valid else None
            for each, channels, some in zip(asked, read, missed, strict=True)
        ]

    def _missed(self, offsets: Mapping[str, int], readable: Sequence[Readable]) -> dict[str, Missed]:
        """What the log still has of what a client missed, up to as many events as are replayed."""
        missed, left = {}, self.limits.replay_events
        for each in readable:
            offset = offsets.get(each.name)
            if offset is not None and max(each.first, each.floor) <= offset <= each.head <= offset + left:
                missed[each.name] = Missed(each.pk, offset, each.head - offset)
                left -= each.head - offset
        return missed

    def _is_long(self, missed: Mapping[str, Missed]) -> bool:
        return sum(each.events for each in missed.values()) * self.largest_event_bytes > self.limits.replay_bytes

    def _fitting(self, missed: Mapping[str, Missed], sizes: Mapping[tuple[int, int], int]) -> Collection[str]:
        """The names of those that can be replayed together."""
        if not self._is_long(missed):
            return missed
        fitting, left = set(), self.limits.replay_bytes
        for name, each in missed.items():
            size = sizes.get(each[:2], 0)
            if size <= left:
                fitting.add(name)
                left -= size
        return fitting

    def _plan(
        self,
        now: str,
        asked: ResumeRequest,
        readable: Sequence[Readable],
        missed: Mapping[str, Missed],
        whole: Collection[str],
    ) -> ResumePlan:
        recovered = dict.fromkeys(asked.offsets, False) | dict.fromkeys(whole, True)
        cursors = [asked.offsets[each.name] if each.name in whole else each.head for each in readable]
        return ResumePlan(
            now,
            recovered,
            [(each.pk, each.name, cursor, each.first) for each, cursor in zip(readable, cursors, strict=True)],
            sum(missed[name].events for name in whole),
        )

    def _named(
        self, connection: Connection, asked: Sequence[ResumeRequest], readable: Mapping[int, Sequence[Readable]]
    ) -> list[list[Readable]]:
        """For each client the streams that it names, beside those that the user follows."""
        wanted: list[set[tuple[int, str]]] = []
        for each in asked:
            known = {followed.name for followed in readable.get(each.caller.pk, ())}
            ids = {name.removeprefix(STREAM) for name in each.offsets if name.startswith(STREAM) and name not in known}
            wanted.append({(each.caller.pk, id) for id in ids if is_id(id)})
        found = {
            (user_pk, id): of_stream(pk, id, head, floor)
            for user_pk, pk, id, head, floor in streams.named(connection, set().union(*wanted))
        }
        most = self.limits.streams_watched
        return [
            sorted((found[place] for place in some if place in found), key=lambda stream: -stream.pk)[:most]
            for some in wanted
        ]


def of_stream(pk: int, id: str, head: int, floor: int) -> Readable:
    return Readable(pk, f"{STREAM}{id}", head, floor, 0)
