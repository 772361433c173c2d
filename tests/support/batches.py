"""Calls whose commands are written together, so that what one has changed waits while the next one looks."""

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any

import pytest

from storage.database import Database
from storage.transaction import Command
from storage.writer import Outcome
from tests.conftest import eventually


async def in_one_batch(database: Database, calls: Sequence[Coroutine[Any, Any, Any]]) -> list[Any]:
    """Run calls that each write once, in this order; their answers, or the first error."""
    return (await one_batch(database, calls))[0]


async def one_batch(database: Database, calls: Sequence[Coroutine[Any, Any, Any]]) -> tuple[list[Any], int]:
    """The same, and how many round trips the batch took."""
    writer, submit, run = database.writer, database.writer.submit, database.writer.executor.run
    queued: dict[asyncio.Task[Any] | None, Command[Any]] = {}
    written: list[tuple[Sequence[Command[Any]], int]] = []
    refused: list[Exception] = []
    tasks: list[asyncio.Task[Any]] = []

    def submitting(command: Command[Any]) -> "asyncio.Future[Any]":
        if asyncio.current_task() in tasks:
            queued[asyncio.current_task()] = command
        return submit(command)

    async def running(commands: Sequence[Command[Any]]) -> Outcome:
        before = database.trips
        try:
            outcome = await run(commands)
        except Exception as error:
            refused.append(error)
            raise
        written.append((commands, database.trips - before))
        return outcome

    await writer.drain()
    # As if a batch were being committed.
    writer._task = asyncio.create_task(asyncio.Event().wait())  # type: ignore[arg-type]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(writer, "submit", submitting)
        patch.setattr(writer.executor, "run", running)
        for call in calls:
            tasks.append(asyncio.create_task(call))
            await eventually(lambda: tasks[-1] in queued)
        writer._task.cancel()
        writer._task = asyncio.create_task(writer._work())
        answers = await asyncio.gather(*tasks)
    # Others' commands may be in it, too.
    trips = [trips for batch, trips in written if all(each in batch for each in queued.values())]
    assert len(trips) == 1, refused
    return answers, trips[0]
