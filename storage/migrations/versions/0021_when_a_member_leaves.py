"""When a member leaves the chat of a stream, who joined it a moment ago"""

import sqlalchemy as sa
from alembic import op

revision = '0021'
down_revision = '0020'
LEAVING = sa.text('leaves_at IS NOT NULL')


def upgrade() -> None:
    op.add_column('members', sa.Column('leaves_at', sa.BigInteger(), nullable=True))
    op.create_index(
        'ix_members_leaves_at', 'members', ['leaves_at'], postgresql_where=LEAVING, sqlite_where=LEAVING
    )
