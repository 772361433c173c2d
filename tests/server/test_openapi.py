"""The OpenAPI document: valid, complete, and true to what is answered."""

from pathlib import Path
from typing import Any

import jsonschema
import orjson
import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator
from openapi_spec_validator import validate as validate_document

from server import pages
from server.dialects import DIALECTS
from server.routes import ROUTES
from tests.conftest import Served
from tests.support.people import Answer, Api, Person


@pytest.fixture
async def document(server: Served) -> dict[str, Any]:
    answer = await server.people.anonymous.get("/openapi.json")
    assert answer.status == 200
    found: dict[str, Any] = answer.json
    return found


async def test_it_is_valid_and_names_every_route(document: dict[str, Any]) -> None:
    validate_document(document, cls=OpenAPIV31SpecValidator)
    assert document["openapi"] == "3.1.0"
    assert {(method.upper(), path) for path, methods in document["paths"].items() for method in methods} == {
        (route.method, route.path) for route in ROUTES
    }
    ids = [each["operationId"] for methods in document["paths"].values() for each in methods.values()]
    assert len(ids) == len(set(ids))
    assert document["x-limits"]["content"] == 16384


def check(document: dict[str, Any], method: str, path: str, answer: Answer) -> None:
    """The answer is one that the document describes."""
    described = document["paths"][path][method.lower()]["responses"][str(answer.status)]
    schema = described["content"]["application/json"]["schema"]
    jsonschema.validate(answer.json, {**schema, "components": document["components"]})


async def notification_answers(admin: Person, prefix: str) -> list[tuple[str, str, Answer]]:
    """Of each route of notifications, in each dialect; of templates, where they are."""
    answers: list[tuple[str, str, Answer]] = []
    envelope = {"userId": admin.id, "type": "a", "category": "b", "title": "c", "message": "d"}
    laravel = {"user_id": admin.user.number, "type": "info", "title": "c", "message": "d"}
    for said in ({"X-API-Dialect": name} for name in DIALECTS):
        made = await admin.post(prefix, laravel, headers={"X-API-Dialect": "laravel"})
        one = f"{prefix}/{made.json['id']}"
        answers += [
            ("POST", prefix, made),
            ("POST", prefix, await admin.post(prefix, envelope, headers={"X-API-Dialect": "envelope"})),
            ("POST", prefix, await admin.post(prefix, {}, headers=said)),
            ("POST", prefix, await Api(admin.session, admin.url).post(prefix, {}, headers=said)),
            ("GET", prefix, await admin.get(prefix, headers=said)),
            ("GET", prefix, await admin.get(f"{prefix}?limit=0", headers=said)),
            ("GET", f"{prefix}/unread-count", await admin.get(f"{prefix}/unread-count", headers=said)),
            ("GET", f"{prefix}/{{id}}", await admin.get(one, headers=said)),
            ("GET", f"{prefix}/{{id}}", await admin.get(f"{prefix}/none", headers=said)),
            ("POST", f"{prefix}/{{id}}/read", await admin.post(f"{one}/read", headers=said)),
            ("POST", f"{prefix}/read-all", await admin.post(f"{prefix}/read-all", headers=said)),
            ("DELETE", f"{prefix}/{{id}}", await admin.delete(one, headers=said)),
        ]
    if prefix.startswith("/api"):
        return answers
    templates = prefix.replace("notifications", "templates")
    body = {"tenantId": admin.user.tenant, "key": "K", "category": "c", "title": "t", "message": "{{ m }}",
            "locales": {"tr": {"title": "b"}}}  # fmt: skip
    answers += [
        ("POST", templates, await admin.post(templates, body)),
        ("POST", templates, await admin.post(templates, body)),
        ("GET", templates, await admin.get(templates)),
        ("GET", f"{templates}/{{key}}", await admin.get(f"{templates}/K")),
        ("PATCH", f"{templates}/{{key}}", await admin.patch(f"{templates}/K", {"title": "u"})),
        ("POST", f"{templates}/{{key}}/preview",
         await admin.post(f"{templates}/K/preview", {"placeholders": {"m": 1}})),
        ("POST", f"{templates}/{{key}}/preview", await admin.post(f"{templates}/K/preview", {})),
        ("DELETE", f"{templates}/{{key}}", await admin.delete(f"{templates}/K")),
        ("GET", f"{templates}/{{key}}", await admin.get(f"{templates}/K")),
    ]  # fmt: skip
    return answers


def test_the_examples_of_the_published_documents_are_as_described(document: dict[str, Any]) -> None:
    """A generated client must be able to send what the documents themselves send."""
    for name in ("message", "envelope", "laravel", "template", "live_activity"):
        seed = orjson.loads(Path(f"tests/seeds/{name}.json").read_bytes())
        body = document["paths"][seed.get("path", "/api/v2/messages")]["post"]["requestBody"]
        schema = body["content"]["application/json"]["schema"]
        jsonschema.validate(seed["request"], {**schema, "components": document["components"]})


async def test_answers_are_as_described(server: Served, document: dict[str, Any]) -> None:
    ann, bob = await server.people.many(2)
    admin = await server.people.make(grant=["admin"])
    anonymous = server.people.anonymous
    chat_id = await ann.group(bob)
    sent = await ann.send(chat_id, replyTo=(await ann.send(chat_id))["_id"], metadata={"a": 1})
    await bob.post(f"/api/v2/messages/{sent['_id']}/report", {"reason": "x"})
    account = {"email": "new@example.org", "password": "long enough"}
    registered = await anonymous.post("/api/v1/auth/register", account)
    refresh = {"refreshToken": registered.json["data"]["refreshToken"]}
    changes = {"name": "New", "quietHours": {"from": "22:00", "to": "06:00"}}
    chats, messages, users = "/api/v2/chats", "/api/v2/messages", "/api/v1/users"
    one, member = f"{chats}/{{id}}", f"{chats}/{{id}}/members/{{userId}}"
    here = f"{chats}/{chat_id}"
    answers: list[tuple[str, str, Answer]] = [
        ("POST", "/api/v1/auth/register", registered),
        ("POST", "/api/v1/auth/register", await anonymous.post("/api/v1/auth/register", account)),
        ("POST", "/api/v1/auth/register", await anonymous.post("/api/v1/auth/register", {})),
        ("POST", "/api/v1/auth/login", await anonymous.post("/api/v1/auth/login", account)),
        ("POST", "/api/v1/auth/refresh", await anonymous.post("/api/v1/auth/refresh", refresh)),
        ("POST", "/api/v1/auth/refresh", await anonymous.post("/api/v1/auth/refresh", {"refreshToken": "x"})),
        ("GET", f"{users}/me", await ann.get(f"{users}/me")),
        ("PATCH", f"{users}/me", await ann.patch(f"{users}/me", changes)),
        ("GET", users, await ann.get(f"{users}?query=p")),
        ("GET", f"{users}/{{id}}", await ann.get(f"{users}/{bob.id}")),
        ("POST", users, await admin.post(users, {"name": "Made"})),
        ("POST", f"{users}/{{id}}/tokens", await admin.post(f"{users}/{bob.id}/tokens", {})),
        ("POST", f"{users}/me/blocks", await ann.post(f"{users}/me/blocks", {"userId": admin.id})),
        ("POST", f"{users}/me/blocks", await ann.post(f"{users}/me/blocks", {"userId": admin.id})),
        ("GET", f"{users}/me/blocks", await ann.get(f"{users}/me/blocks")),
        ("POST", chats, await ann.post(chats, {"type": "group", "name": "x"})),
        ("POST", chats, await ann.post(chats, {"type": "direct", "memberIds": [bob.id]})),
        ("POST", chats, await ann.post(chats, {"type": "direct", "memberIds": [bob.id]})),
        ("GET", chats, await ann.get(chats)),
        ("GET", one, await ann.get(here)),
        ("GET", one, await ann.get(f"{chats}/{'a' * 24}")),
        ("PATCH", one, await ann.patch(here, {"name": "y"})),
        ("PATCH", one, await bob.patch(here, {"name": "y"})),
        ("GET", f"{one}/members", await ann.get(f"{here}/members")),
        ("POST", f"{one}/members", await ann.post(f"{here}/members", {"userIds": [bob.id]})),
        ("PATCH", member, await ann.patch(f"{here}/members/{bob.id}", {"role": "admin"})),
        ("POST", f"{one}/mute", await ann.post(f"{here}/mute", {"until": "2999-01-01T00:00:00Z"})),
        ("POST", messages, await ann.post(messages, {"type": "text", "chatId": chat_id, "content": "x"})),
        ("POST", messages, await anonymous.post(messages, {})),
        ("GET", messages, await ann.get(f"{messages}?chatId={chat_id}")),
        ("GET", f"{messages}/{{id}}", await ann.get(f"{messages}/{sent['_id']}")),
        ("PATCH", f"{messages}/{{id}}", await ann.patch(f"{messages}/{sent['_id']}", {"content": "z"})),
        ("POST", f"{messages}/{{id}}/read", await bob.post(f"{messages}/{sent['_id']}/read")),
        ("DELETE", f"{messages}/{{id}}", await ann.delete(f"{messages}/{sent['_id']}")),
        ("GET", "/api/v1/admin/reports", await admin.get("/api/v1/admin/reports")),
        ("POST", "/api/v1/admin/users/{id}/ban", await admin.post(f"/api/v1/admin/users/{bob.id}/ban")),
        ("DELETE", member, await ann.delete(f"{here}/members/{bob.id}")),
        ("POST", "/api/v1/auth/logout", await bob.post("/api/v1/auth/logout")),
    ]  # fmt: skip
    for prefix in ("/api/v1/notifications", "/v1/notifications", "/notification/v1/notifications"):
        answers += await notification_answers(admin, prefix)
    for method, path, answer in answers:
        check(document, method, path, answer)


async def test_pages_and_health(server: Served) -> None:
    anonymous = server.people.anonymous
    page = await anonymous.get("/")
    assert page.status == 200 and "script" in page.body.decode()
    assert "default-src 'none'; script-src 'self'" in page.headers["Content-Security-Policy"]
    assert page.headers["X-Content-Type-Options"] == "nosniff"
    assert (await anonymous.get("/docs")).status == 200
    for name in pages.VENDOR:
        assert (await anonymous.get(f"/vendor/{name}")).status == 200, name
    assert (await anonymous.get("/healthz")).json == {"status": "ok"}
    assert (await anonymous.get("/readyz")).json == {"ready": True, "reasons": []}
    ann = await server.people.make()
    await ann.send(await ann.group())
    text = (await anonymous.get("/metrics")).body.decode()
    assert "bellwire_commits_total" in text
    assert 'bellwire_http_requests_total{method="POST",route="/api/v2/messages",status="201"} 1.0' in text
    assert ann.id not in text


async def test_readiness_says_what_is_wrong(server: Served) -> None:
    from storage.errors import Unavailable

    async def broken(*_: object, **__: object) -> None:
        raise Unavailable

    server.services.database.read = broken  # type: ignore[method-assign, assignment]
    answer = await server.people.anonymous.get("/readyz")
    assert answer.status == 503 and answer.json["reasons"] == ["the database does not answer, or can't be written"]


async def test_browsers_of_other_origins(serve: Any) -> None:
    server = await serve(cors_origins="https://app.example.org")
    ann = await server.people.make()
    ask = {"Origin": "https://app.example.org", "Access-Control-Request-Method": "POST"}
    answer = await server.people.anonymous.request("OPTIONS", "/api/v2/messages", headers=ask)
    assert answer.status == 200 and answer.headers["Access-Control-Allow-Origin"] == "https://app.example.org"
    assert "Authorization" in answer.headers["Access-Control-Allow-Headers"]
    wrong = await server.people.anonymous.get("/api/v1/users/me", headers={"Origin": "https://app.example.org"})
    assert wrong.status == 401 and wrong.headers["Access-Control-Allow-Origin"] == "https://app.example.org"
    assert wrong.headers["X-Content-Type-Options"] == "nosniff"
    other = await ann.get("/api/v1/users/me", headers={"Origin": "https://evil.example"})
    assert other.status == 200 and "Access-Control-Allow-Origin" not in other.headers


async def test_an_unknown_method_is_answered_with_those_that_exist(server: Served, document: dict[str, Any]) -> None:
    """Also where the pattern of another route matches: ``/notifications/read-all`` is no notification."""
    admin = await server.people.make(grant=["admin"])
    for path, described in document["paths"].items():
        allowed = {method.upper() for method in described}
        unknown = "POST" if "put" in described else "PUT"
        answer = await admin.request(unknown, path.replace("{", "").replace("}", ""))
        assert answer.status == 405, path
        assert {*answer.headers["Allow"].split(",")} - {"HEAD"} == allowed, path
    assert (await admin.get("/api/v1/notifications/read-all")).status == 405


def every(document: Any, found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """All objects of a document, but those of its examples."""
    if isinstance(document, dict):
        found.append(document)
        document = [each for name, each in document.items() if name not in ("example", "examples")]
    for each in document if isinstance(document, list) else ():
        every(each, found)
    return found


async def test_generators_find_nothing_to_stumble_over(document: dict[str, Any]) -> None:
    """What linters and generators of clients refused: see ``simplify`` in ``server/openapi.py``."""
    schemas = document["components"]["schemas"]
    objects = every({"schemas": schemas, "paths": document["paths"]}, [])
    assert not any("ge" in each or "default" in each for each in objects)
    assert not any(isinstance(each.get("title"), str) for each in objects)
    referred = {
        each["$ref"].removeprefix("#/components/schemas/") for each in objects if isinstance(each.get("$ref"), str)
    }
    assert referred == {*schemas}, "all are used"
    send = schemas["SendMessage"]["properties"]
    assert send["chatId"]["anyOf"][0] == {"type": "string", "pattern": "^[0-9a-f]{24}$"}
    assert schemas["Grant"]["properties"]["amount"]["minimum"] == 1
    assert schemas["Register"]["properties"]["email"]["format"] == "email"
    assert schemas["CreateStream"]["properties"]["startsAt"]["format"] == "date-time"
    assert schemas["CreateStream"]["properties"]["title"]["minLength"] == 1
    cursors = [each for each in objects if each.get("name") == "cursor" and each.get("in") == "query"]
    assert len(cursors) > 10 and all("pattern" in each["schema"] for each in cursors)
