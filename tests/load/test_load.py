"""The load tester itself, small: it runs, and counts right."""

import asyncio
import json
import sys

from tests.conftest import Served
from tests.load import push
from tests.load.figures import Order


async def test_pairs(server: Served) -> None:
    operator = await server.people.make(grant=["users.manage"])
    assert operator.token
    command = [sys.executable, "-m", "tests.load", "pairs", "--url", server.url, "--token", operator.token]
    process = await asyncio.create_subprocess_exec(
        *command, "--clients", "4", "--messages", "5", stdout=asyncio.subprocess.PIPE
    )
    output, _ = await process.communicate()
    assert process.returncode == 0
    figures = json.loads(output)
    assert figures["acked"] == 20 and figures["acked_per_second"] > 0
    assert [figures[name] for name in ("refused", "lost", "doubled", "disordered")] == [0, 0, 0, 0]


def test_what_it_counts() -> None:
    order = Order()
    for seq in (1, 2, 2, 5, 4, 6):
        order.saw("reader", "chat:x", seq)
    assert (order.lost, order.doubled, order.disordered) == (2, 1, 1)


async def test_push() -> None:
    figures = await push.run(members=20, pushes=100, delay=0.0)
    assert figures["gateway"]["failed"] == 0 and figures["gateway"]["pushes_per_second"] > 0
    assert figures["outbox"]["outcomes"] == {"sent": 200} and figures["outbox"]["retried"] == 0
