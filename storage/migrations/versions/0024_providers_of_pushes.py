"""By which provider a delivery is pushed"""

import sqlalchemy as sa
from alembic import op

revision = '0024'
down_revision = '0023'
WAITING = sa.text("state = 'waiting'")


def upgrade() -> None:
    op.add_column('deliveries', sa.Column('provider', sa.String(16), nullable=False, server_default='apns'))
    op.drop_index('ix_deliveries_waiting', table_name='deliveries')
    op.create_index(
        'ix_deliveries_waiting',
        'deliveries',
        ['provider', 'due_at'],
        postgresql_where=WAITING,
        sqlite_where=WAITING,
    )
