"""A short run of schemathesis; the long one is ``make fuzz``."""

from tests.fuzz import api


async def test_made_up_requests_break_nothing() -> None:
    told = await api.run(3, seed=20261122, phases="examples,fuzzing")
    assert {name: told[name] for name in ("dead", "errors_5xx", "tracebacks", "failures", "errors")} == {
        "dead": 0, "errors_5xx": 0, "tracebacks": 0, "failures": 0, "errors": 0,
    }, told["said"]  # fmt: skip
    assert told["operations_tested"] == told["operations"] > 100 and told["answers"]["200"] > 20
