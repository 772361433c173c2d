"""Forwarded messages, whose files are those of the messages they copy"""

import sqlalchemy as sa
from alembic import op

revision = '0033'
down_revision = '0032'


def upgrade() -> None:
    op.add_column('messages', sa.Column('forwarded', sa.Integer(), nullable=True))
    op.add_column('media', sa.Column('charged', sa.Boolean(), nullable=False, server_default=sa.true()))
    op.create_index('ix_media_key', 'media', ['key'])
