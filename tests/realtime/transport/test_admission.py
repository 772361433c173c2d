"""At which rate new sockets are let in."""

import asyncio

import pytest

from realtime.transport.admission import Admission


async def test_a_burst_then_a_steady_rate_then_refusals(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []

    async def pause(seconds: float) -> None:
        pauses.append(round(seconds, 6))

    monkeypatch.setattr(asyncio, "sleep", pause)
    loop = asyncio.get_running_loop()
    monkeypatch.setattr(loop, "time", lambda: 100.0)
    admission = Admission(per_second=10, longest_wait=0.5)
    assert [await admission.turn() for _ in range(8)] == [True] * 6 + [False] * 2
    assert pauses == [0.1, 0.2, 0.3, 0.4, 0.5], "the first of them at once"
    monkeypatch.setattr(loop, "time", lambda: 101.0)
    assert await admission.turn(), "who is refused takes nobody's place"
    assert len(pauses) == 5
