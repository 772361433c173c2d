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
    writer, submit, run = database.writer, database.writer.submit, database.writer.executor.run
    queued: dict[asyncio.Task[Any] | None, Command[Any]] = {}
    written: list[Sequence[Command[Any]]] = []

    def submitting(command: Command[Any]) -> "asyncio.Future[Any]":
        queued[asyncio.current_task()] = command
        return submit(command)

    async def running(commands: Sequence[Command[Any]]) -> Outcome:
        outcome = await run(commands)
        written.append(commands)
        return outcome

    await writer.drain()
    # As if a batch were being committed.
    writer._task = asyncio.create_task(asyncio.Event().wait())  # type: ignore[arg-type]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(writer, "submit", submitting)
        patch.setattr(writer.executor, "run", running)
        tasks = []
        for call in calls:
            tasks.append(asyncio.create_task(call))
            await eventually(lambda: tasks[-1] in queued)
        writer._task.cancel()
        writer._task = asyncio.create_task(writer._work())
        answers = await asyncio.gather(*tasks)
    assert any(all(each in batch for each in queued.values()) for batch in written), "written one by one"
    return answers
