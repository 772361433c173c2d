"""Who may make an account of their own in a tenant: anyone, addresses of some domains, invited users, or no one."""

from collections.abc import Sequence
from typing import Literal, NamedTuple, cast

import orjson
from sqlalchemy import Connection, delete, insert, select, update

from storage.email import key_of
from storage.models import invitations, tenants
from storage.transaction import Tx

Mode = Literal["closed", "invitation", "domain", "open"]
# Of tenants that were made before this could be set.
BEFORE = "open"


class Registration(NamedTuple):
    """``domains`` as DNS knows them; looked at where the mode is ``domain``."""

    mode: Mode
    domains: Sequence[str]


def of_tenant(connection: Connection, tenant_pk: int) -> Registration:
    row = connection.execute(select(tenants.c.registration, tenants.c.domains).where(tenants.c.pk == tenant_pk)).one()
    return Registration(cast("Mode", row.registration or BEFORE), orjson.loads(row.domains or "[]"))


def change(tx: Tx, tenant_pk: int, mode: Mode | None, domains: Sequence[str] | None) -> None:
    """What is None stays."""
    values: dict[str, str] = {} if mode is None else {"registration": mode}
    if domains is not None:
        values["domains"] = orjson.dumps([*domains]).decode()
    if values:
        tx.execute(update(tenants).where(tenants.c.pk == tenant_pk).values(**values))


def is_admitted(tx: Tx, tenant_pk: int, email: str, invitation: str | None) -> bool:
    """Whether this address may register now; takes the invitation, whose ``invitation`` is a digest."""
    mode, domains = of_tenant(tx.connection(), tenant_pk)
    if mode == "open" or (mode == "domain" and key_of(email).rpartition("@")[2] in domains):
        return True
    return mode != "closed" and invitation is not None and use_invitation(tx, tenant_pk, email, invitation)


def invite(tx: Tx, tenant_pk: int, digest: str, *, email: str | None, expires_at: int) -> None:
    """One account may be made with it, by whoever has it or by this address alone."""
    values = {"digest": digest, "tenant_pk": tenant_pk, "email_key": key_of(email) if email else None}
    tx.execute(insert(invitations), values | {"expires_at": expires_at})


def use_invitation(tx: Tx, tenant_pk: int, email: str, digest: str) -> bool:
    """Whether there was such an invitation, which is gone now."""
    mine = (
        invitations.c.digest == digest,
        invitations.c.tenant_pk == tenant_pk,
        invitations.c.expires_at > tx.now,
        invitations.c.email_key.is_(None) | (invitations.c.email_key == key_of(email)),
    )
    return tx.execute(delete(invitations).where(*mine)).rowcount > 0


def unset(connection: Connection, *, exclude: int) -> list[str]:
    """The names of tenants, except one, that are open by default."""
    statement = select(tenants.c.name).where(tenants.c.registration.is_(None), tenants.c.pk != exclude)
    return list(connection.execute(statement.order_by(tenants.c.pk)).scalars())


def sweep(tx: Tx) -> None:
    tx.execute(delete(invitations).where(invitations.c.expires_at < tx.now))
