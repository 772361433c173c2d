"""Accounts: whose a token is, and whether it counts still."""

import time
from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import Connection

from realtime.schema.caller import Caller
from realtime.schema.revocation import still_valid
from realtime.support.ttl_cache import TtlCache
from realtime.tokens import Claims, Tokens
from storage import accounts
from storage.accounts import PLATFORM, NewUser, Tenant, User
from storage.batcher import Batcher
from storage.database import Database
from storage.errors import Conflict, NotFound, Unauthenticated
from storage.text import cut, is_blank, without_directions
from storage.transaction import Command, Tx
from storage.types import now

VERIFIED_TOKENS = 20_000

OnRevoked = Callable[[int, str | None, str], None]


class Accounts:
    """``await start()`` before use.

    ``on_revoked`` is called when sockets must close, with the user, one of their logins or None for all, and the reason.
    """

    # That of requests and tokens that name none.
    default_tenant: Tenant

    def __init__(
        self,
        database: Database,
        tokens: Tokens,
        callers: TtlCache[str, Caller],
        *,
        local: bool,
        provision_users: bool,
        on_revoked: OnRevoked,
    ) -> None:
        self.database = database
        self.tokens = tokens
        # The callers of tokens, as read a moment ago.
        self.callers = callers
        # Whether accounts with a password may log in.
        self.local = local
        # Whether an unknown user of an external issuer's token is created.
        self.provision_users = provision_users
        self.on_revoked = on_revoked
        # The claims of tokens of ours whose signatures were verified, by token.
        self.verified: dict[str, Claims] = {}
        self.recognised: Batcher[Claims, Caller | None] = Batcher(database, self.recognise)

    # Who asks

    async def authenticate(self, token: str) -> Caller:
        """The caller behind a token, as stored at most two seconds ago. Raises Unauthenticated."""
        caller = self.callers.get(token)
        if caller and caller.expires_at > now():
            return caller
        claims = self.verified.get(token)
        if claims is None or claims.expires_at <= now():
            claims = await self._verify(token)
        asked_at = time.monotonic()
        caller = await self.recognised.get(claims)
        if caller is None:
            caller = await self._provision(claims)
        self.callers.put(token, caller, asked_at)
        return caller

    async def _verify(self, token: str) -> Claims:
        """A signature of ours is looked at once; an issuer may take a key back."""
        claims = await self.tokens.verify(token)
        if not claims.external:
            if len(self.verified) >= VERIFIED_TOKENS:
                self.verified.clear()
            self.verified[token] = claims
        return claims

    def recognise(self, connection: Connection, asked: Sequence[Claims]) -> list[Caller | Exception | None]:
        """The callers of verified tokens: None for an unknown user who shall be made, Unauthenticated for who may not."""
        tenants = {uuid: self._tenant(connection, uuid) for uuid in {each.tenant for each in asked}}
        named: dict[tuple[int, str], set[Any]] = {}
        for each in asked:
            if tenant := tenants[each.tenant]:
                named.setdefault((tenant.pk, each.name), set()).add(each.value)
        users = {key: accounts.by_names(connection, *key, values) for key, values in named.items()}

        def of(claims: Claims) -> Caller | None:
            tenant = tenants[claims.tenant]
            user = users[tenant.pk, claims.name].get(claims.value) if tenant else None
            return caller_of(user, claims) if user and not self._is_local(user, claims) else None

        callers = [of(each) for each in asked]
        valid = still_valid(connection, [each for each in callers if each])
        found: list[Caller | Exception | None] = []
        for claims, caller in zip(asked, callers, strict=True):
            made = caller is None and claims.external and self.provision_users and tenants[claims.tenant]
            found.append(caller if caller in valid else None if made else Unauthenticated())
        return found

    def _tenant(self, connection: Connection, uuid: str | None) -> Tenant | None:
        here = uuid is None or uuid == self.default_tenant.uuid
        return self.default_tenant if here else accounts.tenant(connection, str(uuid))

    async def _provision(self, claims: Claims) -> Caller:
        """Make the user of a valid token of an issuer that we trust."""

        def apply(tx: Tx) -> User:
            tenant = accounts.tenant(tx.connection(), claims.tenant) if claims.tenant else self.default_tenant
            if tenant is None:
                raise Unauthenticated
            found = accounts.find(tx.connection(), tenant.pk, **{claims.name: claims.value})
            if found and self._is_local(found, claims):
                raise Unauthenticated
            if found:
                return found
            try:
                return accounts.add_user(tx, tenant.pk, NewUser(name_of(claims), **{claims.name: claims.value}))  # type: ignore[arg-type]
            except Conflict:
                # Deleted users keep their names, and do not come back.
                raise Unauthenticated from None

        key = f"provision:{claims.tenant}:{claims.value}"
        return caller_of(await self.database.write(Command(apply, keys=[key])), claims)

    def _is_local(self, user: User, claims: Claims) -> bool:
        """Whether a token of an external issuer names an account with a local password, and must be rejected.

        Also where local accounts are disabled by now: another person may have registered under that name.
        """
        return claims.external and user.password is not None

    async def start(self) -> None:
        """Make sure there is a default tenant."""
        command = Command(accounts.default_tenant, keys=["installation"])
        self.default_tenant = await self.database.write(command)

    async def has_admin(self) -> bool:
        """Whether the default tenant has an administrator."""
        pk = self.default_tenant.pk
        return await self.database.read(lambda connection: accounts.other_admins(connection, pk, 0))

    async def tenant(self, uuid: str | None) -> Tenant:
        """Raises NotFound."""
        if uuid is None or uuid == self.default_tenant.uuid:
            return self.default_tenant
        found = await self.database.read(lambda connection: accounts.tenant(connection, uuid))
        if found is None:
            raise NotFound
        return found

    async def change_me(self, caller: Caller, values: dict[str, Any]) -> User:
        change = Command(lambda tx: accounts.change(tx, caller.fresh(tx).pk, values), channels=[caller.pk])
        user = await self.database.write(change)
        self.callers.clear()
        return user

    def ended(self, user_pk: int, login: str | None, reason: str) -> None:
        self.callers.clear()
        self.on_revoked(user_pk, login, reason)


def caller_of(user: User, claims: Claims) -> Caller:
    """The ``sid`` of an issuer is not one of our logins, and only ``run.py`` gives ``platform.admin``."""
    permissions = claims.permissions - {PLATFORM} if claims.external else claims.permissions
    login = None if claims.external else claims.login
    return Caller(user, permissions, claims.issued_at, claims.expires_at, login, claims.dialect, makers=claims.makers)


def name_of(claims: Claims) -> str:
    """What an issuer's token calls its subject, as far as it can be stored."""
    name = claims.profile.get("name")
    clean = cut(without_directions(name.replace("\0", "")).strip(), 255) if isinstance(name, str) else ""
    return str(claims.value) if is_blank(clean) else clean
