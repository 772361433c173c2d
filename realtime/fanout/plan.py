"""What a connection is to read, and from where: all that the user may, and what they missed if it can be replayed whole."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from sqlalchemy import Connection

from realtime.schema.caller import Caller
from realtime.schema.limits import Limits
from realtime.schema.revocation import reads_of_valid, valid_callers
from storage import chat, epoch, log, rooms, streams
from storage.batcher import Batcher
from storage.database import Database
from storage.fetch import fetch
from storage.prepared import json_list
from storage.statements import Read
from storage.types import is_id

GATHER_SECONDS = 0.02
STREAM, CHAT = "stream:", "chat:"


@dataclass(slots=True)
class ResumePlan:
    """``(number, name, cursor, joined_seq)`` of each channel to read, what could be recovered, and its number of events.

    ``rooms`` are those among the channels that the connection watches.
    """

    epoch: str
    recovered: dict[str, bool]
    channels: list[tuple[int, str, int, int]]
    events: int
    rooms: Sequence["ResumedRoom"]


class ResumedRoom(NamedTuple):
    """A room by its number, and the stream whose chat it is, if any: number, id, and how many watched it at most."""

    pk: int
    stream: tuple[int, str, int] | None


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
        self.batcher: Batcher[ResumeRequest, ResumePlan | None] = Batcher(
            database, self._make, snapshot=True, gather_seconds=GATHER_SECONDS
        )
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
            [*readable[each.caller.pk], *others.channels] if each.caller in valid else []
            for each, others in zip(asked, named, strict=True)
        ]
        missed = [
            self._missed(each.offsets, channels) if each.epoch == now else {}
            for each, channels in zip(asked, read, strict=True)
        ]
        long = [each for some in missed if self._is_long(some) for each in some.values() if each.events]
        sizes = log.sizes(connection, {each[:2] for each in long})
        return [
            self._plan(now, each, channels, others.rooms, some, self._fitting(some, sizes))
            if each.caller in valid
            else None
            for each, channels, others, some in zip(asked, read, named, missed, strict=True)
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
        rooms: Sequence[ResumedRoom],
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
            rooms,
        )

    def _named(
        self, connection: Connection, asked: Sequence[ResumeRequest], readable: Mapping[int, Sequence[Readable]]
    ) -> list["NamedChannels"]:
        """For each client the streams and rooms that it names, beside what its user reads in any case."""
        known = [{channel.name: channel for channel in readable.get(each.caller.pk, ())} for each in asked]
        wanted = [
            {(each.caller.pk, name) for name in each.offsets if name not in names}
            for each, names in zip(asked, known, strict=True)
        ]
        every = set().union(*wanted)
        found_streams = {
            (user_pk, f"{STREAM}{id}"): of_stream(pk, id, head, floor)
            for user_pk, pk, id, head, floor in streams.named(connection, ids_of(every, STREAM))
        }
        found_rooms = {
            (user_pk, f"{CHAT}{id}"): NamedRoom.of(pk, id, head, floor, stream)
            for user_pk, pk, id, head, floor, *stream in rooms.named(connection, ids_of(every, CHAT))
        }
        return [
            self._named_by_one(
                names,
                [found_streams[place] for place in some if place in found_streams],
                [found_rooms[place] for place in some if place in found_rooms],
            )
            for names, some in zip(known, wanted, strict=True)
        ]

    def _named_by_one(
        self, known: Collection[str], some_streams: Sequence[Readable], some_rooms: Sequence["NamedRoom"]
    ) -> "NamedChannels":
        """The newest, up to the limits of a socket; with a room comes the stream whose chat it is."""
        kept = sorted(some_streams, key=lambda each: -each.pk)[: self.limits.streams_watched]
        watched = sorted(some_rooms, key=lambda each: -each.channel.pk)[: self.limits.rooms_watched]
        names = {*known, *(each.name for each in kept)}
        also = [each.stream for each in watched if each.stream and each.stream.name not in names]
        channels = [*kept, *also, *(each.channel for each in watched)]
        return NamedChannels(channels, [each.resumed for each in watched])


class NamedRoom(NamedTuple):
    """A room's channel, and that of the stream whose chat it is, if any."""

    channel: Readable
    stream: Readable | None
    resumed: ResumedRoom

    @classmethod
    def of(cls, pk: int, id: str, head: int, floor: int, stream: Sequence[Any]) -> "NamedRoom":
        """``stream`` is its ``(pk, id, head, floor, peak)``, or nulls."""
        channel = Readable(pk, f"{CHAT}{id}", head, floor, 0)
        stream_pk, stream_id, stream_head, stream_floor, peak = stream
        if stream_pk is None:
            return cls(channel, None, ResumedRoom(pk, None))
        also = of_stream(stream_pk, stream_id, stream_head, stream_floor)
        return cls(channel, also, ResumedRoom(pk, (stream_pk, stream_id, peak)))


class NamedChannels(NamedTuple):
    channels: Sequence[Readable]
    rooms: Sequence[ResumedRoom]


def ids_of(places: Collection[tuple[int, str]], kind: str) -> list[tuple[int, str]]:
    """``(user_pk, id)`` of the channels of this kind whose names have an id."""
    ids = [(user_pk, name.removeprefix(kind)) for user_pk, name in places if name.startswith(kind)]
    return [(user_pk, id) for user_pk, id in ids if is_id(id)]


def of_stream(pk: int, id: str, head: int, floor: int) -> Readable:
    return Readable(pk, f"{STREAM}{id}", head, floor, 0)
