"""Names of users and chats, and e-mail addresses, under keys of one kind for both databases"""

from typing import Any

import sqlalchemy as sa
from alembic import op

from storage import email
from storage.text import fold

revision = '0014'
down_revision = '0013'

USERS = sa.table(
    'users', *map(sa.column, ('pk', 'tenant_pk', 'name', 'name_key', 'email', 'email_key', 'status')))
CHATS = sa.table('chats', *map(sa.column, ('pk', 'name', 'name_key')))


def upgrade() -> None:
    op.add_column('chats', sa.Column('name_key', sa.String(512), nullable=True))
    connection = op.get_bind()
    # Most names are spelled in ASCII and have their key already.
    users = connection.execute(sa.select(USERS.c.pk, USERS.c.name, USERS.c.name_key))
    write(connection, USERS, [
        {'at': pk, 'name_key': key} for pk, name, known in users if (key := fold(name)[:512]) != known])
    chats = connection.execute(sa.select(CHATS.c.pk, CHATS.c.name).where(CHATS.c.name.is_not(None)))
    write(connection, CHATS, [{'at': pk, 'name_key': fold(name)[:512]} for pk, name in chats])
    addresses = connection.execute(
        sa.select(USERS.c.pk, USERS.c.tenant_pk, USERS.c.email, USERS.c.email_key)
        .where(USERS.c.email.is_not(None)).order_by(USERS.c.pk)).all()
    # Of two accounts of one mailbox, one keeps the key that it was found by until now, and is found by it still.
    taken = {(tenant_pk, key) for _, tenant_pk, _, key in addresses}
    changed = []
    for pk, tenant_pk, address, known in addresses:
        key = email.key_of(address)
        if key != known and len(key) <= 255 and email.is_valid(address) and (tenant_pk, key) not in taken:
            taken.add((tenant_pk, key))
            changed.append({'at': pk, 'email_key': key})
    write(connection, USERS, changed)


def write(connection: sa.Connection, table: sa.TableClause, rows: list[dict[str, object]]) -> None:
    if rows:
        values: dict[str, Any] = {name: sa.bindparam(name) for name in rows[0] if name != 'at'}
        connection.execute(sa.update(table).where(table.c.pk == sa.bindparam('at')).values(**values), rows)
