"""How fast newcomers are let in: by what they cost, the most urgent first, and with a time for those who are refused."""

import asyncio

from realtime.transport.admission import (
    BURST_SLICES,
    FIRST_COST_SECONDS,
    LATE_SECONDS,
    LEAST,
    MOST_SHARE,
    SHARE,
    SKIPPED_AT_MOST,
    SLICE_SECONDS,
    Admission,
    Step,
)

NEVER = 10**6


class Machine:
    """Its clock and its CPU, by hand."""

    def __init__(self) -> None:
        self.now = 100.0
        self.used = 0.0

    def admission(self, per_second: float = NEVER, longest_wait: float = NEVER) -> Admission:
        return Admission(per_second, longest_wait, cpu=lambda: self.used, clock=lambda: self.now)

    def pass_slice(self, admission: Admission, cost: float = 0.0, others: float = 0.0, late: float = 0.0) -> int:
        """A slice in which each step that was taken costs so much, and others a share of a core; how many are taken next."""
        seconds = SLICE_SECONDS + late
        self.now += seconds
        self.used += admission.steps_now * cost + others * seconds
        if admission.timer:
            admission.timer.cancel()
        before = len(admission.waiting)
        admission._begin_slice()
        return before - len(admission.waiting)


async def waiting(admission: Admission, *steps: Step) -> list["asyncio.Task[float]"]:
    tasks = [asyncio.create_task(admission.turn(step)) for step in steps]
    await asyncio.sleep(0)
    return tasks


async def end(admission: Admission, tasks: list["asyncio.Task[float]"]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    if admission.timer:
        admission.timer.cancel()


async def test_a_few_at_once_and_the_others_by_what_they_cost() -> None:
    machine = Machine()
    admission = machine.admission()
    machine.now += 10
    machine.used += 4
    tasks = await waiting(admission, *[Step.HANDSHAKE] * 1000)
    at_once = 1000 - len(admission.waiting)
    assert admission.share == SHARE
    assert at_once == int(BURST_SLICES * SHARE * SLICE_SECONDS / FIRST_COST_SECONDS) + 1
    cost = 0.01
    taken = [machine.pass_slice(admission, cost=cost, others=0.4) for _ in range(300)]
    settled = sum(taken[-100:]) / 100
    assert abs(settled * cost / SLICE_SECONDS - SHARE) < 0.2 * SHARE, "a share of a core, whatever others use"
    await end(admission, tasks)


async def test_newcomers_come_in_where_others_use_more_than_before() -> None:
    machine = Machine()
    admission = machine.admission()
    tasks = await waiting(admission, *[Step.HANDSHAKE] * 1000)
    for _ in range(int(1000 / LEAST)):
        machine.pass_slice(admission, cost=0.0005, others=0.9)
    assert not admission.waiting
    await end(admission, tasks)


async def test_what_others_use_is_not_the_newcomers_cost() -> None:
    machine = Machine()
    admission = machine.admission()
    # Nobody came for ten seconds.
    machine.now += 10
    machine.used += 5
    tasks = await waiting(admission, *[Step.HANDSHAKE] * 2000)
    assert admission.baseline == 0.5
    for _ in range(200):
        machine.pass_slice(admission, cost=0.0002, others=0.5)
    assert abs(admission.spent / admission.steps - 0.0002) < 0.00005
    await end(admission, tasks)


async def test_while_others_wait_newcomers_do() -> None:
    machine = Machine()
    admission = machine.admission()
    tasks = await waiting(admission, *[Step.HANDSHAKE] * 1000)
    machine.pass_slice(admission, cost=0.01)
    late = [machine.pass_slice(admission, cost=0.01, late=2 * LATE_SECONDS) for _ in range(SKIPPED_AT_MOST + 1)]
    assert late[:-1] == [0] * SKIPPED_AT_MOST and late[-1] > 0, "but not for ever"
    await end(admission, tasks)


async def test_who_is_half_in_comes_first_and_who_resumes_before_all() -> None:
    machine = Machine()
    admission = machine.admission()
    admission.credit = 0
    order: list[str] = []

    async def come(name: str, step: Step) -> None:
        await admission.turn(step)
        order.append(name)

    tasks = [
        asyncio.create_task(come(name, step))
        for name, step in (
            ("first", Step.HANDSHAKE), ("second", Step.HANDSHAKE), ("connects", Step.CONNECT), ("resumes", Step.RESUME)
        )
    ]  # fmt: skip
    await asyncio.sleep(0)
    while admission.waiting:
        admission.credit = 1
        admission.most = 1
        machine.pass_slice(admission)
        await asyncio.sleep(0)
    await asyncio.gather(*tasks)
    assert order == ["resumes", "connects", "first", "second"]
    await end(admission, [])


async def test_who_would_wait_too_long_is_told_how_long() -> None:
    machine = Machine()
    admission = machine.admission(per_second=50, longest_wait=1.0)
    tasks = await waiting(admission, *[Step.HANDSHAKE] * 200)
    refused = [task.result() for task in tasks if task.done() and task.result()]
    assert refused and all(1.0 < wait < 1.1 for wait in refused)
    assert abs(len(admission.waiting) - 100) <= BURST_SLICES, "two steps of each newcomer"
    (urgent,) = await waiting(admission, Step.RESUME)
    assert not urgent.done(), "who is half in waits, and is not refused"
    await end(admission, [*tasks, urgent])


async def test_no_faster_than_allowed() -> None:
    machine = Machine()
    admission = machine.admission(per_second=100)
    tasks = await waiting(admission, *[Step.HANDSHAKE] * 1000)
    taken = [machine.pass_slice(admission) for _ in range(round(1 / SLICE_SECONDS))]
    assert sum(taken) in (199, 200), "a hundred newcomers of two steps each in a second"
    await end(admission, tasks)


async def test_it_rests_when_nobody_comes() -> None:
    machine = Machine()
    admission = machine.admission()
    assert await admission.turn(Step.HANDSHAKE) == 0.0
    for _ in range(10):
        if admission.timer:
            machine.pass_slice(admission)
    assert admission.timer is None


async def test_however_much_one_costs_the_next_comes_in() -> None:
    machine = Machine()
    admission = machine.admission()
    for _ in range(3):
        tasks = await waiting(admission, Step.HANDSHAKE)
        while not tasks[0].done():
            assert admission.timer, "something lets them in"
            machine.pass_slice(admission, cost=10.0)
            await asyncio.sleep(0)
        for _ in range(100):
            machine.pass_slice(admission, cost=10.0)


async def test_a_trickle_is_not_billed_for_what_others_use() -> None:
    machine = Machine()
    admission = machine.admission()
    for _ in range(50):
        (task,) = await waiting(admission, Step.HANDSHAKE)
        assert task.done()
        for _ in range(10):
            if admission.timer:
                machine.pass_slice(admission, cost=0.0005, others=0.4)
        machine.now += 0.9
        machine.used += 0.4 * 0.9
    assert admission.spent / admission.steps < 4 * FIRST_COST_SECONDS
    if admission.timer:
        admission.timer.cancel()


async def test_where_others_use_little_newcomers_may_use_more() -> None:
    machine = Machine()
    admission = machine.admission()
    machine.now += 10
    machine.used += 1
    tasks = await waiting(admission, *[Step.HANDSHAKE] * 2000)
    assert abs(admission.share - (MOST_SHARE - 0.2)) < 1e-9
    cost = 0.01
    for _ in range(100):
        machine.pass_slice(admission, cost=cost, others=0.1)
    taken = [machine.pass_slice(admission, cost=cost, others=0.1) for _ in range(50)]
    assert abs(sum(taken) / 50 * cost / SLICE_SECONDS - admission.share) < 0.2 * admission.share
    await end(admission, tasks)
