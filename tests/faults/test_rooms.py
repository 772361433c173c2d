"""The proof of rooms, small; ``python -m tests.faults.rooms`` is the long one."""

from tests.faults import rooms


async def test_every_viewer_has_every_event_once() -> None:
    found = await rooms.run(viewers=30, messages=60, rate=30, kills=1)
    assert (found["faults"], found["behind"]) == (0, 0), found
    assert found["events"] == 60 and found["connections"] > 60
