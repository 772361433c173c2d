"""A short run against bad readers; the long one is ``python -m tests.faults.readers``."""

from tests.faults import readers


async def test_bad_readers_are_disconnected_and_others_are_not_affected() -> None:
    told = await readers.run(bad=2, good=5, rate=200, seconds=16)
    assert {name: told[name] for name in ("bad_left", "tracebacks", "cut")} == {
        "bad_left": 0,
        "tracebacks": 0,
        "cut": 4,
    }
    assert max(told[f"{name}_more"] for name in ("tasks", "sockets", "descriptors")) <= 0
    assert told["heard_among"] == 5 * 200 * 16
