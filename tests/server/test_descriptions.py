"""OpenAPI and AsyncAPI: made once, however many ask, and sent only to a client that has another version."""

import asyncio
from typing import Any

import orjson
import pytest

from server import asyncapi, openapi
from tests.conftest import Served


@pytest.mark.parametrize(("module", "path"), [(openapi, "/openapi.json"), (asyncapi, "/asyncapi.json")])
async def test_a_description_is_made_once(
    server: Served, monkeypatch: pytest.MonkeyPatch, module: Any, path: str
) -> None:
    made, document = [], module.document

    def counted(*given: Any) -> Any:
        made.append(given)
        return document(*given)

    monkeypatch.setattr(module, "document", counted)
    people = server.people
    answers = await asyncio.gather(*(people.anonymous.get(path) for _ in range(8)))
    assert len(made) == 1
    assert {each.status for each in answers} == {200} and len({each.body for each in answers}) == 1
    etag = answers[0].headers["ETag"]
    for known, status in ((etag, 304), ('"other"', 200)):
        again = await people.anonymous.get(path, headers={"If-None-Match": known})
        assert again.status == status and again.headers["ETag"] == etag
        assert (again.body == b"") == (status == 304)
    plain = orjson.loads(answers[0].body)
    assert plain["info"]["title"] and len(made) == 1
    async with people.session.get(f"{server.url}{path}", headers={"Accept-Encoding": "gzip"}) as answer:
        assert answer.headers["Content-Encoding"] == "gzip"
        assert answer.headers["Content-Type"] == "application/json"
        assert orjson.loads(await answer.read()) == plain
