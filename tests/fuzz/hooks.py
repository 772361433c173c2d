"""What schemathesis needs to know of us: whose token goes with a request, and which ids there are.

Loaded by ``tests.fuzz.api``, which tells it by the environment where the server is and who is its admin.
"""

import json
import os
import random
import re
from collections import defaultdict
from typing import Any

import requests
import schemathesis

from tests.support.guard import HANG_SECONDS

URL, ADMIN = os.environ["FUZZ_URL"], os.environ["FUZZ_TOKEN"]
# These end what the token gives; somebody new calls them each time.
ENDING = re.compile(r"POST .*/auth/(logout|password)|DELETE /api/v1/users/me$")
# Of a path, the word before a parameter says of what it is the id.
NAMED = re.compile(r"(\w[\w-]*)/{(\w+)}")
HEX_ID = re.compile("[0-9a-f]{24}")
KNOWN_ID = 0.7
MOST_KNOWN = 50

dice = random.Random(int(os.environ["FUZZ_SEED"]))
known: dict[str, list[Any]] = defaultdict(list)
known.update({name: list(ids) for name, ids in json.loads(os.environ["FUZZ_WORLD"]).items()})
OF_FIELD = {"chatId": "chats", "userId": "users", "streamId": "streams", "messageId": "messages", "mediaId": "media"}


def call(path: str, body: dict[str, Any]) -> Any:
    headers = {"Authorization": f"Bearer {ADMIN}"}
    return requests.post(URL + path, json=body, headers=headers, timeout=HANG_SECONDS).json()["data"]


@schemathesis.auth(refresh_interval=None)
class Tokens:
    def get(self, case: Any, context: Any) -> str:
        if not ENDING.search(context.operation.label):
            return ADMIN
        user = call("/api/v1/users", {"name": "somebody for a moment"})
        token: str = call(f"/api/v1/users/{user['id']}/tokens", {"ttl": 3600})["token"]
        return token

    def set(self, case: Any, data: str, context: Any) -> None:
        case.headers["Authorization"] = f"Bearer {data}"


def put_known(values: Any, kinds: dict[str, str]) -> Any:
    """Existing ids, mostly, in place of invented ones. What does not have the form of an id stays: it must be refused."""
    if isinstance(values, dict):
        for name, kind in kinds.items():
            if isinstance(values.get(name), str) and known[kind] and dice.random() < KNOWN_ID:
                id = dice.choice(known[kind])
                if HEX_ID.fullmatch(values[name]) or not HEX_ID.fullmatch(id):
                    values[name] = id
    return values


@schemathesis.hook
def map_path_parameters(context: Any, path_parameters: Any) -> Any:
    return put_known(path_parameters, {name: word for word, name in NAMED.findall(context.operation.path)} | OF_FIELD)


@schemathesis.hook
def map_query(context: Any, query: Any) -> Any:
    return put_known(query, OF_FIELD)


@schemathesis.hook
def map_body(context: Any, body: Any) -> Any:
    return put_known(body, OF_FIELD)


@schemathesis.hook
def after_call(context: Any, case: Any, response: Any) -> None:
    """Remember what was made."""
    if response.status_code == 201 and "json" in response.headers.get("content-type", [""])[0]:
        document = response.json()
        made = document.get("data") or document
        word = case.operation.path.rstrip("/").rsplit("/", 1)[-1]
        id = isinstance(made, dict) and (made.get("_id") or made.get("key") or made.get("id") or made.get("deviceId"))
        if id and "{" not in word:
            del known[word][MOST_KNOWN:]
            known[word].insert(0, id)
