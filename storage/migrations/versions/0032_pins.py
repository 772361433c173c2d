"""Pinned messages"""

import sqlalchemy as sa
from alembic import op

revision = '0032'
down_revision = '0031'

KEY = sa.BigInteger().with_variant(sa.Integer(), 'sqlite')


def upgrade() -> None:
    op.create_table(
        'pins',
        sa.Column('chat_pk', KEY, nullable=False),
        sa.Column('seq', sa.BigInteger(), nullable=False),
        sa.Column('user_pk', KEY, nullable=False),
        sa.Column('until', sa.BigInteger(), nullable=True),
        sa.Column('created_at', sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint('chat_pk', 'seq', name=op.f('pk_pins')),
        sqlite_with_rowid=False,
        comment='until is null where there is no end',
    )
    op.create_index('ix_pins_user', 'pins', ['user_pk'])
