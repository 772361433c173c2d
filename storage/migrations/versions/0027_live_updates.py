"""Live updates on Android and in browsers: an activity without a token of its own"""

import sqlalchemy as sa
from alembic import op

revision = '0027'
down_revision = '0026'


def upgrade() -> None:
    op.add_column('activities', sa.Column('platform', sa.String(16), nullable=False, server_default='ios'))
