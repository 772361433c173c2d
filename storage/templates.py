"""Templates of notifications: a tenant's texts with placeholders, by key, with variants by locale."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson
from sqlalchemy import Connection, delete, insert, select, update

from storage.errors import Conflict
from storage.models import templates
from storage.transaction import Tx


@dataclass(frozen=True, slots=True)
class Template:
    """``locales`` holds by locale what differs there: category, title, message."""

    pk: int
    key: str
    category: str
    title: str
    message: str
    actionable: bool
    locales: Mapping[str, Mapping[str, str]]
    created_at: int
    updated_at: int


SELECT = select(*(templates.c[name] for name in Template.__slots__))


def read_template(row: Any) -> Template:
    return Template(**row._asdict() | {"locales": orjson.loads(row.locales)})


def add(tx: Tx, tenant_pk: int, values: Mapping[str, Any]) -> Template:
    """Raises Conflict if the tenant has the key already."""
    if find(tx.connection(), tenant_pk, values["key"]):
        raise Conflict("A template with this key already exists", code="id_taken")
    tx.execute(
        insert(templates),
        {**columns(values), "tenant_pk": tenant_pk, "created_at": tx.now, "updated_at": tx.now},
    )
    return need(tx.connection(), tenant_pk, values["key"])


def find(connection: Connection, tenant_pk: int, key: str) -> Template | None:
    row = connection.execute(SELECT.where(templates.c.tenant_pk == tenant_pk, templates.c.key == key)).first()
    return read_template(row) if row else None


def need(connection: Connection, tenant_pk: int, key: str) -> Template:
    found = find(connection, tenant_pk, key)
    assert found is not None
    return found


def page(connection: Connection, tenant_pk: int, *, after: int, limit: int) -> list[Template]:
    statement = SELECT.where(templates.c.tenant_pk == tenant_pk, templates.c.pk > after)
    return [read_template(row) for row in connection.execute(statement.order_by(templates.c.pk).limit(limit))]


def change(tx: Tx, tenant_pk: int, key: str, values: Mapping[str, Any]) -> Template:
    here = (templates.c.tenant_pk == tenant_pk, templates.c.key == key)
    tx.execute(update(templates).where(*here).values(**columns(values), updated_at=tx.now))
    return need(tx.connection(), tenant_pk, key)


def remove(tx: Tx, tenant_pk: int, key: str) -> None:
    tx.execute(delete(templates).where(templates.c.tenant_pk == tenant_pk, templates.c.key == key))


def columns(values: Mapping[str, Any]) -> dict[str, Any]:
    if "locales" not in values:
        return dict(values)
    return {**values, "locales": orjson.dumps(values["locales"]).decode()}
