"""A short piece of the proofs of push providers, with a server that is killed: see ``tests/faults/prove.py``."""

from typing import Any

import pytest

from tests.faults import providers, screens
from tests.faults.prove import ROWS, broken


@pytest.mark.parametrize(
    ("provider", "fault"), [("fcm", "registered anew meanwhile"), ("webpush", "410 in the first minute")]
)
async def test_a_provider_with_a_fault(provider: str, fault: str) -> None:
    told = await providers.run(provider=provider, messages=40, faults=[fault])
    # How long others take is measured in the whole proof.
    wrong = broken(ROWS["g android"], told | {"elsewhere_slower": 0})
    assert not wrong and told["kills"] == 1, told


async def test_streams_on_screens() -> None:
    told: dict[str, Any] = await screens.run(faults=["opened and never answered"], moments=["cancelled"])
    assert not broken(ROWS["g screens"], told) and told["kills"] == 2, told
