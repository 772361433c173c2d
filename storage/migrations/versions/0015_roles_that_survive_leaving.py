"""Roles that survive leaving"""

import sqlalchemy as sa
from alembic import op

revision = '0015'
down_revision = '0014'

COMMENT = (
    'who was removed from the chat of a stream, and does not come back by following or watching it; '
    'with a role, who left with it, and comes back with it'
)


def upgrade() -> None:
    op.add_column('exclusions', sa.Column('role', sa.String(16), nullable=True))
    if op.get_bind().dialect.supports_comments:
        op.create_table_comment('exclusions', COMMENT)
