"""The published examples of the three notification systems, verbatim, and each of their errors."""

import re
from typing import Any

import pytest

from tests.conftest import Served
from tests.server.world import (
    ID,
    MICROS,
    MILLIS,
    SECONDS,
    SEEDS,
    TEXTS,
    UUID,
    document,
    is_error,
    send,
    speak,
    world,
)
from tests.support.people import Person

NAMES = ["envelope", "laravel", "template"]
OTHERS = [(a, b) for a in NAMES for b in NAMES if a != b]
LIKE: dict[str, dict[str, Any]] = {
    "envelope": {"id": ID, "read": False, "createdAt": MILLIS, "updatedAt": MILLIS},
    "laravel": {"id": int, "uuid": UUID, "created_at": MICROS, "updated_at": MICROS, "metadata": {"priority": "high"}},
    "template": {
        "id": UUID,
        "tenantId": SEEDS["template"]["request"]["tenantId"],
        "createdAt": SECONDS,
        "readAt": None,
        "entityId": SEEDS["template"]["request"]["entityId"],
        "payload": SEEDS["template"]["request"]["payload"],
        "relativeTime": re.compile(r"now|a second ago|\d+ seconds ago"),
    },
}


def like(found: Any, wanted: Any) -> bool:
    if isinstance(wanted, re.Pattern):
        return isinstance(found, str) and wanted.fullmatch(found) is not None
    if isinstance(wanted, dict) and isinstance(found, dict):
        return {*found} == {*wanted} and all(like(found[key], each) for key, each in wanted.items())
    return isinstance(found, wanted) if isinstance(wanted, type) else bool(found == wanted)


def expected(name: str) -> Any:
    """The published answer, with what differs from call to call as patterns, and what we add to it."""
    answer = SEEDS[name]["answer"]
    if name == "laravel":
        return answer | LIKE[name]
    return answer | {"timestamp": MILLIS, "data": answer["data"] | LIKE[name]}


@pytest.mark.parametrize("name", NAMES)
async def test_the_example(either: Served, name: str) -> None:
    here = await world(either)
    answer = await send(here.sender, name)
    assert answer.status == 201, answer
    assert like(answer.json, expected(name)), answer


async def test_both_paths_of_the_template_dialect(server: Served) -> None:
    here = await world(server)
    for path in ("/v1/notifications", "/notification/v1/notifications"):
        answer = await here.sender.post(path, SEEDS["template"]["request"])
        assert answer.status == 201 and like(answer.json, expected("template")), answer


@pytest.mark.parametrize("name", NAMES)
async def test_each_error(server: Served, name: str) -> None:
    here = await world(server)
    nobody = await here.person()
    path, request = SEEDS[name]["path"], SEEDS[name]["request"]
    user = {"envelope": "userId", "laravel": "user_id", "template": "userId"}[name]
    absent = {"envelope": "f" * 24, "laravel": 987, "template": "0" * 8 + "-0000-0000-0000-" + "0" * 12}[name]
    said = speak(name)
    sender = here.sender
    wrong = 422 if name == "laravel" else 400
    raw = {"Content-Type": "application/json", **said}

    assert is_error(name, await send(here.server.people.anonymous, name), 401)
    assert is_error(name, await Person(sender.session, sender.url, "x.y.z", sender.user).post(path, request), 401)
    assert is_error(name, await send(nobody, name), 403)
    assert is_error(name, await sender.post(path, {**request, user: None}, headers=said), wrong)
    assert is_error(name, await sender.post(path, {**request, user: absent}), 422 if name == "laravel" else 404)
    keyed = {"Idempotency-Key": "one", **said}
    assert (await sender.post(path, request, headers=keyed)).status == 201
    message = {"templateKey": request["templateKey"], "entityId": "other"} if name == "template" else {"title": "Other"}
    assert is_error(name, await sender.post(path, {**request, **message}, headers=keyed), 409)
    for body in (b"", b"{", b"[]", b'"x"', b"null", b"\xff", b'{"a":' * 40 + b"1" + b"}" * 40):
        assert is_error(name, await sender.post(path, data=body, headers=raw), 400), body
    assert is_error(name, await sender.post(path, data=b"a=1", headers={**said, "Content-Type": "text/plain"}), 415)
    assert is_error(name, await sender.post(path, data=b" " * 300_000, headers=raw), 413)
    assert is_error(name, await sender.get(f"{path}/nothing/at/all", headers=said), 404)
    refused = await sender.request("PUT", path, {}, headers=said)
    assert is_error(name, refused, 405) and "POST" in refused.headers["Allow"]


@pytest.mark.parametrize("name", NAMES)
async def test_an_unexpected_error_is_rendered_in_the_dialect(
    server: Served, name: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    here = await world(server)

    async def broken(*_: object) -> None:
        raise RuntimeError("broken on purpose")

    monkeypatch.setattr(server.services.notifications, "send", broken)
    answer = await send(here.sender, name)
    caplog.clear()
    assert is_error(name, answer, 500), answer


async def test_the_published_errors_to_the_letter(server: Served) -> None:
    here = await world(server)
    nobody = await here.person()
    request, path = SEEDS["envelope"]["request"], SEEDS["envelope"]["path"]
    keyed = {"Idempotency-Key": "k"}
    await here.sender.post(path, request, headers=keyed)
    answers = {
        400: await here.sender.post(path, {**request, "title": None}),
        401: await here.server.people.anonymous.post(path, request),
        403: await nobody.post(path, request),
        404: await here.sender.post(path, {**request, "userId": "f" * 24}),
        409: await here.sender.post(path, {**request, "title": "Other"}, headers=keyed),
    }
    for status, answer in answers.items():
        body = answer.json
        assert (
            body.pop("details", None) == ([{"field": "title", "message": "Field required"}] if status == 400 else None)
            or status == 409
        )
        assert MILLIS.fullmatch(body["timestamp"])
        published = SEEDS["envelope"]["errors"][str(status)]
        assert answer.status == status and body == published | {"timestamp": body["timestamp"]}
    laravel = SEEDS["laravel"]["errors"]
    forbidden = await send(nobody, "laravel")
    assert (forbidden.status, forbidden.json) == (403, laravel["403"])
    missing = await here.sender.post(path, {"is_active": True})
    assert (missing.status, missing.json) == (422, laravel["422"])


async def test_laravel_names_all_wrong_fields_at_once(either: Served) -> None:
    here = await world(either)
    post = here.sender.post
    path = SEEDS["laravel"]["path"]
    body = {
        "user_id": 987, "sender_id": "two", "type": "urgent", "title": "x" * 256, "message": 5,
        "action_url": ["/"], "metadata": "x", "is_active": "yes",
    }  # fmt: skip
    answer = await post(path, body)
    assert is_error("laravel", answer, 422)
    assert answer.json["errors"] == {
        "user_id": ["The selected user id is invalid."],
        "sender_id": ["The sender id field must be an integer."],
        "type": ["The selected type is invalid."],
        "title": ["The title field must not be greater than 255 characters."],
        "message": ["The message field must be a string."],
        "action_url": ["The action url field must be a string."],
        "metadata": ["The metadata field must be an array."],
        "is_active": ["The is active field must be true or false."],
    }
    again = {
        "user_id": 1.5,
        "sender_id": 10**18,
        "type": "",
        "title": " ",
        "message": "x" * 4001,
        "action_url": "x" * 2049,
    }
    answer = await post(path, again)
    assert answer.json["errors"] == {
        "user_id": ["The user id field must be an integer."],
        "sender_id": ["The selected sender id is invalid."],
        "type": ["The type field is required."],
        "title": ["The title field is required."],
        "message": ["The message field must not be greater than 4000 characters."],
        "action_url": ["The action url field must not be greater than 2048 characters."],
    }
    big = await send(here.sender, "laravel", metadata={"a": "x" * 16384})
    assert big.json["errors"] == {"metadata": ["The metadata field must be at most 16384 bytes as JSON."]}


@pytest.mark.parametrize(("one", "other"), OTHERS)
async def test_made_in_one_dialect_and_read_in_another(server: Served, one: str, other: str) -> None:
    here = await world(server)
    made = await send(here.sender, one)
    first = document(one, made)
    id = first["id"]
    listed = await here.recipient.get("/api/v1/notifications", headers=speak(other))
    page = document(other, listed)
    (second,) = page["data"] if other == "laravel" else page["items"]
    got = await here.recipient.get(f"/api/v1/notifications/{id}", headers=speak(other))
    assert document(other, got) == second, "any of the three ids names it"
    assert {*second} == {*document(other, await send(here.sender, other))}
    user = {"envelope": here.recipient.id, "laravel": 1, "template": here.recipient.user.uuid}[other]
    assert second["user_id" if other == "laravel" else "userId"] == user
    assert second["title"] == first["title"] and second["message"] == first["message"]
    metadata = {"envelope": "metadata", "laravel": "metadata", "template": "payload"}
    assert second[metadata[other]] == first[metadata[one]]
    url = {"laravel": "action_url", "template": "actionUrl"}
    if one in url and other in url:
        assert second[url[other]] == first[url[one]]
    if other == "template":
        assert (second["templateKey"], second["entityType"], second["entityId"]) == (None, None, None)
        assert second["isActionable"] is (one == "laravel") and second["status"] == "UNREAD"
        assert second["category"] == first.get("category", "general")
    if other == "laravel":
        assert second["type"] == "info", "what laravel does not know reads as info"
        assert second["sender"] == {"id": 2, "email": None}
    if other == "envelope":
        assert second["type"] == first.get("type", "info") and second["read"] is False


def test_every_status_has_a_text_in_every_dialect() -> None:
    from server.dialects import DIALECTS

    for name, dialect in DIALECTS.items():
        assert {status: dialect.STATUSES[status] for status in TEXTS[name]} == TEXTS[name]
        assert {429, 503} < {*dialect.STATUSES}
