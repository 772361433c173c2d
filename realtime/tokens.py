"""JSON Web Tokens: our own with a secret, an issuer's with a PEM or a JWKS URL. One algorithm family per key."""

import hashlib
import hmac
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import jwt

from realtime.caller import Maker
from realtime.key_set import KeySet
from storage.accounts import User
from storage.errors import Unauthenticated
from storage.types import SECOND, read_name

OWN = "HS256"
# How the tokens that we make begin, which most are; any other header is read.
OWN_HEADER = jwt.encode({}, "x" * 32, algorithm=OWN).split(".")[0] + "."
LEEWAY = 10
SHORTEST_SECRET = 32
YEAR_9999 = 253_000_000_000
REQUIRED = ["exp", "iat", "sub"]


class TokenExpired(Unauthenticated):
    """Token expired"""

    code = "token_expired"


@dataclass(frozen=True, slots=True)
class Claims:
    """What a valid token says. ``name`` and ``value`` are one of the subject's three names; times in microseconds.

    ``makers`` as in ``Caller``.
    """

    name: str
    value: str | int
    tenant: str | None
    login: str | None
    permissions: frozenset[str]
    issued_at: int
    expires_at: int
    external: bool
    dialect: str | None
    profile: Mapping[str, Any]
    makers: tuple[Maker, ...] = ()


@dataclass(frozen=True, slots=True)
class Refresh:
    """What a refresh token says: which login, and which of its tokens this is."""

    login: str
    generation: int


class Tokens:
    """Issues and verifies. ``public_key`` (PEM) or ``jwks_url`` add an issuer whose tokens use ``algorithm``.

    ``issuer`` and ``audience`` are checked where given. Raises ValueError for settings that would not be safe.
    """

    def __init__(
        self,
        secret: str,
        *,
        algorithm: str = "RS256",
        public_key: str | None = None,
        jwks_url: str | None = None,
        issuer: str | None = None,
        audience: str | None = None,
    ) -> None:
        if len(secret.encode()) < SHORTEST_SECRET:
            raise ValueError(f"BELLWIRE_JWT_SECRET must have at least {SHORTEST_SECRET} bytes")
        if (public_key or jwks_url) and algorithm not in ("RS256", "ES256", "EdDSA"):
            raise ValueError("BELLWIRE_JWT_ALGORITHM must be RS256, ES256 or EdDSA for a public key or a JWKS URL")
        self.secret = secret
        self.algorithm = algorithm
        self.public_key = public_key
        self.key_set = KeySet(jwks_url) if jwks_url else None
        self.issuer = issuer
        self.audience = audience
        self.refresh_secret = hmac.digest(secret.encode(), b"refresh", hashlib.sha256)

    # Access tokens

    def issue(
        self,
        user: User,
        *,
        ttl: int,
        login: str | None = None,
        permissions: Collection[str] = (),
        makers: Collection[Maker] = (),
    ) -> tuple[str, int]:
        """A token for ``ttl`` seconds, and when it expires, in seconds since 1970."""
        now = time.time()
        expires = int(now) + ttl
        claims: dict[str, Any] = {"sub": user.id, "tenant": user.tenant, "iat": round(now, 6), "exp": expires}
        optional = {
            "sid": login,
            "permissions": sorted(permissions),
            "iss": self.issuer,
            "aud": self.audience,
            "makers": [[each.pk, sorted(each.needs)] for each in makers],
        }
        claims |= {name: value for name, value in optional.items() if value}
        return jwt.encode(claims, self.secret, algorithm=OWN), expires

    async def verify(self, token: str) -> Claims:
        """Raises TokenExpired, or Unauthenticated for everything else that is wrong with it."""
        try:
            own = token.startswith(OWN_HEADER) or jwt.get_unverified_header(token).get("alg") == OWN
            key = self.secret if own else await self._external_key(token)
            claims = jwt.decode(
                token,
                key,
                algorithms=[OWN if own else self.algorithm],
                issuer=self.issuer,
                audience=self.audience,
                leeway=LEEWAY,
                options={
                    "require": REQUIRED,
                    "verify_sub": False,
                    # Our own clock may have been set back since.
                    "verify_iat": not own,
                    "verify_aud": self.audience is not None,
                    "verify_iss": self.issuer is not None,
                },
            )
            return self._read(claims, external=not own)
        except jwt.ExpiredSignatureError:
            raise TokenExpired from None
        except (jwt.PyJWTError, ValueError, TypeError, OverflowError, RecursionError):
            raise Unauthenticated from None

    async def _external_key(self, token: str) -> Any:
        if self.key_set:
            return await self.key_set.find(jwt.get_unverified_header(token).get("kid"))
        if self.public_key:
            return self.public_key
        raise jwt.InvalidAlgorithmError("no key for this algorithm")

    async def close(self) -> None:
        if self.key_set:
            await self.key_set.close()

    def _read(self, claims: Mapping[str, Any], *, external: bool) -> Claims:
        name, value = read_name(claims["sub"])
        permissions = claims.get("permissions") or []
        if not isinstance(permissions, list) or not all(isinstance(each, str) for each in permissions):
            raise ValueError("permissions must be a list of names")
        scope = claims.get("scope") or ""
        tenant, login, dialect = (claims.get(each) for each in ("tenant", "sid", "dialect"))
        if any(not isinstance(each, str | None) for each in (tenant, login, dialect, scope)):
            raise ValueError("tenant, sid, dialect and scope must be text")
        expires = float(claims["exp"])
        if not 0 < expires < YEAR_9999:
            raise ValueError("exp is out of range")
        return Claims(
            name,
            value,
            tenant.lower() if tenant else None,
            login,
            frozenset(permissions) | frozenset(scope.split()),
            int(float(claims["iat"]) * SECOND),
            int(expires * SECOND),
            external,
            dialect,
            claims,
            () if external else tuple(Maker(pk, frozenset(needs)) for pk, needs in claims.get("makers", ())),
        )

    def sign(self, purpose: str, text: str) -> str:
        """What only this installation can say of a text; each purpose has a key of its own."""
        key = hmac.digest(self.secret.encode(), purpose.encode(), hashlib.sha256)
        return hmac.digest(key, text.encode(), hashlib.sha256).hex()

    # Refresh tokens

    def issue_refresh(self, refresh: Refresh) -> str:
        claims = {"sid": refresh.login, "gen": refresh.generation}
        return jwt.encode(claims, self.refresh_secret, algorithm=OWN)

    def verify_refresh(self, token: str) -> Refresh:
        """Raises Unauthenticated. Whether the login still lives, its row tells."""
        try:
            claims = jwt.decode(token, self.refresh_secret, algorithms=[OWN])
            return Refresh(str(claims["sid"]), int(claims["gen"]))
        except (jwt.PyJWTError, ValueError, KeyError, TypeError, RecursionError):
            raise Unauthenticated from None
