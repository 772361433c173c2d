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


def alike(one: Any, other: Any) -> bool:
    """Whether the keys and types of two documents are the same; of lists those of the first item, where both have one.

    How many items a list has, and whether something has ended yet (null before that), differs with the speed of a run.
    """
    match one, other:
        case (None, _) | (_, None):
            return True
        case dict(), dict():
            return one.keys() == other.keys() and all(alike(each, other[name]) for name, each in one.items())
        case list(), list():
            return not one or not other or alike(one[0], other[0])
        case bool() | str(), _:
            return type(one) is type(other)
        case _:
            return isinstance(other, int | float) and not isinstance(other, bool)


def all_alike(some: list[Any], others: list[Any]) -> bool:
    """Of samples, or of the arguments of an event: each with the one in its place."""
    return len(some) == len(others) and all(map(alike, some, others))


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
    assert all(again[kind].keys() == kept[kind].keys() for kind in ("rest", "inbound", "outbound", "webhooks"))
    wrong = []
    for kind, compare in (("rest", all_alike), ("inbound", alike), ("outbound", all_alike), ("webhooks", alike)):
        wrong += [name for name, each in kept[kind].items() if not compare(again[kind][name], each)]
    assert not wrong, f"run this test with {WRITE}=1"
    for name, each in again["rest"].items():
        assert requests(each) == requests(kept["rest"][name]), f"{name}: run this test with {WRITE}=1"
    assert list(map(head, again["session"])) == list(map(head, kept["session"]))
    assert again.keys() == kept.keys()


def test_every_route_has_a_sample() -> None:
    assert {f"{route.method} {route.path}" for route in ROUTES} == set(orjson.loads(FILE.read_bytes())["rest"])


def test_differences_are_noticed() -> None:
    page = {"items": [{"id": "a", "count": 1, "endedAt": None}], "nextCursor": None}
    assert alike(page, {"items": [{"id": "b", "count": 2.5, "endedAt": "now"}, {}], "nextCursor": None})
    assert alike(page, {"items": [], "nextCursor": None})
    others: list[Any] = [
        {"items": [{"id": "b", "count": True, "endedAt": None}], "nextCursor": None},
        {"items": [{}]},
        [],
    ]
    assert not any(alike(page, other) for other in others)
    assert not all_alike([page], [page, page]) and not all_alike([page, {"a": 1}], [page, {"a": "1"}])
