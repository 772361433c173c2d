"""Deletes the messages of banned users, newest first, one slice per transaction; it resumes after a crash."""

from functools import partial

from realtime.due import DueWork
from realtime.tombstones import make_tombstone, reads_of_tombstone
from storage import due, messages, purges
from storage.database import Database
from storage.messages import MessagePlace
from storage.purges import Deletion, Purge, PurgeSlice
from storage.statements import Read
from storage.transaction import Command, Tx
from storage.types import SECOND

DUE = "purges"
SECONDS = {"hour": 3600, "day": 24 * 3600}


class Purges:
    def __init__(self, database: Database, due_work: DueWork) -> None:
        self.database = database
        self.due_work = due_work
        due_work.add(DUE, self.work, in_time=True)

    def schedule(self, tx: Tx, chat_pk: int, user_pk: int, deletion: Deletion) -> int | None:
        """Delete a user's messages of the last hour or day, or all; the number for ``begin`` once it is committed."""
        if deletion == "none":
            return None
        since = 0 if deletion == "all" else tx.now - SECONDS[deletion] * SECOND
        pk = purges.add(tx, chat_pk, user_pk, since)
        due.schedule(tx, DUE, pk, tx.now)
        return pk

    def begin(self, pk: int) -> None:
        self.due_work.soon(DUE, pk, 0)

    async def work(self, pk: int) -> None:
        """Delete a slice. Two processes may work on one purge: a deleted message is skipped."""
        purge = await self.database.read(lambda connection: purges.find(connection, pk))
        if purge is None:
            await self.database.write(Command(lambda tx: due.end(tx, DUE, pk)))
            return
        found = await self.database.read(partial(purges.next_slice, purge=purge))
        reads = [read for place in found.places for read in reads_of(place)]
        apply = partial(delete_slice, purge=purge, found=found)
        await self.database.write(Command(apply, channels=[purge.chat_pk], reads=lambda: reads))
        if found.before_seq:
            self.due_work.soon(DUE, pk, 0)


def reads_of(place: MessagePlace) -> list[Read]:
    return [*messages.reads_of_get(place), *reads_of_tombstone(place)]


def delete_slice(tx: Tx, purge: Purge, found: PurgeSlice) -> None:
    for place in found.places:
        item = messages.get(tx, place.chat_pk, place.seq)
        if item is not None and item.deleted_at is None:
            make_tombstone(tx, item)
    if found.before_seq:
        purges.set_progress(tx, purge.pk, found.before_seq)
        # Postponed, so that no other process starts it while this one continues.
        due.schedule(tx, DUE, purge.pk, tx.now)
    else:
        purges.end(tx, purge.pk)
        due.end(tx, DUE, purge.pk)
