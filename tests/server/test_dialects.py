"""How a dialect is chosen, and that a fourth is one file and one line: the example of the documentation, run."""

import re
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from realtime.schema.statuses import status_of
from server import dialects
from server.dialects import DIALECTS, choose
from tests.conftest import Served

NONE: dict[str, Any] = {
    "header": None,
    "path": "/api/v1/notifications",
    "values": None,
    "claim": None,
    "default": "envelope",
}


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ({}, "envelope"),
        ({"default": "laravel"}, "laravel"),
        ({"default": "laravel", "claim": "template"}, "template"),
        ({"default": "laravel", "claim": "none"}, "laravel"),
        ({"claim": "template", "values": {"user_id": 1}}, "laravel"),
        ({"claim": "template", "values": {"sender_id": None}}, "template"),
        ({"values": {"userId": 1, "is_active": None}, "claim": "template"}, "envelope"),
        ({"claim": "template", "values": {"action_url": 1}}, "laravel"),
        ({"claim": "template", "values": {"is_active": 1}}, "laravel"),
        ({"claim": "laravel", "values": {"userId": 1}}, "envelope"),
        ({"claim": "laravel", "values": {"category": 1}}, "envelope"),
        ({"claim": "laravel", "values": {"title": 1, "message": 1}}, "laravel"),
        ({"claim": "laravel", "values": ["userId"]}, "laravel"),
        ({"path": "/v1/notifications", "values": {"user_id": 1, "userId": 1}}, "template"),
        ({"path": "/notification/v1/notifications"}, "template"),
        ({"path": "/v1/notifications", "header": "laravel"}, "laravel"),
        ({"values": {"user_id": 1, "userId": 1}, "header": "template"}, "template"),
    ],
)
def test_the_first_that_says_something(given: dict[str, Any], name: str) -> None:
    dialect, problem = choose(**{**NONE, **given})
    assert name == dialect.NAME and problem is None


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ({"header": "klingon"}, "envelope"),
        ({"header": "Laravel", "claim": "laravel"}, "laravel"),
        ({"header": "klingon", "values": {"user_id": 1}}, "laravel"),
        ({"header": "", "path": "/v1/x"}, "template"),
        ({"values": {"user_id": 1, "category": 1}, "claim": "laravel"}, "laravel"),
    ],
)
def test_an_ambiguous_dialect_is_a_400(given: dict[str, Any], name: str) -> None:
    dialect, problem = choose(**{**NONE, **given})
    assert name == dialect.NAME and problem is not None and status_of(problem) == 400


@pytest.fixture
def bot(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The module that docs/dialects.md shows, registered as it says."""
    source, _ = re.findall(r"```python\n(.*?)```", Path("docs/dialects.md").read_text(), re.S)
    module = types.ModuleType("server.dialects.bot")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    exec(compile(source, "bot.py", "exec"), module.__dict__)
    monkeypatch.setitem(DIALECTS, "bot", module)
    yield
    assert "bot" in dialects.DIALECTS


async def test_the_worked_example(bot: None, serve: Any) -> None:
    server: Served = await serve()
    ann = await server.people.make(grant=["notifications.send"])
    path = "/api/v1/notifications"
    made = await ann.post(path, {"to": ann.user.number, "text": "hi"})
    assert made.status == 201 and made.json == {"id": made.json["id"], "text": "hi", "read": False}
    said = {"X-API-Dialect": "bot"}
    assert (await ann.get(path, headers=said)).json == {"list": [made.json], "more": None}
    assert (await ann.get(f"{path}/{made.json['id']}")).json["data"]["title"] == "hi", "and in every other dialect"
    assert (await ann.get(f"{path}/7777", headers=said)).json == {"error": "Resource not found"}
    assert (await ann.get(f"{path}/no/thing", headers=said)).json == {"error": "Resource not found"}
    assert (await server.people.anonymous.post(path, {"text": 1})).json == {"error": "Authentication required"}
    document = (await ann.get("/openapi.json")).json
    assert "BotCreate" in document["components"]["schemas"]
