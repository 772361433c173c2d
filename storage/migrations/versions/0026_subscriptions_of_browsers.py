"""Subscriptions of browsers: longer addresses, and keys"""

import sqlalchemy as sa
from alembic import op

revision = '0026'
down_revision = '0025'


def upgrade() -> None:
    # SQLite keeps texts of any length.
    if op.get_bind().dialect.name != 'sqlite':
        op.alter_column('devices', 'push_token', type_=sa.String(1024), existing_nullable=False)
    op.add_column('devices', sa.Column('p256dh', sa.String(87), nullable=True))
    op.add_column('devices', sa.Column('auth', sa.String(22), nullable=True))
