"""Administration: who makes and changes other people's accounts, and what a tenant sets."""

import secrets
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection

from realtime.accounts import Accounts
from realtime.logins import RESET_TTL_SECONDS, digest, names_of
from realtime.passwords import Passwords
from realtime.schema import shapes
from realtime.schema.caller import Caller, Maker, Operator, expand
from storage import accounts, audit, logins, registration
from storage.accounts import PLATFORM, NewUser, Tenant, User
from storage.errors import Conflict, Forbidden, Invalid
from storage.registration import Mode
from storage.transaction import Command, Tx
from storage.types import SECOND

INVITATION_SECONDS = 7 * 24 * 3600
# The status that follows, and the one that is lifted.
VERBS = {
    "disable": ("disabled", None),
    "enable": ("active", "disabled"),
    "ban": ("banned", None),
    "unban": ("active", "banned"),
}


class Administration:
    def __init__(self, accounts: Accounts, passwords: Passwords) -> None:
        self.accounts = accounts
        self.passwords = passwords
        self.database = accounts.database

    async def add_tenant(self, caller: Caller, name: str, uuid: str | None) -> Tenant:
        def apply(tx: Tx) -> Tenant:
            actor = caller.fresh(tx)
            actor.require(PLATFORM)
            tenant = accounts.add_tenant(tx, name, uuid)
            audit.add(tx, actor.user, "tenant.create", tenant.uuid)
            return tenant

        return await self.database.write(Command(apply))

    async def add_user(self, caller: Caller, new: NewUser) -> User:
        """Raises Conflict if a name is taken, Forbidden for permissions that the caller lacks."""
        hashed = None
        if new.password:
            await self.passwords.require_strong(new.password, names_of(new.email, new.name))
            hashed = await self.passwords.hash(new.password, f"user {caller.pk}")

        def apply(tx: Tx) -> User:
            actor = caller.fresh(tx)
            actor.require("users.manage")
            actor_may_give(actor, new.permissions)
            user = accounts.add_user(tx, actor.user.tenant_pk, with_password(new, hashed))
            audit.add(tx, actor.user, "user.create", user.id, permissions=sorted(new.permissions))
            return user

        return await self.database.write(Command(apply))

    async def change_user(self, caller: Caller, user_id: str, values: Mapping[str, Any], *, own: bool = False) -> User:
        """Set a user's ``name``, ``permissions`` or both. Tokens they issued end with the permission to issue.

        Raises NotFound; Forbidden if the user has, or would get, a permission that the caller lacks; Conflict if the
        tenant would lose its last admin and, unless ``own``, if the caller would lose ``admin``.
        """

        def apply(tx: Tx) -> User:
            actor = caller.fresh(tx)
            actor.require("users.manage")
            user = accounts.need(tx.connection(), actor.user.tenant_pk, user_id)
            actor.require_over(user)
            wanted = dict(values)
            if "permissions" in values:
                actor_may_give(actor, values["permissions"])
                # Only run.py gives that one, and takes it.
                wanted["permissions"] = values["permissions"] | (user.permissions & {PLATFORM})
                if "admin" in user.permissions and "admin" not in values["permissions"]:
                    require_own(actor, user, own)
                    keep_an_admin(tx, user)
            if all(getattr(user, name) == value for name, value in wanted.items()):
                return user
            changed = accounts.change(tx, user.pk, wanted)
            if expand(user.permissions) - expand(changed.permissions):
                logins.revoke(tx, user.pk, None, "logout")
            audit.add(tx, actor.user, "user.change", user.id, **changes_of(user, changed))
            return changed

        values = {name: frozenset(value) if name == "permissions" else value for name, value in values.items()}
        keys = [admins_of(caller.user.tenant_pk)]
        user = await self.database.write(Command(apply, keys=keys))
        self.accounts.callers.clear()
        return user

    async def issue_token(
        self, caller: Caller, user_id: str, permissions: Collection[str], ttl: int
    ) -> tuple[str, int]:
        """A token of a user of the tenant, and when it expires, in seconds since 1970.

        It is revoked when its issuer loses the permission to issue, or one that it grants. One for the caller's own account
        also ends with the login, or at the latest with the token, that was used to issue it; so does one that gives what the
        caller has by their token alone. Raises NotFound, and Forbidden for one of those who issued the caller's own token.
        """

        def apply(tx: Tx) -> tuple[User, dict[str, Any]]:
            actor = caller.fresh(tx)
            actor.require("users.manage")
            user = accounts.need(tx.connection(), actor.user.tenant_pk, user_id)
            actor.require_over(user)
            actor_may_give(actor, permissions)
            if user.pk != actor.pk and any(maker.pk == user.pk for maker in actor.makers):
                # Through another account a short token would get a long one for its own.
                raise Forbidden
            audit.add(tx, actor.user, "user.token", user.id, permissions=sorted(permissions), ttl=ttl)
            stored = expand(actor.user.permissions)
            # What the maker has by a token alone can't be taken from them: who is given it has it as long as that token.
            makers = (*actor.makers, Maker(actor.pk, frozenset(({"users.manage"} | expand(permissions)) & stored)))
            left = (actor.expires_at - tx.now) // SECOND
            lasting = expand(permissions) <= stored
            if user.pk != actor.pk:
                return user, {"ttl": ttl if lasting else min(ttl, left), "makers": makers}
            login = logins.find(tx.connection(), actor.login) if actor.login else None
            if login and lasting:
                left = (login.expires_at - tx.now) // SECOND
            return user, {"ttl": min(ttl, left), "login": actor.login, "makers": makers}

        user, options = await self.database.write(Command(apply))
        return self.accounts.tokens.issue(user, permissions=permissions, **options)

    async def reset_link(self, caller: Caller, user_id: str) -> tuple[str, int]:
        """A token that sets a user's password once, and when it expires, in microseconds."""
        token = secrets.token_urlsafe(32)

        def apply(tx: Tx) -> int:
            actor = caller.fresh(tx)
            actor.require("admin")
            user = accounts.need(tx.connection(), actor.user.tenant_pk, user_id)
            actor.require_over(user)
            logins.add_reset_link(tx, user.pk, digest(token), ttl=RESET_TTL_SECONDS)
            audit.add(tx, actor.user, "user.reset-link", user.id)
            return tx.now + RESET_TTL_SECONDS * SECOND

        return token, await self.database.write(Command(apply))

    async def tenant_settings(self, caller: Caller) -> shapes.TenantSettingsDocument:
        """What the caller's tenant sets."""

        def look(connection: Connection) -> shapes.TenantSettingsDocument:
            tenant = accounts.tenant(connection, caller.user.tenant)
            assert tenant is not None
            kind, attributes = accounts.activity_of(connection, tenant.pk)
            mode, domains = registration.of_tenant(connection, tenant.pk)
            return {
                "uuid": tenant.uuid,
                "name": tenant.name,
                "liveActivity": {"attributesType": kind, "attributes": attributes} if kind else None,
                "registration": mode,
                "domains": [*domains],
            }

        return await self.database.read(look)

    async def change_tenant(
        self,
        caller: Caller,
        *,
        activity: tuple[str | None, dict[str, Any]] | None = None,
        mode: Mode | None = None,
        domains: Sequence[str] | None = None,
    ) -> None:
        """Change the tenant's settings together. What is None stays.

        ``activity`` is the type of the app's Live Activity with its attributes; with the type None there is none.
        """

        def apply(tx: Tx) -> None:
            actor = caller.fresh(tx)
            actor.require("admin")
            changed: dict[str, Any] = {}
            if activity is not None:
                accounts.set_activity(tx, actor.user.tenant_pk, *activity)
                changed["liveActivity"] = activity[0]
            if mode is not None or domains is not None:
                registration.change(tx, actor.user.tenant_pk, mode, domains)
                changed |= {"registration": mode, "domains": domains}
            if changed:
                audit.add(tx, actor.user, "tenant.change", **changed)

        await self.database.write(Command(apply))

    # Registration

    async def invite(self, caller: Caller, email: str | None, expires_at: int | None) -> tuple[str, int]:
        """A token with which one account may be made, by this address or by anybody, and when it expires."""
        token = secrets.token_urlsafe(32)

        def apply(tx: Tx) -> int:
            actor = caller.fresh(tx)
            actor.require("admin")
            until = tx.now + INVITATION_SECONDS * SECOND if expires_at is None else expires_at
            registration.invite(tx, actor.user.tenant_pk, digest(token), email=email, expires_at=until)
            audit.add(tx, actor.user, "tenant.invite")
            return until

        return token, await self.database.write(Command(apply))

    async def act(self, caller: Caller, user_id: str, verb: str, *, own: bool = False) -> User:
        """disable, enable, ban, unban or sign-out; see ``set_status`` and ``sign_out``."""
        if verb == "sign-out":
            return await self.sign_out(caller, user_id)
        status, lifts = VERBS[verb]
        return await self.set_status(caller, user_id, status, lifts=lifts, own=own)

    async def set_status(
        self, caller: Caller, user_id: str, status: str, *, lifts: str | None = None, own: bool = False
    ) -> User:
        """active, disabled or banned. A user who is not active is signed out everywhere.

        ``lifts`` names the status that active shall lift: raises Conflict for a user of another one. ``own`` says that
        the caller's own account may be meant.
        """

        def apply(tx: Tx, user: User) -> User:
            if user.status not in ("active", status, lifts or "disabled"):
                raise Conflict(f"The user is {user.status}")
            if status != "active":
                logins.end_all(tx, user.pk, "banned")
            return accounts.change(tx, user.pk, {"status": status})

        action = {"disabled": "user.disable", "banned": "user.ban"}.get(status)
        action = action or ("user.unban" if lifts == "banned" else "user.enable")
        user = await self.administer(caller, user_id, action, apply, closes=status != "active", own=own)
        self.accounts.ended(user.pk, None, "banned") if status != "active" else self.accounts.callers.clear()
        return user

    async def sign_out(self, caller: Caller, user_id: str) -> User:
        """End all logins, tokens and sockets of a user."""

        def apply(tx: Tx, user: User) -> User:
            logins.end_all(tx, user.pk, "logout")
            return user

        user = await self.administer(caller, user_id, "user.sign-out", apply)
        self.accounts.ended(user.pk, None, "logout")
        return user

    async def remove_password(self, caller: Caller, user_id: str) -> User:
        """From now on the account is one of the identity provider's. Ends all logins, tokens and reset links."""

        def apply(tx: Tx, user: User) -> User:
            logins.end_all(tx, user.pk, "logout")
            logins.end_reset_links(tx, user.pk)
            return accounts.change(tx, user.pk, {"password": None})

        user = await self.administer(caller, user_id, "user.remove-password", apply)
        self.accounts.ended(user.pk, None, "logout")
        return user

    async def administer(
        self,
        caller: Caller,
        user_id: str,
        action: str,
        change: Callable[[Tx, User], User],
        *,
        closes: bool = False,
        own: bool = False,
    ) -> User:
        """Run ``change`` on a user of the tenant, who is locked, and keep it in the trail.

        Raises NotFound, Forbidden for a user with more permissions. Where it ``closes`` the account, raises Conflict for the
        tenant's last admin, and for the caller's own account unless ``own``.
        """
        caller.require("admin")
        found = await self.database.read(lambda connection: accounts.need(connection, caller.user.tenant_pk, user_id))

        def apply(tx: Tx) -> User:
            actor = caller.fresh(tx)
            actor.require("admin")
            user = accounts.get(tx.connection(), found.pk)
            actor.require_over(user)
            if closes and not isinstance(actor, Operator):
                require_own(actor, user, own)
                keep_an_admin(tx, user)
            audit.add(tx, actor.user, action, user.id)
            return change(tx, user)

        keys = [admins_of(caller.user.tenant_pk)] if closes else []
        return await self.database.write(Command(apply, channels=[found.pk], keys=keys))

    # What was done

    async def trail(self, caller: Caller, *, before: int | None, limit: int) -> list[audit.AuditEntry]:
        """What admins of the tenant did, newest first."""
        caller.require("admin")
        tenant_pk = caller.user.tenant_pk
        return await self.database.read(lambda it: audit.of_tenant(it, tenant_pk, before=before, limit=limit))


def admins_of(tenant_pk: int) -> str:
    """The key under which the number of a tenant's admins is locked."""
    return f"admins:{tenant_pk}"


def keep_an_admin(tx: Tx, user: User) -> None:
    """Raises Conflict where the tenant would be left without an admin; the caller holds ``admins_of``."""
    if "admin" in user.permissions and not accounts.other_admins(tx.connection(), user.tenant_pk, user.pk):
        raise Conflict("This is the last administrator of the tenant; appoint another one first", code="last_admin")


def require_own(actor: Caller, user: User, own: bool) -> None:
    """Raises Conflict where an admin would lock themselves out without having said so."""
    if user.pk == actor.pk and not own:
        raise Conflict("This is your own account; add ?confirm=self to confirm", code="own_account")


def changes_of(before: User, after: User) -> dict[str, Any]:
    """The details of a user's change for the audit trail."""
    changed: dict[str, Any] = {"name": after.name} if after.name != before.name else {}
    given, revoked = after.permissions - before.permissions, before.permissions - after.permissions
    return changed | {name: sorted(each) for name, each in (("given", given), ("taken", revoked)) if each}


def actor_may_give(actor: Caller, permissions: Collection[str]) -> None:
    """One may give only known permissions that one has. Raises Invalid, Forbidden."""
    unknown = set(permissions) - {*accounts.PERMISSIONS, PLATFORM}
    if unknown:
        raise Invalid.field("permissions", f"Unknown permission {sorted(unknown)[0]!r}")
    if PLATFORM in permissions or not set(permissions) <= actor.permissions:
        raise Forbidden


def with_password(new: NewUser, hashed: str | None) -> NewUser:
    return NewUser(
        new.name, new.email, hashed, new.id, new.number, new.uuid, new.permissions, new.locale, new.time_zone
    )
