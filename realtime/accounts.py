"""Accounts: register, log in, refresh, log out, provision, ban. Ending a login also ends its sockets."""

import asyncio
import contextlib
import hashlib
import secrets
import time
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import argon2
from sqlalchemy import Connection

from realtime.caller import Caller, expand
from realtime.fresh import Fresh
from realtime.rates import Rates
from realtime.tokens import LEEWAY, Claims, Refresh, Tokens
from storage import accounts, logins
from storage.accounts import PLATFORM, NewUser, Tenant, User
from storage.database import Database
from storage.email import key_of
from storage.errors import Conflict, Forbidden, NotFound, Unauthenticated
from storage.gather import Gather
from storage.text import cut, is_blank, without_directions
from storage.transaction import Command, Tx
from storage.types import SECOND, now

ACCESS_TTL = 15 * 60
REFRESH_TTL = 30 * 24 * 3600
RESET_TTL = 24 * 3600
VERIFIED_TOKENS = 20_000

Revoked = Callable[[int, str | None, str], None]


@dataclass(frozen=True, slots=True)
class LoggedIn:
    """A pair of tokens; ``expires_in`` is the access token's life in seconds."""

    access: str
    refresh: str
    expires_in: int
    user: User


class Accounts:
    """``revoked`` is told whose sockets must close: a user, one of their logins or None for all, and the reason."""

    def __init__(
        self,
        database: Database,
        tokens: Tokens,
        rates: Rates,
        *,
        local: bool = True,
        provision_users: bool = False,
        revoked: Revoked = lambda user_pk, login, reason: None,
    ) -> None:
        self.database = database
        self.tokens = tokens
        self.rates = rates
        self.local = local
        self.provision_users = provision_users
        self.revoked = revoked
        self.hasher = argon2.PasswordHasher()
        self.hashing = asyncio.Semaphore(2)
        self.decoy: str | None = None
        self.verified: dict[str, Claims] = {}
        self.callers: Fresh[str, Caller] = Fresh()
        self.recognised: Gather[Claims, Caller | None] = Gather(database, self.recognise)

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
            return caller_of(user, claims) if user and not is_local(user, claims) else None

        callers = [of(each) for each in asked]
        valid = self.valid(connection, [each for each in callers if each])
        found: list[Caller | Exception | None] = []
        for claims, caller in zip(asked, callers, strict=True):
            made = caller is None and claims.external and self.provision_users and tenants[claims.tenant]
            found.append(caller if caller in valid else None if made else Unauthenticated())
        return found

    def _tenant(self, connection: Connection, uuid: str | None) -> Tenant | None:
        here = uuid is None or uuid == self.default_tenant.uuid
        return self.default_tenant if here else accounts.tenant(connection, str(uuid))

    def valid(self, connection: Connection, callers: Sequence[Caller]) -> set[Caller]:
        """Those whose tokens still count: the user active, the login alive, nothing signed out since.

        Whoever made the token for another must be active too, and have the permission that it took.
        """
        pks = {each.pk for each in callers} | {maker.pk for each in callers for maker in each.makers}
        states = accounts.states(connection, pks) if callers else {}
        living = logins.not_ended(connection, {each.login for each in callers if each.login})
        latest = now() + LEEWAY * SECOND

        def counts(caller: Caller) -> bool:
            status, valid_after, _ = states[caller.pk]
            for maker in caller.makers:
                state = states.get(maker.pk)
                if state is None or state.status != "active" or not maker.needs <= expand(state.permissions):
                    return False
            if caller.login is not None:
                signed_in = (caller.login, caller.pk) in living
            else:
                # Of who was signed out, a token of the future may be from before: the clock was set back.
                signed_in = not valid_after or valid_after <= caller.issued_at <= latest
            return status == "active" and signed_in

        return {each for each in callers if counts(each)}

    async def _provision(self, claims: Claims) -> Caller:
        """Make the user of a valid token of an issuer that we trust."""

        def apply(tx: Tx) -> User:
            tenant = accounts.tenant(tx.connection, claims.tenant) if claims.tenant else self.default_tenant
            if tenant is None:
                raise Unauthenticated
            found = accounts.find(tx.connection, tenant.pk, **{claims.name: claims.value})
            if found and is_local(found, claims):
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

    async def start(self) -> None:
        """Make sure there is a default tenant."""
        command = Command(accounts.default_tenant, keys=["installation"])
        self.default_tenant: Tenant = await self.database.write(command)

    async def tenant(self, uuid: str | None) -> Tenant:
        """Raises NotFound."""
        if uuid is None or uuid == self.default_tenant.uuid:
            return self.default_tenant
        found = await self.database.read(lambda connection: accounts.tenant(connection, uuid))
        if found is None:
            raise NotFound
        return found

    # Local accounts

    async def register(
        self, email: str, password: str, name: str | None, tenant: str | None, address: str | None = None
    ) -> LoggedIn:
        """Raises Conflict if the e-mail is taken, TooMany for too many from an address."""
        self._require_local()
        await self.rates.spend(self.rates.registrations, address)
        home = await self.tenant(tenant)
        new = NewUser(name or email.split("@")[0], email=email, password=await self.hash(password))

        def apply(tx: Tx) -> tuple[User, str]:
            user = accounts.add_user(tx, home.pk, new)
            return user, logins.add(tx, user.pk, lasts=REFRESH_TTL)

        return self._logged_in(*await self.database.write(Command(apply)))

    async def login(self, email: str, password: str, tenant: str | None, address: str | None = None) -> LoggedIn:
        """Raises Unauthenticated, in the same time whether the account exists or not.

        Raises TooMany where an address tries too often, or an account was tried with too many wrong passwords, whether it
        exists or not.
        """
        self._require_local()
        await self.rates.spend(self.rates.logins, address)
        home = await self.tenant(tenant)
        account = hashlib.sha256(f"{home.pk} {key_of(email)}".encode()).hexdigest()
        await self.rates.require(self.rates.failed_logins, account)
        user = await self.database.read(lambda connection: accounts.find(connection, home.pk, email=email))
        if self.decoy is None:
            self.decoy = await self.hash(secrets.token_hex())
        good = await self.check(user.password if user and user.password else self.decoy, password)
        if user is None or not user.password or not good or user.status != "active":
            await self.rates.spend(self.rates.failed_logins, account)
            raise Unauthenticated("The e-mail or the password is wrong")
        # Many may have been tried while this one was looked at.
        await self.rates.require(self.rates.failed_logins, account)

        def apply(tx: Tx) -> tuple[User, str]:
            now_user = accounts.get(tx.connection, user.pk)
            if now_user.status != "active" or now_user.password != user.password:
                raise Unauthenticated("The e-mail or the password is wrong")
            return now_user, logins.add(tx, user.pk, lasts=REFRESH_TTL)

        return self._logged_in(*await self.database.write(Command(apply, channels=[user.pk])))

    async def refresh(self, token: str) -> LoggedIn:
        """A new pair for a refresh token. One that was used before ends the login. Raises Unauthenticated."""
        refresh = self.tokens.verify_refresh(token)
        found = await self.database.read(lambda connection: logins.find(connection, refresh.login))
        if found is None:
            raise Unauthenticated

        def apply(tx: Tx) -> tuple[User, bool]:
            login = logins.find(tx.connection, refresh.login)
            if login is None or login.ended_at is not None or login.expires_at < tx.now:
                raise Unauthenticated
            user = accounts.get(tx.connection, login.user_pk)
            if login.generation != refresh.generation:
                logins.end(tx, user.pk, refresh.login, "logout")
                return user, False
            if user.status != "active":
                raise Unauthenticated
            logins.rotate(tx, refresh.login, lasts=REFRESH_TTL)
            return user, True

        user, good = await self.database.write(Command(apply, channels=[found.user_pk]))
        if not good:
            self.ended(user.pk, refresh.login, "logout")
            raise Unauthenticated("This refresh token was used before; its login has ended")
        return self._logged_in(user, refresh.login, refresh.generation + 1)

    async def logout(self, caller: Caller) -> None:
        """End the caller's login; a token without one ends all of the user's."""

        def apply(tx: Tx) -> None:
            if caller.login:
                logins.end(tx, caller.pk, caller.login, "logout")
            else:
                logins.end_all(tx, caller.pk, "logout")

        await self.database.write(Command(apply, channels=[caller.pk]))
        self.ended(caller.pk, caller.login, "logout")

    async def logout_by(self, token: str) -> None:
        """End the login of a refresh token. Raises Unauthenticated."""
        login = self.tokens.verify_refresh(token).login
        found = await self.database.read(lambda connection: logins.find(connection, login))
        if found is None:
            raise Unauthenticated
        command = Command(lambda tx: logins.end(tx, found.user_pk, login, "logout"), channels=[found.user_pk])
        await self.database.write(command)
        self.ended(found.user_pk, login, "logout")

    async def change_password(self, caller: Caller, old: str, new: str) -> User:
        """Ends all of the user's tokens, logins and reset links but the caller's login.

        Raises Forbidden if the old password is wrong, TooMany where it was too often.
        """
        account = f"user {caller.pk}"
        await self.rates.require(self.rates.failed_logins, account)
        stored = (await self.database.read(lambda connection: accounts.get(connection, caller.pk))).password
        if not stored or not await self.check(stored, old):
            await self.rates.spend(self.rates.failed_logins, account)
            raise Forbidden("The old password is wrong")
        password = await self.hash(new)

        def apply(tx: Tx) -> User:
            user = caller.fresh(tx).user
            if user.password != stored:
                raise Conflict("The password was changed meanwhile")
            logins.end_all(tx, user.pk, "logout", but=caller.login)
            logins.end_reset_links(tx, user.pk)
            return accounts.change(tx, user.pk, {"password": password})

        user = await self.database.write(Command(apply, channels=[caller.pk]))
        self.callers.clear()
        return user

    async def reset_password(self, token: str, new: str) -> User:
        """Raises NotFound if the link is unknown, used or expired. Ends all tokens, logins and reset links."""
        link = digest(token)
        owner = await self.database.read(lambda connection: logins.reset_link_of(connection, link))
        if owner is None:
            raise NotFound("This link is unknown, used or expired")
        password = await self.hash(new)

        def apply(tx: Tx) -> User:
            user_pk = logins.use_reset_link(tx, link)
            if user_pk is None:
                raise NotFound("This link is unknown, used or expired")
            logins.end_all(tx, user_pk, "logout")
            logins.end_reset_links(tx, user_pk)
            return accounts.change(tx, user_pk, {"password": password})

        user = await self.database.write(Command(apply, channels=[owner]))
        self.ended(user.pk, None, "logout")
        return user

    async def change_me(self, caller: Caller, values: dict[str, Any]) -> User:
        change = Command(lambda tx: accounts.change(tx, caller.fresh(tx).pk, values), channels=[caller.pk])
        user = await self.database.write(change)
        self.callers.clear()
        return user

    # Helpers

    async def hash(self, password: str) -> str:
        async with self.hashing:
            return await asyncio.to_thread(self.hasher.hash, normalized(password))

    async def check(self, hashed: str, password: str) -> bool:
        """Also as it was typed: so it was hashed by earlier versions."""
        for spelling in dict.fromkeys((normalized(password), password)):
            async with self.hashing:
                with contextlib.suppress(argon2.exceptions.VerificationError):
                    return await asyncio.to_thread(self.hasher.verify, hashed, spelling)
        return False

    def _logged_in(self, user: User, login: str, generation: int = 0) -> LoggedIn:
        access, _ = self.tokens.issue(user, ttl=ACCESS_TTL, login=login)
        return LoggedIn(access, self.tokens.issue_refresh(Refresh(login, generation)), ACCESS_TTL, user)

    def ended(self, user_pk: int, login: str | None, reason: str) -> None:
        self.callers.clear()
        self.revoked(user_pk, login, reason)

    def _require_local(self) -> None:
        if not self.local:
            raise Forbidden("Accounts are kept elsewhere; come with a token of your issuer")


def is_local(user: User, claims: Claims) -> bool:
    """Whether an issuer's token names an account that has its password here: whoever it was made for is somebody else."""
    return claims.external and user.password is not None


def caller_of(user: User, claims: Claims) -> Caller:
    """An issuer's ``sid`` is no login of ours, and only ``run.py`` gives ``platform.admin``."""
    permissions = claims.permissions - {PLATFORM} if claims.external else claims.permissions
    login = None if claims.external else claims.login
    return Caller(user, permissions, claims.issued_at, claims.expires_at, login, claims.dialect, makers=claims.makers)


def name_of(claims: Claims) -> str:
    """What an issuer's token calls its subject, as far as it can be stored."""
    name = claims.profile.get("name")
    clean = cut(without_directions(name.replace("\0", "")).strip(), 255) if isinstance(name, str) else ""
    return str(claims.value) if is_blank(clean) else clean


def normalized(password: str) -> str:
    """The same password, however a keyboard composed its characters (NIST SP 800-63B, section 5.1.1.2)."""
    return unicodedata.normalize("NFKC", password)


def digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
