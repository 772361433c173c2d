"""Who may make an account: in each tenant anybody, people of some domains, the invited, or nobody."""

import asyncio
from typing import Any

import pytest
from sqlalchemy import update

from storage import accounts
from storage.models import tenants
from storage.registration import sweep
from storage.transaction import Command
from tests.conftest import Served, ServerFactory
from tests.support.people import Answer, Person

TENANT, INVITATIONS = "/api/v1/admin/tenant", "/api/v1/admin/invitations"
UUID = "123e4567-e89b-12d3-a456-426614174000"


async def another(server: Served) -> Person:
    """The admin of a new tenant."""
    pk = await server.people.tenant(UUID)
    return await server.people.make(tenant=pk, permissions=["admin"])


async def register(server: Served, email: str, **body: Any) -> Answer:
    values = {"email": email, "password": "correct horse", "tenant": UUID, **body}
    return await server.people.anonymous.post("/api/v1/auth/register", values)


def is_closed(answer: Answer) -> bool:
    return answer.status == 403 and answer.headers["X-Error-Code"] == "registration_closed"


async def setting(admin: Person, **body: Any) -> Any:
    answer = await admin.patch(TENANT, body)
    assert answer.status == 200, answer
    return {name: answer.json["data"][name] for name in ("registration", "domains")}


async def test_a_new_tenant_is_closed_and_the_default_one_open(either: Served) -> None:
    admin = await another(either)
    assert is_closed(await register(either, "ann@example.org"))
    assert (await register(either, "ann@example.org", tenant=None)).status == 201
    assert await setting(admin) == {"registration": "closed", "domains": []}
    assert await setting(admin, registration="open") == {"registration": "open", "domains": []}
    made = await register(either, "ann@example.org")
    assert made.status == 201 and made.json["data"]["user"]["tenantId"] == UUID
    await setting(admin, registration="closed")
    assert is_closed(await register(either, "bob@example.org"))
    assert (await admin.patch(TENANT, {"registration": "everybody"})).status == 400


async def test_settings_of_a_tenant_change_together_with_one_line_in_the_trail(either: Served) -> None:
    admin = await another(either)
    live = {"attributesType": "LiveAttributes", "attributes": {}}
    answer = await admin.patch(TENANT, {"liveActivity": live, "registration": "open"})
    assert answer.json["data"]["liveActivity"] == live and answer.json["data"]["registration"] == "open"
    trail = (await admin.get("/api/v1/admin/audit")).json["data"]["items"]
    (line,) = [each for each in trail if each["action"] == "tenant.change"]
    assert line["details"] == {"liveActivity": "LiveAttributes", "registration": "open", "domains": None}
    assert (await admin.patch(TENANT, {})).status == 200
    assert len((await admin.get("/api/v1/admin/audit")).json["data"]["items"]) == len(trail), "nothing was changed"


async def test_people_of_some_domains(either: Served) -> None:
    admin = await another(either)
    shown = await setting(admin, registration="domain", domains=["Example.ORG", "bücher.example"])
    assert shown == {"registration": "domain", "domains": ["example.org", "xn--bcher-kva.example"]}
    for email in ("ann@example.org", "bob@EXAMPLE.org", "cid@bücher.example", "dan@xn--bcher-kva.example"):
        assert (await register(either, email)).status == 201, email
    for email in (
        "eve@evil.example",
        "eve@sub.example.org",
        "eve@example.org.evil.example",
        "example.org@evil.example",
    ):
        assert is_closed(await register(either, email)), email
    for wrong in (["localhost"], ["a b"], ["x"] * 21, "example.org", [5]):
        assert (await admin.patch(TENANT, {"domains": wrong})).status == 400, wrong
    assert await setting(admin, domains=[]) == {"registration": "domain", "domains": []}
    assert is_closed(await register(either, "fay@example.org"))


async def test_an_invitation_makes_one_account(either: Served) -> None:
    admin = await another(either)
    await setting(admin, registration="invitation")
    assert is_closed(await register(either, "ann@example.org"))
    made = await admin.post(INVITATIONS, {})
    assert made.status == 201 and made.json["data"]["expiresAt"]
    token = made.json["data"]["token"]
    assert is_closed(await register(either, "ann@example.org", invitation="x" + token))
    answers = await asyncio.gather(*(register(either, f"a{n}@example.org", invitation=token) for n in range(4)))
    assert sorted(each.status for each in answers) == [201, 403, 403, 403]
    personal = (await admin.post(INVITATIONS, {"email": "Bob@example.org"})).json["data"]["token"]
    assert is_closed(await register(either, "eve@example.org", invitation=personal))
    assert (await register(either, "bob@EXAMPLE.org", invitation=personal)).status == 201
    member = await either.people.make(tenant=admin.user.tenant_pk)
    assert (await member.post(INVITATIONS, {})).status == 403


async def test_an_account_that_is_not_made_takes_no_invitation(either: Served) -> None:
    admin = await another(either)
    await setting(admin, registration="invitation")
    first, second = [(await admin.post(INVITATIONS, {})).json["data"]["token"] for _ in range(2)]
    assert (await register(either, "ann@example.org", invitation=first)).status == 201
    assert (await register(either, "ann@example.org", invitation=second)).status == 409
    assert (await register(either, "bob@example.org", invitation=second)).status == 201


async def test_invitations_end(either: Served) -> None:
    admin = await another(either)
    await setting(admin, registration="invitation")
    past = (await admin.post(INVITATIONS, {"expiresAt": "2020-01-01T00:00:00Z"})).json["data"]["token"]
    good = (await admin.post(INVITATIONS, {"expiresAt": "2999-01-01T00:00:00Z"})).json["data"]["token"]
    assert is_closed(await register(either, "ann@example.org", invitation=past))
    await either.services.database.write(Command(sweep))
    await setting(admin, registration="closed")
    assert is_closed(await register(either, "ann@example.org", invitation=good)), "nobody is invited to a closed one"
    await setting(admin, registration="domain", domains=["example.com"])
    assert (await register(either, "ann@example.org", invitation=good)).status == 201, "beside a domain"


async def test_an_invitation_is_of_its_tenant(either: Served) -> None:
    admin = await another(either)
    await setting(admin, registration="invitation")
    here = await either.people.make(permissions=["admin"])
    await setting(here, registration="invitation")
    token = (await here.post(INVITATIONS, {})).json["data"]["token"]
    assert is_closed(await register(either, "ann@example.org", invitation=token))
    assert (await register(either, "ann@example.org", tenant=None, invitation=token)).status == 201


async def test_a_tenant_from_before_stays_open_and_is_warned_of(
    serve: ServerFactory, caplog: pytest.LogCaptureFixture
) -> None:
    server = await serve()
    pk = await server.people.tenant(UUID)
    database = server.services.database
    await database.write(Command(lambda tx: tx.execute(update(tenants).values(registration=None))))
    assert (await register(server, "ann@example.org")).status == 201
    assert (await database.read(lambda it: accounts.tenant(it, UUID))).pk == pk  # type: ignore[union-attr]
    await serve(data_dir=server.services.settings.data_dir)
    assert "anybody may register in Another" in caplog.text and "Default" not in caplog.text
