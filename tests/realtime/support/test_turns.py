"""The queue before costly work: in turn by key, bounded, and whole whatever is cancelled."""

import asyncio
from collections.abc import Hashable

import pytest

from realtime.support.turns import Turns
from storage.errors import Unavailable


class Work:
    """What runs, in its order; each until it is let go."""

    def __init__(self, turns: Turns) -> None:
        self.turns = turns
        self.began: list[Hashable] = []
        self.gates: list[asyncio.Event] = []

    async def do(self, asked: Hashable) -> None:
        """For a key, or a group and a key."""
        group, key = asked if isinstance(asked, tuple) else (None, asked)
        async with self.turns.turn(key, group):
            gate = asyncio.Event()
            self.began.append(key)
            self.gates.append(gate)
            await gate.wait()

    async def begin(self, *keys: Hashable) -> list["asyncio.Task[None]"]:
        tasks = [asyncio.create_task(self.do(key)) for key in keys]
        await settle()
        return tasks

    async def end(self, number: int) -> None:
        self.gates[number].set()
        await settle()


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_keys_come_in_turn() -> None:
    work = Work(Turns(1, per_key=10, waiting=10))
    await work.begin("a", "a", "a", "a", "b", "b", "c")
    for number in range(7):
        await work.end(number)
    assert work.began == ["a", "a", "b", "c", "a", "b", "a"]
    assert (work.turns.running, work.turns.waiting, len(work.turns.groups)) == (0, 0, 0)


async def test_groups_come_in_turn_and_their_keys_in_each() -> None:
    work = Work(Turns(1, per_key=10, waiting=20))
    await work.begin(("A", "a"), *[("A", "a")] * 2, *[("A", "b")] * 2, *[("B", "c")] * 3)
    for number in range(8):
        await work.end(number)
    assert work.began == ["a", "a", "c", "b", "c", "a", "c", "b"]
    assert (work.turns.running, work.turns.waiting, len(work.turns.groups)) == (0, 0, 0)


async def test_a_group_may_take_half_of_the_queue() -> None:
    turns = Turns(1, per_key=10, waiting=4)
    work = Work(turns)
    await work.begin(("A", "a"), ("A", "b"), ("A", "c"))
    with pytest.raises(Unavailable):
        await work.do(("A", "d"))
    await work.begin(("B", "e"))
    for number in range(4):
        await work.end(number)
    assert work.began == ["a", "b", "e", "c"] and turns.running == 0


async def test_so_many_at_a_time() -> None:
    work = Work(Turns(2, per_key=10, waiting=10))
    await work.begin(*"abcd")
    assert work.began == ["a", "b"] and work.turns.waiting == 2
    await work.end(1)
    assert work.began == ["a", "b", "c"]
    await work.end(0)
    await work.end(2)
    assert work.began == ["a", "b", "c", "d"] and work.turns.running == 1


async def test_who_would_wait_too_long_is_refused_at_once() -> None:
    turns = Turns(1, per_key=2, waiting=3)
    work = Work(turns)
    await work.begin("a", "a", "a")
    with pytest.raises(Unavailable):
        await work.do("a")
    await work.begin("b")
    with pytest.raises(Unavailable):
        await work.do("c")
    await work.end(0)
    await work.begin("c")
    for number in range(1, 5):
        await work.end(number)
    assert work.began == ["a", "a", "b", "a", "c"] and turns.running == 0


async def test_what_is_cancelled_leaves_its_place() -> None:
    turns = Turns(1, per_key=10, waiting=10)
    work = Work(turns)
    first, second, third, fourth = await work.begin("a", "b", "b", "c")
    second.cancel()
    await settle()
    assert turns.waiting == 2
    work.gates[0].set()
    # Its turn comes, and it is cancelled before it goes on.
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    third.cancel()
    await settle()
    assert work.began[-1] == "c"
    await work.end(len(work.gates) - 1)
    await asyncio.gather(first, fourth)
    assert (turns.running, turns.waiting, len(turns.groups)) == (0, 0, 0)


async def test_whoever_is_cancelled_when_a_place_is_free_gives_it_to_the_next() -> None:
    turns = Turns(1, per_key=10, waiting=10)
    work = Work(turns)
    first, second, third = await work.begin("a", "b", "c")
    second.cancel()
    # Before the loop has told it.
    turns._next()
    await settle()
    assert work.began == ["a", "c"] and (turns.running, turns.waiting) == (1, 0)
    await work.end(1)
    assert (turns.running, turns.waiting, len(turns.groups)) == (0, 0, 0)
    first.cancel()
    await asyncio.gather(first, second, third, return_exceptions=True)


async def test_what_fails_leaves_its_place() -> None:
    turns = Turns(1, per_key=1, waiting=1)
    for _ in range(3):
        with pytest.raises(ZeroDivisionError):
            async with turns.turn("a"):
                raise ZeroDivisionError
    assert turns.running == 0
