"""Subscriptions of browsers: longer addresses, and keys"""

import sqlalchemy as sa
from alembic import op

revision = '0026'
down_revision = '0025'


def upgrade() -> None:
    with op.batch_alter_table('devices', schema=None, table_kwargs={'sqlite_autoincrement': True}) as batch_op:
        batch_op.alter_column(
            'push_token', existing_type=sa.String(512), type_=sa.String(1024), existing_nullable=False
        )
        batch_op.add_column(sa.Column('p256dh', sa.String(87), nullable=True))
        batch_op.add_column(sa.Column('auth', sa.String(22), nullable=True))
