"""The proof of conversations, small; ``python -m tests.faults.conversation`` is the long one."""

import pytest

from tests.faults import conversation, reactions
from tests.faults.prove import OF_CONVERSATION, OF_REACTIONS


@pytest.mark.parametrize("postgres", [False, True])
async def test_what_was_acknowledged_is_there_and_every_sum_is_right(postgres: bool) -> None:
    found = await conversation.run(seconds=4, kills=1, postgres=postgres)
    assert {name: found[name] for name in OF_CONVERSATION} == dict.fromkeys(OF_CONVERSATION, 0)
    assert found["done"] > 0


async def test_a_storm_of_reactions() -> None:
    found = await reactions.run(users=100, messages=10, seconds=3, kills=1)
    assert {name: found[name] for name in OF_REACTIONS} == dict.fromkeys(OF_REACTIONS, 0)
    assert found["acknowledged"] >= 200
