"""Secrets that change: what the last one signed counts for as long as it is kept, and no token counts as another kind."""

import base64
import hashlib
import hmac
from pathlib import Path
from typing import Any

import aiohttp
import jwt
import orjson
import pytest
from pydantic import SecretStr

from realtime.cluster.nodes import digests, understand
from realtime.signing import Signer, TokenSigner, key_id
from realtime.tokens import Refresh, Tokens
from server.secret_file import rotate_secret, secrets_of
from server.settings import Settings
from storage.errors import Problem, Unauthenticated
from tests.support.people import Api
from tests.support.process import ServerProcess

OLD, NEW, NEXT = ("o" * 32, "n" * 32, "x" * 32)
AUTH, ME = "/api/v1/auth", "/api/v1/users/me"
CLAIMS = {"sub": "a" * 24, "iat": 1_000, "exp": 4_000_000_000}


def test_tokens_say_what_they_are_and_which_secret_signed_them() -> None:
    tokens = Tokens([NEW, OLD])
    refresh = tokens.issue_refresh(Refresh("login", 1))
    assert jwt.get_unverified_header(tokens.access.encode({})) == {"alg": "HS256", "typ": "at+jwt", "kid": key_id(NEW)}
    assert jwt.get_unverified_header(refresh) == {"alg": "HS256", "typ": "refresh+jwt", "kid": key_id(NEW)}
    assert NEW not in key_id(NEW)


async def test_a_new_secret_signs_and_the_old_one_still_counts() -> None:
    before, after, without = Tokens([OLD]), Tokens([NEW, OLD]), Tokens([NEW])
    access, refresh = before.access.encode(CLAIMS), before.issue_refresh(Refresh("login", 3))
    assert (await after.verify(access)).value == "a" * 24
    assert after.verify_refresh(refresh) == Refresh("login", 3)
    assert (await after.verify(after.access.encode(CLAIMS))).value == "a" * 24
    with pytest.raises(Unauthenticated):
        await before.verify(after.access.encode(CLAIMS))
    with pytest.raises(Unauthenticated):
        await without.verify(access)
    with pytest.raises(Unauthenticated):
        without.verify_refresh(refresh)
    link = Signer([OLD], "links").sign("text")
    assert Signer([NEW, OLD], "links").is_signed("text", link)
    assert not Signer([NEW, OLD], "links").is_signed("another text", link)
    assert not Signer([NEW, OLD], "other links").is_signed("text", link)
    assert not Signer([NEW], "links").is_signed("text", link)


@pytest.mark.parametrize("secret", [OLD, NEW])
@pytest.mark.parametrize("typ", ["JWT", None])
async def test_tokens_of_before_and_of_others_who_have_the_secret_count(secret: str, typ: str | None) -> None:
    token = jwt.encode(CLAIMS, secret, headers={"typ": typ})
    assert (await Tokens([NEW, OLD]).verify(token)).value == "a" * 24


def by_hand(head: dict[str, Any], secret: str) -> str:
    """A token with any head, also one that no library would write."""
    parts = [base64.urlsafe_b64encode(orjson.dumps(each)).rstrip(b"=") for each in ({"alg": "HS256", **head}, CLAIMS)]
    signature = hmac.digest(secret.encode(), b".".join(parts), hashlib.sha256)
    return b".".join([*parts, base64.urlsafe_b64encode(signature).rstrip(b"=")]).decode()


@pytest.mark.parametrize(
    "head",
    [
        {}, {"typ": "jwt"}, {"typ": "AT+JWT"}, {"typ": "application/at+jwt"}, {"kid": "theirs"},
        {"kid": key_id(OLD)}, {"kid": key_id(OLD), "typ": "at+jwt"},
    ],
    ids=str,
)  # fmt: skip
async def test_heads_that_others_write_count(head: dict[str, Any]) -> None:
    tokens = Tokens([NEW, OLD])
    assert (await tokens.verify(by_hand(head, OLD))).value == "a" * 24
    with pytest.raises(Unauthenticated):
        await tokens.verify(by_hand(head, NEXT))


@pytest.mark.parametrize(
    "head", [{"typ": "refresh+jwt"}, {"typ": "dpop+jwt"}, {"typ": "application/dpop+jwt"}, {"typ": 7}], ids=str
)
async def test_no_token_counts_as_another_kind(head: dict[str, Any]) -> None:
    tokens = Tokens([NEW, OLD])
    with pytest.raises(Unauthenticated):
        await tokens.verify(by_hand(head, NEW))
    with pytest.raises(Unauthenticated):
        await tokens.verify(tokens.issue_refresh(Refresh("login", 0)))
    with pytest.raises(Unauthenticated):
        tokens.verify_refresh(tokens.access.encode({**CLAIMS, "sid": "login", "gen": 0}))


async def test_a_refresh_token_of_the_first_version_counts() -> None:
    key = hmac.digest(OLD.encode(), b"refresh", hashlib.sha256)
    token = jwt.encode({"sid": "login", "gen": 2}, key)
    assert Tokens([NEW, OLD]).verify_refresh(token) == Refresh("login", 2)


def test_a_head_that_is_known_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    signer = TokenSigner([NEW, OLD], "at+jwt")
    tokens = [signer.encode(CLAIMS), TokenSigner([OLD], "at+jwt").encode(CLAIMS), jwt.encode(CLAIMS, OLD)]
    monkeypatch.setattr(jwt, "get_unverified_header", None)
    assert [(signer.decode(each) or {})["sub"] for each in tokens] == ["a" * 24] * 3


def test_which_processes_understand_each_other() -> None:
    one, both, other_way, third = digests([OLD]), digests([NEW, OLD]), digests([OLD, NEW]), digests([NEXT])
    assert understand(one, one) and understand(both, other_way) and understand(one, other_way)
    assert not understand(one, both), "it does not know the new secret"
    assert not understand(one, third) and not understand(both, third)
    assert all(len(each) <= 64 for each in (one, both, digests([OLD, NEW, NEXT])))


def test_the_secret_of_the_data_folder_is_rotated(tmp_path: Path) -> None:
    settings = Settings(_env_file=None, data_dir=tmp_path)
    (first,) = secrets_of(settings)
    second = rotate_secret(settings, forget=False)
    assert second[1:] == [first] and secrets_of(settings) == second
    third = rotate_secret(settings, forget=False)
    assert third[1:] == second[:1], "the oldest goes"
    assert secrets_of(settings) == third
    (last,) = rotate_secret(settings, forget=True)
    assert secrets_of(settings) == [last] and last not in third
    assert [each.name for each in tmp_path.iterdir()] == ["secret"]
    assert (tmp_path / "secret").stat().st_mode & 0o777 == 0o600


def test_a_secret_of_the_environment_is_rotated_there(tmp_path: Path) -> None:
    given: dict[str, Any] = {"data_dir": tmp_path, "jwt_secret": SecretStr(NEW), "jwt_other_secrets": f"{OLD}, {NEXT}"}
    settings = Settings(_env_file=None, **given)
    assert secrets_of(settings) == [NEW, OLD, NEXT]
    with pytest.raises(Problem, match="BELLWIRE_JWT_OTHER_SECRETS"):
        rotate_secret(settings, forget=False)
    assert OLD not in str(settings)
    with pytest.raises(ValueError, match="at least 32 bytes"):
        Tokens([NEW, "short"])


async def test_logins_links_and_devices_outlive_a_rotation(tmp_path: Path) -> None:
    server = ServerProcess(tmp_path / "data")
    ann = {"email": "ann@example.org", "password": "correct horse"}
    async with aiohttp.ClientSession() as session:

        async def alive(api: Api) -> bool:
            answer = await api.get(ME)
            assert answer.status in (200, 401), answer
            return answer.status == 200

        async with server:
            answer = await Api(session, server.url).post(f"{AUTH}/register", ann)
            first = Api(session, server.url, answer.json["data"]["accessToken"])
            refresh = {"refreshToken": answer.json["data"]["refreshToken"]}
            form = aiohttp.FormData()
            form.add_field("file", b"words", filename="a.txt")
            media = (await first.post("/api/v2/media", data=form)).json["id"]
            link = (await first.post(f"/api/v2/media/{media}/link")).json["url"]
            said = orjson.loads(await server.command("keys", "rotate"))
            assert said["signs"] == said["verifies"][0] and len(said["verifies"]) == 2
            assert await alive(first)
            assert await server.stop() == 0
        async with server:
            assert await alive(first)
            async with session.get(link) as file:
                assert await file.read() == b"words"
            answer = await Api(session, server.url).post(f"{AUTH}/refresh", refresh)
            second = Api(session, server.url, answer.json["data"]["accessToken"])
            assert jwt.get_unverified_header(str(second.token))["kid"] == said["signs"]
            assert await alive(second)
            await server.command("keys", "rotate", "--forget")
            assert await server.stop() == 0
        async with server:
            assert not await alive(first) and not await alive(second)
            assert (await Api(session, server.url).post(f"{AUTH}/login", ann)).status == 200
