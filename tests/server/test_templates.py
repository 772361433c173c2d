"""Templates: kept by key, filled with data, and never more than that."""

import asyncio
from typing import Any

import pytest

from tests.conftest import Served
from tests.server.world import TEMPLATE, TENANT, is_error, send, world

PATH = "/v1/templates"


async def test_make_change_list_and_delete(either: Served) -> None:
    here = await world(either)
    call = here.sender
    locales = {"tr": {"title": "Görev", "message": "{{ who }} bekliyor"}, "de-AT": {"title": "Aufgabe"}}
    body = {**TEMPLATE, "key": "TASK", "title": "Task", "message": "{{ who }} waits", "locales": locales}
    made = await call.post(PATH, body)
    assert made.status == 201 and made.json["message"] == "Success"
    document = made.json["data"]
    assert {**document, "createdAt": 0, "updatedAt": 0} == {**body, "createdAt": 0, "updatedAt": 0}
    assert is_error("template", await call.post(PATH, body), 409)
    page = (await call.get(f"{PATH}?limit=1")).json["data"]
    assert [each["key"] for each in page["items"]] == ["DELEGATION_ISSUED"]
    rest = (await call.get(f"{PATH}?cursor={page['nextCursor']}")).json["data"]
    assert rest == {"items": [document], "nextCursor": None}
    assert (await call.get(f"{PATH}/TASK")).json["data"] == document
    changed = await call.patch(f"/notification{PATH}/TASK", {"title": "Work", "isActionable": False})
    assert changed.json["data"] == document | {
        "title": "Work", "isActionable": False, "updatedAt": changed.json["data"]["updatedAt"],
    }  # fmt: skip
    assert (await call.delete(f"{PATH}/TASK")).json["data"] == changed.json["data"]
    for answer in (
        await call.get(f"{PATH}/TASK"),
        await call.patch(f"{PATH}/TASK", {"title": "x"}),
        await call.delete(f"{PATH}/TASK"),
        await call.post(f"{PATH}/TASK/preview", {}),
        await call.post(PATH, {**body, "tenantId": "12345678-0000-0000-0000-123456789012"}),
    ):
        assert is_error("template", answer, 404)


async def test_only_for_those_who_manage_them(server: Served) -> None:
    here = await world(server)
    nobody = await here.person(grant=["notifications.send"])
    outsider = await server.people.make(grant=["templates.manage"])
    one = f"{PATH}/DELEGATION_ISSUED"
    calls: list[tuple[str, str, Any]] = [
        ("POST", PATH, TEMPLATE), ("GET", PATH, None), ("GET", one, None), ("PATCH", one, {"title": "x"}),
        ("DELETE", one, None), ("POST", f"{one}/preview", {}),
    ]  # fmt: skip
    for method, path, body in calls:
        assert is_error("template", await server.people.anonymous.request(method, path, body), 401)
        assert is_error("template", await nobody.request(method, path, body), 403)
        if path != PATH:
            assert is_error("template", await outsider.request(method, path, body), 404)
    assert (await outsider.get(PATH)).json["data"]["items"] == []


async def test_variants_by_the_recipients_locale(server: Served) -> None:
    here = await world(server)
    locales = {"tr": {"title": "Görev", "category": "İş"}, "de-AT": {"message": "Servus {{ who }}"}}
    body = {**TEMPLATE, "key": "TASK", "title": "Task {{ who }}", "message": "Hello {{ who }}", "locales": locales}
    assert (await here.sender.post(PATH, body)).status == 201
    wanted = {
        None: ("Delegations", "Task Ann", "Hello Ann"),
        "tr-TR": ("İş", "Görev", "Hello Ann"),
        "TR": ("İş", "Görev", "Hello Ann"),
        "de_AT": ("Delegations", "Task Ann", "Servus Ann"),
        "de": ("Delegations", "Task Ann", "Hello Ann"),
    }
    for locale, texts in wanted.items():
        await here.recipient.patch("/api/v1/users/me", {"locale": locale})
        sent = (await send(here.sender, "template", templateKey="TASK", placeholders={"who": "Ann"})).json["data"]
        assert (sent["category"], sent["title"], sent["message"]) == texts, locale
        asked = {"placeholders": {"who": "Ann"}, "locale": locale}
        preview = (await here.sender.post(f"{PATH}/TASK/preview", asked)).json["data"]
        assert (preview["category"], preview["title"], preview["message"]) == texts, locale
    box = (await here.recipient.get("/v1/notifications")).json["data"]["items"]
    assert len(box) == len(wanted), "a preview sends nothing"


@pytest.mark.parametrize(
    "value",
    [
        "{{7*7}}",
        "{{ user_email }}",
        "{% if true %}x{% endif %}",
        "{% include 'x' %}",
        "<b>&amp;</b>",
        "{{",
        "%}",
        "\\ \"'",
    ],
)
async def test_a_value_is_never_template_text(server: Served, value: str) -> None:
    here = await world(server)
    sent = await send(here.sender, "template", placeholders={"delegation_id": value, "user_email": "x"})
    assert sent.status == 201
    assert sent.json["data"]["message"] == f"Delegation {value} was issued to you. Click to review."


async def test_numbers_and_conditions(server: Served) -> None:
    here = await world(server)
    message = "{% if n > 1 %}{{ n }} gifts{% else %}A gift{% endif %} for {{ who | upcase | truncate: 5 }}"
    assert (await here.sender.post(PATH, {**TEMPLATE, "key": "G", "message": message})).status == 201

    async def filled(**placeholders: Any) -> Any:
        return (await here.sender.post(f"{PATH}/G/preview", {"placeholders": placeholders})).json["data"]["message"]

    assert await filled(n=3, who="ann") == "3 gifts for ANN"
    assert await filled(n=1, who="alexandra") == "A gift for AL..."
    wrong = await here.sender.post(f"{PATH}/G/preview", {"placeholders": {"n": "many", "who": "x"}})
    assert is_error("template", wrong, 400) and "do not fit" in wrong.json["errors"][0]["message"]


async def test_every_missing_placeholder_is_named(server: Served) -> None:
    here = await world(server)
    message = "{{ a }} {% if b %}{{ c }}{% endif %} {{ now }}"
    await here.sender.post(PATH, {**TEMPLATE, "key": "M", "title": "{{ d }}", "message": message})
    answer = await here.sender.post(f"{PATH}/M/preview", {"placeholders": {"a": "x"}})
    assert is_error("template", answer, 400)
    assert [each["field"] for each in answer.json["errors"]] == [
        f"placeholders.{name}" for name in ("b", "c", "d", "now")
    ]
    nothing = await here.sender.post(
        f"{PATH}/M/preview", {"placeholders": {"a": None, "b": 1, "c": 1, "d": 1, "now": 1}}
    )
    assert [each["field"] for each in nothing.json["errors"]] == ["placeholders.a"], "null means absent"


@pytest.mark.parametrize(
    "source",
    [
        "{{ 7*7 }}", "{{ a", "{% if a %}", "{% endif %}", "{% for i in (1..9) %}{{ i }}{% endfor %}",
        "{% assign a = 1 %}", "{% capture a %}x{% endcapture %}", "{% include 'x' %}", "{% render 'x' %}",
        "{{ a | replace: 'a', 'aaaa' }}", "{{ a | append: a }}", "{{ a | times: 9 }}", "{{ a | split: ',' | join: a }}",
        "{% tablerow i in (1..9) %}{% endtablerow %}", "{% nothing %}", "{{ a | nothing }}",
        "{% if a %}" * 12 + "{% endif %}" * 11,
        "{{ (1..9) }}", "{{ (1..a) | slice: 1, 3 }}", "{% if (1..9) contains a %}x{% endif %}", "{{ a | escape }}",
        "{{ b..c }}",
    ],
)  # fmt: skip
async def test_what_could_grow_or_reach_out_is_no_template(server: Served, source: str) -> None:
    here = await world(server)
    for body in ({"title": source}, {"message": source}, {"locales": {"tr": {"message": source}}}):
        answer = await here.sender.post(PATH, {**TEMPLATE, "key": "BAD", **body})
        assert is_error("template", answer, 400), answer
        (error,) = answer.json["errors"]
        assert error["field"] in ("title", "message", "locales.tr.message")
        assert error["message"].startswith("is no template that can be used here")
        assert is_error("template", await here.sender.patch(f"{PATH}/DELEGATION_ISSUED", body), 400)


@pytest.mark.parametrize(
    ("source", "values"),
    [
        ("{{ a | divided_by: 0 }}", {"a": 1}),
        ("{{ a | floor }}", {"a": "nan"}),
        ("{{ a | round }}", {"a": "inf"}),
        ("{{ a | truncate: 99999999999 }}", {"a": "x"}),
        ("{{ a.b.c }}", {"a": "x"}),
        ("{{ a[0][a] }}", {"a": "x"}),
        ("{{ a | round: 400 }}", {"a": 1.5}),
        ("{{ a | plus: a }}", {"a": "9" * 5000}),
        ("{{ a | at_least: 'x' | slice: -1, 999999999 }}", {"a": "x"}),
        ("{{ [a] }}", {"a": "now"}),
        ("{{ a }}" * 99, {"a": "x" * 60_000}),
        ("{{ a" + " | upcase | downcase" * 190 + " }}", {"a": "<&ß" * 10_000}),
    ],
    ids=range(12),
)
async def test_hostile_filling_is_an_answer(server: Served, source: str, values: dict[str, Any]) -> None:
    here = await world(server)
    made = await here.sender.post(PATH, {**TEMPLATE, "key": "H", "message": "x" + source})
    if made.status == 201:
        answer = await here.sender.post(f"{PATH}/H/preview", {"placeholders": values})
        assert answer.status == 200 or is_error("template", answer, 400), answer
    else:
        assert is_error("template", made, 400)


async def test_many_parts_are_too_many(server: Served) -> None:
    here = await world(server)
    answer = await here.sender.post(PATH, {**TEMPLATE, "key": "P", "message": "{{ a }}" * 101})
    assert is_error("template", answer, 400) and "more than 100" in answer.json["errors"][0]["message"]


async def test_what_cannot_be_a_key(server: Served) -> None:
    here = await world(server)
    for key in ("%00", "%7Bx%7D", "a%2Fb", "x" * 65):
        for method, path in (("GET", ""), ("PATCH", ""), ("DELETE", ""), ("POST", "/preview")):
            body: dict[str, Any] | None = {} if method in ("PATCH", "POST") else None
            assert is_error("template", await here.sender.request(method, f"{PATH}/{key}{path}", body), 404), key


async def test_changing_and_deleting_at_once(either: Served) -> None:
    here = await world(either)
    one = f"{PATH}/DELEGATION_ISSUED"
    for _ in range(10):
        answers = await asyncio.gather(
            *(here.sender.patch(one, {"title": "x"}) for _ in range(5)), here.sender.delete(one)
        )
        assert {each.status for each in answers} <= {200, 404}
        assert (await here.sender.post(PATH, TEMPLATE)).status == 201


async def test_too_many_and_too_large(server: Served) -> None:
    here = await world(server)

    async def sent(**placeholders: Any) -> Any:
        return await send(here.sender, "template", placeholders={"delegation_id": "x", **placeholders})

    assert is_error("template", await sent(a="x" * 1_000_000), 413)
    wrong: dict[str, dict[str, Any]] = {
        "many": {f"p{n}": n for n in range(10_000)},
        "large": {"a": "x" * 70_000},
        "object": {"a": {"b": "c"}},
        "list": {"a": ["b"]},
        "nul": {"a": "\0"},
        "name": {"n" * 65: "x"},
    }
    for name, values in wrong.items():
        answer = await sent(**values)
        assert is_error("template", answer, 400), name
        assert answer.json["errors"][0]["field"] == "placeholders", name
    assert (await sent(**{f"p{n}": n for n in range(99)})).status == 201
    long = await send(here.sender, "template", placeholders={"delegation_id": "x" * 4001})
    assert is_error("template", long, 400) and "1 to 4000 characters" in long.json["errors"][0]["message"]


async def test_wrong_templates(server: Served) -> None:
    here = await world(server)
    wrong: list[dict[str, Any]] = [
        {"key": ""}, {"key": "{x}"}, {"key": ".."}, {"key": "a\n"},
        {"key": "x" * 65}, {"key": 1}, {"category": None}, {"title": " "}, {"title": "x" * 256},
        {"message": "x" * 4001}, {"isActionable": 1}, {"locales": []}, {"locales": {"not a locale": {}}},
        {"locales": {"tr": "x"}}, {"locales": {"tr": {"title": ""}}}, {"tenantId": "x"}, {"tenantId": None},
        {"locales": {f"x{chr(97 + n // 26)}{chr(97 + n % 26)}": {} for n in range(101)}},
    ]  # fmt: skip
    for changes in wrong:
        answer = await here.sender.post(PATH, {**TEMPLATE, "key": "NEW", **changes})
        assert is_error("template", answer, 400), changes
    assert (await here.sender.get(f"{PATH}/NEW")).status == 404
    assert TEMPLATE["tenantId"] == TENANT
