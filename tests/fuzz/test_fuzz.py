"""A short run of the fuzzer; the long one is ``make fuzz``."""

from tests.fuzz import frames


async def test_mutated_frames_break_nothing() -> None:
    told = await frames.run(4000, seed=20261122)
    assert {name: told[name] for name in ("dead", "tracebacks", "errors", "sockets_left")} == {
        "dead": 0, "tracebacks": 0, "errors": 0, "sockets_left": 0,
    }  # fmt: skip
    assert told["closed_by_server"] > 0 and told["frames"] == 4000
