"""Requests that are made and answered, kept as samples of the API: with ids and times that are the same in each run."""

import datetime
import re
from collections.abc import Callable
from typing import Any

import aiohttp
import orjson

from realtime.schema.limits import Limits
from server.dialects import HEADER
from tests.support.people import Answer, Api

# What differs between two runs, in the order in which it is replaced.
TOKEN = re.compile(r"eyJ[\w-]+\.[\w-]+\.[\w-]+")
UUID = re.compile(r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b")
ID = re.compile(r"\b[0-9a-f]{24}\b")
# Tokens of Apple, of links, and of invitations.
HEX, SECRET = re.compile(r"\b[0-9a-f]{64,100}\b"), re.compile(r"(?<=[\"=/])[\w-]{43}(?=[\"?/])")
EXPIRES = re.compile(r"(?<=expires=)\d+")
TIME = re.compile(r"\b20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")
ADDRESS = re.compile(r"http://127\.0\.0\.1:\d+")
# Moments of a run, or that count from it, are close to it; all others are the story's own.
CLOSE_SECONDS = 400 * 86_400
STARTED_AT = datetime.datetime(2026, 12, 1, 9, 30, tzinfo=datetime.UTC)
# Secrets and figures, by the names of their fields.
FIXED: dict[str, Any] = {

    "secret": "whsec_c2VjcmV0IG9mIHRoaXMgd2ViaG9vaw==", "refreshToken": "cmVmcmVzaCB0b2tlbg", "nextCursor": "MTIz",
    "epoch": "18625975d35cb12a", "place": "chat-1 4321", "limits": Limits().shown(),
    "pingTimeout": 20000,
}  # fmt: skip


class Recorder:
    """Makes requests, and keeps each with its answer under ``METHOD /path/{id}``."""

    def __init__(self) -> None:
        self.requests: dict[str, list[dict[str, Any]]] = {}

    async def ask(
        self,
        api: Api,
        operation: str,
        body: Any = None,
        *,
        query: str = "",
        file: bytes = b"",
        dialect: str = "",
        sample: str = "",
        **ids: Any,
    ) -> Any:
        """The answer's document, without the envelope."""
        method, template = operation.split(" ")
        path = re.sub(r"{(\w+)}", lambda found: str(ids[found[1]]), template) + query
        headers = {HEADER: dialect} if dialect else {}
        if file:
            form = aiohttp.FormData(body or {})
            form.add_field("file", file, filename="picture.png", content_type="image/png")
            answer = await api.request(method, path, data=form, headers=headers)
        else:
            answer = await api.request(method, path, body, headers=headers)
        assert answer.status < 300, (operation, answer)
        self.keep(operation, answer, path=path, body=body, form=bool(file), name=dialect or sample, dialect=dialect)
        if not answer.headers["Content-Type"].startswith("application/json"):
            return None
        return answer.json.get("data", answer.json) if isinstance(answer.json, dict) else answer.json

    def keep(self, operation: str, answer: Answer, **request: Any) -> None:
        sample = {name: value for name, value in request.items() if value not in (None, "", False)}
        sample["status"] = answer.status
        if answer.headers["Content-Type"].startswith("application/json"):
            sample["answer"] = answer.json
        elif "ndjson" in answer.headers["Content-Type"]:
            sample["answer"] = [orjson.loads(line) for line in answer.body.splitlines()]
        self.requests.setdefault(operation, []).append(sample)


def stable(samples: Any) -> Any:
    """The same samples, with what differs between two runs replaced: the first id by the same id in each run."""
    text = orjson.dumps(fixed(samples)).decode()
    text = TOKEN.sub("eyJhbGciOiJIUzI1NiJ9.e30.c2lnbmF0dXJl", text)
    text = ADDRESS.sub("https://chat.example.org", text)
    text = UUID.sub(numbered(lambda number: f"1284ac44-d293-4d14-a97b-58fc04ac{number:04x}"), text)
    text = ID.sub(numbered(lambda number: f"6b0351d9ee38b0f9c600{number:04x}"), text)
    text = HEX.sub(numbered(lambda number: f"{number:02x}a94f7c31" * 6 + "80f3"), text)
    text = SECRET.sub(numbered(lambda number: f"{number:03}" + "c2VjcmV0" * 5), text)
    text = EXPIRES.sub("1796117400", text)
    return orjson.loads(TIME.sub(moved, text))


def numbered(name: Callable[[int], str]) -> Callable[[re.Match[str]], str]:
    known: dict[str, str] = {}
    return lambda found: known.setdefault(found[0], name(len(known) + 1))


def moved(found: re.Match[str]) -> str:
    """A time of the run, as if it had begun at ``STARTED_AT`` and each request had been answered at once."""
    at = datetime.datetime.fromisoformat(found[0])
    passed = (at - datetime.datetime.now(datetime.UTC)).total_seconds()
    if abs(passed) > CLOSE_SECONDS:
        return found[0]
    at = STARTED_AT + datetime.timedelta(minutes=round(passed / 60))
    return at.strftime("%Y-%m-%dT%H:%M:%S.000Z" if found[1] else "%Y-%m-%dT%H:%M:%SZ")


def fixed(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            name: FIXED[name] if name in FIXED and each is not None else fixed(each) for name, each in value.items()
        }
    return [fixed(each) for each in value] if isinstance(value, list) else value
