"""Tokens that authorize pushes: made once, kept while they are fresh, never by two at a time."""

import asyncio
import json
import time
from collections import OrderedDict
from collections.abc import Callable, Coroutine
from typing import Any, NamedTuple
from urllib.parse import urlencode

import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from push.post import Poster
from push.webpush_encryption import base64url, public_bytes

TOKEN_SECONDS = 50 * 60
TOKEN_SOONEST = 20 * 60
TOKEN_AHEAD = 5 * 60
GOOGLE_TOKEN_SECONDS = 3600
# One so young that is refused is refused for another reason.
GOOGLE_TOKEN_YOUNG_SECONDS = 60
# After a failure of the token endpoint.
MINT_PAUSE_SECONDS = 10.0
# A push service accepts a day; Apple wants no new one within an hour.
VAPID_SECONDS = 12 * 3600
VAPID_RENEWAL_SECONDS = 11 * 3600
MOST_ORIGINS = 1000
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


class SignedToken(NamedTuple):
    """A signed token and when it was made, in seconds since 1970."""

    text: str
    made_at: int


Share = Callable[[Callable[[SignedToken | None], SignedToken]], Coroutine[Any, Any, SignedToken]]


class AppleToken:
    """The token of pushes to Apple, one for all connections and, through ``share``, for all nodes.

    Apple wants it renewed not more often than every 20 minutes and at least every 60. ``share`` is given a function from
    the token that the installation has to the one that it shall have, and returns that.
    """

    def __init__(self, key: str, key_id: str, team_id: str, share: Share) -> None:
        self.key = key
        self.key_id = key_id
        self.team_id = team_id
        self.share = share
        self.token: SignedToken | None = None
        self.renewing: asyncio.Task[SignedToken] | None = None

    async def get(self) -> str:
        if self.token is None or not self.fresh(self.token):
            self.renewing = self.renewing or asyncio.create_task(self._renew())
            return (await asyncio.shield(self.renewing)).text
        return self.token.text

    async def _renew(self) -> SignedToken:
        try:
            self.token = await self.share(self._keep)
            return self.token
        finally:
            self.renewing = None

    def expire(self, text: str) -> bool:
        """Apple calls this token too old. Whether there is, or may be made, another."""
        if self.token is None or self.token.text != text:
            return True
        if time.time() - self.token.made_at < TOKEN_SOONEST:
            return False
        self.token = SignedToken(self.token.text, 0)
        return True

    def fresh(self, token: SignedToken) -> bool:
        """Another node's clock may be ahead of ours."""
        return -TOKEN_AHEAD <= time.time() - token.made_at < TOKEN_SECONDS

    def _keep(self, known: SignedToken | None) -> SignedToken:
        expired = self.token is not None and known is not None and self.token.text == known.text
        if known and self.fresh(known) and not expired:
            return known
        made_at = int(time.time())
        claims = {"iss": self.team_id, "iat": made_at}
        return SignedToken(jwt.encode(claims, self.key, algorithm="ES256", headers={"kid": self.key_id}), made_at)


class MintRefused(Exception):
    """The token endpoint does not accept our key: no attempt helps until the operator changes something."""


class MintFailed(Exception):
    """The token endpoint did not answer as it should; a later attempt may."""


class ServiceAccount(NamedTuple):
    """What Google's key file says."""

    project_id: str
    client_email: str
    private_key_id: str
    private_key: str
    token_uri: str


def read_service_account(text: str) -> ServiceAccount:
    """Raises ValueError, which says what is missing."""
    try:
        said = json.loads(text)
    except ValueError:
        raise ValueError("not JSON; expected the key file of a service account") from None
    missing = [name for name in ServiceAccount._fields if not isinstance(said, dict) or not said.get(name)]
    if missing:
        raise ValueError(f"{', '.join(missing)} missing; expected the key file of a service account")
    account = ServiceAccount(*(str(said[name]) for name in ServiceAccount._fields))
    try:
        key = load_pem_private_key(account.private_key.encode(), None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, rsa.RSAPrivateKey):
        raise ValueError("private_key is not an RSA key in PEM; expected the key file of a service account")
    return account


class GoogleToken:
    """The bearer token of a service account, one for the process.

    https://developers.google.com/identity/protocols/oauth2/service-account#httprest
    """

    def __init__(self, account: ServiceAccount, poster: Poster) -> None:
        self.account = account
        self.poster = poster
        self.token: str | None = None
        # Of time.monotonic(): when to ask for another one, when it ends, and before when not to ask again.
        self.renew_at = self.ends_at = 0.0
        self.wait_until = 0.0
        # Why the last request failed.
        self.problem = ""
        self.renewing: asyncio.Task[str] | None = None

    async def get(self) -> str:
        """Raises MintRefused and MintFailed."""
        if self.token is not None and time.monotonic() < self.renew_at:
            return self.token
        try:
            if time.monotonic() < self.wait_until:
                raise MintFailed(self.problem)
            self.renewing = self.renewing or asyncio.create_task(self._renew())
            return await asyncio.shield(self.renewing)
        except MintFailed:
            if self.token is not None and time.monotonic() < self.ends_at:
                return self.token
            raise

    def expire(self, token: str) -> bool:
        """Google refused this token. Whether there is, or may be made, another one."""
        if token != self.token:
            return True
        if self.renew_at - time.monotonic() > GOOGLE_TOKEN_SECONDS - TOKEN_AHEAD - GOOGLE_TOKEN_YOUNG_SECONDS:
            return False
        self.renew_at = self.ends_at = 0.0
        return True

    async def _renew(self) -> str:
        try:
            began = time.monotonic()
            answer = await self.poster.post(self.account.token_uri, self._form(), FORM)
            said = read_object(answer.body)
            token, seconds = said.get("access_token"), said.get("expires_in")
            if answer.status == 200 and isinstance(token, str) and token.isascii() and isinstance(seconds, int):
                self.token = token
                self.ends_at = began + min(seconds, GOOGLE_TOKEN_SECONDS)
                self.renew_at = self.ends_at - TOKEN_AHEAD
                return token
            reason = str(said.get("error") or answer.problem or "not a token")[:100]
            self.problem = f"token endpoint: {answer.status} {reason}"
            if 400 <= answer.status < 500 and answer.status not in (408, 429):
                raise MintRefused(self.problem)
            self.wait_until = time.monotonic() + MINT_PAUSE_SECONDS
            raise MintFailed(self.problem)
        finally:
            self.renewing = None

    def _form(self) -> bytes:
        # A clock that is ahead of Google's makes a token from the future, which is refused.
        made_at = int(time.time()) - 10
        claims = {
            "iss": self.account.client_email,
            "scope": "https://www.googleapis.com/auth/firebase.messaging",
            "aud": self.account.token_uri,
            "iat": made_at,
            "exp": made_at + GOOGLE_TOKEN_SECONDS,
        }
        kid = {"kid": self.account.private_key_id}
        assertion = jwt.encode(claims, self.account.private_key, algorithm="RS256", headers=kid)
        return urlencode({"grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer", "assertion": assertion}).encode()


def read_object(body: bytes) -> dict[str, Any]:
    """A JSON object; an empty one for anything else."""
    try:
        said = json.loads(body)
    except ValueError:
        return {}
    return said if isinstance(said, dict) else {}


class VapidTokens:
    """Who sends a Web Push, signed for one origin at a time: RFC 8292. ``subject`` is how to reach the operator."""

    def __init__(self, key: ec.EllipticCurvePrivateKey, subject: str) -> None:
        self.key = key
        self.public_key = base64url(public_bytes(key.public_key()))
        self.subject = subject
        # By origin, with when they were made, in seconds since 1970.
        self.tokens: OrderedDict[str, tuple[str, float]] = OrderedDict()

    def header(self, origin: str) -> str:
        """The value of Authorization."""
        token, made_at = self.tokens.get(origin, ("", 0.0))
        if not 0 <= time.time() - made_at < VAPID_RENEWAL_SECONDS:
            made_at = time.time()
            claims = {"aud": origin, "exp": int(made_at) + VAPID_SECONDS, "sub": self.subject}
            token = jwt.encode(claims, self.key, algorithm="ES256")
            self.tokens[origin] = token, made_at
        self.tokens.move_to_end(origin)
        while len(self.tokens) > MOST_ORIGINS:
            self.tokens.popitem(last=False)
        return f"vapid t={token}, k={self.public_key}"
