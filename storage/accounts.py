"""Tenants, and users with their three names."""

import re
import uuid as uuids
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import orjson
from sqlalchemy import ColumnElement, Connection, and_, bindparam, false, insert, or_, select, text, update

from storage import email, epoch, log
from storage.errors import Conflict, NotFound
from storage.fetch import Rows
from storage.models import chats, members, tenants, users
from storage.prepared import Prepared, one_of, padded
from storage.statements import Read
from storage.text import fold
from storage.transaction import Tx, first
from storage.types import Ref, new_id

FIRST_NUMBER = 1_000_000
# In characters.
LONGEST_NAME = 255
LARGEST_NUMBER = 10**18
PERMISSIONS = (
    "notifications.send",
    "notifications.send.own",
    "templates.manage",
    "users.manage",
    "streams.manage",
    "credits.grant",
    "admin",
)
PLATFORM = "platform.admin"


@dataclass(frozen=True, slots=True)
class Tenant:
    pk: int
    uuid: str
    name: str


@dataclass(frozen=True, slots=True)
class User:
    """A user of one tenant. ``status`` is active, disabled, banned or deleted; ``valid_after`` ends older tokens.

    ``presence`` is ``"nobody"`` for a user who hides it, otherwise None.
    """

    pk: int
    tenant_pk: int
    tenant: str
    id: str
    number: int
    uuid: str
    email: str | None
    name: str
    avatar_url: str | None
    password: str | None
    permissions: frozenset[str]
    locale: str | None
    time_zone: str | None
    quiet_from: str | None
    quiet_to: str | None
    presence: str | None
    status: str
    valid_after: int
    last_seen_at: int | None
    created_at: int


@dataclass(frozen=True, slots=True)
class NewUser:
    """A user to be made; names that are None are given by the server."""

    name: str
    email: str | None = None
    password: str | None = None
    id: str | None = None
    number: int | None = None
    uuid: str | None = None
    permissions: Collection[str] = ()
    locale: str | None = None
    time_zone: str | None = None


COLUMNS = (
    users.c.pk,
    users.c.tenant_pk,
    tenants.c.uuid.label("tenant"),
    users.c.id,
    users.c.number,
    users.c.uuid,
    users.c.email,
    users.c.name,
    users.c.avatar_url,
    users.c.password,
    users.c.permissions,
    users.c.locale,
    users.c.time_zone,
    users.c.quiet_from,
    users.c.quiet_to,
    users.c.presence,
    users.c.status,
    users.c.valid_after,
    users.c.last_seen_at,
    users.c.created_at,
)
SELECT = select(*COLUMNS).join(tenants, tenants.c.pk == users.c.tenant_pk)
BY_PK = Prepared(SELECT.where(users.c.pk == bindparam("pk")))
NEXT_NUMBER = text("UPDATE tenants SET next_number = next_number + 1 WHERE pk = :pk RETURNING next_number - 1")


def read_user(row: Any) -> User:
    values = dict(zip(User.__slots__, row, strict=True))
    return User(**values | {"permissions": frozenset(orjson.loads(values["permissions"]))})


# Tenants


def add_tenant(tx: Tx, name: str, uuid: str | None = None, *, registration: str = "closed") -> Tenant:
    """Raises Conflict if the uuid is taken."""
    uuid = uuid or str(uuids.uuid4())
    values = {"uuid": uuid, "name": name, "next_number": FIRST_NUMBER, "created_at": tx.now}
    values["registration"] = registration
    primary_key = tx.execute(insert(tenants), values).inserted_primary_key
    assert primary_key is not None
    return Tenant(int(primary_key[0]), uuid, name)


def tenants_by_age(connection: Connection) -> list[Tenant]:
    statement = select(tenants.c.pk, tenants.c.uuid, tenants.c.name).order_by(tenants.c.pk)
    return [Tenant(*row) for row in connection.execute(statement)]


def default_tenant(tx: Tx) -> Tenant:
    """The tenant of those who name none; made on first use."""
    known = epoch.known(tx.connection()).get("default_tenant")
    if known:
        found = tenant(tx.connection(), known)
        if found:
            return found
    made = add_tenant(tx, "Default", registration="open")
    epoch.put(tx, "default_tenant", made.uuid)
    return made


def tenant(connection: Connection, uuid: str) -> Tenant | None:
    row = connection.execute(select(tenants.c.pk, tenants.c.uuid, tenants.c.name).where(tenants.c.uuid == uuid)).first()
    return Tenant(*row) if row else None


# Users


def add_user(tx: Tx, tenant_pk: int, new: NewUser) -> User:
    """Raises Conflict, naming what is taken, if the tenant has one of the names or the e-mail already."""
    email_keys = spellings(new.email) if new.email else []
    email_key = email_keys[-1] if email_keys else None
    existing = or_(
        *(
            users.c[name] == value
            for name, value in (("id", new.id), ("number", new.number), ("uuid", new.uuid))
            if value is not None
        ),
        users.c.email_key.in_(email_keys),
        false(),
    )
    if tx.execute(select(users.c.pk).where(users.c.tenant_pk == tenant_pk, existing).limit(1)).first():
        raise Conflict("A user with this id, number, uuid or e-mail already exists", code="account_exists")
    number = new.number
    while number is None:
        candidate = tx.execute(NEXT_NUMBER, {"pk": tenant_pk}).scalar_one()
        clash = select(users.c.pk).where(users.c.tenant_pk == tenant_pk, users.c.number == candidate)
        number = None if tx.execute(clash).first() else candidate
    id = new.id or new_id()
    pk = log.open_channel(tx, f"user:{id}")
    tx.execute(
        insert(users),
        {
            "pk": pk,
            "tenant_pk": tenant_pk,
            "id": id,
            "number": number,
            "uuid": new.uuid or str(uuids.uuid4()),
            "email": new.email,
            "email_key": email_key,
            "name": new.name,
            "name_key": name_key(new.name),
            "password": new.password,
            "permissions": orjson.dumps(sorted(new.permissions)).decode(),
            "locale": new.locale,
            "time_zone": new.time_zone,
            "status": "active",
            "valid_after": 0,
            "created_at": tx.now,
            "updated_at": tx.now,
        },
    )
    return get(tx.connection(), pk)


def get(source: Tx | Connection, pk: int) -> User:
    row = first(source, BY_PK, {"pk": pk})
    assert row is not None
    return read_user(row)


def reads_of_get(pk: int) -> list[Read]:
    """The queries of ``get``."""
    return [(BY_PK, {"pk": pk})]


def find(connection: Connection, tenant_pk: int, **names: Any) -> User | None:
    """The user of a tenant by one of: id, number, uuid, email."""
    (name, value), *_ = names.items()
    if name == "number" and not 0 < value < LARGEST_NUMBER:
        return None
    values = spellings(value) if name == "email" else [value]
    column = users.c.email_key if name == "email" else users.c[name]
    statement = SELECT.where(users.c.tenant_pk == tenant_pk, column.in_(values), users.c.status != "deleted")
    row = connection.execute(statement.order_by(column != values[0]).limit(1)).first()
    return read_user(row) if row else None


def by_ref(connection: Connection, tenant_pk: int, ref: Ref) -> User | None:
    return find(connection, tenant_pk, **{ref.kind: ref.value})


def spellings(address: str) -> list[str]:
    """The keys of an e-mail address, the one that is made today last; an account of an earlier version may have the other."""
    return list(dict.fromkeys((address.casefold(), email.key_of(address))))


def need(connection: Connection, tenant_pk: int, id: str) -> User:
    """The user by id, or NotFound."""
    user = find(connection, tenant_pk, id=id)
    if user is None:
        raise NotFound
    return user


def by_names(connection: Connection, tenant_pk: int, name: str, values: Collection[Any]) -> dict[Any, User]:
    """Users of a tenant by one of: id, number, uuid."""
    column = users.c[name]
    wanted = [each for each in values if name != "number" or 0 < each < LARGEST_NUMBER]
    statement = SELECT.where(users.c.tenant_pk == tenant_pk, column.in_(padded(wanted)), users.c.status != "deleted")
    return {getattr(each, name): each for each in map(read_user, connection.execute(statement))}


STATES = Prepared(
    select(users.c.pk, users.c.status, users.c.valid_after, users.c.permissions).where(one_of(users.c.pk, "pks"))
)


class State(NamedTuple):
    """``valid_after`` is the time before which tokens without a login count no more."""

    status: str
    valid_after: int
    permissions: frozenset[str]


def states(rows: Rows) -> dict[int, State]:
    """By user, of the rows of ``STATES``."""
    return {pk: State(status, after, frozenset(orjson.loads(held))) for pk, status, after, held in rows}


def by_ids(connection: Connection, tenant_pk: int, ids: Collection[str]) -> list[User]:
    statement = SELECT.where(users.c.tenant_pk == tenant_pk, users.c.id.in_(ids), users.c.status != "deleted")
    return [read_user(row) for row in connection.execute(statement.order_by(users.c.pk))]


def named(connection: Connection, tenant_pk: int, name: str) -> list[User]:
    """The users of exactly this name, two at the most."""
    statement = SELECT.where(users.c.tenant_pk == tenant_pk, users.c.name == name, users.c.status != "deleted")
    return [read_user(row) for row in connection.execute(statement.limit(2))]


def page(connection: Connection, tenant_pk: int, *, after: int, limit: int) -> list[User]:
    """Users in the order they were made, from the one that follows the pk ``after``; deleted ones are left out."""
    statement = SELECT.where(users.c.tenant_pk == tenant_pk, users.c.status != "deleted", users.c.pk > after)
    return [read_user(row) for row in connection.execute(statement.order_by(users.c.pk).limit(limit))]


def search(
    connection: Connection, tenant_pk: int, query: str, *, emails: bool, after: int = 0, limit: int = 50
) -> list[User]:
    """Users whose name contains each word of ``query`` (with ``emails``, whose e-mail contains all of it), in the order they
    were made.
    """
    match = contains_words(users.c.name_key, query)
    if emails:
        for each in {query.casefold(), email.part_of_key(query)}:
            match = or_(match, users.c.email_key.like(containing(each), escape="\\"))
    statement = SELECT.where(users.c.tenant_pk == tenant_pk, users.c.status != "deleted", users.c.pk > after, match)
    return [read_user(row) for row in connection.execute(statement.order_by(users.c.pk).limit(limit))]


def name_key(name: str) -> str:
    """Under which a name is searched."""
    return fold(name)[:512]


def contains_words(column: ColumnElement[str | None], query: str) -> ColumnElement[bool]:
    """That a folded text contains each word of a query, in any order; no text contains a query without words."""
    words = set(fold(query).split())
    # No name has more.
    if not 0 < len(words) <= LONGEST_NAME // 2:
        return false()
    return and_(*(column.like(containing(each), escape="\\") for each in sorted(words)))


def containing(text: str) -> str:
    """A pattern of LIKE, with a backslash as its escape."""
    return "%" + re.sub(r"([\\%_])", r"\\\1", text) + "%"


def other_admins(connection: Connection, tenant_pk: int, user_pk: int) -> bool:
    """Whether the tenant has an active user with the stored permission ``admin`` beside this one."""
    admin = users.c.permissions.like('%"admin"%')
    others = (users.c.tenant_pk == tenant_pk, users.c.pk != user_pk, users.c.status == "active", admin)
    return connection.execute(select(users.c.pk).where(*others).limit(1)).first() is not None


def change(tx: Tx, pk: int, values: Mapping[str, Any]) -> User:
    """Set columns of a user. ``name`` and ``permissions`` are stored in their searchable and JSON form."""
    columns = dict(values)
    if "name" in columns:
        columns["name_key"] = name_key(columns["name"])
    if "permissions" in columns:
        columns["permissions"] = orjson.dumps(sorted(columns["permissions"])).decode()
    tx.execute(update(users).where(users.c.pk == pk).values(**columns, updated_at=tx.now))
    return get(tx.connection(), pk)


HERE = users.c.pk.in_(bindparam("pks")), users.c.status != "deleted"
SEEN = update(users).where(*HERE).values(last_seen_at=bindparam("at"))


def seen(tx: Tx, pks: Collection[int]) -> int:
    """These users' last sockets closed just now; returns the time."""
    tx.execute(SEEN, {"pks": padded(pks), "at": tx.now})
    return tx.now


def sharing(connection: Connection, user_pk: int, others: Collection[int]) -> set[int]:
    """Those of ``others`` who show the user when they are here, and the user.

    They do in chats that they made or have written in, rooms excepted, unless they hide it.
    """
    mine = select(members.c.chat_pk).join(chats, chats.c.pk == members.c.chat_pk)
    mine = mine.where(members.c.user_pk == user_pk, chats.c.deleted_at.is_(None), chats.c.type != "room")
    theirs = (
        select(members.c.user_pk)
        .join(users, users.c.pk == members.c.user_pk)
        .where(members.c.chat_pk.in_(mine), members.c.user_pk.in_(others), members.c.wrote, users.c.presence.is_(None))
    )
    return {*connection.execute(theirs).scalars(), *({user_pk} & set(others))}


def hidden(connection: Connection, pks: Collection[int]) -> set[int]:
    """Those of these users who hide their presence."""
    statement = select(users.c.pk).where(users.c.pk.in_(padded(pks)), users.c.presence == "nobody")
    return set(connection.execute(statement).scalars())


# What a tenant sets


def activity_of(connection: Connection, tenant_pk: int) -> tuple[str | None, dict[str, Any]]:
    """How the tenant's app calls its Live Activity, and the attributes that it starts with."""
    row = connection.execute(
        select(tenants.c.activity_type, tenants.c.activity_attributes).where(tenants.c.pk == tenant_pk)
    ).one()
    return row.activity_type, orjson.loads(row.activity_attributes) if row.activity_attributes else {}


def set_activity(tx: Tx, tenant_pk: int, kind: str | None, attributes: Mapping[str, Any]) -> None:
    values = {"activity_type": kind, "activity_attributes": orjson.dumps(attributes).decode()}
    tx.execute(update(tenants).where(tenants.c.pk == tenant_pk).values(**values))
