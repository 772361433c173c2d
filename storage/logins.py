"""Logins, each with one refresh token at a time; links that set a password; and what was revoked, for all nodes to act on."""

import uuid as uuids
from collections.abc import Collection
from typing import Any, NamedTuple

from sqlalchemy import Connection, and_, bindparam, delete, func, insert, select, update

from storage.models import devices, logins, reset_links, revocations, users
from storage.prepared import Prepared, one_of
from storage.transaction import Tx, clock
from storage.types import SECOND

# There may be thousands from before there was a limit; the next log-ins end the others.
ENDED_AT_ONCE = 20


class LivingLogin(NamedTuple):
    """Where a user is logged in. ``used_at`` is when its tokens were last renewed, about."""

    id: str
    address: str | None
    agent: str | None
    created_at: int
    used_at: int


def add(tx: Tx, user_pk: int, *, ttl: int, address: str | None = None, agent: str | None = None) -> str:
    """Begin a login; returns its id. ``ttl`` seconds from now its refresh token is worth nothing."""
    id = str(uuids.uuid4())
    values = {
        "id": id,
        "user_pk": user_pk,
        "generation": 0,
        "created_at": tx.now,
        "expires_at": tx.now + ttl * SECOND,
        "address": address,
        "agent": agent,
        "used_at": tx.now,
    }
    tx.execute(insert(logins), values)
    return id


def surplus(connection: Connection, user_pk: int, most: int) -> list[str]:
    """Some of a user's living logins that are too many: not among the ``most`` that were used last."""
    return [each.id for each in living(connection, user_pk)[most : most + ENDED_AT_ONCE]]


LOGIN = select(logins.c.user_pk, logins.c.generation, logins.c.expires_at, logins.c.ended_at).where(
    logins.c.id == bindparam("id")
)


def find(connection: Connection, id: str) -> Any:
    """``(user_pk, generation, expires_at, ended_at)`` of a login, or None."""
    return connection.execute(LOGIN, {"id": id}).first()


# ``(id, user)`` of those of these logins that have not ended.
LIVING = Prepared(select(logins.c.id, logins.c.user_pk).where(one_of(logins.c.id, "ids"), logins.c.ended_at.is_(None)))


def rotate(tx: Tx, id: str, *, ttl: int, address: str | None = None, agent: str | None = None) -> None:
    changed = {"expires_at": tx.now + ttl * SECOND, "address": address, "agent": agent, "used_at": tx.now}
    tx.execute(update(logins).where(logins.c.id == id).values(generation=logins.c.generation + 1, **changed))


def living(connection: Connection, user_pk: int) -> list[LivingLogin]:
    """A user's logins that have neither ended nor expired, the latest used first."""
    used_at = func.coalesce(logins.c.used_at, logins.c.created_at)
    statement = select(logins.c.id, logins.c.address, logins.c.agent, logins.c.created_at, used_at).where(
        logins.c.user_pk == user_pk, logins.c.ended_at.is_(None), logins.c.expires_at > clock(connection)
    )
    return [LivingLogin(*row) for row in connection.execute(statement.order_by(used_at.desc(), logins.c.id))]


def end(tx: Tx, user_pk: int, ids: Collection[str], reason: str) -> None:
    """End logins of a user, and forget their devices; their sockets close on every node within two seconds."""
    if ids:
        tx.execute(delete(devices).where(devices.c.user_pk == user_pk, devices.c.login_id.in_(ids)))
        tx.execute(update(logins).where(logins.c.id.in_(ids), logins.c.ended_at.is_(None)).values(ended_at=tx.now))
        rows = [{"user_pk": user_pk, "login_id": id, "reason": reason, "at": tx.now} for id in ids]
        tx.execute(insert(revocations), rows)


def end_all(tx: Tx, user_pk: int, reason: str, *, exclude: str | None = None) -> None:
    """End all of a user's logins ``exclude`` one, and the tokens without a login up to now, and forget their devices."""
    theirs, living = devices.c.user_pk == user_pk, and_(logins.c.user_pk == user_pk, logins.c.ended_at.is_(None))
    if exclude is not None:
        theirs = and_(theirs, devices.c.login_id.is_distinct_from(exclude))
        living = and_(living, logins.c.id != exclude)
    tx.execute(delete(devices).where(theirs))
    tx.execute(update(logins).where(living).values(ended_at=tx.now))
    tx.execute(update(users).where(users.c.pk == user_pk).values(valid_after=tx.now))
    revoke(tx, user_pk, None, reason)


def revoke(tx: Tx, user_pk: int, login_id: str | None, reason: str) -> None:
    """Within two seconds every node closes the sockets whose tokens count no more: the user's, or made by the user."""
    tx.execute(insert(revocations), {"user_pk": user_pk, "login_id": login_id, "reason": reason, "at": tx.now})


def revoked(connection: Connection, seconds: int) -> list[Any]:
    """``(pk, user_pk, login_id, reason)`` of what was revoked in the last ``seconds``."""
    since = clock(connection) - seconds * SECOND
    statement = select(revocations.c.pk, revocations.c.user_pk, revocations.c.login_id, revocations.c.reason)
    return list(connection.execute(statement.where(revocations.c.at > since).order_by(revocations.c.pk)))


def add_reset_link(tx: Tx, user_pk: int, digest: str, *, ttl: int) -> None:
    tx.execute(insert(reset_links), {"digest": digest, "user_pk": user_pk, "expires_at": tx.now + ttl * SECOND})


def reset_link_of(connection: Connection, digest: str) -> int | None:
    """Whom an unused link is for."""
    unused = and_(reset_links.c.digest == digest, reset_links.c.used_at.is_(None))
    return connection.execute(select(reset_links.c.user_pk).where(unused)).scalar()


def use_reset_link(tx: Tx, digest: str) -> int | None:
    """The user a link is for, once; None if it is unknown, used or expired."""
    live = and_(reset_links.c.digest == digest, reset_links.c.used_at.is_(None), reset_links.c.expires_at > tx.now)
    return tx.execute(update(reset_links).where(live).values(used_at=tx.now).returning(reset_links.c.user_pk)).scalar()


def end_reset_links(tx: Tx, user_pk: int) -> None:
    """Links that were made before a password was set don't set another."""
    unused = and_(reset_links.c.user_pk == user_pk, reset_links.c.used_at.is_(None))
    tx.execute(update(reset_links).where(unused).values(used_at=tx.now))


def sweep(tx: Tx, *, before: int) -> None:
    """Drop what can't matter any more: logins with their devices, links and revocations that ended before ``before``."""
    tx.execute(delete(revocations).where(revocations.c.at < before))
    tx.execute(delete(reset_links).where(reset_links.c.expires_at < before))
    expired = select(logins.c.id).where(logins.c.expires_at < before)
    tx.execute(delete(devices).where(devices.c.login_id.in_(expired)))
    tx.execute(delete(logins).where(logins.c.expires_at < before))
