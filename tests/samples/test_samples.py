"""The samples in the documentation are what the server answers."""

import os
import re
from typing import Any

import orjson

from push.doubles.apns import Apple
from server.routes import ROUTES
from tests.conftest import ServerFactory
from tests.samples.collection import FILE, collect, written

# With it the file is written again.
WRITE = "BELLWIRE_WRITE_SAMPLES"


def shape(value: Any) -> Any:
    """The keys and types of a document. Its values may differ with the order in which things end."""
    if isinstance(value, dict):
        return {name: shape(each) for name, each in value.items()}
    if isinstance(value, list):
        return [shape(each) for each in value]
    return "number" if isinstance(value, (int, float)) and not isinstance(value, bool) else type(value).__name__


def requests(samples: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """All but the answers, with ids as they are in any run."""
    without = [{name: each for name, each in sample.items() if name != "answer"} for sample in samples]
    found: list[dict[str, Any]] = orjson.loads(
        re.sub(rb"\b[0-9a-f]{24,}\b|[0-9a-f-]{36}|(?<=/)[0-9]+(?=/)", b"ID", orjson.dumps(without))
    )
    return found


def head(line: str) -> str:
    """The direction, kind and event of a packet."""
    return re.split(r"[{,]", line, maxsplit=1)[0]


async def test_the_samples_are_what_the_server_answers(apple: Apple, start: ServerFactory) -> None:
    server = await start(webhook_private=True)
    samples = await collect(server, apple)
    if WRITE in os.environ:
        FILE.write_bytes(written(samples))
    kept = orjson.loads(FILE.read_bytes())
    again = orjson.loads(written(samples))
    for kind, by_name in again.items():
        if isinstance(by_name, dict):
            wrong = [name for name in by_name if shape(by_name[name]) != shape(kept[kind].get(name))]
            assert not wrong, f"{wrong}: run this test with {WRITE}=1"
    for name, each in again["rest"].items():
        assert requests(each) == requests(kept["rest"][name]), f"{name}: run this test with {WRITE}=1"
    assert list(map(head, again["session"])) == list(map(head, kept["session"]))
    assert again.keys() == kept.keys() and all(again[kind].keys() == kept[kind].keys() for kind in ("rest", "outbound"))


def test_every_route_has_a_sample() -> None:
    assert {f"{route.method} {route.path}" for route in ROUTES} == set(orjson.loads(FILE.read_bytes())["rest"])
