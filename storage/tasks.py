"""Background tasks, referenced while they run so that they are not garbage collected."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class Tasks:
    def __init__(self) -> None:
        self.running: set[asyncio.Task[Any]] = set()

    def spawn(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        task = asyncio.create_task(work)
        self.running.add(task)
        task.add_done_callback(self.running.discard)
        return task

    async def finish(self, seconds: float = 10) -> None:
        """Wait until all have ended, and cancel what has not in time."""
        deadline = asyncio.get_running_loop().time() + seconds
        while self.running:
            left = deadline - asyncio.get_running_loop().time()
            _, late = await asyncio.wait(self.running, timeout=max(left, 0))
            for task in late:
                task.cancel()
