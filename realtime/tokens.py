"""JSON Web Tokens: our own with a secret, an issuer's with a PEM or a JWKS URL. One algorithm family per key."""

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jwt

from realtime.key_set import KeySet
from realtime.schema.caller import LEEWAY_SECONDS, Maker
from realtime.signing import SHORTEST_SECRET, Signer, TokenSigner
from storage.accounts import User
from storage.errors import Unauthenticated
from storage.types import SECOND, read_ref

# RFC 9068, section 2.1.
ACCESS_TYPE, REFRESH_TYPE = "at+jwt", "refresh+jwt"
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
    """Issues with the first of ``secrets``, and verifies with all.

    ``public_key`` (PEM) or ``jwks_url`` add an issuer whose tokens use ``algorithm``. ``issuer`` and ``audience`` are checked
    where given. Raises ValueError for settings that would not be safe.
    """

    def __init__(
        self,
        secrets: Sequence[str],
        *,
        algorithm: str = "RS256",
        public_key: str | None = None,
        jwks_url: str | None = None,
        issuer: str | None = None,
        audience: str | None = None,
    ) -> None:
        if any(len(each.encode()) < SHORTEST_SECRET for each in secrets):
            raise ValueError(
                f"each secret in BELLWIRE_JWT_SECRET and …_OTHER_SECRETS must be at least {SHORTEST_SECRET} bytes"
            )
        if (public_key or jwks_url) and algorithm not in ("RS256", "ES256", "EdDSA"):
            raise ValueError("BELLWIRE_JWT_ALGORITHM must be RS256, ES256 or EdDSA for a public key or a JWKS URL")
        self.access = TokenSigner(secrets, ACCESS_TYPE)
        self.refresh = TokenSigner(secrets, REFRESH_TYPE, "refresh")
        self.devices = Signer(secrets, "device")
        self.algorithm = algorithm
        self.public_key = public_key
        self.key_set = KeySet(jwks_url) if jwks_url else None
        self.issuer = issuer
        self.audience = audience
        self.checks: dict[str, Any] = {
            "issuer": issuer,
            "audience": audience,
            "leeway": LEEWAY_SECONDS,
            "options": {
                "require": REQUIRED,
                "verify_sub": False,
                "verify_aud": audience is not None,
                "verify_iss": issuer is not None,
            },
        }
        # Our own clock may have been set back since.
        self.own_checks = {**self.checks, "options": {**self.checks["options"], "verify_iat": False}}

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
        return self.access.encode(claims), expires

    async def verify(self, token: str) -> Claims:
        """Raises TokenExpired, or Unauthenticated for everything else that is wrong with it."""
        try:
            claims = self.access.decode(token, **self.own_checks)
            if claims is not None:
                return self._read(claims, external=False)
            key = await self._external_key(token)
            return self._read(jwt.decode(token, key, algorithms=[self.algorithm], **self.checks), external=True)
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
        name, value = read_ref(claims["sub"])
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

    # Refresh tokens

    def issue_refresh(self, refresh: Refresh) -> str:
        return self.refresh.encode({"sid": refresh.login, "gen": refresh.generation})

    def verify_refresh(self, token: str) -> Refresh:
        """Raises Unauthenticated. Whether the login is still active is in its row."""
        try:
            claims = self.refresh.decode(token)
            if claims is None:
                raise Unauthenticated
            return Refresh(str(claims["sid"]), int(claims["gen"]))
        except (jwt.PyJWTError, ValueError, KeyError, TypeError, RecursionError):
            raise Unauthenticated from None
