"""The proofs of conversations, small; ``python -m tests.faults.conversation`` and ``reactions`` are the long ones."""

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

from tests.faults import conversation, reactions
from tests.faults.installation import Installation
from tests.faults.prove import OF_CONVERSATION, OF_REACTIONS
from tests.support.process import ServerProcess


def only(found: dict[str, int], names: tuple[str, ...]) -> dict[str, int]:
    return {name: found[name] for name in names}


async def test_what_was_acknowledged_is_there_and_every_sum_is_right() -> None:
    found = await conversation.run(seconds=4, kills=1)
    assert only(found, OF_CONVERSATION) == dict.fromkeys(OF_CONVERSATION, 0)
    assert found["done"] > 0


async def test_the_same_over_two_nodes(tmp_path: Path, postgres_database: str) -> None:
    @contextlib.asynccontextmanager
    async def place() -> AsyncIterator[tuple[list[ServerProcess], str]]:
        async with Installation(tmp_path, postgres_database) as here:
            yield here.nodes, here.database_url

    found = await conversation.run(seconds=4, kills=1, place=place)
    assert only(found, OF_CONVERSATION) == dict.fromkeys(OF_CONVERSATION, 0)
    assert found["done"] > 0


async def test_a_storm_of_reactions() -> None:
    found = await reactions.run(users=100, messages=10, seconds=3, kills=1)
    assert only(found, OF_REACTIONS) == dict.fromkeys(OF_REACTIONS, 0)
    assert found["acknowledged"] > 0
