"""An identity provider's keys, from one over real HTTP that may fail, say nothing, or change its keys."""

import asyncio
import itertools
import time
from typing import Any

import jwt
import pytest
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import rsa

from realtime import key_set
from realtime.key_set import KeySet
from storage.errors import Unavailable
from tests.conftest import Served, ServerFactory, eventually
from tests.support.guard import HANG_SECONDS
from tests.support.people import Api, Person

ME = "/api/v1/users/me"
PASSWORD = {"email": "ann@example.org", "password": "a long password"}


class Issuer:
    """``answer`` says what a fetch gets: the keys, an error, or nothing until ``release``."""

    def __init__(self) -> None:
        self.private = {kid: rsa.generate_private_key(65537, 2048) for kid in ("one", "two")}
        self.published = ["one"]
        self.extra: list[dict[str, Any]] = []
        self.mode = "keys"
        self.fetches = 0
        self.release = asyncio.Event()
        self.numbers = itertools.count()
        self.garbage = itertools.cycle(['{"keys": 7}', "[]", "7", "{}", "<html>"])
        self.url = ""

    async def serve(self, request: web.Request) -> web.Response:
        self.fetches += 1
        if self.mode == "silent":
            await self.release.wait()
        if self.mode == "error":
            raise web.HTTPInternalServerError
        if self.mode == "garbage":
            return web.Response(text=next(self.garbage))
        return web.json_response({"keys": [*self.extra, *(self.jwk(kid) for kid in self.published)]})

    def jwk(self, kid: str) -> dict[str, Any]:
        public = jwt.algorithms.RSAAlgorithm.to_jwk(self.private[kid].public_key(), as_dict=True)
        return {**public, "kid": kid, "use": "sig"}

    def token(self, person: Person, kid: str = "one", *, header: bool = True) -> str:
        now = int(time.time())
        # Each another one: who a token is of is remembered for two seconds.
        claims = {"sub": person.id, "iat": now, "exp": now + 600, "jti": str(next(self.numbers)), "aud": "bellwire"}
        return jwt.encode(claims, self.private[kid], "RS256", headers={"kid": kid} if header else None)


@pytest.fixture(autouse=True)
def long_timeouts(monkeypatch: pytest.MonkeyPatch) -> None:
    """How long a fetch takes, and how soon the next one may come, decides nothing here."""
    monkeypatch.setattr(key_set, "FETCH_SECONDS", HANG_SECONDS)
    monkeypatch.setattr(key_set, "RETRY_SECONDS", HANG_SECONDS)


@pytest.fixture
async def issuer(aiohttp_server: Any) -> Issuer:
    made, app = Issuer(), web.Application()
    app.router.add_get("/keys", made.serve)
    made.url = str((await aiohttp_server(app)).make_url("/keys"))
    return made


def api(server: Served, token: str) -> Api:
    return Api(server.people.session, server.url, token)


def keys_of(server: Served) -> KeySet:
    found = server.services.tokens.key_set
    assert found
    return found


def age(keys: KeySet, seconds: float) -> None:
    """As if the last fetch had been so long ago."""
    keys.fetched_at -= seconds
    keys.tried_at -= seconds


@pytest.mark.parametrize("mode", ["error", "garbage", "silent"])
async def test_known_keys_go_on_when_the_issuer_fails(serve: ServerFactory, issuer: Issuer, mode: str) -> None:
    server = await serve(jwks_url=issuer.url, jwt_audience="bellwire")
    ann = await server.people.make()
    assert (await api(server, issuer.token(ann)).get(ME)).status == 200
    issuer.mode = mode
    for hours in (1, 6, 12):
        age(keys_of(server), 3600 * hours)
        assert (await api(server, issuer.token(ann)).get(ME)).status == 200, hours
    if mode == "silent":
        issuer.release.set()
    await eventually(lambda: not keys_of(server).fetching)
    if mode != "silent":
        assert (await api(server, issuer.token(ann, "two")).get(ME)).status == 503, "it may be a new key"
        age(keys_of(server), key_set.KEPT_SECONDS)
        assert (await api(server, issuer.token(ann)).get(ME)).status == 503, "a day is enough"
    issuer.mode, issuer.published = "keys", ["one", "two"]
    age(keys_of(server), key_set.RETRY_SECONDS)
    assert (await api(server, issuer.token(ann, "two")).get(ME)).status == 200
    assert (await api(server, issuer.token(ann)).get(ME)).status == 200


async def test_an_issuer_that_says_nothing_keeps_nobody_else_waiting(serve: ServerFactory, issuer: Issuer) -> None:
    """Passwords and files use threads; the keys of an issuer do not."""
    server = await serve(jwks_url=issuer.url, jwt_audience="bellwire")
    ann = await server.people.make()
    assert (await server.people.anonymous.post("/api/v1/auth/register", PASSWORD)).status == 201
    issuer.mode = "silent"
    waiting = [asyncio.create_task(api(server, issuer.token(ann)).get(ME)) for _ in range(24)]
    await eventually(lambda: issuer.fetches)
    assert (await server.people.anonymous.post("/api/v1/auth/login", PASSWORD)).status == 200
    assert not any(each.done() for each in waiting), "the issuer has not answered yet"
    issuer.release.set()
    assert {(await each).status for each in waiting} == {200}
    assert issuer.fetches == 1, "one for all"


async def test_an_unknown_key_asks_the_issuer_now_and_then(serve: ServerFactory, issuer: Issuer) -> None:
    server = await serve(jwks_url=issuer.url, jwt_audience="bellwire")
    ann = await server.people.make()
    assert (await api(server, issuer.token(ann)).get(ME)).status == 200
    for _ in range(5):
        assert (await api(server, issuer.token(ann, "two")).get(ME)).status == 401
    assert issuer.fetches == 1
    issuer.published = ["two"]
    age(keys_of(server), key_set.RETRY_SECONDS)
    assert (await api(server, issuer.token(ann, "two")).get(ME)).status == 200
    assert (await api(server, issuer.token(ann)).get("/api/v2/chats")).status == 401, "taken back"


async def test_a_token_without_a_key_id_is_taken_where_there_is_one_key(serve: ServerFactory, issuer: Issuer) -> None:
    server = await serve(jwks_url=issuer.url, jwt_audience="bellwire")
    ann = await server.people.make()
    issuer.extra = [{**issuer.jwk("two"), "use": "enc", "kid": "for encryption"}]
    assert (await api(server, issuer.token(ann, header=False)).get(ME)).status == 200
    assert (await api(server, issuer.token(ann, "two", header=False)).get(ME)).status == 401
    issuer.published = ["one", "two"]
    age(keys_of(server), key_set.REFRESH_SECONDS + 1)
    assert (await api(server, issuer.token(ann)).get(ME)).status == 200
    await eventually(lambda: not keys_of(server).fetching)
    assert (await api(server, issuer.token(ann, header=False)).get("/api/v2/chats")).status == 401


async def test_a_set_that_is_too_large_is_not_read(issuer: Issuer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(key_set, "LARGEST_SET_BYTES", 100)
    with pytest.raises(Unavailable):
        await KeySet(issuer.url).find("one")
