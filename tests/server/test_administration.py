"""Admins over each other: a tenant keeps one, and nobody shuts themselves out by mistake."""

import asyncio
from itertools import product

import pytest

from tests.conftest import Served
from tests.support.people import Api

VERBS = ["ban", "disable", "delete"]


async def close(actor: Api, user_id: str, verb: str, query: str = "") -> int:
    path = f"/api/v1/admin/users/{user_id}"
    if verb == "delete":
        return (await actor.delete(path + query)).status
    return (await actor.post(f"{path}/{verb}{query}")).status


@pytest.mark.parametrize("verb", VERBS)
async def test_the_last_admin_stays(either: Served, verb: str) -> None:
    ann = await either.people.make(permissions=["admin"])
    # Whoever has the permission by a token alone is no admin of the tenant's.
    visitor = await either.people.make(grant=["admin"])
    bob = await either.people.make(permissions=["users.manage"])
    for query in ("", "?confirm=self"):
        assert await close(ann, ann.id, verb, query) == 409
    assert await close(visitor, ann.id, verb) == 409
    assert (await ann.delete("/api/v1/users/me")).status == 409
    assert (await ann.get("/api/v1/users/me")).status == 200
    assert await close(ann, bob.id, verb) == 200
    other = await either.people.make(permissions=["admin"])
    assert await close(ann, ann.id, verb) == 409, "not said"
    assert await close(ann, ann.id, verb, "?confirm=self") == 200
    assert await close(visitor, other.id, verb) == 409


async def test_who_is_banned_or_elsewhere_is_no_other_admin(server: Served) -> None:
    ann, bob = [await server.people.make(permissions=["admin"]) for _ in range(2)]
    await server.people.make(permissions=["admin"], tenant=await server.people.tenant())
    assert await close(ann, bob.id, "ban") == 200
    assert (await ann.delete("/api/v1/users/me")).status == 409


@pytest.mark.parametrize(("first", "second"), [*product(VERBS, VERBS)])
async def test_two_admins_can_not_close_each_other(either: Served, first: str, second: str) -> None:
    ann, bob = [await either.people.make(permissions=["admin"]) for _ in range(2)]
    statuses = await asyncio.gather(close(ann, bob.id, first), close(bob, ann.id, second))
    assert sorted(statuses) in ([200, 401], [200, 403], [200, 404], [200, 409]), statuses


async def test_confirm_takes_one_word(server: Served) -> None:
    ann, bob = [await server.people.make(permissions=["admin"]) for _ in range(2)]
    assert await close(ann, bob.id, "ban", "?confirm=yes") == 400
