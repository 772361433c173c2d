"""What an Android device's token is, and what the apps of devices can do"""

import sqlalchemy as sa
from alembic import op

revision = '0025'
down_revision = '0024'


def upgrade() -> None:
    op.add_column('devices', sa.Column('token_kind', sa.String(8), nullable=True))
    op.add_column('devices', sa.Column('features', sa.String(255), nullable=False, server_default=''))
