"""The load tester itself, small: it runs, and counts right."""

import asyncio
import json
import os
import shutil
import sys
from pathlib import Path

import pytest

from realtime.namespace import INBOUND
from server.routes import ROUTES
from tests.conftest import Served
from tests.load import costs, push, servers
from tests.load.bench import Line
from tests.load.figures import Order
from tests.load.scenarios import Options, events, fanout, pairs, rest
from tests.support.guard import HANG_SECONDS

OPTIONS = {
    "fanout": ["--clients", "6", "--messages", "5", "--under-way", "4"],
    "pairs": ["--clients", "4", "--messages", "5"],
    "mixed": ["--clients", "6", "--seconds", "3"],
    "storm": ["--clients", "10", "--seconds", "3", "--rate", "100"],
    "idle": ["--clients", "110", "--chats", "1", "--seconds", "0"],
    "rest": ["--clients", "4", "--messages", "5"],
    "events": ["--clients", "4", "--messages", "20", "--under-way", "8"],
    "connect": ["--clients", "4", "--messages", "2"],
    "crowd": ["--clients", "20", "--messages", "5", "--seconds", "1"],
}


@pytest.mark.parametrize("scenario", OPTIONS)
async def test_scenario(server: Served, scenario: str, tmp_path: Path) -> None:
    operator = await server.people.make(grant=["users.manage", "streams.manage"])
    assert operator.token
    command = [
        sys.executable, "-m", "tests.load", scenario, "--url", server.url, "--token", operator.token,
        "--pid", str(os.getpid()), "--json", str(tmp_path / "figures"), "--html", str(tmp_path / "page"),
    ]  # fmt: skip
    process = await asyncio.create_subprocess_exec(*command, *OPTIONS[scenario], stdout=asyncio.subprocess.PIPE)
    output, _ = await process.communicate()
    assert process.returncode == 0
    figures = json.loads((tmp_path / "figures").read_text())
    assert scenario in output.decode() and "<table>" in (tmp_path / "page").read_text()
    counted = {"refused", "lost", "doubled", "disordered", "unseen", "unrecovered"} & figures.keys()
    assert all(figures[name] == 0 for name in counted), figures
    wanted = {
        "fanout": figures.get("deliveries") == 30,
        "pairs": figures.get("acked") == 20,
        "mixed": sum(each["count"] for each in figures.get("timeline", ())) > 0,
        "storm": figures.get("recovered") is True,
        "idle": figures.get("bytes_each") is not None,
        "rest": figures.get("posted") == 20,
        "events": figures.get("events") == 80,
        "connect": figures.get("recovered") is True,
        "crowd": (figures.get("viewers"), figures.get("viewers_after_half_left")) == (20, 10),
    }
    assert wanted[scenario], figures


async def test_a_peer() -> None:
    """It does what the scenarios ask of it. Node's is built where the benchmark runs."""
    async with servers.documented() as peer:
        few = Options(clients=4, messages=5, shown=False)
        assert (await fanout.run(peer, few))["deliveries"] == 20
        assert (await pairs.run(peer, few))["acked"] == 20
        assert (await events.run(peer, few))["events"] == 20
        assert (await rest.run(peer, few))["posted"] == 20


def test_what_it_counts() -> None:
    order = Order()
    for seq in (1, 2, 2, 5, 4, 6):
        order.read("reader", b'42/chat,["message:new",{"seq":9},{"channel":"chat:x","seq":%d}]' % seq)
    assert (order.lost, order.doubled, order.disordered) == (2, 1, 1)


def test_a_line_of_the_table() -> None:
    line = Line("what", "µs", 5, "node", 10, 0.4)
    assert line.ratio == 0.5 and not line.met and "**no**" in line.row()
    assert Line("what", "a second", 5, "node", 2, 2, at_most=False).met


@pytest.mark.parametrize("provider", ["fcm", "webpush"])
async def test_push_out_of_the_outbox(provider: str) -> None:
    figures = await push.run(provider=provider, members=20, pushes=100, delay=0.0)
    assert figures["outbox"]["outcomes"] == {"sent": 200}


async def test_push() -> None:
    figures = await push.run(members=20, pushes=100, delay=0.0)
    assert figures["provider"]["failed"] == 0 and figures["provider"]["pushes_per_second"] > 0
    assert figures["outbox"]["outcomes"] == {"sent": 200} and figures["outbox"]["retried"] == 0


async def test_the_examples(server: Served, node: str, tmp_path: Path) -> None:
    ann, bob = await server.people.many(2)
    chat = await ann.group(bob)
    # As in a folder where somebody installed the client.
    script = shutil.copy("examples/send.mjs", tmp_path)
    (tmp_path / "node_modules").symlink_to(Path("tests/node_modules").absolute())
    for command in ([sys.executable, "examples/send.py"], [node, script]):
        process = await asyncio.create_subprocess_exec(
            *command, server.url, str(ann.token), chat, "10", stdout=asyncio.subprocess.PIPE
        )
        output, _ = await asyncio.wait_for(process.communicate(), HANG_SECONDS)
        assert process.returncode == 0 and output.startswith(b"10 messages"), output
    assert len((await ann.get(f"/api/v2/messages?chatId={chat}")).json["items"]) == 20


def test_every_route_and_event_has_a_row_in_the_table_of_costs() -> None:
    routes = {f"{each.method} {each.path}" for each in ROUTES}
    assert all(
        costs.measured_as(each) in costs.ROWS for each in routes if not each.split(" ")[1].startswith(costs.AUTH)
    )
    assert set(costs.ROWS) <= routes and set(costs.LIKE) <= routes
    assert set(costs.EVENTS) == set(INBOUND)
