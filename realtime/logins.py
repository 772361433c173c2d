"""Accounts with a password: register, log in, refresh, log out, set another password. Ending a login ends its sockets."""

import contextlib
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from realtime.accounts import Accounts
from realtime.cluster.rates import Rates
from realtime.passwords import Passwords
from realtime.schema.caller import Caller
from realtime.tokens import Refresh
from storage import accounts, audit, logins, registration
from storage.accounts import NewUser, User
from storage.email import key_of
from storage.errors import Conflict, Forbidden, NotFound, RegistrationClosed, Unauthenticated, Unavailable
from storage.logins import LivingLogin
from storage.tasks import Tasks
from storage.transaction import Command, Tx

ACCESS_TTL_SECONDS = 15 * 60
REFRESH_TTL_SECONDS = 30 * 24 * 3600
RESET_TTL_SECONDS = 24 * 3600
WRONG = "Incorrect e-mail or password"


class Peer(NamedTuple):
    """Who asks: ``key`` counts against limits, None has none; ``address`` and ``agent`` are shown to the user."""

    key: str | None = None
    address: str | None = None
    agent: str | None = None


@dataclass(frozen=True, slots=True)
class LoggedIn:
    """A pair of tokens; ``expires_in`` is the access token's life in seconds.

    ``device`` proves later that this device has logged in to this account, until its password changes.
    """

    access: str
    refresh: str
    expires_in: int
    user: User
    device: str


class Logins:
    """``most`` logins of a user live at a time."""

    def __init__(
        self, accounts: Accounts, passwords: Passwords, rates: Rates, *, most: int, local: bool = True
    ) -> None:
        self.accounts = accounts
        self.database = accounts.database
        self.tokens = accounts.tokens
        self.passwords = passwords
        self.rates = rates
        self.most = most
        self.local = local
        # Failed attempts that are being recorded.
        self.tasks = Tasks()

    async def stop(self) -> None:
        await self.tasks.finish()

    async def register(
        self,
        email: str,
        password: str,
        name: str | None,
        tenant: str | None,
        peer: Peer,
        invitation: str | None = None,
    ) -> LoggedIn:
        """Raises RegistrationClosed, Conflict if the e-mail is taken, TooMany for too many from an address."""
        self._require_local()
        await self.rates.spend(self.rates.registrations, peer.key)
        await self.passwords.require_strong(password, names_of(email, name))
        home = await self.accounts.tenant(tenant)
        hashed = await self.passwords.hash(password, peer.key)
        new = NewUser(name or email.split("@")[0], email=email, password=hashed)

        def apply(tx: Tx) -> tuple[User, str]:
            if not registration.is_admitted(tx, home.pk, email, digest(invitation) if invitation else None):
                raise RegistrationClosed
            user = accounts.add_user(tx, home.pk, new)
            audit.add(tx, user, "login.register", user.id, address=peer.address)
            return user, logins.add(tx, user.pk, ttl=REFRESH_TTL_SECONDS, address=peer.address, agent=peer.agent)

        return self._logged_in(*await self.database.write(Command(apply)))

    async def login(
        self, email: str, password: str, tenant: str | None, peer: Peer, device: str | None = None
    ) -> LoggedIn:
        """Begin a login; where too many live, those end that were not used for longest.

        Raises Unauthenticated, in the same time whether the account exists or not.

        Raises TooMany where an address tries too often, or the account was tried with too many wrong passwords, from this
        address or, without the ``device`` of an earlier log-in, from anywhere; whether it exists or not.
        """
        self._require_local()
        await self.rates.spend(self.rates.logins, peer.key)
        home = await self.accounts.tenant(tenant)
        account = hashlib.sha256(f"{home.pk} {key_of(email)}".encode()).hexdigest()
        here = f"{account} {peer.key}"
        await self.rates.require(self.rates.failed_logins, here)
        user = await self.database.read(lambda connection: accounts.find(connection, home.pk, email=email))
        known = bool(device and user and user.password and self.tokens.devices.is_signed(device_text(user), device))
        if not known:
            await self.rates.require(self.rates.failed_logins_anywhere, account)
        stored = user.password if user else None
        good = await self.passwords.matches(stored or self.passwords.decoy, password, peer.key)
        if user is None or not user.password or not good or user.status != "active":
            await self.rates.spend(self.rates.failed_logins, here)
            if not known:
                await self.rates.spend(self.rates.failed_logins_anywhere, account)
            if user is not None:
                # The request does not wait for it: the response time would reveal that the account exists.
                self.tasks.spawn(self._record_failure(user, peer))
            raise Unauthenticated(WRONG, code="wrong_credentials")
        # Many may have been tried while this one was looked at.
        await self.rates.require(self.rates.failed_logins, here)

        def apply(tx: Tx) -> tuple[User, str, list[str]]:
            now_user = accounts.get(tx.connection(), user.pk)
            if now_user.status != "active" or now_user.password != user.password:
                raise Unauthenticated(WRONG, code="wrong_credentials")
            record(tx, now_user, "login", peer)
            ended = logins.surplus(tx.connection(), user.pk, self.most - 1)
            logins.end(tx, user.pk, ended, "logout")
            added = logins.add(tx, user.pk, ttl=REFRESH_TTL_SECONDS, address=peer.address, agent=peer.agent)
            return now_user, added, ended

        now_user, added, ended = await self.database.write(Command(apply, channels=[user.pk]))
        for each in ended:
            self.accounts.ended(user.pk, each, "logout")
        return self._logged_in(now_user, added)

    async def refresh(self, token: str, peer: Peer) -> LoggedIn:
        """A new pair for a refresh token. One that was used before ends the login. Raises Unauthenticated."""
        if not self.local:
            raise Unauthenticated
        refresh = self.tokens.verify_refresh(token)
        found = await self.database.read(lambda connection: logins.find(connection, refresh.login))
        if found is None:
            raise Unauthenticated

        def apply(tx: Tx) -> tuple[User, bool]:
            login = logins.find(tx.connection(), refresh.login)
            if login is None or login.ended_at is not None or login.expires_at < tx.now:
                raise Unauthenticated
            user = accounts.get(tx.connection(), login.user_pk)
            if login.generation != refresh.generation:
                logins.end(tx, user.pk, [refresh.login], "logout")
                record(tx, user, "login.reused", peer)
                return user, False
            if user.status != "active":
                raise Unauthenticated
            logins.rotate(tx, refresh.login, ttl=REFRESH_TTL_SECONDS, address=peer.address, agent=peer.agent)
            return user, True

        user, good = await self.database.write(Command(apply, channels=[found.user_pk]))
        if not good:
            self.accounts.ended(user.pk, refresh.login, "logout")
            raise Unauthenticated("Refresh token reused; the login has ended", code="refresh_token_reused")
        return self._logged_in(user, refresh.login, refresh.generation + 1)

    async def logout(self, caller: Caller) -> None:
        """End the caller's login; a token without one ends all of the user's."""

        def apply(tx: Tx) -> None:
            if caller.login:
                logins.end(tx, caller.pk, [caller.login], "logout")
            else:
                logins.end_all(tx, caller.pk, "logout")

        await self.database.write(Command(apply, channels=[caller.pk]))
        self.accounts.ended(caller.pk, caller.login, "logout")

    async def logout_by(self, token: str) -> None:
        """End the login of a refresh token. Raises Unauthenticated."""
        login = self.tokens.verify_refresh(token).login
        found = await self.database.read(lambda connection: logins.find(connection, login))
        if found is None:
            raise Unauthenticated
        command = Command(lambda tx: logins.end(tx, found.user_pk, [login], "logout"), channels=[found.user_pk])
        await self.database.write(command)
        self.accounts.ended(found.user_pk, login, "logout")

    # Passwords

    async def change_password(self, caller: Caller, old: str, new: str, peer: Peer) -> User:
        """Ends all of the user's tokens, logins and reset links but the caller's login.

        Raises Forbidden if the old password is wrong, TooMany for too many tries, right ones among them.
        """
        asker = f"user {caller.pk}"
        await self.rates.spend(self.rates.failed_logins, asker)
        known = await self.database.read(lambda connection: accounts.get(connection, caller.pk))
        stored = known.password
        if not stored or not await self.passwords.matches(stored, old, asker):
            raise Forbidden("Incorrect old password", code="wrong_password")
        await self.passwords.require_strong(new, names_of(known.email, known.name), "new")
        password = await self.passwords.hash(new, asker)

        def apply(tx: Tx) -> User:
            user = caller.fresh(tx).user
            if user.password != stored:
                raise Conflict("The password was changed by another request")
            logins.end_all(tx, user.pk, "logout", exclude=caller.login)
            logins.end_reset_links(tx, user.pk)
            record(tx, user, "password.change", peer)
            return accounts.change(tx, user.pk, {"password": password})

        user = await self.database.write(Command(apply, channels=[caller.pk]))
        self.accounts.callers.clear()
        return user

    async def reset_password(self, token: str, new: str, peer: Peer) -> User:
        """Raises NotFound if the link is unknown, used or expired. Ends all tokens, logins and reset links."""
        self._require_local()
        link = digest(token)
        owner = await self.database.read(lambda connection: logins.reset_link_of(connection, link))
        if owner is None:
            raise NotFound("The link is unknown, already used or expired", code="reset_link_invalid")
        known = await self.database.read(lambda connection: accounts.get(connection, owner))
        await self.passwords.require_strong(new, names_of(known.email, known.name))
        password = await self.passwords.hash(new, peer.key)

        def apply(tx: Tx) -> User:
            user_pk = logins.use_reset_link(tx, link)
            if user_pk is None:
                raise NotFound("The link is unknown, already used or expired", code="reset_link_invalid")
            logins.end_all(tx, user_pk, "logout")
            logins.end_reset_links(tx, user_pk)
            record(tx, accounts.get(tx.connection(), user_pk), "password.reset", peer)
            return accounts.change(tx, user_pk, {"password": password})

        user = await self.database.write(Command(apply, channels=[owner]))
        self.accounts.ended(user.pk, None, "logout")
        return user

    # Sessions of a user

    async def of_user(self, caller: Caller) -> Sequence[LivingLogin]:
        """The caller's logins that are good still, the latest used first."""
        return await self.database.read(lambda connection: logins.living(connection, caller.pk))

    async def end(self, caller: Caller, id: str) -> None:
        """End one of the caller's logins. Raises NotFound."""

        def apply(tx: Tx) -> None:
            if id not in {each.id for each in logins.living(tx.connection(), caller.pk)}:
                raise NotFound
            logins.end(tx, caller.pk, [id], "logout")

        await self.database.write(Command(apply, channels=[caller.pk]))
        self.accounts.ended(caller.pk, id, "logout")

    async def end_others(self, caller: Caller) -> None:
        """End all of the caller's logins and tokens but the login that asks."""
        command = Command(
            lambda tx: logins.end_all(tx, caller.pk, "logout", exclude=caller.login), channels=[caller.pk]
        )
        await self.database.write(command)
        self.accounts.callers.clear()

    # Helpers

    def _logged_in(self, user: User, login: str, generation: int = 0) -> LoggedIn:
        access, _ = self.tokens.issue(user, ttl=ACCESS_TTL_SECONDS, login=login)
        refresh = self.tokens.issue_refresh(Refresh(login, generation))
        return LoggedIn(access, refresh, ACCESS_TTL_SECONDS, user, self.tokens.devices.sign(device_text(user)))

    async def _record_failure(self, user: User, peer: Peer) -> None:
        with contextlib.suppress(Unavailable):
            await self.database.write(Command(lambda tx: record(tx, user, "login.failed", peer)))

    def _require_local(self) -> None:
        if not self.local:
            raise Forbidden(
                "Local accounts are disabled; use a token from your identity provider", code="local_accounts_disabled"
            )


def device_text(user: User) -> str:
    """What is signed in the answer to a log-in, and counts until the account has another password."""
    return f"{user.pk} {user.password}"


def names_of(email: str | None, name: str | None) -> list[str | None]:
    """What others know of an account."""
    return [email, email.partition("@")[0] if email else None, name]


def record(tx: Tx, user: User, action: str, peer: Peer) -> None:
    """Keep in the audit trail what a user did to their own account, and from where as far as it is known."""
    where = {"address": peer.address, "agent": peer.agent}
    audit.add(tx, user, action, user.id, **{name: value for name, value in where.items() if value})


def digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
