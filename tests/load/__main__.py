"""The load tester: ``python -m tests.load SCENARIO --url URL --token TOKEN``.

The token needs ``users.manage``: people and chats are made through the API. ``python run.py token`` prints one.
"""

import argparse
import asyncio
import json
import resource
import sys
from pathlib import Path
from typing import Any

import uvloop
from rich.console import Console
from rich.table import Table

from tests.load import report
from tests.load.scenarios import Options, Scenario, connect, crowd, events, fanout, idle, mixed, pairs, rest, storm
from tests.load.target import Target

SCENARIOS: dict[str, Scenario] = {
    "fanout": fanout.run, "pairs": pairs.run, "mixed": mixed.run, "storm": storm.run,
    "idle": idle.run, "rest": rest.run, "events": events.run, "connect": connect.run, "crowd": crowd.run,
}  # fmt: skip


def run(scenario: str, target: Target, options: Options) -> dict[str, Any]:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(SCENARIOS[scenario](target, options))


def table(title: str, figures: dict[str, Any]) -> Table:
    shown = Table(title=title, show_header=False)
    for name, value in figures.items():
        if name != "timeline":
            shown.add_row(name, str(value))
    return shown


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tests.load", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("scenario", choices=list(SCENARIOS))
    parser.add_argument("--url", default="http://127.0.0.1:8080")
    parser.add_argument("--token", required=True)
    parser.add_argument("--pid", type=int, help="the server's process, for its CPU and memory")
    parser.add_argument("--clients", type=int, default=Options.clients)
    parser.add_argument("--messages", type=int, default=Options.messages, help="of each client")
    parser.add_argument("--under-way", type=int, default=Options.under_way, help="sent before the first has arrived")
    parser.add_argument("--chats", type=int, default=Options.chats, help="of each client; for idle")
    parser.add_argument("--seconds", type=float, default=Options.seconds, help="for mixed, idle and storm")
    parser.add_argument("--rate", type=float, default=Options.rate, help="messages a second; for pairs and storm")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there; - for here")
    parser.add_argument("--html", type=Path, metavar="FILE", help="write a page with plots there")
    asked = parser.parse_args()
    options = Options(
        clients=asked.clients, messages=asked.messages, under_way=asked.under_way, chats=asked.chats,
        seconds=asked.seconds, rate=asked.rate, shown=sys.stderr.isatty(),
    )  # fmt: skip
    figures = run(asked.scenario, Target(asked.url, asked.token, asked.pid), options)
    if asked.html:
        report.write(asked.html, f"{asked.scenario} on {asked.url}", figures)
    if str(asked.json) == "-":
        print(json.dumps(figures))
        return
    if asked.json:
        asked.json.write_text(json.dumps(figures, indent=2))
    Console().print(table(asked.scenario, figures))


if __name__ == "__main__":
    main()
