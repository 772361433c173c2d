"""Who asks, and what they may."""

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from storage import accounts
from storage.accounts import Tenant, User
from storage.errors import Forbidden, Unauthenticated
from storage.statements import Read
from storage.transaction import Tx

ALL = frozenset(accounts.PERMISSIONS)
# By how much clocks of those who issue tokens may differ from ours.
LEEWAY_SECONDS = 10


def expand(permissions: Collection[str]) -> frozenset[str]:
    """``admin`` is all permissions within the tenant; ``platform.admin`` is in nothing else."""
    return frozenset(permissions) | (ALL if "admin" in permissions else frozenset())


class Maker(NamedTuple):
    """Who made a token for another. It counts while they are active and have the stored permissions that it ``needs``."""

    pk: int
    needs: frozenset[str]


@dataclass(frozen=True, slots=True)
class Caller:
    """A user and the token they came with. ``granted`` is what the token itself gives; times in microseconds.

    ``device`` is the one that they speak from, where a socket has said so. ``makers`` are the users on whom the
    token depends: its issuer, and the issuers of the token that was used to issue it.
    """

    user: User
    granted: frozenset[str]
    issued_at: int
    expires_at: int
    login: str | None = None
    dialect: str | None = None
    device: str | None = None
    makers: tuple[Maker, ...] = ()

    @property
    def pk(self) -> int:
        return self.user.pk

    @property
    def permissions(self) -> frozenset[str]:
        return expand(self.granted | self.user.permissions)

    def may(self, permission: str) -> bool:
        return permission in self.permissions

    def require(self, permission: str) -> None:
        """Raises Forbidden."""
        if not self.may(permission):
            raise Forbidden(permission=permission)

    def fresh(self, tx: Tx) -> "Caller":
        """The caller as stored now, read inside the transaction. Raises Unauthenticated if they may not act any more."""
        user = accounts.get(tx, self.user.pk)
        if user.status != "active":
            raise Unauthenticated
        return replace(self, user=user)

    def reads_of_fresh(self) -> list[Read]:
        """The queries of ``fresh``."""
        return accounts.reads_of_get(self.user.pk)

    def require_over(self, other: User) -> None:
        """Raises Forbidden unless the caller has all that ``other`` has: no caller gains permissions by another user."""
        if not expand(other.permissions) <= self.permissions:
            raise Forbidden


@dataclass(frozen=True, slots=True)
class Operator(Caller):
    """The person who may run commands on the server, without an account; ``of`` a tenant."""

    @classmethod
    def of(cls, tenant: Tenant) -> "Operator":
        nothing: dict[str, Any] = dict.fromkeys(User.__slots__)
        user = User(**{**nothing, "pk": 0, "tenant_pk": tenant.pk, "tenant": tenant.uuid})
        return cls(user, ALL | {accounts.PLATFORM}, 0, 0)

    @property
    def permissions(self) -> frozenset[str]:
        return self.granted

    def fresh(self, tx: Tx) -> "Caller":
        return self

    def require_over(self, other: User) -> None:
        return None
