"""Reads that are asked for at the same time are one read."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from storage.batcher import Batcher
from storage.errors import NotFound, Unavailable


class Reads:
    """A database whose reads are counted; the first waits until it is let go."""

    def __init__(self) -> None:
        self.asked: list[list[int]] = []
        self.first = asyncio.Event()
        self.broken: type[Exception] | None = None

    async def read(self, query: Any, snapshot: bool = False) -> Any:
        await self.first.wait()
        return query(None)

    def look(self, _: Any, items: Sequence[int]) -> list[int | Exception]:
        self.asked.append(list(items))
        if self.broken and len(items) > 1:
            raise self.broken
        return [NotFound() if item < 0 else item * 10 for item in items]


async def test_what_is_asked_meanwhile_is_read_together() -> None:
    reads = Reads()
    batcher: Batcher[int, int] = Batcher(reads, reads.look, most=3)  # type: ignore[arg-type]
    asked = [asyncio.create_task(batcher.get(number)) for number in range(7)]
    await asyncio.sleep(0)
    reads.first.set()
    assert await asyncio.gather(*asked) == [0, 10, 20, 30, 40, 50, 60]
    assert reads.asked == [[0, 1, 2], [3, 4, 5], [6]] and batcher.task is None


async def test_an_error_of_one_item_is_its_own() -> None:
    reads = Reads()
    reads.first.set()
    batcher: Batcher[int, int] = Batcher(reads, reads.look)  # type: ignore[arg-type]
    answers = await asyncio.gather(*(batcher.get(number) for number in (1, -1, 2)), return_exceptions=True)
    assert answers[0] == 10 and isinstance(answers[1], NotFound) and answers[2] == 20


async def test_a_read_that_fails_together_is_tried_one_by_one() -> None:
    reads = Reads()
    reads.first.set()
    reads.broken = ValueError
    batcher: Batcher[int, int] = Batcher(reads, reads.look)  # type: ignore[arg-type]
    assert await asyncio.gather(*(batcher.get(number) for number in (1, 2))) == [10, 20]
    assert reads.asked == [[1, 2], [1], [2]]


async def test_a_database_that_is_unreachable_is_not_asked_for_each() -> None:
    reads = Reads()
    reads.first.set()
    reads.broken = Unavailable
    batcher: Batcher[int, int] = Batcher(reads, reads.look)  # type: ignore[arg-type]
    answers = await asyncio.gather(*(batcher.get(number) for number in (1, 2)), return_exceptions=True)
    assert all(isinstance(each, Unavailable) for each in answers) and reads.asked == [[1, 2]]


async def test_who_does_not_wait_any_more_is_left_out() -> None:
    reads = Reads()
    batcher: Batcher[int, int] = Batcher(reads, reads.look, most=1)  # type: ignore[arg-type]
    first, gone, last = (asyncio.create_task(batcher.get(number)) for number in range(3))
    await asyncio.sleep(0)
    gone.cancel()
    with pytest.raises(asyncio.CancelledError):
        await gone
    reads.first.set()
    assert await first == 0 and await last == 20 and reads.asked == [[0], [2]]
