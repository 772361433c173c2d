"""Whatever comes: the contract's error, nothing stored, no traceback, and the connection alive where it can be."""

from collections.abc import Iterable, Iterator
from typing import Annotated, Any, get_args, get_origin

import orjson
import pytest
from pydantic import AfterValidator

from realtime.schema.bodies import Body
from tests.conftest import Served
from tests.support.people import Answer

PATH = "/api/v2/messages"

DEEP = b"[" * 10_000 + b"]" * 10_000
BODIES = {
    "empty": b"",
    "no json": b"{",
    "text": b"hello",
    "a list": b"[]",
    "a string": b'"x"',
    "null": b"null",
    "deep": DEEP,
    "deep metadata": b'{"type":"text","content":"x","metadata":' + b'{"a":' * 40 + b"1" + b"}" * 41,
    "surrogate": b'{"type":"text","content":"\\ud800"}',
    "no utf-8": b'{"type":"text","content":"\xff"}',
    "infinity": b'{"type":"text","content":1e999}',
    "nan": b'{"type":"text","content":NaN}',
}


async def chat_of(server: Served) -> tuple[str, Any, Any]:
    ann, bob = await server.people.many(2)
    return await ann.group(bob), ann, bob


def is_error(answer: Answer, status: int) -> bool:
    body = answer.json
    return answer.status == status and body["statusCode"] == status and body["isSuccess"] is False


@pytest.mark.parametrize("name", BODIES)
async def test_bodies_that_are_none(server: Served, name: str) -> None:
    _, ann, _ = await chat_of(server)
    answer = await ann.post(PATH, data=BODIES[name], headers={"Content-Type": "application/json"})
    assert is_error(answer, 400), answer


async def test_fields_that_are_wrong(either: Served) -> None:
    chat_id, ann, _ = await chat_of(either)
    good = {"type": "text", "chatId": chat_id, "content": "x"}
    wrong: list[dict[str, Any]] = [
        {"type": None}, {"type": 1}, {"type": "Text"}, {"type": ["text"]},
        {"chatId": 1}, {"chatId": "short"}, {"chatId": "G" * 24}, {"chatId": "A" * 24}, {"chatId": {"$ne": 1}},
        {"chatId": None}, {"targetUserId": 5}, {"targetUserId": "x"},
        {"content": None}, {"content": ""}, {"content": " \n\t"}, {"content": 1}, {"content": ["x"]}, {"content": "a\0b"},
        {"content": "x" * (16 * 1024 + 1)}, {"content": "ü" * (8 * 1024 + 1)},
        {"metadata": "x"}, {"metadata": []}, {"metadata": {"a": "\0"}}, {"metadata": {"a": "x" * 4096}},
        {"metadata": {"\0": 1}}, {"replyTo": 1}, {"replyTo": "x"},
        {"clientMessageId": ""}, {"clientMessageId": "x" * 256}, {"clientMessageId": 1}, {"clientMessageId": "\0"},
        {"type": "media"}, {"type": "creditTransfer"},
    ]  # fmt: skip
    for change in wrong:
        answer = await ann.post(PATH, {**good, **change})
        assert is_error(answer, 400), (change, answer)
        assert answer.json["details"][0]["message"], change
    fine: list[dict[str, Any]] = [
        {"content": "x" * 16 * 1024}, {"unknown": [1]}, {"metadata": None}, {"replyTo": None}, {"file": 5},
        {"content": "‮ bidi ̈́̈́ 👩‍👩‍👧"}, {"metadata": {"n": 2**63, "m": -(2**63), "f": 1e300}},
    ]  # fmt: skip
    for change in fine:
        assert (await ann.post(PATH, {**good, **change})).status == 201, change
    items = (await ann.get(f"{PATH}?chatId={chat_id}")).json["items"]
    assert len(items) == len(fine)


async def test_content_types(server: Served) -> None:
    chat_id, ann, _ = await chat_of(server)
    body = orjson.dumps({"type": "text", "chatId": chat_id, "content": "x"})
    for kind in ("text/plain", "application/x-www-form-urlencoded", "application/xml"):
        assert is_error(await ann.post(PATH, data=body, headers={"Content-Type": kind}), 415), kind
    good = await ann.post(PATH, data=body, headers={"Content-Type": "application/json; charset=utf-8"})
    assert good.status == 201
    for kind in ("multipart/form-data", "multipart/form-data; boundary=x"):
        assert is_error(await ann.post(PATH, data=b"nonsense", headers={"Content-Type": kind}), 400), kind


async def test_sizes(server: Served) -> None:
    _, ann, _ = await chat_of(server)
    body = b'{"type":"text","content":"' + b"x" * (256 * 1024) + b'"}'
    assert is_error(await ann.post(PATH, data=body, headers={"Content-Type": "application/json"}), 413)

    async def drip() -> Any:
        for _ in range(300):
            yield b" " * 1024

    assert is_error(await ann.post(PATH, data=drip(), headers={"Content-Type": "application/json"}), 413)


async def test_the_order_of_checks(server: Served) -> None:
    ann = await server.people.make()
    anonymous = server.people.anonymous
    json = {"Content-Type": "application/json"}
    assert is_error(await anonymous.post("/api/v1/users", data=b"{", headers=json), 401)
    assert is_error(await ann.post("/api/v1/users", data=b"{", headers=json), 400)
    assert is_error(await ann.post("/api/v1/users", {"id": 5}), 403)
    manager = await server.people.make(grant=["users.manage"])
    assert is_error(await manager.post("/api/v1/users", {"id": 5}), 400)


async def test_unknown_urls_and_methods(server: Served) -> None:
    ann = await server.people.make()
    assert is_error(await ann.get("/api/v2/nothing"), 404)
    answer = await ann.request("PUT", PATH, {})
    assert is_error(answer, 405) and "POST" in answer.headers["Allow"]
    for id in ("x", "A" * 24, "%00", "..%2f..", "a" * 25, "💥"):
        assert is_error(await ann.get(f"{PATH}/{id}"), 404), id


WRONG_EVENTS: list[tuple[str, int]] = [
    ('["message:send"]', 400),
    ('["message:send",{}]', 400),
    ('["message:send",null]', 400),
    ('["message:send",[1]]', 400),
    ('["message:send",{"type":"text","chatId":"CHAT","content":""}]', 400),
    ('["message:send",{"type":"text","chatId":"CHAT","content":"a\\u0000b"}]', 400),
    ('["message:send",{"type":"text","chatId":"' + "a" * 24 + '","content":"x"}]', 404),
    ('["message:send",{"type":"text","chatId":"CHAT","content":"\\ud800"}]', 400),
    ('["message:edit",{"messageId":"x","content":"x"}]', 400),
    ('["message:delete",{"messageId":"' + "a" * 24 + '"}]', 404),
    ('["message:read",{"chatId":"CHAT","messageId":"' + "a" * 24 + '"}]', 404),
    ('["typing",{"chatId":"' + "a" * 24 + '"}]', 404),
    ('["presence:watch",{"userIds":"x"}]', 400),
    ('["app:state",{"active":1}]', 400),
    ('["session:refresh",{"token":"x"}]', 401),
    ('["connect",{},{}]', 400),
    ('["disconnect"]', 400),
    ('["__class__"]', 400),
    ('["message_send",{}]', 400),
    ("[]", 400),
    ("{}", 400),
    ("null", 400),
    ("[5]", 400),
    ("{", 400),
    ("", 400),
    ("[" * 100_000, 400),
    ('["message:send",' + "[" * 500 + "]" * 500 + "]", 400),
    ('["message:send",1e999]', 400),
]


async def test_events_that_are_wrong(server: Served) -> None:
    chat_id, ann, _ = await chat_of(server)
    socket = await ann.socket()
    for id, (event, status) in enumerate(WRONG_EVENTS, 1000):
        await socket.send(f"42/chat,{id}{event.replace('CHAT', chat_id)}")
        ack = await socket.until(lambda id=id: socket.acks.get(id))
        assert (ack["isSuccess"], ack["statusCode"], ack["data"]) == (False, status, None), (event[:80], ack)
        await socket.send(f"42/chat,{event.replace('CHAT', chat_id)}")
    ack = await socket.call("message:send", {"type": "text", "chatId": chat_id, "content": "alive"})
    assert ack["statusCode"] == 201 and ack["data"]["seq"] == 1
    await socket.close()


async def test_headers_and_encodings_that_are_none(either: Served) -> None:
    chat_id, ann, _ = await chat_of(either)
    body = {"type": "text", "chatId": chat_id, "content": "x"}
    key = b"\xff\xfe".decode("utf-8", "surrogateescape")
    assert is_error(await ann.post(PATH, body, headers={"Idempotency-Key": key}), 400)
    for coding in ("gzip", "deflate"):
        headers = {"Content-Type": "application/json", "Content-Encoding": coding}
        answer = await ann.post(PATH, data=b"no such thing", headers=headers)
        assert is_error(answer, 415), answer
    form = b"--x\r\nno colon\r\n\r\nvalue\r\n--x--\r\n"
    assert is_error(await ann.post(PATH, data=form, headers={"Content-Type": "multipart/form-data; boundary=x"}), 400)
    for until in ("9999-12-31T23:59:59-23:59", "0001-01-01T00:00:00+23:59", "1969-12-31T23:59:59Z"):
        assert is_error(await ann.post(f"/api/v2/chats/{chat_id}/mute", {"until": until}), 400), until
    for hours in ("zz12:00yy", "12:00\0", "12:00\n"):
        assert is_error(await ann.patch("/api/v1/users/me", {"quietHours": {"from": hours, "to": "12:00"}}), 400), hours
    assert is_error(await ann.get("/api/v1/users?ids=%00"), 400)
    long = {"email": "ß" * 60 + "@" + "ß" * 180, "password": "long enough"}
    assert is_error(await either.people.anonymous.post("/api/v1/auth/register", long), 400)
    assert is_error(await ann.get(f"{PATH}?chatId={chat_id}&limit=1_0"), 400)
    assert (await ann.post(PATH, {**body, "metadata": {"text": "\\u0000"}})).status == 201


async def test_a_used_key_reveals_nothing_of_other_chats(server: Served) -> None:
    chat_id, ann, bob = await chat_of(server)
    foreign = await bob.group()
    body = {"type": "text", "content": "x", "clientMessageId": "key"}
    assert (await ann.post(PATH, {**body, "chatId": chat_id})).status == 201
    assert (await ann.post(PATH, {**body, "chatId": foreign})).status == 404
    assert (await ann.post(PATH, {**body, "chatId": "a" * 24})).status == 404
    assert (await bob.post(PATH, {**body, "chatId": chat_id})).status == 201
    await ann.delete(f"/api/v2/chats/{chat_id}/members/{bob.id}")
    assert (await bob.post(PATH, {**body, "chatId": chat_id})).status == 404


async def test_edits_have_an_end(serve: Any) -> None:
    server = await serve(max_edits=3)
    chat_id, ann, _ = await chat_of(server)
    sent = await ann.send(chat_id)
    statuses = [(await ann.patch(f"{PATH}/{sent['_id']}", {"content": str(n)})).status for n in range(5)]
    assert statuses == [200, 200, 200, 409, 409]
    assert (await ann.delete(f"{PATH}/{sent['_id']}")).status == 200


@pytest.mark.parametrize("path", ["/api/v1/devices/a%00b", "/v1/templates/a%00b", "/api/v1/users/a%00b"])
async def test_a_name_with_nul_in_the_path_is_nobodys(either: Served, path: str) -> None:
    admin = await either.people.make(grant=["admin"])
    assert (await admin.delete(path)).status in (404, 405), path
    assert (await admin.get("/api/v1/users?query=a%00b")).status == 400


def models(base: type[Body]) -> Iterator[type[Body]]:
    for each in base.__subclasses__():
        yield each
        yield from models(each)


def is_unchecked(annotation: Any, metadata: Iterable[Any]) -> bool:
    """Whether a value may be any ``str``, NUL and lone surrogates among them, which PostgreSQL can't keep."""
    if annotation is str:
        return not any(isinstance(each, AfterValidator) or getattr(each, "pattern", None) for each in metadata)
    if get_origin(annotation) is Annotated:
        inner, *more = get_args(annotation)
        return is_unchecked(inner, [*metadata, *more])
    return any(is_unchecked(each, metadata) for each in get_args(annotation) if not isinstance(each, str | int))


def test_every_text_of_every_body_is_checked() -> None:
    found = {
        f"{model.__module__}.{model.__name__}.{name}"
        for model in models(Body)
        for name, field in model.model_fields.items()
        if is_unchecked(field.annotation, field.metadata)
    }
    assert found == set() and len({*models(Body)}) > 40


LINKS = [
    "/messages/1",
    "messages/1",
    "https://example.org/a:b",
    "myapp://chat/1",
    "mailto:ann@example.org",
    "?a=javascript:x",
]
SCRIPTS = [
    "javascript:alert(1)", "JavaScript:alert(1)", " javascript:alert(1)", "java\tscript:alert(1)", "\x01javascript:alert(1)",
    "data:text/html,x", "vbscript:x", "file:///etc/passwd", "blob:https://example.org/1", "java\r\nscript\n:alert(1)",
]  # fmt: skip


async def test_no_link_is_a_script(server: Served) -> None:
    admin = await server.people.make(grant=["admin"])
    notification = {"user_id": admin.user.number, "type": "info", "title": "t", "message": "m"}
    for url in LINKS + SCRIPTS:
        answer = await admin.post("/api/v1/notifications", {**notification, "action_url": url})
        assert answer.status == (201 if url in LINKS else 422), (url, answer)
    broadcast = {"type": "info", "category": "c", "title": "t", "message": "m", "actionUrl": SCRIPTS[0]}
    assert (await admin.post("/api/v1/admin/broadcasts", broadcast)).status == 400


@pytest.mark.parametrize("path", ["/api/v1/notifications", "/v1/notifications", "/v1/nowhere", "/api/v1/auth/login"])
async def test_a_body_without_a_token_is_small(server: Served, path: str) -> None:
    """Some are read before anybody is told that they may not: the dialect of the answer may stand in there."""
    ann = await server.people.make(grant=["notifications.send"])
    keys = {f"key{number}": number for number in range(15_000)}
    body = orjson.dumps({**keys, "email": "ann@example.org", "password": "x"})
    assert 200_000 < len(body) < 256 * 1024
    headers = {"Content-Type": "application/json"}
    refused = await server.people.anonymous.post(path, data=body, headers=headers)
    assert refused.status == {"/api/v1/auth/login": 413, "/v1/nowhere": 404}.get(path, 401)
    small = await server.people.anonymous.post(path, data=b'{"user_id":1}', headers=headers)
    if path == "/api/v1/notifications":
        assert small.json == {"message": "Unauthenticated."}, "a small one tells the dialect"
        assert "statusCode" in refused.json, "a large one is not read"
        assert (await ann.post(path, data=body, headers=headers)).status == 400
