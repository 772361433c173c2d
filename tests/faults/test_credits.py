"""Credits under attack, small; ``python -m tests.faults.credits`` is the whole."""

from pathlib import Path

from tests.faults import credits


async def test_credits_add_up_through_kills(database_url: str, tmp_path: Path) -> None:
    url = database_url if database_url.startswith("postgresql") else ""
    found = await credits.run(tmp_path, keys=150, kills=3, database_url=url)
    nothing = (
        "snapshots_that_do_not_add_up", "audit", "balances_not_as_answered", "keys_with_two_effects",
        "keys_with_another_effect_than_answered", "keys_with_two_answers", "transfers_without_message", "tracebacks",
    )  # fmt: skip
    assert {name: found[name] for name in nothing} == dict.fromkeys(nothing, 0), found
    assert found["total"] == credits.ACCOUNTS * credits.GRANTED and found["other_statuses"] == []
    assert found["accepted"] > 50 and found["snapshots"] >= credits.SNAPSHOTS
