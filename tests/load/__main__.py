"""The load tester: ``python -m tests.load SCENARIO --url URL --token TOKEN``; the token needs ``users.manage``."""

import argparse
import asyncio
import json

import uvloop

from tests.load import connect, pairs

SCENARIOS = {"pairs": pairs.run, "connect": connect.run}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.load", description=__doc__)
    parser.add_argument("scenario", choices=list(SCENARIOS))
    parser.add_argument("--url", default="http://127.0.0.1:8080")
    parser.add_argument("--token", required=True)
    parser.add_argument("--clients", type=int, default=100)
    parser.add_argument("--messages", type=int, default=100, help="of each client")
    parser.add_argument("--pid", type=int, help="the server's process, for its CPU")
    asked = parser.parse_args()
    work = SCENARIOS[asked.scenario](
        asked.url, asked.token, clients=asked.clients, messages=asked.messages, pid=asked.pid
    )
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        figures = runner.run(work)
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
