"""Accounts: register, log in, refresh, provision, ban; tokens of ours and of an issuer."""

import asyncio
import base64
import time
from pathlib import Path
from typing import Any

import jwt
import orjson
import pytest
from aiohttp import web
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from realtime.schema.caller import Operator
from storage import accounts
from storage.types import SECOND, iso_time
from tests.conftest import Served, ServerFactory
from tests.support.people import Api, Person

AUTH = "/api/v1/auth"
ME = "/api/v1/users/me"
ANN = {"email": "Ann@example.org", "password": "correct horse", "name": "Ann"}


async def register(server: Served, **options: Any) -> Any:
    answer = await server.people.anonymous.post(f"{AUTH}/register", {**ANN, **options})
    assert answer.status == 201, answer
    return answer.json["data"]


def api(server: Served, token: str) -> Api:
    return Api(server.people.session, server.url, token)


async def test_register_log_in_and_get_the_current_user(either: Served) -> None:
    anonymous = either.people.anonymous
    made = await register(either)
    assert made["expiresIn"] == 900
    assert (await anonymous.post(f"{AUTH}/register", {**ANN, "email": "ann@EXAMPLE.org"})).status == 409
    logged_in = await anonymous.post(f"{AUTH}/login", {"email": "ann@example.org", "password": ANN["password"]})
    assert logged_in.status == 200
    me = (await api(either, logged_in.json["data"]["accessToken"]).get(ME)).json["data"]
    assert me == made["user"]
    assert me["number"] >= 1_000_000 and me["email"] == ANN["email"] and me["quietHours"] is None
    wrong: dict[str, Any]
    for wrong in ({"email": "nobody@example.org"}, {"password": "wrong horse"}):
        answer = await anonymous.post(f"{AUTH}/login", {**ANN, **wrong})
        assert answer.status == 401
    for wrong in (
        {"email": "x"},
        {"password": "short"},
        {"name": ""},
        {"email": None},
        {"tenant": "x"},
        {"password": 5},
    ):
        assert (await anonymous.post(f"{AUTH}/register", {**ANN, "email": "new@example.org", **wrong})).status == 400


async def test_a_refresh_token_works_once(either: Served) -> None:
    anonymous = either.people.anonymous
    first = await register(either)
    second = (await anonymous.post(f"{AUTH}/refresh", {"refreshToken": first["refreshToken"]})).json["data"]
    assert (await api(either, second["accessToken"]).get(ME)).status == 200
    socket = await api(either, second["accessToken"]).socket()
    reused = await anonymous.post(f"{AUTH}/refresh", {"refreshToken": first["refreshToken"]})
    assert reused.status == 401
    assert (await socket.event("session:closed"))[0] == {"reason": "logout"}
    await socket.gone()
    assert (await anonymous.post(f"{AUTH}/refresh", {"refreshToken": second["refreshToken"]})).status == 401
    for token in (first["accessToken"], second["accessToken"], second["refreshToken"]):
        assert (await api(either, token).get(ME)).status == 401
    for wrong in ("", "x.y.z", first["accessToken"]):
        assert (await anonymous.post(f"{AUTH}/refresh", {"refreshToken": wrong})).status == 401


async def test_logging_out_ends_this_login_alone(server: Served) -> None:
    first = await register(server)
    second = (await server.people.anonymous.post(f"{AUTH}/login", ANN)).json["data"]
    assert (await api(server, first["accessToken"]).post(f"{AUTH}/logout")).status == 200
    assert (await api(server, first["accessToken"]).get(ME)).status == 401
    assert (await api(server, second["accessToken"]).get(ME)).status == 200


async def test_changing_the_password_ends_other_logins(server: Served) -> None:
    first = await register(server)
    second = (await server.people.anonymous.post(f"{AUTH}/login", ANN)).json["data"]
    mine = api(server, first["accessToken"])
    assert (await mine.post(f"{AUTH}/password", {"old": "wrong horse", "new": "battery staple"})).status == 403
    assert (await mine.post(f"{AUTH}/password", {"old": ANN["password"], "new": "battery staple"})).status == 200
    assert (await mine.get(ME)).status == 200
    assert (await api(server, second["accessToken"]).get(ME)).status == 401
    assert (await server.people.anonymous.post(f"{AUTH}/login", ANN)).status == 401
    again = {**ANN, "password": "battery staple"}
    assert (await server.people.anonymous.post(f"{AUTH}/login", again)).status == 200


async def test_a_new_password_ends_every_other_token_and_its_sockets(either: Served) -> None:
    made = await register(either)
    manager = await either.people.make(grant=["users.manage", "admin"])
    issued = (await manager.post(f"/api/v1/users/{made['user']['id']}/tokens", {})).json["data"]["token"]
    second = (await either.people.anonymous.post(f"{AUTH}/login", ANN)).json["data"]["accessToken"]
    mine, others = api(either, made["accessToken"]), [api(either, issued), api(either, second)]
    sockets = [await each.socket() for each in others]
    own = await mine.socket()
    # A token that the login itself has issued is another one, too.
    await manager.patch(f"/api/v1/users/{made['user']['id']}", {"permissions": ["users.manage"]})
    of_own = (await mine.post(f"/api/v1/users/{made['user']['id']}/tokens", {"ttl": 86_400})).json["data"]["token"]
    others.append(api(either, of_own))
    sockets.append(await others[-1].socket())
    link = (await manager.post(f"/api/v1/admin/users/{made['user']['id']}/reset-link")).json["data"]["token"]
    assert (await mine.post(f"{AUTH}/password", {"old": ANN["password"], "new": "battery staple"})).status == 200
    for other, socket in zip(others, sockets, strict=True):
        assert (await other.get(ME)).status == 401
        assert (await socket.event("session:closed"))[0] == {"reason": "logout"}
    reset = {"token": link, "password": "another password"}
    assert (await either.people.anonymous.post(f"{AUTH}/reset", reset)).status == 404
    assert (await mine.get(ME)).status == 200
    assert (await own.call("presence:watch", {"userIds": []}))["statusCode"] == 200
    assert own.named("session:closed") == []


async def test_a_token_without_a_login_ends_with_the_password_it_changes(server: Served) -> None:
    made = await register(server)
    manager = await server.people.make(grant=["users.manage"])
    issued = (await manager.post(f"/api/v1/users/{made['user']['id']}/tokens", {})).json["data"]["token"]
    change = {"old": ANN["password"], "new": "battery staple"}
    assert (await api(server, issued).post(f"{AUTH}/password", change)).status == 200
    for token in (issued, made["accessToken"]):
        assert (await api(server, token).get(ME)).status == 401


async def test_reset_links_end_together(either: Served) -> None:
    made = await register(either)
    admin = await either.people.make(grant=["admin"])
    path = f"/api/v1/admin/users/{made['user']['id']}/reset-link"
    older, newer = [(await admin.post(path)).json["data"]["token"] for _ in range(2)]
    other = await register(either, email="other@example.org")
    untouched = (await admin.post(f"/api/v1/admin/users/{other['user']['id']}/reset-link")).json["data"]["token"]
    anonymous = either.people.anonymous
    assert (await anonymous.post(f"{AUTH}/reset", {"token": newer, "password": "battery staple"})).status == 200
    assert (await anonymous.post(f"{AUTH}/reset", {"token": older, "password": "another password"})).status == 404
    assert (await anonymous.post(f"{AUTH}/reset", {"token": untouched, "password": "another password"})).status == 200


async def test_a_reset_link_works_once(server: Served) -> None:
    made = await register(server)
    admin = await server.people.make(grant=["admin"])
    link = await admin.post(f"/api/v1/admin/users/{made['user']['id']}/reset-link")
    assert link.status == 201
    body = {"token": link.json["data"]["token"], "password": "battery staple"}
    assert (await server.people.anonymous.post(f"{AUTH}/reset", body)).status == 200
    assert (await server.people.anonymous.post(f"{AUTH}/reset", body)).status == 404
    assert (await api(server, made["accessToken"]).get(ME)).status == 401
    assert (await server.people.anonymous.post(f"{AUTH}/login", {**ANN, "password": "battery staple"})).status == 200


async def test_a_reset_link_works_once_however_many_use_it_at_once(either: Served) -> None:
    """Each was good when it was looked at, before the password was hashed."""
    made, admin = await register(either), await either.people.make(grant=["admin"])
    link = (await admin.post(f"/api/v1/admin/users/{made['user']['id']}/reset-link")).json["data"]["token"]
    bodies = [{"token": link, "password": f"another password {number}"} for number in range(4)]
    answers = await asyncio.gather(*(either.people.anonymous.post(f"{AUTH}/reset", body) for body in bodies))
    assert sorted(each.status for each in answers) == [200, 404, 404, 404]
    (won,) = [body["password"] for body, answer in zip(bodies, answers, strict=True) if answer.status == 200]
    login = {**ANN, "password": won}
    assert (await either.people.anonymous.post(f"{AUTH}/login", login)).status == 200


@pytest.mark.parametrize(("verb", "reason"), [("disable", "banned"), ("ban", "banned"), ("sign-out", "logout")])
async def test_administration_closes_everything(either: Served, verb: str, reason: str) -> None:
    admin, ann = await either.people.make(grant=["admin"]), await either.people.make()
    socket = await ann.socket()
    assert (await ann.post(f"/api/v1/admin/users/{admin.id}/{verb}")).status == 403
    assert (await admin.post(f"/api/v1/admin/users/{ann.id}/{verb}")).status == 200
    assert (await socket.event("session:closed"))[0] == {"reason": reason}
    await socket.gone()
    assert socket.packets[-1] == "41/chat,"
    assert (await ann.get(ME)).status == 401
    assert (await admin.post(f"/api/v1/admin/users/{'a' * 24}/{verb}")).status == 404


async def test_a_ban_can_be_lifted(server: Served) -> None:
    admin = await server.people.make(grant=["admin"])
    made = await register(server)
    path = f"/api/v1/admin/users/{made['user']['id']}"
    for off, on in (("ban", "unban"), ("disable", "enable")):
        await admin.post(f"{path}/{off}")
        assert (await server.people.anonymous.post(f"{AUTH}/login", ANN)).status == 401
        assert (await admin.post(f"{path}/{on}")).json["data"]["status"] == "active"
        assert (await server.people.anonymous.post(f"{AUTH}/login", ANN)).status == 200


async def test_a_revocation_of_another_node_closes_sockets_here(either: Served) -> None:
    from storage import logins
    from storage.transaction import Command

    ann = await either.people.make()
    socket = await ann.socket()
    await either.services.database.write(Command(lambda tx: logins.end_all(tx, ann.user.pk, "banned")))
    assert (await socket.event("session:closed"))[0] == {"reason": "banned"}
    assert (await ann.get(ME)).status == 401


async def test_provisioning_keeps_the_names_supplied(either: Served) -> None:
    manager = await either.people.make(grant=["users.manage"])
    names = {"id": "0" * 23 + "1", "number": 1, "uuid": "550e8400-e29b-41d4-a716-446655440000"}
    body = {"email": "old@example.org", "name": "Old", **names}
    made = await manager.post("/api/v1/users", body)
    assert made.status == 201
    assert {name: made.json["data"][name] for name in names} == names
    for taken in names:
        clash = {"name": "Other", taken: names[taken]}
        assert (await manager.post("/api/v1/users", clash)).status == 409
    for wrong in (
        {"id": "x"},
        {"number": 0},
        {"number": 10**18},
        {"number": "1"},
        {"uuid": "x"},
        {"permissions": ["x"]},
        {},
    ):
        assert (await manager.post("/api/v1/users", {"name": "New", **wrong} if wrong else {})).status == 400, wrong
    assert (await (await either.people.make()).post("/api/v1/users", body)).status == 403
    token = (await manager.post(f"/api/v1/users/{names['id']}/tokens", {})).json["data"]["token"]
    assert (await api(either, token).get(ME)).json["data"]["uuid"] == names["uuid"]


async def made_for(maker: Api, person: Person, **options: Any) -> Api:
    """The person with a token that the maker made for them."""
    answer = await maker.post(f"/api/v1/users/{person.id}/tokens", options)
    assert answer.status == 201, answer
    return Api(maker.session, maker.url, answer.json["data"]["token"])


@pytest.mark.parametrize("end", ["disable", "ban", "delete", "permission"])
async def test_a_token_ends_with_the_right_of_its_maker(either: Served, end: str) -> None:
    admin = await either.people.make(grant=["admin"])
    manager = await either.people.make(permissions=["users.manage"])
    other = await either.people.make(permissions=["users.manage"])
    ann, bob, cid = await either.people.many(3)
    made = await made_for(manager, ann, permissions=["users.manage"])
    chained = await made_for(made, bob)
    unaffected = await made_for(other, cid)
    sockets = [await made.socket(), await chained.socket()]
    kept = await unaffected.socket()
    for each in (made, chained, unaffected):
        assert (await each.get(ME)).status == 200
    match end:
        case "delete":
            answer = await admin.delete(f"/api/v1/admin/users/{manager.id}")
        case "permission":
            answer = await admin.patch(f"/api/v1/users/{manager.id}", {"permissions": ["streams.manage"]})
        case _:
            answer = await admin.post(f"/api/v1/admin/users/{manager.id}/{end}")
    assert answer.status == 200
    for each, socket in zip((made, chained), sockets, strict=True):
        assert (await each.get(ME)).status == 401
        assert (await socket.event("session:closed"))[0] == {"reason": "logout"}
    assert (await unaffected.get(ME)).status == 200 and (await ann.get(ME)).status == 200
    assert kept.named("session:closed") == []


async def test_a_token_of_ones_own_ends_with_what_made_it(server: Served) -> None:
    made = await register(server)
    user = await server.services.database.read(lambda it: accounts.find(it, 1, id=made["user"]["id"]))
    assert user is not None
    issue = server.services.tokens.issue
    short, expires = issue(user, ttl=100, permissions=["users.manage"])
    longer = await api(server, short).post(f"/api/v1/users/{user.id}/tokens", {"ttl": 2592000})
    assert longer.json["data"]["expiresAt"] <= iso_time(expires * SECOND)
    login = jwt.decode(made["accessToken"], options={"verify_signature": False})["sid"]
    in_login, _ = issue(user, ttl=100, login=login, permissions=["users.manage"])
    outlives = await api(server, in_login).post(f"/api/v1/users/{user.id}/tokens", {"ttl": 86400})
    mine = api(server, outlives.json["data"]["token"])
    assert outlives.json["data"]["expiresAt"] > iso_time(expires * SECOND), "the login lasts longer than its token"
    assert (await mine.get(ME)).status == 200
    assert (await api(server, made["accessToken"]).post(f"{AUTH}/logout")).status == 200
    assert (await mine.get(ME)).status == 401


async def test_a_short_token_gets_no_long_one_through_another_account(server: Served) -> None:
    ann, bob, manager = [await server.people.make() for _ in range(3)]
    stored = await server.people.make(permissions=["users.manage"])

    async def ends(maker: Api, person: Person, **options: Any) -> int:
        made = await made_for(maker, person, ttl=86_400, **options)
        end: int = jwt.decode(made.token or "", options={"verify_signature": False})["exp"]
        return end - int(time.time())

    short, _ = server.services.tokens.issue(manager.user, ttl=100, permissions=["users.manage"])
    of_manager = api(server, short)
    assert await ends(of_manager, ann) > 80_000, "it may do no more than its user"
    assert await ends(of_manager, ann, permissions=["users.manage"]) <= 100
    assert await ends(stored, bob, permissions=["users.manage"]) > 80_000, "which ends with the permission"
    of_bob = await made_for(stored, bob, permissions=["users.manage"])
    assert (await of_bob.post(f"/api/v1/users/{stored.id}/tokens", {})).status == 403
    assert (await of_bob.post(f"/api/v1/users/{ann.id}/tokens", {})).status == 201


async def test_a_token_gives_nothing_that_its_maker_lost(either: Served) -> None:
    first, second = [await either.people.make(permissions=["admin"]) for _ in range(2)]
    bot = await either.people.make()
    own = await made_for(first, first, permissions=["admin"])
    given = await made_for(first, bot, permissions=["admin"])
    weaker = await made_for(first, bot)
    socket = await own.socket()
    taken = await second.patch(f"/api/v1/users/{first.id}", {"permissions": ["users.manage"]})
    assert taken.status == 200
    for each in (own, given):
        assert (await each.get(ME)).status == 401, "it would make its maker an admin again"
    assert (await weaker.get(ME)).status == 200 and (await first.get(ME)).status == 200
    assert (await socket.event("session:closed"))[0] == {"reason": "logout"}


async def test_permissions_are_given_and_taken_back(either: Served) -> None:
    admin = await either.people.make(permissions=["admin"])
    manager = await either.people.make(permissions=["users.manage"])
    ann = await either.people.make("Ann")
    path = f"/api/v1/users/{ann.id}"
    changed = await manager.patch(path, {"name": "Anna", "permissions": ["users.manage"]})
    assert changed.status == 200
    assert (changed.json["data"]["name"], changed.json["data"]["permissions"]) == ("Anna", ["users.manage"])
    assert (await ann.post("/api/v1/users", {"name": "New"})).status == 201, "stored permissions count at once"
    for given in (["admin"], ["streams.manage"], ["platform.admin"]):
        assert (await manager.patch(path, {"permissions": given})).status == 403, given
    assert (await manager.patch(path, {"permissions": ["unknown"]})).status == 400
    assert (await manager.patch(f"/api/v1/users/{admin.id}", {"name": "Weaker"})).status == 403
    assert (await manager.patch(f"/api/v1/users/{'f' * 24}", {"name": "X"})).status == 404
    assert (await manager.patch(path, {})).json["data"] == changed.json["data"]
    assert (await manager.patch(path, {"permissions": []})).json["data"]["permissions"] == []
    assert (await ann.post("/api/v1/users", {"name": "New"})).status == 403
    assert (await ann.patch(path, {"name": "X"})).status == 403
    trail = (await admin.get("/api/v1/admin/audit")).json["data"]["items"]
    assert [each["details"] for each in trail if each["action"] == "user.change"] == [
        {"taken": ["users.manage"]}, {"name": "Anna", "given": ["users.manage"]},
    ]  # fmt: skip


async def test_the_last_admin_stays_one(server: Served) -> None:
    ann = await server.people.make(permissions=["admin"])
    path = f"/api/v1/users/{ann.id}"
    assert (await ann.patch(path, {"permissions": []})).status == 409
    assert (await ann.patch(f"{path}?confirm=self", {"permissions": []})).status == 409
    assert (await ann.patch(path, {"permissions": ["admin", "streams.manage"]})).status == 200
    platform = await server.people.make(permissions=["admin", "platform.admin"])
    kept = await platform.patch(f"/api/v1/users/{platform.id}?confirm=self", {"permissions": ["users.manage"]})
    assert kept.json["data"]["permissions"] == ["platform.admin", "users.manage"], "which run.py gave"
    bob = await server.people.make(permissions=["admin"])
    assert (await ann.patch(path, {"permissions": []})).status == 409, "not said"
    assert (await ann.patch(f"{path}?confirm=self", {"permissions": []})).status == 200
    assert (await bob.patch(f"/api/v1/users/{bob.id}?confirm=self", {"permissions": []})).status == 409


async def test_nobody_gives_what_they_lack(server: Served) -> None:
    manager = await server.people.make(grant=["users.manage"])
    admin = await server.people.make(permissions=["admin"])
    plain = await server.people.make()
    for permission in ("admin", "credits.grant", "platform.admin"):
        body = {"name": "X", "permissions": [permission]}
        assert (await manager.post("/api/v1/users", body)).status == 403
        assert (await manager.post(f"/api/v1/users/{plain.id}/tokens", {"permissions": [permission]})).status == 403
    assert (await manager.post(f"/api/v1/users/{admin.id}/tokens", {})).status == 403
    assert (await admin.post("/api/v1/users", {"name": "X", "permissions": ["platform.admin"]})).status == 403
    assert (await admin.post("/api/v1/users", {"name": "X", "permissions": ["credits.grant"]})).status == 201
    platform = await server.people.make(permissions=["platform.admin"])
    assert (await admin.post(f"/api/v1/admin/users/{platform.id}/reset-link")).status == 403
    assert (await admin.post(f"/api/v1/users/{platform.id}/tokens", {})).status == 403
    assert (await admin.post("/api/v1/tenants", {"name": "X"})).status == 403
    made = await platform.post("/api/v1/tenants", {"name": "X", "uuid": "123e4567-e89b-12d3-a456-426614174000"})
    assert made.status == 201
    assert (await platform.post("/api/v1/tenants", {"name": "X", "uuid": made.json["data"]["uuid"]})).status == 409


async def test_finding_users(either: Served) -> None:
    ann = await either.people.make(name="Çağla Öz_%")
    for number in range(3):
        await either.people.make(name=f"Zed {number}")
    assert [each["name"] for each in (await ann.get("/api/v1/users?query=zed")).json["data"]["items"]] == [
        "Zed 0", "Zed 1", "Zed 2",
    ]  # fmt: skip
    first = (await ann.get("/api/v1/users?query=ZED&limit=2")).json["data"]
    assert len(first["items"]) == 2 and first["nextCursor"]
    second = (await ann.get(f"/api/v1/users?query=zed&limit=2&cursor={first['nextCursor']}")).json["data"]
    assert [each["name"] for each in second["items"]] == ["Zed 2"]
    assert len((await ann.get("/api/v1/users", params={"query": "çağla öz_%"})).json["data"]["items"]) == 1
    for query in ("ÖZ cagla", "agl", "z_% ÇAĞ"):
        assert len((await ann.get("/api/v1/users", params={"query": query})).json["data"]["items"]) == 1, query
    for query in ("cagla zed", "_%x", " ", "\u0301", " ".join(map(str, range(500)))):
        assert (await ann.get("/api/v1/users", params={"query": query})).json["data"]["items"] == [], query[:9]
    assert (await ann.get("/api/v1/users", params={"query": "_%x"})).json["data"]["items"] == []
    found = (await ann.get(f"/api/v1/users?ids={ann.id},{'a' * 24}")).json["data"]["items"]
    assert [each["id"] for each in found] == [ann.id]
    assert (await ann.get("/api/v1/users")).status == 400
    other = (await ann.get(f"/api/v1/users/{found[0]['id']}")).json["data"]
    assert "email" in other
    stranger = await either.people.make()
    assert "email" not in (await stranger.get(f"/api/v1/users/{ann.id}")).json["data"]
    assert (await stranger.get("/api/v1/users?query=example.org")).json["data"]["items"] == []


async def test_changing_the_current_user(server: Served) -> None:
    ann = await server.people.make()
    changes = {
        "name": "Ann", "avatarUrl": "https://example.org/a.png", "locale": "tr-TR", "timeZone": "Europe/Istanbul",
        "quietHours": {"from": "22:00", "to": "07:30"},
    }  # fmt: skip
    changed = (await ann.patch(ME, changes)).json["data"]
    assert {name: changed[name] for name in changes} == changes
    cleared = (await ann.patch(ME, {"quietHours": None, "avatarUrl": None})).json["data"]
    assert cleared["quietHours"] is None and cleared["avatarUrl"] is None and cleared["locale"] == "tr-TR"
    assert (await ann.patch(ME, {"name": None})).json["data"]["name"] == "Ann"
    for wrong in (
        {"avatarUrl": "javascript:alert(1)"},
        {"avatarUrl": "/a.png"},
        {"timeZone": "Mars"},
        {"quietHours": {"from": "25:00", "to": "1"}},
        {"name": "x" * 256},
    ):
        assert (await ann.patch(ME, wrong)).status == 400, wrong


# Tokens


def unsigned(header: dict[str, Any], claims: dict[str, Any]) -> str:
    parts = [base64.urlsafe_b64encode(orjson.dumps(part)).rstrip(b"=").decode() for part in (header, claims)]
    return ".".join([*parts, ""])


async def test_tokens_that_are_refused(server: Served) -> None:
    ann = await server.people.make()
    secret = server.services.tokens.access.key
    now = int(time.time())
    good = {"sub": ann.id, "iat": now, "exp": now + 60}

    def signed(key: Any = secret, algorithm: str = "HS256", **claims: Any) -> str:
        return jwt.encode(
            {name: value for name, value in {**good, **claims}.items() if value is not None}, key, algorithm
        )

    assert (await api(server, signed()).get(ME)).status == 200
    assert (await api(server, signed(sub=str(ann.user.number))).get(ME)).status == 200
    assert (await api(server, signed(sub=ann.user.uuid)).get(ME)).status == 200
    refused = {
        "garbage": "x",
        "garbled": signed()[:-4] + "AAAA",
        "alg none": unsigned({"alg": "none", "typ": "JWT"}, good),
        "another secret": signed("y" * 32),
        "another algorithm": signed("z" * 64, "HS512"),
        "expired": signed(exp=now - 60),
        "not yet": signed(nbf=now + 600),
        "no exp": signed(exp=None),
        "no iat": signed(iat=None),
        "no sub": signed(sub=None),
        "unknown sub": signed(sub="a" * 24),
        "a name as sub": signed(sub="ann"),
        "another tenant": signed(tenant="123e4567-e89b-12d3-a456-426614174000"),
        "permissions no list": signed(permissions="admin"),
        "huge exp": signed(exp=10**400),
        "an unknown login": signed(sid="123e4567-e89b-12d3-a456-426614174000"),
        "surrogates": "\udcff",
    }
    del refused["surrogates"]
    for name, token in refused.items():
        assert (await api(server, token).get(ME)).status == 401, name
    assert (await server.people.anonymous.get(ME, headers={"Authorization": "Basic YTpi"})).status == 401
    assert (await server.people.anonymous.get(ME, headers={"Authorization": "Bearer "})).status == 401


async def test_an_expired_token_has_a_code_of_its_own(server: Served) -> None:
    expired = await server.people.make(ttl=-60)
    answer = await expired.get("/api/v1/users/me")
    assert (answer.status, answer.headers["X-Error-Code"]) == (401, "token_expired")
    ann = await server.people.make()
    socket = await ann.socket()
    refreshed = await socket.call("session:refresh", {"token": expired.token})
    assert (refreshed["isSuccess"], refreshed["statusCode"]) == (False, 401) and not socket.closed
    await socket.close()


async def test_a_json_number_as_subject(server: Served) -> None:
    ann = await server.people.make(number=7)
    header = base64.urlsafe_b64encode(b'{"alg":"HS256","typ":"JWT"}').rstrip(b"=")
    now = int(time.time())
    claims = base64.urlsafe_b64encode(orjson.dumps({"sub": 7, "iat": now, "exp": now + 60})).rstrip(b"=")
    signature = jwt.algorithms.HMACAlgorithm(jwt.algorithms.HMACAlgorithm.SHA256).sign(
        header + b"." + claims, server.services.tokens.access.key
    )
    token = b".".join([header, claims, base64.urlsafe_b64encode(signature).rstrip(b"=")]).decode()
    assert (await api(server, token).get(ME)).json["data"]["id"] == ann.id


def pem(private: Any) -> bytes:
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    encoded: bytes = private.public_key().public_bytes(serialization.Encoding.PEM, form)
    return encoded


async def test_an_issuers_public_key(serve: ServerFactory, tmp_path: Path) -> None:
    private = ec.generate_private_key(ec.SECP256R1())
    (tmp_path / "issuer.pem").write_bytes(pem(private))
    server = await serve(
        jwt_public_key=tmp_path / "issuer.pem",
        jwt_algorithm="ES256",
        jwt_issuer="https://issuer.example",
        jwt_audience="bellwire",
        provision_users=True,
    )
    now = int(time.time())
    claims = {
        "sub": "42", "iat": now, "exp": now + 60, "iss": "https://issuer.example", "aud": "bellwire", "name": "Forty",
        "scope": "notifications.send users.manage",
    }  # fmt: skip

    def signed(**changes: Any) -> str:
        return jwt.encode({**claims, **changes}, private, "ES256")

    me = (await api(server, signed()).get(ME)).json["data"]
    assert (me["number"], me["name"]) == (42, "Forty")
    assert (await api(server, signed()).get(ME)).json["data"]["id"] == me["id"]
    assert (await api(server, signed()).get("/api/v1/users?query=forty")).json["data"]["items"][0]["permissions"] == []
    for wrong in ({"iss": "https://other.example"}, {"aud": "other"}, {"exp": now - 60}):
        assert (await api(server, signed(**wrong)).get(ME)).status == 401, wrong
    # The public key is no secret: a token "signed" with it as an HMAC key is worth nothing.
    import hmac as stdlib_hmac

    header = base64.urlsafe_b64encode(b'{"alg":"HS256","typ":"JWT"}').rstrip(b"=")
    body = header + b"." + base64.urlsafe_b64encode(orjson.dumps(claims)).rstrip(b"=")
    forged = body + b"." + base64.urlsafe_b64encode(stdlib_hmac.digest(pem(private), body, "sha256")).rstrip(b"=")
    assert (await api(server, forged.decode()).get(ME)).status == 401
    assert (await register(server))["user"]["name"] == "Ann"


async def test_an_issuer_speaks_for_nobody_who_has_a_password_here(serve: ServerFactory, tmp_path: Path) -> None:
    """Whoever registers gets the next number, which may be the subject of somebody at the issuer's."""
    private = ec.generate_private_key(ec.SECP256R1())
    (tmp_path / "issuer.pem").write_bytes(pem(private))
    server = await serve(
        jwt_public_key=tmp_path / "issuer.pem", jwt_algorithm="ES256", jwt_audience="bellwire", provision_users=True
    )
    squatter = await register(server)
    now = int(time.time())

    def signed(sub: Any) -> Api:
        claims = {"sub": str(sub), "iat": now, "exp": now + 60, "aud": "bellwire"}
        return api(server, jwt.encode(claims, private, "ES256"))

    names = {name: squatter["user"][name] for name in ("id", "number", "uuid")}
    for name in names.values():
        assert (await signed(name).get(ME)).status == 401, name
        assert (await signed(name).get(ME)).status == 401, name
    assert (await api(server, squatter["accessToken"]).get(ME)).status == 200
    assert (await signed(int(names["number"]) + 5).get(ME)).json["data"]["number"] == names["number"] + 5
    moved = await server.people.make("Moved")
    assert (await signed(moved.id).get(ME)).json["data"]["name"] == "Moved", "brought over, without a password"


async def test_an_issuer_speaks_for_no_local_account_after_they_were_disabled(
    serve: ServerFactory, tmp_path: Path
) -> None:
    private = ec.generate_private_key(ec.SECP256R1())
    (tmp_path / "issuer.pem").write_bytes(pem(private))
    issuer = {"jwt_public_key": tmp_path / "issuer.pem", "jwt_algorithm": "ES256", "jwt_audience": "bellwire"}
    before = await serve(**issuer)
    squatter = await register(before)
    server = await serve(
        **issuer, provision_users=True, local_accounts=False, data_dir=before.services.settings.data_dir
    )
    now = int(time.time())
    claims = {"sub": str(squatter["user"]["number"]), "iat": now, "exp": now + 60, "aud": "bellwire"}
    assert (await api(server, jwt.encode(claims, private, "ES256")).get(ME)).status == 401
    operator = Operator.of(server.services.accounts.default_tenant)
    refresh = {"refreshToken": squatter["refreshToken"]}
    assert (await server.people.anonymous.post(f"{AUTH}/refresh", refresh)).status == 401
    await server.services.administration.remove_password(operator, squatter["user"]["id"])
    # Whatever was issued before has ended with the logins.
    newer = {**claims, "iat": int(time.time()) + 1, "exp": int(time.time()) + 60}
    taken_over = api(server, jwt.encode(newer, private, "ES256"))
    assert (await taken_over.get(ME)).json["data"]["id"] == squatter["user"]["id"], "the operator said so"


@pytest.mark.parametrize("setting", ["jwt_public_key", "jwks_url"])
async def test_an_issuer_needs_an_audience(serve: ServerFactory, tmp_path: Path, setting: str) -> None:
    (tmp_path / "issuer.pem").write_bytes(pem(ec.generate_private_key(ec.SECP256R1())))
    value = tmp_path / "issuer.pem" if setting == "jwt_public_key" else "https://issuer.example/keys"
    with pytest.raises(ValueError, match="BELLWIRE_JWT_AUDIENCE"):
        await serve(**{setting: value, "jwt_algorithm": "ES256"})


async def test_an_issuers_key_set(serve: ServerFactory, aiohttp_server: Any) -> None:
    private = rsa.generate_private_key(65537, 2048)
    key = {**jwt.algorithms.RSAAlgorithm.to_jwk(private.public_key(), as_dict=True), "kid": "one", "use": "sig"}

    async def keys(request: web.Request) -> web.Response:
        return web.json_response({"keys": [key]})

    app = web.Application()
    app.router.add_get("/keys", keys)
    issuer = await aiohttp_server(app)
    server = await serve(jwks_url=str(issuer.make_url("/keys")), jwt_audience="bellwire")
    ann = await server.people.make()
    now = int(time.time())
    claims = {"sub": ann.id, "iat": now, "exp": now + 60, "aud": "bellwire"}
    good = jwt.encode(claims, private, "RS256", headers={"kid": "one"})
    assert (await api(server, good).get(ME)).status == 200
    other = rsa.generate_private_key(65537, 2048)
    assert (await api(server, jwt.encode(claims, other, "RS256", headers={"kid": "one"})).get(ME)).status == 401
    assert (await api(server, jwt.encode(claims, private, "RS256", headers={"kid": "two"})).get(ME)).status == 401
    assert (
        await api(server, jwt.encode({**claims, "sub": "a" * 24}, private, "RS256", {"kid": "one"})).get(ME)
    ).status == 401


async def test_a_short_secret_is_refused(serve: ServerFactory) -> None:
    with pytest.raises(ValueError, match="at least 32 bytes"):
        await serve(jwt_secret="short")


async def test_logins_at_once(server: Served) -> None:
    await register(server)
    answers = await asyncio.gather(*(server.people.anonymous.post(f"{AUTH}/login", ANN) for _ in range(8)))
    assert {each.status for each in answers} == {200}


async def test_logging_out_with_the_refresh_token_alone(server: Served) -> None:
    made = await register(server)
    anonymous = server.people.anonymous
    body = {"refreshToken": made["refreshToken"]}
    assert (await anonymous.post(f"{AUTH}/logout")).status == 401
    assert (await anonymous.post(f"{AUTH}/logout", {"refreshToken": "x"})).status == 401
    assert (await anonymous.post(f"{AUTH}/logout", body)).status == 200
    assert (await api(server, made["accessToken"]).get(ME)).status == 401
    assert (await anonymous.post(f"{AUTH}/refresh", body)).status == 401


async def test_keys_that_can_not_be_read_are_no_wrong_token(serve: ServerFactory) -> None:
    server = await serve(jwks_url="http://127.0.0.1:9/keys", jwt_audience="bellwire")
    private = rsa.generate_private_key(65537, 2048)
    now = int(time.time())
    token = jwt.encode(
        {"sub": "a" * 24, "iat": now, "exp": now + 60, "aud": "bellwire"}, private, "RS256", headers={"kid": "one"}
    )
    assert (await api(server, token).get(ME)).status == 503


async def test_an_issuers_sid_is_no_login_of_ours(serve: ServerFactory, tmp_path: Path) -> None:
    private = ec.generate_private_key(ec.SECP256R1())
    (tmp_path / "issuer.pem").write_bytes(pem(private))
    server = await serve(jwt_public_key=tmp_path / "issuer.pem", jwt_algorithm="ES256", jwt_audience="bellwire")
    ann = await server.people.make()
    now = int(time.time())
    claims = {
        "sub": ann.id,
        "iat": now,
        "exp": now + 60,
        "aud": "bellwire",
        "sid": "s" * 200,
        "permissions": ["platform.admin", "admin"],
    }
    mine = api(server, jwt.encode(claims, private, "ES256"))
    assert (await mine.post("/api/v1/tenants", {"name": "X"})).status == 403
    assert (await mine.get("/api/v1/admin/reports")).status == 200
    assert (await mine.post(f"{AUTH}/logout")).status == 200
    assert (await mine.get(ME)).status == 401


async def test_a_token_of_the_future_outlives_no_sign_out(serve: ServerFactory) -> None:
    """The clock may have been set back since it was made; nobody knows then whether it is from before."""
    server = await serve()
    ann, admin = await server.people.make(), await server.people.make(grant=["admin"])
    claims = jwt.decode(ann.token or "", options={"verify_signature": False})
    ann.token = jwt.encode({**claims, "iat": time.time() + 600}, server.services.tokens.access.key, algorithm="HS256")
    assert (await ann.get("/api/v1/users/me")).status == 200
    assert (await admin.post(f"/api/v1/admin/users/{ann.id}/sign-out")).status == 200
    assert (await ann.get("/api/v1/users/me")).status == 401
